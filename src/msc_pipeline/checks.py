"""The seam of validation: a relation and suites in, outcomes and failing rows out.

Belongs here: that Great Expectations' verdict and our own scan of the same rows agree, and what an outcome
is. Does not: what an outcome means for a delivery (validation), which rows to look at (sql/facts, sql/cross).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from msc_pipeline import gx_duckdb
from msc_pipeline.errors import PermanentError
from msc_pipeline.predicates import eligible, failing, literal, relation_name, row_count_fails
from msc_pipeline.suites import Rule, Suite

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)

Outcome = Literal["passed", "failed", "not_evaluated"]


@dataclass(frozen=True)
class RuleResult:
    """One rule's outcome on one relation.

    n_rows: rows judged. n_failed: rows that failed; for a table-level rule 1 when it failed. error: the rule
    could not be judged (it raised, GX dropped it, or GX and our scan disagree): the delivery must not pass.
    A rule that finds no row to judge is `not_evaluated` without error.
    """

    rule_id: str
    severity: str
    outcome: Outcome
    n_rows: int
    n_failed: int
    table_level: bool
    error: bool = False


def evaluate(
    connection: duckdb.DuckDBPyConnection, relation: str, suites: Sequence[Suite]
) -> tuple[RuleResult, ...]:
    """Judge `relation` by every rule of `suites`, in their order.

    `relation` is a table (`schema.table`): Great Expectations scans it several times. Severity changes no
    outcome. Nothing raises for a rule: see `RuleResult.error`.
    """
    rules = _rules(suites)
    if not rules:
        return ()
    counts = _counts(connection, relation, rules)
    try:
        verdicts = gx_duckdb.verdicts(connection, relation, rules)
    except Exception:
        log.error("Great Expectations could not judge %s", relation)
        verdicts = {}
    return tuple(_result(rule, counts.get(rule.id), verdicts.get(rule.id)) for rule in rules)


def must_evaluate(connection: duckdb.DuckDBPyConnection, relation: str, suites: Sequence[Suite]) -> None:
    """Judge `relation`, which is no delivery that could be refused: nothing may pass unjudged.

    Raises: PermanentError RULE_NOT_EVALUATED, naming the rules that could not be judged.
    """
    if broken := [r.rule_id for r in evaluate(connection, relation, suites) if r.error]:
        raise PermanentError("RULE_NOT_EVALUATED", f"cross rules could not be judged: {', '.join(broken)}")


def failing_rows(connection: duckdb.DuckDBPyConnection, relation: str, suites: Sequence[Suite]) -> str:
    """Return a SELECT of every row that fails a row-level rule: all columns of `relation`, RULES, WARNINGS.

    RULES: ids of failed critical rules; WARNINGS: of failed warning and info rules (VARCHAR[], in the order of
    the suites, empty when none). One scan, no cap. Meaningful where `evaluate` reported no error.
    """
    rules = [rule for rule in _rules(suites) if not rule.table_level]
    critical = _ids([rule for rule in rules if rule.severity == "critical"])
    other = _ids([rule for rule in rules if rule.severity != "critical"])
    return (
        f"select * from (select *, {critical} as RULES, {other} as WARNINGS from {relation_name(relation)}) "
        "where len(RULES) + len(WARNINGS) > 0"
    )


def _rules(suites: Sequence[Suite]) -> list[Rule]:
    return [rule for suite in suites for rule in suite.rules]


def _ids(rules: Sequence[Rule]) -> str:
    if not rules:
        return "[]::varchar[]"
    each = ", ".join(f"case when {failing(rule)} then {literal(rule.id)} end" for rule in rules)
    return f"list_filter([{each}]::varchar[], lambda id: id is not null)"


def _counts(
    connection: duckdb.DuckDBPyConnection, relation: str, rules: Sequence[Rule]
) -> dict[str, tuple[int, int]]:
    """Return rows judged and rows failed per rule id, in one scan; a rule that raises is left out."""
    found = _scan(connection, relation, rules)
    if found is not None:
        return found
    alone = (_scan(connection, relation, [rule]) for rule in rules)
    return {rule_id: pair for one in alone if one for rule_id, pair in one.items()}


def _scan(
    connection: duckdb.DuckDBPyConnection, relation: str, rules: Sequence[Rule]
) -> dict[str, tuple[int, int]] | None:
    import duckdb

    columns = ["count(*)"]
    for rule in rules:
        if not rule.table_level:
            columns += [f"count(*) filter (where {sql})" for sql in (eligible(rule), failing(rule))]
    try:
        row = connection.execute(f"select {', '.join(columns)} from {relation_name(relation)}").fetchone()
    except duckdb.Error:
        return None
    total, *pairs = [int(value) for value in row or (0,)]
    numbers = iter(pairs)
    return {
        rule.id: (total, int(row_count_fails(rule, total)))
        if rule.table_level
        else (next(numbers), next(numbers))
        for rule in rules
    }


def _result(rule: Rule, ours: tuple[int, int] | None, theirs: gx_duckdb.Verdict | None) -> RuleResult:
    if ours is None or theirs is None or not _agree(ours, theirs):
        if ours is None or theirs is None:
            log.error("rule %s could not be evaluated", rule.id)
        else:
            log.error("rule %s: Great Expectations and our scan disagree", rule.id)
        return RuleResult(rule.id, rule.severity, "not_evaluated", 0, 0, rule.table_level, error=True)
    n_rows, n_failed = ours
    outcome: Outcome = "failed" if n_failed else "passed"
    if n_rows == 0 and not rule.table_level:
        outcome = "not_evaluated"
    return RuleResult(rule.id, rule.severity, outcome, n_rows, n_failed, rule.table_level)


def _agree(ours: tuple[int, int], theirs: gx_duckdb.Verdict) -> bool:
    n_rows, n_failed = ours
    rows_agree = theirs.n_rows is None or theirs.n_rows == n_rows
    return rows_agree and theirs.n_failed == n_failed and theirs.success == (n_failed == 0)
