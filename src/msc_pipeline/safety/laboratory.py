"""Laboratory results: what the study calls abnormal, beside the reference range and the grades of CTCAE.

Belongs here: the shape of `safety.laboratory` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from msc_pipeline.safety.shapes import Frozen, as_table

if TYPE_CHECKING:
    import pyarrow as pa


class Threshold(Frozen):
    """The study's own limits: multiples of the limits of the record, beyond which (not at which) a result is abnormal.

    times_uln: HIGH above times_uln × ANRHI. times_lln: LOW below times_lln × ANRLO.
    """

    times_uln: Decimal = Field(ge=1, lt=1000, max_digits=9, decimal_places=4)
    times_lln: Decimal = Field(gt=0, le=1, max_digits=9, decimal_places=4)


class Period(Frozen):
    """Which results of a subject make the one cell of the time after baseline, and which of them is shown.

    until: AVISIT of the last visit that counts; empty: no end. unscheduled: results of unscheduled visits on
    treatment count too; else only those of visits that every subject is to make. pick: the result furthest beyond
    its limits, or the last one.
    """

    until: str = ""
    unscheduled: bool = True
    pick: Literal["most_extreme", "last"] = "most_extreme"


class Laboratory(Frozen):
    """The study's own rule of abnormal results; without `threshold` only the reference range is shown."""

    threshold: Threshold | None = None
    post_baseline: Period = Period()

    def relations(self) -> dict[str, pa.Table]:
        """Return study.lab_threshold (no row without a threshold) and study.lab_period (one row)."""
        return {
            "lab_threshold": as_table(Threshold, (self.threshold,) if self.threshold else ()),
            "lab_period": as_table(Period, (self.post_baseline,)),
        }
