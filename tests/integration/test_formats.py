"""One export in every format: the same rows are checked, landed and accepted, whatever the file is."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest

from msc_pipeline.trying import as_rows, try_file
from tiny_trial import FEW_RULES, TinyTrial, csv_text, lb, make_trial, trust_own_scan

Rows = list[dict[str, str]]
ROWS: Rows = [lb("XA", n, s) for n in (1, 2) for s in (1, 2, 3)]


def workbook(rows: Rows) -> bytes:
    book = openpyxl.Workbook()
    for row in [list(rows[0]), *(list(row.values()) for row in rows)]:
        book.active.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def transport(rows: Rows, version: int = 5) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.xpt"
        pyreadstat.write_xport(pd.DataFrame(rows), path, file_format_version=version)
        return path.read_bytes()


def dataset(rows: Rows) -> dict[str, object]:
    columns = [{"itemOID": f"IT.{n}", "name": n, "label": n, "dataType": "string"} for n in rows[0]]
    about = {"datasetJSONCreationDateTime": "2025-03-01T00:00:00", "datasetJSONVersion": "1.1.0"}
    return {
        **about,
        "itemGroupOID": "IG.LB",
        "records": len(rows),
        "name": "LB",
        "label": "LB",
        "columns": columns,
    }


def json_object(rows: Rows) -> bytes:
    return json.dumps({**dataset(rows), "rows": [list(row.values()) for row in rows]}).encode()


def json_lines(rows: Rows) -> bytes:
    return "".join(
        json.dumps(part) + "\n" for part in [dataset(rows), *(list(r.values()) for r in rows)]
    ).encode()


def parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


FORMATS: dict[str, tuple[Callable[[Rows], bytes], str]] = {
    "csv": (lambda rows: csv_text(rows).encode(), "line"),
    "csv.gz": (lambda rows: gzip.compress(csv_text(rows).encode()), "line"),
    "xlsx": (workbook, "sheet row"),
    "xpt": (transport, "record"),
    "json": (json_object, "record"),
    "ndjson": (json_lines, "record"),
    "ndjson.gz": (lambda rows: gzip.compress(json_lines(rows)), "record"),
    "parquet": (parquet, "record"),
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    trust_own_scan(monkeypatch)


@pytest.fixture
def few(tmp_path: Path) -> TinyTrial:
    return make_trial(tmp_path, FEW_RULES)


@pytest.mark.parametrize("extension", FORMATS)
def test_a_site_may_send_any_format(few: TinyTrial, extension: str) -> None:
    write, place = FORMATS[extension]
    file = few.send("XA", "LB", write(ROWS), name=f"lb_XA.{extension}")
    assert try_file(few.study, "XA", file, few.settings)["status"] == "ACCEPTED"
    assert few.decide() == {file.name: ("ACCEPTED", None)}
    cells = [{name: row[name] for name in ROWS[0]} for row in few.in_force("XA", "LB")]
    assert sorted(cells, key=str) == sorted(ROWS, key=str)
    bad = [{**row, "LBORRES": "unreadable"} if n == 4 else row for n, row in enumerate(ROWS)]
    worse = few.send("XA", "LB", write(bad), name=f"lb_XA2.{extension}")
    table = as_rows(try_file(few.study, "XA", worse, few.settings))
    numbers = {row[f"first {place}s"] for row in table}
    assert numbers == {"6" if place != "record" or "ndjson" in extension else "5"}


def test_an_error_cell_waits_in_quarantine(few: TinyTrial) -> None:
    bad = [{**row, "LBORRES": "#N/A"} if n == 4 else row for n, row in enumerate(ROWS)]
    file = few.send("XA", "LB", workbook(bad), name="lb_XA.xlsx")
    report = try_file(few.study, "XA", file, few.settings)
    assert (report["status"], report["quarantined"]) == ("PARTIAL", 1)
    assert [(r["rule"], r["first_rows"]) for r in report["rules"]] == [("FILE-005", [6])]


@pytest.mark.parametrize(
    ("extension", "said"),
    [
        ("xlsx", "csv"),
        ("parquet", "xlsx"),
        ("xpt", "parquet"),
        ("csv", "xpt"),
        ("xlsx", "json"),
        ("csv", "xlsm"),
    ],
)
def test_a_content_under_the_name_of_another_format_is_rejected(
    few: TinyTrial, extension: str, said: str
) -> None:
    file = few.send("XA", "LB", FORMATS[extension][0](ROWS), name=f"lb_XA.{said}")
    report = try_file(few.study, "XA", file, few.settings)
    assert (report["status"], report["code"]) == ("REJECTED", "FORMAT")
