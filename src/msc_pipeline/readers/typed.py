"""Typed cells → text: what the formats that know numbers, dates and truth values share.

Belongs here: how a number or a moment is written as text, identifiers that must be text, the limits every such
format keeps, rows gathered into batches. Does not: any format, any study.

Text that a typed cell becomes: a number in its shortest decimal form that means the same number (never an
exponent), a date as ISO 8601. No cell is rounded, and no empty cell gets a value.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from msc_pipeline import cdisc
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.raw import RawBatch

IDENTIFIERS = frozenset({"STUDYID", "USUBJID", "SUBJID", "SITEID"})
"""Columns that name something: as a number they may have lost leading zeros, so they must be text."""

BATCH_ROWS = 50_000
BATCH_BYTES = 64 * 1024**2
LARGEST_EXPONENT = 400

Cells = list[str | None]


def identifiers(header: list[str], profile: Profile) -> frozenset[int]:
    """Return the positions of columns that stand for an identifier, in any domain."""
    found = set()
    for i, name in enumerate(header):
        names = {n for domain in ("", *cdisc.DOMAINS) for n in profile.names(name, domain)}
        if {n.upper() for n in names} & IDENTIFIERS:
            found.add(i)
    return frozenset(found)


def not_text(position: int) -> DeliveryRejected:
    """Return the rejection of an identifier column (0-based position) that holds numbers or dates."""
    return DeliveryRejected(
        "ID_NOT_TEXT",
        f"Column {position + 1} holds identifiers as numbers or dates: leading zeros may be lost. Send it as text.",
    )


def number_text(value: float | Decimal) -> str:
    """Return the shortest decimal text of a binary number; a Decimal keeps its zeros (1.10 stays 1.10)."""
    text = str(value)
    if "e" in text or "E" in text:
        exact = Decimal(text)
        exponent = exact.as_tuple().exponent
        if isinstance(exponent, int) and abs(exponent) <= LARGEST_EXPONENT:
            text = format(exact, "f")
    if isinstance(value, float):
        text = text.removesuffix(".0")
    return "0" if text == "-0" else text


def moment_text(value: dt.date | dt.datetime | dt.time | dt.timedelta) -> str:
    """Return ISO 8601 text: seconds only where there are any, a duration as hours:minutes:seconds."""
    if isinstance(value, dt.timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if isinstance(value, (dt.datetime, dt.time)):
        finest = "auto" if value.microsecond % 1000 else "milliseconds" if value.microsecond else ""
        return value.isoformat(timespec=finest or ("seconds" if value.second else "minutes"))
    return value.isoformat()


def texts(values: pa.Array, text: Callable[[Any], str]) -> pa.StringArray:
    """Return the text of every value, calling `text` once for each that differs; null stays null."""
    encoded = values.dictionary_encode()
    known = pa.array([text(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return known.take(encoded.indices)


def check_width(columns: int, profile: Profile) -> None:
    """Raise DeliveryRejected EMPTY_FILE or SIZE when a header has no column, or too many."""
    if not columns:
        raise DeliveryRejected("EMPTY_FILE", "The file holds no column.")
    if columns > profile.max_columns:
        raise DeliveryRejected("SIZE", "The file has more columns than the site's profile allows.")


def check_rows(rows: int, profile: Profile) -> None:
    """Raise DeliveryRejected SIZE beyond the limit."""
    if rows > profile.max_rows:
        raise DeliveryRejected("SIZE", "The file has more rows than the site's profile allows.")


def raw_batch(cells: list[pa.StringArray], first: int | pa.Array, faults: pa.Array | None = None) -> RawBatch:
    """Return a batch; `first` is the number of its first row, or the number of each row."""
    rows = len(cells[0])
    lines = pa.array(range(first, first + rows), pa.int64()) if isinstance(first, int) else first
    return RawBatch(cells, lines, pa.nulls(rows, pa.string()) if faults is None else faults)


def check_text(column: pa.StringArray, profile: Profile) -> pa.StringArray:
    """Return a column whose empty cells are null. Raises: DeliveryRejected FIELD_SIZE, NUL_BYTE."""
    longest = pc.max(pc.binary_length(column)).as_py() or 0
    if longest > profile.max_field_bytes:
        raise DeliveryRejected("FIELD_SIZE", "A field is longer than the site's profile allows.")
    if pc.any(pc.match_substring(column, "\x00")).as_py():
        raise DeliveryRejected("NUL_BYTE", "The file holds a NUL byte.")
    empty = pc.equal(column, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), column) if pc.any(empty).as_py() else column


def text_array(values: Cells, profile: Profile) -> pa.StringArray:
    """Return cells as Arrow text. Raises: DeliveryRejected ENCODING, FIELD_SIZE, NUL_BYTE."""
    try:
        column = pa.array(values, pa.string())
    except UnicodeEncodeError:
        raise DeliveryRejected("ENCODING", "A cell holds half a character.") from None
    return check_text(column, profile)


def gather(
    rows: Iterable[tuple[int, Cells | None, str | None]], width: int, profile: Profile
) -> Iterator[RawBatch]:
    """Turn (row number, cells or None, fault) into batches bounded in rows and bytes.

    Raises: DeliveryRejected SIZE, RATIO and what `text_array` raises.
    """
    columns: list[Cells] = [[] for _ in range(width)]
    lines: list[int] = []
    faults: Cells = []
    blank: Cells = [None] * width
    total = size = unpacked = 0
    for line, cells, fault in rows:
        total += 1
        lines.append(line)
        faults.append(fault)
        for column, cell in zip(columns, blank if cells is None else cells, strict=True):
            column.append(cell)
            size += len(cell) if cell else 0
        if len(lines) >= BATCH_ROWS or size >= BATCH_BYTES:
            check_rows(total, profile)
            unpacked += size
            if unpacked > profile.max_unpacked_bytes:
                raise DeliveryRejected("RATIO", "The file holds more text than the site's profile allows.")
            yield _made(columns, lines, faults, profile)
            columns, lines, faults, size = [[] for _ in range(width)], [], [], 0
    check_rows(total, profile)
    yield _made(columns, lines, faults, profile)


def _made(columns: list[Cells], lines: list[int], faults: Cells, profile: Profile) -> RawBatch:
    cells = [text_array(column, profile) for column in columns]
    return raw_batch(cells, pa.array(lines, pa.int64()), pa.array(faults, pa.string()))
