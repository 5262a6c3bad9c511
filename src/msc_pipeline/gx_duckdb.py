"""Great Expectations on a table of an open DuckDB connection: its verdict on every rule.

Belongs here: asking Great Expectations (1.24) quietly and quickly. Does not: how its metrics are answered
(onescan), our own scan of the same rows (checks), suites as files (suites).

No value gets out: counts only, no examples, no logs. Never run two calls in threads: Great Expectations
shares state between them; processes are fine.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

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
        validator_class()
        import msc_pipeline.onescan.gx_engine  # noqa: F401


def verdicts(
    connection: duckdb.DuckDBPyConnection, relation: str, rules: Sequence[Rule]
) -> dict[str, Verdict]:
    """Let GX judge `relation` (a table of `connection`) by `rules`; return verdicts by rule id.

    A rule that GX dropped, or that raised, is not in the answer.
    """
    preload()
    import great_expectations as gx
    from great_expectations.core.batch import Batch

    from msc_pipeline.onescan.gx_engine import OneScanEngine, RelationData

    engine = OneScanEngine()
    data: Any = RelationData(engine, connection, relation)
    try:
        with _silence(), _memo():
            gx.get_context(mode="ephemeral")  # GX reads its settings from the last context made
            suite = gx.ExpectationSuite(name="suite", expectations=[rule.gx() for rule in rules])
            results = validator_class()(execution_engine=engine, batches=[Batch(data=data)]).graph_validate(
                configurations=suite.expectation_configurations,
                runtime_configuration={"result_format": RESULT_FORMAT, "catch_exceptions": True},
            )
    finally:
        engine.close()
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


@lru_cache(maxsize=1)
def validator_class() -> Any:
    """Return Great Expectations' validator without progress bars."""
    from great_expectations.validator.validator import Validator

    class QuietValidator(Validator):
        """GX's validator without progress bars."""

        def _determine_progress_bars(self) -> bool:
            return False

    return QuietValidator


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
