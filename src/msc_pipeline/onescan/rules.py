"""What a map metric of Great Expectations asks of a row, as SQL.

Belongs here: one line per metric: which rows it judges, and when a row is as expected. Does not: counting
(plan), and which expectation asks for which metric (expectations).

A judged row that is not surely as expected is unexpected: a comparison with an empty cell is no pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from msc_pipeline.onescan.expressions import all_of, cannot_compile, literal, literals, quoted, row_condition

Kwargs = Mapping[str, Any]

NONNULL, NULL = "column_values.nonnull", "column_values.null"
UNIQUE = ("column_values.unique", "compound_columns.unique")
"""Metrics that no row answers alone: their rows are found by grouping."""


@dataclass(frozen=True)
class RowRule:
    """One map metric over its domain, as SQL conditions on a row that are never NULL.

    domain: the row condition. missing: a row of the domain that is not judged. fails: a judged row that is
    unexpected; for a metric of UNIQUE empty, and `keys` are the columns that must not repeat.
    """

    domain: str
    missing: str
    fails: str
    keys: tuple[str, ...] = ()

    @property
    def judged(self) -> str:
        """The rows that are judged."""
        return all_of([self.domain, "true" if self.missing == "false" else f"not ({self.missing})"])


def row_rule(metric: str, kwargs: Kwargs) -> RowRule:
    """Compile one map metric. kwargs: the expectation's, in Great Expectations' keys.

    Raises: ConfigError RULE_NOT_COMPILED for an unknown metric or arguments that ask for nothing.
    """
    if metric not in METRICS:
        raise cannot_compile(metric, "not a supported metric")
    columns = _columns(metric, kwargs)
    domain = row_condition(kwargs.get("row_condition"))
    domain = "true" if domain == "true" else f"coalesce({domain}, false)"
    missing = _missing(metric, columns, kwargs)
    if metric in UNIQUE:
        return RowRule(domain, missing, "", tuple(columns))
    holds = METRICS[metric](columns, kwargs)
    judged = all_of([domain, "true" if missing == "false" else f"not ({missing})"])
    return RowRule(domain, missing, all_of([judged, f"({holds}) is not true"]))


def _columns(metric: str, kwargs: Kwargs) -> list[str]:
    names = kwargs.get("column_list") or [kwargs.get(key) for key in ("column", "column_A", "column_B")]
    found = [name for name in names if isinstance(name, str) and name]
    family = metric.partition("_")[0]
    need = {"column": 2 if metric.startswith("column_pair") else 1}.get(family, 1)
    if len(found) < need:
        raise cannot_compile(metric, "its columns are not named")
    return found


def _missing(metric: str, columns: Sequence[str], kwargs: Kwargs) -> str:
    """Return the rows of the domain that are passed over, by Great Expectations' defaults."""
    empty = [f"{quoted(name)} is null" for name in columns]
    if metric in (NONNULL, NULL):
        return "false"
    if metric.startswith("column_values"):
        return empty[0]
    pair = metric.startswith("column_pair")
    word = kwargs.get("ignore_row_if") or ("both_values_are_missing" if pair else "all_values_are_missing")
    match word:
        case "both_values_are_missing" | "all_values_are_missing":
            return " and ".join(empty)
        case "either_value_is_missing" | "any_value_is_missing":
            return " or ".join(empty)
        case "neither" | "never":
            return "false"
    raise cannot_compile(metric, "unknown ignore_row_if")


def _in_set(columns: Sequence[str], kwargs: Kwargs) -> str:
    values = kwargs.get("value_set")
    if values is None:
        raise cannot_compile("value_set", "missing: every value would pass")
    inside = literals(values)
    return "false" if inside == "()" else f"{quoted(columns[0])} in {inside}"


def _not_in_set(columns: Sequence[str], kwargs: Kwargs) -> str:
    return f"not ({_in_set(columns, kwargs)})"


def bounds(value: str, kwargs: Kwargs) -> str:
    """Return the condition that `value` lies between min_value and max_value, as far as they are given.

    Raises: ConfigError RULE_NOT_COMPILED when neither is given, or the least is above the most.
    """
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if low is None and high is None:
        raise cannot_compile("min_value, max_value", "neither is given: every value would pass")
    if low is not None and high is not None and low > high:
        raise cannot_compile("min_value, max_value", "the least is above the most")
    parts = [] if low is None else [f"{value} {'>' if kwargs.get('strict_min') else '>='} {literal(low)}"]
    parts += [] if high is None else [f"{value} {'<' if kwargs.get('strict_max') else '<='} {literal(high)}"]
    return " and ".join(parts)


def _between(columns: Sequence[str], kwargs: Kwargs) -> str:
    return bounds(quoted(columns[0]), kwargs)


def _length_between(columns: Sequence[str], kwargs: Kwargs) -> str:
    return bounds(f"length({quoted(columns[0])})", kwargs)


def _length_equals(columns: Sequence[str], kwargs: Kwargs) -> str:
    return f"length({quoted(columns[0])}) = {literal(kwargs['value'])}"


def _pattern(regex: Any) -> str:
    try:
        re.compile(regex)
    except (re.error, TypeError):
        raise cannot_compile("regex", "not a regular expression") from None
    return literal(regex)


def _matches(columns: Sequence[str], kwargs: Kwargs) -> str:
    return f"regexp_matches({quoted(columns[0])}, {_pattern(kwargs.get('regex'))})"


def _no_match(columns: Sequence[str], kwargs: Kwargs) -> str:
    return f"not {_matches(columns, kwargs)}"


def _joined(parts: Sequence[str], match_on: object) -> str:
    if not parts or match_on not in (None, "any", "all"):
        raise cannot_compile("match_on", "needs at least one pattern, and any or all")
    return (" and " if match_on == "all" else " or ").join(parts)


def _matches_list(columns: Sequence[str], kwargs: Kwargs) -> str:
    each = [f"regexp_matches({quoted(columns[0])}, {_pattern(r)})" for r in kwargs.get("regex_list") or ()]
    return _joined(each, kwargs.get("match_on"))


def _no_match_list(columns: Sequence[str], kwargs: Kwargs) -> str:
    return f"not ({_matches_list(columns, {'regex_list': kwargs.get('regex_list'), 'match_on': 'any'})})"


def _like_one(columns: Sequence[str], pattern: object) -> str:
    return f"{quoted(columns[0])} like {literal(pattern)}"


def _like(columns: Sequence[str], kwargs: Kwargs) -> str:
    return _like_one(columns, kwargs.get("like_pattern"))


def _not_like(columns: Sequence[str], kwargs: Kwargs) -> str:
    return f"not ({_like(columns, kwargs)})"


def _like_list(columns: Sequence[str], kwargs: Kwargs) -> str:
    each = [_like_one(columns, pattern) for pattern in kwargs.get("like_pattern_list") or ()]
    return _joined(each, kwargs.get("match_on"))


def _not_like_list(columns: Sequence[str], kwargs: Kwargs) -> str:
    patterns = {"like_pattern_list": kwargs.get("like_pattern_list"), "match_on": "any"}
    return f"not ({_like_list(columns, patterns)})"


def _a_above_b(columns: Sequence[str], kwargs: Kwargs) -> str:
    return f"{quoted(columns[0])} {'>=' if kwargs.get('or_equal') else '>'} {quoted(columns[1])}"


def _pair_in_set(columns: Sequence[str], kwargs: Kwargs) -> str:
    pairs = kwargs.get("value_pairs_set")
    if not pairs:
        raise cannot_compile("value_pairs_set", "missing: every value would pass")
    a, b = map(quoted, columns)
    return " or ".join(
        f"({a} is not distinct from {_cell(x)} and {b} is not distinct from {_cell(y)})" for x, y in pairs
    )


def _cell(value: object) -> str:
    return "null" if value is None else literal(value)


def _differ_within(columns: Sequence[str], _kwargs: Kwargs) -> str:
    return " and ".join(f"{quoted(a)} is distinct from {quoted(b)}" for a, b in combinations(columns, 2))


def _all_equal(columns: Sequence[str], _kwargs: Kwargs) -> str:
    first, *rest = map(quoted, columns)
    return " and ".join(f"{first} is not distinct from {other}" for other in rest) or "true"


def _sum_equals(columns: Sequence[str], kwargs: Kwargs) -> str:
    return f"{' + '.join(map(quoted, columns))} = {literal(kwargs['sum_total'])}"


def _grouped(_columns: Sequence[str], _kwargs: Kwargs) -> str:
    raise AssertionError("found by grouping")


METRICS: dict[str, Callable[[Sequence[str], Kwargs], str]] = {
    NONNULL: lambda columns, _: f"{quoted(columns[0])} is not null",
    NULL: lambda columns, _: f"{quoted(columns[0])} is null",
    "column_values.in_set": _in_set,
    "column_values.not_in_set": _not_in_set,
    "column_values.between": _between,
    "column_values.value_length.between": _length_between,
    "column_values.value_length.equals": _length_equals,
    "column_values.match_regex": _matches,
    "column_values.not_match_regex": _no_match,
    "column_values.match_regex_list": _matches_list,
    "column_values.not_match_regex_list": _no_match_list,
    "column_values.match_like_pattern": _like,
    "column_values.not_match_like_pattern": _not_like,
    "column_values.match_like_pattern_list": _like_list,
    "column_values.not_match_like_pattern_list": _not_like_list,
    "column_values.unique": _grouped,
    "column_pair_values.equal": lambda columns, _: f"{quoted(columns[0])} = {quoted(columns[1])}",
    "column_pair_values.a_greater_than_b": _a_above_b,
    "column_pair_values.in_set": _pair_in_set,
    "compound_columns.unique": _grouped,
    "select_column_values.unique.within_record": _differ_within,
    "multicolumn_values.equal": _all_equal,
    "multicolumn_sum.equal": _sum_equals,
}
"""Map metric → the SQL condition of a row that is as expected."""
