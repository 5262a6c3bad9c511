"""Faulty exports for the fault table: a row of the table → the file that a site would send.

Belongs here: how each fault is put into a file. Does not: what must become of it (table.yaml, test_table).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_trial
from tiny_trial import csv_text

Rows = list[dict[str, str]]
PEOPLE = range(1, 9)


def base(domain: str, site: str) -> Rows:
    """Return the rows of an export without a fault."""
    make = getattr(tiny_trial, domain.lower())
    if domain == "LB":
        return [make(site, n, s) for n in PEOPLE for s in (1, 2, 3)]
    return [make(site, n) for n in PEOPLE]


def text_of(fault: dict[str, Any]) -> str:
    """Return the CSV text of a fault's export, up to line ends and encoding."""
    rows = base(fault.get("domain", "LB"), fault.get("site_of_rows", "XA"))
    for number, cells in fault.get("set", {}).items():
        rows[number - 1] |= {column: str(cell) for column, cell in cells.items()}
    rows += [{**rows[number - 1], **cells} for number, cells in fault.get("add_rows", {}).items()]
    text = csv_text(_columns(rows, **fault.get("columns", {})))
    text = _rename(text, fault.get("columns", {}).get("rename", {}))
    old, new = fault.get("replace", ("", ""))
    text = text.replace(old, new, 1) if old else text
    text = text.replace(*fault["replace_all"]) if "replace_all" in fault else text
    lines = text.split("\n")
    for number, line in fault.get("line", {}).items():
        lines[number - 1] = line
    text = "\n".join(lines) + fault.get("append", "")
    return text[: len(text) - fault.get("cut", 0)]


def data_of(fault: dict[str, Any]) -> bytes:
    """Return the bytes of a fault's export before its `make`."""
    text, ends = text_of(fault), fault.get("ends", "\n")
    if ends == "mixed":
        lines = text.split("\n")
        text = "".join(line + ("\r\n" if n % 2 else "\n") for n, line in enumerate(lines[:-1]))
    else:
        text = text.replace("\n", ends)
    return text.encode(fault.get("encode", "utf-8"))


def _columns(
    rows: Rows,
    rename: dict[str, str] | None = None,
    add: dict[str, str] | None = None,
    drop: str = "",
    *,
    reverse: bool = False,
) -> Rows:
    names = [name for name in rows[0] if name != drop]
    names = names[::-1] if reverse else names
    return [{**{name: row[name] for name in names}, **(add or {})} for row in rows]


def _rename(text: str, names: dict[str, str]) -> str:
    header, _, rest = text.partition("\n")
    return ",".join(names.get(name, name) for name in header.split(",")) + "\n" + rest


def write(path: Path, fault: dict[str, Any]) -> None:
    """Write the export of a fault, with its manifest, as a site would."""
    if "manifest" in fault:
        import json

        declared = {**fault["manifest"]}
        if declared.get("sha256") == "other":
            declared["sha256"] = hashlib.sha256(b"another file").hexdigest()
        path.with_name(path.name + ".manifest.json").write_text(json.dumps(declared))
    make = MAKERS.get(fault.get("make", ""))
    if make is not None:
        make(path, data_of(fault))
    else:
        path.write_bytes(data_of(fault))


# --- Text


def empty(path: Path, _data: bytes) -> None:
    path.write_bytes(b"")


def blank_lines(path: Path, _data: bytes) -> None:
    path.write_bytes(b"\n\n  \n\n")


def header_only(path: Path, data: bytes) -> None:
    path.write_bytes(data.split(b"\n")[0] + b"\n")


def late_bad_byte(path: Path, data: bytes) -> None:
    header, row = data.split(b"\n")[:2]
    path.write_bytes(header + b"\n" + (row + b"\n") * 200_000 + row.replace(b"PRED", b"\xffRED") + b"\n")


def long_field(path: Path, data: bytes) -> None:
    path.write_bytes(data.replace(b"PREDNISONE", b"x" * 1_000_001, 1))


def all_rows_long(path: Path, data: bytes) -> None:
    header, *rows = data.decode().splitlines()
    path.write_text("\n".join([header, *(row + ",more" for row in rows)]) + "\n")


def no_header(path: Path, data: bytes) -> None:
    path.write_bytes(data.partition(b"\n")[2])


def header_again(path: Path, data: bytes) -> None:
    path.write_bytes(data + data.partition(b"\n")[0] + b"\n")


def preamble(path: Path, data: bytes) -> None:
    path.write_bytes(b"Export of the laboratory\nmade in March\n\n" + data)


def sep_line(path: Path, data: bytes) -> None:
    path.write_bytes(b"sep=;\n" + data.replace(b",", b";"))


def balanced_swallow(path: Path, data: bytes) -> None:
    """One quote opens in the second row and another closes in the fourth: two rows between them are one field."""
    lines = data.decode().split("\n")
    for number, (old, new) in {2: ("PREDNISONE", '"PREDNISONE'), 4: ("PREDNISONE", 'PREDNISONE"')}.items():
        lines[number] = lines[number].replace(old, new)
    path.write_text("\n".join(lines))


def long_name(path: Path, data: bytes) -> None:
    path.with_name("lb_" + "x" * 248 + ".csv").write_bytes(data)


# --- What is no file


def link(path: Path, data: bytes) -> None:
    target = path.parent.parent.parent / "elsewhere.csv"
    target.write_bytes(data)
    path.symlink_to(target)


def pipe(path: Path, _data: bytes) -> None:
    os.mkfifo(path)


def socket_file(path: Path, _data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as made, tempfile.TemporaryDirectory() as short:
        made.bind(f"{short}/s")  # the address of a socket is short
        Path(short, "s").rename(path)


# --- Archives


def gzip_bomb(path: Path, data: bytes) -> None:
    header, row = data.split(b"\n")[:2]
    path.write_bytes(gzip.compress(header + b"\n" + (row + b"\n") * 300_000))


def gzip_cut(path: Path, data: bytes) -> None:
    packed = gzip.compress(data)
    path.write_bytes(packed[: len(packed) * 2 // 3])


def gzip_whole(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data))


def _zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def zip_climbing(path: Path, data: bytes) -> None:
    _zip(path, {"../../lb_XA.csv": data})


def zip_of_two(path: Path, data: bytes) -> None:
    _zip(path, {"lb_XA.csv": data, "lb_XB.csv": data})


def zip_encrypted(path: Path, data: bytes) -> None:
    _zip(path, {"lb_XA.csv": data})
    content = bytearray(path.read_bytes())
    for sign, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(sign) + flags] |= 1
    path.write_bytes(bytes(content))


# --- Workbooks


def _workbook(path: Path, data: bytes, change: Callable[[Any, Any], None]) -> None:
    import csv

    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    for row in csv.reader(io.StringIO(data.decode())):
        sheet.append(row)
    change(book, sheet)
    book.save(path)


def workbook_bomb(path: Path, data: bytes) -> None:
    """The same sheet with a million blanks between its parts: small when packed."""
    _workbook(path, data, lambda book, sheet: None)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    members[sheet] = members[sheet].replace(b"</sheetData>", b" " * 300_000_000 + b"</sheetData>")
    _zip(path, members)


def workbook_hidden_sheet(path: Path, data: bytes) -> None:
    def change(book: Any, _sheet: Any) -> None:
        book.create_sheet("arm").sheet_state = "veryHidden"

    _workbook(path, data, change)


def workbook_formula(path: Path, data: bytes) -> None:
    def change(_book: Any, sheet: Any) -> None:
        sheet["E3"] = "=1+1"

    _workbook(path, data, change)


def workbook_error(path: Path, data: bytes) -> None:
    def change(_book: Any, sheet: Any) -> None:
        sheet["E3"] = "#N/A"
        sheet["E3"].data_type = "e"

    _workbook(path, data, change)


def workbook_numeric_id(path: Path, data: bytes) -> None:
    def change(_book: Any, sheet: Any) -> None:
        for row in range(2, sheet.max_row + 1):
            sheet.cell(row, 2).value = 1000 + row

    _workbook(path, data, change)


def workbook_macros(path: Path, data: bytes) -> None:
    _workbook(path, data, lambda book, sheet: None)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    types = "[Content_Types].xml"
    kind = b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    members[types] = members[types].replace(kind, b"application/vnd.ms-excel.sheet.macroEnabled.main+xml")
    members["xl/vbaProject.bin"] = b"macro"
    _zip(path, members)


# --- SAS transport


def _xpt(path: Path, data: bytes, cells: dict[str, str]) -> None:
    import csv

    import pandas as pd
    import pyreadstat

    rows = [{**row} for row in csv.DictReader(io.StringIO(data.decode()))]
    rows[-1] |= cells
    pyreadstat.write_xport(pd.DataFrame(rows), path, file_format_version=5)


def xpt_cut(path: Path, data: bytes) -> None:
    _xpt(path, data, {})
    path.write_bytes(path.read_bytes()[:-800])


def xpt_blanks(path: Path, data: bytes) -> None:
    _xpt(path, data, {"VISIT": ""})


MAKERS: dict[str, Callable[[Path, bytes], None]] = {
    make.__name__: make
    for make in (
        empty, blank_lines, header_only, late_bad_byte, long_field, all_rows_long, no_header, header_again, preamble,
        sep_line, balanced_swallow, long_name, link, pipe, socket_file, gzip_bomb, gzip_cut, gzip_whole, zip_climbing,
        zip_of_two, zip_encrypted, workbook_bomb, workbook_hidden_sheet, workbook_formula, workbook_error,
        workbook_numeric_id, workbook_macros, xpt_cut, xpt_blanks,
    )
}  # fmt: skip
