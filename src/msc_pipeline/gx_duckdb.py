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
    _classes()


def verdicts(
    connection: duckdb.DuckDBPyConnection, relation: str, rules: Sequence[Rule]
) -> dict[str, Verdict]:
    """Let GX judge `relation` (a table of `connection`) by `rules`; return verdicts by rule id.

    A rule that GX dropped, or that raised, is not in the answer.
    """
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

    borrowed, engine_class, validator_class = _classes()
    engine = engine_class(
        engine=sa.create_engine(
            "duckdb://",
            creator=lambda: borrowed(connection),
            poolclass=sa.pool.StaticPool,
            pool_reset_on_return=None,
            hide_parameters=True,
        )
    )
    described = connection.execute(f"describe {relation_name(relation)}").fetchall()
    engine.column_types = [{"name": row[0], "type": row[1]} for row in described]
    schema, _, table = relation.rpartition(".")
    data = SqlAlchemyBatchData(execution_engine=engine, schema_name=schema or None, table_name=table)
    return validator_class(execution_engine=engine, batches=[Batch(data=data)])


@lru_cache(maxsize=1)
def _classes() -> tuple[type[Any], type[Any], type[Any]]:
    """Make the three subclasses at first use: their bases cost seconds to import."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with _silence():
        from duckdb_driver import ConnectionWrapper
        from great_expectations.execution_engine.sqlalchemy_execution_engine import SqlAlchemyExecutionEngine
        from great_expectations.validator.validator import Validator
        from sqlalchemy.dialects import postgresql

    class Borrowed(ConnectionWrapper):  # type: ignore[misc]
        """Our connection: GX neither begins, ends nor closes anything of ours."""

        def begin(self) -> None: ...
        def commit(self) -> None: ...
        def rollback(self) -> None: ...
        def close(self) -> None: ...

    class DuckDBEngine(SqlAlchemyExecutionEngine):  # type: ignore[misc]
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
            """Answer column types ourselves, and requests for failing values with none."""
            known, rest = {}, []
            for metric in metrics_to_resolve:
                if metric.metric_name == "table.column_types":
                    known[metric.id] = self.column_types
                elif metric.metric_name == "table.columns":
                    known[metric.id] = [column["name"] for column in self.column_types]
                elif metric.metric_name.endswith(".unexpected_values"):
                    known[metric.id] = []
                else:
                    rest.append(metric)
            found = super().resolve_metrics(rest, metrics, runtime_configuration) if rest else {}
            return {**found, **known}

    class QuietValidator(Validator):  # type: ignore[misc]
        """GX's validator without progress bars."""

        def _determine_progress_bars(self) -> bool:
            return False

    return Borrowed, DuckDBEngine, QuietValidator


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
    _classes()
    from great_expectations.expectations.expectation import Expectation

    original = Expectation.configuration
    built: dict[int, tuple[Any, Any]] = {}

    def configuration(self: Any) -> Any:
        hit = built.get(id(self))
        if hit is None or hit[0] is not self:
            hit = built[id(self)] = (self, original.fget(self))  # keeps `self` alive: ids stay unique
        return hit[1]

    Expectation.configuration = property(configuration)
    try:
        yield
    finally:
        Expectation.configuration = original
