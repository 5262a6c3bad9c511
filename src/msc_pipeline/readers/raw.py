"""Raw batches: what every format module hands over, before a column has its standard name.

Belongs here: the shape that CSV, workbooks, transport files, Dataset-JSON and Parquet share. Does not: names,
meanings, or how a format is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

FIELD_COUNT = "FIELD_COUNT"
REPEATED_HEADER = "REPEATED_HEADER"


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Some rows of an export, column by column.

    cells: one string array per column of the header; null is an empty cell. lines: int64, where each row
    starts in the file (unique, rising). faults: string, null or why the row could not be split into columns;
    the cells of such a row are null.
    """

    cells: list[pa.StringArray]
    lines: pa.Int64Array
    faults: pa.StringArray


class RawTable(Protocol):
    """An opened export. `batches` is called once; free_text: positions of columns that may hold line breaks."""

    @property
    def header(self) -> list[str]:
        """Column names as sent."""
        ...

    def batches(self, free_text: frozenset[int]) -> Iterator[RawBatch]:
        """Yield the rows. Raises: DeliveryRejected."""
        ...


class RowBuilder:
    """Collects rows of text into raw batches, for formats that are read row by row."""

    def __init__(self, width: int) -> None:
        self._columns: list[list[str | None]] = [[] for _ in range(width)]
        self._lines: list[int] = []
        self._faults: list[str | None] = []

    def __len__(self) -> int:
        """Return how many rows wait."""
        return len(self._lines)

    def add(self, line: int, cells: list[str]) -> None:
        """Add a row of as many cells as there are columns; an empty cell becomes null."""
        self._lines.append(line)
        self._faults.append(None)
        for column, cell in zip(self._columns, cells, strict=True):
            column.append(cell or None)

    def add_fault(self, line: int, fault: str) -> None:
        """Add a row that could not be split."""
        self._lines.append(line)
        self._faults.append(fault)
        for column in self._columns:
            column.append(None)

    def take(self) -> RawBatch:
        """Return what has been collected and start anew."""
        import pyarrow as pa

        made = RawBatch(
            [pa.array(column, pa.string()) for column in self._columns],
            pa.array(self._lines, pa.int64()),
            pa.array(self._faults, pa.string()),
        )
        self._columns = [[] for _ in self._columns]
        self._lines, self._faults = [], []
        return made
