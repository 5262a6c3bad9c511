"""SAS transport files: every row, or a clear refusal. Written by pyreadstat and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyreadstat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import transport
from msc_pipeline.readers.transport import open_transport
from raw_rows import Raw, code_of, raw_rows

SECRET = "S-MARKER-77"
PLAIN = Profile()
VERSIONS = (5, 8)


def xpt(path: Path, columns: dict[str, list[Any]], version: int = 5, **more: Any) -> Path:
    """Write a transport file."""
    pyreadstat.write_xport(pd.DataFrame(columns), path, file_format_version=version, table_name="LB", **more)
    return path


def lab(path: Path, rows: int, version: int = 5) -> Path:
    columns = {
        "STUDYID": ["T01"] * rows,
        "USUBJID": [SECRET] * rows,
        "LBORRES": [str(n) for n in range(rows)],
    }
    return xpt(path, {**columns, "LBSTRESN": [n / 10 for n in range(rows)], "LBSTAT": [""] * rows}, version)


def read(path: Path, profile: Profile = PLAIN) -> Raw:
    return raw_rows(open_transport(path, profile))


@pytest.mark.parametrize("version", VERSIONS)
def test_text_stays_numbers_are_short_and_missing_is_null(tmp_path: Path, version: int) -> None:
    columns = {"USUBJID": ["0012", "NA", "A-3"], "N": [1.1, None, 12.0], "T": ["<0.1", "", "µ"]}
    found = read(xpt(tmp_path / "a.xpt", columns, version))
    assert found.header == ["USUBJID", "N", "T"]
    assert found.rows == [("0012", "1.1", "<0.1"), ("NA", None, None), ("A-3", "12", "µ")]
    assert (found.lines, found.faults) == ([1, 2, 3], [None] * 3)


def test_long_names_of_version_8_are_kept(tmp_path: Path) -> None:
    columns = {"USUBJID": ["A"], "A_LONGER_NAME": ["x"]}
    labels = ["one", "a label of more than forty characters, as only version 8 can hold"]
    path = xpt(tmp_path / "a.xpt", columns, 8, column_labels=labels)
    assert read(path).header == ["USUBJID", "A_LONGER_NAME"] and read(path).rows == [("A", "x")]


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        ("DATE9.", 23801, "2025-03-01"),
        ("E8601DA10.", 0, "1960-01-01"),
        ("MMDDYY10.", -1, "1959-12-31"),
        ("DATETIME20.", 23801 * 86400 + 9 * 3600 + 300, "2025-03-01T09:05"),
        ("DATETIME20.", 23801 * 86400 + 1, "2025-03-01T00:00:01"),
        ("TIME8.", 9 * 3600 + 300, "09:05:00"),
        ("8.2", 23801, "23801"),
        ("BEST12.", 23801.5, "23801.5"),
        ("DATE9.", 1e15, "1000000000000000"),
    ],
)
def test_a_number_is_a_date_where_its_format_says_so(
    tmp_path: Path, form: str, value: float, text: str
) -> None:
    path = xpt(tmp_path / "a.xpt", {"USUBJID": ["A"], "D": [float(value)]}, variable_format={"D": form})
    assert read(path).rows == [("A", text)]


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_whose_last_columns_are_blank_are_all_kept(tmp_path: Path, version: int) -> None:
    for rows in range(1, 30):
        columns = {"USUBJID": ["A-1"] * rows, "LBSTAT": ["NOT DONE"] + [""] * (rows - 1), "X": [""] * rows}
        assert len(read(xpt(tmp_path / "a.xpt", columns, version)).rows) == rows


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_without_rows_has_none(tmp_path: Path, version: int) -> None:
    found = read(xpt(tmp_path / "a.xpt", {"USUBJID": pd.Series([], dtype=str), "T": []}, version))
    assert (found.header, found.rows) == (["USUBJID", "T"], [])


def test_many_rows_come_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "BATCH_ROWS", 7)
    found = read(lab(tmp_path / "a.xpt", 40))
    assert [row[2] for row in found.rows] == [str(n) for n in range(40)]
    assert found.lines == list(range(1, 41))


def test_version_8_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = lab(tmp_path / "a.xpt", 40, 8).read_bytes()
    cut = tmp_path / "cut.xpt"
    for length in range(0, len(whole), 16):
        cut.write_bytes(whole[:length])
        assert code_of(lambda: read(cut), SECRET) in {"TRUNCATED", "CORRUPT", "EMPTY_FILE"}


def test_version_5_cut_off_is_refused_unless_the_cut_is_between_rows_and_records_alike(
    tmp_path: Path,
) -> None:
    path = lab(tmp_path / "a.xpt", 40)
    layout, whole = open_transport(path, PLAIN).layout, path.read_bytes()
    width, cut = layout.ends[-1], tmp_path / "cut.xpt"
    for length in range(0, len(whole), 16):
        cut.write_bytes(whole[:length])
        rows, rest = divmod(length - layout.start, width)
        if length % 80 == 0 and rows >= 0 and not whole[length - rest : length].strip(b" "):
            assert len(read(cut).rows) == rows
        else:
            assert code_of(lambda: read(cut), SECRET) in {"TRUNCATED", "CORRUPT", "EMPTY_FILE"}


def spoilt(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    return path


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"HEADER RECORD*******LIBRARY", b"HEADER RECORD*******LIBRARX", "CORRUPT"),
        (b"HEADER RECORD*******MEMBER ", b"HEADER RECORD*******MEMBRE ", "CORRUPT"),
        (b"HEADER RECORD*******NAMESTR", b"HEADER RECORD*******NAMESTX", "CORRUPT"),
        (b"HEADER RECORD*******OBS ", b"HEADER RECORD*******OXS ", "TRUNCATED"),
        (b"00000000140", b"00000000099", "CORRUPT"),
        (b"S-MARKER-77", b"S-MARK\x00R-77", "NUL_BYTE"),
        (b"S-MARKER-77", b"S-MARK\xffR-77", "ENCODING"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, old: bytes, new: bytes, code: str) -> None:
    assert code_of(lambda: read(spoilt(lab(tmp_path / "a.xpt", 3), old, new)), SECRET) == code


def test_letters_are_those_of_the_profiles_encoding(tmp_path: Path) -> None:
    path = spoilt(xpt(tmp_path / "a.xpt", {"USUBJID": ["A"], "U": ["?g/L"]}), b"?g/L", b"\xb5g/L")
    assert code_of(lambda: read(path)) == "ENCODING"
    assert read(path, Profile(encoding="cp1252")).rows == [("A", "µg/L")]


def test_a_second_data_set_in_the_file_is_refused(tmp_path: Path) -> None:
    first, second = lab(tmp_path / "a.xpt", 3), lab(tmp_path / "b.xpt", 3)
    first.write_bytes(first.read_bytes() + second.read_bytes()[3 * 80 :])
    assert code_of(lambda: read(first), SECRET) in {"MEMBERS", "TRUNCATED"}


def test_a_numeric_identifier_rejects_the_file(tmp_path: Path) -> None:
    path = xpt(tmp_path / "a.xpt", {"SUBJID": [12.0], "X": ["a"]})
    assert code_of(lambda: read(path), "12") == "ID_NOT_TEXT"


@pytest.mark.parametrize(
    ("limit", "code"),
    [({"max_rows": 2}, "SIZE"), ({"max_columns": 2}, "SIZE"), ({"max_field_bytes": 4}, "FIELD_SIZE")],
)
def test_limits_are_those_of_the_profile(tmp_path: Path, limit: dict[str, Any], code: str) -> None:
    path = lab(tmp_path / "a.xpt", 3)
    assert code_of(lambda: read(path, Profile(**limit)), SECRET) == code


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


@fuzz(40)
@given(
    version=st.sampled_from(VERSIONS),
    rows=st.lists(
        st.tuples(
            TEXT.map(lambda text: f"A{text}".rstrip()),
            st.one_of(st.none(), st.floats(-1e70, 1e70).filter(lambda x: x == 0 or abs(x) > 1e-70)),
            st.one_of(st.just(""), TEXT.map(lambda text: f"{text}B")),
        ),
        min_size=1,
        max_size=30,
    ),
)
def test_what_is_written_is_read_back(tmp_path: Path, version: int, rows: list[tuple[Any, ...]]) -> None:
    texts, numbers, more = zip(*rows, strict=True)
    columns = {"USUBJID": list(texts), "N": pd.Series(numbers, dtype=float), "LBSTAT": list(more)}
    found = read(xpt(tmp_path / "a.xpt", columns, version))
    assert [(row[0], row[2]) for row in found.rows] == [
        (t, m or None) for t, m in zip(texts, more, strict=True)
    ]
    for number, row in zip(numbers, found.rows, strict=True):
        assert row[1] is None if number is None else float(str(row[1])) == pytest.approx(number, rel=1e-15)
