"""A real scheduler on a small study with a bad file: the one test that sees the DAGs as Airflow runs them."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from integration import small_exports
from msc_airflow import stack as embedded
from msc_airflow import summary
from msc_airflow.processes import Processes
from msc_pipeline.asking import ask
from msc_pipeline.study import load_study

pytestmark = pytest.mark.xdist_group("scheduler")

INGEST, CURATE = "small__ingest", "small__curate"


@dataclass
class Seen:
    """What the runs left, looked at while Airflow still ran and after it was stopped."""

    root: Path
    stack: embedded.Stack
    states: dict[str, str] = field(default_factory=dict)
    first: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    content: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    left_running: list[str] = field(default_factory=list)

    def ingest(self, processes: Processes, name: str, *, cleared: str | None = None) -> str:
        """Run ingest once, new or cleared, and curate where it is called for; note states and content."""
        api = self.stack.api
        known = api.run_ids(CURATE)
        if cleared is None:
            run_id = api.trigger(INGEST)
        else:
            run_id = cleared
            body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "reset_dag_runs": True}
            api.call(f"dags/{INGEST}/clearTaskInstances", body, "POST")
        self.states[name] = self.stack.follow(processes, INGEST, run_id)
        if self.stack.outcome(INGEST, run_id, "announce") == "success":
            self.states[f"{name}, curate"] = self.stack.follow(
                processes, CURATE, self.stack.next_run(processes, CURATE, known)
            )
        self.content[name] = self.look()
        return run_id

    def look(self) -> dict[str, Any]:
        """Return what is in the ledger and the release, in a form that can be compared."""
        rows = summary.deliveries("small", self.stack.settings)
        study = load_study("small", self.stack.settings.project)
        sql = "select USUBJID, PARAMCD, AVISIT, AVAL from curated.adlb order by all"
        releases = sorted(
            p.name for p in (self.stack.settings.home / "small" / "releases").iterdir() if p.is_dir()
        )
        return {
            "deliveries": [
                (r["site"], r["file"], r["status"], r["accepted"], r["quarantined"]) for r in rows
            ],
            "adlb": ask(study, sql, self.stack.settings).to_pylist(),
            "releases": releases,
        }


def free_port() -> int:
    """Return a port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Run ingest as the files arrive; then let every site send its good files again, and clear that run."""
    folder = tmp_path_factory.mktemp("scheduler")
    project = small_exports.make_project(folder / "project")
    stack = embedded.Stack(folder / "run", free_port(), project)
    result = Seen(stack.root, stack)
    with stack.processes(fresh=True) as processes:
        small_exports.write_exports(stack.settings.landing)
        stack.migrate(processes)
        stack.start(processes)
        stack.wait_ready(processes, "small")
        stack.switch_on("small")
        run_id = result.ingest(processes, "first")
        (curate,) = stack.api.run_ids(CURATE)
        result.first[INGEST] = stack.api.instances(INGEST, run_id)
        result.first[CURATE] = stack.api.instances(CURATE, curate)
        small_exports.write_exports(stack.settings.landing, bad_file=False)
        result.ingest(processes, "again", cleared=run_id)
        events = stack.api.call("assets/events?limit=100")["asset_events"]
        result.events = sorted(events, key=lambda event: event["id"])
        processes.stop()
        result.left_running = [one.name() for one in psutil.Process().children(recursive=True)]
    yield result


def instances(seen: Seen, dag_id: str, task_id: str) -> list[tuple[str, str]]:
    found = [one for one in seen.first[dag_id] if one["task_id"] == task_id]
    return sorted((str(one["rendered_map_index"]), one["state"]) for one in found)


def test_the_run_is_red_because_of_the_bad_file_and_for_no_other_reason(seen: Seen) -> None:
    assert seen.states["first"] == "failed"
    red = [one["task_id"] for one in seen.first[INGEST] if one["state"] in summary.RED]
    assert red == ["verdict"]
    assert instances(seen, INGEST, "verdict") == [(f"102 · {small_exports.BAD_FILE}", "failed")]


def test_the_verdict_fails_at_once_and_its_log_gives_the_reason(seen: Seen) -> None:
    logs = (seen.root / "airflow" / "logs").glob(
        "dag_id=small__ingest/run_id=*/task_id=verdict/**/attempt=*.log"
    )
    assert all("COLUMN_UNKNOWN" in log.read_text() for log in logs)
    assert [one["try_number"] for one in seen.first[INGEST] if one["task_id"] == "verdict"] == [1]


def test_map_labels_name_site_and_files(seen: Seen) -> None:
    lanes = [("101 · 3 files", "success"), ("102 · 3 files", "success"), ("103 · 3 files", "success")]
    for step in ("land", "stage", "validate", "commit"):
        assert instances(seen, INGEST, f"site.{step}") == lanes
    assert [label for label, _ in instances(seen, CURATE, "curate")] == ["101", "102", "103"]


def test_everything_but_the_bad_file_is_published_the_bad_sites_other_files_too(seen: Seen) -> None:
    assert seen.states["first, curate"] == "success"
    assert len(seen.content["first"]["releases"]) == 1
    status = {(site, file): rest for site, file, *rest in seen.content["first"]["deliveries"]}
    assert status[("102", small_exports.BAD_FILE)][0] == "REJECTED"
    assert status[("102", "dm_102.csv")] == ["ACCEPTED", small_exports.SUBJECTS, 0]
    assert status[("103", "lb_103.csv")] == ["PARTIAL", small_exports.SUBJECTS * 4, 3]
    assert {row["USUBJID"][:6] for row in seen.content["first"]["adlb"]} == {"SM-101", "SM-103"}


def test_asset_events_show_rows_and_the_release(seen: Seen) -> None:
    accepted, release = [event["extra"] for event in seen.events]
    written = small_exports.rows_written()
    lab = written["LB"] * 2 // 3
    assert accepted == {
        "accepted": written["DM"] + written["SV"] + lab,
        "quarantined": 3,
        "sites": list(small_exports.SITES),
    }
    assert release["release"] == seen.content["first"]["releases"][0]
    assert {"tables", "rows"} <= set(release)


def test_a_cleared_run_on_files_that_were_sent_again_doubles_nothing_and_publishes_nothing(
    seen: Seen,
) -> None:
    assert seen.content["again"] == seen.content["first"]
    assert "again, curate" not in seen.states
    assert seen.states["again"] == "success"


def test_a_rejected_file_has_its_own_alert_and_no_dag_alert(seen: Seen) -> None:
    with sqlite3.connect(seen.stack.settings.home / "ledger.sqlite") as ledger:
        kinds = {kind for (kind,) in ledger.execute("select kind from alerts")}
    assert "DELIVERY_REJECTED" in kinds
    assert "DAG_FAILED" not in kinds


def test_no_log_xcom_rendered_field_event_or_ledger_row_holds_a_subject_or_a_value(seen: Seen) -> None:
    looked_at = [
        path for name in ("airflow", "logs") for path in (seen.root / name).rglob("*") if path.is_file()
    ]
    looked_at += seen.stack.settings.home.glob("ledger.sqlite*")
    assert {"airflow.db", "ledger.sqlite", "scheduler.log"} <= {path.name for path in looked_at}
    for path in looked_at:
        content = path.read_bytes()
        assert not [mark for mark in small_exports.MARKS if mark.encode() in content], path


def test_the_search_for_marks_looks_where_they_would_be(seen: Seen) -> None:
    with sqlite3.connect(seen.root / "airflow" / "airflow.db") as database:
        for table in ("xcom", "rendered_task_instance_fields", "asset_event", "log"):
            assert database.execute(f"select count(*) from {table}").fetchone()[0] > 0, table
    raw = b"".join(path.read_bytes() for path in (seen.stack.settings.home / "small" / "raw").iterdir())
    assert not [mark for mark in small_exports.MARKS if mark.encode() not in raw]


def texts(value: Any) -> set[str]:
    """Return every text in a decoded JSON value, keys aside."""
    if isinstance(value, dict):
        return set().union(*(texts(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(texts(inner) for inner in value))
    return {value} if isinstance(value, str) else set()


def test_xcoms_hold_ids_counts_and_names_of_sites_only(seen: Seen) -> None:
    with sqlite3.connect(seen.root / "airflow" / "airflow.db") as database:
        values = [json.loads(str(value)) for (value,) in database.execute("select value from xcom")]
    assert len(values) > 12
    assert [text for text in texts(values) if not re.fullmatch(r"10[123]( · \d files)?", text)] == []


def test_nothing_is_left_running(seen: Seen) -> None:
    assert seen.left_running == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", seen.stack.port)) != 0
