"""Models: headers that cannot lie, an order that follows from them, files whose bytes depend on the rows only."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from msc_pipeline import models
from msc_pipeline.errors import ConfigError, IntegrityError, PermanentError, TransientError

PROJECT = Path(__file__).parents[2]
MARKER = "S1-777-SECRET"
UNITS = (
    "LBTESTCD,unit,standard_unit,factor,ucum,source\nHGB,g/dL,mmol/L,0.6206,g/dL,a table\nPH,,,1,,no unit\n"
)


def put_model(project: Path, name: str, query: str, reads: str, *, grain: str = "one row per A") -> None:
    schema, _, table = name.partition(".")
    path = project / "sql" / schema / f"{table}.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"Name": name, "Label": "x", "Grain": grain, "Input": reads, "Units": "none", "Source": "none"}
    path.write_text("\n".join(f"-- {k}: {v}" for k, v in header.items()) + f"\n\n{query}\n", encoding="utf-8")


def put_reference(project: Path, name: str, text: str) -> None:
    path = project / "sql" / "reference" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    (project / "sql" / "macros.sql").write_text("create macro twice(x) as 2 * x;", encoding="utf-8")


def refused(project: Path, schema: str = "curated") -> str:
    with pytest.raises(ConfigError) as caught:
        models.load_models(project, schema)
    assert caught.value.code == "MODEL_INVALID"
    return caught.value.message


def test_a_header_becomes_a_model(tmp_path: Path) -> None:
    put_model(tmp_path, "curated.a", "select A, B from accepted.lb;", "accepted.lb", grain="one row per A, B")
    (model,) = models.load_models(tmp_path, "curated")
    assert (model.name, model.table, model.grain, model.inputs) == (
        "curated.a",
        "a",
        ("A", "B"),
        ("accepted.lb",),
    )
    assert model.sql == "select A, B from accepted.lb"


def test_the_hash_follows_query_and_grain_only(tmp_path: Path) -> None:
    hashes = []
    for query, grain in [
        ("select 1 as A", "A"),
        ("select 2 as A", "A"),
        ("select 1 as A", "B"),
        ("select 1 as A", "A"),
    ]:
        put_model(
            tmp_path, "curated.a", query + " from accepted.lb", "accepted.lb", grain=f"one row per {grain}"
        )
        hashes.append(models.load_models(tmp_path, "curated")[0].sha256)
    assert hashes[0] == hashes[3]
    assert len(set(hashes)) == 3


def test_every_model_of_the_project_loads_in_an_order_that_its_inputs_allow() -> None:
    for schemas in (("derived", "curated"), ("dsmb",), ("facts",), ("cross",)):
        seen: set[str] = set()
        for model in models.load_models(PROJECT, *schemas):
            assert {name for name in model.inputs if name.startswith(tuple(f"{s}." for s in schemas))} <= seen
            seen.add(model.name)
        assert seen


def test_models_run_after_those_they_read_and_else_by_name(tmp_path: Path) -> None:
    put_model(tmp_path, "curated.a", "select A from curated.z", "curated.z")
    put_model(tmp_path, "curated.m", "select A from accepted.lb", "accepted.lb")
    put_model(tmp_path, "curated.z", "select A from accepted.lb", "accepted.lb")
    assert [m.table for m in models.load_models(tmp_path, "curated")] == ["m", "z", "a"]


def test_models_that_read_each_other_are_refused(tmp_path: Path) -> None:
    put_model(tmp_path, "curated.a", "select A from curated.b", "curated.b")
    put_model(tmp_path, "curated.b", "select A from curated.a", "curated.a")
    assert "circle" in refused(tmp_path)


@pytest.mark.parametrize("name", ["curated.none", "reference.none", "accepted.qs", "elsewhere.lb"])
def test_an_input_that_nothing_makes_is_refused(tmp_path: Path, name: str) -> None:
    put_model(tmp_path, "curated.a", f"select A from {name}", name)
    assert name in refused(tmp_path)


@pytest.mark.parametrize("reads", ["accepted.dm", "accepted.dm, accepted.lb", "study.visits"])
def test_an_input_line_that_disagrees_with_the_query_is_refused(tmp_path: Path, reads: str) -> None:
    put_model(tmp_path, "curated.a", "select A from accepted.lb", reads)
    assert "`accepted.lb`" in refused(tmp_path)


def test_inputs_are_found_in_ctes_subqueries_and_macro_arguments(tmp_path: Path) -> None:
    query = """
    with recent as (select A from accepted.lb), pair as (select * from recent union all select A from accepted.sv)
    select A from pair
    where A in (select USUBJID from accepted.dm) and A <> coalesce((select max(id) from study.sites), '')
    """
    reads = "accepted.sv, accepted.lb, study.sites, accepted.dm"
    put_model(tmp_path, "curated.a", query, reads)
    (model,) = models.load_models(tmp_path, "curated")
    assert model.inputs == ("accepted.dm", "accepted.lb", "accepted.sv", "study.sites")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select A from lb", "without a schema"),
        ("select A from 'file.parquet'", "without a schema"),
        ("select A from read_csv('file.csv')", "read_csv"),
        ("drop table accepted.lb", "one select"),
        ("select A from accepted.lb; select 1", "one select"),
        ("select from where", "one select"),
    ],
)
def test_a_query_that_is_not_one_select_over_named_relations_is_refused(
    tmp_path: Path, query: str, says: str
) -> None:
    put_model(tmp_path, "curated.a", query, "accepted.lb")
    assert says in refused(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("-- Label: x\n", "", "line 2"),
        ("-- Name: curated.a", "-- Name: curated.b", "Name must be curated.a"),
        ("one row per A", "a row per A", "Grain"),
        ("-- Source: none\n\nselect A from accepted.lb\n", "", "needs the lines"),
        ("-- Units: none", "-- Units:", "line 5"),
    ],
)
def test_a_header_that_is_not_whole_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    put_model(tmp_path, "curated.a", "select A from accepted.lb", "accepted.lb")
    path = tmp_path / "sql/curated/a.sql"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert says in refused(tmp_path)


def test_the_engine_reads_no_python_variable_and_loads_no_extension() -> None:
    rows = [("a",)]
    with models.connect(1) as connection:
        assert rows
        with pytest.raises(duckdb.Error):
            connection.execute("select * from rows")
        with pytest.raises(duckdb.Error):
            connection.execute("select * from 'https://example.org/x.parquet'")


def test_references_are_text_and_factors_exact(tmp_path: Path) -> None:
    put_reference(tmp_path, "units", UNITS)
    put_reference(tmp_path, "codes", "code,meaning\n007,\n")
    with models.connect(1) as connection:
        models.install(connection, tmp_path)
        assert connection.execute("select factor, unit from reference.units").fetchall() == [
            (Decimal("0.6206000000"), "g/dL"),
            (Decimal("1.0000000000"), None),
        ]
        assert connection.execute("select code, meaning, twice(2) from reference.codes").fetchall() == [
            ("007", None, 4)
        ]


@pytest.mark.parametrize("factor", ["", "abc", "-1", "0", "0.00000000001", "10000000000", "NaN"])
def test_a_factor_that_would_be_rounded_is_refused(tmp_path: Path, factor: str) -> None:
    put_reference(tmp_path, "units", UNITS.replace("0.6206", factor))
    with models.connect(1) as connection, pytest.raises(ConfigError, match="REFERENCE_INVALID"):
        models.install(connection, tmp_path)


@pytest.mark.parametrize("text", ["", "a,b\n1\n", 'a,b\n"1,2\n'])
def test_a_reference_that_is_not_a_table_is_refused(tmp_path: Path, text: str) -> None:
    put_reference(tmp_path, "codes", text)
    with models.connect(1) as connection, pytest.raises(ConfigError, match=r"codes\.csv"):
        models.install(connection, tmp_path)


def test_a_reference_that_is_not_utf_8_is_refused_and_not_read_with_other_letters(tmp_path: Path) -> None:
    put_reference(tmp_path, "codes", "a\n1\n")
    (tmp_path / "sql/reference/codes.csv").write_bytes("a\nµmol\n".encode("latin-1"))
    with models.connect(1) as connection, pytest.raises(ConfigError, match=r"codes\.csv"):
        models.install(connection, tmp_path)


def test_a_macro_that_does_not_parse_is_refused(tmp_path: Path) -> None:
    put_reference(tmp_path, "codes", "a\n1\n")
    (tmp_path / "sql/macros.sql").write_text("create macro nonsense", encoding="utf-8")
    with models.connect(1) as connection, pytest.raises(ConfigError, match=r"macros\.sql"):
        models.install(connection, tmp_path)


def a_model(tmp_path: Path, query: str, grain: str = "A") -> models.Model:
    put_model(tmp_path, "curated.a", query, "accepted.lb", grain=f"one row per {grain}")
    return models.load_models(tmp_path, "curated")[0]


def written(tmp_path: Path, model: models.Model, threads: int, order: str) -> str:
    path = tmp_path / f"{threads}.parquet"
    with models.connect(threads) as connection:
        connection.execute("create schema accepted")
        connection.execute(
            "create table accepted.lb as select i as A, i % 7 as B, (i / 3)::decimal(20, 8) as C"
            f" from range(300000) as r(i) order by {order}"
        )
        assert models.write(connection, model, path) == 300000
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_bytes_do_not_depend_on_threads_or_on_the_order_of_the_input(tmp_path: Path) -> None:
    model = a_model(tmp_path, "select *, sum(C) over (partition by B) as D from accepted.lb")
    assert written(tmp_path, model, 1, "i") == written(tmp_path, model, 2, "hash(i)")


def test_an_empty_model_writes_its_columns(tmp_path: Path) -> None:
    model = a_model(tmp_path, "select A from accepted.lb")
    with models.connect(1) as connection:
        connection.execute("create schema accepted; create table accepted.lb (A varchar)")
        assert models.write(connection, model, tmp_path / "it's empty.parquet") == 0
        found = connection.execute(f"describe select * from '{tmp_path}/it''s empty.parquet'").fetchall()
    assert [(row[0], row[1]) for row in found] == [("A", "VARCHAR")]


def failing(tmp_path: Path, query: str, path: Path, kind: type[Exception]) -> Exception:
    model = a_model(tmp_path, query)
    with models.connect(1) as connection, pytest.raises(kind) as caught:
        connection.execute(f"create schema accepted; create table accepted.lb as select '{MARKER}' as A")
        models.write(connection, model, path)
    assert MARKER not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None
    return caught.value


def test_a_study_becomes_tables_with_the_date_of_the_data() -> None:
    from msc_pipeline.study import load_study, study_ids

    study = load_study(study_ids(PROJECT)[0], PROJECT)
    with models.connect(1) as connection:
        models.install_study(connection, study, "2026-01-10")
        assert connection.execute("select as_of::varchar from study.protocol").fetchall() == [("2026-01-10",)]
        assert connection.execute("select count(*) from study.visits").fetchall() == [(len(study.visits),)]
        models.install_study(connection, study)
        assert connection.execute("select as_of from study.protocol").fetchall() == [(None,)]


def test_two_rows_of_one_grain_are_refused_with_counts_only(tmp_path: Path) -> None:
    query = "select A from accepted.lb union all select A from accepted.lb"
    error = failing(tmp_path, query, tmp_path / "a.parquet", IntegrityError)
    assert str(error) == "MODEL_GRAIN: curated.a: 2 rows, 1 distinct by its grain"


def test_a_null_is_a_value_of_the_grain(tmp_path: Path) -> None:
    query = "select null as A from accepted.lb union all select null from accepted.lb"
    assert "2 rows, 1 distinct" in str(failing(tmp_path, query, tmp_path / "a.parquet", IntegrityError))


def test_an_error_of_the_engine_names_the_model_and_no_value(tmp_path: Path) -> None:
    error = failing(
        tmp_path, "select A::integer as A from accepted.lb", tmp_path / "a.parquet", PermanentError
    )
    assert str(error) == "MODEL_FAILED: curated.a: ConversionException"


def test_a_grain_column_that_the_query_lacks_is_refused(tmp_path: Path) -> None:
    failing(tmp_path, "select A as B from accepted.lb", tmp_path / "a.parquet", PermanentError)


def test_a_file_that_cannot_be_written_may_be_tried_again(tmp_path: Path) -> None:
    failing(tmp_path, "select A from accepted.lb", tmp_path / "none" / "a.parquet", TransientError)


def test_an_error_that_is_not_the_engine_s_passes_unchanged() -> None:
    with pytest.raises(KeyError), models.reported("here", PermanentError, "MODEL_FAILED"):
        raise KeyError("own")


def test_every_open_model_has_a_page_and_a_place_in_the_dictionary() -> None:
    text = (PROJECT / "sql/reference/dictionary.csv").read_text(encoding="utf-8")
    for schema in ("curated", "dsmb"):
        for name in sorted(path.stem for path in (PROJECT / "sql" / schema).glob("*.sql")):
            assert f"\n{schema}.{name},,," in text
            assert list((PROJECT / "tests/sql" / schema / name).glob("test_*.md"))
