"""Several processes at once on one home: as if one had done it all, and readers never see half a release."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from integration.forking import Child, Forker
from integration.state import differences, faults, picture, table
from integration.story import STUDY, copied, short_story
from msc_pipeline.desk import open_desk
from tiny_trial import TinyTrial, ae, dm, ex, lb, make_trial

pytestmark = pytest.mark.xdist_group("race")

SEED = 20_250_302
NUMBERS = """select (select count(*) from curated.adlb) as results, (select sum(AVAL) from curated.adlb) as total,
    (select count(*) from curated.restatements) as restated, (select count(*) from ops.deliveries) as deliveries,
    (select sum(ROWS_IN) from curated.data_quality) as rows_in, (select sum(N) from dsmb.lab_summary) as pooled"""


def outcome(trial: TinyTrial) -> dict[str, Any]:
    """Return a picture without what depends on the moment at which a step ran: closed findings, releases between."""
    found = picture(STUDY, trial.settings)
    found["queries"] = {q: n for q, n in found["queries"].items() if q[-1]}
    return {name: value for name, value in found.items() if name != "events"}


def in_one_go(trial: TinyTrial, name: str, forker: Forker) -> dict[str, Any]:
    """Return the outcome of the same files in another home, run by one process."""
    copy = copied(trial, name)
    shutil.copytree(trial.settings.landing, copy.settings.landing)
    assert forker.one(Child.of(STUDY, copy.settings)).result["new"]
    return outcome(copy)


@pytest.mark.parametrize("processes", [2, 3])
def test_runs_at_the_same_time_end_as_one_run_would(tmp_path: Path, forker: Forker, processes: int) -> None:
    trial = make_trial(tmp_path)
    files = short_story(trial)
    alone = in_one_go(trial, "alone", forker)
    for ended in forker.fork([Child.of(STUDY, trial.settings)] * processes):
        assert ended.result["release"]
    assert faults(STUDY, trial.settings, len(files)) == []
    assert differences(outcome(trial), alone) == {}
    assert not forker.one(Child.of(STUDY, trial.settings)).result["new"]


def test_two_landing_folders_feed_one_home_at_the_same_time(tmp_path: Path, forker: Forker) -> None:
    trial = make_trial(tmp_path)
    other = trial.at(trial.settings.home, landing=tmp_path / "other")
    files = short_story(trial)
    alone = in_one_go(trial, "alone", forker)
    for path in sorted((trial.settings.landing / STUDY / "XA").iterdir())[::2]:
        path.rename(other.folder("XA") / path.name)
    for ended in forker.fork([Child.of(STUDY, t.settings) for t in (trial, other)]):
        assert ended.result["release"]
    assert faults(STUDY, trial.settings, len(files)) == []
    assert faults(STUDY, other.settings, len(files)) == []
    assert differences(outcome(trial), alone) == {}


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


PAUSES = ("claimed", "validated", "folded", "held", "curated", "release-built")


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
    paused = Child.of(STUDY, trial.settings, pause_at=pause, gate=gate)
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


def test_a_desk_finds_parts_that_were_made_after_it_was_opened(trial: TinyTrial, forker: Forker) -> None:
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
    trial, seen = make_trial(tmp_path), list[Any]()
    for day in (1, 2):
        if day == 1:
            trial.send("XA", "LB", [lb("XA", n) for n in (1, 2, 3)], name="lb_XA_v1.csv")
        else:
            trial.send("XA", "LB", [lb("XA", n, LBORRES="88") for n in (1, 2, 3)], name="lb_XA_v2.csv")
            trial.send("XB", "LB", [lb("XB", n) for n in (1, 2, 3)])
        stop = str(tmp_path / f"stop-{day}")
        run = Child.of(STUDY, trial.settings, stop=stop, pause_at="release-recorded", gate=f"{stop}.gate")
        reader = Child.of(STUDY, trial.settings, call="read", argument=NUMBERS, stop=stop)
        verifier = Child.of(STUDY, trial.settings, call="verify", stop=stop)
        ran, read, verified = forker.fork([run, reader, verifier])
        assert ran.result["new"]
        assert verified.result["looked"] > 1
        seen += [numbers for numbers in read.result["seen"] if numbers not in seen]
        release = trial.rows(NUMBERS)
        assert [n for n in seen if n == release] or day == 1
    day_1, day_2 = ([{**seen[0][0]}], release)
    assert [numbers for numbers in seen if numbers not in (day_1, day_2)] == []
    assert read.result["asked"] > 5


def test_runs_that_are_killed_together_lose_and_double_nothing(tmp_path: Path, forker: Forker) -> None:
    trial = make_trial(tmp_path)
    files = short_story(trial)
    copy = copied(trial, "alone")
    shutil.copytree(trial.settings.landing, copy.settings.landing)
    seconds = forker.one(Child.of(STUDY, copy.settings)).seconds
    chance, kills = random.Random(SEED), 0
    for _ in range(5):
        both = [Child.of(STUDY, trial.settings)] * 2
        kills += sum(e.killed for e in forker.fork(both, kill_after=chance.uniform(0, seconds)))
    for ended in forker.fork(both):
        assert ended.result["release"]
    assert kills >= 2
    assert faults(STUDY, trial.settings, len(files)) == []
    assert differences(outcome(trial), outcome(copy)) == {}
