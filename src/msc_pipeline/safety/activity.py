"""Disease activity: which scores make a response, and which cells and proteins show the immune system.

Belongs here: the shape of `safety.activity` in study.yaml, and the tables SQL models read from it. Does not: the
derivation (sql/).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from msc_pipeline.safety.shapes import Frozen, as_table

if TYPE_CHECKING:
    import pyarrow as pa


class Score(Frozen):
    """One score of SLEDAI by its RSTESTCD: the total as the site reports it, or an item."""

    RSTESTCD: str
    role: Literal["TOTAL", "ITEM"]


class System(Frozen):
    """One organ system of BILAG by its RSTESTCD; RSORRES is a grade, A to E."""

    RSTESTCD: str


class Sledai(Frozen):
    """RSTESTCD of the total, and of the items where a site sends them: all of them add up to the total."""

    total: str
    items: tuple[str, ...] = ()


class Pga(Frozen):
    """The physician's global assessment; rise: points above baseline that count as worse (inclusive)."""

    RSTESTCD: str
    rise: Decimal = Field(gt=0)


class Responder(Frozen):
    """A responder index. drop: points that SLEDAI must fall (inclusive); new_a, new_b: most new BILAG grades."""

    drop: int = Field(ge=1)
    new_a: int = Field(default=0, ge=0)
    new_b: int = Field(default=1, ge=0)


class Criteria(Responder):
    """The index as models read it, with the code and limit of the global assessment (NULL: not collected)."""

    pga: str | None
    pga_rise: Decimal | None


class ImmuneTest(Frozen):
    """One laboratory test by its LBTESTCD."""

    LBTESTCD: str


class Activity(Frozen):
    """The parts of a responder index. Without `pga` the study does not collect it, and the index does without."""

    sledai: Sledai | None = None
    bilag: tuple[str, ...] = ()
    pga: Pga | None = None
    responder: Responder | None = None
    immune_cells: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _parts(self) -> Activity:
        if self.responder and not (self.sledai and self.bilag):
            raise ValueError("a responder index needs `sledai` and `bilag`")
        codes = [score.RSTESTCD for score in self._scores()] + list(self.bilag)
        if len(set(codes)) != len(codes):
            raise ValueError("a score is named twice")
        return self

    def _scores(self) -> tuple[Score, ...]:
        if self.sledai is None:
            return ()
        items = tuple(Score(RSTESTCD=code, role="ITEM") for code in self.sledai.items)
        return (Score(RSTESTCD=self.sledai.total, role="TOTAL"), *items)

    def relations(self) -> dict[str, pa.Table]:
        """Return sledai, bilag, responder (one row or none) and immune_cells, empty where the study says nothing."""
        pga = self.pga.RSTESTCD if self.pga else None
        rise = self.pga.rise if self.pga else None
        index = (Criteria(**self.responder.model_dump(), pga=pga, pga_rise=rise),) if self.responder else ()
        return {
            "sledai": as_table(Score, self._scores()),
            "bilag": as_table(System, [System(RSTESTCD=code) for code in self.bilag]),
            "responder": as_table(Criteria, index),
            "immune_cells": as_table(ImmuneTest, [ImmuneTest(LBTESTCD=code) for code in self.immune_cells]),
        }
