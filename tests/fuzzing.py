"""Property tests with a budget: small every day, large under `make fuzz` (FUZZ_FACTOR times the examples)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("FUZZ_FACTOR", "1"))
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def fuzz(examples: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Mark a `@given` test as one that `make fuzz` runs longer; `examples` is its everyday number."""

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        budget = settings(max_examples=examples * FACTOR, deadline=None, suppress_health_check=CHECKS)
        marked: Callable[..., Any] = pytest.mark.fuzz(budget(test))
        return marked

    return decorate
