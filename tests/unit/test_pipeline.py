"""The steps in order: what they take and give, alone, again and in several processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from msc_pipeline import gx_duckdb, pipeline
from msc_pipeline.errors import DeliveryRejected, IntegrityError, PermanentError
from msc_pipeline.settings import PROJECT
from msc_pipeline.validation import load_rules
from tiny_trial import FEW_RULES, STUDY, TinyTrial, ae, cm, csv_text, dm, lb, make_trial, trust_own_scan


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    trust_own_scan(monkeypatch)


@pytest.fixture
def trial(tmp_path: Path) -> TinyTrial:
    return make_trial(tmp_path, FEW_RULES)


def test_a_run_does_every_step_in_order_and_bad_files_stop_no_other(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    told: list[tuple[str, str]] = []

    def spy(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*words: Any) -> Any:
            called.append(name)
            return real(*words)

        return step

    for name in pipeline.STEPS:
        monkeypatch.setattr(pipeline, name, spy(name, getattr(pipeline, name)))
    trial.send("XA", "LB", b"\x00\xff\x00")
    trial.send("XA", "DM", [dm("XA", 1)])
    trial.send("nowhere", "DM", [dm("XB", 1)], name="dm.csv")
    report = pipeline.run(STUDY, trial.settings, progress=lambda step, site: told.append((step, site)))
    once = [name for n, name in enumerate(called) if name not in called[:n]]
    assert tuple(once) == pipeline.STEPS
    assert [step for step, _ in told] == ["ingest", "ingest", "hold", "curate", "curate", "publish"]
    assert {site for step, site in told if step in ("ingest", "curate")} == {"XA", "nowhere"}
    assert set(report) == {"study", "release", "new", "deliveries"}
    assert set(report["deliveries"][0]) == {
        "id", "site", "domain", "file", "status", "rows_in", "accepted", "quarantined", "code", "reason",
    }  # fmt: skip
    assert {file: status for file, (status, _) in trial.status(report).items()} == {
        "lb_XA.csv": "REJECTED", "dm_XA.csv": "ACCEPTED", "dm.csv": "REJECTED",
    }  # fmt: skip
    assert [r["SITEID"] for r in trial.rows("select SITEID from curated.adsl order by 1")] == ["XA"]
    assert pipeline.news(STUDY, trial.settings) == {"changed": False}
    assert pipeline.verify(STUDY, trial.settings)["unused"] == 0


def test_nothing_sent_is_nothing_waiting_no_news_and_no_release(trial: TinyTrial) -> None:
    assert pipeline.sites_waiting(STUDY, trial.settings) == []
    assert pipeline.news(STUDY, trial.settings) == {"changed": False}
    assert pipeline.hold(STUDY, trial.settings) == []
    with pytest.raises(PermanentError, match="NOTHING_CURATED"):
        trial.run()


def test_a_site_waits_as_long_as_any_file_or_delivery_of_it_is_not_decided(trial: TinyTrial) -> None:
    trial.send("XA", "DM", [dm("XA", 1)])
    trial.send("XA", "CM", [cm("XA", 1)])
    trial.send("XB", "DM", [dm("XB", 1)], name=".hidden")
    trial.send("XB", "DM", [dm("XB", 1)], name="dm.csv.part")
    assert pipeline.sites_waiting(STUDY, trial.settings) == [{"site": "XA", "files": 2}]
    ids = pipeline.land(STUDY, "XA", trial.settings)
    trial.send("XA", "AE", [ae("XA", 1)])
    assert pipeline.sites_waiting(STUDY, trial.settings) == [{"site": "XA", "files": 3}]
    assert pipeline.land(STUDY, "XA", trial.settings) == [*ids, 3]
    assert pipeline.stage(STUDY, [*ids, 3], trial.settings) == [*ids, 3]
    assert pipeline.validate(STUDY, [*ids, 3], trial.settings) == [*ids, 3]
    shutil.rmtree(trial.folder("XA"))
    assert pipeline.sites_waiting(STUDY, trial.settings) == [{"site": "XA", "files": 3}]
    assert pipeline.news(STUDY, trial.settings) == {"changed": False}
    pipeline.commit(STUDY, "XA", [*ids, 3], trial.settings)
    assert pipeline.sites_waiting(STUDY, trial.settings) == []
    assert pipeline.news(STUDY, trial.settings) == {"changed": True}


def test_a_commit_counts_what_became_of_its_deliveries(trial: TinyTrial) -> None:
    labs = [lb("XA", n, s) for n in (1, 2, 3) for s in (1, 2)]
    trial.send("XA", "LB", [{**labs[0], "LBORRES": "high"}, *labs[1:]])
    trial.send("XA", "CM", "nonsense\n1\n")
    trial.send("XA", "AE", [ae("XA", 1, 1), ae("XA", 1, 2)], name="ae_1_v1.csv")
    trial.send("XA", "AE", [ae("XA", 1, 1)], name="ae_2_v2.csv")
    ids = pipeline.land(STUDY, "XA", trial.settings)
    pipeline.validate(STUDY, pipeline.stage(STUDY, ids, trial.settings), trial.settings)
    made = pipeline.commit(STUDY, "XA", ids, trial.settings)
    assert made == {
        "site": "XA", "label": "XA · 4 files", "deliveries": [1, 2, 3, 4], "accepted": 7, "quarantined": 1,
        "rejected": [3], "held": [2],
    }  # fmt: skip
    assert pipeline.commit(STUDY, "XA", ids, trial.settings) == made

    assert pipeline.delivery_label(STUDY, 4, trial.settings) == "XA · lb_XA.csv"
    pipeline.verdict(STUDY, 1, trial.settings)
    pipeline.verdict(STUDY, 4, trial.settings)
    with pytest.raises(DeliveryRejected, match=r"REMOVES: HELD XA · ae_2_v2.csv: It would remove 1 AE rows"):
        pipeline.verdict(STUDY, 2, trial.settings)
    with pytest.raises(DeliveryRejected, match=r"REJECTED XA · cm_XA.csv"):
        pipeline.verdict(STUDY, 3, trial.settings)


def test_steps_that_are_repeated_change_nothing(published: TinyTrial) -> None:
    ids = [d["id"] for d in published.known("deliveries")]
    tables = ("deliveries", "results", "parts", "audit", "queries", "curated", "holds", "heads", "releases")
    before = {table: published.known(table) for table in tables}
    pipeline.stage(STUDY, ids, published.settings)
    pipeline.validate(STUDY, ids, published.settings)
    pipeline.commit(STUDY, "XA", ids, published.settings)
    assert pipeline.hold(STUDY, published.settings) == []
    pipeline.curate(STUDY, "XA", published.settings)
    assert not pipeline.publish(STUDY, published.settings)["new"]
    assert {table: published.known(table) for table in tables} == before


def test_what_a_killed_run_left_is_swept_when_it_is_old(published: TinyTrial) -> None:
    folder = published.settings.home / STUDY / "accepted" / "LB"
    old, young = folder / "a.parquet.1.tmp", folder / "b.parquet.2.tmp"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    published.run()
    assert (old.exists(), young.exists()) == (False, True)


def test_a_damaged_raw_copy_stops_staging(trial: TinyTrial) -> None:
    trial.send("XA", "DM", [dm("XA", 1)])
    ids = pipeline.land(STUDY, "XA", trial.settings)
    (raw,) = (trial.settings.home / STUDY / "raw").iterdir()
    raw.chmod(0o644)
    raw.write_bytes(raw.read_bytes().replace(b"31", b"13"))
    with pytest.raises(IntegrityError, match="INTEGRITY"):
        pipeline.stage(STUDY, ids, trial.settings)
    assert trial.known("deliveries")[0]["status"] == "LANDED"


def test_a_changed_rule_makes_new_parts_and_leaves_the_old_ones(trial: TinyTrial) -> None:
    expectations = trial.settings.project / "expectations"
    expectations.unlink()
    shutil.copytree(PROJECT / "expectations", expectations)
    first, second = [dm("XA", 1)], [dm("XA", 1, AGE="50")]
    for rows in (first, second):
        trial.send("XA", "DM", rows)
        trial.decide()
    old = load_rules(trial.study, "DM", trial.settings.project).hash
    kept = {path: path.read_bytes() for path in trial.settings.home.rglob("*.parquet")}
    suite = expectations / "visit" / "dm.yaml"
    suite.write_text(suite.read_text() + "# reviewed\n")
    new = load_rules(trial.study, "DM", trial.settings.project).hash
    assert new != old
    trial.send("XA", "DM", first)
    trial.decide()
    deliveries = trial.known("deliveries")
    assert [d["rule_set"] for d in deliveries] == [old, old, new]
    assert deliveries[0]["sha256"] == deliveries[2]["sha256"]
    for kind in ("accepted_part", "quarantine_part", "findings_part"):
        names = [Path(d[kind]).name.partition("-")[2] for d in deliveries]
        assert len(set(names)) == 3, "content and rules name a part, whatever its delivery"
    staged = [Path(d["staged_part"]).name.partition("-")[2] for d in deliveries]
    assert staged[0] == staged[2], "reading does not depend on the rules"
    assert {path: path.read_bytes() for path in kept} == kept


SEVERAL = """
from pathlib import Path
import sys
import pytest
from tiny_trial import STUDY, make_trial, trust_own_scan
from msc_pipeline import gx_duckdb, pipeline

trust_own_scan(patch := pytest.MonkeyPatch())
patch.setattr(gx_duckdb, "preload", lambda: None)
trial = make_trial(Path(sys.argv[1]))
trial.send_story()
first = trial.folder("XA") / "lb_XA_v1.csv"
aside = first.rename(Path(sys.argv[1]) / first.name)
pipeline.run(STUDY, trial.settings, jobs=2)
aside.rename(first)
print(pipeline.run(STUDY, trial.settings, jobs=2)["release"])
"""


def test_two_processes_and_another_order_of_arrival_give_the_same_release(
    released: TinyTrial, tmp_path: Path
) -> None:
    paths = os.pathsep.join(str(PROJECT / name) for name in ("src", "tests"))
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    expected = released.known("releases")[0]["name"]
    assert done.stdout.split()[-1] == f"0000002-{expected.partition('-')[2]}"


def test_a_header_that_swaps_columns_changes_no_row(trial: TinyTrial) -> None:
    rows = [dm("XA", n) for n in (1, 2)]
    trial.send("XA", "DM", rows, name="dm_v1.csv")
    trial.decide()
    before = [{k: v for k, v in r.items() if k != "SRC_SHA256"} for r in trial.in_force("XA", "DM")]
    swapped = [dict(reversed(row.items())) for row in rows]
    assert csv_text(swapped) != csv_text(rows)
    trial.send("XA", "DM", swapped, name="dm_v2.csv")
    trial.decide()
    assert [{k: v for k, v in r.items() if k != "SRC_SHA256"} for r in trial.in_force("XA", "DM")] == before
    assert trial.parts("restatement") == {}


def test_each_fault_of_a_row_meets_its_rule_and_the_rest_of_the_file_is_used(trial: TinyTrial) -> None:
    good = [lb("XA", n, s) for n in range(1, 13) for s in (1, 2)]
    on = {"LBDTC": "2025-03-02T09:00"}
    bad = {
        "ID-004": lb("XB", 1, **on),
        "ID-003": lb("XA", 2, **on, USUBJID="TINY01-XA-002\u200b"),
        "LB-007": lb("XA", 3, **on, LBORRES=""),
        "BLIND-001": lb("XA", 4, **on, VISIT="DAY 1, comparatorx"),
        "LB-010": lb("XA", 5, **on, LBORRESU="furlong"),
        "LB-013": lb("XA", 6, **on, LBORNRLO="41"),
    }
    accepted = [lb("XA", 7, **on, LBORRES="12345678901234567890"), lb("XA", 8, **on, LBORRES="<0.10")]
    trial.send("XA", "LB", [*good, *bad.values(), *accepted])
    trial.send("XA", "AE", [ae("XA", 1, AETERM="=cmd|' /C calc'!A0"), ae("XA", 2, AETERM="NA")])
    assert {status for status, _ in trial.decide().values()} == {"PARTIAL", "ACCEPTED"}
    rows = [r for part in trial.parts("quarantine").values() for r in pq.read_table(part).to_pylist()]
    assert [r["RULES"] for r in sorted(rows, key=lambda r: r["SRC_ROW"])] == [[rule] for rule in bad]
    assert ("XA", "LB", "LB-019") in trial.open_queries()
    used = {r["LBORRES"] for r in trial.in_force("XA", "LB")}
    assert used >= {"12345678901234567890", "<0.10"}
    assert {r["AETERM"] for r in trial.in_force("XA", "AE")} == {"=cmd|' /C calc'!A0", "NA"}


def _named(study_id: str, site: str, _settings: Any) -> str:
    if site == "bad":
        raise IntegrityError("INTEGRITY", "a part differs", hint="run msc verify")
    return f"{study_id} {site} {os.getpid()}"


def test_sites_in_several_processes_answer_in_order_and_an_error_keeps_its_code(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(gx_duckdb, "preload", lambda: loaded.append("rules"))
    here = str(os.getpid())
    for jobs, sites in ((1, ["XA", "XB"]), (2, ["XA"])):
        assert all(here in made for _, made in pipeline._each(_named, STUDY, sites, trial.settings, jobs))
    made = list(pipeline._each(_named, STUDY, ["XC", "XA", "XB"], trial.settings, 2))
    assert [site for site, _ in made] == ["XC", "XA", "XB"]
    assert not any(here in text for _, text in made)
    assert loaded == []
    monkeypatch.setattr(pipeline, "_ingest", _named)
    with pytest.raises(IntegrityError, match=r"INTEGRITY: a part differs \(run msc verify\)"):
        list(pipeline._each(_named, STUDY, ["XA", "bad"], trial.settings, 2))
    assert loaded == ["rules"], "once, before the processes part"
