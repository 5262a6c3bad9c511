"""SAS transport files (XPT, versions 5 and 8).

Belongs here: the file's own structure, counted byte by byte, and its values as text. Does not: column names or
meanings.

Values come from pyreadstat; pandas drops rows. pyreadstat ends a text at a NUL byte: such a file is refused. Neither
says when a file is cut off: version 5 holds no row count, so the length of a row (from the variable descriptors)
must fit the bytes that follow, and pyreadstat must return as many rows as those bytes hold. A cut that falls on a
row's end and on a record's end alike is seen in version 8 only; elsewhere a manifest's row count finds it.

Source: SAS, "Record layout of a SAS version 5 or 6 (8 or 9) data set in SAS transport format".
"""

from __future__ import annotations

import datetime as dt
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.raw import RawBatch
from msc_pipeline.readers.typed import (
    BATCH_ROWS,
    check_rows,
    check_width,
    identifiers,
    moment_text,
    not_text,
    number_text,
    raw_batch,
    text_array,
    texts,
)  # fmt: skip
from msc_pipeline.storage import CHUNK

RECORD = 80
DESCRIPTOR = 140
DESCRIPTOR_VAX = 136
HEADER = re.compile(rb"HEADER RECORD\*{7}([A-Z0-9]+) +HEADER RECORD!{7}(.{32})", re.DOTALL)
MEMBERS = re.compile(rb"HEADER RECORD\*{7}(?:MEMBER |MEMBV8 ) HEADER RECORD!{7}")
ENCODINGS = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "cp1252": "WINDOWS-1252", "latin-1": "ISO-8859-1"}
EPOCH = dt.datetime(1960, 1, 1)  # noqa: DTZ001 - local and naive, as SAS keeps it
DATES = (
    "DATE",
    "YYMMDD",
    "DDMMYY",
    "MMDDYY",
    "E8601DA",
    "B8601DA",
    "WORDDAT",
    "WEEKDAT",
    "MONYY",
    "JULIAN",
    "NLDATE",
)
DATETIMES = ("DATETIME", "E8601DT", "B8601DT", "DATEAMPM", "DT", "NLDATM")
TIMES = ("TIME", "HHMM", "TOD", "E8601TM", "B8601TM", "NLTIME")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where rows begin, bytes of a row, rows the file holds, and of each variable: name, end in a row, SAS format.

    The format is None for text.
    """

    start: int
    rows: int
    ends: list[int]
    names: list[str]
    formats: list[str | None]


@dataclass(frozen=True, slots=True)
class Transport:
    """One opened file; see the readers' face."""

    path: Path
    profile: Profile
    layout: _Layout

    @property
    def header(self) -> list[str]:
        """Return the variables' names, as sent."""
        return self.layout.names

    def batches(self, free_text: frozenset[int]) -> Iterator[RawBatch]:
        """Yield every observation, numbered from 1. No cell can run into the next, so free text needs no care."""
        layout = self.layout
        numeric = [i for i, form in enumerate(layout.formats) if form is not None]
        for i in sorted(identifiers(layout.names, self.profile).intersection(numeric)):
            raise not_text(i)
        done = 0
        while done < layout.rows or done == 0:
            rows = min(BATCH_ROWS, layout.rows - done)
            _no_nul(self.path, layout, done, rows)
            values = _values(self.path, ENCODINGS[self.profile.encoding], done, BATCH_ROWS)
            if {len(column) for column in values} != {rows} or len(values) != len(layout.names):
                raise DeliveryRejected(
                    "COUNT_MISMATCH", "The file holds another number of rows than can be read."
                )
            cells = [self._text(i, column) for i, column in enumerate(values)]
            yield raw_batch(cells, done + 1)
            done += rows
            if not rows:
                break

    def _text(self, i: int, values: list[object]) -> pa.StringArray:
        form = self.layout.formats[i]
        if form is None:
            return text_array([str(v) if v else None for v in values], self.profile)
        return texts(pa.array(values, pa.float64(), from_pandas=True), lambda v: _number(v, form))


def open_transport(path: Path, profile: Profile) -> Transport:
    """Read the structure of an XPT file.

    Raises: DeliveryRejected EMPTY_FILE, CORRUPT, TRUNCATED, MEMBERS, SIZE; `batches` also ENCODING,
    COUNT_MISMATCH, ID_NOT_TEXT, FIELD_SIZE, NUL_BYTE.
    """
    size = path.stat().st_size
    if not size:
        raise DeliveryRejected("EMPTY_FILE", "The file is empty.")
    with path.open("rb") as file:
        layout = _structure(file, size, profile)
        _one_member(file)
    check_rows(layout.rows, profile)
    return Transport(path, profile, layout)


def _structure(file: BinaryIO, size: int, profile: Profile) -> _Layout:
    if _record(file, b"LIBRARY", b"LIBV8") is None:
        raise DeliveryRejected("CORRUPT", "The file does not begin as a SAS transport file does.")
    if size % RECORD:
        raise DeliveryRejected("TRUNCATED", "The file does not end with a whole record: it may be cut off.")
    file.read(2 * RECORD)
    length = _field(_record(file, b"MEMBER", b"MEMBV8"), 26, 30)
    if length not in (DESCRIPTOR, DESCRIPTOR_VAX):
        raise DeliveryRejected("CORRUPT", "The header of the data set is damaged.")
    file.read(3 * RECORD)
    found = _record(file, b"NAMESTR", b"NAMSTV8")
    variables = _field(found, 4, 10)
    check_width(variables, profile)
    raw = file.read(-(-variables * length // RECORD) * RECORD)
    if len(raw) < variables * length:
        raise DeliveryRejected("TRUNCATED", "The file ends inside its description of variables.")
    described = [raw[i * length : (i + 1) * length] for i in range(variables)]
    long_names = found is not None and found[1] == b"NAMSTV8"
    names, formats, ends = _variables(described, long_names=long_names)
    declared = _observations(file)
    start = file.tell()
    return _Layout(start, _count(file, size, ends[-1], declared), ends, names, formats)


def _variables(described: list[bytes], *, long_names: bool) -> tuple[list[str], list[str | None], list[int]]:
    """Return names, formats, and where each variable ends in a row."""
    names: list[str] = []
    formats: list[str | None] = []
    ends: list[int] = []
    for one in described:
        kind, _, length, _ = struct.unpack(">hhhh", one[:8])
        (position,) = struct.unpack(">i", one[84:88])
        if kind not in (1, 2) or length < 1 or position != (ends[-1] if ends else 0):
            raise DeliveryRejected("CORRUPT", "The description of a variable is damaged.")
        ends.append(position + length)
        name = (one[88:120] if long_names else one[8:16]).strip(b" \x00")
        names.append(name.decode("ascii", "replace"))
        formats.append(one[56:64].decode("ascii", "replace").strip(" \x00").upper() if kind == 1 else None)
    return names, formats, ends


def _observations(file: BinaryIO) -> int | None:
    """Pass over long labels; stand at the first observation and return how many version 8 says there are."""
    found = HEADER.match(file.read(RECORD))
    if found and found[1] in (b"LABELV8", b"LABELV9"):
        at = file.tell()
        while block := file.read(RECORD):
            found = HEADER.match(block)
            if found and found[1] in (b"OBS", b"OBSV8"):
                break
            if file.tell() - at > CHUNK:
                break
    if not found or found[1] not in (b"OBS", b"OBSV8"):
        raise DeliveryRejected("TRUNCATED", "The file ends before its first row, or its header is damaged.")
    number = found[2].split()
    return int(number[0]) if found[1] == b"OBSV8" and number and number[0].isdigit() else None


def _count(file: BinaryIO, size: int, width: int, declared: int | None) -> int:
    """Return the number of rows that the bytes after the header hold."""
    start = file.tell()
    rows, rest = divmod(size - start, width)
    if declared is not None:
        if not 0 <= size - start - declared * width < RECORD:
            raise DeliveryRejected("TRUNCATED", "The file holds fewer or more rows than its header says.")
        rows = declared
    elif rest >= RECORD:
        raise DeliveryRejected("TRUNCATED", "The last row is not whole: the file may be cut off.")
    tail_at = max(start, size - RECORD + 1)
    file.seek(tail_at)
    tail = file.read()
    blank = len(tail) - len(tail.rstrip(b" "))
    while declared is None and rows and size - start - (rows - 1) * width <= blank:
        rows -= 1
    if size - start - rows * width > blank:
        raise DeliveryRejected("TRUNCATED", "The last row is not whole: the file may be cut off.")
    return rows


def _record(file: BinaryIO, *kinds: bytes) -> re.Match[bytes] | None:
    found = HEADER.match(file.read(RECORD))
    return found if found and found[1] in kinds else None


def _field(found: re.Match[bytes] | None, start: int, end: int) -> int:
    """Return the number in a header record, between two places behind its fixed text."""
    text = found[2][start:end].strip() if found else b""
    if not text.isdigit():
        raise DeliveryRejected("CORRUPT", "A header record is damaged or missing.")
    return int(text)


def _one_member(file: BinaryIO) -> None:
    """Refuse a second data set, which a reader of the first would pass over."""
    file.seek(0)
    seen, kept = 0, b""
    while chunk := file.read(CHUNK):
        seen += len(MEMBERS.findall(kept + chunk))
        kept = chunk[-(RECORD - 1) :] if not MEMBERS.search(chunk[-(RECORD - 1) :]) else b""
    if seen > 1:
        raise DeliveryRejected("MEMBERS", "The file holds more than one data set. Send one file for each.")


def _no_nul(path: Path, layout: _Layout, offset: int, rows: int) -> None:
    """Refuse a NUL byte inside a text."""
    width = layout.ends[-1]
    with path.open("rb") as file:
        file.seek(layout.start + offset * width)
        block = np.frombuffer(file.read(rows * width), np.uint8).reshape(rows, width)
    for begin, end, form in zip([0, *layout.ends], layout.ends, layout.formats, strict=False):
        if form is None and not block[:, begin:end].all():
            raise DeliveryRejected("NUL_BYTE", "The file holds a NUL byte.")


def _values(path: Path, encoding: str, offset: int, limit: int) -> list[list[object]]:
    import pyreadstat

    try:
        values, _ = pyreadstat.read_xport(
            path, encoding=encoding, row_offset=offset, row_limit=limit,
            disable_datetime_conversion=True, output_format="dict",
        )  # fmt: skip
    except Exception as error:
        letters = isinstance(error, UnicodeError) or "convert" in str(error)
        code = "ENCODING" if letters else "CORRUPT"
        raise DeliveryRejected(code, f"The file cannot be read as {encoding} SAS transport.") from None
    return [list(column) for column in values.values()]


def _number(value: float, form: str) -> str:
    """Return a number as text: a date, date-time or time where its SAS format says so."""
    try:
        if form.startswith(DATETIMES):
            return moment_text(EPOCH + dt.timedelta(seconds=value))
        if form.startswith(DATES):
            return moment_text((EPOCH + dt.timedelta(days=math.floor(value))).date())
        if form.startswith(TIMES):
            return moment_text(dt.timedelta(seconds=value))
    except OverflowError:
        pass
    return number_text(value)
