"""The edge to Airflow: errors to outcomes, alerts, preload, the embedded stack's own checks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from msc_airflow import processes, stack, summary
from msc_airflow.task import guarded, tell_failed
from msc_pipeline.errors import BusyError, DeliveryRejected, UsageError

REPOSITORY = Path(__file__).resolve().parents[2]


def raising(error: Exception) -> Any:
    @guarded
    def task() -> None:
        raise error

    return task


def test_a_permanent_error_fails_at_once_with_code_and_reason() -> None:
    with pytest.raises(AirflowFailException, match="HEADER: unknown column"):
        raising(DeliveryRejected("HEADER", "unknown column"))()


def test_a_transient_error_may_retry() -> None:
    with pytest.raises(AirflowException, match="BUSY") as caught:
        raising(BusyError("BUSY", "another process holds it"))()
    assert not isinstance(caught.value, AirflowFailException)


def test_a_skip_stays_a_skip() -> None:
    with pytest.raises(AirflowSkipException):
        raising(AirflowSkipException("no news"))()


def test_an_unexpected_error_is_named_by_type_and_place_and_never_quoted() -> None:
    with pytest.raises(AirflowException) as caught:
        raising(ValueError("subject SM-101-001 has 99.9"))()
    assert "UNEXPECTED: ValueError at test_edge.py" in str(caught.value)
    assert "SM-101" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_failed_task_queues_an_alert_for_its_dag_run(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    alerts = SimpleNamespace(dag_failed=lambda *words: told.append(words[:4]))
    monkeypatch.setitem(sys.modules, "msc_pipeline.alerts", alerts)
    monkeypatch.setattr("msc_pipeline.alerts", alerts, raising=False)
    instance = SimpleNamespace(dag_id="my__study__ingest", task_id="site.land")
    tell_failed({"dag_run": SimpleNamespace(run_id="manual__1"), "ti": instance})
    assert told == [("my__study", "my__study__ingest", "manual__1", "site.land")]


def test_an_alert_that_cannot_be_queued_hides_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("mailto://user:secret@host")

    alerts = SimpleNamespace(dag_failed=refuse)
    monkeypatch.setitem(sys.modules, "msc_pipeline.alerts", alerts)
    monkeypatch.setattr("msc_pipeline.alerts", alerts, raising=False)
    instance = SimpleNamespace(dag_id="small__ingest", task_id="site.land")
    tell_failed({"dag_run": SimpleNamespace(run_id="manual__1"), "ti": instance})
    assert "alert not queued: RuntimeError" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("environ", "argv", "expected"),
    [
        ({"MSC_PRELOAD": "1"}, ["airflow", "scheduler"], True),
        ({"MSC_PRELOAD": "1"}, ["airflow", "dag-processor"], False),
        ({"MSC_PRELOAD": "1"}, ["airflow", "tasks", "run", "scheduler"], False),
        ({}, ["airflow", "scheduler"], False),
    ],
)
def test_heavy_libraries_are_loaded_early_only_by_a_scheduler_that_is_asked_to(
    environ: dict[str, str], argv: list[str], expected: bool
) -> None:
    from msc_airflow.preload import wanted

    assert wanted(environ, argv) is expected


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=rf"port {port} .* in use \(choose another: make run PORT={port + 1}\)"
        ):
            stack.check_port(port)


def test_two_stacks_never_share_a_run_folder_and_a_fresh_one_starts_empty(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "ledger.sqlite").touch()
    with stack.owned(tmp_path, fresh=False):
        assert (tmp_path / "home" / "ledger.sqlite").exists()
        with pytest.raises(UsageError, match="RUN_BUSY"), stack.owned(tmp_path, fresh=True):
            pass
        assert (tmp_path / "home" / "ledger.sqlite").exists()
    with stack.owned(tmp_path, fresh=True):
        assert [path.name for path in tmp_path.iterdir()] == ["stack.lock"]


def test_the_users_own_airflow_is_kept_out_of_the_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://somewhere")
    env = stack.environment(tmp_path, 18080)
    assert env["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "AIRFLOW_CONN_WAREHOUSE" not in env
    assert (
        env["AIRFLOW__API_AUTH__JWT_SECRET"]
        != stack.environment(tmp_path, 18080)["AIRFLOW__API_AUTH__JWT_SECRET"]
    )


def outcome(file: str, status: str, rows_in: int, accepted: int, quarantined: int = 0) -> dict[str, Any]:
    row = {"site": "101", "file": file, "status": status, "rows_in": rows_in, "code": "HEADER"}
    return {**row, "accepted": accepted, "quarantined": quarantined}


REPORT = SimpleNamespace(
    files=2,
    domains=[SimpleNamespace(exported=10)],
    planted=[SimpleNamespace(file="101/bad.csv", expected="REJECTED")],
)


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([outcome("lb.csv", "PARTIAL", 10, 9, 1), outcome("bad.csv", "REJECTED", 0, 0)], []),
        ([outcome("lb.csv", "ACCEPTED", 10, 9), outcome("bad.csv", "REJECTED", 0, 0)], ["add up to 10"]),
        ([outcome("lb.csv", "HELD", 10, 10), outcome("bad.csv", "REJECTED", 0, 0)], ["lb.csv is HELD"]),
        (
            [outcome("lb.csv", "ACCEPTED", 10, 10), outcome("bad.csv", "ACCEPTED", 3, 3)],
            ["expected REJECTED"],
        ),
        ([outcome("lb.csv", "ACCEPTED", 10, 10)], ["1 deliveries for 2 files"]),
        ([outcome("lb.csv", "ACCEPTED", 8, 8), outcome("bad.csv", "REJECTED", 0, 0)], ["8 rows read of 10"]),
    ],
)
def test_a_run_is_as_expected_only_when_every_outcome_and_row_sum_is(
    rows: list[Any], wrong: list[str]
) -> None:
    found = summary.unexpected(rows, REPORT)
    assert len(found) == len(wrong)
    assert all(text in line for text, line in zip(wrong, found, strict=True))


def test_the_default_studies_are_those_with_sample_exports(tmp_path: Path) -> None:
    for study in ("a", "b"):
        (tmp_path / "studies" / study).mkdir(parents=True)
        (tmp_path / "studies" / study / "study.yaml").touch()
    with pytest.raises(UsageError, match="STUDY_UNNAMED"):
        stack.sampled_studies(tmp_path)
    (tmp_path / "studies" / "b" / "sample.yaml").touch()
    assert stack.sampled_studies(tmp_path) == ("b",)
    (tmp_path / "studies" / "a" / "sample.yaml").touch()
    assert stack.sampled_studies(tmp_path) == ("a", "b")


def test_a_process_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with processes.Processes(tmp_path) as group:
        group.start("service", ["/bin/sh", "-c", "echo no such table; exit 3"], dict(os.environ))
        group.running["service"].wait()
        with pytest.raises(processes.ProcessError, match="service ended unexpectedly") as caught:
            group.check()
    assert "no such table" in str(caught.value)


STUBBORN = """
import os, sys
from pathlib import Path
from msc_airflow.processes import Processes
import signal
import time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
with Processes(Path(sys.argv[1])) as group:
    script = "trap '' INT; setsid sh -c \\"trap '' INT TERM; sleep 600\\" & sleep 600"
    group.start("service", ["/bin/sh", "-c", script], dict(os.environ))
    group.start("other", ["/bin/sh", "-c", "sleep 600"], dict(os.environ))
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_process_even_where_children_ignore_it(tmp_path: Path, number: int) -> None:
    code = STUBBORN.replace("import time", "import time, msc_airflow.processes as p; p.GRACE_SECONDS = 1.0")
    path = os.pathsep.join(str(REPOSITORY / name) for name in ("src", "plugins"))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        time.sleep(0.5)
        family = psutil.Process(child.pid).children(recursive=True)
        assert len(family) >= 4
        child.send_signal(number)
        assert child.wait(20) != 0
    assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
