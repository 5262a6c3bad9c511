"""Excel workbooks (XLSX): what a person at the site sees is what is read, or the file is refused.

Belongs here: the archive's limits, what a workbook may hide, cells as text. Does not: column names or meanings.

Values come from openpyxl in its streaming mode. It passes over rows out of order, trusts a wrong dimension and
shows neither hidden rows nor merged cells, so the sheet's XML is scanned first. A formula is refused, since what
a file keeps of it is the last result somebody's Excel happened to store.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.raw import RawBatch
from msc_pipeline.readers.sheet_scan import scan_sheet
from msc_pipeline.readers.typed import (
    Cells,
    check_width,
    gather,
    identifiers,
    moment_text,
    not_text,
    number_text,
)  # fmt: skip

OLE2 = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAX_MEMBERS = 1_000
SMALL = 1024**2
ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
SCALED = re.compile(r"%|[0#?],+(?:$|[;.\s\"\\])")
LITERAL = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')
ERROR = "CELL_ERROR"


@dataclass(frozen=True, slots=True)
class Workbook:
    """One opened file; see the readers' face."""

    path: Path
    profile: Profile
    sheet: str
    header: list[str]
    header_row: int

    def batches(self, free_text: frozenset[int]) -> Iterator[RawBatch]:
        """Yield every row that is not blank, under its number in the sheet; a cell cannot run into the next."""
        ids = identifiers(self.header, self.profile)
        yield from gather(self._rows(ids), len(self.header), self.profile)

    def _rows(self, ids: frozenset[int]) -> Iterator[tuple[int, Cells | None, str | None]]:
        width, blank = len(self.header), [None] * len(self.header)
        with _opened(self.path) as book:
            for line, row in _filled(book[self.sheet]):
                if line <= self.header_row:
                    continue
                if any(cell.data_type == "e" for cell in row):
                    yield line, None, ERROR
                    continue
                for i in ids:
                    if i < len(row) and row[i].value is not None and not isinstance(row[i].value, str):
                        raise not_text(i)
                cells = [_text(cell, line) for cell in row]
                extra = any(cells[width:])
                if cells[:width] == self.header and not extra:
                    yield line, None, "REPEATED_HEADER"
                elif extra:
                    yield line, None, "FIELD_COUNT"
                else:
                    yield line, (cells + blank)[:width], None


def open_workbook(path: Path, profile: Profile) -> Workbook:
    """Check a workbook and read its header: the first row of the sheet that is not blank.

    Raises: DeliveryRejected EMPTY_FILE, CORRUPT, ENCRYPTED, PATH, RATIO, MACRO, HIDDEN_SHEET, SHEET, FORMULA,
    HIDDEN_CELLS, MERGED_CELLS, SIZE; `batches` also ID_NOT_TEXT, CELL_FORMAT, FIELD_SIZE.
    """
    _check_archive(path, profile)
    with _opened(path) as book:
        name = _sheet(book, profile)
        with book[name]._get_source() as xml:  # the one way openpyxl gives to the sheet it will read
            scan_sheet(xml, profile)
        for line, row in _filled(book[name]):
            header = [_text(cell, line) or "" for cell in row]
            while header and not header[-1].strip():
                header.pop()
            check_width(len(header), profile)
            return Workbook(path, profile, name, header, line)
    raise DeliveryRejected("EMPTY_FILE", "The sheet holds no cell.")


def sheet_names(path: Path) -> tuple[str, ...]:
    """Return the names of a workbook's sheets, in order."""
    with _opened(path) as book:
        return tuple(sheet.title for sheet in book.worksheets)


def _check_archive(path: Path, profile: Profile) -> None:
    """Judge the archive by its table of contents, before anything is unpacked.

    The table bounds what is unpacked: the zip module reads no more of a member than the table says.
    """
    with path.open("rb") as raw:
        start = raw.read(8)
    if not start:
        raise DeliveryRejected("EMPTY_FILE", "The file is empty.")
    if start == OLE2:
        raise DeliveryRejected("ENCRYPTED", "The workbook has a password, or is an old .xls file.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise DeliveryRejected("CORRUPT", "The file is no whole workbook; it may be cut off.") from None
    names = [member.filename for member in members]
    if any(PurePosixPath(n).is_absolute() or ".." in PurePosixPath(n).parts or "\\" in n for n in names):
        raise DeliveryRejected("PATH", "The workbook holds a part whose path leads out of it.")
    if len(set(names)) != len(names) or len(names) > MAX_MEMBERS:
        raise DeliveryRejected("CORRUPT", "The workbook holds a part twice, or too many parts.")
    if any(member.flag_bits & 1 for member in members):
        raise DeliveryRejected("ENCRYPTED", "The workbook has a password.")
    unpacked = sum(member.file_size for member in members)
    if unpacked > profile.max_unpacked_bytes or unpacked > max(
        SMALL, path.stat().st_size * profile.max_ratio
    ):
        raise DeliveryRejected("RATIO", "The workbook unpacks to more than the site's profile allows.")
    if any("vbaproject" in n.lower() or "/macrosheets/" in n.lower() for n in names):
        raise DeliveryRejected("MACRO", "The workbook holds macros. Save it as .xlsx without them.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open with openpyxl; its errors and warnings quote cells, so ours take their place."""
    import openpyxl

    book = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with path.open("rb") as raw:
                book = openpyxl.load_workbook(raw, read_only=True, keep_links=False)
                yield book
        except (DeliveryRejected, GeneratorExit, MemoryError):
            raise
        except Exception:
            raise DeliveryRejected("CORRUPT", "The workbook is damaged or not a workbook.") from None
        finally:
            if book is not None:
                book.close()


def _sheet(book: Any, profile: Profile) -> str:
    """Return the name of the sheet to read."""
    if book.chartsheets:  # openpyxl forgets whether they are hidden
        raise DeliveryRejected("SHEET", "The workbook has a chart sheet. Send it without.")
    if any(sheet.sheet_state != "visible" for sheet in book.worksheets):
        raise DeliveryRejected("HIDDEN_SHEET", "The workbook has a hidden sheet. Send it without.")
    names = [sheet.title for sheet in book.worksheets]
    if profile.sheet:
        if profile.sheet not in names:
            raise DeliveryRejected("SHEET", "The workbook lacks the sheet that the site's profile names.")
        return profile.sheet
    if len(names) != 1:
        raise DeliveryRejected(
            "SHEET", "The workbook has several sheets, and the profile names none of them."
        )
    return str(names[0])


def _filled(sheet: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield (row number, cells) of rows that hold anything."""
    sheet.reset_dimensions()
    for line, row in enumerate(sheet.iter_rows(), 1):
        if any(cell.value is not None for cell in row):
            yield line, row


def _text(cell: Any, line: int) -> str | None:
    """Return a cell as text: what was typed, a number in its shortest form, a date as ISO 8601."""
    value = cell.value
    if value is None:
        return None
    if isinstance(value, str):
        return ESCAPED.sub(lambda found: chr(int(found[1], 16)), value) if "_x" in value else value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    form = LITERAL.sub("", cell.number_format)
    if isinstance(value, (int, float)):
        if SCALED.search(form):
            raise DeliveryRejected(
                "CELL_FORMAT", f"Row {line}: a cell shows a percentage or a scaled number, not what it holds."
            )
        return number_text(value)
    if isinstance(value, dt.datetime) and value.time() == dt.time() and "h" not in form.lower():
        return value.date().isoformat()
    return moment_text(value)
