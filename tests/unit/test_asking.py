"""Asking: one SELECT, nothing written, nothing read beside the release."""

from __future__ import annotations

import duckdb
import pytest

from msc_pipeline.asking import ask, check_select
from msc_pipeline.errors import IntegrityError, PermanentError, PipelineError, UsageError
from msc_pipeline.publishing import current
from msc_pipeline.storage import sha256_of
from tiny_trial import TinyTrial

REFUSED = [
    "",
    "select",
    "select 1; select 2",
    "select 1; drop table curated.adsl",
    "copy (select 1) to '{file}'",
    "copy curated.adsl to '{file}' (format csv)",
    "with a as (copy (select 'x') to '{file}' (format csv, use_tmp_file false)) select * from a",
    "select * from (with a as (copy (select 'x') to '{file}' (format csv)) select * from a)",
    "with a as (insert into curated.adsl select * from curated.adsl returning 1) select * from a",
    "with a as (delete from curated.adsl returning 1) select * from a",
    "with a as (update curated.adsl set AGE = 1 returning 1) select * from a",
    "insert into curated.adsl select * from curated.adsl",
    "update curated.adsl set AGE = 1",
    "delete from curated.adsl",
    "create table x as select 1",
    "attach '{file}' as other",
    "detach open",
    "pragma database_list",
    "set memory_limit = '1MB'",
    "reset threads",
    "call pragma_version()",
    "install httpfs",
    "load httpfs",
    "export database '/tmp/x'",
    "checkpoint",
    "vacuum",
    "explain analyze select 1",
    "begin",
    "prepare p as select 1",
    "select * from read_text('/etc/hostname')",
    "select * from read_blob('{file}')",
    "select * from read_csv('/etc/passwd')",
    "select * from read_parquet('x.parquet')",
    "select * from glob('/*')",
    "select * from sniff_csv('/etc/passwd')",
    "select * from query('select 1')",
    "select * from query_table('curated.adsl')",
    "select * from json_execute_serialized_sql(json_serialize_sql('select 1'))",
    "select * from duckdb_settings()",
    "select * from duckdb_databases()",
    "select * from DuckDB_Databases()",
    "select path from duckdb_databases",
    "select * from duckdb_secrets()",
    "select * from duckdb_extensions()",
    "select * from pragma_database_list",
    "select * from pg_settings",
    "select * from duckdb_logs",
    "select * from checkpoint()",
    "select * from enable_logging()",
    "select * from pragma_storage_info('curated.adsl')",
    "select current_setting('secret_directory')",
    "select Current_Setting('temp_directory')",
    "select getenv('HOME')",
    "select (select max(file) from glob('/*'))",
    "with a as (select * from read_text('/etc/hostname')) select * from a",
]
ALLOWED = [
    "select count(*) from curated.adlb",
    "from curated.adsl",
    "values (1), (2)",
    "select 1 union all select 2 except select 3",
    "with recursive t (i) as (select 1 union all select i + 1 from t where i < 5) select max(i) from t",
    "with a as (select 1 as x) select * from a join (select 1 as x) using (x)",
    "select unnest([1, 2]), range(3), (select max(i) from range(10) as r (i))",
    "select comment from duckdb_columns() where not internal limit 3",
    "select table_name from duckdb_tables()",
    "select 1 -- copy attach pragma",
    "select 'attach; copy' as \"pragma\";",
    "describe curated.adsl",
    "select SITEID, count(*) over (partition by SITEID) from curated.adsl qualify row_number() over () = 1",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_anything_but_one_plain_select_is_refused_and_the_release_stays_as_it_is(
    released: TinyTrial, sql: str
) -> None:
    file = current("tiny", released.settings)
    assert file is not None
    before = sha256_of(file)
    with pytest.raises(UsageError) as refused:
        ask(released.study, sql.format(file=file), released.settings)
    assert refused.value.code == "NOT_ONE_SELECT"
    assert sha256_of(file) == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("sql", ALLOWED)
def test_a_select_of_any_shape_is_answered(released: TinyTrial, sql: str) -> None:
    assert ask(released.study, sql, released.settings).num_rows > 0


@pytest.mark.parametrize("sql", ["from '{file}'", "from '/etc/passwd.csv'", 'select * from "{file}"'])
def test_a_file_name_is_no_table(released: TinyTrial, sql: str) -> None:
    file = current("tiny", released.settings)
    assert file is not None
    before = sha256_of(file)
    with pytest.raises(UsageError, match="QUERY_FAILED") as failed:
        ask(released.study, sql.format(file=file), released.settings)
    assert sha256_of(file) == before
    assert failed.value.exit_code == 2


@pytest.mark.parametrize(
    "sql",
    [
        "select USUBJID::integer from curated.adsl",
        "select strptime(USUBJID, '%Y') from curated.adsl",
        "select error(USUBJID) from curated.adsl",
        "select (USUBJID || '-x')::date from curated.adsl",
        "select json_extract(USUBJID, '$') from curated.adsl",
    ],
)
def test_an_error_holds_no_value_and_no_chain_to_one(released: TinyTrial, sql: str) -> None:
    with pytest.raises(UsageError, match="QUERY_FAILED") as failed:
        ask(released.study, sql, released.settings)
    assert "TINY01" not in repr(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def test_a_misspelt_column_or_table_is_named(released: TinyTrial) -> None:
    with pytest.raises(UsageError, match='"USUBJIDD" not found'):
        ask(released.study, "select USUBJIDD from curated.adsl", released.settings)
    with pytest.raises(UsageError, match="adsll does not exist"):
        ask(released.study, "select * from curated.adsll", released.settings)


def test_a_limit_bounds_the_answer(released: TinyTrial) -> None:
    sql = "select * from curated.adlb order by USUBJID"
    assert ask(released.study, sql, released.settings).num_rows > 2
    assert ask(released.study, sql, released.settings, limit=2).num_rows == 2
    assert ask(released.study, sql, released.settings, limit=0).num_rows == 0


def test_without_a_release_the_answer_is_what_to_run(trial: TinyTrial) -> None:
    with pytest.raises(PermanentError, match=r"NO_RELEASE.*msc run --study tiny"):
        ask(trial.study, "select 1", trial.settings)


def test_a_release_whose_file_is_gone_is_no_release(published: TinyTrial) -> None:
    file = current("tiny", published.settings)
    assert file is not None
    file.unlink()
    with pytest.raises(PermanentError, match="NO_RELEASE"):
        ask(published.study, "select 1", published.settings)


def test_a_question_that_is_no_sql_is_refused_with_our_error() -> None:
    for sql in ("select 'open", "\x00", "🙂", "select " + "(" * 100):
        with pytest.raises(PipelineError):
            check_select(sql)


def test_the_engine_itself_would_let_a_copy_inside_a_with_clause_destroy_what_it_reads(
    published: TinyTrial,
) -> None:
    """Why the tree is walked: when this fails, the engine has changed."""
    file = current("tiny", published.settings)
    assert file is not None
    file.chmod(0o644)
    before = sha256_of(file)
    config = {"enable_external_access": "false", "lock_configuration": "true"}
    with duckdb.connect(str(file), read_only=True, config=config) as connection:
        sql = f"with a as (copy (select 'x') to '{file}' (format csv, use_tmp_file false)) select * from a"
        connection.execute(sql).fetchall()
    assert sha256_of(file) != before


def test_a_release_that_cannot_be_opened_is_our_error_without_a_path(published: TinyTrial) -> None:
    file = current("tiny", published.settings)
    assert file is not None
    file.chmod(0o644)
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(IntegrityError, match=f"release {file.parent.name} cannot be opened") as failed:
        ask(published.study, "select 1", published.settings)
    assert str(published.settings.home) not in str(failed.value)
