"""Parquet: every type that has a text, exactly; the others refused; bounded whatever the file claims."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import columnar
from msc_pipeline.readers.columnar import open_parquet
from raw_rows import Raw, code_of, raw_rows

SECRET = "S-MARKER-77"
PLAIN = Profile()
MOMENT = dt.datetime.fromisoformat("2025-03-01T09:05")


def parquet(path: Path, columns: dict[str, Any], **more: Any) -> Path:
    """Write a Parquet file."""
    pq.write_table(pa.table(columns), path, **more)
    return path


def read(path: Path, profile: Profile = PLAIN) -> Raw:
    return raw_rows(open_parquet(path, profile))


def one(tmp_path: Path, values: list[Any], kind: pa.DataType) -> list[str | None]:
    found = read(parquet(tmp_path / "a.parquet", {"X": pa.array(values, kind)}))
    assert found.lines == list(range(1, len(values) + 1))
    return [row[0] for row in found.rows]


@pytest.mark.parametrize(
    ("kind", "values", "texts"),
    [
        (pa.string(), ["0012", "NA", "", None, "<0.1"], ["0012", "NA", None, None, "<0.1"]),
        (pa.large_string(), ["µ", None], ["µ", None]),
        (pa.dictionary(pa.int32(), pa.string()), ["a", "a", None], ["a", "a", None]),
        (pa.int64(), [12, -3, None, 2**62], ["12", "-3", None, "4611686018427387904"]),
        (pa.uint8(), [255], ["255"]),
        (pa.float64(), [1.1, 12.0, 1e-7, 1e22, None], ["1.1", "12", "0.0000001", "1" + "0" * 22, None]),
        (pa.float64(), [float("nan"), float("inf")], ["nan", "inf"]),
        (pa.float32(), [1.1, 0.1, 3.0], ["1.1", "0.1", "3"]),
        (pa.decimal128(20, 2), [Decimal("1.10"), None], ["1.10", None]),
        (pa.decimal128(20, 12), [Decimal("0.000000001000")], ["0.000000001000"]),
        (pa.bool_(), [True, False, None], ["true", "false", None]),
        (pa.date32(), [dt.date(2025, 3, 1), None], ["2025-03-01", None]),
        (pa.date64(), [dt.date(2025, 3, 1)], ["2025-03-01"]),
        (pa.timestamp("us"), [MOMENT, None], ["2025-03-01T09:05", None]),
        (pa.timestamp("ns"), [MOMENT.replace(second=7)], ["2025-03-01T09:05:07"]),
        (pa.timestamp("s"), [MOMENT.replace(hour=0, minute=0)], ["2025-03-01T00:00"]),
        (pa.time32("s"), [dt.time(9, 5)], ["09:05"]),
        (pa.time64("ns"), [dt.time(9, 5, 7)], ["09:05:07"]),
        (pa.null(), [None, None], [None, None]),
    ],
)  # fmt: skip
def test_a_type_has_its_text(tmp_path: Path, kind: pa.DataType, values: Any, texts: Any) -> None:
    assert one(tmp_path, values, kind) == texts


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.binary(), b"x"),
        (pa.binary(2), b"xy"),
        (pa.list_(pa.string()), ["x"]),
        (pa.struct([("a", pa.string())]), {"a": "x"}),
        (pa.map_(pa.string(), pa.string()), [("a", "b")]),
        (pa.timestamp("us", "UTC"), dt.datetime(2025, 3, 1, tzinfo=dt.UTC)),
        (pa.duration("s"), dt.timedelta(1)),
    ],
)
def test_a_type_without_text_rejects_the_file(tmp_path: Path, kind: pa.DataType, value: Any) -> None:
    assert code_of(lambda: one(tmp_path, [value], kind)) == "TYPE"


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.date32(), pa.bool_()])
def test_an_identifier_that_is_no_text_rejects_the_file(tmp_path: Path, kind: pa.DataType) -> None:
    path = parquet(tmp_path / "a.parquet", {"Patient": pa.array([None], kind)})
    assert code_of(lambda: read(path, Profile(columns={"Patient": "USUBJID"}))) == "ID_NOT_TEXT"
    assert read(path).rows == [(None,)]


def test_letters_that_are_not_utf8_reject_the_file(tmp_path: Path) -> None:
    plain = parquet(tmp_path / "a.parquet", {"X": ["µ"]}, use_dictionary=False, write_statistics=False)
    for path in (plain, parquet(tmp_path / "b.parquet", {"X": ["µ"]}, write_statistics=False)):
        path.write_bytes(path.read_bytes().replace("µ".encode(), b"\xc1\xff"))
        assert code_of(lambda path=path: read(path)) == "ENCODING"


def test_many_row_groups_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar, "ROWS_AT_ONCE", 7)
    path = parquet(tmp_path / "a.parquet", {"X": [str(n) for n in range(100)]}, row_group_size=9)
    found = read(path)
    assert [row[0] for row in found.rows] == [str(n) for n in range(100)]
    assert found.lines == list(range(1, 101))


def test_a_file_without_rows_has_none(tmp_path: Path) -> None:
    found = read(
        parquet(tmp_path / "a.parquet", {"X": pa.array([], pa.string()), "Y": pa.array([], pa.int8())})
    )
    assert (found.header, found.rows) == (["X", "Y"], [])


def test_two_columns_of_one_name_are_both_there(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["X", "X"]), path)
    assert open_parquet(path, PLAIN).header == ["X", "X"]


def test_a_file_cut_off_or_damaged_is_refused(tmp_path: Path) -> None:
    columns = {"USUBJID": [SECRET] * 50, "N": [float(n) for n in range(50)]}
    whole = parquet(tmp_path / "a.parquet", columns, write_page_checksum=True).read_bytes()
    spoilt = tmp_path / "b.parquet"
    for length in range(0, len(whole), 31):
        spoilt.write_bytes(whole[:length])
        assert code_of(lambda: read(spoilt), SECRET) in {"EMPTY_FILE", "TRUNCATED", "CORRUPT"}
    first_page = open_first_page(whole)
    spoilt.write_bytes(whole[:first_page] + bytes([whole[first_page] ^ 1]) + whole[first_page + 1 :])
    assert code_of(lambda: read(spoilt), SECRET) == "CORRUPT"


def open_first_page(whole: bytes) -> int:
    """Return the place of a byte inside the first page's data."""
    return whole.index(SECRET.encode())


@pytest.mark.parametrize("data", [b"PARE" + bytes(100), bytes(100) + b"PARE", b"PARE" + bytes(9) + b"PARE"])
def test_an_encrypted_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    assert code_of(lambda: read(path)) == "ENCRYPTED"


@pytest.mark.parametrize("data", [b"x", b"USUBJID,N\n", b"PAR1PAR1", b"PAR1" + b"\xff" * 40 + b"PAR1"])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    assert code_of(lambda: read(path)) == "CORRUPT"


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"max_rows": 2}, "SIZE"),
        ({"max_columns": 1}, "SIZE"),
        ({"max_field_bytes": 4}, "FIELD_SIZE"),
        ({"max_unpacked_bytes": 20}, "RATIO"),
    ],
)
def test_limits_are_those_of_the_profile(tmp_path: Path, limit: dict[str, Any], code: str) -> None:
    path = parquet(tmp_path / "a.parquet", {"USUBJID": [SECRET] * 3, "N": [1, 2, 3]})
    assert code_of(lambda: read(path, Profile(**limit)), SECRET) == code


def test_one_long_text_repeated_does_not_fill_the_memory(tmp_path: Path) -> None:
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), ["x" * 900_000])
    path = parquet(tmp_path / "a.parquet", {"X": one})
    assert path.stat().st_size < 10_000_000
    assert code_of(lambda: read(path)) == "RATIO"


@fuzz(60)
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\x00"))),
            st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
            st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
            st.one_of(st.none(), st.decimals(-(10**9), 10**9, places=4)),
            st.one_of(st.none(), st.datetimes()),
        ),
        min_size=1,
    )
)
def test_what_is_written_is_read_back(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    kinds = [pa.string(), pa.float64(), pa.int64(), pa.decimal128(20, 4), pa.timestamp("us")]
    sent = {str(i): pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)}
    found = read(parquet(tmp_path / "a.parquet", sent))
    for row, back in zip(rows, found.rows, strict=True):
        text, number, whole, exact, moment = back
        assert text == (row[0] or None)
        assert number is None if row[1] is None else float(str(number)) == row[1]
        assert whole is None if row[2] is None else int(str(whole)) == row[2]
        assert exact is None if row[3] is None else Decimal(str(exact)) == row[3]
        assert moment is None if row[4] is None else dt.datetime.fromisoformat(str(moment)) == row[4]
