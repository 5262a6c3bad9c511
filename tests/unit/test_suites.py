"""Suites are refused unless every rule in them can be evaluated, explained and named."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from msc_pipeline import suites
from msc_pipeline.errors import ConfigError

PROJECT = Path(__file__).parents[2]
META = {
    "id": "LB-001",
    "says": "The record names its test.",
    "why": "A value without a test means nothing.",
    "source": "SDTM",
}
GOOD: dict[str, Any] = {
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "LBTESTCD"},
    "severity": "critical",
    "meta": META,
}


def rule(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **changes}


def put(project: Path, name: str, rules: list[dict[str, Any]] | str, title: str | None = None) -> None:
    path = project / "expectations" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    body = rules if isinstance(rules, str) else yaml.safe_dump({"name": title or name, "expectations": rules})
    path.write_text(body, encoding="utf-8")


def refusal(project: Path, name: str = "lab/x") -> str:
    with pytest.raises(ConfigError) as caught:
        suites.load_suite(name, project)
    assert caught.value.code == "SUITE_INVALID"
    assert f"expectations/{name}.yaml" in str(caught.value)
    return str(caught.value)


def test_a_suite_is_read_into_frozen_rules(tmp_path: Path) -> None:
    put(tmp_path, "lab/x", [rule()])
    suite = suites.load_suite("lab/x", tmp_path)
    assert [r.id for r in suite.rules] == ["LB-001"]
    assert suite.rules[0].gx() == {
        "type": GOOD["type"],
        "kwargs": {"column": "LBTESTCD"},
        "severity": "critical",
        "meta": {"id": "LB-001"},
    }
    with pytest.raises(ValidationError):
        suite.rules[0].severity = "info"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"type": "expect_column_values_to_be_unique"}, "unknown expectation type"),
        ({"type": "unexpected_rows_expectation"}, "unknown expectation type"),
        ({"severity": "fatal"}, "severity"),
        ({"severity": None}, "severity"),
        ({"kwargs": {"column": "LBTESTCD", "mostly": 0.9}}, "mostly"),
        ({"kwargs": {"column": "LBTESTCD", "condition_parser": "pandas"}}, "condition_parser"),
        ({"kwargs": {"column": "LBTESTCD", "row_condition": 'LBTESTCD == "ALT"'}}, "row_condition"),
        ({"kwargs": {"column": "LBTESTCD or 1=1"}}, "not a column name"),
        ({"kwargs": {"column": "lbtestcd"}}, "not a column name"),
        ({"kwargs": {}}, "needs column"),
        ({"kwargs": {"column": "LBTESTCD", "value_set": ["A"]}}, "does not take value_set"),
        ({"notes": "x"}, "notes"),
        ({"meta": {**META, "says": "short"}}, "says"),
        ({"meta": {**META, "extra": "x"}}, "extra"),
    ],
)
def test_a_rule_we_cannot_evaluate_or_explain_is_refused_by_its_id(
    tmp_path: Path, changes: dict[str, Any], hint: str
) -> None:
    put(tmp_path, "lab/x", [rule(**changes)])
    message = refusal(tmp_path)
    assert "LB-001" in message
    assert hint in message


@pytest.mark.parametrize(
    ("type_", "kwargs"),
    [
        ("expect_column_values_to_be_between", {"column": "A"}),
        ("expect_table_row_count_to_be_between", {}),
        ("expect_column_values_to_be_in_set", {"column": "A", "value_set": []}),
        ("expect_column_values_to_match_regex", {"column": "A", "regex": "("}),
        ("expect_column_pair_values_to_be_equal", {"column_A": "A", "column_B": "B"}),
        (
            "expect_column_pair_values_to_be_equal",
            {"column_A": "A", "column_B": "B", "ignore_row_if": "never"},
        ),
        ("expect_table_row_count_to_be_between", {"min_value": 1, "column": "A"}),
    ],
)
def test_arguments_that_do_not_fit_their_expectation_are_refused(
    tmp_path: Path, type_: str, kwargs: dict[str, Any]
) -> None:
    put(tmp_path, "lab/x", [rule(type=type_, kwargs=kwargs)])
    assert "LB-001" in refusal(tmp_path)


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "pass_through", "pass_through_filter": "A > 1"},
        {"type": "comparison", "column": {"name": "A"}, "operator": "like", "parameter": "x"},
        {"type": "comparison", "column": {"name": "A"}, "operator": "IN", "parameter": "x"},
        {"type": "comparison", "column": {"name": "A"}, "operator": "IN", "parameter": []},
        {"type": "comparison", "column": {"name": "A"}, "operator": "==", "parameter": ["x"]},
        {"type": "comparison", "column": {"name": 'A"'}, "operator": "==", "parameter": "x"},
        {"type": "nullity", "column": {"name": "A"}, "is_null": "yes"},
        {"type": "and", "conditions": []},
        {
            "type": "and",
            "conditions": [
                {
                    "type": "or",
                    "conditions": [{"type": "nullity", "column": {"name": "A"}, "is_null": True}] * 2,
                }
            ]
            * 2,
        },
    ],
)
def test_conditions_that_great_expectations_or_we_cannot_evaluate_are_refused(
    tmp_path: Path, condition: dict[str, Any]
) -> None:
    put(tmp_path, "lab/x", [rule(kwargs={"column": "LBTESTCD", "row_condition": condition})])
    assert "LB-001" in refusal(tmp_path)


def test_a_rule_without_an_id_is_named_by_its_place(tmp_path: Path) -> None:
    broken = rule()
    del broken["meta"]["id"]
    put(tmp_path, "lab/x", [rule(), broken])
    assert "expectation 2" in refusal(tmp_path)


def test_an_id_of_another_form_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "lab/x", [rule(meta={**META, "id": "alt too high"})])
    assert "meta.id" in refusal(tmp_path)


def test_the_same_id_twice_is_refused_inside_a_suite_and_between_suites(tmp_path: Path) -> None:
    put(tmp_path, "lab/x", [rule(), rule()])
    assert "LB-001: id already used" in refusal(tmp_path)
    put(tmp_path, "lab/x", [rule()])
    put(tmp_path, "lab/y", [rule()])
    with pytest.raises(ConfigError, match=r"lab/y\.yaml: LB-001: id already used in lab/x"):
        suites.load_all(tmp_path)


def test_other_files_than_suites_are_refused(tmp_path: Path) -> None:
    assert "no such suite" in refusal(tmp_path)
    for text, hint in (("a: [", "not YAML, line"), ("- 1", "not a mapping"), ("1: 2", "not a suite")):
        put(tmp_path, "lab/x", text)
        assert hint in refusal(tmp_path)
    put(tmp_path, "lab/x", [], "lab/x")
    refusal(tmp_path)
    put(tmp_path, "lab/x", [rule()], title="lab/other")
    assert "differs from the file's path" in refusal(tmp_path)


def test_a_refusal_quotes_no_value(tmp_path: Path) -> None:
    put(tmp_path, "lab/x", [rule(kwargs={"column": "A", "regex": "CANARY-7731"})])
    assert "CANARY" not in refusal(tmp_path)


def test_the_hash_of_the_rules_changes_with_every_byte_and_with_their_order(tmp_path: Path) -> None:
    put(tmp_path, "lab/x", [rule()])
    put(tmp_path, "lab/y", [rule(meta={**META, "id": "LB-002"})])
    x, y = suites.load_suites(("lab/x", "lab/y"), tmp_path)
    before = suites.rules_hash([x, y])
    assert suites.rules_hash(list(suites.load_suites(("lab/x", "lab/y"), tmp_path))) == before
    assert suites.rules_hash([y, x]) != before
    path = tmp_path / "expectations/lab/x.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "# a note\n", encoding="utf-8")
    assert suites.rules_hash([suites.load_suite("lab/x", tmp_path), y]) != before


def test_every_suite_of_the_project_can_be_read_and_every_rule_speaks_to_a_data_manager() -> None:
    found = suites.load_all(PROJECT)
    assert tuple(found) == suites.suite_names(PROJECT)
    for suite in found.values():
        for each in suite.rules:
            assert each.meta.says.endswith("."), each.id
            assert each.meta.why.endswith("."), each.id


def test_reading_suites_does_not_import_great_expectations() -> None:
    code = (
        "import sys; from pathlib import Path; from msc_pipeline import checks, suites;"
        f"suites.load_all(Path({str(PROJECT)!r})); sys.exit('great_expectations' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(PROJECT / "src")})
