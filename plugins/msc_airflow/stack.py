"""Airflow on this machine, embedded: `python -m msc_airflow.stack run|up [--study S …] [--port N]`.

`run` starts from an empty run folder, writes the studies' sample exports, lets the DAGs do the work under a
real scheduler, stops everything and says what came out. `up` keeps Airflow serving until Ctrl-C.

Belongs here: the environment of the embedded Airflow and the order of events. Does not: a production
set-up (docker-compose.yml): this one keeps its metadata in SQLite and asks nobody to log in.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msc_airflow import progress, summary
from msc_airflow.processes import ProcessError, Processes
from msc_airflow.rest import ENDED, Api
from msc_pipeline.errors import PipelineError, UsageError
from msc_pipeline.settings import PROJECT, Settings
from msc_pipeline.study import load_study, study_ids

if TYPE_CHECKING:
    from msc_pipeline.sample import SampleReport

PORT = 8080
HEALTH_SECONDS, RUN_SECONDS = 180.0, 1800.0
LOOK_SECONDS = 2.0
"""Between two looks at a run: each costs the API server what a task could use."""
SERVICES = {
    "api-server": ("api-server", "--host", "127.0.0.1", "--workers", "1"),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}


def environment(root: Path, port: int, project: Path = PROJECT) -> dict[str, str]:
    """Return the environment of every process of the stack; an Airflow of the user's own is kept out."""
    url = f"http://127.0.0.1:{port}"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    code = Path(__file__).resolve().parents[2]
    folders = (project / "src", project / "plugins", PROJECT / "src", code / "plugins")
    airflow = {
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "CORE__DAGS_FOLDER": str(code / "dags"),
        "CORE__PLUGINS_FOLDER": str(code / "plugins"),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "API__BASE_URL": url,
        "API__PORT": str(port),
        "API__SECRET_KEY": secrets.token_hex(32),
        "API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{root / 'airflow' / 'airflow.db'}",
        "LOGGING__BASE_LOG_FOLDER": str(root / "airflow" / "logs"),
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
            root / "airflow" / "logs" / "dag_processor"
        ),
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    ours = {
        "AIRFLOW_HOME": str(root / "airflow"),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(str(f) for f in folders if f.is_dir())),
        "MSC_HOME": str(root / "home"),
        "MSC_LANDING": str(root / "landing"),
        "MSC_PROJECT": str(project),
        "MSC_PAGE_URL": url,
        "MSC_PRELOAD": "1",
        "MSC_THREADS": os.environ.get("MSC_THREADS", "1"),
        "GX_ANALYTICS_ENABLED": "False",
    }
    return {**inherited, **{f"AIRFLOW__{key}": value for key, value in airflow.items()}, **ours}


def dag_ids(study_id: str) -> tuple[str, ...]:
    """Return the ids of a study's DAGs."""
    return tuple(f"{study_id}__{part}" for part in ("ingest", "curate", "integrity"))


def check_port(port: int) -> None:
    """Raise UsageError PORT_TAKEN when somebody listens on `port` already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            hint = f"choose another: make run PORT={port + 1}"
            raise UsageError("PORT_TAKEN", f"port {port} of 127.0.0.1 is in use", hint=hint) from None


@contextmanager
def owned(root: Path, *, fresh: bool) -> Iterator[None]:
    """Hold the run folder for one stack; `fresh` empties it first.

    Raises: UsageError RUN_BUSY when another stack works in it.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / "stack.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError("RUN_BUSY", f"another Airflow works in {root}", hint="stop it first") from None
        for path in root.iterdir() if fresh else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != "stack.lock":
                path.unlink()
        yield


class Stack:
    """One embedded Airflow under `root`: its environment, processes and REST API."""

    def __init__(self, root: Path, port: int, project: Path = PROJECT) -> None:
        self.root, self.port = root.resolve(), port
        self.env = environment(self.root, port, project)
        self.api = Api(port)
        self.settings = Settings.from_env(self.env)

    @contextmanager
    def processes(self, *, fresh: bool) -> Iterator[Processes]:
        """Check port and folder, then hold the processes of this stack; on the way out none is left."""
        check_port(self.port)
        with owned(self.root, fresh=fresh), Processes(self.root / "logs") as processes:
            yield processes

    def migrate(self, processes: Processes) -> None:
        """Bring Airflow's metadata database to this version."""
        (self.root / "airflow").mkdir(exist_ok=True)
        processes.finish("migrate", _airflow("db", "migrate"), self.env, HEALTH_SECONDS)

    def start(self, processes: Processes) -> None:
        """Start the services; `wait_ready` says when they work."""
        for name, words in SERVICES.items():
            extra = ("--port", str(self.port)) if name == "api-server" else ()
            processes.start(name, _airflow(*words, *extra), self.env)

    def wait_ready(self, processes: Processes, *studies: str) -> None:
        """Wait until every service is healthy and the studies' DAGs are known."""
        wait_until(self.api.healthy, processes, HEALTH_SECONDS, "Airflow's health")
        known = partial(self._known, {dag_id for study_id in studies for dag_id in dag_ids(study_id)})
        wait_until(known, processes, HEALTH_SECONDS, f"the DAGs of {' and '.join(studies)}")

    def switch_on(self, study_id: str) -> None:
        """Let the study's DAGs run."""
        for dag_id in dag_ids(study_id):
            self.api.switch_on(dag_id)

    def _known(self, wanted: set[str]) -> bool:
        if errors := self.api.import_errors():
            raise ProcessError("a DAG file could not be read: " + "; ".join(errors))
        return wanted <= self.api.dag_ids()

    def follow(self, processes: Processes, dag_id: str, run_id: str) -> str:
        """Show the progress of one run until it has ended; return its state."""
        with progress.of(dag_id) as show:

            def ended() -> bool:
                state = self.api.state(dag_id, run_id)  # before the instances, so that the last look is whole
                show(self.api.instances(dag_id, run_id))
                return state in ENDED

            wait_until(ended, processes, RUN_SECONDS, f"{dag_id} to end", every=LOOK_SECONDS)
        return self.api.state(dag_id, run_id)

    def next_run(self, processes: Processes, dag_id: str, known: set[str]) -> str:
        """Wait for a run that is not in `known`; return its id."""
        wait_until(lambda: bool(self.api.run_ids(dag_id) - known), processes, 60.0, f"a run of {dag_id}")
        return min(self.api.run_ids(dag_id) - known)

    def outcome(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        """Return the state of one unmapped task of a run."""
        found = [i for i in self.api.instances(dag_id, run_id) if i["task_id"] == task_id]
        return found[0]["state"] if found else None


def wait_until(
    true: Callable[[], bool], processes: Processes, seconds: float, what: str, *, every: float = 0.5
) -> None:
    """Ask until `true()`. Raises: ProcessError when a process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not true():
        processes.check()
        if time.monotonic() > deadline:
            raise ProcessError(f"waited {seconds:.0f} s for {what}; see {processes.logs}")
        time.sleep(every)


def _airflow(*words: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *words]


def run(stack: Stack, studies: tuple[str, ...]) -> int:
    """Do the whole job once from an empty run folder. Returns: 0 when the outcomes are the expected ones."""
    started = time.monotonic()
    with stack.processes(fresh=True) as processes:
        with progress.step("set up Airflow's database"):
            stack.migrate(processes)
        stack.start(processes)
        reports = {}
        for study_id in studies:
            with progress.step(f"write the sample exports of {study_id}"):
                reports[study_id] = write_exports(stack, study_id)
        with progress.step("start API server, scheduler and DAG processor"):
            stack.wait_ready(processes, *studies)
        faults = _ingest_and_curate(stack, processes, studies)
        with progress.step("stop Airflow"):
            processes.stop()
    codes = [summary.show(name, stack.settings, reports[name], faults[name]) for name in studies]
    progress.say(
        f"\n{time.monotonic() - started:.0f} s in all. Next: make up serves Airflow on what is here;"
    )
    progress.say(f"logs are in {stack.root / 'logs'}, each task's in {stack.root / 'airflow' / 'logs'}.")
    return max(codes)


def _ingest_and_curate(stack: Stack, processes: Processes, studies: tuple[str, ...]) -> dict[str, list[str]]:
    """Run every study's ingest, side by side, and the curate that follows it; return what failed, by study."""
    runs = {}
    for study_id in studies:  # before the schedules are on, so that these runs are the first
        runs[study_id] = stack.api.trigger(dag_ids(study_id)[0])
        stack.switch_on(study_id)
    faults = {}
    for study_id, run_id in runs.items():
        ingest, curate, _ = dag_ids(study_id)
        stack.follow(processes, ingest, run_id)
        if stack.outcome(ingest, run_id, "announce") == "success":
            stack.follow(processes, curate, stack.next_run(processes, curate, set()))
        faults[study_id] = summary.system_faults(stack.api, (ingest, curate))
    return faults


def write_exports(stack: Stack, study_id: str) -> SampleReport:
    """Write what the study's sites would send, planted bad files included, into the stack's landing folder."""
    from msc_pipeline import sample

    project = stack.settings.project
    study, closed = load_study(study_id, project), stack.root / "closed"
    return sample.write_sample(
        study, stack.settings.landing, closed=closed, plant_bad_file=True, project=project
    )


def up(stack: Stack, studies: tuple[str, ...]) -> int:
    """Serve until Ctrl-C, on what an earlier run left or on an empty folder."""
    with stack.processes(fresh=False) as processes:
        with progress.step("set up Airflow's database"):
            stack.migrate(processes)
        with progress.step("start API server, scheduler and DAG processor"):
            stack.start(processes)
            stack.wait_ready(processes, *studies)
            for study_id in studies:
                stack.switch_on(study_id)
        landing = stack.settings.landing
        progress.say(f"Airflow is at [bold]{stack.api.url}[/bold] (this machine only, no log-in).")
        progress.say(f"The DAGs of {' and '.join(studies)} are on. Ctrl-C stops it.")
        progress.say(f"Put exports under {landing}/<study>/<site>/.")
        while True:
            processes.check()
            time.sleep(1.0)


def sampled_studies(project: Path) -> tuple[str, ...]:
    """Return the studies with sample exports. Raises: UsageError STUDY_UNNAMED when there is none."""
    found = tuple(
        study_id
        for study_id in study_ids(project)
        if (project / "studies" / study_id / "sample.yaml").is_file()
    )
    if not found:
        raise UsageError("STUDY_UNNAMED", "no study has sample exports", hint="name one: --study")
    return found


def main(argv: list[str] | None = None) -> int:
    """Read the command line. Exit codes: 0 as expected, 1 not, 2 usage, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m msc_airflow.stack", description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=("run", "up"))
    parser.add_argument(
        "--study", action="append", help="folder under studies/ (default: all that have sample data)"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"of the API server (default {PORT})")
    parser.add_argument("--root", type=Path, default=Path(".run"), help="folder for everything it writes")
    words = parser.parse_args(argv)
    try:
        stack = Stack(words.root, words.port)
        studies = tuple(words.study or sampled_studies(stack.settings.project))
        return (run if words.command == "run" else up)(stack, studies)
    except KeyboardInterrupt:
        progress.say("Stopped; nothing is left running.")
        return 0 if words.command == "up" else 130
    except (PipelineError, ProcessError) as error:
        progress.say(f"[red]{progress.plain(error)}[/red]")
        return getattr(error, "exit_code", 1)


if __name__ == "__main__":
    sys.exit(main())
