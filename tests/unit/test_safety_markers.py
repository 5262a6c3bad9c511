"""Tumour markers as configuration: their tables, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from msc_pipeline.safety.markers import Context, Marker, Markers
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study

MARKER: dict[str, Any] = {"PARAMCD": "CEA", "ratio": "2", "repeat_days": 7}
CONTEXT: dict[str, Any] = {
    "id": "SMOKING", "says": "smoking", "markers": ["CEA"], "terms": ["Tobacco user"], "days": 30,
}  # fmt: skip


def test_a_study_that_says_nothing_has_empty_tables() -> None:
    assert {name: table.num_rows for name, table in Markers().relations().items()} == {
        "markers": 0, "marker_context": 0,
    }  # fmt: skip


def test_markers_and_contexts_are_one_row_each() -> None:
    made = Markers(followed=(Marker(**MARKER),), context=(Context(**CONTEXT),)).relations()
    assert made["markers"].to_pylist() == [
        {"PARAMCD": "CEA", "SEX": None, "ratio": Decimal(2), "repeat_days": 7},
    ]
    (row,) = made["marker_context"].to_pylist()
    assert (row["markers"], row["terms"], row["LBTESTCD"], row["below"]) == (
        ["CEA"],
        ["Tobacco user"],
        None,
        None,
    )


@pytest.mark.parametrize(
    ("field", "value"), [("ratio", "1"), ("ratio", "two"), ("repeat_days", 0), ("SEX", "X"), ("PARAMCD", "")]
)
def test_a_wrong_value_of_a_marker_is_refused_by_name(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        Marker(**MARKER | {field: value})
    assert {error["loc"] for error in caught.value.errors()} == {(field,)}


def test_a_cut_off_without_a_test_is_refused() -> None:
    for change in ({"below": "30"}, {"LBTESTCD": "ALB"}):
        with pytest.raises(ValidationError, match="belong together"):
            Context(**CONTEXT | change)


def test_a_marker_named_twice_and_a_context_of_an_unknown_marker_are_refused() -> None:
    with pytest.raises(ValidationError, match="named twice"):
        Markers(followed=(Marker(**MARKER), Marker(**MARKER)))
    with pytest.raises(ValidationError, match="not followed: \\['CEA'\\]"):
        Markers(context=(Context(**CONTEXT),))


def test_the_simulated_trial_follows_psa_in_men_only() -> None:
    followed = {marker.PARAMCD: marker for marker in load_study("misle", PROJECT).safety.markers.followed}
    assert {code for code, marker in followed.items() if marker.SEX == "M"} == {"PSA"}
    assert {"AFP", "CEA", "CA125AG", "CA19_9AG", "CA15_3AG", "PSA"} == set(followed)
