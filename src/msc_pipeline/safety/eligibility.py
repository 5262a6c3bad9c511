"""Eligibility: who could enter the study, and what must not have been given before.

Belongs here: the shape of `safety.eligibility` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msc_pipeline.safety.shapes import Frozen

if TYPE_CHECKING:
    import pyarrow as pa


class Eligibility(Frozen):
    """Entry criteria and washouts."""

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables of this topic, empty where the study says nothing."""
        return {}
