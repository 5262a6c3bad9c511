"""Processes that can be killed at any moment: one loads everything once, then forks a child for every call.

Belongs here: the loaded process (run as a module), its client, and the calls a child can make. Does not: what
is sent to the pipeline (story) and what must hold afterwards (state, the tests).

Loading takes seconds and threads do not survive a fork; so the loaded process is started afresh, never uses an
engine with threads itself, and does nothing but fork, wait and kill.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from msc_pipeline import pipeline, storage
from msc_pipeline.settings import Settings

PATIENCE_SECONDS = 600.0
_CHANGING = re.compile(r"^.*~|\.[0-9a-f]{32}\.tmp$")
"""What differs from run to run in the name of a claim or of a file being written."""
FOLDERS = (
    "staged",
    "accepted",
    "quarantine",
    "findings",
    "state",
    "restatements",
    "held",
    "curated",
    "releases",
)


@dataclass(frozen=True)
class Child:
    """One process to fork: the call, on which home, and how it dies.

    die_at: kill itself at the n-th marked step (1 is the first). die_once: a file of marked steps; it kills
    itself at the first step that is not in there, and adds it; `coarse` says how steps are told apart: by what
    they write, or by kind. stop: a file that ends calls that go round and round.
    """

    study: str
    home: str
    landing: str
    project: str
    call: str = "run"
    threads: int = 1
    argument: str = ""
    die_at: int = 0
    die_once: str = ""
    coarse: bool = False
    stop: str = ""
    pause_at: str = ""
    gate: str = ""
    pause_seconds: float = 60.0

    @classmethod
    def of(cls, study: str, settings: Settings, **how: Any) -> Child:
        """Return a child that works with `settings`."""
        places = {name: str(getattr(settings, name)) for name in ("home", "landing", "project")}
        return cls(study, **{**places, "threads": settings.threads, **how})

    @property
    def settings(self) -> Settings:
        """The settings the child works with."""
        home, landing, project = (Path(p) for p in (self.home, self.landing, self.project))
        return Settings(home=home, landing=landing, project=project, threads=self.threads)


@dataclass(frozen=True)
class Ended:
    """How a child ended: killed or not, seconds, and its answer ({"marks", "result"} or {"error"})."""

    killed: bool
    seconds: float
    answer: dict[str, Any]

    @property
    def result(self) -> Any:
        """What the call returned; raises when it failed."""
        assert not self.killed, "the child was killed"
        assert "error" not in self.answer, self.answer["error"]
        return self.answer["result"]


class Forker:
    """Client of the loaded process."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(Path(p).resolve()) for p in sys.path if p])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "integration.forking"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip

    def close(self) -> None:
        """End the loaded process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def fork(self, children: Sequence[Child], *, kill_after: float | None = None) -> list[Ended]:
        """Start `children` at the same time and wait for them; after `kill_after` seconds kill those still alive."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"children": [asdict(child) for child in children], "kill_after": kill_after}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the loaded process is gone"
        return [Ended(**one) for one in json.loads(answer)]

    def one(self, child: Child, *, kill_after: float | None = None) -> Ended:
        """Fork one child and wait for it."""
        return self.fork([child], kill_after=kill_after)[0]


# -- in the child --------------------------------------------------------------------------------------


def step_name(step: str, frame: FrameType, *, coarse: bool) -> str:
    """Return a name of a marked step that is the same in every run: what it is about, from its caller's variables."""
    known = frame.f_locals
    about = []
    for name in ("path", "claim", "delivery", "domain", "site", "name"):
        value = known.get(name)
        if isinstance(value, Path):
            folders = [*(part for part in value.parts if part in FOLDERS), value.parent.name]
            own = _CHANGING.sub("", value.name)
            about += [folders[0]] if coarse else [folders[0], value.parent.name, own]
        elif isinstance(value, dict):
            about += [] if coarse else [str(value["id"])]
        elif isinstance(value, str) and not coarse:
            about += [value]
    return " ".join([step, frame.f_code.co_name, *about])


def _wait_for(path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _watching(child: Child, counted: list[int]) -> Callable[[str], None]:
    paused, go = Path(f"{child.gate}.paused"), Path(f"{child.gate}.go")

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def on_mark(step: str) -> None:
        counted[0] += 1
        if step == child.pause_at and not paused.exists():
            paused.touch()
            _wait_for(go, child.pause_seconds)
        if counted[0] == child.die_at:
            die()
        if child.die_once:
            name = step_name(step, sys._getframe(2), coarse=child.coarse)
            seen = Path(child.die_once)
            if name not in seen.read_text(encoding="utf-8").splitlines():
                with seen.open("a", encoding="utf-8") as file:
                    file.write(name + "\n")
                die()

    return on_mark


def _read(child: Child) -> dict[str, Any]:
    """Ask the current release again and again; return the different answers and how often it was asked."""
    from msc_pipeline.asking import ask
    from msc_pipeline.publishing import current
    from msc_pipeline.study import load_study

    study = load_study(child.study, child.settings.project)
    seen, asked = list[Any](), 0
    while not Path(child.stop).exists():
        if current(child.study, child.settings) is None:
            continue
        found = ask(study, child.argument, child.settings).to_pylist()
        asked += 1
        if found not in seen:
            seen.append(found)
    return {"seen": seen, "asked": asked}


def _verify(child: Child) -> dict[str, Any]:
    """Verify again and again; return how often."""
    looked = 0
    while not Path(child.stop).exists():
        pipeline.verify(child.study, child.settings)
        looked += 1
    return {"looked": looked}


def _run(child: Child) -> dict[str, Any]:
    try:
        return pipeline.run(child.study, child.settings)
    finally:
        if child.stop:
            time.sleep(0.3)  # the others look at the new release, too
            Path(child.stop).touch()


def _accept(child: Child) -> None:
    """Let a held delivery through."""
    from msc_pipeline.corrections import let_through
    from msc_pipeline.study import load_study

    let_through(
        load_study(child.study, child.settings.project), int(child.argument), "asked the site", child.settings
    )


CALLS: dict[str, Callable[[Child], Any]] = {
    "accept": _accept,
    "run": _run,
    "land": lambda c: pipeline.land(c.study, c.argument, c.settings),
    "read": _read,
    "verify": _verify,
}


def _live(child: Child, out: Path) -> None:
    counted = [0]
    storage.on_mark = _watching(child, counted)
    waits = bool(child.gate) and not child.pause_at
    try:
        if waits:
            _wait_for(Path(f"{child.gate}.paused"), PATIENCE_SECONDS)
        answer = {"result": CALLS[child.call](child), "marks": counted[0]}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    if waits:
        Path(f"{child.gate}.go").touch()
    out.write_text(json.dumps(answer, default=str), encoding="utf-8")


# -- in the loaded process -----------------------------------------------------------------------------


def _load() -> None:
    """Import what a run imports, read every model once, and stay without threads."""
    import pyarrow.parquet  # noqa: F401

    from msc_pipeline import gx_duckdb, models
    from msc_pipeline.settings import PROJECT

    gx_duckdb.preload()
    for schema in ("facts", "cross", "curated", "dsmb"):
        models.load_models(PROJECT, schema)


def _fork(child: Child, out: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            with Path(os.devnull).open("w") as nothing:
                os.dup2(nothing.fileno(), 1)
            _live(child, out)
        finally:
            os._exit(0)
    return pid


def _serve(request: dict[str, Any], scratch: Path) -> list[dict[str, Any]]:
    children = [Child(**one) for one in request["children"]]
    outs = [scratch / f"{i}.json" for i in range(len(children))]
    for out in outs:
        out.unlink(missing_ok=True)
    started = time.monotonic()
    kill_after = request["kill_after"]
    pids = {_fork(child, out): i for i, (child, out) in enumerate(zip(children, outs, strict=True))}
    ended: dict[int, dict[str, Any]] = {}
    while pids:
        pid, status = os.waitpid(-1, os.WNOHANG)
        seconds = time.monotonic() - started
        if pid:
            i = pids.pop(pid)
            answer = json.loads(outs[i].read_text(encoding="utf-8")) if outs[i].exists() else {}
            ended[i] = {"killed": os.WIFSIGNALED(status), "seconds": seconds, "answer": answer}
            continue
        if seconds > (PATIENCE_SECONDS if kill_after is None else kill_after):
            for alive in pids:
                os.kill(alive, signal.SIGKILL)
            kill_after = PATIENCE_SECONDS + seconds
        time.sleep(0.002)
    return [ended[i] for i in sorted(ended)]


def main() -> None:
    """Serve requests, one JSON line each, until the client goes away."""
    import tempfile

    _load()
    with tempfile.TemporaryDirectory(prefix="msc-forking-") as scratch:
        for line in sys.stdin:
            print(json.dumps(_serve(json.loads(line), Path(scratch))), flush=True)


if __name__ == "__main__":
    main()
