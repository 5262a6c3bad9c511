"""Dataset-JSON 1.1: exact text, every record counted, both forms alike."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.dataset_json import open_dataset_json
from raw_rows import Raw, code_of, raw_rows

SECRET = "S-MARKER-77"
PLAIN = Profile()
FORMS = ("json", "ndjson")
KINDS = {"USUBJID": "string", "N": "double", "I": "integer", "D": "decimal", "DT": "date", "B": "boolean"}
ROW = '["S-MARKER-77", 1.10, 12, "0.50", "2025-03-01", true]'


def columns(kinds: dict[str, str] = KINDS) -> list[dict[str, str]]:
    return [{"itemOID": f"IT.LB.{n}", "name": n, "label": n.lower(), "dataType": k} for n, k in kinds.items()]


def metadata(records: int, **changes: Any) -> dict[str, Any]:
    made = {"datasetJSONCreationDateTime": "2025-03-01T00:00:00", "datasetJSONVersion": "1.1.0"}
    made |= {"itemGroupOID": "IG.LB", "records": records, "name": "LB", "label": "Labs", "columns": columns()}
    return {key: value for key, value in {**made, **changes}.items() if value is not None}


def write(path: Path, rows: list[str], form: str, **changes: Any) -> Path:
    """Write rows, given as JSON texts."""
    about = json.dumps(metadata(**{"records": len(rows), **changes}))
    text = (
        "\n".join([about, *rows]) + "\n"
        if form == "ndjson"
        else f'{about[:-1]}, "rows": [{",".join(rows)}]}}'
    )
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, profile: Profile = PLAIN) -> Raw:
    return raw_rows(open_dataset_json(path, profile))


@pytest.mark.parametrize("form", FORMS)
def test_values_are_the_exact_text_of_the_file(tmp_path: Path, form: str) -> None:
    rows = [
        ROW,
        '["0012", 1e5, -0, "", null, false]',
        '["NA", 12345678901234567890.10, null, null, null, null]',
    ]
    found = read(write(tmp_path / "a", rows, form))
    assert found.header == list(KINDS)
    assert found.rows == [
        (SECRET, "1.10", "12", "0.50", "2025-03-01", "true"),
        ("0012", "100000", "0", None, None, "false"),
        ("NA", "12345678901234567890.10", None, None, None, None),
    ]
    assert found.lines == ([1, 2, 3] if form == "json" else [2, 3, 4])
    assert found.faults == [None] * 3


@pytest.mark.parametrize("form", FORMS)
def test_a_gzipped_file_reads_the_same_and_a_bomb_does_not(tmp_path: Path, form: str) -> None:
    path = write(tmp_path / "a", [ROW] * 3, form)
    plain, packed = read(path), tmp_path / "b"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed) == plain
    packed.write_bytes(gzip.compress(path.read_bytes())[:-20])
    assert code_of(lambda: read(packed), SECRET) == "TRUNCATED"
    path = write(tmp_path / "c", [ROW, *(['["' + "x" * 900_000 + '", 1, 1, "1", null, null]'] * 30)], form)
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert code_of(lambda: read(packed), SECRET) == "RATIO"


def test_metadata_may_follow_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(f'{{"rows": [{ROW}], {json.dumps(metadata(1), indent=1)[1:]}')
    assert read(path).rows[0][0] == SECRET


@pytest.mark.parametrize("form", FORMS)
def test_a_file_without_records_has_none(tmp_path: Path, form: str) -> None:
    assert read(write(tmp_path / "a", [], form)).rows == []


def test_without_rows_one_line_is_a_file_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(json.dumps(metadata(0)))
    assert read(path).rows == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"records": 2}, "COUNT_MISMATCH"),
        ({"records": 0}, "COUNT_MISMATCH"),
        ({"records": "1"}, "METADATA"),
        ({"name": None}, "METADATA"),
        ({"itemGroupOID": None}, "METADATA"),
        ({"datasetJSONCreationDateTime": None}, "METADATA"),
        ({"datasetJSONVersion": "1.0.0"}, "METADATA"),
        ({"columns": "USUBJID"}, "METADATA"),
        ({"columns": []}, "EMPTY_FILE"),
        ({"columns": [{"name": "USUBJID"}]}, "METADATA"),
        ({"columns": columns({**KINDS, "N": "number"})}, "METADATA"),
        ({"columns": columns({**KINDS, "N": "integer", "B": "string"})}, "TYPE"),
        ({"columns": columns({**KINDS, "USUBJID": "double"})}, "ID_NOT_TEXT"),
    ],
)
def test_the_standards_promises_are_checked(tmp_path: Path, form: str, change: Any, code: str) -> None:
    assert code_of(lambda: read(write(tmp_path / "a", [ROW], form, **change)), SECRET) == code


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("row", "code"),
    [
        ('["S-MARKER-77", "1.1", 12, "0.50", null, true]', "TYPE"),
        ('["S-MARKER-77", 1.1, 12, 0.50, null, true]', "TYPE"),
        ('["S-MARKER-77", true, 12, "0.50", null, true]', "TYPE"),
        ('["S-MARKER-77", 1.1, 12, "0.50", null, "Y"]', "TYPE"),
        ('["S-MARKER-77", [1], 12, "0.50", null, true]', "METADATA"),
        ('{"USUBJID": "S-MARKER-77"}', "METADATA"),
        ('"S-MARKER-77"', "METADATA"),
        ('["S-MARKER-77", NaN, 12, "0.50", null, true]', "JSON"),
        ('["S-MARKER-77", 0012, 12, "0.50", null, true]', "JSON"),
        ('["S-MARKER-77\\u0000", 1.1, 12, "0.50", null, true]', "NUL_BYTE"),
        ('["S-MARKER-77\\ud800", 1.1, 12, "0.50", null, true]', "ENCODING"),
        ('["S-MARKER-77\\\\\\udc00", 1.1, 12, "0.50", null, true]', "ENCODING"),
    ],
)
def test_a_value_of_another_kind_rejects_the_file(tmp_path: Path, form: str, row: str, code: str) -> None:
    assert code_of(lambda: read(write(tmp_path / "a", [ROW, row], form)), SECRET) == code


@pytest.mark.parametrize("form", FORMS)
def test_whole_characters_may_be_escaped(tmp_path: Path, form: str) -> None:
    row = '["\\ud83d\\ude00 \\u00b5 \\\\ud800", 1, 1, "1", null, null]'
    assert read(write(tmp_path / "a", [row], form)).rows[0][0] == "\N{GRINNING FACE} µ \\ud800"


@pytest.mark.parametrize("form", FORMS)
def test_a_record_of_another_length_costs_itself(tmp_path: Path, form: str) -> None:
    found = read(write(tmp_path / "a", [ROW, '["S-MARKER-77", 1]', ROW], form))
    assert found.faults == [None, "FIELD_COUNT", None] and found.rows[1] == (None,) * 6


@pytest.mark.parametrize("form", FORMS)
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, form: str) -> None:
    whole = write(tmp_path / "a", [ROW] * 3, form).read_bytes().rstrip()
    cut = tmp_path / "cut"
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        assert code_of(lambda: read(cut), SECRET) in {"EMPTY_FILE", "TRUNCATED", "JSON", "COUNT_MISMATCH"}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "EMPTY_FILE"),
        (b"\n\n", "EMPTY_FILE"),
        (b"USUBJID,LBORRES\n", "JSON"),
        (b"[]", "METADATA"),
        (b"12", "METADATA"),
        (b'{"name": "LB", "name": "DM"}', "METADATA"),
        (b'{"a":' + b"[" * 200_000, "METADATA"),
        (b'{"rows":' + b"[" * 200_000, "METADATA"),
        (b'{"rows":[[' + b"1," * 2_000, "SIZE"),
        (b'{"name": "\xff"}', "ENCODING"),
        (b'{"rows": []}', "METADATA"),
        (b'{"rows": []} x', "JSON"),
        (b'{"name": 1e999999999}', "METADATA"),
    ],
)
def test_what_is_no_dataset_is_refused(tmp_path: Path, data: bytes, code: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    assert code_of(lambda: read(path)) == code


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("limit", "code"),
    [({"max_rows": 2}, "SIZE"), ({"max_columns": 2}, "SIZE"), ({"max_field_bytes": 4}, "FIELD_SIZE")],
)
def test_limits_are_those_of_the_profile(tmp_path: Path, form: str, limit: Any, code: str) -> None:
    path = write(tmp_path / "a", [ROW] * 3, form)
    assert code_of(lambda: read(path, Profile(**limit)), SECRET) == code


def test_a_number_of_endless_length_stays_as_it_is_written(tmp_path: Path) -> None:
    row = ROW.replace("1.10", "1e999999999")
    assert read(write(tmp_path / "a", [row], "json")).rows[0][1] == "1E+999999999"


@fuzz(60)
@given(
    form=st.sampled_from(FORMS),
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00")),
            st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
            st.one_of(st.none(), st.integers()),
            st.one_of(st.none(), st.decimals(allow_nan=False, allow_infinity=False).map(str)),
        )
    ),
)
def test_what_is_written_is_read_back(tmp_path: Path, form: str, rows: list[tuple[Any, ...]]) -> None:
    kinds = {"USUBJID": "string", "N": "double", "I": "integer", "D": "decimal"}
    path = write(tmp_path / "a", [json.dumps(row) for row in rows], form, columns=columns(kinds))
    found = read(path)
    assert [(row[0], row[3]) for row in found.rows] == [(row[0] or None, row[3]) for row in rows]
    for sent, row in zip(rows, found.rows, strict=True):
        assert row[1] is None if sent[1] is None else float(str(row[1])) == sent[1]
        assert row[2] is None if sent[2] is None else int(str(row[2])) == sent[2]


def test_lines_that_end_inside_a_record_are_cut_off_and_a_last_line_without_an_end_is_not(
    tmp_path: Path,
) -> None:
    whole = write(tmp_path / "a", [ROW, ROW], "ndjson").read_bytes()
    (tmp_path / "b").write_bytes(whole[:-9])
    assert code_of(lambda: read(tmp_path / "b"), SECRET) == "TRUNCATED"
    (tmp_path / "c").write_bytes(whole[:-1])
    assert len(read(tmp_path / "c").rows) == 2
