"""Liver safety as configuration: its tables, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from msc_pipeline.safety.liver import Cutoffs, Liver, Trigger
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study

CUTOFFS: dict[str, Any] = {
    "transaminase": "3", "bilirubin": "2", "alp": "2", "days": 30, "edish_transaminase": "3", "edish_bilirubin": "2",
    "mdish_transaminase": "3.8", "mdish_bilirubin": "4.8",
}  # fmt: skip
TRIGGER: dict[str, Any] = {"id": "ALT-AST-8", "says": "eight times the limit", "uln": "8"}


def test_a_study_that_says_nothing_has_empty_tables() -> None:
    assert {name: table.num_rows for name, table in Liver().relations().items()} == {
        "liver": 0, "liver_triggers": 0,
    }  # fmt: skip


def test_cutoffs_are_one_row_of_exact_numbers() -> None:
    made = Liver(cutoffs=Cutoffs(**CUTOFFS), triggers=(Trigger(**TRIGGER),)).relations()
    (row,) = made["liver"].to_pylist()
    assert (row["transaminase"], row["mdish_bilirubin"], row["days"]) == (Decimal(3), Decimal("4.8"), 30)
    (trigger,) = made["liver_triggers"].to_pylist()
    assert (trigger["id"], trigger["uln"], trigger["companion"], trigger["lasting_days"]) == (
        "ALT-AST-8", Decimal(8), None, None,
    )  # fmt: skip


@pytest.mark.parametrize("field", CUTOFFS)
def test_a_cutoff_that_is_missing_or_normal_is_refused_by_name(field: str) -> None:
    for wrong in ({k: v for k, v in CUTOFFS.items() if k != field}, {**CUTOFFS, field: "-1"}):
        with pytest.raises(ValidationError) as caught:
            Cutoffs(**wrong)
        assert {error["loc"] for error in caught.value.errors()} == {(field,)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"companion": "INR"}, "one level"),
        ({"companion_value": "1.5"}, "one level"),
        ({"companion": "INR", "companion_uln": "2", "companion_value": "1.5"}, "one level"),
        ({"ceiling": "500"}, "ceiling belongs"),
        ({"lasting_days": 14, "companion": "INR", "companion_value": "1.5"}, "no companion"),
    ],
)
def test_a_trigger_that_contradicts_itself_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Trigger(**TRIGGER | change)


def test_a_trigger_named_twice_or_without_cutoffs_is_refused() -> None:
    trigger = Trigger(**TRIGGER)
    with pytest.raises(ValidationError, match="named twice"):
        Liver(cutoffs=Cutoffs(**CUTOFFS), triggers=(trigger, trigger))
    with pytest.raises(ValidationError, match="need cutoffs"):
        Liver(triggers=(trigger,))


@pytest.mark.parametrize("study_id", ["misle", "cdiscpilot01"])
def test_the_shipped_studies_have_the_published_cutoffs_of_hys_law(study_id: str) -> None:
    cutoffs = load_study(study_id, PROJECT).safety.liver.cutoffs
    assert cutoffs is not None
    assert (cutoffs.transaminase, cutoffs.bilirubin, cutoffs.alp, cutoffs.days) == (3, 2, 2, 30)
