"""What tests of several folders share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiny_trial import TinyTrial, make_trial, trust_own_scan

pytest_plugins = ["traceability"]


@pytest.fixture
def trial(tmp_path: Path) -> TinyTrial:
    """A tiny trial that nobody has sent anything to yet."""
    return make_trial(tmp_path)


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> TinyTrial:
    """A tiny trial that has run once, on the exports of `send_story`. Only to be read: see `published`."""
    trial = make_trial(tmp_path_factory.mktemp("released"))
    trial.send_story()
    with pytest.MonkeyPatch.context() as patch:
        trust_own_scan(patch)
        trial.run()
    return trial


@pytest.fixture
def published(released: TinyTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TinyTrial]:
    """A copy of `released`, to change at will."""
    trust_own_scan(monkeypatch)
    trial = make_trial(tmp_path)
    shutil.copytree(released.settings.home, trial.settings.home)
    yield trial
