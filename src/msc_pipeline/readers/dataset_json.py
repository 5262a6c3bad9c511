"""CDISC Dataset-JSON 1.1, as one JSON object (.json) or a line per record (.ndjson), gzipped or not.

Belongs here: the standard's own promises (metadata, number of records, types), values as exact text. Does not:
column names or meanings.

Numbers are never made floating point: 1.10 stays 1.10. Both forms are read as a stream, twice: once for the
metadata, which may stand after the rows, and for the number of records; once for the rows.

Source: CDISC, Dataset-JSON v1.1 (December 2024).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.packing import stream_of
from msc_pipeline.readers.raw import RawBatch
from msc_pipeline.readers.typed import (
    Cells,
    check_width,
    gather,
    identifiers,
    not_text,
    number_text,
)  # fmt: skip
from msc_pipeline.storage import CHUNK

REQUIRED = (
    "datasetJSONCreationDateTime",
    "datasetJSONVersion",
    "itemGroupOID",
    "records",
    "name",
    "label",
    "columns",
)
COLUMN_KEYS = ("itemOID", "name", "label", "dataType")
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("string", "decimal", "datetime", "date", "time", "URI"), (str,)),
    **dict.fromkeys(("integer", "float", "double"), (int, Decimal)),
    "boolean": (bool,),
}
"""dataType → what JSON may hold for it, beside null. The standard writes a decimal as a string."""

MAX_LINE = 64 * 1024**2
MAX_METADATA = 1_000_000
MAX_DEPTH = 20
"""Bytes of a line of .ndjson, parts and depth of the metadata of a .json, at the most: they are held in memory."""

HALF_CHARACTER = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""An escape of half a character in its group 1, which ijson would turn into a question mark."""


@dataclass(frozen=True, slots=True)
class DatasetJson:
    """One opened file; see the readers' face."""

    path: Path
    profile: Profile
    lines: bool
    header: list[str]
    kinds: list[str]

    def batches(self, free_text: frozenset[int]) -> Iterator[RawBatch]:
        """Yield every record. Its number: the line in .ndjson, its place from 1 in .json."""
        for i in sorted(identifiers(self.header, self.profile)):
            if str not in KINDS[self.kinds[i]] or self.kinds[i] == "decimal":
                raise not_text(i)
        yield from gather(self._rows(), len(self.header), self.profile)

    def _rows(self) -> Iterator[tuple[int, Cells | None, str | None]]:
        kinds = [KINDS[kind] for kind in self.kinds]
        rows = _line_rows(self.path, self.profile) if self.lines else _object_rows(self.path, self.profile)
        for line, row in rows:
            if not isinstance(row, list) or any(isinstance(cell, (list, dict)) for cell in row):
                raise DeliveryRejected("METADATA", f"Record {line}: a record is no list of plain values.")
            if len(row) != len(kinds):
                yield line, None, "FIELD_COUNT"
                continue
            for i, (cell, kind) in enumerate(zip(row, kinds, strict=True)):
                if cell is not None and type(cell) not in kind:
                    raise DeliveryRejected(
                        "TYPE", f"Record {line}, column {i + 1}: a value is not of the column's dataType."
                    )
            yield line, [_text(cell) for cell in row], None


def open_dataset_json(path: Path, profile: Profile) -> DatasetJson:
    """Read the metadata and count the records.

    Raises: DeliveryRejected EMPTY_FILE, ENCODING, JSON, TRUNCATED, METADATA, COUNT_MISMATCH, SIZE, RATIO, ARCHIVE;
    `batches` also TYPE, ID_NOT_TEXT, FIELD_SIZE, NUL_BYTE.
    """
    with stream_of(path, profile) as stream:
        first = stream.readline(MAX_LINE)
    if not first.strip():
        raise DeliveryRejected("EMPTY_FILE", "The file begins with an empty line, or is empty.")
    lines = _alone(first)
    found, records = _line_metadata(path, profile) if lines else _object_metadata(path, profile)
    header, kinds = _checked(found, profile)
    if found["records"] != records:
        raise DeliveryRejected(
            "COUNT_MISMATCH", f"The file holds {records} records, its metadata promise another number."
        )
    return DatasetJson(path, profile, lines, header, kinds)


def _alone(line: bytes) -> bool:
    """Say whether the first line is a whole object without rows: the metadata line of .ndjson."""
    try:
        found = _loads(line)
    except DeliveryRejected:
        return False
    return isinstance(found, dict) and "rows" not in found


def _checked(found: dict[str, Any], profile: Profile) -> tuple[list[str], list[str]]:
    """Return names and data types of the columns, once the metadata hold what the standard asks for."""
    if lacking := [key for key in REQUIRED if found.get(key) is None]:
        raise DeliveryRejected("METADATA", f"The metadata lack {', '.join(lacking)}.")
    if not str(found["datasetJSONVersion"]).startswith("1.1"):
        raise DeliveryRejected("METADATA", "The file is of another version than Dataset-JSON 1.1.")
    columns = found["columns"]
    if not isinstance(columns, list) or type(found["records"]) is not int:
        raise DeliveryRejected("METADATA", "`columns` is no list, or `records` no whole number.")
    check_width(len(columns), profile)
    for i, column in enumerate(columns, 1):
        if not isinstance(column, dict) or not all(isinstance(column.get(key), str) for key in COLUMN_KEYS):
            raise DeliveryRejected("METADATA", f"Column {i} lacks one of {', '.join(COLUMN_KEYS)}.")
        if column["dataType"] not in KINDS:
            raise DeliveryRejected("METADATA", f"Column {i} has a dataType that the standard does not know.")
    return [column["name"] for column in columns], [column["dataType"] for column in columns]


def _text(cell: str | int | Decimal | bool | None) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return number_text(Decimal(cell))


def _loads(line: bytes) -> Any:
    """Parse one JSON text; its own errors would quote it."""
    try:
        return json.loads(
            line.decode("utf-8"), parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_once
        )
    except UnicodeDecodeError:
        raise DeliveryRejected("ENCODING", "The file is not UTF-8.") from None
    except (ValueError, RecursionError, ArithmeticError):
        raise DeliveryRejected("JSON", "A line is no JSON.") from None


def _refuse(_: str) -> None:
    raise ValueError


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _lines(path: Path, profile: Profile) -> Iterator[tuple[int, bytes]]:
    with stream_of(path, profile) as stream:
        number = 0
        while line := stream.readline(MAX_LINE):
            number += 1
            if len(line) >= MAX_LINE:
                raise DeliveryRejected("FIELD_SIZE", f"Line {number} is too long.")
            if not line.endswith(b"\n"):
                _check_whole(line)
            if line.strip():
                yield number, line


def _check_whole(last: bytes) -> None:
    """Refuse a last line that has no end and is no JSON: it is half a record, whatever the count says."""
    try:
        _loads(last)
    except DeliveryRejected:
        raise DeliveryRejected("TRUNCATED", "The last line is not whole: the file may be cut off.") from None


def _line_metadata(path: Path, profile: Profile) -> tuple[dict[str, Any], int]:
    lines = _lines(path, profile)
    found: dict[str, Any] = _loads(next(lines)[1])
    return found, sum(1 for _ in lines)


def _line_rows(path: Path, profile: Profile) -> Iterator[tuple[int, Any]]:
    lines = _lines(path, profile)
    next(lines)
    for number, line in lines:
        yield number, _loads(line)


def _object_metadata(path: Path, profile: Profile) -> tuple[dict[str, Any], int]:
    """Return everything of the object but its rows, and how many rows there are."""
    import ijson

    found: dict[str, Any] = {}
    records = 0
    _whole_characters(path, profile)
    with stream_of(path, profile) as stream, _json_errors():
        events = ijson.basic_parse(stream)
        if next(events)[0] != "start_map":
            raise DeliveryRejected("METADATA", "The file is no JSON object.")
        for event, key in events:
            if event == "end_map":
                continue
            if key in found:
                raise DeliveryRejected("METADATA", "The metadata hold a name twice.")
            found[key] = None
            if key == "rows":
                records = _count(events, profile)
            else:
                found[key] = _value(events)
    return found, records


def _value(events: Iterator[tuple[str, Any]]) -> Any:
    """Return the next value of a stream of JSON events."""
    import ijson

    builder, depth = ijson.ObjectBuilder(), 0
    for parts, (event, value) in enumerate(events):
        builder.event(event, value)
        depth += event.startswith("start") - event.startswith("end")
        if depth == 0:
            break
        if parts > MAX_METADATA or depth > MAX_DEPTH:
            raise DeliveryRejected("METADATA", "The metadata are too large.")
    return builder.value


def _count(events: Iterator[tuple[str, Any]], profile: Profile) -> int:
    """Count the records of the next array, which bounds the length of each, too."""
    records = depth = values = 0
    for event, _ in events:
        if event in {"start_array", "start_map"}:
            depth += 1
            if depth == 2:
                records, values = records + 1, 0
        elif event in {"end_array", "end_map"}:
            depth -= 1
        elif depth == 1:
            records += 1
        values += 1
        if depth == 0:
            break
        if depth > 2:
            raise DeliveryRejected("METADATA", f"Record {records}: a record is no list of plain values.")
        if values > profile.max_columns + 1 and depth == 2:
            raise DeliveryRejected("SIZE", "A record has more values than the site's profile allows.")
    return records


def _whole_characters(path: Path, profile: Profile) -> None:
    with stream_of(path, profile) as stream:
        kept = b""
        while data := stream.read(CHUNK):
            block, after = kept + data, 0
            for found in HALF_CHARACTER.finditer(block):
                if found[1] and found.end() > len(block) - 6:
                    break
                if found[1]:
                    raise DeliveryRejected("ENCODING", "A cell holds half a character.")
                after = found.end()
            kept = block[max(after, len(block) - 11) :]
        if any(found[1] for found in HALF_CHARACTER.finditer(kept)):
            raise DeliveryRejected("ENCODING", "A cell holds half a character.")


def _object_rows(path: Path, profile: Profile) -> Iterator[tuple[int, Any]]:
    import ijson

    with stream_of(path, profile) as stream, _json_errors():
        yield from enumerate(ijson.items(stream, "rows.item"), 1)


@contextmanager
def _json_errors() -> Iterator[None]:
    """Turn ijson's errors, which quote the file, into ours."""
    import ijson

    try:
        yield
    except ijson.IncompleteJSONError as error:
        text = str(error)
        if "UTF8" in text or "UTF-8" in text:
            raise DeliveryRejected("ENCODING", "The file is not UTF-8.") from None
        code = "TRUNCATED" if "premature" in text or "ncomplete" in text else "JSON"
        raise DeliveryRejected(code, "The file is no whole JSON: it is damaged or cut off.") from None
    except (ijson.JSONError, ValueError, StopIteration):
        raise DeliveryRejected("JSON", "The file is no JSON.") from None
