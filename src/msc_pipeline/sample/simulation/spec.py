"""The shape of the `simulated` part of studies/<id>/sample.yaml: every number and every term of a simulated trial.

Belongs here: the model and what it can check by itself. Does not: drawing anything (course and the modules by
domain), any study, drug, term or number.

Days are study days without zero: Day 1 is the day of the first dose. Shares are 0..1. Lab values are in the
study's standard units. A drawn number is `median` times exp of normal deviations, or `median` plus them
(`linear`); `between` is the SD between subjects, `within` from sample to sample.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
Sex = Literal["F", "M"]
Weights = dict[str, float]


class Frozen(BaseModel):
    """Unknown keys are refused, values cannot change, and errors do not quote input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Enrolment(Frozen):
    """One site: how many subjects, and the first and last day on which one of them is dosed."""

    subjects: int = Field(ge=1)
    first: date
    last: date

    @model_validator(mode="after")
    def _ordered(self) -> Enrolment:
        if self.last < self.first:
            raise ValueError("the last dose is before the first")
        return self


class Normal(Frozen):
    """A normal number kept between `low` and `high`."""

    mean: float
    sd: float = Field(ge=0)
    low: float
    high: float


class People(Frozen):
    """Who takes part. height: cm by sex. bmi: kg/m2. Weights need not sum to 1."""

    sex: Weights
    age: Normal
    race: Weights
    ethnic: Weights
    country: str
    height: dict[Sex, Normal]
    bmi: Normal


class Attendance(Frozen):
    """How visits are kept.

    spread: SD of the deviation from the target, as a share of the window. missed: share of later visits missed,
    by planned day from which it applies. leaves_per_year: yearly share that leaves, by reason (DSDECOD → weight).
    """

    spread: float
    missed: dict[int, float]
    screening_days: tuple[int, int]
    leaves_per_year: float
    reasons: dict[str, tuple[str, float]]
    holidays: tuple[str, ...] = ()
    """Month and day (MM-DD) without visits."""
    opens: tuple[int, int]
    """Minutes after midnight between which samples are taken."""


class Infusion(Frozen):
    """The one infusion: minutes from sampling to its start and from start to end, drawn evenly."""

    wait: tuple[int, int]
    lasts: tuple[int, int]
    before: str
    """--TPT of what was measured before the infusion on its day."""


class Factor(Frozen):
    """A hidden standard-normal course of a subject that several measurements follow.

    half_life: days after which half of a deviation is forgotten. between: share of variance that is the
    subject's own and stays. drop: what the factor loses after Day 1, with `drop_half_life` days.
    """

    half_life: float
    between: float = Field(ge=0, le=1)
    drop: float = 0
    drop_half_life: float = 60


class Drawn(Frozen):
    """A number drawn for every visit. loads: factor → deviation per SD of the factor. male: factor for men.

    entry: bounds at visits up to Day 1, so that nobody breaks an entry criterion by chance. most: bound for
    every unplanned value. most_times_first: bound as a multiple of the value of the Day 1 visit.
    """

    median: float = Field(gt=0)
    between: float = Field(default=0, ge=0)
    within: float = Field(default=0, ge=0)
    linear: bool = False
    loads: Weights = Field(default_factory=dict)
    male: float = 1
    least: float | None = None
    most: float | None = None
    entry: tuple[float | None, float | None] = (None, None)
    most_times_first: float | None = None


class Test(Drawn):
    """One laboratory test of a panel.

    times, over: the value is the product of these drawn numbers, divided by that one, times `scale`; plus: it is
    their sum; else it is drawn. digits: as reported. below, above: limits of the assay, reported as <x and >x.
    titers: the result is one of these texts, the same at every visit of a subject, and
    never lost: entry depends on it.
    """

    LBTEST: str
    LBSPEC: str
    digits: int = Field(ge=0, le=4)
    median: float = 1
    sex: Sex | None = None
    times: tuple[str, ...] = ()
    over: str = ""
    plus: tuple[str, ...] = ()
    scale: float = 1
    titers: Weights = Field(default_factory=dict)
    below: float | None = None
    above: float | None = None

    @property
    def derived(self) -> bool:
        """Whether the value is made from others."""
        return bool(self.times or self.plus)


class Panel(Frozen):
    """Tests that are taken together, at these visits (all when empty). tube: a letter in the accession number."""

    tube: str = Field(pattern=r"^[A-Z]$")
    visits: tuple[str, ...] = ()
    tests: dict[str, Test]


class Laboratory(Frozen):
    """Panels by LBCAT; helpers: numbers drawn only for others; ranges: lab → test → sex → (low, high).

    default_lab: whose ranges a lab without its own uses. not_done: share of single tests without a result.
    """

    panels: dict[str, Panel]
    helpers: dict[str, Drawn] = Field(default_factory=dict)
    default_lab: str
    ranges: dict[str, dict[str, dict[Sex, tuple[Decimal | None, Decimal | None]]]]
    not_done: float = Field(ge=0, lt=1)
    not_done_reasons: tuple[str, ...]

    @model_validator(mode="after")
    def _known(self) -> Laboratory:
        tests = {code for panel in self.panels.values() for code in panel.tests}
        if self.default_lab not in self.ranges:
            raise ValueError("default_lab has no ranges")
        for panel in self.panels.values():
            for code, test in panel.tests.items():
                if (
                    strange := {*test.times, *test.plus, *([test.over] if test.over else [])}
                    - tests
                    - {*self.helpers}
                ):
                    raise ValueError(f"{code} is made from unknown numbers: {sorted(strange)}")
        return self


class Flares(Frozen):
    """Bursts of disease activity: a year's number, size in SD of the factor, and half-life in days."""

    factor: str
    per_year: float
    size: tuple[float, float]
    half_life: float
