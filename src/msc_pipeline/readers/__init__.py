"""Readers: one export file → its cells as text under standard names, row by row, or a clear rejection.

Belongs here: the face every format shares: header against the allow-list, site names to standard names, value
maps, rows that cannot be split. A format module (delimited) yields raw rows and knows nothing of studies.
Does not: types, units, dates; they are judged later, from the text as it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msc_pipeline import cdisc
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.delimited import Row, read_delimited
from msc_pipeline.study import Domain

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 50_000


def read_export(path: Path, profile: Profile, domain: Domain) -> Iterator[pa.RecordBatch]:
    """Yield batches of text columns: every column of `domain` (missing ones null), SRC_ROW, FAULT.

    SRC_ROW is the line at which the row starts; the header is line 1. FAULT is null, or says why a row could
    not be split into columns; its cells are then null.
    Raises: DeliveryRejected with the code of the fault; it never quotes the file.
    """
    rows = read_delimited(path, profile)
    header = next(rows).cells or []
    plan = _plan(header, profile, domain)
    yield from _batches(rows, header, plan, profile, domain)


@dataclass(frozen=True)
class _Plan:
    """Where each standard column stands in the file, and which cells may hold line breaks."""

    positions: dict[str, int]
    free_text: frozenset[int]
    width: int
    delimiter: str


def _plan(header: list[str], profile: Profile, domain: Domain) -> _Plan:
    if len(header) == 1 and any(mark in header[0] for mark in ",;\t|"):
        raise DeliveryRejected("DELIMITER", "The header has one column: the delimiter is not the profile's.")
    if any(not name.strip() for name in header):
        raise DeliveryRejected("HEADER_BLANK", "A column has no name.")
    if len({name.upper() for name in header}) != len(header):
        raise DeliveryRejected("HEADER_DUPLICATE", "Two columns have the same name.")
    dropped = set(profile.drop)
    names = {i: profile.names(name, "")[0] for i, name in enumerate(header) if name not in dropped}
    if len(set(names.values())) != len(names):
        raise DeliveryRejected("HEADER_DUPLICATE", "Two columns have the same standard name.")
    known = set(domain.columns)
    if not known & set(names.values()):
        raise DeliveryRejected("HEADER_MISSING", "The first line holds no column name of this domain.")
    if unknown := [str(i + 1) for i, name in names.items() if name not in known]:
        where = ", ".join(unknown)
        raise DeliveryRejected("COLUMN_UNKNOWN", f"Columns that are not on the allow-list, at: {where}.")
    if missing := [name for name in domain.required if name not in names.values()]:
        raise DeliveryRejected("COLUMN_MISSING", f"Required columns are missing: {', '.join(missing)}.")
    positions = {name: i for i, name in names.items()}
    free = frozenset(i for name, i in positions.items() if name in domain.free_text)
    free |= {header.index(name) for name in dropped if name in header}
    return _Plan(positions, free, len(header), profile.delimiter)


def _batches(
    rows: Iterator[Row], header: list[str], plan: _Plan, profile: Profile, domain: Domain
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    names = domain.columns
    picks = [plan.positions.get(name) for name in names]
    maps = [profile.values.get(name) for name in names]
    schema = pa.schema(
        [(cdisc.SITE_CELL if name == "SITEID" else name, pa.string()) for name in names]
        + [("SRC_ROW", pa.int64()), ("FAULT", pa.string())]
    )
    columns: list[list[str | None]] = [[] for _ in names]
    lines: list[int] = []
    faults: list[str | None] = []
    total = short = 0

    def batch() -> pa.RecordBatch:
        arrays = [pa.array(c, pa.string()) for c in columns]
        made = pa.record_batch(
            [*arrays, pa.array(lines, pa.int64()), pa.array(faults, pa.string())], schema=schema
        )
        for values in columns:
            values.clear()
        lines.clear()
        faults.clear()
        return made

    for row in rows:
        total += 1
        fault, cells = _fault(row, header, plan)
        lines.append(row.line)
        faults.append(fault)
        short += fault == "FIELD_COUNT"
        for values, pick, mapping in zip(columns, picks, maps, strict=True):
            if cells is None or pick is None:
                values.append(None)
            else:
                cell = cells[pick]
                values.append((mapping.get(cell, cell) if mapping else cell) or None)
        if len(lines) >= BATCH_ROWS:
            yield batch()
    if total and short == total:
        raise DeliveryRejected("FIELD_COUNT_ALL", "No row has as many fields as the header.")
    yield batch()


def _fault(row: Row, header: list[str], plan: _Plan) -> tuple[str | None, list[str] | None]:
    """Return (why the row cannot be used, its cells); a line break outside free text rejects the file."""
    cells = row.cells
    if row.lines > 1 and _swallows(row, plan):
        raise DeliveryRejected(
            "NEWLINE_IN_FIELD", f"Line {row.line}: a field runs over a line end; a quote may be missing."
        )
    if len(cells) != plan.width:
        return "FIELD_COUNT", None
    if cells == header:
        return "REPEATED_HEADER", None
    return None, cells


def _swallows(row: Row, plan: _Plan) -> bool:
    """Say whether a field over several lines may be two stray quotes with whole rows between them.

    It may unless only free text runs over line ends and the row is complete, and even then when as many
    delimiters stand between the quotes as those lines would have as rows.
    """
    cells = row.cells
    broken = [i for i, cell in enumerate(cells) if "\n" in cell or "\r" in cell]
    inside = sum(cells[i].count(plan.delimiter) for i in broken)
    return (
        len(cells) != plan.width
        or not plan.free_text.issuperset(broken)
        or inside == (plan.width - 1) * (row.lines - 1)
    )
