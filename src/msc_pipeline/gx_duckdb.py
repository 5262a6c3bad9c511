"""Great Expectations' SQL engine on a DuckDB connection that is already open.

Belongs here: everything that knows Great Expectations (1.24) and its internals. Does not: our own scan of the
same rows (checks), suites as files (suites).

GX gets no stock DuckDB support: it closes the connection before it fetches, and reflects columns by queries
that DuckDB answers differently. Three overrides cure that, and none lets a value out: counts only, no
examples, no logs. Never run two calls in threads: GX shares state between them; processes are fine.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msc_pipeline.predicates import relation_name
from msc_pipeline.suites import Rule

if TYPE_CHECKING:
    import duckdb

RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}
"""Counts, and no example of a failing value."""


@dataclass(frozen=True)
class Verdict:
    """What GX says of one rule: passed, rows judged (None where GX does not tell), rows that failed."""

    success: bool
    n_rows: int | None
    n_failed: int


def preload() -> None:
    """Import Great Expectations now: seconds, once per process, so do it before a scheduler forks."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with _silence():
        _connection_class(), _validator_class(), _engine_class()


def verdicts(
    connection: duckdb.DuckDBPyConnection, relation: str, rules: Sequence[Rule]
) -> dict[str, Verdict]:
    """Let GX judge `relation` (a table of `connection`) by `rules`; return verdicts by rule id.

    A rule that GX dropped, or that raised, is not in the answer.
    """
    preload()
    import great_expectations as gx

    with _silence(), _memo():
        gx.get_context(mode="ephemeral")  # GX reads its settings from the last context made
        suite = gx.ExpectationSuite(name="suite", expectations=[rule.gx() for rule in rules])
        results = _validator(connection, relation).graph_validate(
            configurations=suite.expectation_configurations,
            runtime_configuration={"result_format": RESULT_FORMAT, "catch_exceptions": True},
        )
    found = {result.expectation_config.meta["id"]: _verdict(result) for result in results}
    return {rule_id: verdict for rule_id, verdict in found.items() if verdict is not None}


def _verdict(result: Any) -> Verdict | None:
    counts = result.result or {}
    if "observed_value" in counts:
        rows = int(counts["observed_value"])
        return Verdict(bool(result.success), rows, 0 if result.success else 1)
    elements, failed = counts.get("element_count"), counts.get("unexpected_count")
    if elements is None or (failed is None and elements):
        return None
    judged = int(elements) - int(counts.get("missing_count") or 0)
    return Verdict(bool(result.success) or not judged, judged, int(failed or 0))


def _validator(connection: duckdb.DuckDBPyConnection, relation: str) -> Any:
    import sqlalchemy as sa
    from great_expectations.core.batch import Batch
    from great_expectations.execution_engine.sqlalchemy_batch_data import SqlAlchemyBatchData

    engine = _engine_class()(
        engine=sa.create_engine(
            "duckdb://",
            creator=lambda: _connection_class()(connection),
            poolclass=sa.pool.StaticPool,
            pool_reset_on_return=None,
            hide_parameters=True,
        )
    )
    described = connection.execute(f"describe {relation_name(relation)}").fetchall()
    engine.column_types = [{"name": row[0], "type": row[1]} for row in described]
    schema, _, table = relation.rpartition(".")
    data: Any = SqlAlchemyBatchData(execution_engine=engine, schema_name=schema or None, table_name=table)
    return _validator_class()(execution_engine=engine, batches=[Batch(data=data)])


@lru_cache(maxsize=1)
def _connection_class() -> Any:
    from duckdb_driver import ConnectionWrapper
    from sqlalchemy import TryCast
    from sqlalchemy.ext.compiler import deregister

    # The driver hangs a TRY_CAST, which no rule here uses, on SQLAlchemy's class. With GX loaded that class outlives
    # the interpreter's last clean-up, DuckDB with it, and DuckDB then lists its "leaked" objects on stderr.
    deregister(TryCast)

    class Borrowed(ConnectionWrapper):
        """Our connection: GX neither begins, ends nor closes anything of ours."""

        def begin(self) -> None: ...
        def commit(self) -> None: ...
        def rollback(self) -> None: ...
        def close(self) -> None: ...

    return Borrowed


@lru_cache(maxsize=1)
def _validator_class() -> Any:
    from great_expectations.validator.validator import Validator

    class QuietValidator(Validator):
        """GX's validator without progress bars."""

        def _determine_progress_bars(self) -> bool:
            return False

    return QuietValidator


@lru_cache(maxsize=1)
def _engine_class() -> Any:
    from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
    from sqlalchemy.dialects import postgresql

    class DuckDBEngine(SqlAlchemyExecutionEngine):
        """GX's SQL engine, with the regular expressions and types of PostgreSQL's dialect."""

        column_types: list[dict[str, Any]]

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.dialect_module = postgresql

        @contextmanager
        def get_connection(self) -> Iterator[Any]:
            """Keep one connection: closing it would wipe the result that GX is about to fetch."""
            if self._connection is None:
                self._connection = self.engine.connect()
            yield self._connection

        def resolve_metrics(
            self, metrics_to_resolve: Any, metrics: Any = None, runtime_configuration: Any = None
        ) -> Any:
            """Answer what a table's columns are, and that no value may be shown; leave the rest to GX."""
            known = {m.id: answer for m in metrics_to_resolve if (answer := self._known(m)) is not None}
            rest = [m for m in metrics_to_resolve if m.id not in known]
            return {
                **(super().resolve_metrics(rest, metrics, runtime_configuration) if rest else {}),
                **known,
            }

        def _known(self, metric: Any) -> list[Any] | None:
            if metric.metric_name == "table.column_types":
                return self.column_types
            if metric.metric_name == "table.columns":
                return [column["name"] for column in self.column_types]
            return [] if metric.metric_name.endswith(".unexpected_values") else None

    return DuckDBEngine


@contextmanager
def _silence() -> Iterator[None]:
    """Keep GX's log lines in: its tracebacks quote cell values."""
    logger = logging.getLogger("great_expectations")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def _memo() -> Iterator[None]:
    """Let GX build each expectation's configuration once a call: it rebuilds it about 100 times."""
    from great_expectations.expectations.expectation import Expectation

    target: Any = Expectation
    original = target.configuration
    built: dict[int, tuple[Any, Any]] = {}

    def configuration(self: Any) -> Any:
        hit = built.get(id(self))
        if hit is None or hit[0] is not self:
            hit = built[id(self)] = (self, original.fget(self))  # keeps `self` alive: ids stay unique
        return hit[1]

    target.configuration = property(configuration)
    try:
        yield
    finally:
        target.configuration = original
