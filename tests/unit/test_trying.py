"""Trying a file: the same reader, rules and decision as a delivery meets, and nothing is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from msc_pipeline import trying
from msc_pipeline.errors import UsageError
from msc_pipeline.trying import as_rows, in_words, try_file
from tiny_trial import FEW_RULES, TinyTrial, csv_text, lb, make_trial, trust_own_scan

KEYS = {"file", "site", "domain", "format", "status", "code", "reason", "rows_in", "quarantined", "rules"}
GOOD = [lb("XA", n, s) for n in (1, 2) for s in (1, 2, 3)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    trust_own_scan(monkeypatch)


@pytest.fixture
def trial(tmp_path: Path) -> TinyTrial:
    return make_trial(tmp_path, FEW_RULES.replace("plain: {", "plain: {max_bytes: 5000, "))


def tried(
    trial: TinyTrial, data: str, name: str = "lb_1.csv", site: str = "XA", domain: str = ""
) -> dict[str, Any]:
    """Return the report on one file, which always has the same keys, and leave no trace."""
    file = trial.settings.home.parent / name
    file.write_text(data)
    report = try_file(trial.study, site, file, trial.settings, domain=domain)
    assert set(report) == KEYS
    assert not trial.settings.home.exists() and not trial.settings.landing.exists()
    return report


def test_a_good_file_would_be_accepted(trial: TinyTrial) -> None:
    report = tried(trial, csv_text(GOOD))
    assert (report["status"], report["code"], report["rows_in"], report["quarantined"]) == (
        "ACCEPTED",
        "",
        6,
        0,
    )
    assert (report["file"], report["site"], report["domain"], report["rules"]) == ("lb_1.csv", "XA", "LB", [])


def test_a_bad_row_would_be_quarantined_and_the_rules_say_why(trial: TinyTrial) -> None:
    report = tried(trial, csv_text([*GOOD, lb("XA", 3, LBORRES="unreadable")]))
    assert (report["status"], report["rows_in"], report["quarantined"]) == ("PARTIAL", 7, 1)
    (rule,) = [r for r in report["rules"] if r["severity"] == "critical"]
    assert rule["rows"] == 1 and rule["says"].endswith(".")
    assert "unreadable" not in str(report)


def test_a_site_is_told_which_lines_and_what_becomes_of_them(trial: TinyTrial) -> None:
    bad = [lb("XA", n, LBORRES="unreadable") for n in range(3, 10)]
    report = tried(trial, csv_text([*GOOD * 5, *bad]))
    assert in_words(report).startswith("PARTIAL: ")
    rows = [row for row in as_rows(report) if row["so"] == "the row waits in quarantine"]
    assert any(row["first lines"] == "32, 33, 34, 35, 36" and row["rows"] == 7 for row in rows)
    assert "unreadable" not in str(rows) and "TINY01" not in str(rows)
    assert in_words(tried(trial, "")) == (
        "REJECTED: nothing of the file would be used. EMPTY_FILE: The file is empty."
    )
    assert in_words(tried(trial, csv_text(GOOD))) == "ACCEPTED: all 6 rows would be used."


def test_a_file_of_bad_rows_would_be_rejected(trial: TinyTrial) -> None:
    report = tried(trial, csv_text([lb("XA", n, LBORRES="unreadable") for n in (1, 2)]))
    assert (report["status"], report["code"]) == ("REJECTED", "TOO_MANY_QUARANTINED")
    assert report["rules"]


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        ("", "lb_1.csv", "EMPTY_FILE"),
        (csv_text(GOOD)[:-1], "lb_1.csv", "TRUNCATED"),
        (csv_text(GOOD), "labs.csv", "ROUTE"),
        (csv_text(GOOD), f"lb_{'x' * 200}.csv", "NAME"),
        (csv_text(GOOD * 20), "lb_1.csv", "SIZE"),
    ],
)
def test_a_file_that_landing_or_staging_would_reject_is_rejected(
    data: str, name: str, code: str, trial: TinyTrial
) -> None:
    report = tried(trial, data, name)
    assert (report["status"], report["code"], report["rows_in"], report["rules"]) == ("REJECTED", code, 0, [])
    assert report["reason"]


def test_the_domain_may_be_named_when_the_file_name_does_not_tell_it(trial: TinyTrial) -> None:
    report = tried(trial, csv_text(GOOD), "export.csv", domain="LB")
    assert (report["status"], report["domain"]) == ("ACCEPTED", "LB")


def test_an_unknown_site_or_domain_is_named_with_those_there_are(trial: TinyTrial) -> None:
    with pytest.raises(UsageError, match=r"SITE_UNKNOWN: ZZ is not a site of tiny \(XA, XB, XC\)"):
        tried(trial, csv_text(GOOD), site="ZZ")
    with pytest.raises(UsageError, match="DOMAIN_UNKNOWN: tiny does not collect VS"):
        tried(trial, csv_text(GOOD), domain="VS")


def test_the_file_itself_is_only_read(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    used: list[Path] = []
    real = trying.tempfile.TemporaryDirectory

    def noted(*words: Any, **more: Any) -> Any:
        folder = real(*words, dir=tmp_path, **more)
        used.append(Path(folder.name))
        return folder

    monkeypatch.setattr(trying.tempfile, "TemporaryDirectory", noted)
    tried(trial, csv_text(GOOD))
    assert [path.exists() for path in used] == [False]
    assert (tmp_path / "lb_1.csv").read_text() == csv_text(GOOD)
