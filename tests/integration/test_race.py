"""Several processes at once on one home: as if one had done it all, and readers never see half a release."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from integration.forking import Child, Forker
from integration.state import differences, faults, picture, table
from integration.story import STUDY, copied, make_trial, story
from msc_pipeline.desk import open_desk
from tiny_trial import TinyTrial, ae, dm, ex, lb

SEED = 20_250_302
KILLS = int(os.environ.get("MSC_KILLS", "4"))
FULL = KILLS >= 100
"""MSC_KILLS as in test_crash: how many kills at random times; from 100 on every single marked step is killed."""
NUMBERS = """select (select count(*) from curated.adlb) as results, (select sum(AVAL) from curated.adlb) as total,
    (select count(*) from curated.restatements) as restated, (select count(*) from ops.deliveries) as deliveries,
    (select sum(ROWS_IN) from curated.data_quality) as rows_in, (select sum(N) from dsmb.lab_summary) as pooled"""


def outcome(trial: TinyTrial) -> dict[str, Any]:
    """Return a picture without what depends on the moment at which a step ran: closed findings, releases between."""
    found = picture(STUDY, trial.settings)
    found["queries"] = {q: n for q, n in found["queries"].items() if q[-1]}
    return {name: value for name, value in found.items() if name != "events"}


@dataclass(frozen=True)
class Alone:
    """The short story run by one process: how many files, the outcome, seconds."""

    files: int
    outcome: dict[str, Any]
    seconds: float


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, forker: Forker) -> Alone:
    trial = make_trial(tmp_path_factory.mktemp("alone"))
    files = len(story(trial))
    ended = forker.one(Child.of(STUDY, trial.settings))
    assert ended.result["new"]
    return Alone(files, outcome(trial), ended.seconds)


@pytest.mark.parametrize("processes", [2, 3])
def test_runs_at_the_same_time_end_as_one_run_would(
    tmp_path: Path, forker: Forker, alone: Alone, processes: int
) -> None:
    trial = make_trial(tmp_path)
    story(trial)
    for ended in forker.fork([Child.of(STUDY, trial.settings)] * processes):
        assert ended.result["release"]
    assert faults(STUDY, trial.settings, alone.files) == []
    assert differences(outcome(trial), alone.outcome) == {}
    assert not forker.one(Child.of(STUDY, trial.settings)).result["new"]


def test_two_landing_folders_feed_one_home_at_the_same_time(
    tmp_path: Path, forker: Forker, alone: Alone
) -> None:
    trial = make_trial(tmp_path)
    other = trial.at(trial.settings.home, landing=tmp_path / "other")
    story(trial)
    for path in sorted((trial.settings.landing / STUDY / "XA").iterdir())[::2]:
        path.rename(other.folder("XA") / path.name)
    for ended in forker.fork([Child.of(STUDY, t.settings) for t in (trial, other)]):
        assert ended.result["release"]
    assert faults(STUDY, trial.settings, alone.files) == []
    assert faults(STUDY, other.settings, alone.files) == []
    assert differences(outcome(trial), alone.outcome) == {}


def test_exports_that_several_processes_land_keep_their_manifests(tmp_path: Path, forker: Forker) -> None:
    trial = make_trial(tmp_path)
    for number in range(1, 61):
        trial.send("XC", "AE", [ae("XC", number)], name=f"ae_{number}.csv", sha256=True, sequence=number)
    child = Child.of(STUDY, trial.settings, call="land", argument="XC")
    for ended in forker.fork([child] * 3):
        assert len(ended.result) <= 60
    deliveries = table(trial.settings, "deliveries")
    assert len(deliveries) == len(table(trial.settings, "receipts")) == 60
    assert {d["file"]: d["order_number"] for d in deliveries} == {f"ae_{n}.csv": n for n in range(1, 61)}
    assert {(d["verified"], d["status"]) for d in deliveries} == {("VERIFIED", "LANDED")}
    assert [p.name for p in trial.folder("XC").rglob("*") if p.is_file()] == []


PAUSES = {
    "claimed": 1.0,
    "validated": 60.0,
    "folded": 60.0,
    "held": 2.0,
    "curated": 60.0,
    "release-built": 2.0,
}
"""Marked step → how long to pause there. Where a lock is held, the other run waits and nothing is gained by more."""


@pytest.mark.parametrize("pause", PAUSES)
def test_a_run_that_pauses_at_a_step_while_another_goes_by_undoes_nothing(
    tmp_path: Path, forker: Forker, pause: str
) -> None:
    trial, late = make_trial(tmp_path), copied(make_trial(tmp_path / "late"), "late")
    trial.send("XA", "DM", [dm("XA", n) for n in (1, 2)])
    trial.send("XA", "LB", [lb("XA", n) for n in (1, 2)], name="lb_XA_v1.csv")
    late.send("XA", "LB", [lb("XA", n, LBORRES="77") for n in (1, 2)], name="lb_XA_v2.csv")
    late.send("XB", "DM", [dm("XB", 1)])
    late.send("XB", "EX", [ex("XB", 1, EXSTDTC="2026-01-01", EXENDTC="2026-01-01")])
    gate = str(tmp_path / "gate")
    paused = Child.of(STUDY, trial.settings, pause_at=pause, gate=gate, pause_seconds=PAUSES[pause])
    passing = Child.of(STUDY, late.at(trial.settings.home).settings, gate=gate)
    for ended in forker.fork([paused, passing]):
        assert ended.result["release"]
    assert Path(f"{gate}.go").exists()
    assert faults(STUDY, trial.settings, 5) == []
    found = outcome(trial)
    after = forker.one(Child.of(STUDY, trial.settings)).result
    assert not after["new"], "what the runs left was not what the next one would make"
    assert found["content"]['curated."adlb"'] and differences(outcome(trial), found) == {}
    assert {row["AVAL"] for row in trial.rows("select AVAL from curated.adlb")} == {77}


def test_a_desk_finds_parts_that_were_made_after_it_was_opened(tmp_path: Path, forker: Forker) -> None:
    trial = make_trial(tmp_path)
    trial.send("XA", "DM", [dm("XA", 1)])
    assert forker.one(Child.of(STUDY, trial.settings)).result["new"]
    desk = open_desk(trial.study, trial.settings)
    assert desk.known
    trial.send("XA", "DM", [dm("XA", 1, AGE="50")], name="dm_XA_v2.csv")
    assert forker.one(Child.of(STUDY, trial.settings)).result["new"]
    assert desk.part(desk.judged["XA"]["path"])


def test_readers_and_verifiers_never_fail_and_never_see_half_a_release(
    tmp_path: Path, forker: Forker
) -> None:
    trial, releases, seen = make_trial(tmp_path), list[Any](), list[Any]()
    labs = {
        1: {"XA": [lb("XA", n) for n in (1, 2, 3)]},
        2: {"XA": [lb("XA", n, LBORRES="88") for n in (1, 2, 3)], "XB": [lb("XB", n) for n in (1, 2, 3)]},
    }
    for day, files in labs.items():
        for site, rows in files.items():
            trial.send(site, "LB", rows, name=f"lb_{site}_v{day}.csv")
        stop = str(tmp_path / f"stop-{day}")
        pause = {"pause_at": "release-recorded", "gate": f"{stop}.gate", "pause_seconds": 0.5}
        run = Child.of(STUDY, trial.settings, stop=stop, **pause)
        reader = Child.of(STUDY, trial.settings, call="read", argument=NUMBERS, stop=stop)
        verifier = Child.of(STUDY, trial.settings, call="verify", stop=stop)
        ran, read, verified = forker.fork([run, reader, verifier])
        assert ran.result["new"]
        assert verified.result["looked"] > 1 and read.result["asked"] > 1
        seen += [numbers for numbers in read.result["seen"] if numbers not in seen]
        releases.append(json.loads(json.dumps(trial.rows(NUMBERS), default=str)))
    assert releases[0] != releases[1]
    assert seen == releases


def finished(trial: TinyTrial, forker: Forker, alone: Alone) -> None:
    """Let two runs end at the same time, and compare what they leave with one undisturbed run."""
    for ended in forker.fork([Child.of(STUDY, trial.settings)] * 2):
        assert ended.result["release"]
    assert faults(STUDY, trial.settings, alone.files) == []
    assert differences(outcome(trial), alone.outcome) == {}


def test_runs_that_are_killed_together_lose_and_double_nothing(
    tmp_path: Path, forker: Forker, alone: Alone
) -> None:
    chance, kills, homes = random.Random(SEED), 0, 0
    while kills < KILLS:
        homes += 1
        trial = make_trial(tmp_path / str(homes))
        story(trial)
        for _ in range(5):
            both = [Child.of(STUDY, trial.settings)] * 2
            kills += sum(e.killed for e in forker.fork(both, kill_after=chance.uniform(0, alone.seconds)))
        finished(trial, forker, alone)
        shutil.rmtree(trial.settings.home)
        assert homes < 10 + KILLS, "runs end before they are killed"
    print(f"{kills} kills of two workers at random times in {homes} homes")


def test_two_runs_that_are_killed_once_at_every_marked_step_lose_and_double_nothing(
    tmp_path: Path, forker: Forker, alone: Alone
) -> None:
    trial, steps, kills = make_trial(tmp_path), tmp_path / "steps", 0
    story(trial)
    steps.touch()
    both = [Child.of(STUDY, trial.settings, die_once=str(steps), coarse=not FULL)] * 2
    while killed := sum(ended.killed for ended in forker.fork(both)):
        kills += killed
    finished(trial, forker, alone)
    print(f"{kills} kills of two workers at marked steps")
    assert kills > 40
