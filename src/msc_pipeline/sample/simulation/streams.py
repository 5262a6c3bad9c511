"""Random streams: one child per subject and purpose, so that no subject's draws depend on another's.

Belongs here: the generators. Does not: what is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

PURPOSES = (
    "arms", "course", "factors", "laboratory", "cells", "activity", "treatment", "events", "history", "measures",
    "ecg", "radiography", "conditions",
)  # fmt: skip
"""Order is part of every sample: add at the end only."""


def stream(seed: int, index: int, purpose: str) -> np.random.Generator:
    """Return the generator of one subject (or block) and purpose; equal arguments give equal draws."""
    child = np.random.SeedSequence(seed, spawn_key=(PURPOSES.index(purpose), index))
    return np.random.Generator(np.random.PCG64(child))


def pick(draw: np.random.Generator, weights: Mapping[str, float]) -> str:
    """Return a name, drawn by weight."""
    mark = draw.random() * sum(weights.values())
    for name, weight in weights.items():
        mark -= weight
        if mark < 0:
            return name
    return name


def between(draw: np.random.Generator, bounds: tuple[int, int]) -> int:
    """Return a whole number from the first bound to the second."""
    return int(draw.integers(bounds[0], bounds[1] + 1))
