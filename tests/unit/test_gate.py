"""The gate: what may be open, and that nothing else gets out."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest

from msc_pipeline import gate
from msc_pipeline.errors import BlindingError, ConfigError
from msc_pipeline.gate import Dictionary, Entry
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study, study_ids

BLINDED = r"(?i)\b(activex)\b"
DICTIONARY = Dictionary(
    {"curated.t": "A table's label"},
    {"curated.t": (Entry("A", "VARCHAR", "", "Text"), Entry("N", "INTEGER", "mg", "A number's unit"),
                   Entry("L", "VARCHAR[]", "", "List"))},
)  # fmt: skip
DIFFERS = "OPEN_COLUMN: curated.t differs from the dictionary"
TELLING = re.compile(
    r"ARM.*|ACTARM.*|EXTRT|EXDOS.*|EXVAMT.*|TRT\d\d.*|TRTA?N?|TRTP|TRTSEQ.*|.*KIT.*|.*LOT.*|.*DOSE.*|.*VOL.*|.*BATCH.*|.*RAND.*"
)
"""Names of columns that tell an arm, or could. CMDOSE is of another medication."""


def opened(sql: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:")
    connection.execute("attach ':memory:' as release; create schema release.curated")
    connection.execute(sql)
    return connection


def check(sql: str) -> None:
    gate.check(opened(sql), "release", DICTIONARY, BLINDED)


def test_a_table_that_is_as_the_dictionary_says_passes() -> None:
    check("create table release.curated.t as select 'inactivex' as A, 1 as N, ['Y'] as L")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("table release.curated.other (A varchar)", "OPEN_TABLE: not in the dictionary: curated.other"),
        ("view release.curated.v as select 1 as A", "OPEN_TABLE: not in the dictionary: curated.v"),
        ("table release.main.t (A varchar)", "OPEN_TABLE: not in the dictionary: main.t"),
        ("table release.curated.t (A varchar, N integer, L varchar[], X varchar)", f"{DIFFERS}: X"),
        ("table release.curated.t (A varchar, N integer)", f"{DIFFERS}: L"),
        ("table release.curated.t (A varchar, N bigint, L varchar[])", f"{DIFFERS}: N"),
        ("table release.curated.t (N integer, A varchar, L varchar[])", f"{DIFFERS}: the order of columns"),
    ],
)
def test_an_unknown_table_column_type_or_order_is_refused(sql: str, message: str) -> None:
    with pytest.raises(BlindingError) as refused:
        check(f"create {sql}")
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("row", "column"),
    [("'given ACTIVEX-7711 twice', 1, ['Y']", "A"), ("null::varchar, 1, ['Y', 'activex 7711']", "L")],
)
def test_a_word_of_the_blind_in_a_text_is_refused_without_quoting_it(row: str, column: str) -> None:
    with pytest.raises(BlindingError) as refused:
        check(f"create table release.curated.t as select * from (values ({row})) as v (A, N, L)")
    assert (
        str(refused.value) == f"ARM_WORD: release.curated.t, column {column} holds a word that names an arm"
    )
    assert "7711" not in repr(refused.value)


def test_labels_and_units_become_comments_whatever_they_hold() -> None:
    connection = opened("create table release.curated.t (A varchar, N integer, L varchar[])")
    gate.comment(connection, "release", DICTIONARY)
    columns = connection.execute(
        "select column_name, comment from duckdb_columns() where table_name = 't' order by column_index"
    )
    assert columns.fetchall() == [("A", "Text"), ("N", "A number's unit [mg]"), ("L", "List")]
    tables = connection.execute("select comment from duckdb_tables() where table_name = 't'").fetchall()
    assert tables == [("A table's label",)]


HEAD = "table,column,type,unit,label\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "columns must be table, column, type, unit, label"),
        ("table,column,label\n", "columns must be table, column, type, unit, label"),
        (HEAD + "a.t,,,,Table\na.t,A,VARCHAR,,\n", "line 3 has no table or label"),
        (HEAD + ",A,VARCHAR,,Text\n", "line 2 has no table or label"),
        (
            HEAD + "a.t,,,,Table\na.t,A,,,Text\n",
            "line 3 has no table or label, or only one of column and type",
        ),
        (HEAD + "a.t,,VARCHAR,,Table\n", "line 2 has no table or label, or only one of column and type"),
        (HEAD + "a.t,,,,Table\na.t,A,VARCHAR,,Text, more\n", "line 3 has 6 cells, not 5"),
        (HEAD + "a.t,,,,Table\na.t,A,VARCHAR\n", "line 3 has 3 cells, not 5"),
        (HEAD + "a.t,,,,Table\na.t,A,VARCHAR,,Text\na.t,A,VARCHAR,,Text\n", "line 4 says again"),
        (HEAD + "a.t,,,,Table\na.t,,,,Table\n", "line 3 says again"),
        (HEAD + 'a.t,,,,"Table\n', "line 2 is not CSV"),
        (HEAD + "a.t,,,,Table\nb.t,A,VARCHAR,,Text\n", "tables without label or columns: a.t, b.t"),
    ],
)
def test_a_fault_of_the_dictionary_is_refused_with_its_line(tmp_path: Path, text: str, what: str) -> None:
    folder = tmp_path / "sql" / "reference"
    folder.mkdir(parents=True)
    (folder / "dictionary.csv").write_text(text)
    with pytest.raises(ConfigError) as refused:
        gate.load_dictionary(tmp_path)
    assert str(refused.value).startswith(f"DICTIONARY_INVALID: sql/reference/dictionary.csv: {what}")


def test_no_open_column_could_tell_the_arm() -> None:
    dictionary = gate.load_dictionary(PROJECT)
    names = {
        f"{table}.{entry.name}"
        for table, entries in dictionary.columns.items()
        for entry in entries
        if TELLING.fullmatch(entry.name.upper())
    }
    assert names == {"curated.adcm.CMDOSE", "dsmb.enrolment.dosed"}, (
        "of other medication; a count of subjects"
    )
    assert TELLING.fullmatch("TRT01A")
    assert [e.name for e in dictionary.columns["curated.adex"]] == [
        "STUDYID", "SITEID", "USUBJID", "TRTSDTM", "TRTEDTM", "DURATION", "INTERRUPTED", "PENDFL", "SRC_SHA256",
    ]  # fmt: skip


@pytest.mark.parametrize("study_id", study_ids(PROJECT))
def test_no_label_or_unit_holds_a_word_of_a_study_s_blind(study_id: str) -> None:
    words = re.compile(load_study(study_id, PROJECT).blinded)
    dictionary = gate.load_dictionary(PROJECT)
    texts = [*dictionary.labels.values(), *(e.comment for es in dictionary.columns.values() for e in es)]
    assert not [text for text in texts if words.search(text)]
