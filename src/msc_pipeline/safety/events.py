"""Adverse events: of special interest, and of the infusion.

Belongs here: the shape of `safety.events` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msc_pipeline.safety.shapes import Frozen

if TYPE_CHECKING:
    import pyarrow as pa


class Events(Frozen):
    """Adverse events of special interest, and how long after an infusion an event is a reaction to it."""

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables of this topic, empty where the study says nothing."""
        return {}
