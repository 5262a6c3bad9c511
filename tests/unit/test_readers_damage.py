"""Damaged files of every typed format: rows or a code, and no other error."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.columnar import open_parquet
from msc_pipeline.readers.dataset_json import open_dataset_json
from msc_pipeline.readers.transport import open_transport
from msc_pipeline.readers.workbook import open_workbook
from raw_rows import raw_rows

ROWS = [("A-1", "ALT", 12.5), ("A-2", "AST", None), ("A-3", "µ", 3.0)]
NAMES = ("USUBJID", "LBTESTCD", "LBORRES")
COLUMNS = {name: [row[i] for row in ROWS] for i, name in enumerate(NAMES)}
OBJECT = (
    '{"datasetJSONCreationDateTime":"2025-03-01T00:00:00","datasetJSONVersion":"1.1.0","itemGroupOID":"IG.LB",'
    '"records":1,"name":"LB","label":"Labs","columns":[{"itemOID":"I","name":"USUBJID","label":"l",'
    '"dataType":"string"},{"itemOID":"J","name":"LBORRES","label":"l","dataType":"double"}]'
)


def workbook(path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (NAMES, *ROWS):
        book.active.append(row)
    book.save(path)


def transport(path: Path) -> None:
    pyreadstat.write_xport(pd.DataFrame(COLUMNS), path, file_format_version=5)


def transport8(path: Path) -> None:
    pyreadstat.write_xport(pd.DataFrame(COLUMNS), path, file_format_version=8)


def json_object(path: Path) -> None:
    path.write_text(OBJECT + ',"rows":[["A-1",1.10]]}', encoding="utf-8")


def json_lines(path: Path) -> None:
    path.write_text(OBJECT + '}\n["A-1",1.10]\n', encoding="utf-8")


def parquet(path: Path) -> None:
    pq.write_table(pa.table(COLUMNS), path)


FORMATS = {
    "xlsx": (workbook, open_workbook),
    "xpt5": (transport, open_transport),
    "xpt8": (transport8, open_transport),
    "json": (json_object, open_dataset_json),
    "ndjson": (json_lines, open_dataset_json),
    "parquet": (parquet, open_parquet),
}
DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1), st.sampled_from(("flip", "drop", "double", "zero", "cut")), st.integers(1, 255)
    ),
    min_size=1,
    max_size=4,
)


def damaged(data: bytes, damage: list[tuple[float, str, int]]) -> bytes:
    for place, kind, size in damage:
        at = int(place * len(data))
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ size]) + data[at + 1 :]
        elif kind == "drop":
            data = data[:at] + data[at + size :]
        elif kind == "double":
            data = data[: at + size] + data[at:]
        elif kind == "zero":
            data = data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
        elif kind == "cut":
            data = data[:at]
    return data


@pytest.mark.parametrize("form", FORMATS)
@fuzz(60)
@given(damage=DAMAGE)
def test_damage_of_any_kind_gives_rows_or_a_code_and_no_other_error(
    tmp_path: Path, form: str, damage: list[tuple[float, str, int]]
) -> None:
    write, opened = FORMATS[form]
    path = tmp_path / "whole"
    if not path.exists():
        write(path)
    spoilt = tmp_path / "spoilt"
    spoilt.write_bytes(damaged(path.read_bytes(), damage))
    with suppress(DeliveryRejected):
        raw_rows(opened(spoilt, Profile()))
