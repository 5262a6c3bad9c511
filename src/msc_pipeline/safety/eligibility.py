"""Eligibility: who could enter the study, and what must not have been given before.

Belongs here: the shape of `safety.eligibility` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/derived/entry*.sql, sql/derived/judged_*.sql, sql/curated/eligibility.sql).

A criterion is judged for the day of the first dose, from the last record on or before it. Months and years are
calendar ones; what lies exactly so many months back has passed. CRITERION is the text that every table shows: met
means that the subject could enter, whether the registry words it as an inclusion or as an exclusion.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from msc_pipeline.safety.shapes import Frozen, as_table

if TYPE_CHECKING:
    import pyarrow as pa

Texts = tuple[str, ...]


class _Test(Frozen):
    """One test that decides a criterion, alone or with others of which one is enough.

    how: SCORE, GRADE, LIMIT (in `unit`), TIMES ULN, FILTRATION, TITER or ABOVE RANGE. meets, fails: results in words.
    """

    CRITERION: str
    how: str
    TESTCD: str
    at_least: Decimal | None = None
    at_most: Decimal | None = None
    unit: str = ""
    meets: Texts = ()
    fails: Texts = ()


class _Criterion(Frozen):
    """What every kind has: the text of the criterion, and the tests that decide it, if any do."""

    CRITERION: str = Field(min_length=1)

    def tests(self) -> tuple[_Test, ...]:
        """Return the tests."""
        return ()

    def _test(self, how: str, code: str, **more: Any) -> _Test:
        return _Test(CRITERION=self.CRITERION, how=how, TESTCD=code, **more)


class Age(_Criterion):
    """Age in whole years at entry: low and high belong to the range."""

    kind: Literal["age"]
    low: int | None = Field(default=None, ge=0)
    high: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _bounded(self) -> Age:
        if self.low is None and self.high is None:
            raise ValueError("needs `low` or `high`")
        return self


class Score(_Criterion):
    """A score of disease activity (RS) that must reach a number of points."""

    kind: Literal["score"]
    RSTESTCD: str
    at_least: Decimal = Field(ge=0, max_digits=12, decimal_places=4)

    def tests(self) -> tuple[_Test, ...]:
        return (self._test("SCORE", self.RSTESTCD, at_least=self.at_least),)


class Grade(_Criterion):
    """Grades of disease activity (RS): one of `systems` (RSTESTCD) at least must have one of `grades`;
    not met needs all of them."""

    kind: Literal["grade"]
    systems: Texts = Field(min_length=1)
    grades: Texts = Field(min_length=1)

    def tests(self) -> tuple[_Test, ...]:
        return tuple(self._test("GRADE", code, meets=self.grades) for code in self.systems)


class Result(_Criterion):
    """A laboratory result with one limit, itself allowed: at_least or at_most in `unit`, or at_most_uln × ULN."""

    kind: Literal["result"]
    LBTESTCD: str
    at_least: Decimal | None = Field(default=None, ge=0, max_digits=12, decimal_places=4)
    at_most: Decimal | None = Field(default=None, ge=0, max_digits=12, decimal_places=4)
    at_most_uln: Decimal | None = Field(default=None, gt=0, max_digits=12, decimal_places=4)
    unit: str = ""

    @model_validator(mode="after")
    def _one_limit(self) -> Result:
        given = [limit for limit in (self.at_least, self.at_most, self.at_most_uln) if limit is not None]
        if len(given) != 1:
            raise ValueError("needs exactly one of `at_least`, `at_most` and `at_most_uln`")
        if (self.at_most_uln is None) != bool(self.unit):
            raise ValueError("`unit` is named if, and only if, the limit is a number of it")
        return self

    def tests(self) -> tuple[_Test, ...]:
        if self.at_most_uln is not None:
            return (self._test("TIMES ULN", self.LBTESTCD, at_most=self.at_most_uln),)
        limits = {"at_least": self.at_least, "at_most": self.at_most, "unit": self.unit}
        return (self._test("LIMIT", self.LBTESTCD, **limits),)


class Filtration(_Criterion):
    """Glomerular filtration (mL/min/1.73 m2) estimated from creatinine, age and sex (reference.ckd_epi)."""

    kind: Literal["filtration"]
    LBTESTCD: str
    at_least: Decimal = Field(ge=0, max_digits=12, decimal_places=4)

    def tests(self) -> tuple[_Test, ...]:
        return (self._test("FILTRATION", self.LBTESTCD, at_least=self.at_least),)


class Antibodies(_Criterion):
    """A titer of at least 1:dilution, or a concentration above its own limit of normal; either is enough.

    titer, concentration: LBTESTCD. negative, positive: results in words, any case.
    """

    kind: Literal["antibodies"]
    titer: str = ""
    dilution: int = Field(default=1, ge=1)
    concentration: str = ""
    negative: Texts = ()
    positive: Texts = ()

    @model_validator(mode="after")
    def _a_test(self) -> Antibodies:
        if not (self.titer or self.concentration):
            raise ValueError("needs `titer` or `concentration`")
        return self

    def tests(self) -> tuple[_Test, ...]:
        words = {
            "meets": tuple(map(str.upper, self.positive)),
            "fails": tuple(map(str.upper, self.negative)),
        }
        titer = self._test("TITER", self.titer, at_least=Decimal(self.dilution), **words)
        both = (titer, self._test("ABOVE RANGE", self.concentration, **words))
        return tuple(test for test in both if test.TESTCD)


class History(_Criterion):
    """No such condition (MH) that began within so many years before entry.

    Lists of words, each looked for as whole words. In the term: `words` make it one of these, `unless` take that
    back, `uncertain` leave it open though it is one (often exempt). In term or body system: `vague` leave it open
    where nothing else speaks. The start counts: MH has no end.
    """

    kind: Literal["history"]
    years: int = Field(ge=1, le=120)
    words: Texts = Field(min_length=1)
    unless: Texts = ()
    uncertain: Texts = ()
    vague: Texts = ()


class Unchanged(_Criterion):
    """No medication of these classes (reference.drug_classes) started, stopped or changed in dose."""

    kind: Literal["unchanged"]
    months: int = Field(ge=1, le=600)
    classes: Texts = Field(min_length=1)


class NotTaken(_Criterion):
    """No medication of these names or classes (reference.drug_classes) taken, but `other_than`."""

    kind: Literal["not taken"]
    months: int = Field(ge=1, le=600)
    drugs: Texts = ()
    classes: Texts = ()
    other_than: Texts = ()

    @model_validator(mode="after")
    def _of_what(self) -> NotTaken:
        if not (self.drugs or self.classes):
            raise ValueError("needs `drugs` or `classes`")
        return self


class Steroid(_Criterion):
    """Systemic glucocorticoids of a day, as prednisone (reference.steroids), per kg of the last weight: at most."""

    kind: Literal["steroid"]
    months: int = Field(ge=1, le=600)
    mg_per_kg: Decimal = Field(gt=0, max_digits=12, decimal_places=4)


Criterion = Annotated[
    Age | Score | Grade | Result | Filtration | Antibodies | History | Unchanged | NotTaken | Steroid,
    Field(discriminator="kind"),
]

DOMAINS = {
    "age": "DM", "score": "RS", "grade": "RS", "result": "LB", "filtration": "LB", "antibodies": "LB",
    "history": "MH", "unchanged": "CM", "not taken": "CM", "steroid": "CM",
}  # fmt: skip
"""The domain that holds the evidence, by kind."""


class _Line(_Criterion):
    """A criterion of any kind. CRITNUM: its place in study.yaml, from 1. DOMAIN: where the evidence is."""

    CRITNUM: int
    kind: str
    DOMAIN: str


class _Medication(_Criterion):
    """A washout: of what, for how long; unchanged: it may be taken, but not started, stopped or changed."""

    months: int
    unchanged: bool
    drugs: Texts = ()
    classes: Texts = ()
    other_than: Texts = ()


def _medication(one: Unchanged | NotTaken) -> _Medication:
    return _Medication(unchanged=isinstance(one, Unchanged), **one.model_dump(exclude={"kind"}))


class Eligibility(Frozen):
    """Entry criteria and washouts, in the order in which tables show them."""

    criteria: tuple[Criterion, ...] = ()

    @model_validator(mode="after")
    def _named_once(self) -> Eligibility:
        names = [criterion.CRITERION for criterion in self.criteria]
        if len(set(names)) != len(names):
            raise ValueError("a criterion is named twice")
        return self

    def relations(self) -> dict[str, pa.Table]:
        """Return `criteria`, a row per criterion, and tables by what decides; empty where the study says nothing.

        criteria_tests: a row per criterion and test. criteria_medication: washouts.
        """
        lines = [
            _Line(CRITNUM=at, CRITERION=one.CRITERION, kind=one.kind, DOMAIN=DOMAINS[one.kind])
            for at, one in enumerate(self.criteria, 1)
        ]
        washouts = [_medication(one) for one in self.criteria if isinstance(one, Unchanged | NotTaken)]
        return {
            "criteria": as_table(_Line, lines),
            "criteria_age": as_table(Age, [one for one in self.criteria if isinstance(one, Age)]),
            "criteria_tests": as_table(_Test, [test for one in self.criteria for test in one.tests()]),
            "criteria_history": as_table(History, [one for one in self.criteria if isinstance(one, History)]),
            "criteria_medication": as_table(_Medication, washouts),
            "criteria_steroid": as_table(Steroid, [one for one in self.criteria if isinstance(one, Steroid)]),
        }
