"""Many questions about one relation, answered by one scan of its rows.

Belongs here: questions, the statements that answer them, the failing rows with a bit for every rule. Does not:
what an expectation asks (rules, expectations), what an answer means.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from msc_pipeline.onescan.expressions import all_of, quoted, relation_name
from msc_pipeline.onescan.rules import RowRule

if TYPE_CHECKING:
    import duckdb

BITS = 60
"""Rules whose bits share one column `failed_<n>` of the failing rows."""

_NUMBERS = count()


@dataclass(frozen=True)
class Rows:
    """How many rows satisfy a condition."""

    where: str


@dataclass(frozen=True)
class Value:
    """What an aggregate, which holds its own filter, comes to."""

    expression: str


Question = Rows | Value | RowRule
"""A RowRule asks how many rows are unexpected, and keeps them."""


@dataclass
class Scan:
    """The answers about one relation. `columns` are (name, type) of its columns.

    failing: the temporary table with every unexpected row, all columns of the relation and the columns of bits;
    empty text where no question was about rows. `failed(rule)` is the condition of the rows that fail a rule.
    """

    relation: str
    columns: tuple[tuple[str, str], ...]
    failing: str = ""
    bits: dict[RowRule, tuple[int, int]] = field(default_factory=dict)
    answers: dict[Question, Any] = field(default_factory=dict)

    tables: list[str] = field(default_factory=list)

    def drop(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Drop the temporary tables of the scan: their rows are in memory until then."""
        for table in self.tables:
            connection.execute(f"drop table if exists {table}")
        self.tables.clear()

    def failed(self, rule: RowRule) -> str:
        """Return the condition, on `failing`, of the rows that fail `rule`."""
        column, bit = self.bits[rule]
        return f"(failed_{column} & {bit}::ubigint) <> 0"

    def __getitem__(self, question: Question) -> Any:
        return self.answers[question]


def scan(connection: duckdb.DuckDBPyConnection, relation: str, questions: Iterable[Question]) -> Scan:
    """Answer all questions about `relation` (`table` or `schema.table`).

    The rows are scanned once for what fails, once for what is only counted, and once for each key that must not
    repeat. Raises: duckdb.Error where a condition does not fit the columns: nothing is answered then.
    """
    source = relation_name(relation)
    described = connection.execute(f"describe {source}").fetchall()
    found = Scan(relation, tuple((row[0], row[1]) for row in described))
    asked = list(dict.fromkeys(questions))
    _count(connection, source, found, [q for q in asked if not isinstance(q, RowRule)])
    rules = [q for q in asked if isinstance(q, RowRule)]
    if rules:
        _keep(connection, source, found, rules)
    return found


def _count(connection: duckdb.DuckDBPyConnection, source: str, found: Scan, asked: list[Any]) -> None:
    if not asked:
        return
    texts = [q.expression if isinstance(q, Value) else _rows(q.where) for q in asked]
    row = connection.execute(f"select {', '.join(texts)} from {source}").fetchone() or ()
    found.answers.update(zip(asked, row, strict=True))


def _rows(where: str) -> str:
    return "count(*)" if where == "true" else f"count(*) filter (where {where})"


def _keep(connection: duckdb.DuckDBPyConnection, source: str, found: Scan, rules: list[RowRule]) -> None:
    """Write the failing rows with their bits, and count them by rule."""
    number = next(_NUMBERS)
    found.failing = f"failing_{number}"
    found.tables = [found.failing]
    found.bits = {rule: (i // BITS, 1 << i % BITS) for i, rule in enumerate(rules)}
    conditions = {
        rule: rule.fails or _repeats(connection, source, found, i, rule) for i, rule in enumerate(rules)
    }
    last = found.bits[rules[-1]][0]
    masks = [_mask(found, conditions, n) for n in range(last + 1)]
    columns = ", ".join(f"{mask} as failed_{n}" for n, mask in enumerate(masks))
    kept = " or ".join(f"failed_{n} <> 0" for n in range(last + 1))
    connection.execute(
        f"create temp table {found.failing} as select * from (select *, {columns} from {source}) where {kept}"
    )
    for rule in rules:
        if rule.keys and conditions[rule] != "false":
            _only_repeated(connection, found, rule)
    counts = ", ".join(f"count(*) filter (where {found.failed(rule)})" for rule in rules)
    row = connection.execute(f"select {counts} from {found.failing}").fetchone() or ()
    found.answers.update(zip(rules, row, strict=True))


def _mask(found: Scan, conditions: dict[RowRule, str], number: int) -> str:
    parts = [
        f"case when {condition} then {found.bits[rule][1]}::ubigint else 0::ubigint end"
        for rule, condition in conditions.items()
        if found.bits[rule][0] == number
    ]
    return " | ".join(f"({part})" for part in parts)


def _repeats(
    connection: duckdb.DuckDBPyConnection, source: str, found: Scan, index: int, rule: RowRule
) -> str:
    """Return the condition of the rows whose key may occur again: those whose hash does."""
    table, key = f"{found.failing}_repeated_{index}", f"hash({_keys(rule)})"
    found.tables.append(table)
    connection.execute(
        f"create temp table {table} as select {key} as h from {source} where {rule.judged}"
        " group by h having count(*) > 1"
    )
    if connection.execute(f"select 1 from {table} limit 1").fetchone() is None:
        return "false"
    return all_of([rule.judged, f"{key} in (select h from {table})"])


def _keys(rule: RowRule) -> str:
    return ", ".join(map(quoted, rule.keys))


def _only_repeated(connection: duckdb.DuckDBPyConnection, found: Scan, rule: RowRule) -> None:
    """Take the bit of a key from rows whose hash repeats by chance, and the rows that fail nothing else."""
    column, bit = found.bits[rule]
    name, table = f"failed_{column}", found.failing
    alone = f"count(*) over (partition by {_keys(rule)}, {found.failed(rule)}) = 1"
    others = " or ".join(f"failed_{n} <> 0" for n in range(max(n for n, _ in found.bits.values()) + 1))
    connection.execute(
        f"create temp table {table}_exact as select * from (select * replace ("
        f"case when {found.failed(rule)} and {alone} then xor({name}, {bit}::ubigint) else {name} end as {name})"
        f" from {table}) where {others}"
    )
    connection.execute(f"drop table {table}; alter table {table}_exact rename to {table}")
