"""Tumour markers: what counts as a rise, what confirms it, and what else raises a marker.

Belongs here: the shape of `safety.markers` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/).

Source of the shape: a rise that a second sample at least a week later confirms, as GCIG's criteria for CA 125; a
third of lupus patients exceed a limit without a tumour, hence the own baseline and the context.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from msc_pipeline.safety.shapes import Frozen, as_table

if TYPE_CHECKING:
    import pyarrow as pa


class Marker(Frozen):
    """One marker. ratio: × own baseline that makes a rise. repeat_days: a sample so much later confirms or refutes it.

    SEX: only subjects of this sex are followed; empty for both.
    """

    PARAMCD: str = Field(min_length=1)
    SEX: Literal["", "F", "M"] = ""
    ratio: Decimal = Field(gt=1)
    repeat_days: int = Field(ge=1)


class Context(Frozen):
    """Something else that raises markers. terms: of history or events, whole and in any case.

    markers: which it raises. days: an event within so many days of the rise counts; history counts at any time.
    LBTESTCD, below: a result below this (standard unit) within so many days of the rise counts too.
    """

    id: str = Field(min_length=1)
    says: str = Field(min_length=1)
    markers: tuple[str, ...] = Field(min_length=1)
    terms: tuple[str, ...] = Field(min_length=1)
    days: int = Field(ge=0)
    LBTESTCD: str = ""
    below: Decimal | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> Context:
        if bool(self.LBTESTCD) != (self.below is not None):
            raise ValueError("LBTESTCD and below belong together")
        return self


class Markers(Frozen):
    """The rise of a tumour marker, and its context."""

    followed: tuple[Marker, ...] = ()
    context: tuple[Context, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Markers:
        codes = [marker.PARAMCD for marker in self.followed]
        if len(set(codes)) != len(codes):
            raise ValueError("a marker is named twice")
        if unknown := sorted({code for c in self.context for code in c.markers} - set(codes)):
            raise ValueError(f"context names markers that are not followed: {unknown}")
        return self

    def relations(self) -> dict[str, pa.Table]:
        """Return `markers` and `marker_context`."""
        return {
            "markers": as_table(Marker, self.followed),
            "marker_context": as_table(Context, self.context),
        }
