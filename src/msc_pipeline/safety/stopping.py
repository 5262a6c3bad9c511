"""Stopping rules: how many events in how many subjects are too many.

Belongs here: the shape of `safety.stopping` in study.yaml, and the tables SQL models read from it. Does not: the
arithmetic of boundaries (boundaries), counting subjects and events (sql/dsmb/stopping_status.sql).
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from msc_pipeline.safety.boundaries import Boundary, beta_binomial, crossing_probability, pocock
from msc_pipeline.safety.shapes import Frozen, as_table

if TYPE_CHECKING:
    import pyarrow as pa

Share = Field(default=None, gt=0, lt=1, decimal_places=8)
BETA_BINOMIAL = {"prior_a", "prior_b", "threshold"}
"""Fields of a rule whose design is beta_binomial."""


class StoppingRule(Frozen):
    """One rule: what counts as an event, in whom, and from how many events on the study stops.

    rule: short name. says: the sentence of the protocol. source: where it comes from, or that it is an assumption.
    event: a death from any cause, or a treatment-emergent adverse event: any, one that may be an infusion reaction, or
    one of special interest (special_interest names the category). min_grade, serious, related narrow adverse events;
    all that are given must hold, and an event of unknown relation counts as related. within_days: only events that
    start, and deaths, up to so many days after the first dose; None: at any time.

    A subject counts as evaluated with an event, or when followed for within_days. first_n, last_n: the numbers
    evaluated between which the rule looks at every subject. p0: the acceptable rate. beta_binomial: prior Beta(prior_a,
    prior_b), stops when P(rate > p0) ≥ threshold. pocock: constant nominal level, P(ever stopping | p0) ≤ alpha.
    """

    rule: str = Field(min_length=1)
    says: str = Field(min_length=1)
    source: str = Field(min_length=1)
    event: Literal["DEATH", "ADVERSE EVENT", "INFUSION REACTION", "SPECIAL INTEREST"]
    special_interest: str = ""
    min_grade: int | None = Field(default=None, ge=1, le=5)
    serious: bool = False
    related: bool = False
    within_days: int | None = Field(default=None, ge=0)
    first_n: int = Field(default=1, ge=1)
    last_n: int = Field(ge=1, le=1000)
    p0: Decimal = Field(gt=0, le=Decimal("0.9"), decimal_places=8)
    design: Literal["beta_binomial", "pocock"]
    prior_a: Decimal | None = Field(default=None, gt=0, decimal_places=8)
    prior_b: Decimal | None = Field(default=None, gt=0, decimal_places=8)
    threshold: Decimal | None = Share
    alpha: Decimal | None = Share

    @model_validator(mode="after")
    def _fits(self) -> StoppingRule:
        needed = BETA_BINOMIAL if self.design == "beta_binomial" else {"alpha"}
        given = {name for name in (*BETA_BINOMIAL, "alpha") if getattr(self, name) is not None}
        if given != needed:
            raise ValueError(f"{self.design} has {', '.join(sorted(needed))} and no others")
        if bool(self.special_interest) != (self.event == "SPECIAL INTEREST"):
            raise ValueError("special_interest is named if, and only if, the event is SPECIAL INTEREST")
        if self.event == "DEATH" and (self.min_grade or self.serious or self.related):
            raise ValueError("min_grade, serious and related narrow adverse events, not deaths")
        if self.first_n > self.last_n:
            raise ValueError("first_n is more than last_n")
        if 0 in self.boundary().values():
            raise ValueError("the prior alone stops the study, without any event")
        return self

    def boundary(self) -> Boundary:
        """Return the events that stop the study, by the number evaluated; one more than that number: none can."""
        looks, p0 = tuple(range(self.first_n, self.last_n + 1)), Fraction(self.p0)
        if self.alpha is not None:
            return pocock(looks, p0, Fraction(self.alpha))
        prior_a, prior_b, threshold = (Fraction(x or 0) for x in (self.prior_a, self.prior_b, self.threshold))
        return beta_binomial(looks, p0, prior_a, prior_b, threshold)

    def type_one_error(self) -> Decimal:
        """Return the probability of ever stopping at rate p0, rounded up to 8 places."""
        share = crossing_probability(self.boundary(), Fraction(self.p0))
        return Decimal(-(-share.numerator * 10**8 // share.denominator)).scaleb(-8)


class Stopping(Frozen):
    """The stopping rules of the protocol, for all arms together: nobody who reads them knows an arm."""

    rules: tuple[StoppingRule, ...] = ()

    @model_validator(mode="after")
    def _said_once(self) -> Stopping:
        names = [rule.rule for rule in self.rules]
        if len(set(names)) != len(names):
            raise ValueError("rules names a rule twice")
        return self

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables of this topic, empty where the study says nothing.

        stopping_rules: the fields of a rule, and type_one_error. stopping_boundary: rule, n, boundary (NULL: no
        number of events can stop the study yet).
        """
        import pyarrow as pa

        steps = [
            _Step(rule=rule.rule, n=n, boundary=events if events <= n else None)
            for rule in self.rules
            for n, events in rule.boundary().items()
        ]
        errors = pa.array([rule.type_one_error() for rule in self.rules], pa.decimal128(20, 8))
        known = as_table(StoppingRule, self.rules).append_column("type_one_error", errors)
        return {"stopping_rules": known, "stopping_boundary": as_table(_Step, steps)}


class _Step(Frozen):
    rule: str
    n: int
    boundary: int | None
