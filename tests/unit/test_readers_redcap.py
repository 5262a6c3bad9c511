"""REDCap exports, raw and labels: the rows of one domain's instrument, and nothing lost in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import Tally, read_export
from msc_pipeline.study import Domain

AE = Domain(
    update="cumulative",
    key=("USUBJID", "AESEQ"),
    required=("STUDYID", "USUBJID", "AESEQ", "AETERM"),
    optional=("AESER", "AESTDTC"),
    free_text=("AETERM",),
    suites=("visit/ae",),
)
VS = Domain(
    update="cumulative",
    key=("USUBJID", "VISITNUM"),
    required=("STUDYID", "USUBJID", "VISIT", "VISITNUM", "VSORRES"),
    suites=("visit/vs",),
)
DM = Domain(
    update="cumulative", key=("USUBJID",), required=("STUDYID", "USUBJID", "SEX"), suites=("visit/dm",)
)
COLUMNS = {
    "record_id": "USUBJID",
    "AE": {"redcap_repeat_instance": "AESEQ", "aeterm": "AETERM", "aeser": "AESER"},
    "VS": {"redcap_event_name": ("VISIT", "VISITNUM"), "pulse": "VSORRES"},
    "DM": {"sex": "SEX"},
}
RAW: dict[str, Any] = {
    "format": "redcap",
    "redcap": {"instruments": {"AE": "adverse_events", "VS": "vital_signs"}, "ignore": ("diary",)},
    "columns": COLUMNS,
    "values": {
        "AESER": {"1": "Y", "0": "N"},
        "SEX": {"1": "M", "2": "F"},
        "VISIT": {"week_1_arm_1": "WEEK 1"},
        "VISITNUM": {"week_1_arm_1": "3"},
    },
    "constants": {"STUDYID": "T"},
    "drop": ("ae_complete",),
}
HEADER = (
    "record_id,redcap_event_name,redcap_repeat_instrument,redcap_repeat_instance,redcap_data_access_group,"
    "sex,aeterm,aeser,ae_complete,pulse\n"
)
FILE = (
    HEADER
    + "S-1,screening_arm_1,,,xa,2,,,,\n"
    + "S-1,week_1_arm_1,vital_signs,1,xa,,,,,72\n"
    + "S-1,ongoing_arm_1,adverse_events,1,xa,,Headache,0,2,\n"
    + "S-1,ongoing_arm_1,adverse_events,2,xa,,,,0,\n"
    + "S-1,ongoing_arm_1,diary,1,xa,,,,,\n"
    + "S-2,screening_arm_1,,,xa,1,,,,\n"
    + 'S-2,ongoing_arm_1,adverse_events,1,xa,,"Nausea,\nmild",1,2,\n'
)


def read(
    folder: Path, text: str, code: str, tally: Tally | None = None, **other: Any
) -> list[dict[str, Any]]:
    path = folder / "raw"
    path.write_text(text, encoding="utf-8")
    domain = {"AE": AE, "VS": VS, "DM": DM}[code]
    batches = read_export(path, Profile(**{**RAW, **other}), domain, code, f"{code}_1.csv", tally)
    rows: list[dict[str, Any]] = pa.Table.from_batches(batches).to_pylist()
    return [{name: cell for name, cell in row.items() if cell is not None} for row in rows]


def test_a_domain_gets_the_rows_of_its_instrument_that_hold_anything(tmp_path: Path) -> None:
    tally = Tally()
    same = {"STUDYID": "T"}
    assert read(tmp_path, FILE, "AE", tally) == [
        {**same, "USUBJID": "S-1", "AESEQ": "1", "AETERM": "Headache", "AESER": "N", "SRC_ROW": 4},
        {**same, "USUBJID": "S-2", "AESEQ": "1", "AETERM": "Nausea,\nmild", "AESER": "Y", "SRC_ROW": 8},
    ]
    assert tally.rows == 7


def test_an_event_stands_for_the_visit_and_its_number(tmp_path: Path) -> None:
    assert read(tmp_path, FILE, "VS") == [
        {
            "STUDYID": "T", "USUBJID": "S-1", "VISIT": "WEEK 1", "VISITNUM": "3", "VSORRES": "72", "SRC_ROW": 3,
        }
    ]  # fmt: skip


def test_a_domain_without_an_instrument_gets_the_rows_that_do_not_repeat(tmp_path: Path) -> None:
    assert [(row["USUBJID"], row["SEX"]) for row in read(tmp_path, FILE, "DM")] == [
        ("S-1", "F"),
        ("S-2", "M"),
    ]


def test_a_row_of_no_instrument_that_fills_a_domains_columns_is_not_lost(tmp_path: Path) -> None:
    rows = read(tmp_path, HEADER + "S-1,ongoing_arm_1,,,xa,,Headache,0,2,\n", "AE")
    assert [row["AETERM"] for row in rows] == ["Headache"]


def test_a_row_that_cannot_be_split_is_kept_as_a_fault(tmp_path: Path) -> None:
    rows = read(tmp_path, FILE + "S-3,ongoing_arm_1,diary\n", "AE")
    assert [row.get("FAULT") for row in rows] == [None, None, "FIELD_COUNT"]


def test_an_export_of_labels_is_only_other_words(tmp_path: Path) -> None:
    text = (
        "Subject,Event Name,Repeat Instrument,Repeat Instance,Event term,Serious?,Complete?,Complete?\n"
        "S-1,Ongoing,Adverse events,1,Headache,No,Complete,\n"
        "S-1,Week 1,Vital signs,1,,,,Complete\n"
    )
    rows = read(
        tmp_path,
        text,
        "AE",
        redcap={"instruments": {"AE": "Adverse events", "VS": "Vital signs"}},
        columns={
            "Subject": "USUBJID",
            "AE": {"Repeat Instance": "AESEQ", "Event term": "AETERM", "Serious?": "AESER"},
        },
        values={"AESER": {"No": "N"}},
        drop=("Complete?",),
    )
    assert rows == [
        {"STUDYID": "T", "USUBJID": "S-1", "AESEQ": "1", "AETERM": "Headache", "AESER": "N", "SRC_ROW": 2}
    ]


REFUSED = {
    "an instrument that nobody declared": (FILE + "S-9,x,secret_arm,1,xa,,,,,\n", "INSTRUMENT_UNKNOWN"),
    "a column that no domain knows": (FILE.replace("pulse", "kit"), "COLUMN_UNKNOWN"),
    "no column of instruments": (
        FILE.replace("redcap_repeat_instrument", "ae_complete", 1),
        "COLUMN_MISSING",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_may_hold_anything_else_is_refused(what: str, tmp_path: Path) -> None:
    text, code = REFUSED[what]
    with pytest.raises(DeliveryRejected) as caught:
        read(tmp_path, text, "AE")
    assert caught.value.code == code
    assert "secret" not in str(caught.value)


def test_an_unknown_instrument_is_told_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(DeliveryRejected, match=r"Line 10: an instrument"):
        read(tmp_path, FILE + "S-9,x,secret_arm,1,xa,,,,,\n", "AE")
