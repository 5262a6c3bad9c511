"""The same files give the same bytes: in another home, at another number of threads, in another order."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from integration.state import curated_parts
from integration.story import make_trial
from tiny_trial import TinyTrial, ae, cm, csv_text, dm, ex, lb

SEED = 20_250_301
ROW_GROUP = 122_880
"""Rows that one thread of the engine takes at a time: fewer never meet a second one."""


def send(trial: TinyTrial) -> None:
    """Two sites' exports, with corrections whose file names say their order."""
    for site in ("XA", "XB"):
        trial.send_all(site)
    fixed = [
        lb("XA", n, s, **({"LBORRES": "77"} if (n, s) == (2, 2) else {}))
        for n in (1, 2, 3)
        for s in (1, 2, 3)
    ]
    trial.send("XA", "LB", fixed, name="lb_XA_v1.csv")
    wrong = [{**row, "LBORRESU": "furlong"} if i == 4 else row for i, row in enumerate(fixed)]
    trial.send("XA", "LB", wrong, name="lb_XA_v2.csv")
    trial.send("XB", "CM", [cm("XB", 1, 1, CMDOSE="5"), cm("XB", 1, 2)], name="cm_XB_v1.csv")
    trial.send("XB", "AE", [ae("XB", 1)], name="ae_XB_v1.csv")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> TinyTrial:
    """A home that was sent everything at once."""
    trial = make_trial(tmp_path_factory.mktemp("first"))
    send(trial)
    trial.run()
    return trial


@pytest.mark.requirement("ALL-02")
def test_another_home_at_another_number_of_threads_holds_the_same_bytes(
    first: TinyTrial, tmp_path: Path
) -> None:
    trial = make_trial(tmp_path)
    other = trial.at(trial.settings.home, threads=1)
    send(other)
    other.run()
    assert curated_parts(other.settings) == curated_parts(first.settings)


@pytest.mark.requirement("ALL-02")
def test_files_that_arrive_one_by_one_in_any_order_give_the_same_bytes(
    first: TinyTrial, tmp_path: Path
) -> None:
    trial = make_trial(tmp_path / "there")
    office = trial.at(tmp_path / "unused", landing=tmp_path / "office")
    send(office)
    files = sorted(p for p in office.settings.landing.rglob("*.csv"))
    # Files without a number in their name count as older than their numbered corrections only when they come first.
    plain, numbered = [f for f in files if "_v" not in f.name], [f for f in files if "_v" in f.name]
    order = random.Random(SEED)
    order.shuffle(plain)
    order.shuffle(numbered)
    stops = {len(plain) // 2, len(plain), len(plain) + 1}
    for number, file in enumerate((*plain, *numbered), 1):
        shutil.move(file, trial.folder(file.parent.name) / file.name)
        if number in stops:
            trial.run()
    trial.run()
    assert curated_parts(trial.settings) == curated_parts(first.settings)


def test_the_comparison_would_see_one_changed_value(first: TinyTrial, tmp_path: Path) -> None:
    other = make_trial(tmp_path)
    send(other)
    other.send(
        "XB", "LB", [lb("XB", n, s, LBORRES="31") for n in (1, 2, 3) for s in (1, 2, 3)], name="lb_XB.csv"
    )
    other.run()
    parts, expected = curated_parts(other.settings), curated_parts(first.settings)
    assert {key for key in expected if parts[key] != expected[key]} >= {("curated.adlb", "XB")}
    assert parts["curated.adlb", "XA"] == expected["curated.adlb", "XA"]


def numbered_files(trial: TinyTrial) -> None:
    """Two sites' exports that all say their order: corrections, a held file, one sent again under a new number."""
    people = (1, 2, 3, 4, 5, 6)
    labs = [lb("XA", n, s) for n in people for s in (1, 2)]
    fixed = [{**row, "LBORRES": "39"} if row["USUBJID"].endswith("2") else row for row in labs]
    wrong = [{**row, "LBORRESU": "furlong"} if i == 5 else row for i, row in enumerate(fixed)]
    days = (
        "2025-03-05",
        "2025-03-06",
        "2025-03-09",
        "2025-03-12",
    )  # only on the last the visit of week 1 is missed
    for version, rows in enumerate((labs, fixed, wrong, wrong), 1):
        said = {"sequence": version, "extracted_at": days[version - 1]}
        trial.send("XA", "LB", rows, name=f"lb_{version}.csv", **said)
    trial.send("XA", "DM", [dm("XA", n) for n in people], name="dm_XA_v1.csv")
    trial.send("XA", "EX", [ex("XA", n) for n in people], name="ex_XA_v1.csv")
    for version, events in enumerate(((1, 2), (1,), (1, 2, 3)), 1):
        trial.send("XA", "AE", [ae("XA", n) for n in events], name=f"ae_XA_v{version}.csv")
    trial.send("XB", "CM", [cm("XB", 1), cm("XB", 2)], name="cm_XB_v1.csv")
    trial.send("XB", "CM", [cm("XB", 1, CMTRT="PREDNISOLONE"), cm("XB", 3)], name="cm_XB_v2.csv")
    trial.send("XB", "CM", [cm("XB", 3, CMDOSE="5"), cm("XB", 4)], name="cm_XB_v3.csv")
    trial.send("XB", "DM", [dm("XB", n, AGE="50") for n in (1, 2, 3)], name="dm_XB_v2.csv")


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> TinyTrial:
    """A home that was sent all numbered files at once."""
    trial = make_trial(tmp_path_factory.mktemp("numbered"))
    numbered_files(trial)
    trial.run()
    return trial


@pytest.mark.parametrize(("shuffle", "run_after"), [(0, 1), (1, 4)])
def test_numbered_files_give_the_same_bytes_in_any_order_with_runs_in_between(
    numbered: TinyTrial, tmp_path: Path, shuffle: int, run_after: int
) -> None:
    trial = make_trial(tmp_path / "there")
    office = trial.at(tmp_path / "unused", landing=tmp_path / "office")
    numbered_files(office)
    files = sorted(office.settings.landing.rglob("*.csv"))
    random.Random(SEED + shuffle).shuffle(files)
    for count, file in enumerate(files, 1):
        for sent in (file.with_name(f"{file.name}.manifest.json"), file):
            if sent.exists():
                shutil.move(sent, trial.folder(file.parent.name) / sent.name)
        if count % run_after == 0 or count == len(files):
            trial.run()
    assert curated_parts(trial.settings) == curated_parts(numbered.settings)
    assert trial.rows("from curated.restatements") == numbered.rows("from curated.restatements") != []
    assert {row["VISSTAT"] for row in trial.rows("from curated.adsv where AVISIT = 'Week 1'")} == {"MISSED"}


def test_an_export_that_fills_every_thread_gives_the_same_bytes_on_one(tmp_path: Path) -> None:
    days = [f"2025-{month:02d}-{day:02d}T09:00" for month in range(3, 13) for day in range(1, 29)]
    rows = (lb("XA", n, LBSEQ=str(i), LBDTC=day) for n in range(1, 461) for i, day in enumerate(days, 1))
    parts = []
    trial = make_trial(tmp_path / "project")
    data = csv_text(list(rows))
    assert data.count("\n") > ROW_GROUP
    for threads in (1, 2):
        home = tmp_path / str(threads)
        there = trial.at(home / "home", landing=home / "landing", threads=threads)
        there.send("XA", "LB", data)
        there.send("XA", "DM", [dm("XA", n) for n in range(1, 461)])
        assert {d["status"] for d in there.run()["deliveries"]} == {"ACCEPTED"}
        parts.append(curated_parts(there.settings))
    assert parts[0] == parts[1]
