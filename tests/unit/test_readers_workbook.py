"""Workbooks: cells as a person sees them, or the file is refused. Written by openpyxl and by hand."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.chart import BarChart

from fuzzing import fuzz
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.workbook import open_workbook
from raw_rows import Raw, code_of, raw_rows

HEADER = ["USUBJID", "LBTESTCD", "LBORRES"]
SECRET = "S-MARKER-77"
PLAIN = Profile()
MOMENT = dt.datetime.fromisoformat("2025-03-01T09:05")


def book(path: Path, rows: list[list[Any]], change: Callable[[Any, Any], None] | None = None) -> Path:
    """Write a workbook of one sheet; `change(workbook, sheet)` may spoil it."""
    made = openpyxl.Workbook()
    sheet = made.active
    for row in rows:
        sheet.append(row)
    if change:
        change(made, sheet)
    made.save(path)
    return path


def read(path: Path, profile: Profile = PLAIN) -> Raw:
    return raw_rows(open_workbook(path, profile))


def one_cell(tmp_path: Path, value: Any, number_format: str = "General") -> str | None:
    """Return the text of a cell in the third column."""

    def styled(_: Any, sheet: Any) -> None:
        sheet["C2"].number_format = number_format

    return read(book(tmp_path / "a.xlsx", [HEADER, [SECRET, "ALT", value]], styled)).rows[0][2]


def test_rows_come_with_the_number_they_have_in_the_sheet(tmp_path: Path) -> None:
    rows = [HEADER, ["A-1", "ALT", 12], [None, None, None], ["A-2", None, "0012"]]
    found = read(book(tmp_path / "a.xlsx", rows))
    assert found.header == HEADER
    assert found.rows == [("A-1", "ALT", "12"), ("A-2", None, "0012")]
    assert (found.lines, found.faults) == ([2, 4], [None, None])


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        ("0012", "General", "0012"),
        ("NA", "General", "NA"),
        ("<0.1", "General", "<0.1"),
        ("", "General", None),
        ("µg/L \N{GREEK SMALL LETTER MU}", "General", "µg/L \N{GREEK SMALL LETTER MU}"),
        (1.10, "0.00", "1.1"),
        (12, "0000", "12"),
        (12.0, "General", "12"),
        (1234567.5, "#,##0.00", "1234567.5"),
        (1e-7, "General", "0.0000001"),
        (True, "General", "TRUE"),
        (dt.date(2025, 3, 1), "dd.mm.yyyy", "2025-03-01"),
        (MOMENT, "dd.mm.yyyy hh:mm", "2025-03-01T09:05"),
        (MOMENT.replace(second=7), "dd.mm.yyyy hh:mm", "2025-03-01T09:05:07"),
        (MOMENT.replace(hour=0, minute=0), "yyyy-mm-dd hh:mm", "2025-03-01T00:00"),
        (MOMENT, "dd.mm.yyyy", "2025-03-01T09:05"),
        (dt.time(9, 5), "hh:mm", "09:05"),
        (dt.timedelta(hours=26, minutes=30), "[h]:mm", "26:30:00"),
    ],
)  # fmt: skip
def test_a_cell_is_the_text_a_data_manager_expects(tmp_path: Path, value: Any, form: str, text: str) -> None:
    assert one_cell(tmp_path, value, form) == text


@pytest.mark.parametrize("form", ["0%", "0.00%", "0,", '#,##0.0,,"M"'])
def test_a_number_shown_as_another_one_rejects_the_file(tmp_path: Path, form: str) -> None:
    assert code_of(lambda: one_cell(tmp_path, 0.45, form), SECRET, "0.45") == "CELL_FORMAT"


def test_an_error_cell_costs_its_row(tmp_path: Path) -> None:
    rows = [HEADER, ["A-1", "ALT", 12], ["A-2", "ALT", "#N/A"], ["A-3", "ALT", "#DIV/0!"], ["A-4", "ALT", 5]]
    found = read(book(tmp_path / "a.xlsx", rows))
    assert found.faults == [None, "CELL_ERROR", "CELL_ERROR", None]
    assert found.rows[1] == (None, None, None)


def test_a_date_excel_cannot_show_costs_its_row(tmp_path: Path) -> None:
    def dated(_: Any, sheet: Any) -> None:
        sheet["C2"].number_format = "yyyy-mm-dd"

    assert read(book(tmp_path / "a.xlsx", [HEADER, ["A-1", "ALT", 10**9]], dated)).faults == ["CELL_ERROR"]


def test_cells_beyond_the_header_and_a_second_header_cost_their_row(tmp_path: Path) -> None:
    rows = [HEADER, ["A-1", "ALT", 12, "more"], HEADER, ["A-2", "ALT", 5, None]]
    found = read(book(tmp_path / "a.xlsx", rows))
    assert found.faults == ["FIELD_COUNT", "REPEATED_HEADER", None]


@pytest.mark.parametrize("value", [12, 12.5, dt.date(2025, 3, 1), True])
def test_an_identifier_that_is_no_text_rejects_the_file(tmp_path: Path, value: Any) -> None:
    path = book(tmp_path / "a.xlsx", [["Patient", "LBORRES"], ["A-1", 1], [value, 1]])
    assert code_of(lambda: read(path, Profile(columns={"Patient": "USUBJID"})), "12") == "ID_NOT_TEXT"
    assert code_of(lambda: read(path, Profile(columns={"LB": {"Patient": "SUBJID"}}))) == "ID_NOT_TEXT"
    assert read(path).lines == [2, 3]


def hide_row(_: Any, sheet: Any) -> None:
    sheet.row_dimensions[2].hidden = True


def hide_column(_: Any, sheet: Any) -> None:
    sheet.column_dimensions["B"].hidden = True


def hide_sheet(made: Any, _: Any, state: str = "hidden") -> None:
    made.create_sheet("arm").sheet_state = state


def hide_deep(made: Any, sheet: Any) -> None:
    hide_sheet(made, sheet, "veryHidden")


def add_chart(made: Any, _: Any) -> None:
    chart = made.create_chartsheet("arm")
    chart.add_chart(BarChart())


def merge(_: Any, sheet: Any) -> None:
    sheet.merge_cells("A2:B2")


def calculate(_: Any, sheet: Any) -> None:
    sheet["C2"] = "=1+1"


def add_sheet(made: Any, _: Any) -> None:
    made.create_sheet("second")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (hide_row, "HIDDEN_CELLS"),
        (hide_column, "HIDDEN_CELLS"),
        (hide_sheet, "HIDDEN_SHEET"),
        (hide_deep, "HIDDEN_SHEET"),
        (add_chart, "SHEET"),
        (merge, "MERGED_CELLS"),
        (calculate, "FORMULA"),
        (add_sheet, "SHEET"),
    ],
)
def test_what_is_hidden_or_calculated_rejects_the_file(tmp_path: Path, spoil: Any, code: str) -> None:
    path = book(tmp_path / "a.xlsx", [HEADER, [SECRET, "ALT", 12]], spoil)
    assert code_of(lambda: read(path), SECRET) == code


def test_hidden_columns_behind_the_data_hide_nothing(tmp_path: Path) -> None:
    def spoil(_: Any, sheet: Any) -> None:
        sheet.column_dimensions["Z"].hidden = True

    assert read(book(tmp_path / "a.xlsx", [HEADER, ["A-1", "ALT", 1]], spoil)).lines == [2]


def test_the_profile_names_the_sheet(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", [HEADER, ["A-1", "ALT", 12]], add_sheet)
    assert read(path, Profile(sheet="Sheet")).rows == [("A-1", "ALT", "12")]
    assert code_of(lambda: read(path, Profile(sheet="third"))) == "SHEET"
    assert code_of(lambda: read(path, Profile(sheet="second"))) == "EMPTY_FILE"


def repacked(path: Path, change: Callable[[str, bytes], bytes], more: dict[str, bytes] | None = None) -> Path:
    """Write the workbook anew with changed parts, and more of them."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**parts, **(more or {})}.items():
            archive.writestr(name, change(name, data))
    return path


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"xl/vbaProject.bin": b"x"}, "MACRO"),
        ({"xl/macrosheets/sheet1.xml": b"x"}, "MACRO"),
        ({"../evil.xml": b"x"}, "PATH"),
        ({"/evil.xml": b"x"}, "PATH"),
        ({"xl\\evil.xml": b"x"}, "PATH"),
        ({"xl/media/bomb.bin": bytes(50_000_000)}, "RATIO"),
        ({f"xl/media/{i}.bin": b"" for i in range(1100)}, "CORRUPT"),
    ],
)
def test_parts_that_should_not_be_there_reject_the_file(
    tmp_path: Path, more: dict[str, bytes], code: str
) -> None:
    path = repacked(book(tmp_path / "a.xlsx", [HEADER, ["A-1", "ALT", 1]]), lambda _, data: data, more)
    assert code_of(lambda: read(path)) == code


def sheet_xml(tmp_path: Path, old: bytes, new: bytes) -> Path:
    path = book(tmp_path / "a.xlsx", [HEADER, [SECRET, "ALT", 12], [SECRET, "AST", 13]])

    def change(name: str, data: bytes) -> bytes:
        if not name.startswith("xl/worksheets/sheet"):
            return data
        assert old in data
        return data.replace(old, new)

    return repacked(path, change)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'<row r="3"', b'<row r="2"', "CORRUPT"),
        (b'<c r="B3"', b'<c r="A3"', "CORRUPT"),
        (b'<c r="B3"', b'<c r="B2"', "CORRUPT"),
        (b"</worksheet>", b"", "CORRUPT"),
        (b"<worksheet", b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet', "CORRUPT"),
        (b"<v>13</v>", b"<v>x13</v>", "CORRUPT"),
        (b'<row r="3"', b'<row r="3" ht="0"', "HIDDEN_CELLS"),
    ],
)
def test_a_sheet_out_of_order_or_damaged_is_refused(
    tmp_path: Path, old: bytes, new: bytes, code: str
) -> None:
    path = sheet_xml(tmp_path, old, new)
    assert code_of(lambda: read(path), SECRET) == code


def test_a_wrong_dimension_loses_no_row(tmp_path: Path) -> None:
    found = read(sheet_xml(tmp_path, b'<dimension ref="A1:C3"', b'<dimension ref="A1:A2"'))
    assert found.lines == [2, 3] and found.rows[1] == (SECRET, "AST", "13")


def test_a_number_with_noise_is_written_as_it_was_typed(tmp_path: Path) -> None:
    assert read(sheet_xml(tmp_path, b"<v>13</v>", b"<v>1.1000000000000001</v>")).rows[1][2] == "1.1"


def test_a_number_of_twenty_digits_keeps_them(tmp_path: Path) -> None:
    path = sheet_xml(tmp_path, b"<v>13</v>", b"<v>12345678901234567890</v>")
    assert read(path).rows[1][2] == "12345678901234567890"


def test_excels_own_escapes_are_undone(tmp_path: Path) -> None:
    escaped = b'<c r="C3" t="inlineStr"><is><t>a_x000D_b_x005F_x000D_</t></is></c>'
    path = sheet_xml(tmp_path, b'<c r="C3" t="n"><v>13</v></c>', escaped)
    assert read(path).rows[1][2] == "a\rb_x000D_"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "EMPTY_FILE"),
        (b"USUBJID,LBORRES\n", "CORRUPT"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "ENCRYPTED"),
    ],
)
def test_what_is_no_workbook_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(data)
    assert code_of(lambda: read(path)) == code


def test_a_workbook_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = book(tmp_path / "a.xlsx", [HEADER, [SECRET, "ALT", 12]]).read_bytes()
    cut = tmp_path / "cut.xlsx"
    for length in range(1, len(whole), len(whole) // 40):
        cut.write_bytes(whole[:length])
        assert code_of(lambda: read(cut), SECRET) == "CORRUPT"


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"max_rows": 2}, "SIZE"),
        ({"max_columns": 2}, "SIZE"),
        ({"max_field_bytes": 4}, "FIELD_SIZE"),
        ({"max_unpacked_bytes": 1000}, "RATIO"),
    ],
)
def test_limits_are_those_of_the_profile(tmp_path: Path, limit: dict[str, Any], code: str) -> None:
    path = book(tmp_path / "a.xlsx", [HEADER, *([SECRET, "ALT", n] for n in range(3))])
    assert code_of(lambda: read(path, Profile(**limit)), SECRET) == code
    assert len(read(path, Profile(max_rows=3, max_columns=3)).rows) == 3


@fuzz(40)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=20)
            .filter(lambda text: not text.startswith("=") and not text.startswith("#") and "_x" not in text),
            st.one_of(st.none(), st.integers(-(10**15), 10**15),
                      st.floats(-1e300, 1e300).map(lambda x: float(f"{x:.15g}"))),
        ),
        min_size=1,
        max_size=20,
    )
)  # fmt: skip
def test_what_is_written_is_read_back(tmp_path: Path, rows: list[tuple[str, Any]]) -> None:
    found = read(book(tmp_path / "a.xlsx", [["USUBJID", "LBORRES"], *map(list, rows)]))
    assert [row[0] for row in found.rows] == [text for text, _ in rows]
    for (_, number), row in zip(rows, found.rows, strict=True):
        assert row[1] is None if number is None else float(str(row[1])) == number
    assert found.lines == list(range(2, len(rows) + 2))
