"""Readers: every byte of a CSV is accounted for, or the file is rejected with the code a site is told."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import read_export
from msc_pipeline.readers.delimited import open_delimited
from msc_pipeline.study import Domain

DOMAIN = Domain(
    update="cumulative",
    key=("USUBJID", "AESEQ"),
    required=("STUDYID", "USUBJID", "AESEQ", "AETERM"),
    optional=("AESER", "SITEID"),
    free_text=("AETERM",),
    suites=("visit/ae",),
)
NAMES = ("STUDYID", "USUBJID", "AESEQ", "AETERM", "AESER", "SITEID_CELL")
HEADER = b"STUDYID,USUBJID,AESEQ,AETERM,AESER\n"
ROW = b"T,S-MARKER,1,Headache,N\n"
SECOND = b"T,S-MARKER,2,Nausea,N\n"
SEMICOLONS = {"delimiter": ";"}

Cells = tuple[str | None, ...]


def read(path: Path, **profile: Any) -> pa.Table:
    return pa.Table.from_batches(read_export(path, Profile(**profile), DOMAIN))


def read_bytes(folder: Path, data: bytes, **profile: Any) -> pa.Table:
    path = folder / "ae.csv"
    path.write_bytes(data)
    return read(path, **profile)


def cells_of(table: pa.Table) -> list[Cells]:
    return [tuple(row[name] for name in NAMES) for row in table.to_pylist()]


REJECTED: dict[str, tuple[bytes, str, dict[str, Any]]] = {
    "an empty file": (b"", "EMPTY_FILE", {}),
    "blank lines only": (b"\n\r\n   \n", "EMPTY_FILE", {}),
    "a byte order mark only": (b"\xef\xbb\xbf\n", "EMPTY_FILE", {}),
    "UTF-16, little end first": ((HEADER + ROW).decode().encode("utf-16"), "ENCODING", {}),
    "UTF-16, big end first": (b"\xfe\xff" + (HEADER + ROW).decode().encode("utf-16-be"), "ENCODING", {}),
    "UTF-16 without a mark": ((HEADER + ROW).decode().encode("utf-16-le"), "NUL_BYTE", {}),
    "cp1252 that nobody declared": (HEADER + "T,S,1,5 µg too much,N\n".encode("cp1252"), "ENCODING", {}),
    "one bad byte late in the file": (HEADER + ROW * 60_000 + b"T,S,1,\xff,N\n", "ENCODING", {}),
    "a NUL byte": (HEADER + ROW + b"T,S,2,a\x00b,N\n", "NUL_BYTE", {}),
    "no last newline": (HEADER + ROW[:-1], "TRUNCATED", {}),
    "half a last row": (HEADER + ROW + ROW[:9], "TRUNCATED", {}),
    "carriage returns only": ((HEADER + ROW).replace(b"\n", b"\r"), "LINE_ENDS", {}),
    "a field over a million characters": (HEADER + b"T,S,1," + b"x" * 1_000_001 + b",N\n", "FIELD_SIZE", {}),
    "a field over the profile's limit": (HEADER + ROW, "FIELD_SIZE", {"max_field_bytes": 7}),
    "every row long": (HEADER + b"T,S,1,Headache,N,x\n" * 2, "FIELD_COUNT_ALL", {}),
    "every row short": (HEADER + b"T,S,1,Headache\n" * 2, "FIELD_COUNT_ALL", {}),
    "a column twice": (b"STUDYID,USUBJID,AESEQ,AETERM,AETERM\n" + ROW, "HEADER_DUPLICATE", {}),
    "a column twice in another case": (b"STUDYID,USUBJID,AESEQ,AETERM,aeterm\n" + ROW, "HEADER_DUPLICATE", {}),
    "two columns mapped to one": (
        b"STUDYID,USUBJID,AESEQ,AETERM,TERM\n" + ROW,
        "HEADER_DUPLICATE",
        {"columns": {"TERM": "AETERM"}},
    ),
    "a column without a name": (b"STUDYID,USUBJID,AESEQ,AETERM,\n" + ROW, "HEADER_BLANK", {}),
    "a required column missing": (b"STUDYID,USUBJID,AESEQ,AESER\n", "COLUMN_MISSING", {}),
    "a column that may unblind": (HEADER[:-1] + b",ARMCD\n" + ROW[:-1] + b",A\n", "COLUMN_UNKNOWN", {}),
    "a standard name in lower case": (HEADER.replace(b"AESER", b"aeser") + ROW, "COLUMN_UNKNOWN", {}),
    "no header": (ROW + SECOND, "HEADER_MISSING", {}),
    "a preamble of one line": (b"Export of 2025-03-01\n" + HEADER + ROW, "HEADER_MISSING", {}),
    "a preamble with a comma": (b"Export, final\n" + HEADER + ROW, "HEADER_MISSING", {}),
    "a line that names the separator": (b"sep=;\n" + HEADER + ROW, "DELIMITER", {}),
    "a line that names it, as declared": (b"sep=;\n" + HEADER.replace(b",", b";"), "HEADER_BLANK", SEMICOLONS),
    "semicolons that nobody declared": ((HEADER + ROW).replace(b",", b";"), "DELIMITER", {}),
    "commas where semicolons are declared": (HEADER + ROW, "DELIMITER", SEMICOLONS),
    "a quote that never closes": (HEADER + b'T,S,1,"Headache,N\n' + ROW, "QUOTE", {}),
    "text after a closing quote": (HEADER + b'T,S,1,"5" scar",N\n', "QUOTE", {}),
    "a quote that never closes in a long file": (HEADER + b'T,S,1,"x,N\n' + ROW * 50_000, "FIELD_SIZE", {}),
    "two stray quotes with a row between": (HEADER + b'T,"S,1,Headache,N\nT,S",1,Nausea,N\n', "NEWLINE_IN_FIELD", {}),
    "two stray quotes in free text": (HEADER + b'T,S,1,"5 scar,N\nT,S,2,6 scar",N\n', "NEWLINE_IN_FIELD", {}),
    "stray quotes two rows apart": (HEADER + b'T,S,1,"a,N\n' + ROW + b'T,S,3,b",N\n', "NEWLINE_IN_FIELD", {}),
    "stray quotes from one column to another": (HEADER + b'T,S,1,"5 scar,N\nT,S",2,c,N\n', "NEWLINE_IN_FIELD", {}),
    "a line end in a name": (HEADER.replace(b"AESER", b'"AE\nSER"') + ROW, "COLUMN_UNKNOWN", {}),
}  # fmt: skip


@pytest.mark.parametrize("what", REJECTED)
def test_a_file_is_rejected_with_the_code_of_its_fault(what: str, tmp_path: Path) -> None:
    data, code, profile = REJECTED[what]
    with pytest.raises(DeliveryRejected) as caught:
        read_bytes(tmp_path, data, **profile)
    assert caught.value.code == code


@pytest.mark.parametrize("what", REJECTED)
def test_a_rejection_never_quotes_the_file(what: str, tmp_path: Path) -> None:
    data, _, profile = REJECTED[what]
    with pytest.raises(DeliveryRejected) as caught:
        read_bytes(tmp_path, data, **profile)
    for word in ("MARKER", "ARMCD", "Headache", "Nausea", "scar", "µ", "Export"):
        assert word not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


ACCEPTED: dict[str, tuple[bytes, list[Cells], dict[str, Any]]] = {
    "a header only": (HEADER, [], {}),
    "a byte order mark": (b"\xef\xbb\xbf" + HEADER + ROW, [("T", "S-MARKER", "1", "Headache", "N", None)], {}),
    "cp1252 that is declared": (
        HEADER + "T,S,1,5 µg too much,N\n".encode("cp1252"),
        [("T", "S", "1", "5 µg too much", "N", None)],
        {"encoding": "cp1252"},
    ),
    "another order of columns": (
        b"AETERM,AESEQ,SITEID,USUBJID,STUDYID\nNausea,1,XA,S,T\n",
        [("T", "S", "1", "Nausea", None, "XA")],
        {},
    ),
    "columns under the site's names": (
        b"Study,Patient,No,Term\nT,S,1,Nausea\n",
        [("T", "S", "1", "Nausea", None, None)],
        {"columns": {"Study": "STUDYID", "Patient": "USUBJID", "No": "AESEQ", "Term": "AETERM"}},
    ),
    "columns that are dropped, line ends and all": (
        b"note,STUDYID,USUBJID,AESEQ,AETERM,ARM\n" + b'"line one\nline two",T,S,1,Nausea,A\n',
        [("T", "S", "1", "Nausea", None, None)],
        {"drop": ("note", "ARM")},
    ),
    "values under the site's names": (
        HEADER + b"T,S,1,yes,yes\nT,S,2,x,Yes\nT,S,3,x,\n",
        [("T", "S", "1", "yes", "Y", None), ("T", "S", "2", "x", "Yes", None), ("T", "S", "3", "x", "U", None)],
        {"values": {"AESER": {"yes": "Y", "": "U"}}},
    ),
    "a value map for a column the export lacks": (
        b"STUDYID,USUBJID,AESEQ,AETERM\nT,S,1,x\n",
        [("T", "S", "1", "x", None, None)],
        {"values": {"AESER": {"": "U"}}},
    ),
    "semicolons as declared": (
        HEADER.replace(b",", b";") + b"T;S;1;1,2;N\n",
        [("T", "S", "1", "1,2", "N", None)],
        SEMICOLONS,
    ),
    "text that looks like something else": (
        HEADER + b"0012,NA,1E5,None,NULL\nT/F,01/02/2025,<0.1,=cmd|x,nan\n 1 ,\xc2\xa0,12345678901234567890,-0,#N/A\n",
        [
            ("0012", "NA", "1E5", "None", "NULL", None),
            ("T/F", "01/02/2025", "<0.1", "=cmd|x", "nan", None),
            (" 1 ", "\xa0", "12345678901234567890", "-0", "#N/A", None),
        ],
        {},
    ),
    "an inch mark inside free text": (HEADER + b'T,S,1,5" scar,N\n', [("T", "S", "1", '5" scar', "N", None)], {}),
    "a quoted cell with marks of its own": (
        HEADER + b'T,S,1,"a ""b"", c",N\n',
        [("T", "S", "1", 'a "b", c', "N", None)],
        {},
    ),
    "line ends of both kinds": (
        HEADER.replace(b"\n", b"\r\n") + b"T,S,1,a,N\n" + b"T,S,2,b,N\r\n",
        [("T", "S", "1", "a", "N", None), ("T", "S", "2", "b", "N", None)],
        {},
    ),
    "line ends of Windows": (
        HEADER.replace(b"\n", b"\r\n") + b"T,S,1,a,N\r\n",
        [("T", "S", "1", "a", "N", None)],
        {},
    ),
    "a carriage return between rows": (HEADER + b"T,S,1,a,N\rT,S,2,b,N\n", [
        ("T", "S", "1", "a", "N", None), ("T", "S", "2", "b", "N", None)], {}),
    "a field at the profile's limit": (HEADER + b"T,S,1,12345678,N\n", [("T", "S", "1", "12345678", "N", None)],
        {"max_field_bytes": 8}),
}  # fmt: skip


@pytest.mark.parametrize("what", ACCEPTED)
def test_a_file_is_read_as_it_was_written(what: str, tmp_path: Path) -> None:
    data, expected, profile = ACCEPTED[what]
    table = read_bytes(tmp_path, data, **profile)
    assert cells_of(table) == expected
    assert table.column("FAULT").null_count == len(expected)


NOT_SPLIT = {
    "a short row": (b"T,S,2,Nausea\n", "FIELD_COUNT"),
    "a long row": (b"T,S,2,Nausea,N,N\n", "FIELD_COUNT"),
    "an unquoted comma": (b"T,S,2,Nausea, mild,N\n", "FIELD_COUNT"),
    "a footer": (b"Total: 1 row\n", "FIELD_COUNT"),
    "the header again": (HEADER, "REPEATED_HEADER"),
}


@pytest.mark.parametrize("what", NOT_SPLIT)
def test_a_row_that_cannot_be_split_is_kept_as_a_fault_without_cells(what: str, tmp_path: Path) -> None:
    line, fault = NOT_SPLIT[what]
    table = read_bytes(tmp_path, HEADER + ROW + line + ROW, values={"AESER": {"": "U"}})
    assert table.column("FAULT").to_pylist() == [None, fault, None]
    assert table.column("SRC_ROW").to_pylist() == [2, 3, 4]
    assert cells_of(table)[1] == (None,) * len(NAMES)


def test_a_file_of_two_headers_is_not_told_its_rows_are_of_another_width(tmp_path: Path) -> None:
    table = read_bytes(tmp_path, HEADER + HEADER)
    assert table.column("FAULT").to_pylist() == ["REPEATED_HEADER"]


def test_the_source_row_is_the_line_where_a_row_starts(tmp_path: Path) -> None:
    data = b"\n" + HEADER + b'T,S,1,"one\r\ntwo, three\n\nfour",N\n\n' + ROW + b'T,S,3,"a\rb",N\n' + ROW
    table = read_bytes(tmp_path, data)
    assert table.column("SRC_ROW").to_pylist() == [3, 8, 9, 11]
    assert table.column("AETERM").to_pylist() == ["one\r\ntwo, three\n\nfour", "Headache", "a\rb", "Headache"]


def test_a_rejection_names_the_line_of_the_fault(tmp_path: Path) -> None:
    with pytest.raises(DeliveryRejected, match=r"Line 4: a field runs over a line end"):
        read_bytes(tmp_path, HEADER + ROW + b"\n" + b'T,"S\n",1,x,N\n')
    with pytest.raises(DeliveryRejected, match=r"Line 3: a quote is not closed"):
        read_bytes(tmp_path, HEADER + ROW + b'T,S,1,"a" b,N\n')


def test_unknown_columns_are_named_by_position_only(tmp_path: Path) -> None:
    with pytest.raises(DeliveryRejected, match=r"at: 1, 6\.$"):
        read_bytes(tmp_path, b"KIT,STUDYID,USUBJID,AESEQ,AETERM,DOSE\n")


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(DeliveryRejected, match=r"missing: AESEQ, AETERM\.$"):
        read_bytes(tmp_path, b"STUDYID,USUBJID,AESER\n")


def test_a_large_file_comes_in_batches_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ae.csv"
    count = 500_000
    path.write_bytes(HEADER + b"".join(b"T,S,%d,x,N\n" % i for i in range(count)))
    batches = list(read_export(path, Profile(), DOMAIN))
    assert len(batches) > 1
    table = pa.Table.from_batches(batches)
    assert table.column("AESEQ").to_pylist() == [str(i) for i in range(count)]
    assert table.column("SRC_ROW").to_pylist() == list(range(2, count + 2))


def test_the_field_limit_of_one_profile_outlives_no_reading(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    read_bytes(tmp_path, HEADER + b"T,S,1,12345678,N\n", max_field_bytes=8)
    with pytest.raises(DeliveryRejected):
        read_bytes(tmp_path, HEADER + b"T,S,1,123456789,N\n", max_field_bytes=8)
    opened = open_delimited(tmp_path / "ae.csv", Profile(max_field_bytes=30))
    del opened
    assert csv.field_size_limit() == before


def _cell(alphabet: Any) -> Any:
    tricky = st.sampled_from(
        ["", "NA", "0012", "1,5", '"', '""', "'", ";", "\t", " ", "é", "<0.1", "\u2028", "\x0b"]
    )
    return st.one_of(tricky, st.text(alphabet, max_size=8))


PLAIN = st.characters(exclude_categories=("Cs",), exclude_characters="\x00\r\n")
TEXT = st.characters(exclude_categories=("Cs",), exclude_characters="\x00\r")
ROWS = st.lists(st.tuples(_cell(PLAIN), _cell(PLAIN), _cell(PLAIN), _cell(TEXT), _cell(PLAIN)), max_size=6)


def _lines(rows: list[tuple[str, ...]], dialect: dict[str, Any]) -> tuple[bytes, list[int]]:
    """Return a CSV as another program would write it, and the line each row starts at."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, **dialect)
    writer.writerow(HEADER.decode().strip().split(","))
    starts = []
    for row in rows:
        starts.append(out.getvalue().count("\n") + 1)
        writer.writerow(row)
    return out.getvalue().encode(), starts


@fuzz(150)
@given(
    rows=ROWS,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_any_table_of_text_comes_back_exactly(
    rows: list[tuple[str, ...]], quoting: int, end: str, delimiter: str, tmp_path: Path
) -> None:
    for row in rows:
        breaks = row[3].count("\n")
        assume(not breaks or row[3].count(delimiter) != 4 * breaks)  # what two stray quotes would leave
    dialect = {"quoting": quoting, "lineterminator": end, "delimiter": delimiter}
    data, starts = _lines(rows, dialect)
    path = tmp_path / "ae.csv"
    path.write_bytes(data)
    table = read(path, delimiter=delimiter)
    assert cells_of(table) == [(*(cell or None for cell in row), None) for row in rows]
    assert table.column("SRC_ROW").to_pylist() == starts
    assert table.column("FAULT").null_count == len(rows)


VALID = HEADER + ROW + b'T,S,2,"a, ""b""\nc",N\r\n' + SECOND


def _damaged(draw: Callable[[Any], Any]) -> bytes:
    data = bytearray(VALID)
    for _ in range(draw(st.integers(1, 4))):
        at, cut = draw(st.integers(0, len(data))), draw(st.integers(0, 6))
        data[at : at + cut] = draw(
            st.sampled_from([b"", b'"', b",", b"\n", b"\r", b"\xff", b"\x00", b"x", b";"])
        )
    return bytes(data)


@fuzz(300)
@given(data=st.one_of(st.binary(max_size=60), st.composite(_damaged)()))
@example(data=b'"\n')
@example(data=b"STUDYID,USUBJID,AESEQ,AETERM\n\n,,\n")
def test_damage_of_any_kind_gives_rows_or_a_code_and_no_other_error(data: bytes, tmp_path: Path) -> None:
    try:
        table = read_bytes(tmp_path, data)
    except DeliveryRejected as fault:
        assert fault.code.isupper()
    else:
        lines = table.column("SRC_ROW").to_pylist()
        assert lines == sorted(set(lines))
        assert len(lines) < data.count(b"\n") + data.count(b"\r") + 1
