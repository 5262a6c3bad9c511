"""Faults of delivery that take more than one file: what is sent twice, late, half, or never."""

from __future__ import annotations

import csv
import io
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest

from msc_pipeline import landing, overdue, pipeline
from msc_pipeline.cli import _csv_line
from tiny_trial import STUDY, TinyTrial, ae, csv_text, dm, lb, trust_own_scan


@pytest.fixture(autouse=True)
def _own_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    trust_own_scan(monkeypatch)


def results(trial: TinyTrial) -> list[str]:
    """Return the ALT results in force of XA, in the order of subjects."""
    return [row["LBORRES"] for row in trial.in_force("XA", "LB")]


def age(path: Path, seconds: float) -> None:
    """Let a file, or a folder, have been written some time ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def told(trial: TinyTrial) -> list[str]:
    """Return the kinds of alerts."""
    return sorted(alert["kind"] for alert in trial.known("alerts"))


def test_one_content_under_two_names_is_one_delivery_and_two_receipts(trial: TinyTrial) -> None:
    rows = [lb("XA", n) for n in (1, 2)]
    trial.send("XA", "LB", rows, name="lb_one.csv")
    trial.send("XA", "LB", rows, name="lb_two.csv")
    trial.decide()
    assert [r["name"] for r in trial.known("receipts")] == ["lb_one.csv", "lb_two.csv"]
    assert [(d["file"], d["status"]) for d in trial.known("deliveries")] == [("lb_one.csv", "ACCEPTED")]
    assert len(results(trial)) == 2


def test_one_name_with_new_content_is_a_correction_and_the_old_one_is_kept(trial: TinyTrial) -> None:
    for value in ("20", "21"):
        trial.send("XA", "LB", [lb("XA", 1, LBORRES=value)], name="lb_same.csv")
        trial.decide()
    assert results(trial) == ["21"]
    assert len(list((trial.settings.home / STUDY / "raw").iterdir())) == len(trial.known("deliveries")) == 2
    assert len(trial.parts("restatement")) == 1


def test_a_correction_that_comes_before_its_original_stays_the_newer_one(trial: TinyTrial) -> None:
    trial.send("XA", "LB", [lb("XA", 1, LBORRES="21")], name="lb_v2.csv")
    trial.decide()
    trial.send("XA", "LB", [lb("XA", 1, LBORRES="20")], name="lb_v1.csv")
    trial.decide()
    assert results(trial) == ["21"]


def test_a_file_that_vanishes_is_logged_and_the_others_are_taken(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trial.send("XA", "LB", [lb("XA", 1)])
    trial.send("XA", "AE", [ae("XA", 1)])
    settled = landing._settled

    def take_away(paths: list[Path], profile: Any) -> list[Path]:
        found = settled(paths, profile)
        (trial.folder("XA") / "lb_XA.csv").unlink()
        return found

    monkeypatch.setattr(landing, "_settled", take_away)
    with caplog.at_level(logging.INFO, logger="msc_pipeline"):
        assert trial.decide() == {"ae_XA.csv": ("ACCEPTED", None)}
    assert "vanished" in caplog.text


def test_a_file_that_grows_waits(trial: TinyTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trial.send("XA", "LB", [lb("XA", 1)])
    profile = trial.study.profile("XA").model_copy(update={"settle_seconds": 0.2})
    with monkeypatch.context() as patch:
        patch.setattr(landing.time, "sleep", lambda _: path.write_text(path.read_text() + "more"))
        assert landing._settled([path], profile) == []
    assert landing._settled([path], profile) == [path]


@pytest.mark.parametrize("name", ["lb_XC.csv", "lb_XC.csv.part"])
def test_a_file_that_never_becomes_complete_raises_one_alert(trial: TinyTrial, name: str) -> None:
    path = trial.send("XC", "LB", [lb("XC", 1)], name=name)
    trial.decide()
    assert told(trial) == []
    age(path, overdue.OVERDUE_SECONDS + 1)
    for _ in range(2):
        trial.decide()
    assert told(trial) == ["STALLED"]
    assert trial.known("receipts") == [] and path.exists()
    path.unlink()
    trial.send("XC", "LB", [lb("XC", 1)], sha256=True)
    assert trial.decide() == {"lb_XC.csv": ("ACCEPTED", None)}


def test_a_companion_whose_file_never_comes_raises_one_alert(trial: TinyTrial) -> None:
    path = trial.send("XA", "LB", [lb("XA", 1)], sha256=True)
    companion = path.with_name(path.name + ".manifest.json")
    content = path.read_bytes()
    path.unlink()
    trial.decide()
    assert told(trial) == []
    age(companion, overdue.OVERDUE_SECONDS + 1)
    for _ in range(2):
        trial.decide()
    assert told(trial) == ["MANIFEST_ALONE"]
    path.write_bytes(content)
    assert trial.decide() == {"lb_XA.csv": ("ACCEPTED", None)}


def test_what_lies_where_no_site_can_have_put_it_raises_an_alert(trial: TinyTrial) -> None:
    places = trial.settings.landing / STUDY
    trial.folder("line\nend")
    (places / "stray.csv").write_text(csv_text([lb("XA", 1)]))
    for path in places.iterdir():
        age(path, overdue.OVERDUE_SECONDS + 1)
    trial.decide()
    assert told(trial) == ["MISPLACED", "MISPLACED"]
    assert not any("\n" in a["title"] or "stray" in a["body"] for a in trial.known("alerts"))


def test_a_manifest_that_must_be_there_must_declare_a_hash(trial: TinyTrial) -> None:
    trial.send("XC", "DM", [dm("XC", 1)], sequence=1)
    trial.decide()
    assert trial.decide() == {"dm_XC.csv": ("REJECTED", "MANIFEST")}


def test_a_file_over_the_limit_is_refused_without_being_copied(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.send("XA", "LB", [lb("XA", 1)])
    study = trial.study
    profile = study.profile("XA").model_copy(update={"max_bytes": 10})
    monkeypatch.setattr(type(study), "profile", lambda *_: profile)
    landing.land_site(study, "XA", trial.settings)
    assert [(d["status"], d["code"]) for d in trial.known("deliveries")] == [("REJECTED", "SIZE")]
    raw = trial.settings.home / STUDY / "raw"
    assert not raw.exists() or list(raw.iterdir()) == []
    assert [p.name.split("~")[1] for p in (trial.folder("XA") / ".refused").iterdir()] == ["lb_XA.csv"]
    assert pipeline.verify(STUDY, trial.settings)["files"] == 0


def test_a_formula_is_escaped_in_what_is_exported() -> None:
    cells = ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "plain"]
    (row,) = csv.reader(io.StringIO(_csv_line(cells)))
    assert row == ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@x", "plain"]
