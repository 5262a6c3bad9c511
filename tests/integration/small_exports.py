"""Exports of the small made-up study, good and bad, with marks that must never leave the data's own files."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL_STUDY = REPOSITORY / "tests" / "dags" / "small_study"
SITES = ("101", "102", "103")
SUBJECTS = 4
VISITS = (("1", "BASELINE", "2026-01-10"), ("2", "WEEK 4", "2026-02-07"))

MARKED_SUBJECT = "SM-103-MARKEDSUBJECT"
MARKED_RESULT = "MARKEDRESULT31337"
MARKED_DATE = "2026-02-30T31:33"
MARKED_CELL = "MARKEDCELL77"
MARKS = (MARKED_SUBJECT, MARKED_RESULT, MARKED_DATE, MARKED_CELL, "SM-101-001", "SM-102-001", "SM-103-001")
"""A subject that cannot be, results and cells no rule accepts, and ids of good subjects."""

BAD_FILE = "lb_102.csv"
Rows = list[dict[str, str]]


def make_project(folder: Path) -> Path:
    """Return a project that holds the small study and shares rules and models with the repository."""
    folder.mkdir()
    for name in ("sql", "expectations", "src", "plugins"):
        (folder / name).symlink_to(REPOSITORY / name)
    shutil.copytree(SMALL_STUDY, folder / "studies" / "small")
    return folder


def write_exports(landing: Path, *, bad_file: bool = True) -> None:
    """Write every site's DM, SV and LB: site 102's LB has a column that may not land, site 103's three bad rows."""
    for site in SITES:
        folder = landing / "small" / site
        lab = _lab(site)
        if site == "102":
            lab = [{**row, "ARM": MARKED_CELL} for row in lab]
        if site == "103":
            lab += _bad(lab)
        _write(folder / f"dm_{site}.csv", _demography(site))
        _write(folder / f"sv_{site}.csv", _visits(site))
        if bad_file or site != "102":
            _write(folder / f"lb_{site}.csv", lab)


def rows_written() -> dict[str, int]:
    """Return the good rows of all sites by domain."""
    subjects = len(SITES) * SUBJECTS
    return {"DM": subjects, "SV": subjects * len(VISITS), "LB": subjects * len(VISITS) * 2}


def _subjects(site: str) -> list[str]:
    return [f"SM-{site}-{number:03d}" for number in range(1, SUBJECTS + 1)]


def _demography(site: str) -> Rows:
    return [
        {
            "STUDYID": "SMALL01",
            "USUBJID": subject,
            "SUBJID": subject[-3:],
            "RFSTDTC": "2026-01-10",
            "SITEID": site,
            "AGE": "40",
            "SEX": "F",
        }
        for subject in _subjects(site)
    ]


def _visits(site: str) -> Rows:
    return [
        {"STUDYID": "SMALL01", "USUBJID": subject, "VISITNUM": number, "VISIT": visit, "SVSTDTC": day}
        for subject in _subjects(site)
        for number, visit, day in VISITS
    ]


def _lab(site: str) -> Rows:
    tests = (("ALT", "U/L", "30", "5", "40"), ("HGB", "g/dL", "13.5", "12", "16"))
    rows = [
        {
            "STUDYID": "SMALL01",
            "USUBJID": subject,
            "LBSEQ": "",
            "LBTESTCD": test,
            "LBORRES": result,
            "LBORRESU": unit,
            "LBORNRLO": low,
            "LBORNRHI": high,
            "VISITNUM": number,
            "VISIT": visit,
            "LBDTC": f"{day}T08:00",
        }
        for subject in _subjects(site)
        for number, visit, day in VISITS
        for test, unit, result, low, high in tests
    ]
    return [{**row, "LBSEQ": str(number)} for number, row in enumerate(rows, 1)]


def _bad(rows: Rows) -> Rows:
    first = rows[0]
    return [
        {**first, "LBSEQ": "901", "LBDTC": "2026-01-11T08:00", "USUBJID": MARKED_SUBJECT},
        {**first, "LBSEQ": "902", "LBDTC": "2026-01-12T08:00", "LBORRES": MARKED_RESULT},
        {**first, "LBSEQ": "903", "LBDTC": MARKED_DATE},
    ]


def _write(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}")
    with hidden.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    hidden.replace(path)
