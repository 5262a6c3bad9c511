"""What tests of several folders share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_trial import TinyTrial, make_trial


@pytest.fixture
def trial(tmp_path: Path) -> TinyTrial:
    """A tiny trial that nobody has sent anything to yet."""
    return make_trial(tmp_path)
