"""`safety.events` of study.yaml: what it refuses, naming the field, and the tables it gives."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from msc_pipeline.safety.events import Events
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study

CLOT = {"name": "clot", "terms": ["Pulmonary embolism"], "source": "assumption"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"infusion_reaction_hours": 0}, "infusion_reaction_hours"),
        ({"infusion_reaction_hours": "a day"}, "infusion_reaction_hours"),
        ({"special_interest": [{**CLOT, "terms": []}]}, "special_interest"),
        ({"special_interest": [{"name": "clot", "terms": ["Embolism"]}]}, "source"),
        ({"special_interest": [{**CLOT, "query": "term like '%clot%'"}]}, "query"),
        ({"special_interest": [CLOT, CLOT]}, "special_interest"),
        ({"severity_grades": {"MILD": 0}}, "severity_grades"),
        ({"severity_grades": {"MILD": 6}}, "severity_grades"),
        ({"related": ["POSSIBLE"], "not_related": ["POSSIBLE"]}, "related and not_related"),
    ],
)
def test_a_wrong_value_is_refused_naming_the_field(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Events.model_validate(wrong)


def test_a_study_that_says_nothing_has_empty_tables() -> None:
    tables = Events().relations()
    assert {name: table.num_rows for name, table in tables.items()} == dict.fromkeys(tables, 0)
    assert tables["special_interest"].schema.names == ["name", "position", "kind", "term"]


def test_terms_are_upper_case_and_categories_numbered_in_the_order_of_the_study() -> None:
    events = Events.model_validate(
        {
            "infusion_reaction_hours": 24,
            "special_interest": [
                CLOT,
                {"name": "reaction", "socs": ["Immune"], "infusion_reaction": True, "source": "assumption"},
            ],
            "severity_grades": {"Mild": 1},
            "related": ["Possible"],
            "not_related": ["None"],
        }
    )
    tables = {name: table.to_pylist() for name, table in events.relations().items()}
    assert tables == {
        "infusion_reaction": [{"hours": 24}],
        "special_interest": [
            {"name": "clot", "position": 1, "kind": "TERM", "term": "PULMONARY EMBOLISM"},
            {"name": "reaction", "position": 2, "kind": "SOC", "term": "IMMUNE"},
            {"name": "reaction", "position": 2, "kind": "INFUSION REACTION", "term": None},
        ],
        "severities": [{"severity": "MILD", "grade": 1}],
        "causality": [
            {"said": "POSSIBLE", "related": "RELATED"},
            {"said": "NONE", "related": "NOT RELATED"},
        ],
    }


def test_the_trial_knows_a_grade_for_every_severity_and_a_meaning_for_every_relation_that_sites_may_send() -> (
    None
):
    events = load_study("misle", PROJECT).safety.events
    assert {"MILD", "MODERATE", "SEVERE"} <= set(events.severity_grades)
    assert {"NONE", "REMOTE", "POSSIBLE", "PROBABLE", "RELATED"} <= {*events.related, *events.not_related}
    names = ["infection", "malignancy", "thromboembolism", "infusion reaction"]
    assert [category.name for category in events.special_interest] == names
