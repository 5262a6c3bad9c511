"""What the integration tests share: one loaded process that forks runs which may be killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from integration.forking import Forker


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker]:
    """A process that has loaded everything and forks a child per call."""
    client = Forker()
    yield client
    client.close()
