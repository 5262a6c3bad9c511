"""The study's own rule of abnormal results: its shape, its tables, and what is refused."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from msc_pipeline import models
from msc_pipeline.errors import ConfigError
from msc_pipeline.safety.laboratory import Laboratory
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study


def test_a_study_that_says_nothing_has_no_threshold_and_a_period_without_end() -> None:
    tables = Laboratory().relations()
    assert tables["lab_threshold"].num_rows == 0
    assert tables["lab_threshold"].column_names == ["times_uln", "times_lln"]
    assert tables["lab_period"].to_pylist() == [{"until": None, "unscheduled": True, "pick": "most_extreme"}]


def test_the_pilots_rule_is_one_and_a_half_and_a_half_over_its_visits_of_treatment() -> None:
    tables = load_study("cdiscpilot01", PROJECT).relations()
    assert tables["lab_threshold"].to_pylist() == [{"times_uln": Decimal("1.5"), "times_lln": Decimal("0.5")}]
    assert tables["lab_period"].to_pylist() == [
        {"until": "Week 24", "unscheduled": False, "pick": "most_extreme"}
    ]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"threshold": {"times_uln": "0.99", "times_lln": "0.5"}}, "threshold.times_uln"),
        ({"threshold": {"times_uln": "1000", "times_lln": "0.5"}}, "threshold.times_uln"),
        ({"threshold": {"times_uln": "1.23456", "times_lln": "0.5"}}, "threshold.times_uln"),
        ({"threshold": {"times_uln": "1.5", "times_lln": "1.01"}}, "threshold.times_lln"),
        ({"threshold": {"times_uln": "1.5", "times_lln": "0"}}, "threshold.times_lln"),
        ({"threshold": {"times_uln": "1.5"}}, "threshold.times_lln"),
        ({"threshold": {"times_uln": "1.5", "times_lln": "0.5", "times": "2"}}, "threshold.times"),
        ({"post_baseline": {"pick": "first"}}, "post_baseline.pick"),
        ({"post_baseline": {"unscheduled": "perhaps"}}, "post_baseline.unscheduled"),
    ],
)
def test_a_wrong_value_is_refused_naming_the_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Laboratory(**given)
    assert {".".join(map(str, error["loc"])) for error in refused.value.errors()} == {field}


def test_a_multiple_of_one_is_the_limit_itself() -> None:
    Laboratory(**{"threshold": {"times_uln": "1", "times_lln": "1"}})


def test_the_last_visit_of_the_period_is_a_planned_one(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "studies" / "misle", tmp_path / "studies" / "misle")
    path = tmp_path / "studies" / "misle" / "study.yaml"
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw["safety"]["laboratory"]["post_baseline"]["until"] = "Week 99"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"safety\.laboratory\.post_baseline\.until"):
        load_study("misle", tmp_path)


BEYOND = [
    # lowest, highest, sign, lln, uln, what it is against 0.5 x LLN and 1.5 x ULN
    ("59.99999999", "59.99999999", None, "8", "40", "NORMAL"),
    ("60", "60", None, "8", "40", "NORMAL"),
    ("60.00000001", "60.00000001", None, "8", "40", "HIGH"),
    ("4.00000001", "4.00000001", None, "8", "40", "NORMAL"),
    ("4", "4", None, "8", "40", "NORMAL"),
    ("3.99999999", "3.99999999", None, "8", "40", "LOW"),
    ("60", "60", None, "8", None, "NORMAL"),
    ("3", "3", None, None, "40", "NORMAL"),
    ("61", "61", None, None, "40", "HIGH"),
    ("20", "20", None, None, None, None),
    (None, None, None, "8", "40", None),
    ("0", "4", "<", "8", "40", "LOW"),
    ("0", "4", "<=", "8", "40", None),
    ("0", "4.00000001", "<", "8", "40", None),
    ("0", "60", "<", "0", "40", "NORMAL"),
    ("0", "60.00000001", "<", "0", "40", None),
    ("60", None, ">", "8", "40", "HIGH"),
    ("60", None, ">=", "8", "40", None),
    ("59.99999999", None, ">", "8", "40", None),
    ("60.00000001", None, ">=", "8", "40", "HIGH"),
    ("4", None, ">=", "8", None, "NORMAL"),
    ("3.99999999", None, ">=", "8", None, None),
]


@pytest.mark.parametrize(("lowest", "highest", "sign", "lln", "uln", "expected"), BEYOND)
def test_a_result_is_beyond_its_limits_only_when_all_it_may_be_is(
    lowest: str | None,
    highest: str | None,
    sign: str | None,
    lln: str | None,
    uln: str | None,
    expected: str | None,
) -> None:
    with models.connect(1) as connection:
        models.install(connection, PROJECT)
        given = [lowest, highest, sign, lln, uln]
        values = ", ".join(
            "null" if v is None else f"'{v}'" if v is sign else f"{v}::decimal(20, 8)" for v in given
        )
        multiples = "0.5::decimal(20, 8), 1.5::decimal(20, 8)"
        found = connection.execute(f"select beyond_limits({values}, {multiples})").fetchone()
    assert found == (expected,)
