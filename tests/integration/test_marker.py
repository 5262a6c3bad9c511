"""Planted subjects and values: whatever is wrong with them, no log, ledger, alert, error or report quotes them."""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from integration.searching import cells_of, cells_of_ledger, derived_files, hits
from integration.state import table
from msc_pipeline import cli, pipeline
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.trying import try_file
from tiny_trial import STUDY, TinyTrial, ae, cm, csv_text, dm, ex, lb, make_trial, sv

SUBJECT = "TINY01-XA-731"
STRANGER = "TINY01-QQ-SUBJECT77"
NUMBER = "31337.731731"
HUGE = "731" * 140
WORD = "Quxmarkerquux"
DATE = "2025-02-31T31:37"
ODD = "9731-99-31"
MARKERS = (SUBJECT, "SUBJECT77", NUMBER, "731731731731", WORD, DATE, ODD)
Rows = list[dict[str, str]]


def marked(row: dict[str, str], **cells: str) -> dict[str, str]:
    """Return a row of the planted subject."""
    return {**row, "USUBJID": SUBJECT, **cells}


def whole(rows: Rows) -> Rows:
    """Give every row every column."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, "") for name in names} for row in rows]


def bad_rows() -> dict[str, Rows]:
    """Return domain → rows, each wrong in another way, among many good ones."""
    good = range(1, 41)
    labs = [lb("XA", n % 40 + 1, LBSEQ=str(n), LBDTC=f"2025-03-{n // 40 + 1:02d}T09:00") for n in range(400)]
    wrong = [
        {"LBORRES": NUMBER + "x"}, {"LBORRES": HUGE}, {"LBORRES": f"-{HUGE}.5"}, {"LBORRES": "1e999"},
        {"LBORRES": "inf"}, {"LBORRES": WORD}, {"LBORRES": f"<{HUGE}"}, {"LBORRESU": WORD},
        {"LBTESTCD": WORD.upper()[:8]}, {"LBDTC": DATE}, {"LBDTC": ODD}, {"LBDTC": "infinity"},
        {"LBDTC": f"0000-00-00{WORD}"}, {"LBORNRLO": HUGE}, {"LBORNRHI": "nan"}, {"LBSEQ": HUGE},
        {"LBSEQ": "-1"}, {"VISITNUM": HUGE}, {"VISITNUM": "1e308"}, {"VISITNUM": "9999999999"},
        {"VISIT": WORD}, {"STUDYID": WORD},
        {"LBSTAT": WORD}, {"LBORRES": NUMBER}, {"LBORRES": "1" + NUMBER}, {"USUBJID": STRANGER},
        {"USUBJID": ""}, {"USUBJID": f"{SUBJECT}\u200b"}, {"USUBJID": f" {SUBJECT}"},
    ]  # fmt: skip
    date = {"LBDTC": "2025-03-20T09:00"}
    return {
        "LB": [*labs, *(marked(lb("XA", 1), **{**date, **cells}) for cells in wrong)],
        "DM": [*(dm("XA", n) for n in good), marked(dm("XA", 1), AGE=HUGE), marked(dm("XA", 1), SEX=WORD),
               dm("XA", 90, USUBJID=STRANGER), dm("XA", 91, AGE="1e99"), dm("XA", 92, DTHDTC=ODD, DTHFL="Y")],
        "EX": [*(ex("XA", n) for n in good), marked(ex("XA", 1), EXSTDTC=DATE),
               marked(ex("XA", 1, EXSEQ="2"), EXENDTC=ODD), ex("XA", 39, EXSEQ=HUGE)],
        "SV": [*(sv("XA", n) for n in good), marked(sv("XA", 1), VISITNUM=HUGE), marked(sv("XA", 1), SVSTDTC=ODD),
               sv("XA", 1, VISITNUM="1234567890"),
               sv("XA", 1, VISITNUM="1.0"),
               marked(sv("XA", 1), VISIT=WORD)],
        "AE": [*(ae("XA", n) for n in good), marked(ae("XA", 1), AESEQ=HUGE), marked(ae("XA", 1, 2), AESTDTC=DATE),
               marked(ae("XA", 1, 3), AESTDTC="99999-01-01"), marked(ae("XA", 1, 4), AESEV=WORD, AESER=WORD),
               marked(ae("XA", 1, 5), AETERM=f"{WORD}\nsecond line"), marked(ae("XA", 1, 6), AESEQ="1e400"),
               ae("XA", 1, AESEQ="01")],
        "CM": [*(cm("XA", n) for n in good), marked(cm("XA", 1), CMDOSE=HUGE), marked(cm("XA", 1, 2), CMSTDTC=DATE),
               marked(cm("XA", 1, 3), CMTRT=f"{WORD} {SUBJECT}"), marked(cm("XA", 1, 4), CMSEQ=HUGE),
               marked(cm("XA", 1, 5), CMSEQ="1e400")],
    }  # fmt: skip


def bad_files() -> dict[str, bytes]:
    """Return file name → bytes, each wrong as a whole."""
    good = csv_text([marked(lb("XB", n), LBORRES=NUMBER) for n in range(1, 30)])
    head, first, *rest = good.splitlines(keepends=True)
    wide = first.rstrip("\n") + f",{WORD}\n"
    return {
        "lb_encoding.csv": (good + first.replace("U/L", f"{WORD}\u00e9")).encode("latin-1"),
        "lb_utf16.csv": good.encode("utf-16"),
        "lb_utf16le.csv": good.encode("utf-16-le"),
        "lb_nul.csv": good.encode() + WORD.encode() + b"\x00\n",
        "lb_quote.csv": (good + f'"{WORD},{SUBJECT}\n').encode(),
        "lb_quotes.csv": (good + f'"{WORD}" "{SUBJECT}",\n').encode(),
        "lb_long.csv": (good + WORD * 100_000 + "\n").encode(),
        "lb_newline.csv": (good + first.replace("ALT", f'"{WORD}\n{SUBJECT}"')).encode(),
        "lb_ragged.csv": (head + "".join([*rest, *([wide] * 9)])).encode(),
        "lb_all_ragged.csv": (head + wide * 9).encode(),
        "lb_headless.csv": "".join([first, *rest]).encode(),
        "lb_header.csv": (head.replace("LBORRES,", f"{SUBJECT},") + first).encode(),
        "lb_header_twice.csv": (head.rstrip("\n") + f",{WORD},{WORD}\n" + wide).encode(),
        "lb_header_again.csv": (head + first + head + "".join(rest)).encode(),
        "lb_semicolon.csv": good.replace(",", ";").encode(),
        "lb_cut.csv": good.encode()[:-3],
        "lb_returns.csv": good.replace("\n", "\r").encode(),
        "lb_empty.csv": b"",
        f"lb_{SUBJECT}.csv": good.encode(),
        f"lb_{SUBJECT}_{SUBJECT}_v{'9' * 21}.csv": good.encode(),
        f"report of {SUBJECT}.csv": good.encode(),
        "dm_xb.csv": csv_text([marked(dm("XB", 1)), marked(dm("XB", 1), AGE="44")]).encode(),
    }  # fmt: skip


MANIFESTS = {
    "a": b'{"sha256": "' + WORD.encode() + b'"}',
    "b": b'{"sequence": ' + HUGE.encode() + b"}",
    "c": b'{"sequence": 1e999, "rows": "' + WORD.encode() + b'"}',
    "d": b'{"extracted_at": "' + ODD.encode() + b'"}',
    "e": b'{"' + SUBJECT.encode() + b'": 1}',
    "f": b"[" * 100_000,
    "g": WORD.encode() + b"\xff",
    "h": b'{"rows": 7, "sha256": "ITS OWN"}',
}


@dataclass(frozen=True)
class Seen:
    """Everything a run of bad files let out."""

    trial: TinyTrial
    report: dict[str, Any]
    printed: str
    logged: str


class Collect(logging.Handler):
    """Keep every record, formatted with its exception."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    trial = make_trial(tmp_path_factory.mktemp("marker"))
    for domain, rows in bad_rows().items():
        trial.send("XA", domain, whole(rows))
    trial.send("XA", "CM", [marked(cm("XA", 1), CMDOSE="5", CMTRT=WORD.upper())], name="cm_XA_v2.csv")
    for name, data in bad_files().items():
        trial.send("XB", "", data, name=name)
    for name, manifest in MANIFESTS.items():
        path = trial.send("XC", "DM", [marked(dm("XC", 1))], name=f"dm_{name}.csv")
        own = hashlib.sha256(path.read_bytes()).hexdigest().encode()
        path.with_name(f"{path.name}.manifest.json").write_bytes(manifest.replace(b"ITS OWN", own))
    collect = Collect()
    root, levels = logging.getLogger(), {n: logging.getLogger(n).level for n in ("", "sqlalchemy.engine")}
    root.addHandler(collect)
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in (
            ("HOME", trial.settings.home),
            ("LANDING", trial.settings.landing),
            ("PROJECT", trial.settings.project),
        ):
            patch.setenv(f"MSC_{key}", str(value))
        runner = CliRunner()
        ran = runner.invoke(cli.app, ["--verbose", "run", "--study", STUDY, "--jobs", "1", "--json"])
        listed = [
            runner.invoke(cli.app, [command, "--study", STUDY, *how])
            for command in ("deliveries", "queries", "verify")
            for how in ([], ["--json"])
        ]
    root.removeHandler(collect)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    printed = "".join(
        r.output + "".join(traceback.format_exception(r.exception)) if r.exception else r.output
        for r in (ran, *listed)
    )
    assert ran.exit_code == 3, printed
    yield Seen(trial, json.loads(ran.stdout), printed, "\n".join(collect.lines))


def test_every_planted_fault_became_a_rejection_quarantine_or_query(seen: Seen) -> None:
    status = {(d["site"], d["domain"]): d["status"] for d in seen.report["deliveries"]}
    assert {status["XA", d] for d in ("LB", "DM", "EX", "SV", "AE", "CM")} <= {"PARTIAL", "ACCEPTED"}
    assert {d["status"] for d in seen.report["deliveries"] if d["site"] in ("XB", "XC")} == {"REJECTED"}
    codes = {d["code"] for d in seen.report["deliveries"] if d["site"] == "XB"}
    assert len(codes) > 12, codes
    assert {d["code"] for d in seen.report["deliveries"] if d["site"] == "XC"} == {
        "MANIFEST",
        "SHA_MISMATCH",
        "COUNT_MISMATCH",
    }


def test_no_log_line_and_nothing_printed_quotes_a_marker(seen: Seen) -> None:
    assert len(seen.logged) > 10_000 and "staged delivery" in seen.logged
    assert [line for line in seen.logged.splitlines() if hits(MARKERS, line)] == []
    assert hits(MARKERS, seen.printed) == []


def test_no_cell_of_the_ledger_holds_a_marker(seen: Seen) -> None:
    tables = dict(cells_of_ledger(seen.trial.settings))
    assert {"alerts", "audit", "deliveries", "queries", "receipts", "results"} <= set(tables)
    assert {name: hits(MARKERS, text) for name, text in tables.items() if hits(MARKERS, text)} == {}
    for path in seen.trial.settings.home.glob("ledger.sqlite*"):
        assert hits(MARKERS, path.read_bytes()) == []


def test_no_error_quotes_a_marker(seen: Seen) -> None:
    refused = 0
    for delivery in table(seen.trial.settings, "deliveries"):
        try:
            pipeline.verdict(STUDY, delivery["id"], seen.trial.settings)
        except DeliveryRejected as error:
            refused += 1
            assert hits(MARKERS, "".join(traceback.format_exception(error)) + repr(error)) == []
    assert refused > 25


def test_trying_a_file_quotes_no_marker(seen: Seen, tmp_path: Path) -> None:
    for name, data in bad_files().items():
        file = tmp_path / f"lb_{len(name)}.csv"
        file.write_bytes(data)
        report = try_file(seen.trial.study, "XB", file, seen.trial.settings, domain="LB")
        assert hits(MARKERS, json.dumps({**report, "file": ""})) == []


def test_operations_tables_findings_and_file_names_hold_no_marker(seen: Seen) -> None:
    for path in derived_files(seen.trial.settings.home):
        assert hits(MARKERS, str(path)) == []
        for place, text in cells_of(path):
            if path.parent.parent.name == "findings" or place.startswith("ops."):
                assert hits(MARKERS, text) == [], (path, place)


def test_the_search_finds_markers_where_they_belong(seen: Seen) -> None:
    raw = [p.read_bytes() for p in (seen.trial.settings.home / STUDY / "raw").iterdir()]
    assert all(any(hits([marker], data) for data in raw) for marker in MARKERS)
    curated = [
        text
        for p in derived_files(seen.trial.settings.home)
        for _, text in cells_of(p)
        if p.suffix == ".duckdb"
    ]
    assert any(hits([SUBJECT], text) for text in curated)
