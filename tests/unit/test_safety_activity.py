"""What a study says about disease activity, and Student's t as the long-term table reads it."""

from __future__ import annotations

import csv
import math
from typing import Any

import pytest
from pydantic import ValidationError

from msc_pipeline.safety.activity import Activity
from msc_pipeline.settings import PROJECT

WHOLE: dict[str, Any] = {
    "sledai": {"total": "SLEDAI", "items": ["SLEDAI01", "SLEDAI02"]},
    "bilag": ["BILAGMSK"],
    "pga": {"RSTESTCD": "PGA", "rise": "0.3"},
    "responder": {"drop": 4},
    "immune_cells": ["CD4"],
}


def test_a_study_that_says_nothing_has_the_tables_empty() -> None:
    tables = Activity().relations()
    assert {name: table.num_rows for name, table in tables.items()} == {
        "sledai": 0, "bilag": 0, "responder": 0, "immune_cells": 0,
    }  # fmt: skip
    assert tables["responder"].schema.names == ["drop", "new_a", "new_b", "pga", "pga_rise"]


def test_scores_become_rows_with_their_role() -> None:
    rows = Activity.model_validate(WHOLE).relations()["sledai"].to_pylist()
    assert [(r["RSTESTCD"], r["role"]) for r in rows] == [
        ("SLEDAI", "TOTAL"),
        ("SLEDAI01", "ITEM"),
        ("SLEDAI02", "ITEM"),
    ]


def test_an_index_allows_no_new_a_and_one_new_b_unless_told_otherwise() -> None:
    rows = Activity.model_validate(WHOLE).relations()["responder"].to_pylist()
    assert [{**row, "pga_rise": str(row["pga_rise"])} for row in rows] == [
        {"drop": 4, "new_a": 0, "new_b": 1, "pga": "PGA", "pga_rise": "0.30000000"}
    ]


def test_without_a_global_assessment_its_code_is_null() -> None:
    rows = Activity.model_validate({**WHOLE, "pga": None}).relations()["responder"].to_pylist()
    assert (rows[0]["pga"], rows[0]["pga_rise"]) == (None, None)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"responder": {"drop": 0}}, "responder.drop"),
        ({"responder": {"drop": 4, "new_b": -1}}, "responder.new_b"),
        ({"pga": {"RSTESTCD": "PGA", "rise": "0"}}, "pga.rise"),
        ({"sledai": {"items": []}}, "sledai.total"),
        ({"thresholds": {}}, "thresholds"),
        ({"bilag": []}, "needs `sledai` and `bilag`"),
        ({"bilag": ["SLEDAI"]}, "named twice"),
    ],
)
def test_a_wrong_value_is_refused_naming_the_field(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as error:
        Activity.model_validate({**WHOLE, **change})
    first = error.value.errors()[0]
    assert named in ".".join(map(str, first["loc"])) + first["msg"]


# -- Student's t


def quantiles() -> dict[int, float]:
    with (PROJECT / "sql" / "reference" / "t_quantiles.csv").open(encoding="utf-8", newline="") as file:
        return {int(row["df"]): float(row["t975"]) for row in csv.DictReader(file)}


def between(t: float, df: int) -> float:
    """Return P(-t < T < t) for a whole number of degrees of freedom (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle, odd = math.atan(t / math.sqrt(df)), df % 2
    term = math.cos(angle) if odd else 1.0
    terms = []
    for j in range(df // 2):
        terms.append(term)
        term *= math.cos(angle) ** 2 * (2 * j + 1 + odd) / (2 * j + 2 + odd)
    total = math.sin(angle) * math.fsum(terms)
    return (angle + total) * 2 / math.pi if odd else total


def test_95_percent_lie_within_every_quantile() -> None:
    wrong = [df for df, t in quantiles().items() if abs(between(t, df) - 0.95) > 1e-9]
    assert wrong == []


def test_every_number_of_degrees_up_to_200_is_listed_and_quantiles_fall() -> None:
    listed = quantiles()
    assert list(listed)[:200] == list(range(1, 201))
    assert list(listed) == sorted(listed)
    assert list(listed.values()) == sorted(listed.values(), reverse=True)
    assert listed[max(listed)] > 1.959964


@pytest.mark.parametrize(
    ("df", "published"), [(1, 12.706), (5, 2.571), (10, 2.228), (30, 2.042), (120, 1.980)]
)
def test_quantiles_are_those_of_published_tables(df: int, published: float) -> None:
    assert round(quantiles()[df], 3) == published


@pytest.mark.parametrize("wrong", [-1e-6, 1e-6])
def test_the_comparison_would_see_an_error_in_the_sixth_digit(wrong: float) -> None:
    assert abs(between(quantiles()[10] + wrong, 10) - 0.95) > 1e-9
