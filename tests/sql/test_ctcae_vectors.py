"""Grades of CTCAE v5, against vectors and in properties that all grades have.

Vectors stand one a line in vectors/ctcae5.csv, written from the published criteria. A vector is a subject with a first
dose on 2026-03-01: a baseline record the day before where the vector gives one, and the result to grade a month later
(POST) or two weeks before the dose (PRE). Albumin, where given, is of the same sample.
"""

from __future__ import annotations

import csv
import random
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


Answers = dict[str, dict[str, Any]]


def grades(told: list[dict[str, str]]) -> Answers:
    """Return vector → its four answers, all from one run of the models."""
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


@pytest.fixture(scope="module")
def graded() -> Answers:
    return grades(vectors())


def shown(answer: dict[str, Any]) -> dict[str, str]:
    return {name: "" if answer[name] is None else str(answer[name]) for name in ANSWER}


PROVES = {
    "HGB": ("GRA-01", "GRA-02"), "WBC": ("GRA-03", "GRA-04"), "NEUT": ("GRA-05",), "LYM": ("GRA-06",),
    "CD4": ("GRA-06",), "PLAT": ("GRA-07",), "ALT": ("GRA-08",), "AST": ("GRA-08",), "ALP": ("GRA-09",),
    "GGT": ("GRA-09",), "BILI": ("GRA-10",), "ALB": ("GRA-11",), "CREAT": ("GRA-12",), "K": ("GRA-13",),
    "SODIUM": ("GRA-13",), "CA": ("GRA-13",), "GLUC": ("GRA-14",), "CHOL": ("GRA-14",), "CK": ("GRA-14",),
    "INR": ("GRA-14",), "UREAN": ("GRA-15",),
}  # fmt: skip
"""Test → the requirements that its vectors prove."""


@pytest.mark.requirement("GRA-15")
@pytest.mark.parametrize(
    "code", [pytest.param(code, marks=pytest.mark.requirement(*ids)) for code, ids in PROVES.items()]
)
def test_every_vector_is_graded_as_the_published_criteria_say(graded: Answers, code: str) -> None:
    told = [v for v in vectors() if v["LBTESTCD"] == code]
    wrong = [
        f"{v['vector']} {v['LBTESTCD']} {v['LBORRES']} {v['unit']} ({v['says']}): {shown(graded[v['vector']])}"
        for v in told
        if shown(graded[v["vector"]]) != {name: v[name] for name in ANSWER}
    ]
    assert told
    assert not wrong, f"{len(wrong)} vectors differ\n" + "\n".join(wrong)


def test_no_vector_is_left_out() -> None:
    assert {v["LBTESTCD"] for v in vectors()} == set(PROVES)


@pytest.mark.requirement("GRA-16")
def test_the_vectors_reach_every_criterion(graded: Answers) -> None:
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


WITH_BASELINES = ("ALT", "AST", "ALP", "GGT", "BILI", "CREAT")
ORDINARY = {"HGB": ("g/L", 120, 160), "WBC": ("10^9/L", 4, 11), "NEUT": ("10^9/L", 2, 7), "LYM": ("10^9/L", 1, 4),
            "PLAT": ("10^9/L", 150, 400), "ALB": ("g/L", 35, 50), "K": ("mmol/L", 3.5, 5),
            "SODIUM": ("mmol/L", 135, 145),
            "GLUC": ("mmol/L", 4, 6), "CD4": ("10^9/L", 0.5, 1.5), "CHOL": ("mmol/L", 3, 5.2), "CK": ("U/L", 30, 200),
            "ALT": ("U/L", 7, 40), "AST": ("U/L", 7, 40), "ALP": ("U/L", 40, 120), "GGT": ("U/L", 5, 60),
            "BILI": ("umol/L", 3, 21), "CREAT": ("umol/L", 45, 100)}  # fmt: skip
"""Test → unit, usual lower and upper limit: the range in which limits, baselines and values are drawn."""


def ladder(chance: random.Random, number: int, code: str) -> list[dict[str, str]]:
    """Return results that differ in their value only, from low to high; limits and baseline are drawn once."""
    unit, low, high = ORDINARY[code]
    limits = {"LLN": f"{low * chance.uniform(0.8, 1.2):.4f}", "ULN": f"{high * chance.uniform(1.2, 1.6):.4f}"}
    limits = {name: cell if chance.random() < 0.9 else "" for name, cell in limits.items()}
    base = f"{high * chance.choice([0.3, 0.9, 1.7, 4, 30]):.4f}" if code in WITH_BASELINES else ""
    base = base if chance.random() < 0.8 else ""
    values = sorted(high * 10 ** chance.uniform(-2.5, 2) for _ in range(12))
    same = {"LBTESTCD": code, "unit": unit, **limits, "moment": chance.choice(["PRE", "POST", "POST"]), "base": base,
            "base_unit": unit, "base_ULN": limits["ULN"], "albumin_g_per_L": ""}  # fmt: skip
    return [
        same | {"vector": f"L{number}-{n:02d}", "LBORRES": f"{value:.6f}"} for n, value in enumerate(values)
    ]


@pytest.mark.requirement("GRA-23")
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_higher_value_never_has_a_lower_high_grade_nor_a_higher_low_grade(seed: int) -> None:
    chance = random.Random(seed)
    ladders = [ladder(chance, n, code) for n, code in enumerate(sorted(ORDINARY) * 6)]
    answers = grades([step for steps in ladders for step in steps])
    for steps in ladders:
        for column, sign in (("ATOXGRL", -1), ("ATOXGRH", 1), ("ATOXGRHU", 1)):
            told = [sign * g for step in steps if (g := answers[step["vector"]][column]) is not None]
            assert told == sorted(told), f"{column} of {steps[0]}"


@pytest.mark.requirement("GRA-18")
def test_grades_do_not_depend_on_the_order_of_the_records(graded: Answers) -> None:
    told = vectors()
    random.Random(4).shuffle(told)
    assert grades(told) == graded
