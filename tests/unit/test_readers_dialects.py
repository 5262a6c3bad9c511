"""CSV dialects: one table in every encoding, delimiter and wrapping a site may declare comes back the same."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import read_export
from msc_pipeline.study import Domain

LB = Domain(
    update="cumulative",
    key=("USUBJID", "LBTESTCD", "LBDTC"),
    required=("STUDYID", "USUBJID", "LBTESTCD", "LBORRES", "LBORRESU", "LBDTC"),
    optional=("LBORNRLO", "VISIT", "VISITNUM", "LBREASND"),
    free_text=("LBREASND",),
    suites=("lab/structure",),
)
HEADER = "STUDYID,USUBJID,LBTESTCD,LBORRES,LBORRESU,LBDTC\n"
ROW = "T,S-MARKER,HGB,5.1,g/L,2025-01-31\n"


def read(folder: Path, data: bytes, name: str = "lb.csv", code: str = "LB", **profile: Any) -> pa.Table:
    path = folder / "raw"
    path.write_bytes(data)
    return pa.Table.from_batches(read_export(path, Profile(**profile), LB, code, name))


def column(table: pa.Table, name: str) -> list[str | None]:
    cells: list[str | None] = table.column(name).to_pylist()
    return cells


def refused(folder: Path, data: bytes, name: str = "lb.csv", code: str = "LB", **profile: Any) -> str:
    with pytest.raises(DeliveryRejected) as caught:
        read(folder, data, name, code, **profile)
    assert "MARKER" not in str(caught.value)
    return caught.value.code


ENCODED = {
    "utf-8": ("utf-8", "utf-8-sig"),
    "utf-8 with a mark": ("utf-8-sig", "utf-8-sig"),
    "utf-16 as Windows writes it": ("utf-16", "utf-16"),
    "Windows-1252": ("cp1252", "cp1252"),
    "Latin-1": ("latin-1", "latin-1"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", ENCODED)
def test_every_encoding_is_read_as_declared(what: str, packed: bool, tmp_path: Path) -> None:
    written, declared = ENCODED[what]
    data = (HEADER + "T,S,HGB,5,µkat/L,2025-01-31\n" * 3).encode(written)
    table = read(tmp_path, gzip.compress(data) if packed else data, encoding=declared)
    assert column(table, "LBORRESU") == ["µkat/L"] * 3
    assert column(table, "SRC_ROW") == [2, 3, 4]


def test_utf_16_may_be_big_end_first(tmp_path: Path) -> None:
    data = b"\xfe\xff" + (HEADER + "T,S,HGB,5,µkat/L,2025-01-31\n").encode("utf-16-be")
    assert column(read(tmp_path, data, encoding="utf-16"), "LBORRESU") == ["µkat/L"]


WRONG = {
    "utf-16 declared, no mark": ((HEADER + ROW).encode("utf-16-le"), "utf-16", "ENCODING"),
    "utf-16 declared, utf-8 sent": ((HEADER + ROW).encode(), "utf-16", "ENCODING"),
    "utf-16 cut inside a character": ((HEADER + ROW).encode("utf-16")[:-1], "utf-16", "ENCODING"),
    "utf-16 with a lone half of a pair": (
        "\ufeff".encode("utf-16-le") + (HEADER + ROW).encode("utf-16-le") + b"\x00\xd8\n\x00",
        "utf-16",
        "ENCODING",
    ),
    "utf-16 with a NUL": ((HEADER + ROW + "\x00\n").encode("utf-16"), "utf-16", "NUL_BYTE"),
    "cp1252 declared, utf-16 sent": ((HEADER + ROW).encode("utf-16"), "cp1252", "ENCODING"),
    "latin-1 declared, utf-16 sent": ((HEADER + ROW).encode("utf-16"), "latin-1", "ENCODING"),
    "cp1252 declared, utf-8 with a mark sent": ((HEADER + ROW).encode("utf-8-sig"), "cp1252", "ENCODING"),
    "a byte that cp1252 lacks": ((HEADER + ROW).encode() + b"\x81\n", "cp1252", "ENCODING"),
    "utf-8 cut inside a character": ((HEADER + ROW + "µ").encode()[:-1], "utf-8-sig", "ENCODING"),
}


@pytest.mark.parametrize("what", WRONG)
def test_another_encoding_than_the_declared_is_refused(what: str, tmp_path: Path) -> None:
    data, declared, code = WRONG[what]
    assert refused(tmp_path, data, encoding=declared) == code


def test_a_character_may_lie_across_two_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("msc_pipeline.readers.packing.CHUNK", 3)
    for written, declared in ENCODED.values():
        data = (HEADER + "T,S,HGB,5,µµkat/L,2025-01-31\n").encode(written)
        assert column(read(tmp_path, data, encoding=declared), "LBORRESU") == ["µµkat/L"]


FORMATS: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "an extension nobody reads": ("lb.doc", (HEADER + ROW).encode(), {}),
    "a workbook with macros": ("lb.xlsm", b"PK\x03\x04", {}),
    "a CSV named as a workbook": ("lb.xlsx", (HEADER + ROW).encode(), {}),
    "a CSV named as a transport file": ("lb.xpt", (HEADER + ROW).encode(), {}),
    "a CSV named as Parquet": ("lb.parquet", (HEADER + ROW).encode(), {}),
    "Parquet named as a CSV": ("lb.csv", b"PAR1" + bytes(20) + b"PAR1", {}),
    "a transport file named as a CSV": ("lb.csv", b"HEADER RECORD*******LIBRARY HEADER", {}),
    "an old workbook named as a CSV": ("lb.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", {}),
    "an old or encrypted workbook": ("lb.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", {}),
}


@pytest.mark.parametrize("what", FORMATS)
def test_content_and_name_must_agree(what: str, tmp_path: Path) -> None:
    name, data, profile = FORMATS[what]
    assert refused(tmp_path, data, name, **profile) == "FORMAT"


@pytest.mark.parametrize(
    "name", ["lb.csv", "lb.csv.gz", "lb.xlsx", "lb.xpt", "lb.json", "lb.ndjson", "lb.parquet"]
)
def test_an_empty_file_of_any_name_is_said_to_be_empty(name: str, tmp_path: Path) -> None:
    assert refused(tmp_path, b"", name) == "EMPTY_FILE"


@pytest.mark.parametrize("name", ["lb.csv", "LB_1.CSV", "lb.txt", "lb.tsv", "lb.csv.gz"])
def test_the_extension_says_csv_in_any_case(name: str, tmp_path: Path) -> None:
    assert column(read(tmp_path, (HEADER + ROW).encode(), name), "LBORRES") == ["5.1"]


def test_a_declared_format_needs_no_extension(tmp_path: Path) -> None:
    assert column(read(tmp_path, (HEADER + ROW).encode(), "lb", format="csv"), "LBORRES") == ["5.1"]


LIMITS = {
    "rows": {"max_rows": 2},
    "columns": {"max_columns": 5},
    "unpacked bytes": {"max_unpacked_bytes": 99},
}


@pytest.mark.parametrize("what", LIMITS)
def test_a_file_beyond_a_limit_is_refused(what: str, tmp_path: Path) -> None:
    data = (HEADER + ROW * 3).encode()
    assert refused(tmp_path, gzip.compress(data), **LIMITS[what]) == "SIZE"


def test_a_file_at_its_limits_is_read(tmp_path: Path) -> None:
    data = (HEADER + ROW * 3).encode()
    limits = {"max_rows": 3, "max_columns": 6, "max_unpacked_bytes": len(data)}
    assert read(tmp_path, gzip.compress(data), **limits).num_rows == 3


def test_rows_of_another_width_in_the_first_batch_only_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msc_pipeline.readers.delimited.BLOCK", 16)
    table = read(tmp_path, (HEADER + "T,S\n" * 20 + ROW).encode())
    assert column(table, "FAULT") == ["FIELD_COUNT"] * 20 + [None]


def test_the_preamble_lines_of_common_programs_are_refused(tmp_path: Path) -> None:
    for line, code in (
        ("sep=,\n", "COLUMN_UNKNOWN"),
        ("sep=;\n", "DELIMITER"),
        ("#Export\n", "HEADER_MISSING"),
    ):
        assert refused(tmp_path, (line + HEADER + ROW).encode()) in (code, "HEADER_BLANK")


CELLS = st.text(st.characters(codec="latin-1", exclude_characters="\x00\r\n\x85"), max_size=8)
LINES = st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=5)


@fuzz(100)
@given(
    rows=LINES,
    encoding=st.sampled_from(["utf-8-sig", "utf-16", "latin-1", "cp1252"]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quote=st.sampled_from(['"', "'"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    packed=st.booleans(),
)
def test_a_table_comes_back_from_every_dialect(
    rows: list[tuple[str, ...]],
    encoding: str,
    delimiter: str,
    quote: str,
    quoting: Any,
    packed: bool,
    tmp_path: Path,
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, quotechar=quote, quoting=quoting, lineterminator="\r\n")
    writer.writerow(HEADER.strip().split(","))
    writer.writerows((*row, "2025") for row in rows)
    text = out.getvalue()
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        assume(False)
    dialect = {"encoding": encoding, "delimiter": delimiter, "quote": quote}
    table = read(tmp_path, gzip.compress(data) if packed else data, **dialect)
    names = HEADER.strip().split(",")
    got = list(zip(*(column(table, name) for name in names), strict=True))
    assert got == [(*(cell or None for cell in row), "2025") for row in rows]
