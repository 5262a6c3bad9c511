"""Stopping rules: how many events in how many subjects are too many.

Belongs here: the shape of `safety.stopping` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msc_pipeline.safety.shapes import Frozen

if TYPE_CHECKING:
    import pyarrow as pa


class Stopping(Frozen):
    """The stopping rules of the protocol."""

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables of this topic, empty where the study says nothing."""
        return {}
