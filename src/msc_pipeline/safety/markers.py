"""Tumour markers: what counts as a rise, what confirms it, and what else raises a marker.

Belongs here: the shape of `safety.markers` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msc_pipeline.safety.shapes import Frozen

if TYPE_CHECKING:
    import pyarrow as pa


class Markers(Frozen):
    """The rise of a tumour marker, and its context."""

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables of this topic, empty where the study says nothing."""
        return {}
