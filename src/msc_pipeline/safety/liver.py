"""Liver safety: when laboratory results point to a drug-induced liver injury.

Belongs here: the shape of `safety.liver` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/). Every cut-off counts when it is reached (at or above).

Source of the fields: FDA's guidance on drug-induced liver injury (2009) for Hy's law and the levels that call for an
expedited look; hep-explorer's settings for the quadrants.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from msc_pipeline.safety.shapes import Frozen, as_table

if TYPE_CHECKING:
    import pyarrow as pa


class Cutoffs(Frozen):
    """Cut-offs of Hy's law and of the two plots of peaks.

    transaminase, bilirubin, alp: × ULN; days: how long after the transaminase the bilirubin may follow.
    edish_*: × ULN; mdish_*: × own baseline.
    """

    transaminase: Decimal = Field(gt=1)
    bilirubin: Decimal = Field(gt=1)
    alp: Decimal = Field(gt=1)
    days: int = Field(ge=0)
    edish_transaminase: Decimal = Field(gt=1)
    edish_bilirubin: Decimal = Field(gt=1)
    mdish_transaminase: Decimal = Field(gt=1)
    mdish_bilirubin: Decimal = Field(gt=1)


class Trigger(Frozen):
    """A sign of liver injury that calls for a look: a level of ALT or AST, alone, lasting, or with another test.

    id, says: its name and a sentence. uln: × ULN. baseline: × own baseline instead, for subjects whose baseline is
    above the ULN, or `ceiling` in the standard unit, whichever is reached first. lasting_days: the level lasts for
    more than so many days. companion: LBTESTCD of a result on the same day or within_days after, which reaches
    companion_uln (× ULN) or companion_value (standard unit). companion_needed: without such a result the trigger cannot
    be told, and is listed as that.
    """

    id: str = Field(pattern=r"^[A-Z][A-Z0-9-]{2,39}$")
    says: str = Field(min_length=1)
    uln: Decimal = Field(gt=1)
    baseline: Decimal | None = Field(default=None, gt=1)
    ceiling: Decimal | None = Field(default=None, gt=0)
    lasting_days: int | None = Field(default=None, ge=1)
    companion: str = ""
    companion_uln: Decimal | None = Field(default=None, gt=0)
    companion_value: Decimal | None = Field(default=None, gt=0)
    within_days: int = Field(default=0, ge=0)
    companion_needed: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Trigger:
        levels = (self.companion_uln is not None) + (self.companion_value is not None)
        if levels != bool(self.companion):
            raise ValueError(
                "a companion has one level, companion_uln or companion_value, and only a companion has"
            )
        if self.ceiling is not None and self.baseline is None:
            raise ValueError("a ceiling belongs to a multiple of the baseline")
        if self.companion and self.lasting_days is not None:
            raise ValueError("a level that lasts has no companion")
        return self


class Liver(Frozen):
    """Thresholds of Hy's law and of the liver-injury triggers."""

    cutoffs: Cutoffs | None = None
    triggers: tuple[Trigger, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Liver:
        if len({trigger.id for trigger in self.triggers}) != len(self.triggers):
            raise ValueError("a trigger is named twice")
        if self.triggers and self.cutoffs is None:
            raise ValueError("triggers need cutoffs")
        return self

    def relations(self) -> dict[str, pa.Table]:
        """Return `liver` (one row, or none where the study says nothing) and `liver_triggers`."""
        return {
            "liver": as_table(Cutoffs, [self.cutoffs] if self.cutoffs else []),
            "liver_triggers": as_table(Trigger, self.triggers),
        }
