"""Rules as DuckDB SQL: which rows a rule looks at, and which of them fail it.

Belongs here: the translation of each supported expectation, so that every failing row can be named. Does not:
running it (checks), and what Great Expectations makes of the same rule (gx_duckdb); the two must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msc_pipeline.suites import And, Comparison, Condition, Kwargs, Nullity, Rule

_OPERATORS = {"==": "=", "!=": "<>", "IN": "in", "NOT_IN": "not in"}


def quoted(name: str) -> str:
    """Return a column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Return a constant as SQL: numbers typed, text escaped."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"cast('{value!r}' as double)"
    return "'" + str(value).replace("'", "''") + "'"


def relation_name(relation: str) -> str:
    """Return `schema.table` or `table` as SQL identifiers."""
    return ".".join(quoted(part) for part in relation.split("."))


def eligible(rule: Rule) -> str:
    """Return the SQL condition of the rows that `rule` judges; never NULL.

    An empty cell is judged only by the rules on emptiness, as in Great Expectations.
    """
    kwargs = rule.kwargs
    parts = [_condition(kwargs.row_condition)] if kwargs.row_condition else []
    if kwargs.column_A and kwargs.column_B:
        parts += [f"{quoted(kwargs.column_A)} is not null", f"{quoted(kwargs.column_B)} is not null"]
    elif kwargs.column and rule.type not in _ON_EMPTINESS:
        parts.append(f"{quoted(kwargs.column)} is not null")
    return f"coalesce({' and '.join(f'({p})' for p in parts)}, false)" if parts else "true"


def failing(rule: Rule) -> str:
    """Return the SQL condition of the rows that fail `rule`; never NULL."""
    return f"({eligible(rule)} and coalesce({_FAILS[rule.type](rule.kwargs)}, false))"


def row_count_fails(rule: Rule, rows: int) -> bool:
    """Say whether a delivery of `rows` rows fails the table-level `rule`."""
    low, high = rule.kwargs.min_value, rule.kwargs.max_value
    too_few = low is not None and (rows <= int(low) if rule.kwargs.strict_min else rows < int(low))
    too_many = high is not None and (rows >= int(high) if rule.kwargs.strict_max else rows > int(high))
    return too_few or too_many


def _condition(condition: Condition) -> str:
    if isinstance(condition, Nullity):
        return f"{quoted(condition.column.name)} is {'' if condition.is_null else 'not '}null"
    if isinstance(condition, Comparison):
        operator = _OPERATORS.get(condition.operator, condition.operator)
        value = condition.parameter
        constant = _list(value) if isinstance(value, tuple) else literal(value)
        return f"{quoted(condition.column.name)} {operator} {constant}"
    word = " and " if isinstance(condition, And) else " or "
    return word.join(f"({_condition(part)})" for part in condition.conditions)


def _list(values: tuple[Any, ...]) -> str:
    return "(" + ", ".join(literal(value) for value in values) + ")"


def _column(kwargs: Kwargs) -> str:
    return quoted(kwargs.column or "")


def _outside(value: str, kwargs: Kwargs) -> str:
    parts = []
    if kwargs.min_value is not None:
        parts.append(f"{value} {'<=' if kwargs.strict_min else '<'} {literal(kwargs.min_value)}")
    if kwargs.max_value is not None:
        parts.append(f"{value} {'>=' if kwargs.strict_max else '>'} {literal(kwargs.max_value)}")
    return " or ".join(parts)


def _pair(operator: str) -> Callable[[Kwargs], str]:
    return lambda kwargs: f"not ({quoted(kwargs.column_A or '')} {operator} {quoted(kwargs.column_B or '')})"


def _a_above_b(kwargs: Kwargs) -> str:
    return _pair(">=" if kwargs.or_equal else ">")(kwargs)


_ON_EMPTINESS = ("expect_column_values_to_not_be_null", "expect_column_values_to_be_null")
_FAILS: dict[str, Callable[[Kwargs], str]] = {
    "expect_column_values_to_not_be_null": lambda k: f"{_column(k)} is null",
    "expect_column_values_to_be_null": lambda k: f"{_column(k)} is not null",
    "expect_column_values_to_be_in_set": lambda k: f"{_column(k)} not in {_list(k.value_set or ())}",
    "expect_column_values_to_not_be_in_set": lambda k: f"{_column(k)} in {_list(k.value_set or ())}",
    "expect_column_values_to_be_between": lambda k: _outside(_column(k), k),
    "expect_column_values_to_match_regex": lambda k: f"not regexp_matches({_column(k)}, {literal(k.regex)})",
    "expect_column_values_to_not_match_regex": lambda k: f"regexp_matches({_column(k)}, {literal(k.regex)})",
    "expect_column_value_lengths_to_be_between": lambda k: _outside(f"length({_column(k)})", k),
    "expect_column_pair_values_a_to_be_greater_than_b": _a_above_b,
    "expect_column_pair_values_to_be_equal": _pair("="),
}
