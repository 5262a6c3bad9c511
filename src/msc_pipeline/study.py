"""A study as configuration: protocol, visits, analytes, domains, sites and their profiles, read from studies/<id>/.

Belongs here: the shape of study.yaml and labs.csv, and the tables SQL models read from them. Does not: any
rule (expectations/), any derivation (sql/), any study by name.

Source of the fields: DESIGN of this project, sections "Studies as configuration" and "The data's way".
"""

from __future__ import annotations

import csv
import re
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from msc_pipeline import cdisc
from msc_pipeline.errors import ConfigError
from msc_pipeline.profiles import Profile
from msc_pipeline.safety import Safety
from msc_pipeline.storage import digest

if TYPE_CHECKING:
    import pyarrow as pa

PARCAT1 = ("BLOOD COUNTS", "LIVER FUNCTION", "TUMOR MARKERS", "RENAL", "IMMUNOLOGY", "OTHER")


class _Frozen(BaseModel):
    """Unknown keys are refused, values cannot change, and errors do not quote input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Site(_Frozen):
    """One site: the profile its exports follow, and the laboratory it sends samples to (labs.csv).

    profiles: domain → the profile of that domain's exports, where another system writes them; names, order and
    settling of files follow `profile`.
    """

    profile: str
    profiles: dict[str, str] = Field(default_factory=dict)
    lab: str = ""


class Domain(_Frozen):
    """One SDTM domain as this study collects it.

    update: `cumulative`, each file replaces what the site sent before; `incremental`, rows add. key: natural
    key; columns that an export lacks are left out. free_text: columns that may hold line breaks.
    suites: the Great Expectations suites that judge a delivery. max_removed: share of keys that a cumulative
    delivery may remove before it is HELD; hold_removed_subjects and hold_removed_rows hold on any removal.
    """

    update: Literal["cumulative", "incremental"]
    key: tuple[str, ...] = Field(min_length=1)
    required: tuple[str, ...] = Field(min_length=1)
    optional: tuple[str, ...] = ()
    free_text: tuple[str, ...] = ()
    suites: tuple[str, ...] = Field(min_length=1)
    max_removed: Decimal = Field(default=Decimal("0.02"), ge=0, le=1)
    hold_removed_rows: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that may land, in the study's order. Anything else rejects the file."""
        return (*self.required, *self.optional)

    @model_validator(mode="after")
    def _names(self) -> Domain:
        names = self.columns
        if bad := [name for name in names if not cdisc.is_variable(name)]:
            raise ValueError(f"not CDISC variable names: {bad}")
        if len(set(names)) != len(names):
            raise ValueError("a column is named twice")
        if missing := sorted(set((*self.key, *self.free_text)) - set(names)):
            raise ValueError(f"key or free_text names columns that may not land: {missing}")
        if "USUBJID" not in self.key or "USUBJID" not in self.required or "STUDYID" not in self.required:
            raise ValueError("STUDYID and USUBJID are required, and USUBJID is part of every key")
        return self


class Visit(_Frozen):
    """One planned visit. day: target study day (day 1 = first dose, no day 0). before, after: days of window.

    expected: counted as missed when absent. week: AVISITN.
    """

    VISIT: str
    VISITNUM: Decimal
    AVISIT: str
    week: Decimal
    day: int
    before: int = Field(default=0, ge=0)
    after: int = Field(default=0, ge=0)
    expected: bool = True


class Assessment(_Frozen):
    """What the protocol asks for at which visits: a domain, of LB one category of tests.

    Of a domain without any assessment the study does not say at which visits it is due.
    """

    domain: Literal["LB", "VS", "EG", "RS", "XR"]
    PARCAT1: str = ""
    visits: tuple[str, ...] = Field(min_length=1)


class Analyte(_Frozen):
    """One laboratory test of the study; standard_unit is the unit of AVAL (empty: no unit, as pH).

    SEX: F or M where only women or only men are tested.
    """

    LBTESTCD: str
    PARAM: str
    PARCAT1: Literal["BLOOD COUNTS", "LIVER FUNCTION", "TUMOR MARKERS", "RENAL", "IMMUNOLOGY", "OTHER"]
    standard_unit: str = ""
    SEX: Literal["", "F", "M"] = ""


class Baseline(_Frozen):
    """Which record is the baseline, and which records get CHG.

    last_on_or_before_dose: date-time where both have one; a same-day sample without a time counts only when
    LBTPT or VISIT matches `predose`. visit: the last record at `visit`.
    """

    rule: Literal["last_on_or_before_dose", "visit"]
    visit: str = ""
    predose: str = "(?i)pre-?dose"
    change: Literal["post_baseline", "all_other"] = "post_baseline"

    @model_validator(mode="after")
    def _visit_named(self) -> Baseline:
        if (self.rule == "visit") != bool(self.visit):
            raise ValueError("`visit` is named if, and only if, the rule is `visit`")
        return self


class Arm(_Frozen):
    """One arm of the protocol. Open data never says who is in it."""

    ARMCD: str
    ARM: str
    ratio: int = Field(ge=1)


class Blinding(_Frozen):
    """Words that name an arm (matched whole, any case) and would break the blind anywhere in open data."""

    words: tuple[str, ...] = Field(min_length=1)
    k: int = Field(default=3, ge=2)


class Schedule(_Frozen):
    """Cron expressions of the study's DAGs; curate follows ingest by asset."""

    ingest: str = "*/15 * * * *"
    integrity: str = "0 5 * * 1"


class Study(_Frozen):
    """One study folder, checked. `config_hash` changes with every byte of configuration."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{1,40}$")
    STUDYID: str
    title: str
    registry: str = ""
    planned_subjects: int = Field(gt=0)
    subject_pattern: str
    arms: tuple[Arm, ...]
    baseline: Baseline
    on_treatment_days: int | None = None
    max_doses: int | None = Field(default=None, ge=1)
    last_plausible_date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    unscheduled_visits: str = "^UNSCHEDULED"
    leaves_study: tuple[str, ...] = ("DISPOSITION EVENT",)
    max_quarantined: Decimal = Field(default=Decimal("0.20"), ge=0, le=1)
    alert_quarantined: Decimal = Field(default=Decimal("0.05"), ge=0, le=1)
    blinding: Blinding
    schedule: Schedule = Schedule()
    profiles: dict[str, Profile]
    sites: dict[str, Site]
    domains: dict[str, Domain]
    visits: tuple[Visit, ...]
    analytes: tuple[Analyte, ...]
    assessments: tuple[Assessment, ...] = ()
    safety: Safety = Safety()
    ranges: tuple[dict[str, str], ...] = ()
    config_hash: str = ""

    @field_validator("subject_pattern")
    @classmethod
    def _site_group(cls, pattern: str) -> str:
        if re.compile(pattern).groups != 1 or not (pattern.startswith("^") and pattern.endswith("$")):
            raise ValueError("needs ^, $ and exactly one group, around the SITEID inside USUBJID")
        return pattern

    @model_validator(mode="after")
    def _references(self) -> Study:
        named = {name for s in self.sites.values() for name in (s.profile, *s.profiles.values())}
        if unknown := sorted(named - set(self.profiles)):
            raise ValueError(f"sites name profiles that do not exist: {unknown}")
        if unknown := sorted(set(self.domains) - set(cdisc.DOMAINS)):
            raise ValueError(f"unknown domains: {unknown}")
        for name, profile in self.profiles.items():
            if unknown := sorted(set(profile.files) - set(self.domains)):
                raise ValueError(f"profile {name} has file patterns of unknown domains: {unknown}")
        if self.baseline.visit and self.baseline.visit not in {v.VISIT for v in self.visits}:
            raise ValueError("baseline.visit is not a planned visit")
        until = self.safety.laboratory.post_baseline.until
        if until and until not in {v.AVISIT for v in self.visits}:
            raise ValueError("safety.laboratory.post_baseline.until is not the AVISIT of a planned visit")
        asked = {visit for a in self.assessments for visit in a.visits}
        if unknown := sorted(asked - {v.VISIT for v in self.visits}):
            raise ValueError(f"assessments name visits that are not planned: {unknown}")
        if any((a.domain == "LB") != (a.PARCAT1 in PARCAT1) for a in self.assessments):
            raise ValueError("an assessment of LB, and no other, names a category of tests in PARCAT1")
        codes = [a.LBTESTCD for a in self.analytes]
        if len(set(codes)) != len(codes):
            raise ValueError("an analyte is named twice")
        return self

    def profile(self, siteid: str, domain: str = "") -> Profile:
        """Return how `siteid` writes its exports of `domain`."""
        site = self.sites[siteid]
        return self.profiles[site.profiles.get(domain, site.profile)]

    @cached_property
    def blinded(self) -> str:
        """Regular expression (RE2 and Python) that finds a word of the blind, also between underscores."""
        return r"(?i)(?:\b|_)(" + "|".join(re.escape(word) for word in self.blinding.words) + r")(?:\b|_)"

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables SQL models read as `study.<name>`: protocol, visits, analytes, ranges, sites, safety's."""
        import pyarrow as pa

        text, number, whole = pa.string(), pa.decimal128(10, 2), pa.int32()
        protocol = {
            "STUDYID": self.STUDYID,
            "planned_subjects": self.planned_subjects,
            "subject_pattern": self.subject_pattern,
            "unscheduled_visits": self.unscheduled_visits,
            "blinded": self.blinded,
            "baseline_rule": self.baseline.rule,
            "baseline_visit": self.baseline.visit or None,
            "baseline_predose": self.baseline.predose,
            "baseline_change": self.baseline.change,
            "on_treatment_days": self.on_treatment_days,
            "max_doses": self.max_doses,
            "last_plausible_date": self.last_plausible_date,
            "leaves_study": list(self.leaves_study),
        }
        kinds = {
            "leaves_study": pa.list_(text),
            "planned_subjects": whole,
            "on_treatment_days": whole,
            "max_doses": whole,
        }
        visits = [{**v.model_dump(), "expected": "Y" if v.expected else "N"} for v in self.visits]
        visit_kinds = {"VISITNUM": number, "week": number, "day": whole, "before": whole, "after": whole}
        return self.safety.relations() | {
            "protocol": _table([protocol], {k: kinds.get(k, text) for k in protocol}),
            "visits": _table(visits, {k: visit_kinds.get(k, text) for k in Visit.model_fields}),
            "analytes": _table(
                [{k: v or None for k, v in a.model_dump().items()} for a in self.analytes],
                dict.fromkeys(Analyte.model_fields, text),
            ),
            "assessments": _table(
                [
                    {"DOMAIN": a.domain, "PARCAT1": a.PARCAT1 or None, "VISIT": visit}
                    for a in self.assessments
                    for visit in a.visits
                ],
                dict.fromkeys(("DOMAIN", "PARCAT1", "VISIT"), text),
            ),
            "ranges": _table(
                [{k: v or None for k, v in row.items()} for row in self.ranges],
                dict.fromkeys(RANGE_COLUMNS, text),
            ),
            "sites": _table(
                [
                    {"SITEID": k, "lab": s.lab or None, "timezone": self.profile(k).timezone}
                    for k, s in sorted(self.sites.items())
                ],
                {"SITEID": text, "lab": text, "timezone": text},
            ),
        }


RANGE_COLUMNS = (
    "lab", "LBTESTCD", "unit", "SEX", "age_low", "age_high", "valid_from", "valid_to", "LBORNRLO", "LBORNRHI",
)  # fmt: skip
"""Columns of labs.csv. Empty SEX, ages or dates mean any; limits are in `unit`."""


def _table(rows: list[dict[str, Any]], kinds: dict[str, Any]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items())))


def study_ids(project: Path) -> tuple[str, ...]:
    """Return the ids of all studies: the folders under studies/ that hold a study.yaml."""
    return tuple(sorted(path.parent.name for path in (project / "studies").glob("*/study.yaml")))


def load_study(study_id: str, project: Path) -> Study:
    """Read and check studies/<study_id>/.

    Raises: ConfigError STUDY_UNKNOWN or STUDY_INVALID, naming file and field and quoting no value.
    """
    folder = project / "studies" / study_id
    path = folder / "study.yaml"
    if study_id not in study_ids(project):
        known = ", ".join(study_ids(project)) or "none"
        raise ConfigError("STUDY_UNKNOWN", f"no folder studies/{study_id}", hint=f"studies here: {known}")
    text = path.read_text(encoding="utf-8")
    labs = folder / "labs.csv"
    labs_text = labs.read_text(encoding="utf-8") if labs.is_file() else ""
    return _study(study_id, path, text, labs_text)


@lru_cache(maxsize=32)
def _study(study_id: str, path: Path, text: str, labs_text: str) -> Study:
    """Check one study's texts, once per process: every step loads the study anew."""
    raw = _parse(text, path)
    if raw.get("id") != study_id:
        raise ConfigError("STUDY_INVALID", f"{_name(path)}: id differs from its folder's name")
    ranges = _ranges(labs_text, path.with_name("labs.csv"))
    try:
        return Study(**raw, ranges=ranges, config_hash=digest(text, labs_text))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "study"
        raise ConfigError("STUDY_INVALID", f"{_name(path)}: {where}: {first['msg']}") from None
    except TypeError:
        raise ConfigError(
            "STUDY_INVALID", f"{_name(path)}: ranges and config_hash are not set here"
        ) from None


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        raw = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise ConfigError("STUDY_INVALID", f"{_name(path)}: not YAML, line {line}") from None
    if not isinstance(raw, dict):
        raise ConfigError("STUDY_INVALID", f"{_name(path)}: not a mapping")
    return raw


def _ranges(text: str, path: Path) -> tuple[dict[str, str], ...]:
    if not text:
        return ()
    reader = csv.DictReader(text.splitlines(), strict=True)
    if tuple(reader.fieldnames or ()) != RANGE_COLUMNS:
        raise ConfigError("STUDY_INVALID", f"{_name(path)}: columns must be {', '.join(RANGE_COLUMNS)}")
    return tuple(dict(row) for row in reader)


def _name(path: Path) -> str:
    return f"studies/{path.parent.name}/{path.name}"
