"""A site's whole dialect at once: standard rows, written as a site would, are read back as the standard rows."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import delimited, read_export
from msc_pipeline.study import Domain

LB = Domain(
    update="cumulative",
    key=("USUBJID", "LBTESTCD", "LBDTC"),
    required=("STUDYID", "USUBJID", "LBTESTCD", "LBORRES", "LBORRESU", "VISIT", "VISITNUM", "LBDTC"),
    optional=("LBREASND",),
    free_text=("LBREASND",),
    suites=("lab/structure",),
)
TESTS = {"Hb": "HGB", "Leuko": "WBC", "ALT": "ALT"}
VISITS = {"Screening": ("SCREENING", "1"), "Woche 1,5": ("WEEK 1.5", "3.1")}
LOCAL_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
FORMS = ("iso", "DD.MM.YYYY HH:MI", "MM/DD/YYYY HH:MI", "DD-MON-YYYY HH:MI", "DDMONYYYY", "YYYYMMDD")

RESULT = st.sampled_from(["5.1", "<0.1", ">1210", "0012", "12", "NA", "neg.", "-0.5", "1.5E3", None])
TEXT = st.text(
    st.characters(codec="latin-1", exclude_categories=("Cc",), exclude_characters=",;\t|"), max_size=9
)
DATE = st.tuples(
    st.integers(1970, 2030), st.integers(1, 12), st.integers(1, 28), st.integers(0, 23), st.integers(0, 59)
)
ROW = st.fixed_dictionaries(
    {
        "USUBJID": TEXT.map(lambda text: f"S{text}"),
        "LBTESTCD": st.sampled_from(list(TESTS.values())),
        "LBORRES": RESULT,
        "LBORRESU": st.sampled_from(["g/L", "µkat/L", None]),
        "visit": st.sampled_from(list(VISITS)),
        "LBREASND": st.lists(TEXT, max_size=2).map("\n".join).map(lambda text: text.strip() or None),
        "date": DATE,
        "known": st.sampled_from(["time", "day", "month", "year"]),
    }
)


def iso(row: dict[str, Any], form: str) -> str:
    year, month, day, hour, minute = row["date"]
    known = "day" if row["known"] == "time" and "HH" not in form and form != "iso" else row["known"]
    whole = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}"
    return whole[: {"time": 16, "day": 10, "month": 7, "year": 4}[known]]


def local(row: dict[str, Any], form: str) -> str:
    """Write a date in a local format, with UN for what is not known and no time where there is none."""
    text = iso(row, form)
    if form == "iso":
        return text
    year, month, day, hour, minute = row["date"]
    parts = {
        "YYYY": f"{year:04d}",
        "MON": LOCAL_MONTHS[month - 1] if len(text) > 4 else "UNK",
        "MM": f"{month:02d}" if len(text) > 4 else "UN",
        "DD": f"{day:02d}" if len(text) > 7 else "UN",
        "HH": f"{hour:02d}",
        "MI": f"{minute:02d}",
    }
    shown = form if len(text) > 10 else form.removesuffix(" HH:MI")
    for token, part in parts.items():
        shown = shown.replace(token, part)
    return shown


def swapped(cell: str | None) -> str | None:
    return cell.replace(".", ",") if cell and cell[-1].isdigit() else cell


@fuzz(120)
@given(
    rows=st.lists(ROW, min_size=1, max_size=6),
    form=st.sampled_from(FORMS),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    comma=st.booleans(),
    encoding=st.sampled_from(["utf-8-sig", "utf-16", "latin-1"]),
    order=st.permutations(["Patient", "Test", "Result", "Unit", "Besuch", "Why", "Date", "Nurse"]),
    end=st.sampled_from(["\n", "\r\n"]),
    packed=st.booleans(),
    block=st.sampled_from([40, 1 << 22]),
)
def test_what_a_site_writes_is_what_lands(
    rows: list[dict[str, Any]],
    form: str,
    delimiter: str,
    comma: bool,
    encoding: Any,
    order: list[str],
    end: str,
    packed: bool,
    block: int,
    tmp_path: Path,
) -> None:
    comma = comma and delimiter != ","
    own = {standard: name for name, standard in TESTS.items()}
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, order, delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    for row in rows:
        cells = {"Patient": row["USUBJID"], "Test": own[row["LBTESTCD"]], "Unit": row["LBORRESU"]}
        cells |= {"Result": swapped(row["LBORRES"]) if comma else row["LBORRES"], "Besuch": row["visit"]}
        cells |= {"Why": row["LBREASND"], "Date": local(row, form), "Nurse": "x"}
        writer.writerow(cells)
    data = out.getvalue().encode(encoding)
    path = tmp_path / "lb.csv"
    path.write_bytes(gzip.compress(data) if packed else data)
    profile = Profile(
        encoding=encoding,
        delimiter=delimiter,  # type: ignore[arg-type]
        decimal_mark="," if comma else ".",
        date_format=form,
        columns={"Patient": "USUBJID", "Besuch": ("VISIT", "VISITNUM"), "LB": {"Test": "LBTESTCD", "Result": "LBORRES",
                 "Unit": "LBORRESU", "Why": "LBREASND", "Date": "LBDTC"}},
        values={"LBTESTCD": TESTS, "VISIT": {name: visit for name, (visit, _) in VISITS.items()},
                "VISITNUM": {name: number for name, (_, number) in VISITS.items()}},
        constants={"STUDYID": "T"},
        units={"HGB": "g/dL"},
        drop=("Nurse",),
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "BLOCK", block)
        table = pa.Table.from_batches(read_export(path, profile, LB, "LB", "lb.csv"))
    assert table.column("FAULT").null_count == len(rows)
    assert table.select(list(LB.columns)).to_pylist() == [expected(row, form) for row in rows]


def expected(row: dict[str, Any], form: str) -> dict[str, Any]:
    visit, number = VISITS[row["visit"]]
    blank = row["LBORRESU"] is None and row["LBORRES"] is not None and row["LBTESTCD"] == "HGB"
    unit = "g/dL" if blank else row["LBORRESU"]
    kept = {name: row[name] for name in ("USUBJID", "LBTESTCD", "LBORRES", "LBREASND")}
    return {
        "STUDYID": "T",
        **kept,
        "LBORRESU": unit,
        "VISIT": visit,
        "VISITNUM": number,
        "LBDTC": iso(row, form),
    }
