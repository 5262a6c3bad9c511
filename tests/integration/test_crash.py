"""Killed at any moment, at any step, again and again: nothing is lost, nothing is doubled, the same release.

MSC_KILLS is the number of kills at random times (15 when not set). From 100 on every single marked step is killed
once, and not only every kind of step, and what each kill leaves is brought to completion on its own.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import msc_pipeline
from integration.forking import Child, Forker
from integration.state import differences, faults, picture, table
from integration.story import STUDY, copied, make_trial, story
from tiny_trial import TinyTrial

KILLS = int(os.environ.get("MSC_KILLS", "15"))
FULL = KILLS >= 100
SEED = 20_250_301
ELSEWHERE = {"alert-sent", "repair-built", "repair-recorded", "repair-set-aside", "repair-placed"}
"""Marked steps that a run without addresses, and without damage, does not reach."""


@dataclass(frozen=True)
class Undisturbed:
    """A story that was run without a kill: its trial, files → status, what the home holds, seconds, marks."""

    trial: TinyTrial
    files: dict[str, str]
    picture: dict[str, Any]
    seconds: float
    marks: int


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> Undisturbed:
    trial = make_trial(tmp_path_factory.mktemp("undisturbed"))
    files = story(trial)
    ended = forker.one(Child.of(STUDY, trial.settings))
    assert {d["file"]: d["status"] for d in ended.result["deliveries"]} == files
    held = picture(STUDY, trial.settings)
    return Undisturbed(trial, files, held, ended.seconds, ended.answer["marks"])


def finish(trial: TinyTrial, forker: Forker, undisturbed: Undisturbed) -> None:
    """Run to completion, run again, and compare with the undisturbed home."""
    first, second = (forker.one(Child.of(STUDY, trial.settings)).result for _ in range(2))
    assert first["release"] == second["release"]
    assert not second["new"] and second["deliveries"] == []
    assert faults(STUDY, trial.settings, len(undisturbed.files)) == []
    assert differences(picture(STUDY, trial.settings), undisturbed.picture) == {}


def beside(trial: TinyTrial, name: str) -> TinyTrial:
    """Return a copy of a trial, home and landing as a kill left them."""
    copy = copied(trial, name)
    shutil.copytree(trial.settings.landing, copy.settings.landing)
    if trial.settings.home.exists():
        shutil.copytree(trial.settings.home, copy.settings.home)
    return copy


def test_a_story_has_every_outcome(undisturbed: Undisturbed) -> None:
    statuses = {d["status"] for d in table(undisturbed.trial.settings, "deliveries")}
    assert statuses == {"ACCEPTED", "PARTIAL", "HELD", "REJECTED"}
    assert faults(STUDY, undisturbed.trial.settings, len(undisturbed.files)) == []
    assert undisturbed.marks > 200


def test_killed_once_at_every_marked_step_a_run_ends_as_if_undisturbed(
    tmp_path: Path, forker: Forker, undisturbed: Undisturbed
) -> None:
    trial = make_trial(tmp_path)
    story(trial)
    steps = tmp_path / "steps"
    steps.touch()
    kills = 0
    while forker.one(Child.of(STUDY, trial.settings, die_once=str(steps), coarse=not FULL)).killed:
        kills += 1
        if FULL:
            copy = beside(trial, f"kill-{kills}")
            finish(copy, forker, undisturbed)
            shutil.rmtree(copy.settings.home.parent)
    finish(trial, forker, undisturbed)
    names = steps.read_text().splitlines()
    print(f"{kills} kills at marked steps; an undisturbed run passes {undisturbed.marks}")
    assert len(set(names)) == len(names) == kills > 40
    sources = "".join(p.read_text() for p in Path(msc_pipeline.__file__).parent.rglob("*.py"))
    marked = set(re.findall(r'\bmark\("([a-z-]+)"\)', sources))
    assert {name.split()[0] for name in names} == marked - ELSEWHERE


def test_killed_at_random_times_a_run_ends_as_if_undisturbed(
    tmp_path: Path, forker: Forker, undisturbed: Undisturbed
) -> None:
    chance = random.Random(SEED)
    kills = homes = 0
    while kills < KILLS:
        homes += 1
        trial = make_trial(tmp_path / str(homes))
        story(trial)
        for _ in range(1 if FULL else chance.randint(2, 5)):
            ended = forker.one(
                Child.of(STUDY, trial.settings), kill_after=chance.uniform(0, undisturbed.seconds)
            )
            kills += ended.killed
            if not ended.killed:
                break
        finish(trial, forker, undisturbed)
        shutil.rmtree(trial.settings.home)
        assert homes < 20 + 2 * KILLS, "runs end before they are killed"
    print(f"{kills} kills at random times in {homes} homes")


def test_a_held_delivery_that_a_person_lets_through_is_settled_by_the_next_run_if_that_was_killed(
    tmp_path: Path, forker: Forker, undisturbed: Undisturbed
) -> None:
    trial = beside(undisturbed.trial, "let-through")
    (held,) = [d for d in table(trial.settings, "deliveries") if d["status"] == "HELD"]
    child = Child.of(STUDY, trial.settings, call="accept", argument=str(held["id"]), die_at=1)
    assert forker.one(child).killed
    assert forker.one(Child.of(STUDY, trial.settings)).result["release"]
    (now,) = [d for d in table(trial.settings, "deliveries") if d["id"] == held["id"]]
    assert now["status"] == "ACCEPTED"
    assert faults(STUDY, trial.settings, len(undisturbed.files)) == []
