"""Great Expectations' keys as DuckDB SQL: identifiers, constants, row conditions.

Belongs here: text that stands for one value or one condition. Does not: what an expectation asks (rules), and
running anything (plan).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from msc_pipeline.errors import ConfigError

OPERATORS = {
    "==": "=",
    "!=": "<>",
    "<": "<",
    "<=": "<=",
    ">": ">",
    ">=": ">=",
    "IN": "in",
    "NOT_IN": "not in",
}
"""Operators of a row condition, in Great Expectations' words and in SQL."""


def cannot_compile(what: str, why: str) -> ConfigError:
    """Return the error for an expectation that would not be judged: it is never a pass."""
    return ConfigError("RULE_NOT_COMPILED", f"{what}: {why}", hint="docs/onescan.md lists what is supported")


def quoted(name: str) -> str:
    """Return a column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def relation_name(relation: str) -> str:
    """Return `schema.table` or `table` as SQL identifiers."""
    return ".".join(quoted(part) for part in relation.split("."))


def literal(value: object) -> str:
    """Return a constant as SQL: numbers typed, text escaped. Raises: ConfigError RULE_NOT_COMPILED for another type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, float):
        return f"cast('{value!r}' as double)"
    if isinstance(value, datetime):
        return f"timestamp '{value.isoformat(sep=' ')}'"
    if isinstance(value, date):
        return f"date '{value.isoformat()}'"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise cannot_compile("constant", f"a {type(value).__name__} is not supported")


def literals(values: Iterable[object]) -> str:
    """Return constants as an SQL list, without NULLs, which equal nothing."""
    return "(" + ", ".join(literal(value) for value in values if value is not None) + ")"


def all_of(parts: Iterable[str]) -> str:
    """Return the SQL condition that all parts hold; `true` for none."""
    kept = [part for part in parts if part and part != "true"]
    return " and ".join(f"({part})" for part in kept) if kept else "true"


def row_condition(condition: Mapping[str, Any] | None) -> str:
    """Return a row condition, in Great Expectations' JSON form, as SQL; `true` for none.

    Raises: ConfigError RULE_NOT_COMPILED for any other form.
    """
    if condition is None:
        return "true"
    match condition:
        case {"type": "nullity", "column": {"name": str(name)}, "is_null": bool(is_null)}:
            return f"{quoted(name)} is {'' if is_null else 'not '}null"
        case {"type": "comparison", "column": {"name": str(name)}, "operator": str(word), "parameter": value}:
            return f"{quoted(name)} {_operator(word)} {_constant(word, value)}"
        case {"type": "and" | "or" as word, "conditions": [_, *_] as parts}:
            return f" {word} ".join(f"({row_condition(part)})" for part in parts)
    raise cannot_compile("row_condition", "not a comparison, a nullity, or some of them joined by and, or")


def _operator(word: str) -> str:
    if word not in OPERATORS:
        raise cannot_compile("row_condition", "unknown operator")
    return OPERATORS[word]


def _constant(word: str, value: object) -> str:
    listed = isinstance(value, list | tuple | set | frozenset)
    if listed != (word in ("IN", "NOT_IN")) or value is None or value in ([], ()):
        raise cannot_compile("row_condition", f"{word} with a parameter that does not fit")
    return literals(value) if isinstance(value, list | tuple | set | frozenset) else literal(value)
