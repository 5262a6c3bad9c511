"""Laboratory results: what the study calls abnormal, beside the grades of CTCAE.

Belongs here: the shape of `safety.laboratory` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msc_pipeline.safety.shapes import Frozen

if TYPE_CHECKING:
    import pyarrow as pa


class Laboratory(Frozen):
    """The study's own rule of abnormal results."""

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables of this topic, empty where the study says nothing."""
        return {}
