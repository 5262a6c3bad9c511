"""The fast way through a CSV: the same cells, line numbers and faults as the strict one, on every input."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import delimited
from msc_pipeline.readers.plain import read_plain

HEADER = ["A", "B", "C"]
FREE = frozenset({1})
WHOLE = 1 << 30

Outcome = tuple[str, Any]


def outcome(path: Path, profile: Profile) -> Outcome:
    """Return ("rows", [(line, fault, cells)…]) or ("rejected", (code, message))."""
    try:
        table = delimited.open_delimited(path, profile)
        rows = []
        for raw in table.batches(FREE):
            cells = zip(*(column.to_pylist() for column in raw.cells), strict=True)
            rows += zip(raw.lines.to_pylist(), raw.faults.to_pylist(), cells, strict=True)
    except DeliveryRejected as fault:
        return "rejected", (fault.code, fault.message)
    return "rows", rows


def three_ways(data: bytes, size: int, folder: Path, **profile: Any) -> tuple[Outcome, Outcome, Outcome]:
    """Read the same bytes fast in small blocks, strictly in small blocks, and strictly in one."""
    path = folder / "x.csv"
    path.write_bytes(data)
    mine = Profile(**profile)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", size)
        fast = outcome(path, mine)
        patch.setattr(delimited, "read_plain", lambda *_: None)
        strict = outcome(path, mine)
        patch.setattr(delimited, "BLOCK", WHOLE)
        return fast, strict, outcome(path, mine)


PIECES = [b"", b"x", b" ", b"NA", b"0012", b"-", b"<0.1", b"A", "µé".encode(), b"\xef\xbb\xbf", "\u2028".encode(),
    b"\x0b", b'"', b'""', b'"x"', b'"x,y"', b'"x""y"', b'"x\ny"', b'"x\r\ny"', b'x"y', b'"x"y', b'" "',
    b"'", b"';'", b"\r", b"xxxxxxxxxxxxxxxxxxxxxxxxxx"]  # fmt: skip
CELL = st.lists(st.sampled_from(PIECES), max_size=2).map(b"".join)
PLAIN_CELL = st.sampled_from([b"", b"x", b"NA", b'"x"', b'""', b'"x,y"', b"1.5", "µ".encode()])
ROW = st.one_of(
    st.tuples(PLAIN_CELL, PLAIN_CELL, PLAIN_CELL).map(b",".join),
    st.tuples(CELL, CELL, CELL).map(b",".join),
    st.lists(CELL, max_size=5).map(b",".join),
    st.sampled_from([b"", b" ", b"A,B,C", b",,", b"x,y", b"x,y,z,z", b'"']),
)
END = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"])
FILE = st.lists(st.tuples(ROW, END).map(b"".join), max_size=14).map(
    lambda rows: b"A,B,C\n" + b"".join(rows) + b"\n"
)


@fuzz(250)
@given(data=FILE, size=st.integers(1, 60), limit=st.sampled_from([1_000_000, 20]))
@example(data=b"A,B,C\n" + b'a"b,",x\n' * 3, size=6, limit=1_000_000)
@example(data=b"A,B,C\nx,y,z\n" + b"\xef\xbb\xbfx,y,z\n" * 3, size=6, limit=1_000_000)
@example(data=b'A,B,C\nx,y,z\n"x\n\ny",y,z\nx,"y\n",z\n', size=6, limit=1_000_000)
def test_the_fast_way_and_the_strict_way_give_the_same(
    data: bytes, size: int, limit: int, tmp_path: Path
) -> None:
    fast, strict, whole = three_ways(data, size, tmp_path, max_field_bytes=limit)
    assert fast == strict == whole


@fuzz(150)
@given(data=FILE, size=st.integers(1, 60))
def test_every_accepted_row_holds_what_a_plain_parse_of_the_file_says(
    data: bytes, size: int, tmp_path: Path
) -> None:
    kind, rows = three_ways(data, size, tmp_path)[0]
    if kind == "rejected":
        return
    reader = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    expected, start = [], 1
    for cells in reader:
        if cells and (len(cells) > 1 or cells[0].strip()):
            fault = "FIELD_COUNT" if len(cells) != 3 else "REPEATED_HEADER" if cells == HEADER else None
            kept = (None,) * 3 if fault else tuple(cell or None for cell in cells)
            expected.append((start, fault, kept))
        start = reader.line_num + 1
    assert rows == expected[1:]


@fuzz(100)
@given(
    data=FILE,
    delimiter=st.sampled_from([b",", b";", b"\t", b"|"]),
    quote=st.sampled_from([b'"', b"'"]),
    size=st.integers(1, 40),
)
def test_so_they_do_in_any_dialect(
    data: bytes, delimiter: bytes, quote: bytes, size: int, tmp_path: Path
) -> None:
    data = data.replace(b",", delimiter).replace(b'"', quote)
    fast, strict, whole = three_ways(data, size, tmp_path, delimiter=delimiter.decode(), quote=quote.decode())
    assert fast == strict == whole


PLAIN = {
    "rows": b"a,b,c\nd,e,f\n",
    "line ends of Windows": b"a,b,c\r\nd,e,f\r\n",
    "quotes around whole fields": b'"a","b,",c\n,"",d\n',
    "empty cells": b",,\n,,\n",
    "what looks like null": b"NA,null,NaN\n",
}
DOUBTFUL = {
    "a blank line": b"a,b,c\n\nd,e,f\n",
    "a blank line first": b"\na,b,c\n",
    "a blank line of Windows": b"a,b,c\r\n\r\nd,e,f\r\n",
    "a short row": b"a,b,c\nd,e\n",
    "a long row": b"a,b,c\nd,e,f,g\n",
    "a lone carriage return": b"a,b\r,c\n",
    "an inch mark": b'5" scar,b,c\n',
    "two stray quotes that look like one field": b'a"b,",c\n',
    "a doubled quote": b'"a""b",b,c\n',
    "a quoted line end": b'"a\nb",b,c\n',
    "an open quote": b'a,b,"c\n',
    "text after a quote": b'"a"x,b,c\n',
    "a mark that a library would drop": b"\xef\xbb\xbfa,b,c\n",
    "a header again": b"A,B,C\n",
    "a line over the field limit": b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,b,c\n",
}


@pytest.mark.parametrize("what", PLAIN)
def test_a_plain_block_is_split_at_once(what: str) -> None:
    raw = read_plain(PLAIN[what], 7, HEADER, Profile(max_field_bytes=30))
    assert raw is not None
    expected = [[cell or None for cell in row] for row in csv.reader(io.StringIO(PLAIN[what].decode()))]
    assert [list(row) for row in zip(*(c.to_pylist() for c in raw.cells), strict=True)] == expected
    assert raw.lines.to_pylist() == list(range(7, 7 + len(expected)))
    assert raw.faults.null_count == len(expected)
    assert all(column.type == pa.string() for column in raw.cells)


@pytest.mark.parametrize("what", DOUBTFUL)
def test_a_block_in_doubt_is_left_to_the_strict_way(what: str) -> None:
    assert read_plain(DOUBTFUL[what], 7, HEADER, Profile(max_field_bytes=30)) is None


def test_a_record_longer_than_any_field_and_row_may_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "LONGEST", 1000)
    monkeypatch.setattr(delimited, "BLOCK", 100)
    for data in (b"A,B,C\n" + b"," * 5000 + b"\n", b"A,B,C\n" + b'"x\n",' * 1000 + b"\n"):
        path = tmp_path / "x.csv"
        path.write_bytes(data)
        assert outcome(path, Profile())[1][0] == "FIELD_SIZE"


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_the_size_of_what_is_read_at_a_time_changes_nothing(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"A,B,C\n" + b'x,"y\nz",\n' + b"long cell,long cell,long cell\n" * 9 + b"1,2\n\n1,2,3\n"
    expected = three_ways(data, 7, tmp_path)
    assert expected[0] == expected[1] == expected[2]
    monkeypatch.setattr("msc_pipeline.readers.packing.CHUNK", chunk)
    assert three_ways(data, 7, tmp_path) == expected


def test_a_line_without_an_end_in_sight_is_not_held_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msc_pipeline.readers.packing.CHUNK", 64)
    monkeypatch.setattr(delimited, "BLOCK", 64)
    monkeypatch.setattr(delimited, "LONGEST", 1000)
    path = tmp_path / "x.csv"
    path.write_bytes(b"A,B,C\n" + b"x" * 5000 + b"\n")
    assert outcome(path, Profile())[1] == ("FIELD_SIZE", "A line is too long.")
