"""Adverse events: of special interest, and of the infusion.

Belongs here: the shape of `safety.events` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/curated/adae.sql).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from msc_pipeline.safety.shapes import Frozen, as_table

if TYPE_CHECKING:
    import pyarrow as pa


class SpecialInterest(Frozen):
    """One adverse event of special interest: an event whose system organ class or preferred term is listed.

    socs, terms: MedDRA names, matched whole and in any case. infusion_reaction: events of the hours after an infusion
    belong to it too. source: where the list comes from.
    """

    name: str = Field(min_length=1)
    socs: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    infusion_reaction: bool = False
    source: str = Field(min_length=1)

    @model_validator(mode="after")
    def _names_something(self) -> SpecialInterest:
        if not (self.socs or self.terms or self.infusion_reaction):
            raise ValueError("names no socs, no terms and no infusion_reaction")
        return self


class Events(Frozen):
    """How adverse events are judged.

    infusion_reaction_hours: an event that starts at the start of an infusion or up to so many hours later is a
    reaction to it; None: the study has no infusions. special_interest: categories, in the order of tables.
    severity_grades: AESEV → grade, for events that no grade was reported for. related, not_related: terms of AEREL;
    any other term, and none, leaves the relation unknown.
    """

    infusion_reaction_hours: int | None = Field(default=None, ge=1)
    special_interest: tuple[SpecialInterest, ...] = ()
    severity_grades: dict[str, int] = Field(default_factory=dict)
    related: tuple[str, ...] = ()
    not_related: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _said_once(self) -> Events:
        names = [category.name for category in self.special_interest]
        if len(set(names)) != len(names):
            raise ValueError("special_interest names a category twice")
        if bad := [grade for grade in self.severity_grades.values() if not 1 <= grade <= 5]:
            raise ValueError(f"severity_grades holds {len(bad)} that are not 1 to 5")
        if both := sorted(set(self.related) & set(self.not_related)):
            raise ValueError(f"related and not_related both name {', '.join(both)}")
        return self

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables of this topic, empty where the study says nothing.

        infusion_reaction: hours. special_interest: name and position (from 1) of the category, kind (SOC, TERM or
        INFUSION REACTION), term (UPPER CASE). severities: severity, grade. causality: said, related (RELATED or NOT
        RELATED).
        """
        hours = self.infusion_reaction_hours
        interests = [t for n, category in enumerate(self.special_interest, 1) for t in _terms(category, n)]
        severities = self.severity_grades.items()
        return {
            "infusion_reaction": as_table(_Window, [] if hours is None else [_Window(hours=hours)]),
            "special_interest": as_table(_Term, interests),
            "severities": as_table(
                _Severity, [_Severity(severity=s.upper(), grade=grade) for s, grade in severities]
            ),
            "causality": as_table(
                _Causality,
                [_Causality(said=said.upper(), related="RELATED") for said in self.related]
                + [_Causality(said=said.upper(), related="NOT RELATED") for said in self.not_related],
            ),
        }


class _Window(Frozen):
    hours: int


class _Term(Frozen):
    name: str
    position: int
    kind: str
    term: str


class _Severity(Frozen):
    severity: str
    grade: int


class _Causality(Frozen):
    said: str
    related: str


def _terms(category: SpecialInterest, position: int) -> list[_Term]:
    listed = [("SOC", soc) for soc in category.socs] + [("TERM", term) for term in category.terms]
    if category.infusion_reaction:
        listed.append(("INFUSION REACTION", ""))
    return [_Term(name=category.name, position=position, kind=k, term=term.upper()) for k, term in listed]
