"""What the integration tests share: a loaded process that forks runs which may be killed, and the pilot's one run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from integration.forking import Forker
from integration.pilot_run import Pilot, run_pilot


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker]:
    """A process that has loaded everything and forks a child per call."""
    client = Forker()
    yield client
    client.close()


@pytest.fixture(scope="session")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pilot]:
    """The public pilot, taken through the pipeline once for all tests, also where xdist spreads them."""
    mine = tmp_path_factory.getbasetemp()
    with run_pilot((mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "pilot") as pilot:
        yield pilot
