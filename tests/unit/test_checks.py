"""Great Expectations and our own scan agree, or the rule does not pass; no value leaves."""

from __future__ import annotations

import io
import itertools
import logging
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import duckdb
import pytest

from msc_pipeline import checks, gx_duckdb
from msc_pipeline.suites import Suite

pytestmark = pytest.mark.xdist_group("great_expectations")

MARKER = "CANARY-7731"
IDS = itertools.count(1)


def rule(type_: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    meta = {
        "id": f"T-{next(IDS):03d}",
        "says": "A sentence for people.",
        "why": "Because of it.",
        "source": "ours",
    }
    return {"type": type_, "kwargs": kwargs, "severity": severity, "meta": meta}


def suite(*rules: dict[str, Any]) -> Suite:
    return Suite(name="lab/x", expectations=list(rules))


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema facts")
    connection.execute(
        f"""create table facts.lb as select
            i as SRC_ROW,
            case when i % 5 = 0 then 'ALT' when i % 7 = 0 then null else 'T''"%' || (i % 12) end as TEST,
            case when i % 17 <> 0 then (i * 37 % 400)::double end as V,
            (i * 37 % 400)::decimal(20, 8) / 10 as N,
            date '2020-01-01' + (i % 400)::int as D,
            case when i % 3 <> 0 then date '2020-01-01' + (i % 40)::int end as D2,
            'x%:' || (i % 7) as S,
            case when i % 4 <> 0 then 'é' || (i % 20) end as T,
            '{MARKER}' || i as SECRET
        from range(300) as t(i)"""
    )
    return connection


def comparison(column: str, operator: str, parameter: Any) -> dict[str, Any]:
    return {"type": "comparison", "column": {"name": column}, "operator": operator, "parameter": parameter}


def nullity(column: str, is_null: bool) -> dict[str, Any]:
    return {"type": "nullity", "column": {"name": column}, "is_null": is_null}


CONDITIONS: list[dict[str, Any] | None] = [
    None,
    comparison("TEST", "==", "ALT"),
    comparison("TEST", "!=", "T'\"%3"),
    comparison("V", "<", 100.5),
    comparison("V", ">=", 100),
    comparison("TEST", "IN", ["ALT", "T'\"%4"]),
    comparison("TEST", "NOT_IN", ["ALT"]),
    nullity("V", True),
    {"type": "and", "conditions": [nullity("T", False), comparison("V", ">", 100)]},
    {"type": "or", "conditions": [nullity("T", True), comparison("D", "<=", "2020-06-01")]},
]
BOTH = {"column_A": "D", "column_B": "D2", "ignore_row_if": "either_value_is_missing"}
EXPECTATIONS: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_not_be_null", {"column": "T"}),
    ("expect_column_values_to_be_null", {"column": "T"}),
    ("expect_column_values_to_be_in_set", {"column": "T", "value_set": ["é1", "é2"]}),
    ("expect_column_values_to_be_in_set", {"column": "V", "value_set": [1, 37.0, 74]}),
    ("expect_column_values_to_not_be_in_set", {"column": "T", "value_set": ["é1", "it's"]}),
    ("expect_column_values_to_be_between", {"column": "V", "min_value": 10, "max_value": 200.5}),
    ("expect_column_values_to_be_between", {"column": "N", "min_value": 3.7, "strict_min": True}),
    ("expect_column_values_to_be_between", {"column": "D", "max_value": "2020-05-05", "strict_max": True}),
    ("expect_column_values_to_match_regex", {"column": "S", "regex": r"^x%:[0-3]$"}),
    ("expect_column_values_to_not_match_regex", {"column": "T", "regex": "1"}),
    ("expect_column_value_lengths_to_be_between", {"column": "T", "min_value": 3}),
    ("expect_column_pair_values_a_to_be_greater_than_b", {**BOTH, "or_equal": True}),
    ("expect_column_pair_values_a_to_be_greater_than_b", BOTH),
    ("expect_column_pair_values_to_be_equal", BOTH),
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_our_failing_rows_are_those_great_expectations_counts(
    connection: duckdb.DuckDBPyConnection, condition: dict[str, Any] | None
) -> None:
    where = {"row_condition": condition} if condition else {}
    given = suite(*(rule(type_, **kwargs, **where) for type_, kwargs in EXPECTATIONS))
    results = checks.evaluate(connection, "facts.lb", [given])
    assert [r.rule_id for r in results] == [r.id for r in given.rules]
    assert not [r for r in results if r.error]
    assert any(r.outcome == "failed" for r in results)
    listed = connection.execute(
        "select rule_id, count(*) from (select unnest(RULES) as rule_id from"
        f" ({checks.failing_rows(connection, 'facts.lb', [given])})) group by 1"
    ).fetchall()
    assert dict(listed) == {r.rule_id: r.n_failed for r in results if r.n_failed}


def test_rows_are_complete_and_split_by_severity(connection: duckdb.DuckDBPyConnection) -> None:
    rules = [
        rule("expect_column_values_to_be_in_set", column="SECRET", value_set=["none"]),
        rule("expect_column_values_to_be_in_set", "warning", column="SECRET", value_set=["none"]),
        rule("expect_column_values_to_not_be_null", "info", column="V"),
        rule("expect_table_row_count_to_be_between", min_value=1),
    ]
    ids = [r["meta"]["id"] for r in rules]
    sql = checks.failing_rows(connection, "facts.lb", [suite(*rules)])
    relation = connection.sql(sql)
    assert relation.columns[-2:] == ["RULES", "WARNINGS"]
    assert connection.execute(f"select count(*), count(distinct SRC_ROW) from ({sql})").fetchone() == (
        300,
        300,
    )
    first = connection.execute(
        f"select RULES, WARNINGS from ({sql}) where SRC_ROW in (17, 18) order by SRC_ROW"
    )
    assert first.fetchall() == [([ids[0]], ids[1:3]), ([ids[0]], [ids[1]])]


def test_without_row_level_rules_no_row_fails(connection: duckdb.DuckDBPyConnection) -> None:
    given = [suite(rule("expect_table_row_count_to_be_between", min_value=1000))]
    assert connection.execute(checks.failing_rows(connection, "facts.lb", given)).fetchall() == []
    assert checks.evaluate(connection, "facts.lb", []) == ()


@pytest.mark.parametrize(
    ("bounds", "outcome"),
    [
        ({"min_value": 300}, "passed"),
        ({"min_value": 301}, "failed"),
        ({"max_value": 299}, "failed"),
        ({"min_value": 1, "max_value": 300}, "passed"),
        ({"min_value": 300, "strict_min": True}, "failed"),
        ({"max_value": 300, "strict_max": True}, "failed"),
    ],
)
def test_a_rule_on_the_whole_table(
    connection: duckdb.DuckDBPyConnection, bounds: dict[str, Any], outcome: str
) -> None:
    given = [suite(rule("expect_table_row_count_to_be_between", **bounds))]
    (result,) = checks.evaluate(connection, "facts.lb", given)
    expected = (outcome, 300, int(outcome == "failed"), True, False)
    assert (result.outcome, result.n_rows, result.n_failed, result.table_level, result.error) == expected


def test_a_rule_that_judges_no_row_is_not_evaluated_and_not_an_error(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    none = comparison("TEST", "==", "NO SUCH TEST")
    rules = [rule(type_, **kwargs, row_condition=none) for type_, kwargs in EXPECTATIONS]
    results = checks.evaluate(connection, "facts.lb", [suite(*rules)])
    assert {(r.outcome, r.error, r.n_rows) for r in results} == {("not_evaluated", False, 0)}
    connection.execute("create table facts.none as select * from facts.lb where false")
    results = checks.evaluate(connection, "facts.none", [suite(*rules)])
    assert {(r.outcome, r.error, r.n_rows) for r in results} == {("not_evaluated", False, 0)}


def test_a_rule_that_raises_never_passes_and_spoils_no_other(connection: duckdb.DuckDBPyConnection) -> None:
    rules = [
        rule("expect_column_values_to_be_between", column="SECRET", min_value=1),
        rule("expect_column_values_to_not_be_null", column="NOT_THERE"),
        rule("expect_column_values_to_not_be_null", column="S"),
    ]
    results = checks.evaluate(connection, "facts.lb", [suite(*rules)])
    assert [(r.outcome, r.error) for r in results] == [("not_evaluated", True)] * 2 + [("passed", False)]


def test_when_great_expectations_itself_fails_no_rule_passes(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(MARKER)

    monkeypatch.setattr(gx_duckdb, "verdicts", fail)
    (result,) = checks.evaluate(
        connection, "facts.lb", [suite(rule("expect_column_values_to_not_be_null", column="S"))]
    )
    assert (result.outcome, result.error) == ("not_evaluated", True)


@pytest.mark.parametrize(
    "verdict",
    [
        None,
        gx_duckdb.Verdict(success=True, n_rows=300, n_failed=1),
        gx_duckdb.Verdict(success=True, n_rows=299, n_failed=0),
        gx_duckdb.Verdict(success=False, n_rows=300, n_failed=0),
    ],
)
def test_a_rule_that_was_dropped_or_judged_otherwise_never_passes(
    connection: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, verdict: gx_duckdb.Verdict | None
) -> None:
    given = rule("expect_column_values_to_not_be_null", column="S")
    answer = {given["meta"]["id"]: verdict} if verdict else {}
    monkeypatch.setattr(gx_duckdb, "verdicts", lambda *_: answer)
    (result,) = checks.evaluate(connection, "facts.lb", [suite(given)])
    assert (result.outcome, result.error) == ("not_evaluated", True)


def test_severity_changes_no_outcome(connection: duckdb.DuckDBPyConnection) -> None:
    rules = [
        rule("expect_column_values_to_not_be_null", severity, column="V")
        for severity in ("critical", "warning", "info")
    ]
    results = checks.evaluate(connection, "facts.lb", [suite(rules[0]), suite(rules[1]), suite(rules[2])])
    assert {(r.outcome, r.n_failed) for r in results} == {("failed", 18)}
    assert [r.severity for r in results] == ["critical", "warning", "info"]


def test_no_value_reaches_results_logs_or_the_terminal(
    connection: duckdb.DuckDBPyConnection, caplog: pytest.LogCaptureFixture
) -> None:
    rules = [
        rule("expect_column_values_to_be_in_set", column="SECRET", value_set=["none"]),
        rule("expect_column_values_to_match_regex", column="SECRET", regex="^none$"),
        rule("expect_column_values_to_be_between", column="SECRET", min_value=1),
        rule("expect_column_values_to_be_null", column="SECRET"),
    ]
    terminal = io.StringIO()
    with caplog.at_level(logging.DEBUG), redirect_stdout(terminal), redirect_stderr(terminal):
        results = checks.evaluate(connection, "facts.lb", [suite(*rules)])
        verdicts = gx_duckdb.verdicts(connection, "facts.lb", suite(*rules).rules)
    assert [r.outcome for r in results] == ["failed", "failed", "not_evaluated", "failed"]
    assert rules[2]["meta"]["id"] in caplog.text
    assert MARKER not in f"{results}{verdicts}{caplog.text}{terminal.getvalue()}"
    assert terminal.getvalue() == ""


def test_the_connection_stays_open_with_its_tables_and_its_transaction(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute("create temp table mine as select 'a' as A")
    connection.begin()
    connection.execute("insert into mine values ('b')")
    (result,) = checks.evaluate(
        connection, "mine", [suite(rule("expect_column_values_to_be_in_set", column="A", value_set=["a"]))]
    )
    assert (result.outcome, result.n_rows, result.n_failed) == ("failed", 2, 1)
    connection.rollback()
    assert connection.execute("select count(*) from mine").fetchone() == (1,)


def test_great_expectations_is_left_as_it_was(connection: duckdb.DuckDBPyConnection) -> None:
    gx_duckdb.preload()
    from great_expectations.expectations.expectation import Expectation

    before = Expectation.configuration, logging.getLogger("great_expectations").level
    checks.evaluate(connection, "facts.lb", [suite(rule("expect_column_values_to_not_be_null", column="S"))])
    assert (Expectation.configuration, logging.getLogger("great_expectations").level) == before
