"""Standardising: cells become the study's words by what the profile declares, and stay as sent where it is silent."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import read_export
from msc_pipeline.readers.local_dates import MONTHS, local_date
from msc_pipeline.study import Domain

LB = Domain(
    update="cumulative",
    key=("USUBJID", "LBTESTCD", "LBDTC"),
    required=("STUDYID", "USUBJID", "LBTESTCD", "LBORRES", "LBORRESU", "LBDTC"),
    optional=("LBORNRLO", "VISIT", "VISITNUM", "LBREASND"),
    free_text=("LBREASND",),
    suites=("lab/structure",),
)
NAMES = ("LBTESTCD", "LBORRES", "LBORRESU", "LBORNRLO", "VISITNUM", "LBREASND", "LBDTC")


def read(folder: Path, rows: list[str], header: str = "", code: str = "LB", **profile: Any) -> pa.Table:
    """Read rows of `NAMES`, separated by `|`."""
    path = folder / "lb.csv"
    lines = [header or "STUDYID|USUBJID|" + "|".join(NAMES), *(f"T|S-MARKER|{row}" for row in rows)]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return pa.Table.from_batches(read_export(path, Profile(delimiter="|", **profile), LB, code))


def column(table: pa.Table, name: str) -> list[str | None]:
    cells: list[str | None] = table.column(name).to_pylist()
    return cells


DATES = {
    "DD.MM.YYYY HH:MI": {
        "01.02.2025 14:05": "2025-02-01T14:05",
        "1.2.2025 4:05": "2025-02-01T04:05",
        "01.02.2025": "2025-02-01",
        "01.02.2025 UN:UN": "2025-02-01",
        "01.02.2025 14:UN": "2025-02-01T14",
        "UN.02.2025": "2025-02",
        "unk.02.2025 UN:UN": "2025-02",
        "00.02.2025": "2025-02",
        "??.??.2025": "2025",
        "UN.UN.2025": "2025",
        "15.UN.2025": "2025---15",
        "UN.UN.UNKN": None,
        "29.02.2024": "2024-02-29",
        "01.02.2025 00:00": "2025-02-01T00:00",
    },
    "MM/DD/YYYY": {"02/01/2025": "2025-02-01", "2/1/2025": "2025-02-01", "12/31/1999": "1999-12-31"},
    "DDMONYYYY": {"01FEB2025": "2025-02-01", "UNFEB2025": "2025-02", "UNUNK2025": "2025"},
    "DD-MON-YYYY HH:MI": {"01-feb-2025 09:30": "2025-02-01T09:30", "UN-UNK-2025": "2025"},
    "DD-MON-YY": {"01-Feb-25": "2025-02-01", "01-Feb-69": "1969-02-01", "01-Feb-68": "2068-02-01"},
    "YYYYMMDDHHMISS": {"20250201140509": "2025-02-01T14:05:09", "20250201": "2025-02-01", "20250000": "2025"},
    "YYYY/MM/DD": {"2025/02/01": "2025-02-01", "2025/2/UN": "2025-02"},
    "HH:MI DD.MM.YYYY": {"14:05 01.02.2025": "2025-02-01T14:05"},
}


@pytest.mark.parametrize("form", DATES)
def test_a_local_date_becomes_iso(form: str, tmp_path: Path) -> None:
    table = read(tmp_path, [f"HGB|5|g/L||||{cell}" for cell in DATES[form]], date_format=form)
    assert column(table, "LBDTC") == list(DATES[form].values())


STAYS = ["30.02.2025", "29.02.2025", "02.13.2025", "01.02.25", "01/02/2025", "01.02.2025 24:00", "01.02.2025 14:60",
    "2025-02-01", "01.02.2025T14:05", " 01.02.2025", "01.02.2025 ", "0102.2025", "01.02.20255", "UN.UN.UN 14:00",
    "15.02.UNKN", "UN.02.2025 14:05", "32.UN.2025", "UN.13.2025", "text", "٠١.٠٢.2025"]  # fmt: skip


@pytest.mark.parametrize("cell", STAYS)
def test_what_is_no_date_of_the_declared_format_stays_as_sent(cell: str) -> None:
    assert local_date("DD.MM.YYYY HH:MI")(cell) == cell


@pytest.mark.parametrize("cell", ["01/02/2025", "1.2.2025", "31-12-2025", "1/2/25", "01.02.2025 14:05"])
def test_a_date_that_could_mean_two_days_refuses_the_file_with_its_line(cell: str, tmp_path: Path) -> None:
    with pytest.raises(DeliveryRejected, match=r"Line 3, LBDTC: a local date") as caught:
        read(tmp_path, ["HGB|5|g/L||||2025-02-01", f"HGB|5|g/L||||{cell}"])
    assert caught.value.code == "DATE_FORMAT"
    assert cell not in str(caught.value)


def test_an_adverse_event_is_never_refused_for_such_a_date(tmp_path: Path) -> None:
    table = read(tmp_path, ["HGB|5|g/L||||01/02/2025"], code="AE")
    assert column(table, "LBDTC") == ["01/02/2025"]


@pytest.mark.parametrize(
    "cell", ["2025-UN-UN", "2025---15", "2025", "2025-02-30", "20250201", "x", "2025-02-01T14:05"]
)
def test_other_dates_stay_as_sent_under_iso(cell: str, tmp_path: Path) -> None:
    assert column(read(tmp_path, [f"HGB|5|g/L||||{cell}"]), "LBDTC") == [cell]


MARKS = {"5,1": "5.1", "<0,1": "<0.1", ">= 1.210,5": ">= 1,210.5", "-0,5": "-0.5", "1,5E3": "1.5E3", ",5": ".5",
    "5.1": "5,1", "7": "7", "1,2,3": "1.2.3", "a,b": "a,b", "1,2 x": "1,2 x", "neg.": "neg."}  # fmt: skip


@pytest.mark.parametrize("cell", MARKS)
def test_a_decimal_comma_becomes_a_point_and_an_undeclared_point_a_comma(cell: str, tmp_path: Path) -> None:
    table = read(tmp_path, [f"HGB|{cell}|g/L|{cell}|{cell}|{cell}|2025"], decimal_mark=",")
    for name in ("LBORRES", "LBORNRLO", "VISITNUM"):
        assert column(table, name) == [MARKS[cell]]
    assert column(table, "LBREASND") == [cell]


def test_nothing_is_swapped_where_no_comma_is_declared(tmp_path: Path) -> None:
    assert column(read(tmp_path, ["HGB|5,1|g/L||||2025"]), "LBORRES") == ["5,1"]


def test_a_number_that_a_format_holds_as_a_number_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lb.parquet"
    cells = {
        "STUDYID": "T",
        "USUBJID": "S",
        "LBTESTCD": "HGB",
        "LBORRES": 5.5,
        "LBORRESU": "g/L",
        "LBDTC": "2025",
    }
    pq.write_table(pa.table({name: [cell] for name, cell in cells.items()}), path)
    table = pa.Table.from_batches(read_export(path, Profile(delimiter=";", decimal_mark=","), LB, "LB"))
    assert column(table, "LBORRES") == ["5.5"]


def test_a_mapped_value_is_final(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        ["Hb|n,b|g/L||Woche 1|x,y|gestern", "Hb|5,1|g/L||||1.2.2025"],
        decimal_mark=",",
        date_format="DD.MM.YYYY",
        values={
            "LBTESTCD": {"Hb": "HGB"},
            "VISITNUM": {"Woche 1": "3.1"},
            "LBDTC": {"gestern": "2025-01-31"},
            "LBORRES": {"n,b": ""},
        },
    )
    assert column(table, "LBTESTCD") == ["HGB", "HGB"]
    assert column(table, "VISITNUM") == ["3.1", None]
    assert column(table, "LBDTC") == ["2025-01-31", "2025-02-01"]
    assert column(table, "LBORRES") == [None, "5.1"]


def test_a_result_without_a_unit_gets_that_of_its_test(tmp_path: Path) -> None:
    rows = ["Hb|5|||||2025", "ALT|5|||||2025", "Hb|5|mg/L||||2025", "Hb||||||2025"]
    table = read(tmp_path, rows, values={"LBTESTCD": {"Hb": "HGB"}}, units={"HGB": "g/L"})
    assert column(table, "LBORRESU") == ["g/L", None, "mg/L", None]


def test_so_it_does_when_the_export_has_no_column_of_units(tmp_path: Path) -> None:
    table = read(tmp_path, ["HGB|5|2025"], "STUDYID|USUBJID|LBTESTCD|LBORRES|LBDTC", units={"HGB": "g/L"})
    assert column(table, "LBORRESU") == ["g/L"]


def test_a_constant_stands_in_every_row_that_could_be_split(tmp_path: Path) -> None:
    table = read(tmp_path, ["HGB|5|g/L||||2025", "HGB"], constants={"VISIT": "WEEK 1", "AE": {"VISIT": "x"}})
    assert column(table, "VISIT") == ["WEEK 1", None]
    assert column(table, "FAULT") == [None, "FIELD_COUNT"]


def test_a_column_that_is_sent_is_stronger_than_a_constant(tmp_path: Path) -> None:
    table = read(tmp_path, ["HGB|5|g/L||7||2025"], constants={"VISITNUM": "1"})
    assert column(table, "VISITNUM") == ["7"]


def test_one_column_may_stand_for_several(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        ["HGB|5|g/L|Woche 1|2025", "HGB|5|g/L|sonst|2025"],
        "STUDYID|USUBJID|LBTESTCD|LBORRES|LBORRESU|Besuch|LBDTC",
        columns={"LB": {"Besuch": ("VISIT", "VISITNUM")}},
        values={"VISIT": {"Woche 1": "WEEK 1"}, "VISITNUM": {"Woche 1": "3"}},
    )
    assert column(table, "VISIT") == ["WEEK 1", "sonst"]
    assert column(table, "VISITNUM") == ["3", "sonst"]


def test_the_names_of_a_domain_come_before_shared_ones(tmp_path: Path) -> None:
    columns = {"Wert": "VISIT", "LB": {"Wert": "LBORRES"}, "VS": {"Wert": "VSORRES"}}
    header = "STUDYID|USUBJID|LBTESTCD|Wert|LBORRESU|LBDTC"
    assert column(read(tmp_path, ["HGB|5|g/L|2025"], header, columns=columns), "LBORRES") == ["5"]


SEPARATORS = st.sampled_from(["", ".", "/", "-", " "])


@fuzz(200)
@given(
    day=st.dates(dt.date(1969, 1, 1), dt.date(2068, 12, 31)),
    order=st.permutations(["Y", "M", "D"]),
    data=st.data(),
)
def test_every_day_comes_back_from_every_format(day: dt.date, order: list[str], data: st.DataObject) -> None:
    tokens = {"Y": ["YYYY", "YY"], "M": ["MM", "MON"], "D": ["DD"]}
    parts = [data.draw(st.sampled_from(tokens[part])) for part in order]
    mark = data.draw(SEPARATORS)
    texts = {
        "YYYY": f"{day.year:04d}",
        "YY": f"{day.year % 100:02d}",
        "MM": f"{day.month:02d}",
        "MON": MONTHS[day.month - 1].title(),
        "DD": f"{day.day:02d}",
    }
    cell = mark.join(texts[part] for part in parts)
    assert local_date(mark.join(parts))(cell) == day.isoformat()


@fuzz(200)
@given(
    cell=st.text(st.sampled_from("0123456789.UNK? :JANFEBé٣"), max_size=18), form=st.sampled_from(list(DATES))
)
def test_any_text_stays_or_becomes_a_date(cell: str, form: str) -> None:
    got = local_date(form)(cell)
    if got not in (cell, ""):
        assert got[:4].isdigit()
        if len(got) >= 10:
            dt.datetime.fromisoformat(got + (":00" if len(got) == 13 else ""))
