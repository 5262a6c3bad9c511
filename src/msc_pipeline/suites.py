"""Suites: the files under expectations/, in Great Expectations' own keys, read into frozen models.

Belongs here: the shape of a suite, which expectation types and keyword arguments we support, refusal of
anything else. Does not: how a rule is evaluated (checks), and Great Expectations itself: importing it takes
seconds, so only gx_duckdb does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    field_validator,
    model_validator,
)

from msc_pipeline.errors import ConfigError
from msc_pipeline.storage import digest

SEVERITIES = ("critical", "warning", "info")
COLUMN = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
"""A column a rule may name: a CDISC variable or one of our facts."""

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr

_BOUNDS = frozenset({"min_value", "max_value", "strict_min", "strict_max"})
_ROW: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "expect_column_values_to_not_be_null": (frozenset(), frozenset()),
    "expect_column_values_to_be_null": (frozenset(), frozenset()),
    "expect_column_values_to_be_in_set": (frozenset({"value_set"}), frozenset()),
    "expect_column_values_to_not_be_in_set": (frozenset({"value_set"}), frozenset()),
    "expect_column_values_to_be_between": (frozenset(), _BOUNDS),
    "expect_column_values_to_match_regex": (frozenset({"regex"}), frozenset()),
    "expect_column_values_to_not_match_regex": (frozenset({"regex"}), frozenset()),
    "expect_column_value_lengths_to_be_between": (frozenset(), _BOUNDS),
}
_PAIR: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "expect_column_pair_values_a_to_be_greater_than_b": (
        frozenset({"ignore_row_if"}),
        frozenset({"or_equal"}),
    ),
    "expect_column_pair_values_to_be_equal": (frozenset({"ignore_row_if"}), frozenset()),
}
_TABLE = {"expect_table_row_count_to_be_between": (frozenset[str](), _BOUNDS)}
TYPES = (*_ROW, *_PAIR, *_TABLE)
"""Every expectation type a suite may use: those whose failing rows `predicates` can also name."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True)


class ColumnName(_Frozen):
    """GX's way to name the column of a condition."""

    name: str = Field(pattern=f"^{COLUMN.pattern}$")


class Comparison(_Frozen):
    """Rows where a column compares so with a constant (a list for IN and NOT_IN)."""

    type: Literal["comparison"]
    column: ColumnName
    operator: Literal["==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN"]
    parameter: Scalar | tuple[Scalar, ...]

    @model_validator(mode="after")
    def _list_or_not(self) -> Comparison:
        if isinstance(self.parameter, tuple) != (self.operator in ("IN", "NOT_IN")) or self.parameter == ():
            raise ValueError("IN and NOT_IN take a list with at least one value, other operators one value")
        return self


class Nullity(_Frozen):
    """Rows where a column is, or is not, empty."""

    type: Literal["nullity"]
    column: ColumnName
    is_null: StrictBool


Leaf = Annotated[Comparison | Nullity, Field(discriminator="type")]


class And(_Frozen):
    """Rows where all hold. GX allows no `or` inside an `and`."""

    type: Literal["and"]
    conditions: tuple[Leaf, ...] = Field(min_length=2)


class Or(_Frozen):
    """Rows where any holds."""

    type: Literal["or"]
    conditions: tuple[Annotated[Comparison | Nullity | And, Field(discriminator="type")], ...] = Field(
        min_length=2
    )


Condition = Annotated[Comparison | Nullity | And | Or, Field(discriminator="type")]


class Kwargs(_Frozen):
    """GX's keyword arguments, as far as we support them; bounds of dates are ISO text."""

    column: str | None = None
    column_A: str | None = None
    column_B: str | None = None
    value_set: tuple[Scalar, ...] | None = Field(default=None, min_length=1)
    regex: str | None = None
    min_value: StrictInt | StrictFloat | StrictStr | None = None
    max_value: StrictInt | StrictFloat | StrictStr | None = None
    strict_min: StrictBool | None = None
    strict_max: StrictBool | None = None
    or_equal: StrictBool | None = None
    ignore_row_if: Literal["either_value_is_missing"] | None = None
    row_condition: Condition | None = None

    @field_validator("column", "column_A", "column_B")
    @classmethod
    def _name(cls, name: str | None) -> str | None:
        if name is not None and not COLUMN.fullmatch(name):
            raise ValueError("not a column name")
        return name

    @field_validator("regex")
    @classmethod
    def _pattern(cls, regex: str | None) -> str | None:
        try:
            re.compile(regex or "")
        except re.error:
            raise ValueError("not a regular expression") from None
        return regex


class Meta(_Frozen):
    """What a person reads: the sentence, why it matters, where it comes from. `id` is never used again."""

    id: str = Field(pattern=r"^[A-Z][A-Z0-9]{0,7}(-[A-Z][A-Z0-9]{1,7})?-\d{3}$")
    says: str = Field(min_length=15)
    why: str = Field(min_length=10)
    source: str = Field(min_length=3)


class Rule(_Frozen):
    """One expectation."""

    type: str
    kwargs: Kwargs
    severity: Literal["critical", "warning", "info"]
    meta: Meta

    @property
    def id(self) -> str:
        """The rule's stable id, as LB-012."""
        return self.meta.id

    @property
    def table_level(self) -> bool:
        """Whether the rule judges the delivery as a whole and names no rows."""
        return self.type in _TABLE

    @model_validator(mode="after")
    def _kwargs_fit(self) -> Rule:
        if self.type not in TYPES:
            raise ValueError("unknown expectation type")
        given = self.kwargs.model_fields_set
        if self.type in _TABLE:
            need, may = _TABLE[self.type]
        elif self.type in _PAIR:
            need, may = _PAIR[self.type]
            need, may = need | {"column_A", "column_B"}, may | {"row_condition"}
        else:
            need, may = _ROW[self.type]
            need, may = need | {"column"}, may | {"row_condition"}
        if missing := sorted(need - given):
            raise ValueError(f"needs {', '.join(missing)}")
        if extra := sorted(given - need - may):
            raise ValueError(f"does not take {', '.join(extra)}")
        if "min_value" in may and not given & {"min_value", "max_value"}:
            raise ValueError("needs min_value or max_value")
        return self

    def gx(self) -> dict[str, Any]:
        """Return the expectation as Great Expectations reads it; meta holds the id only."""
        kwargs = self.kwargs.model_dump(mode="json", exclude_unset=True)
        return {"type": self.type, "kwargs": kwargs, "severity": self.severity, "meta": {"id": self.id}}


class Suite(_Frozen):
    """One file. `text_hash` changes with every byte of it."""

    name: str
    rules: tuple[Rule, ...] = Field(alias="expectations", min_length=1)
    text_hash: str = ""


def suite_names(project: Path) -> tuple[str, ...]:
    """Return the names of all suites, as `lab/structure`."""
    folder = project / "expectations"
    return tuple(sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.glob("**/*.yaml")))


def load_suite(name: str, project: Path) -> Suite:
    """Read and check expectations/<name>.yaml.

    Raises: ConfigError SUITE_INVALID naming file and rule id, when the suite does not exist, holds an
    expectation, argument or severity that we do not support, or repeats an id.
    """
    try:
        text = (project / "expectations" / f"{name}.yaml").read_text(encoding="utf-8")
    except OSError:
        raise _invalid(name, "no such suite") from None
    return _suite(name, text)


@lru_cache(maxsize=256)
def _suite(name: str, text: str) -> Suite:
    """Check one suite's text, once per process: thousands of deliveries are judged by the same words."""
    try:
        raw = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 1
        raise _invalid(name, f"not YAML, line {line}") from None
    if not isinstance(raw, dict):
        raise _invalid(name, "not a mapping")
    try:
        suite = Suite(**raw | {"text_hash": digest(text)})
    except (ValidationError, TypeError) as error:
        raise _invalid(name, _where(error, raw)) from None
    if suite.name != name:
        raise _invalid(name, "`name` differs from the file's path")
    _refuse_twice([suite])
    return suite


def load_suites(names: Iterable[str], project: Path) -> tuple[Suite, ...]:
    """Read several suites, in order; an id may occur once among all of them. Raises: as `load_suite`."""
    suites = tuple(load_suite(name, project) for name in names)
    _refuse_twice(suites)
    return suites


def load_all(project: Path) -> dict[str, Suite]:
    """Read every suite there is: what a start-up check calls. Raises: as `load_suite`."""
    return {suite.name: suite for suite in load_suites(suite_names(project), project)}


def rules_hash(suites: Sequence[Suite]) -> str:
    """Return a hash that changes when any byte of any suite, or their order, does."""
    return digest(*(part for suite in suites for part in (suite.name, suite.text_hash)))


def _refuse_twice(suites: Iterable[Suite]) -> None:
    seen: dict[str, str] = {}
    for suite in suites:
        for rule in suite.rules:
            if rule.id in seen:
                raise _invalid(suite.name, f"{rule.id}: id already used in {seen[rule.id]}")
            seen[rule.id] = suite.name


def _where(error: ValidationError | TypeError, raw: dict[str, Any]) -> str:
    if not isinstance(error, ValidationError):
        return "not a suite"
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    loc = [str(part) for part in first["loc"]]
    rule = ""
    if len(loc) > 1 and loc[0] == "expectations":
        try:
            rule = f"{raw['expectations'][int(loc[1])]['meta']['id']}: "
        except (LookupError, TypeError):
            rule = f"expectation {int(loc[1]) + 1}: "
        loc = loc[2:]
    return f"{rule}{'.'.join(loc)}{': ' if loc else ''}{first['msg']}"


def _invalid(name: str, what: str) -> ConfigError:
    return ConfigError("SUITE_INVALID", f"expectations/{name}.yaml: {what}")
