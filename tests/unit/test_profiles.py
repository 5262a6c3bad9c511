"""Site profiles: what they may say, and that they say it unambiguously."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from msc_pipeline.profiles import FORMATS, Profile
from msc_pipeline.settings import PROJECT

PAGE = PROJECT / "docs" / "site-profiles.md"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"date_format": "DD.MM"}, "day, month and year once"),
        ({"date_format": "DD.MM.YYYY MON"}, "day, month and year once"),
        ({"date_format": "YYYY-MM-DD YY"}, "day, month and year once"),
        ({"delimiter": ",", "decimal_mark": ","}, "differ"),
        ({"redcap": {}}, "if, and only if"),
        ({"format": "redcap"}, "if, and only if"),
        ({"columns": {"Datum": {"Tag": "LBDTC"}}}, "not domains"),
        ({"constants": {"STUDYID": {"MISLE": "MISLE"}}}, "not domains"),
        ({"sequence": "lb_.*"}, "exactly one group"),
        ({"sequences": "x"}, "Extra inputs"),
        ({"max_ratio": 1}, "greater than 1"),
    ],
)
def test_a_profile_that_could_mean_two_things_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Profile.model_validate(fields)


@pytest.mark.parametrize(
    "text", ["iso", "DD.MM.YYYY", "MM/DD/YYYY HH:MI", "DD-MON-YYYY", "YYYYMMDD", "DD/MM/YY"]
)
def test_a_date_format_names_day_month_and_year(text: str) -> None:
    assert Profile(date_format=text).date_format == text


def test_a_column_stands_for_itself_for_one_name_or_for_several() -> None:
    profile = Profile.model_validate({"columns": {"Patient": "USUBJID", "Besuch": ["VISIT", "VISITNUM"]}})
    assert profile.names("LBORRES", "LB") == ("LBORRES",)
    assert profile.names("Patient", "LB") == ("USUBJID",)
    assert profile.names("Besuch", "LB") == ("VISIT", "VISITNUM")


def test_what_a_domain_says_of_a_column_comes_before_what_all_say() -> None:
    columns = {"Datum": "DMDTC", "LB": {"Datum": "LBDTC"}, "AE": {"Text": "AETERM"}}
    profile = Profile.model_validate({"columns": columns})
    assert profile.names("Datum", "LB") == ("LBDTC",)
    assert profile.names("Datum", "AE") == ("DMDTC",)
    assert profile.names("Text", "LB") == ("Text",)


def test_a_column_that_is_called_like_a_domain_stands_for_itself() -> None:
    assert Profile.model_validate({"columns": {"LB": {"Datum": "LBDTC"}}}).names("LB", "DM") == ("LB",)


def test_a_constant_may_be_for_every_domain_or_for_one() -> None:
    profile = Profile.model_validate({"constants": {"STUDYID": "MISLE", "LB": {"LBSPEC": "BLOOD"}}})
    assert profile.constant("STUDYID", "VS") == "MISLE"
    assert profile.constant("LBSPEC", "LB") == "BLOOD"
    assert profile.constant("LBSPEC", "VS") is None


def test_the_page_on_profiles_names_every_field_and_every_format() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in (*Profile.model_fields, *FORMATS, "redcap") if f"`{name}`" not in page] == []


def test_the_profile_on_the_page_is_one() -> None:
    block = PAGE.read_text(encoding="utf-8").split("```yaml")[-1].split("```")[0]
    (profile,) = yaml.safe_load(block)["profiles"].values()
    assert Profile.model_validate(profile).names("Patient", "LB") == ("USUBJID",)


def test_no_study_has_a_profile_that_no_site_follows() -> None:
    for path in Path(PROJECT / "studies").glob("*/study.yaml"):
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
        followed = {site["profile"] for site in raw["sites"].values()}
        followed |= {name for site in raw["sites"].values() for name in site.get("profiles", {}).values()}
        assert set(raw["profiles"]) == followed
