"""Expectations in Great Expectations' keys: what each asks of a relation, and its verdict from the answers.

Belongs here: expectation type → metric, arguments it takes, success. Does not: SQL of a metric (rules), running
it (plan), Great Expectations itself: this module knows its words, not its code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msc_pipeline.onescan.expressions import cannot_compile, quoted, row_condition
from msc_pipeline.onescan.plan import Question, Rows, Scan, Value, scan
from msc_pipeline.onescan.rules import NONNULL, NULL, RowRule, bounds, row_rule

if TYPE_CHECKING:
    import duckdb

MAPS = {
    "expect_column_values_to_not_be_null": NONNULL,
    "expect_column_values_to_be_null": NULL,
    "expect_column_values_to_be_in_set": "column_values.in_set",
    "expect_column_values_to_not_be_in_set": "column_values.not_in_set",
    "expect_column_values_to_be_between": "column_values.between",
    "expect_column_value_lengths_to_be_between": "column_values.value_length.between",
    "expect_column_value_lengths_to_equal": "column_values.value_length.equals",
    "expect_column_values_to_match_regex": "column_values.match_regex",
    "expect_column_values_to_not_match_regex": "column_values.not_match_regex",
    "expect_column_values_to_match_regex_list": "column_values.match_regex_list",
    "expect_column_values_to_not_match_regex_list": "column_values.not_match_regex_list",
    "expect_column_values_to_match_like_pattern": "column_values.match_like_pattern",
    "expect_column_values_to_not_match_like_pattern": "column_values.not_match_like_pattern",
    "expect_column_values_to_match_like_pattern_list": "column_values.match_like_pattern_list",
    "expect_column_values_to_not_match_like_pattern_list": "column_values.not_match_like_pattern_list",
    "expect_column_values_to_be_unique": "column_values.unique",
    "expect_column_pair_values_to_be_equal": "column_pair_values.equal",
    "expect_column_pair_values_a_to_be_greater_than_b": "column_pair_values.a_greater_than_b",
    "expect_column_pair_values_to_be_in_set": "column_pair_values.in_set",
    "expect_compound_columns_to_be_unique": "compound_columns.unique",
    "expect_select_column_values_to_be_unique_within_record": "select_column_values.unique.within_record",
    "expect_multicolumn_values_to_be_equal": "multicolumn_values.equal",
    "expect_multicolumn_sum_to_equal": "multicolumn_sum.equal",
}
"""Expectation about rows → map metric."""

AGGREGATES = {
    "expect_column_max_to_be_between": "column.max",
    "expect_column_min_to_be_between": "column.min",
    "expect_column_mean_to_be_between": "column.mean",
    "expect_column_median_to_be_between": "column.median",
    "expect_column_sum_to_be_between": "column.sum",
    "expect_column_stdev_to_be_between": "column.standard_deviation",
    "expect_column_unique_value_count_to_be_between": "column.distinct_values.count",
    "expect_column_proportion_of_unique_values_to_be_between": "column.unique_proportion",
    "expect_column_proportion_of_non_null_values_to_be_between": "column.non_null_proportion",
}
"""Expectation about one number → aggregate metric."""

TABLES = (
    "expect_table_row_count_to_be_between",
    "expect_table_row_count_to_equal",
    "expect_table_column_count_to_be_between",
    "expect_table_column_count_to_equal",
    "expect_table_columns_to_match_set",
    "expect_table_columns_to_match_ordered_list",
    "expect_column_to_exist",
)
"""Expectations about the relation as a whole."""

SUPPORTED = (*MAPS, *AGGREGATES, *TABLES)

AGGREGATE_SQL = {
    "column.max": "max({x}){f}",
    "column.min": "min({x}){f}",
    "column.mean": "avg({x}){f}",
    "column.median": "median({x}){f}",
    "column.sum": "sum({x}){f}",
    "column.standard_deviation": "stddev_samp({x}){f}",
    "column.distinct_values.count": "count(distinct {x}){f}",
    "column.unique_proportion": "coalesce((count(distinct {x}){f})::double / nullif(count({x}){f}, 0), 0)",
    "column.non_null_proportion": "coalesce((count({x}){f})::double / nullif(count(*){f}, 0), 0)",
}


@dataclass(frozen=True)
class Result:
    """One expectation's verdict. Counts are None where the expectation is not about rows.

    element_count: rows of the domain. missing_count: rows not judged because a cell is empty. unexpected_count:
    judged rows that fail.
    """

    success: bool
    element_count: int | None = None
    missing_count: int | None = None
    unexpected_count: int | None = None
    observed_value: Any = None


@dataclass(frozen=True)
class Compiled:
    """One expectation and the questions it asks."""

    type: str
    kwargs: Mapping[str, Any]
    questions: tuple[Question, ...]

    @property
    def rule(self) -> RowRule | None:
        """What it asks of every row; None where it is not about rows."""
        return next((q for q in self.questions if isinstance(q, RowRule)), None)


def aggregate(metric: str, kwargs: Mapping[str, Any]) -> Value:
    """Return the question for an aggregate metric of one column. Raises: ConfigError RULE_NOT_COMPILED."""
    if metric not in AGGREGATE_SQL or not kwargs.get("column"):
        raise cannot_compile(metric, "not a supported metric of a column")
    domain = row_condition(kwargs.get("row_condition"))
    filtered = "" if domain == "true" else f" filter (where {domain})"
    return Value(AGGREGATE_SQL[metric].format(x=quoted(kwargs["column"]), f=filtered))


def row_count(kwargs: Mapping[str, Any]) -> Rows:
    """Return the question how many rows the domain has."""
    domain = row_condition(kwargs.get("row_condition"))
    return Rows(domain if domain == "true" else f"coalesce({domain}, false)")


def missing_count(rule: RowRule) -> Rows:
    """Return the question how many rows of the domain are not judged."""
    return Rows(f"{rule.domain} and ({rule.missing})")


def compile_expectation(type_: str, kwargs: Mapping[str, Any]) -> Compiled:
    """Compile one expectation. Raises: ConfigError RULE_NOT_COMPILED, naming it: it never passes unjudged."""
    if type_ in MAPS:
        rule = row_rule(MAPS[type_], kwargs)
        asked: tuple[Question, ...] = (row_count(kwargs), missing_count(rule), rule)
    elif type_ in AGGREGATES:
        bounds("x", kwargs)
        asked = (aggregate(AGGREGATES[type_], kwargs),)
    elif type_ in TABLES:
        asked = (row_count(kwargs),) if "row_count" in type_ else ()
    else:
        raise cannot_compile(type_, "not a supported expectation")
    return Compiled(type_, kwargs, asked)


def compile_suite(expectations: Sequence[Mapping[str, Any]]) -> tuple[Compiled, ...]:
    """Compile expectations as a suite's JSON holds them: {"type": …, "kwargs": {…}}.

    Raises: ConfigError RULE_NOT_COMPILED, naming the first that cannot be.
    """
    return tuple(compile_expectation(str(e["type"]), e.get("kwargs") or {}) for e in expectations)


def judge(
    connection: duckdb.DuckDBPyConnection, relation: str, suite: Sequence[Compiled]
) -> tuple[Scan, tuple[Result, ...]]:
    """Judge `relation` by a compiled suite; return the scan, which holds the failing rows, and a result for each."""
    found = scan(connection, relation, [q for compiled in suite for q in compiled.questions])
    return found, tuple(result(compiled, found) for compiled in suite)


def result(compiled: Compiled, found: Scan) -> Result:
    """Return an expectation's verdict from the answers."""
    kwargs = compiled.kwargs
    if compiled.rule is not None:
        elements, missing, unexpected = (found[q] for q in compiled.questions)
        judged = elements - missing
        enough = judged == 0 or (float(judged) - float(unexpected)) / float(judged) >= kwargs.get("mostly", 1)
        return Result(bool(enough), elements, missing, unexpected)
    if compiled.type in AGGREGATES:
        observed = found[compiled.questions[0]]
        return Result(observed is not None and _within(observed, kwargs), observed_value=observed)
    if "row_count" in compiled.type:
        return _number(found[compiled.questions[0]], kwargs)
    return _columns(compiled, [name for name, _ in found.columns])


def _columns(compiled: Compiled, names: list[str]) -> Result:
    kwargs = compiled.kwargs
    match compiled.type:
        case "expect_table_columns_to_match_ordered_list":
            return Result(names == list(kwargs["column_list"]), observed_value=names)
        case "expect_table_columns_to_match_set":
            wanted, exact = set(kwargs["column_set"]), kwargs.get("exact_match") is not False
            return Result(wanted == set(names) if exact else wanted <= set(names), observed_value=names)
        case "expect_column_to_exist":
            at = kwargs.get("column_index")
            there = kwargs["column"] in names and (at is None or names.index(kwargs["column"]) == at)
            return Result(there)
    return _number(len(names), kwargs)


def _number(observed: int, kwargs: Mapping[str, Any]) -> Result:
    if "value" in kwargs:
        return Result(observed == kwargs["value"], observed_value=observed)
    return Result(_within(observed, kwargs), observed_value=observed)


def _within(observed: Any, kwargs: Mapping[str, Any]) -> bool:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    above = low is None or (observed > low if kwargs.get("strict_min") else observed >= low)
    below = high is None or (observed < high if kwargs.get("strict_max") else observed <= high)
    return bool(above and below)
