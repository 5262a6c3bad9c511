"""Eligibility as configuration: criteria of ten kinds become tables, and a wrong one is refused naming its field."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from msc_pipeline.safety.eligibility import Eligibility
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study, study_ids

AGE: dict[str, Any] = {"kind": "age", "CRITERION": "age", "low": 18}
RESULT: dict[str, Any] = {"kind": "result", "CRITERION": "Hb", "LBTESTCD": "HGB"}
WASHOUT: dict[str, Any] = {"kind": "not taken", "CRITERION": "washout", "months": 2}


def rows(*criteria: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    made = Eligibility.model_validate({"criteria": criteria}).relations()
    return {name: table.to_pylist() for name, table in made.items()}


def refused(*criteria: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        Eligibility.model_validate({"criteria": criteria})
    error = caught.value.errors()[0]
    return " ".join([*map(str, error["loc"]), error["msg"]])


def test_without_criteria_every_table_exists_and_is_empty() -> None:
    assert rows() == {
        "criteria": [], "criteria_age": [], "criteria_tests": [], "criteria_history": [],
        "criteria_medication": [], "criteria_steroid": [],
    }  # fmt: skip


def test_criteria_keep_their_order_and_name_the_domain_of_their_evidence() -> None:
    made = rows({**RESULT, "at_least": "8", "unit": "g/dL"}, AGE, {**WASHOUT, "drugs": ["BELIMUMAB"]})
    assert [(c["CRITNUM"], c["CRITERION"], c["DOMAIN"]) for c in made["criteria"]] == [
        (1, "Hb", "LB"), (2, "age", "DM"), (3, "washout", "CM"),
    ]  # fmt: skip


def test_a_limit_becomes_an_exact_number_of_its_unit() -> None:
    (test,) = rows({**RESULT, "at_least": "8.1", "unit": "g/dL"})["criteria_tests"]
    assert (test["how"], test["TESTCD"], test["at_least"], test["at_most"], test["unit"]) == (
        "LIMIT", "HGB", Decimal("8.1"), None, "g/dL",
    )  # fmt: skip


def test_a_multiple_of_the_upper_limit_has_no_unit() -> None:
    (test,) = rows({**RESULT, "at_most_uln": 4})["criteria_tests"]
    assert (test["how"], test["at_most"], test["unit"]) == ("TIMES ULN", 4, None)


def test_a_titer_and_a_concentration_are_two_tests_of_one_criterion() -> None:
    both = {
        "kind": "antibodies",
        "CRITERION": "ANA",
        "titer": "ANA",
        "dilution": 80,
        "concentration": "DSDNA",
    }
    tests = rows({**both, "negative": ["NEGATIVE"]})["criteria_tests"]
    assert [(t["how"], t["TESTCD"], t["at_least"], t["fails"]) for t in tests] == [
        ("TITER", "ANA", 80, ["NEGATIVE"]), ("ABOVE RANGE", "DSDNA", None, ["NEGATIVE"]),
    ]  # fmt: skip


def test_a_grade_is_a_test_of_every_system() -> None:
    grade = {"kind": "grade", "CRITERION": "BILAG", "systems": ["BILAGREN", "BILAGMUC"], "grades": ["A", "B"]}
    assert [(t["TESTCD"], t["meets"]) for t in rows(grade)["criteria_tests"]] == [
        ("BILAGREN", ["A", "B"]), ("BILAGMUC", ["A", "B"]),
    ]  # fmt: skip


def test_both_kinds_of_washout_are_medication() -> None:
    stable = {"kind": "unchanged", "CRITERION": "stable", "months": 3, "classes": ["IMMUNOSUPPRESSANT"]}
    made = rows({**WASHOUT, "classes": ["BIOLOGIC"], "other_than": ["BELIMUMAB"]}, stable)
    assert [(m["CRITERION"], m["unchanged"], m["other_than"]) for m in made["criteria_medication"]] == [
        ("washout", False, ["BELIMUMAB"]), ("stable", True, []),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"kind": "wish", "CRITERION": "x"}, "kind"),
        ({**AGE, "low": None}, "low"),
        ({**AGE, "low": "eighteen"}, "low"),
        ({**AGE, "middle": 40}, "middle"),
        ({**AGE, "CRITERION": ""}, "CRITERION"),
        (RESULT, "at_least"),
        ({**RESULT, "at_least": 8, "at_most": 9, "unit": "g/dL"}, "at_most"),
        ({**RESULT, "at_least": 8}, "unit"),
        ({**RESULT, "at_most_uln": 4, "unit": "U/L"}, "unit"),
        ({**RESULT, "at_least": -8, "unit": "g/dL"}, "at_least"),
        (WASHOUT, "drugs"),
        ({**WASHOUT, "drugs": ["BELIMUMAB"], "months": 0}, "months"),
        ({"kind": "antibodies", "CRITERION": "x"}, "titer"),
        ({"kind": "history", "CRITERION": "x", "years": 5, "words": []}, "words"),
        ({"kind": "steroid", "CRITERION": "x", "months": 1, "mg_per_kg": 0}, "mg_per_kg"),
    ],
)
def test_a_wrong_value_is_refused_naming_its_field(wrong: dict[str, Any], named: str) -> None:
    assert named in refused(wrong)


def test_a_criterion_named_twice_is_refused() -> None:
    assert "named twice" in refused(AGE, {**AGE, "high": 65})


@pytest.mark.parametrize("study_id", study_ids(PROJECT))
def test_every_limit_of_a_study_has_a_unit_that_converts_to_the_study_s(study_id: str) -> None:
    study = load_study(study_id, PROJECT)
    standard = {analyte.LBTESTCD: analyte.standard_unit for analyte in study.analytes}
    with (PROJECT / "sql" / "reference" / "units.csv").open(encoding="utf-8", newline="") as file:
        known = {(row["LBTESTCD"], row["unit"], row["standard_unit"]) for row in csv.DictReader(file)}
    tests = study.safety.relations()["criteria_tests"].to_pylist()
    laboratory = [test for test in tests if test["how"] not in ("SCORE", "GRADE")]
    assert {test["TESTCD"] for test in laboratory} <= set(standard)
    for test in laboratory:
        unit = {"LIMIT": test["unit"], "FILTRATION": "mg/dL"}.get(test["how"])
        if unit:
            assert (test["TESTCD"], unit, standard[test["TESTCD"]]) in known


@pytest.mark.parametrize("study_id", study_ids(PROJECT))
def test_drugs_and_classes_of_a_study_s_criteria_are_in_the_table_of_drug_classes(study_id: str) -> None:
    with (PROJECT / "sql" / "reference" / "drug_classes.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    drugs, classes = {row["drug"] for row in listed}, {row["class"] for row in listed}
    for one in load_study(study_id, PROJECT).safety.relations()["criteria_medication"].to_pylist():
        assert {*one["drugs"], *one["other_than"]} <= drugs
        assert set(one["classes"]) <= classes


def test_every_steroid_of_the_classes_has_an_equivalent() -> None:
    folder = PROJECT / "sql" / "reference"
    with (folder / "drug_classes.csv").open(encoding="utf-8", newline="") as file:
        named = {
            row["drug"] for row in csv.DictReader(file) if row["class"] == "GLUCOCORTICOID" and row["drug"]
        }
    with (folder / "steroids.csv").open(encoding="utf-8", newline="") as file:
        assert named == {row["drug"] for row in csv.DictReader(file)}
