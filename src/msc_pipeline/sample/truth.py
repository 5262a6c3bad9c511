"""The truth file: what is planted in a sample, beside it and never in the landing folder.

Belongs here: its columns and its place. Does not: what is planted (simulation, slips, damage).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from msc_pipeline import storage
from msc_pipeline.errors import UsageError
from msc_pipeline.sample.simulation import Fact


def check_place(truth: Path | None, landing: Path) -> None:
    """Raise UsageError TRUTH_PLACE when the truth would lie in the landing folder."""
    if truth is not None and truth.resolve().is_relative_to(landing.resolve()):
        raise UsageError("TRUTH_PLACE", "the truth file may not lie in the landing folder")


def write_truth(path: Path, facts: Iterable[Fact]) -> None:
    """Write one line per fact: file,row,column,fault,rule_id,expected. row: as the pipeline numbers it (SRC_ROW)."""

    def fill(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(Fact._fields)
            writer.writerows(facts)

    storage.put(path, fill, mode=0o644)
