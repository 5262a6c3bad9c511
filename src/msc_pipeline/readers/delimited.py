"""Delimited text (CSV), read strictly: no guessing, every byte accounted for.

Belongs here: records, quoting, line numbers. Does not: encodings and byte checks (decoding), the fast way for
blocks without any doubt (plain), column names or meanings.

Why the standard library: other readers shift columns on long rows, turn `NA` into null, swallow rows behind an
unclosed quote, or guess the day/month order from the data.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.decoding import blocks, check_text
from msc_pipeline.readers.plain import read_plain
from msc_pipeline.readers.raw import FIELD_COUNT, REPEATED_HEADER, RawBatch, RowBuilder

BLOCK = 1 << 22
"""Bytes read at a time; memory is a small multiple of it."""

LONGEST = 1 << 25
"""Bytes of the longest record: it bounds memory where neither fields nor columns do."""

FAULTS = {
    "FIELD_SIZE": "a field is too long, or its quote is not closed",
    "QUOTE": "a quote is not closed or not escaped",
}


@dataclass(frozen=True, slots=True)
class _Row:
    """One record: the line it starts at, how many lines it spans, its cells as text."""

    line: int
    lines: int
    cells: list[str]


class _Lines:
    """Lines of text out of blocks; a record whose quote is open at the end of a block goes on into the next."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._blocks = source
        self._text, self._end, self._record = io.StringIO(), 0, 0
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline()
        if not line:
            self.load(next(self._blocks))
            line = self._text.readline()
        self.number += 1
        self._record += len(line)
        if self._record > LONGEST:
            raise DeliveryRejected("FIELD_SIZE", f"Line {self.number}: {FAULTS['FIELD_SIZE']}.")
        return line

    def load(self, block: bytes) -> None:
        """Take `block` as what comes next."""
        text = block.decode()
        self._text, self._end = io.StringIO(text, newline=""), len(text)

    def begin(self) -> bool:
        """Start a record; say whether anything is left in the block."""
        self._record = 0
        return self._text.tell() < self._end


class Delimited:
    """An opened CSV: its header has been read, its rows have not."""

    def __init__(self, path: Path, profile: Profile) -> None:
        check_text(path, profile)
        self._profile = profile
        self._blocks = blocks(path, profile, BLOCK, LONGEST)
        self._lines = _Lines(self._blocks)
        self.header = self._first()

    def _first(self) -> list[str]:
        for block in self._blocks:
            self._lines.load(block)
            for row in self._records():
                return row.cells
        raise DeliveryRejected("EMPTY_FILE", "The file holds no line.")

    def batches(self, free_text: frozenset[int]) -> Iterator[RawBatch]:
        """Yield the rows; a row of another width, or the header again, is a fault.

        Raises: DeliveryRejected NEWLINE_IN_FIELD where a line end stands outside free text, QUOTE, FIELD_SIZE.
        """
        yield self._strict(free_text)
        for block in self._blocks:
            plain = read_plain(block, self._lines.number + 1, self.header, self._profile)
            if plain is not None:
                self._lines.number += len(plain.lines)
                yield plain
            else:
                self._lines.load(block)
                yield self._strict(free_text)

    def _strict(self, free_text: frozenset[int]) -> RawBatch:
        """Read what is left of the block in hand, and more when its last quote is open."""
        built = RowBuilder(len(self.header))
        for row in self._records():
            if row.lines > 1 and self._swallows(row, free_text):
                raise DeliveryRejected(
                    "NEWLINE_IN_FIELD",
                    f"Line {row.line}: a field runs over a line end; a quote may be missing.",
                )
            if len(row.cells) != len(self.header):
                built.add_fault(row.line, FIELD_COUNT)
            elif row.cells == self.header:
                built.add_fault(row.line, REPEATED_HEADER)
            else:
                built.add(row.line, row.cells)
        return built.take()

    def _records(self) -> Iterator[_Row]:
        """Yield every record of the block in hand that is not blank."""
        lines, profile = self._lines, self._profile
        reader = csv.reader(lines, delimiter=profile.delimiter, quotechar=profile.quote, strict=True)
        before = lines.number
        with _field_limit(profile.max_field_bytes):
            try:
                while lines.begin():
                    before = lines.number
                    cells = next(reader)
                    if cells and (len(cells) > 1 or cells[0].strip()):
                        yield _Row(before + 1, lines.number - before, cells)
            except csv.Error as error:
                code = "FIELD_SIZE" if "limit" in str(error) else "QUOTE"
                raise DeliveryRejected(code, f"Line {before + 1}: {FAULTS[code]}.") from None

    def _swallows(self, row: _Row, free_text: frozenset[int]) -> bool:
        """Say whether a field over several lines may be two stray quotes with whole rows between them.

        It may unless only free text runs over line ends and the row is complete, and even then when as many
        delimiters stand between the quotes as those lines would have as rows.
        """
        broken = [i for i, cell in enumerate(row.cells) if "\n" in cell or "\r" in cell]
        inside = sum(row.cells[i].count(self._profile.delimiter) for i in broken)
        return (
            len(row.cells) != len(self.header)
            or not free_text.issuperset(broken)
            or inside == (len(self.header) - 1) * (row.lines - 1)
        )


def open_delimited(path: Path, profile: Profile) -> Delimited:
    """Open a CSV and read its header.

    Raises: DeliveryRejected QUOTE, FIELD_SIZE, and what checking its text raises.
    """
    return Delimited(path, profile)


@contextmanager
def _field_limit(size: int) -> Iterator[None]:
    """Bound a field, which bounds memory. The csv module keeps one limit for the whole process: put it back."""
    before = csv.field_size_limit(size)
    try:
        yield
    finally:
        csv.field_size_limit(before)
