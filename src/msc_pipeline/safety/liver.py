"""Liver safety: when laboratory results point to a drug-induced liver injury.

Belongs here: the shape of `safety.liver` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msc_pipeline.safety.shapes import Frozen

if TYPE_CHECKING:
    import pyarrow as pa


class Liver(Frozen):
    """Thresholds of Hy's law and of the liver-injury triggers."""

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables of this topic, empty where the study says nothing."""
        return {}
