"""Grades of CTCAE v5 against vectors, one a line of vectors/ctcae5.csv, written from the published criteria.

A vector is a subject with a first dose on 2026-03-01: a baseline record the day before where the vector gives one, and
the result to grade a month later (POST) or two weeks before the dose (PRE). Albumin, where given, is of the same sample.
"""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from msc_pipeline.study import load_study
from sql.conftest import PROJECT, Page, project_models, run_page

VECTORS = Path(__file__).parent / "vectors" / "ctcae5.csv"
DAY = {"POST": "2026-04-01T08:00", "PRE": "2026-02-15T08:00"}
ANSWER = ("ATOXGRL", "ATOXGRH", "ATOXGRHU", "TOXCERT")


def vectors() -> list[dict[str, str]]:
    with VECTORS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def analytes() -> list[list[str | None]]:
    """Every analyte of both studies with its standard unit, and INR, which neither collects."""
    known = {"INR": "1"}
    for study in ("cdiscpilot01", "misle"):
        known |= {a.LBTESTCD: a.standard_unit for a in load_study(study, PROJECT).analytes}
    return [[code, code, "OTHER", unit or None] for code, unit in known.items()]


def records(vector: dict[str, str]) -> list[list[str | None]]:
    """Return the lab records of one vector: baseline, albumin, and last the one to grade."""
    who, code, when = vector["vector"], vector["LBTESTCD"], DAY[vector["moment"]]
    rows: list[list[str | None]] = []
    if vector["base"]:
        rows.append(
            [who, code, vector["base"], vector["base_unit"], "0", vector["base_ULN"], "2026-02-28T08:00"]
        )
    if vector["albumin_g_per_L"]:
        rows.append([who, "ALB", vector["albumin_g_per_L"], "g/L", "35", "50", when])
    rows.append([who, code, vector["LBORRES"], vector["unit"], vector["LLN"], vector["ULN"], when])
    return [[cell or None for cell in row] for row in rows]


@pytest.fixture(scope="module")
def graded() -> dict[str, dict[str, Any]]:
    """Return vector → its four answers, all from one run of the models."""
    told = vectors()
    given: dict[str, Any] = {
        "accepted.lb": (
            ["USUBJID", "LBTESTCD", "LBORRES", "LBORRESU", "LBORNRLO", "LBORNRHI", "LBDTC"],
            [row for vector in told for row in records(vector)],
        ),
        "curated.adsl": (
            ["USUBJID", "TRTSDT", "TRTSDTM"],
            [[vector["vector"], "2026-03-01", "2026-03-01 09:00"] for vector in told],
        ),
        "study.analytes": (["LBTESTCD", "PARAM", "PARCAT1", "standard_unit"], analytes()),
    }
    columns = ["USUBJID", "PARAMCD", "LBDTC", *ANSWER]
    page = Page(given, (columns, []))
    found = run_page(page, project_models("curated")["curated.adlb"], columns)
    rows = {(row[0], row[1], row[2]): dict(zip(ANSWER, row[3:], strict=True)) for row in found}
    return {v["vector"]: rows[v["vector"], v["LBTESTCD"], DAY[v["moment"]]] for v in told}


def shown(answer: dict[str, Any]) -> dict[str, str]:
    return {name: "" if answer[name] is None else str(answer[name]) for name in ANSWER}


def test_every_vector_is_graded_as_the_published_criteria_say(graded: dict[str, dict[str, Any]]) -> None:
    wrong = [
        f"{v['vector']} {v['LBTESTCD']} {v['LBORRES']} {v['unit']} ({v['says']}): {shown(graded[v['vector']])}"
        for v in vectors()
        if shown(graded[v["vector"]]) != {name: v[name] for name in ANSWER}
    ]
    assert not wrong, f"{len(wrong)} vectors differ\n" + "\n".join(wrong)


def test_the_vectors_reach_every_criterion(graded: dict[str, dict[str, Any]]) -> None:
    told = vectors()
    assert len(told) >= 600
    assert len({tuple(v[k] for k in list(v)[1:11]) for v in told}) > 0.9 * len(told)
    reached = Counter[tuple[str, str, str]]()
    for vector in told:
        for column, direction in (("ATOXGRL", "LOW"), ("ATOXGRH", "HIGH"), ("ATOXGRHU", "HIGH")):
            reached[vector["LBTESTCD"], direction, vector[column]] += 1
    with (PROJECT / "sql/reference/ctcae5.csv").open(encoding="utf-8", newline="") as file:
        criteria = list(csv.DictReader(file))
    missing = {(c["LBTESTCD"], c["direction"], c["grade"]) for c in criteria} - set(reached)
    assert not missing
    assert all(v["TOXCERT"] or not (v["ATOXGRL"] or v["ATOXGRH"]) for v in told)
