"""Delimited text (CSV), read strictly: fixed encoding, no guessing, every byte accounted for.

Belongs here: bytes, line ends, quoting, limits. Does not: column names or meanings.

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
from msc_pipeline.readers.raw import BATCH_ROWS, FIELD_COUNT, REPEATED_HEADER, RawBatch, RowBuilder
from msc_pipeline.storage import CHUNK

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


class Delimited:
    """An opened CSV: its header has been read, its rows have not."""

    def __init__(self, path: Path, profile: Profile) -> None:
        self._rows = _read(path, profile)
        self._delimiter = profile.delimiter
        self.header = next(self._rows).cells

    def batches(self, free_text: frozenset[int]) -> Iterator[RawBatch]:
        """Yield the rows; a row of another width, or the header again, is a fault.

        Raises: DeliveryRejected NEWLINE_IN_FIELD where a line end stands outside free text, and what opening
        raises.
        """
        built = RowBuilder(len(self.header))
        for row in self._rows:
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
            if len(built) >= BATCH_ROWS:
                yield built.take()
        yield built.take()

    def _swallows(self, row: _Row, free_text: frozenset[int]) -> bool:
        """Say whether a field over several lines may be two stray quotes with whole rows between them.

        It may unless only free text runs over line ends and the row is complete, and even then when as many
        delimiters stand between the quotes as those lines would have as rows.
        """
        broken = [i for i, cell in enumerate(row.cells) if "\n" in cell or "\r" in cell]
        inside = sum(row.cells[i].count(self._delimiter) for i in broken)
        return (
            len(row.cells) != len(self.header)
            or not free_text.issuperset(broken)
            or inside == (len(self.header) - 1) * (row.lines - 1)
        )


def open_delimited(path: Path, profile: Profile) -> Delimited:
    """Open a CSV and read its header.

    Raises: DeliveryRejected EMPTY_FILE, NUL_BYTE, TRUNCATED, LINE_ENDS, ENCODING, QUOTE, FIELD_SIZE.
    """
    return Delimited(path, profile)


def _read(path: Path, profile: Profile) -> Iterator[_Row]:
    """Yield the header, then every record that is not blank."""
    _check_bytes(path)
    with (
        path.open("rb") as raw,
        io.TextIOWrapper(raw, encoding=profile.encoding, newline="") as text,
        _field_limit(profile.max_field_bytes),
    ):
        reader = csv.reader(text, delimiter=profile.delimiter, strict=True)
        seen, before = False, 0
        try:
            for cells in reader:
                line, before = before + 1, reader.line_num
                if not cells or (len(cells) == 1 and not cells[0].strip()):
                    continue
                seen = True
                yield _Row(line, before - line + 1, cells)
        except UnicodeDecodeError:
            raise DeliveryRejected("ENCODING", f"The file is not {profile.encoding}.") from None
        except csv.Error as error:
            code = "FIELD_SIZE" if "limit" in str(error) else "QUOTE"
            raise DeliveryRejected(code, f"Line {before + 1}: {FAULTS[code]}.") from None
        if not seen:
            raise DeliveryRejected("EMPTY_FILE", "The file holds no line.")


@contextmanager
def _field_limit(size: int) -> Iterator[None]:
    """Bound a field, which bounds memory. The csv module keeps one limit for the whole process: put it back."""
    before = csv.field_size_limit(size)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _check_bytes(path: Path) -> None:
    """Refuse what a text reader would pass over in silence."""
    last, first = b"", b""
    newlines = returns = 0
    with path.open("rb") as raw:
        while chunk := raw.read(CHUNK):
            first = first or chunk[:2]
            if first in (b"\xff\xfe", b"\xfe\xff"):
                raise DeliveryRejected("ENCODING", "The file is UTF-16.")
            if b"\x00" in chunk:
                raise DeliveryRejected("NUL_BYTE", "The file holds a NUL byte.")
            newlines += chunk.count(b"\n")
            returns += chunk.count(b"\r")
            last = chunk[-1:]
    if not last:
        raise DeliveryRejected("EMPTY_FILE", "The file is empty.")
    if returns and not newlines:
        raise DeliveryRejected("LINE_ENDS", "Lines end with a carriage return only.")
    if last != b"\n":
        raise DeliveryRejected("TRUNCATED", "The last line has no end: the file may be cut off.")
