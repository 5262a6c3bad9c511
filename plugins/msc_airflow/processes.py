"""Processes that never outlive the one that started them.

Belongs here: starting, watching and stopping. Does not: what the processes are (stack.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE_SECONDS = 6.0
TAIL_LINES = 15


class ProcessError(Exception):
    """A process ended that should still run, or ended with an error; the message shows the end of its log."""


def _prctl(option: int, value: int) -> None:
    """Set a flag of this process where the system has it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class Processes:
    """A set of processes, each with its own group and log; leaving the `with` block ends all descendants.

    Three nets: signals end in the block's exit; a killed parent takes its children with it (Linux); and
    grandchildren whose parent died are handed to this process, which ends them too (Linux).
    """

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Processes:
        self.logs.mkdir(parents=True, exist_ok=True)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
        return self

    def __exit__(self, *_: Any) -> None:
        with _unless_interrupted():
            self.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start `command`, its output going to `<logs>/<name>.log`."""
        with self.log(name).open("wb") as output:
            self.running[name] = subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread runs yet
            )
        return self.running[name]

    def finish(self, name: str, command: Sequence[str], env: Mapping[str, str], timeout: float) -> None:
        """Run `command` to its end. Raises: ProcessError when it fails or takes too long."""
        try:
            code = self.start(name, command, env).wait(timeout)
        except subprocess.TimeoutExpired:
            raise ProcessError(f"{name} did not end in {timeout:.0f} s{self._tail(name)}") from None
        if code:
            raise ProcessError(f"{name} ended with exit code {code}{self._tail(name)}")
        del self.running[name]

    def check(self) -> None:
        """Raise ProcessError when one of the processes has ended."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise ProcessError(f"{name} ended unexpectedly{self._tail(name)}")

    def stop(self) -> None:
        """Interrupt every process and end what is left of its descendants after a grace period."""
        for process in self.running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        deadline = time.monotonic() + GRACE_SECONDS
        while left := psutil.Process().children(recursive=True):
            if time.monotonic() > deadline:
                for process in left:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            psutil.wait_procs(left, timeout=0.5)
        self.running.clear()

    def log(self, name: str) -> Path:
        """Return where the output of process `name` goes."""
        return self.logs / f"{name}.log"

    def _tail(self, name: str) -> str:
        lines = self.log(name).read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return f"; the end of {self.log(name)}:\n" + "\n".join(f"  {line}" for line in lines)


@contextlib.contextmanager
def _unless_interrupted() -> Any:
    """Let an impatient second Ctrl-C not break the stopping."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
