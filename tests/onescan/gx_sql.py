"""Great Expectations' own SQL engine on a DuckDB connection that is open: what onescan is compared with.

GX has no stock DuckDB support: it closes the connection before it fetches, and reflects columns by queries that DuckDB
answers differently. Three overrides cure that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import duckdb

from msc_pipeline.gx_duckdb import validator_class
from msc_pipeline.onescan.expressions import relation_name


def sql_validator(connection: duckdb.DuckDBPyConnection, relation: str) -> Any:
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
    return validator_class()(execution_engine=engine, batches=[Batch(data=data)])


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
