"""Logs on a terminal: warnings unless more is asked for, and libraries that quote values stay silent."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from msc_pipeline.log import to_terminal

NAMES = ("msc_pipeline", "great_expectations", "apprise")


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in NAMES}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize(("verbose", "level"), [(False, logging.WARNING), (True, logging.INFO)])
def test_steps_are_logged_only_when_asked_for(verbose: bool, level: int) -> None:
    to_terminal(verbose)
    assert logging.getLogger("msc_pipeline.landing").getEffectiveLevel() == level
    assert not logging.getLogger("great_expectations").isEnabledFor(logging.WARNING)
    assert not logging.getLogger("apprise").isEnabledFor(logging.WARNING)
