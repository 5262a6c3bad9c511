"""The blind: nothing open depends on who is in which arm, and a word that names an arm reaches nothing open."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from integration.searching import cells_of, cells_of_ledger, derived_files, hits
from integration.state import content, curated_parts
from msc_pipeline import pipeline
from msc_pipeline.publishing import current
from msc_pipeline.sample import load_spec, read_sources, write_sample
from msc_pipeline.settings import PROJECT, Settings
from msc_pipeline.study import load_study
from tiny_trial import STUDY, STUDY_YAML, TinyTrial, ae, cm, dm, ex, lb, make_trial, subject, sv

PILOT = "cdiscpilot01"
SITES = ("01-706",)
ARM_COLUMNS = ("ARMCD", "ARM", "ACTARMCD", "ACTARM")
DOSE_COLUMNS = ("EXTRT", "EXDOSE", "EXDOSU", "EXDOSFRM")
Tables = Mapping[str, pa.Table]
Rows = list[dict[str, Any]]

WORDS = ("activex", "comparatorx")
MORE_DOMAINS = """  DS:
    update: cumulative
    key: [USUBJID, DSSEQ]
    required: [STUDYID, USUBJID, DSSEQ, DSTERM, DSDECOD, DSSTDTC]
    optional: [DSCAT]
    suites: [common/identity, common/blind, visit/ds]
  MH:
    update: cumulative
    key: [USUBJID, MHSEQ]
    required: [STUDYID, USUBJID, MHSEQ, MHTERM, MHSTDTC]
    suites: [common/identity, common/blind, visit/mh]
visits:
"""


# -- who is in which arm ------------------------------------------------------------------------------


def one_site(tables: Tables) -> dict[str, pa.Table]:
    """Return the rows of a site with few subjects in all three arms, of every dataset."""
    sites = pa.array(SITES)
    return {
        name: t.filter(pc.is_in(pc.utf8_slice_codeunits(t["USUBJID"], 0, 6), value_set=sites))
        for name, t in tables.items()
    }


def rearranged(tables: Tables) -> dict[str, pa.Table]:
    """Give every subject another arm, and the records of dosing that another arm would have had."""
    changed = dict(tables)
    people = changed["dm"].to_pylist()
    arms = [{name: row[name] for name in ARM_COLUMNS} for row in people]
    people = [{**row, **arm} for row, arm in zip(people, arms[1:] + arms[:1], strict=True)]
    doses: dict[str, Rows] = {}
    for row in changed["ex"].to_pylist():
        doses.setdefault(row["USUBJID"], []).append(row)
    records = [new for rows in doses.values() for new in (_one(rows) if len(rows) > 1 else _two(rows[0]))]
    told = [{name: row[name] for name in DOSE_COLUMNS} for row in records]
    records = [{**row, **dose} for row, dose in zip(records, told[2:] + told[:2], strict=True)]
    for name, rows in (("dm", people), ("ex", records[::-1])):
        changed[name] = pa.Table.from_pylist(rows, schema=changed[name].schema)
    return changed


def _one(rows: Rows) -> Rows:
    first, last = (f(row["EXENDTC"] or "" for row in rows) for f in (min, max))
    assert first <= last
    return [{**rows[0], "EXENDTC": last}]


def _two(row: dict[str, Any]) -> Rows:
    return [{**row, "EXENDTC": row["EXSTDTC"]}, {**row, "EXSEQ": row["EXSEQ"] + 1}]


@dataclass(frozen=True)
class Arranged:
    """A sample under one list of arms: its folder and the settings it was run with."""

    folder: Path
    settings: Settings

    @property
    def exports(self) -> dict[str, bytes]:
        """File → bytes of everything that lands."""
        return {
            str(p.relative_to(self.folder)): p.read_bytes() for p in (self.folder / "landing").rglob("*.csv")
        }


@pytest.fixture(scope="module")
def arranged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Arranged, Arranged]:
    """A site of the pilot under the true list of arms and under another one, not yet run."""
    study = load_study(PILOT, PROJECT)
    tables = one_site(read_sources(load_spec(study, PROJECT)))
    made = []
    for name, mine in (("true", tables), ("other", rearranged(tables))):
        folder = tmp_path_factory.mktemp(name)
        write_sample(study, folder / "landing", closed=folder / "closed", tables=mine)
        made.append(Arranged(folder, Settings(home=folder / "home", landing=folder / "landing")))
    return made[0], made[1]


@pytest.mark.requirement("ALL-01")
def test_another_list_of_arms_changes_no_byte_that_lands(arranged: tuple[Arranged, Arranged]) -> None:
    true, other = arranged
    assert len(true.exports) == 9
    assert other.exports == true.exports
    for name in ("randomisation", "exposure"):
        lists = [(a.folder / "closed" / PILOT / f"{name}.parquet").read_bytes() for a in arranged]
        assert lists[0] != lists[1], name


@pytest.mark.requirement("ALL-01")
def test_another_list_of_arms_changes_no_byte_of_curated_data_and_nothing_in_the_release(
    arranged: tuple[Arranged, Arranged],
) -> None:
    names = set()
    for one in arranged:
        names.add(pipeline.run(PILOT, one.settings)["release"])
    true, other = arranged
    assert curated_parts(other.settings) == curated_parts(true.settings)
    assert len(names) == 1
    files = [current(PILOT, one.settings) for one in arranged]
    open_ = [content(file, "curated", "dsmb") for file in files if file]
    assert open_[0] == open_[1]
    assert len(open_[0]['curated."adlb"']) > 100


# -- words that name an arm ---------------------------------------------------------------------------


def planted(trial: TinyTrial) -> dict[str, str]:
    """Send exports that name an arm in every kind of cell, in headers, names and manifests; return file → status."""
    people = range(1, 41)
    word, other = "ActiveX", "COMPARATORX"
    rows: dict[str, Rows] = {
        "DM": [*(dm("XA", n) for n in people), dm("XA", 41, SEX=word), dm("XA", 42, SUBJID=other)],
        "EX": [*(ex("XA", n) for n in people), ex("XA", 41, EXSTDTC=word), ex("XA", 42, EXSEQ=other)],
        "SV": [*(sv("XA", n) for n in people), sv("XA", 41, VISIT=f"{word} DAY 1"), sv("XA", 42, VISITNUM=other)],
        "LB": [*(lb("XA", n) for n in people), lb("XA", 41, LBORRES=word), lb("XA", 42, LBORRESU=other),
               lb("XA", 43, LBTESTCD=word), lb("XA", 44, VISIT=f"on {other}"), lb("XA", 45, LBDTC=word),
               lb("XA", 46, USUBJID=f"{subject('XA', 46)} {word}")],
        "CM": [*(cm("XA", n) for n in people), cm("XA", 1, 2, CMTRT=f"open label {word}, 2 tablets"),
               cm("XA", 2, 2, CMTRT=f"arm_{other}_dose"), cm("XA", 3, 2, CMSTDTC=word)],
        "AE": [*(ae("XA", n) for n in people), ae("XA", 1, 2, AETERM=f"Rash after\n{word}."), ae("XA", 2, AESEQ=other),
               ae("XA", 3, 2, AESEV=word), ae("XA", 4, 2, AESTDTC=f"2025 {other}"), ae("XA", 5, 2, AESER=word),
               ae("XA", 6, 2, AETERM=f"GROUP_{word}_B")],
        "DS": [*(_ds(n) for n in people), _ds(41, DSTERM=f"Unblinded: {word}"),
               _ds(42, DSDECOD="DEATH", DSTERM=f"Died on {other}"), _ds(43, DSDECOD=word),
               _ds(44, DSCAT=other, DSDECOD="DEATH")],
        "MH": [*(_mh(n) for n in people), _mh(41, MHTERM=f"Allergy to {word}")],
    }  # fmt: skip
    for domain, mine in rows.items():
        names = dict.fromkeys(name for row in mine for name in row)
        trial.send(
            "XA",
            domain,
            [{name: row.get(name, "") for name in names} for row in mine],
            name=f"{domain}_XA_v1.csv",
        )
    events = [
        {**row, "AETERM": row["AETERM"] if "GROUP" in row["AETERM"] else "Headache"} for row in rows["AE"]
    ]
    trial.send(
        "XA",
        "AE",
        [{**row, "AESEV": row["AESEV"].replace(word, "MILD")} for row in events],
        name="ae_XA_v2.csv",
    )
    trial.send("XA", "CM", [cm("XA", 1, 2), cm("XA", 4, CMTRT=f"{other} tablets")], name="cm_XA_v2.csv")
    trial.send("XB", "DM", [dm("XB", 1)], name=f"dm_{word}.csv")
    trial.send("XB", "LB", [lb("XB", 1)], name=f"lb_XB {word}-{other}_v3.csv")
    trial.send("XB", "AE", [ae("XB", 1, ACTIVEX="1")])
    trial.send("XB", "CM", [cm("XB", 1)], name=f"{other}.csv")
    trial.send("XC", "DM", [dm("XC", 1)], sha256=word, extracted_at=other)
    trial.send("XC", "EX", [ex("XC", 1)], **{word: 1})
    partial = {f"{domain}_XA_v1.csv": "PARTIAL" for domain in rows}
    return partial | {
        "AE_XA_v1.csv": "ACCEPTED", "ae_XA_v2.csv": "ACCEPTED", "cm_XA_v2.csv": "REJECTED",
        "dm_masked.csv": "ACCEPTED", "lb_XB masked-masked_v3.csv": "ACCEPTED",
        "ae_XB.csv": "REJECTED", "masked.csv": "REJECTED", "dm_XC.csv": "REJECTED", "ex_XC.csv": "REJECTED",
    }  # fmt: skip


def _ds(number: int, **cells: str) -> dict[str, str]:
    row = {"STUDYID": "TINY01", "USUBJID": subject("XA", number), "DSSEQ": "1", "DSTERM": "COMPLETED"}
    return {**row, "DSDECOD": "COMPLETED", "DSCAT": "DISPOSITION EVENT", "DSSTDTC": "2025-03-20", **cells}


def _mh(number: int, **cells: str) -> dict[str, str]:
    row = {"STUDYID": "TINY01", "USUBJID": subject("XA", number), "MHSEQ": "1"}
    return {**row, "MHTERM": "Hypertension", "MHSTDTC": "2019", **cells}


@dataclass(frozen=True)
class Told:
    """A trial whose exports name arms, run once: expected statuses, report, log lines."""

    trial: TinyTrial
    statuses: dict[str, str]
    report: dict[str, Any]
    logged: str


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    trial = make_trial(tmp_path_factory.mktemp("told"), STUDY_YAML.replace("visits:\n", MORE_DOMAINS))
    statuses = planted(trial)
    records: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: records.append(handler.format(record))  # type: ignore[method-assign]
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    report = trial.run()
    root.setLevel(level)
    root.removeHandler(handler)
    yield Told(trial, statuses, report, "\n".join(records))


def test_records_that_name_an_arm_are_quarantined_and_events_are_kept(told: Told) -> None:
    assert {d["file"]: d["status"] for d in told.report["deliveries"]} == told.statuses
    counts = {d["file"]: (d["rows_in"], d["quarantined"]) for d in told.report["deliveries"]}
    assert counts["AE_XA_v1.csv"] == (46, 0)
    assert counts["LB_XA_v1.csv"] == (46, 6)
    assert counts["CM_XA_v1.csv"] == (43, 3)
    assert counts["MH_XA_v1.csv"] == (41, 1)
    masked = told.trial.rows("select AETERM from curated.adae where contains(AETERM, '[masked]')")
    assert [row["AETERM"] for row in masked] == ["GROUP[masked]B"], "a correction took the others away"


def test_no_open_file_of_the_home_holds_a_word_of_the_blind(told: Told) -> None:
    home, looked_at = told.trial.settings.home, set()
    for path in derived_files(home):
        looked_at.add(path.suffix)
        assert hits(WORDS, str(path.relative_to(home))) == []
        for place, text in cells_of(path):
            assert hits(WORDS, text) == [], (path, place)
    assert {".parquet", ".duckdb", ".sqlite"} <= looked_at


def test_no_cell_of_the_ledger_no_log_line_and_no_report_holds_a_word_of_the_blind(told: Told) -> None:
    assert {
        name: hits(WORDS, text) for name, text in cells_of_ledger(told.trial.settings) if hits(WORDS, text)
    } == {}
    assert "staged delivery" in told.logged and hits(WORDS, told.logged) == []
    assert hits(WORDS, json.dumps(told.report)) == []


def test_what_sites_sent_still_holds_the_words(told: Told) -> None:
    raw = b"".join(p.read_bytes() for p in (told.trial.settings.home / STUDY / "raw").iterdir())
    assert hits(WORDS, raw) == list(WORDS)
