"""The compiler of suites: what it refuses, which rows it keeps, and that a scan leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from msc_pipeline.errors import ConfigError
from msc_pipeline.onescan.expectations import SUPPORTED, compile_suite, judge
from msc_pipeline.onescan.expressions import row_condition
from msc_pipeline.onescan.plan import BITS


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as found:
        found.execute(
            "create table labs as select * from (values (1, 'ALT', 22.0, 'k1'), (2, 'ALT', null, 'k2'),"
            " (3, 'AST', 900.0, 'k2'), (4, 'AST', 31.0, 'k3'), (5, null, 7.0, null)) as v(ROW, TEST, VALUE, KEY)"
        )
        yield found


def expectation(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs}


ALT = {"type": "comparison", "column": {"name": "TEST"}, "operator": "==", "parameter": "ALT"}

REFUSED = {
    "an unknown expectation": expectation("expect_column_values_to_be_nice", column="A"),
    "no column": expectation("expect_column_values_to_be_in_set", value_set=["A"]),
    "no set": expectation("expect_column_values_to_be_in_set", column="A"),
    "no bound": expectation("expect_column_values_to_be_between", column="A"),
    "bounds the wrong way round": expectation(
        "expect_column_values_to_be_between", column="A", min_value=2, max_value=1
    ),
    "no regular expression": expectation("expect_column_values_to_match_regex", column="A", regex="("),
    "no pattern": expectation("expect_column_values_to_match_regex_list", column="A", regex_list=[]),
    "another way to match": expectation(
        "expect_column_values_to_match_regex_list", column="A", regex_list=["a"], match_on="some"
    ),
    "no pairs": expectation("expect_column_pair_values_to_be_in_set", column_A="A", column_B="B"),
    "one column of a pair": expectation("expect_column_pair_values_to_be_equal", column_A="A"),
    "another way to ignore": expectation(
        "expect_column_pair_values_to_be_equal", column_A="A", column_B="B", ignore_row_if="sometimes"
    ),
    "an aggregate without a column": expectation("expect_column_max_to_be_between", min_value=1),
    "a constant of another type": expectation(
        "expect_column_values_to_be_in_set", column="A", value_set=[b"x"]
    ),
    "a condition in words": expectation("expect_column_values_to_be_null", column="A", row_condition="A > 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compiled_is_an_error_and_never_a_pass(case: str) -> None:
    with pytest.raises(ConfigError, match="RULE_NOT_COMPILED"):
        compile_suite([REFUSED[case]])


@pytest.mark.parametrize(
    "condition",
    [
        ALT | {"operator": "~"},
        ALT | {"operator": "IN"},
        ALT | {"parameter": ["A"]},
        ALT | {"parameter": None},
        {"type": "comparison", "column": "TEST", "operator": "==", "parameter": "ALT"},
        {"type": "and", "conditions": []},
    ],
)
def test_a_condition_of_another_form_is_an_error(condition: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="RULE_NOT_COMPILED"):
        row_condition(condition)


def test_every_failing_row_is_kept_with_a_bit_for_every_rule_it_fails(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    suite = compile_suite(
        [
            expectation("expect_column_values_to_be_between", column="VALUE", max_value=100),
            expectation("expect_column_values_to_not_be_null", column="VALUE", row_condition=ALT),
            expectation("expect_column_values_to_be_unique", column="KEY"),
            expectation("expect_column_values_to_not_be_null", column="TEST"),
        ]
    )
    scan, results = judge(connection, "labs", suite)
    rows = [
        connection.execute(
            f"select ROW from {scan.failing} where {scan.failed(one.rule)} order by ROW"
        ).fetchall()
        for one in suite
        if one.rule
    ]
    assert rows == [[(3,)], [(2,)], [(2,), (3,)], [(5,)]]
    assert [r.unexpected_count for r in results] == [1, 1, 2, 1]
    assert [r.missing_count for r in results] == [1, 0, 1, 0]
    assert [r.element_count for r in results] == [5, 2, 5, 5]
    assert connection.execute(f"select count(*) from {scan.failing}").fetchone() == (3,)


def test_rules_beyond_the_bits_of_one_column_are_told_apart(connection: duckdb.DuckDBPyConnection) -> None:
    suite = compile_suite(
        [
            expectation("expect_column_values_to_not_be_in_set", column="ROW", value_set=[n])
            for n in range(BITS + 10)
        ]
    )
    scan, results = judge(connection, "labs", suite)
    assert [n for n, r in enumerate(results) if not r.success] == [1, 2, 3, 4, 5]
    assert suite[5].rule
    assert connection.execute(
        f"select ROW from {scan.failing} where {scan.failed(suite[5].rule)}"
    ).fetchall() == [(5,)]


def test_keys_of_which_only_the_hash_repeats_do_not_fail(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("create macro hash(a) as 1")  # every key has the same hash
    suite = compile_suite([expectation("expect_column_values_to_be_unique", column="KEY")])
    scan, (result,) = judge(connection, "labs", suite)
    assert result.unexpected_count == 2
    assert connection.execute(f"select ROW from {scan.failing} order by ROW").fetchall() == [(2,), (3,)]


@pytest.mark.parametrize(("mostly", "success"), [(0.6, True), (2 / 3, True), (0.67, False)])
def test_mostly_is_the_share_of_judged_rows(
    connection: duckdb.DuckDBPyConnection, mostly: float, success: bool
) -> None:
    connection.execute("delete from labs where ROW = 5")
    suite = compile_suite(
        [expectation("expect_column_values_to_be_between", column="VALUE", max_value=100, mostly=mostly)]
    )
    assert judge(connection, "labs", suite)[1][0].success is success


def test_a_scan_leaves_no_table_behind(connection: duckdb.DuckDBPyConnection) -> None:
    before = connection.execute("show tables").fetchall()
    scan, _ = judge(
        connection, "labs", compile_suite([expectation("expect_column_values_to_be_unique", column="KEY")])
    )
    scan.drop(connection)
    assert connection.execute("show tables").fetchall() == before


def test_a_rule_that_does_not_fit_the_columns_answers_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error):
        judge(
            connection, "labs", compile_suite([expectation("expect_column_values_to_be_null", column="NONE")])
        )


def test_a_relation_without_questions_is_not_scanned(connection: duckdb.DuckDBPyConnection) -> None:
    scan, (result,) = judge(
        connection, "labs", compile_suite([expectation("expect_column_to_exist", column="KEY")])
    )
    assert result.success and scan.failing == ""


def test_many_kinds_of_expectations_are_supported() -> None:
    assert len(SUPPORTED) == len(set(SUPPORTED)) == 39
