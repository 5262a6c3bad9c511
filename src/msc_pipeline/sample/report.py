"""What a sample wrote, as figures.

Belongs here: the report of `msc sample`. Does not: writing (writing, trial).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from msc_pipeline.sample.planting import PlantedFile


@dataclass(frozen=True)
class DomainCount:
    """Source rows of one domain: source = exported + closed_only."""

    domain: str
    source: int
    exported: int
    closed_only: int


@dataclass(frozen=True)
class SampleReport:
    """What was written. `files` counts exports with the planted ones; planted rows are not in `domains`."""

    study: str
    sites: int
    subjects: int
    files: int
    domains: tuple[DomainCount, ...]
    planted: tuple[PlantedFile, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as for --json."""
        return asdict(self)
