"""Great Expectations' face of the scan: an ExecutionEngine that answers every metric of a suite at once.

Belongs here: everything that knows Great Expectations (1.24): how its metrics become questions, and answers its
metrics. Does not: SQL (rules), counting (plan).

Great Expectations asks an engine in waves, as a metric may depend on others. Here none does: every metric is
registered for this engine without dependencies, so all arrive in the first wave and one scan answers them. What
cannot be compiled is an exception of that expectation, never a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

import duckdb
from great_expectations.core.batch import BatchData, BatchMarkers
from great_expectations.exceptions.exceptions import MetricResolutionError
from great_expectations.execution_engine.execution_engine import ExecutionEngine
from great_expectations.expectations import registry
from great_expectations.expectations.metrics.metric_provider import MetricProvider

from msc_pipeline.errors import ConfigError
from msc_pipeline.onescan.expectations import AGGREGATE_SQL, aggregate, row_count
from msc_pipeline.onescan.plan import Question, Rows, Scan, scan
from msc_pipeline.onescan.rules import METRICS, RowRule, row_rule

TABLE = ("table.row_count", "table.columns", "table.column_types", "table.column_count")


class RelationData(BatchData):
    """A table of an open connection, as the data of a batch."""

    def __init__(
        self, engine: ExecutionEngine[Any], connection: duckdb.DuckDBPyConnection, relation: str
    ) -> None:
        super().__init__(engine)
        self.connection, self.relation = connection, relation


@dataclass(frozen=True)
class Asked:
    """One metric: what it asks of the scan, and its value from the answers."""

    questions: tuple[Question, ...]
    value: Callable[[Scan], Any]


class OneScanEngine(ExecutionEngine[Any]):
    """Answers the metrics of a suite by one scan of a DuckDB relation.

    No cell leaves it: examples of failing values are always empty. The failing rows, all of them, are the table
    `failing` of the last of `scans`, on the connection, until `close` drops it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scans: list[tuple[Any, Scan]] = []
        register()

    def close(self) -> None:
        """Drop the failing rows."""
        while self.scans:
            connection, found = self.scans.pop()
            found.drop(connection)

    def get_batch_data_and_markers(self, batch_spec: Any) -> tuple[BatchData, BatchMarkers]:
        """Great Expectations' way to read a source; here a relation is handed over as it is."""
        raise NotImplementedError("hand over a RelationData")

    def resolve_metrics(
        self,
        metrics_to_resolve: Iterable[Any],
        metrics: dict[Any, Any] | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> dict[Any, Any]:
        """Answer one wave of metrics.

        Raises: MetricResolutionError for the metrics that cannot be compiled, after which Great Expectations asks
        for the others again, and for all when the scan itself fails. Its message quotes no cell.
        """
        asked: dict[Any, Asked] = {}
        refused: list[Any] = []
        message = ""
        for metric in metrics_to_resolve:
            try:
                asked[metric] = ask(
                    metric.metric_name, {**metric.metric_value_kwargs, **metric.metric_domain_kwargs}
                )
            except (ConfigError, KeyError, TypeError) as error:
                refused.append(metric)
                message = str(error) if isinstance(error, ConfigError) else type(error).__name__
        if refused:
            raise MetricResolutionError(message=message, failed_metrics=tuple(refused)) from None
        data: Any = self.batch_manager.active_batch_data
        try:
            found = scan(data.connection, data.relation, [q for one in asked.values() for q in one.questions])
        except duckdb.Error as error:
            text = f"does not fit the columns: {type(error).__name__}"
            failed = tuple(m for m, one in asked.items() if not _runs(data, one)) or tuple(asked)
            raise MetricResolutionError(message=text, failed_metrics=failed) from None
        self.scans.append((data.connection, found))
        return {metric.id: one.value(found) for metric, one in asked.items()}

    def _no_clause(self, condition: Any) -> Any:
        raise NotImplementedError("conditions are compiled from their JSON form")

    _comparison_condition_to_filter_clause = _no_clause
    _nullity_condition_to_filter_clause = _no_clause
    _and_condition_to_filter_clause = _no_clause
    _or_condition_to_filter_clause = _no_clause


def _runs(data: RelationData, asked: Asked) -> bool:
    """Say whether the scan of one metric alone succeeds, so that the others still get their answers."""
    try:
        scan(data.connection, data.relation, asked.questions).drop(data.connection)
    except duckdb.Error:
        return False
    return True


def ask(name: str, kwargs: Mapping[str, Any]) -> Asked:
    """Return what a metric asks. Raises: ConfigError RULE_NOT_COMPILED."""
    kwargs = {key: _as_written(value) for key, value in kwargs.items()}
    if name in TABLE:
        return _table(name, kwargs)
    if name in AGGREGATE_SQL:
        value = aggregate(name, kwargs)
        return Asked((value,), lambda found: found[value])
    for ending, answer in _ENDINGS.items():
        if name.endswith(ending):
            rule = row_rule(name.removesuffix(ending), kwargs)
            return answer(rule, kwargs)
    rule = row_rule(name, kwargs)  # raises for a metric that is not supported
    return Asked((rule,), lambda found: found[rule])


def _as_written(value: Any) -> Any:
    """Return an argument as the suite's file has it: Great Expectations makes objects of conditions and of dates."""
    if isinstance(value, date):
        return value.isoformat()
    return value.dict() if hasattr(value, "dict") else value


def _table(name: str, kwargs: Mapping[str, Any]) -> Asked:
    if name == "table.row_count":
        rows = row_count(kwargs)
        return Asked((rows,), lambda found: found[rows])
    return Asked(
        (),
        {
            "table.columns": lambda found: [column for column, _ in found.columns],
            "table.column_count": lambda found: len(found.columns),
            "table.column_types": lambda found: [{"name": c, "type": t} for c, t in found.columns],
        }[name],
    )


def _count(rule: RowRule, _kwargs: Mapping[str, Any]) -> Asked:
    return Asked((rule,), lambda found: found[rule])


def _filtered(rule: RowRule, _kwargs: Mapping[str, Any]) -> Asked:
    rows = Rows(rule.judged)
    return Asked((rows,), lambda found: found[rows])


def _nothing(_rule: RowRule, _kwargs: Mapping[str, Any]) -> Asked:
    return Asked((), lambda _found: [])


def _query(rule: RowRule, _kwargs: Mapping[str, Any]) -> Asked:
    return Asked((rule,), lambda found: f"select * from {found.failing} where {found.failed(rule)}")


_ENDINGS: dict[str, Callable[[RowRule, Mapping[str, Any]], Asked]] = {
    ".unexpected_count": _count,
    ".filtered_row_count": _filtered,
    ".unexpected_index_query": _query,
    ".unexpected_values": _nothing,
    ".unexpected_rows": _nothing,
    ".unexpected_index_list": _nothing,
}


@lru_cache(maxsize=1)
def register() -> None:
    """Register every supported metric for this engine, with Great Expectations' own keys and no dependency."""
    names = [*TABLE, *AGGREGATE_SQL, *(f"{metric}{ending}" for metric in METRICS for ending in _ENDINGS)]
    for name in names:
        known = registry._registered_metrics.get(name)
        if known is None:
            continue
        keys = tuple(known["metric_domain_keys"]), tuple(known["metric_value_keys"])
        defaults = dict(known["default_kwarg_values"])
        provider = type(
            "Answered",
            (MetricProvider,),
            {
                "domain_keys": keys[0],
                "value_keys": keys[1],
                "default_kwarg_values": defaults,
                "get_evaluation_dependencies": classmethod(lambda *_args, **_kwargs: {}),
            },
        )
        registry.register_metric(name, *keys, OneScanEngine, provider, None)
