"""File formats: rows as a site writes them → the bytes of its file, the same bytes every time.

Belongs here: delimited text, workbooks, Dataset-JSON, Parquet, and which row of each a reader calls by which number.
Does not: what the cells say (dialects), SAS transport's own records (transport).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

from msc_pipeline import cdisc
from msc_pipeline.profiles import FORMATS, Profile
from msc_pipeline.sample.transport import write_transport

Row = tuple[str, ...]
MOMENT = datetime(2026, 1, 1)  # noqa: DTZ001 - a fixed mark, no moment of anything
BATCH = 20_000
ENCODINGS = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le"}
"""A UTF-8 file is written without a byte order mark, a UTF-16 one with it."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T([01]\d|2[0-3]):\d{2}")


@dataclass(frozen=True)
class Broken:
    """A line of delimited text that is no row: its fields as they are written."""

    fields: tuple[str, ...]


@dataclass(frozen=True)
class Sheet:
    """One export to be written. header, rows: as the site writes them. standard: header name → standard column."""

    code: str
    header: tuple[str, ...]
    standard: tuple[str, ...]
    rows: Iterable[Row | Broken]

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers in formats that know numbers."""
        return [name in (f"{self.code}SEQ", "VISITNUM", "AGE") for name in self.standard]


def format_of(profile: Profile, extension: str) -> str:
    """Return the format in which a site writes a file of this extension."""
    if profile.format != "by_extension":
        return profile.format
    return next(name for name, ends in FORMATS.items() if f".{extension}".endswith(ends))


def first_row(profile: Profile, extension: str) -> int:
    """Return the number a reader gives to the first row of such a file."""
    kind = format_of(profile, extension)
    return 2 if kind in ("csv", "redcap", "xlsx") or extension.startswith("ndjson") else 1


def write_file(path: Path, sheet: Sheet, profile: Profile, extension: str) -> None:
    """Write one export in its site's format. Raises: ConfigError DIALECT for what the format cannot hold."""
    kind = format_of(profile, extension)
    if kind == "xlsx":
        _workbook(path, sheet, profile)
    elif kind == "xpt":
        encoding = ENCODINGS.get(profile.encoding, profile.encoding)
        rows = [row for row in sheet.rows if isinstance(row, tuple)]
        write_transport(path, sheet.code, sheet.header, sheet.numeric, rows, encoding)
    elif kind == "dataset-json":
        _dataset_json(path, sheet, lines=extension.startswith("ndjson"), packed=extension.endswith(".gz"))
    elif kind == "parquet":
        _parquet(path, sheet)
    else:
        _delimited(path, sheet, profile, packed=extension.endswith(".gz"))


@contextmanager
def _bytes(path: Path, *, packed: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as raw:
        if not packed:
            yield raw
            return
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream:
            yield stream  # type: ignore[misc]  # a GzipFile is written like any binary file


def _delimited(path: Path, sheet: Sheet, profile: Profile, *, packed: bool) -> None:
    encoding = ENCODINGS.get(profile.encoding, profile.encoding)
    with _bytes(path, packed=packed) as raw:
        if encoding == "utf-16-le":
            raw.write(b"\xff\xfe")
        text = io.TextIOWrapper(raw, encoding=encoding, newline="", write_through=True)
        writer = csv.writer(text, delimiter=profile.delimiter, quotechar=profile.quote, lineterminator="\n")
        writer.writerow(sheet.header)
        for row in sheet.rows:
            writer.writerow(row.fields if isinstance(row, Broken) else row)
        text.flush()
        text.detach()


def _typed(cell: str, *, number: bool) -> int | float | str | None:
    """Return a number cell as a number, an empty one as nothing."""
    if not cell:
        return None
    if number and re.fullmatch(r"-?\d+", cell):
        return int(cell)
    return float(cell) if number and re.fullmatch(r"-?\d+\.\d+", cell) else cell


def _dataset_json(path: Path, sheet: Sheet, *, lines: bool, packed: bool) -> None:
    rows = [
        [_typed(cell, number=n) for cell, n in zip(row, sheet.numeric, strict=True)]
        for row in sheet.rows
        if isinstance(row, tuple)
    ]
    label = cdisc.DOMAIN_LABELS[sheet.code]
    columns = [
        {"itemOID": f"IT.{sheet.code}.{name}", "name": name, "label": name, "dataType": "double" if n else "string"}
        for name, n in zip(sheet.header, sheet.numeric, strict=True)
    ]  # fmt: skip
    head: dict[str, Any] = {
        "datasetJSONCreationDateTime": MOMENT.isoformat(), "datasetJSONVersion": "1.1.0",
        "itemGroupOID": f"IG.{sheet.code}", "records": len(rows), "name": sheet.code, "label": label,
        "columns": columns,
    }  # fmt: skip
    dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    with _bytes(path, packed=packed) as raw:
        if lines:
            raw.writelines(f"{dump(part)}\n".encode() for part in (head, *rows))
            return
        raw.write(dump(head)[:-1].encode() + b',"rows":[')
        raw.writelines((b"," if i else b"") + dump(row).encode() for i, row in enumerate(rows))
        raw.write(b"]}\n")


def _parquet(path: Path, sheet: Sheet) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [pa.float64() if n else pa.string() for n in sheet.numeric]
    schema = pa.schema(list(zip(sheet.header, kinds, strict=True)))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in _batches(row for row in sheet.rows if isinstance(row, tuple)):
            columns = zip(*batch, strict=True)
            arrays = [
                pa.array([float(c) if c else None for c in cells] if n else [c or None for c in cells], kind)
                for cells, n, kind in zip(columns, sheet.numeric, kinds, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _workbook(path: Path, sheet: Sheet, profile: Profile) -> None:
    """Write a workbook with numbers and dates as Excel keeps them; its parts carry one fixed date."""
    import openpyxl
    from openpyxl.cell import WriteOnlyCell

    book = openpyxl.Workbook(write_only=True)
    book.properties.created = MOMENT
    book.properties.creator = "export"
    page = book.create_sheet(profile.sheet or sheet.code)
    dated = [name.endswith("DTC") and profile.date_format == "iso" for name in sheet.standard]

    def cell(text: str, *, number: bool, day: bool) -> Any:
        if day and (_DAY.fullmatch(text) or _MOMENT.fullmatch(text)):
            return _excel_date(WriteOnlyCell(page), text)
        if number or not text:
            return _typed(text, number=number)
        made = WriteOnlyCell(page, value=text)
        made.data_type = "s"  # a text that begins with = stays a text
        return made

    page.append(list(sheet.header))
    for row in sheet.rows:
        if isinstance(row, tuple):
            kinds = zip(row, sheet.numeric, dated, strict=True)
            page.append([cell(text, number=number, day=day) for text, number, day in kinds])
    with tempfile.SpooledTemporaryFile(max_size=BATCH * 100) as made:
        book.save(made)
        made.seek(0)
        _repack(made, path)


def _excel_date(cell: Any, text: str) -> Any:
    """Return an Excel date; a day that no calendar has stays text."""
    try:
        cell.value = datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)
    except ValueError:
        cell.value = text
        return cell
    cell.number_format = "yyyy-mm-dd hh:mm" if "T" in text else "yyyy-mm-dd"
    return cell


def _repack(source: Any, path: Path) -> None:
    """Copy a workbook's parts under one fixed date, in place of the time at which it was made."""
    with zipfile.ZipFile(source) as made, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in made.namelist():
            part = made.read(name)
            if name == "docProps/core.xml":
                part = re.sub(rb"(<dcterms:modified[^>]*>)[^<]*", rb"\g<1>2026-01-01T00:00:00Z", part)
            target.writestr(zipfile.ZipInfo(name, MOMENT.timetuple()[:6]), part, zipfile.ZIP_DEFLATED)
