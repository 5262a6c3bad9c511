"""Benchmarks of whole runs: seconds per step and peak memory, on a public trial multiplied.

Belongs here: timing. Does not: asserting a time (a benchmark is not a test).
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msc_pipeline import pipeline
from msc_pipeline.errors import PermanentError
from msc_pipeline.sample import write_sample
from msc_pipeline.settings import Settings
from msc_pipeline.study import Study


def run_bench(study: Study, scale: int, folder: Path, jobs: int) -> Iterator[dict[str, Any]]:
    """Yield one record per measurement: sample, first run by step, second run with one new lab file.

    Each run is a process of its own, so that its peak resident memory (MiB) is its own.
    """
    shutil.rmtree(folder, ignore_errors=True)
    landing, home = folder / "landing", folder / "home"
    settings = Settings.from_env({}, home=home, landing=landing)
    start = time.perf_counter()
    report = write_sample(study, landing, closed=folder / "closed", scale=scale)
    yield {
        "what": "sample",
        "scale": scale,
        "seconds": round(time.perf_counter() - start, 1),
        **report.as_dict(),
    }
    keep = _smallest_lab_file(landing / study.id)
    text = keep.read_bytes()
    yield _measure("first run", study.id, settings, jobs)
    header, first, rest = text.split(b"\n", 2)
    keep.write_bytes(b"\n".join((header, rest)) if rest else b"\n".join((header, first, b"")))
    yield _measure("one new lab file of one site", study.id, settings, jobs)


def _smallest_lab_file(folder: Path) -> Path:
    return min(folder.glob("*/lb_*"), key=lambda path: path.stat().st_size)


def _measure(what: str, study_id: str, settings: Settings, jobs: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_timed_run, args=(study_id, settings, jobs, there))
    process.start()
    there.close()
    try:
        record: dict[str, Any] = json.loads(here.recv())
    except EOFError:
        raise PermanentError("BENCH_FAILED", f"{what}: the run ended without a result") from None
    finally:
        process.join()
    return {"what": what, "jobs": jobs, **record}


def _timed_run(study_id: str, settings: Settings, jobs: int, out: Any) -> None:
    from msc_pipeline.gx_duckdb import preload

    start = time.perf_counter()
    preload()
    seconds = {"import": time.perf_counter() - start}
    last = time.perf_counter()

    def note(step: str, _site: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[step] = seconds.get(step, 0.0) + now - last
        last = now

    report = pipeline.run(study_id, settings, jobs=jobs, progress=note)
    usage = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    out.send(
        json.dumps(
            {
                "seconds": {step: round(value, 2) for step, value in seconds.items()},
                "total_seconds": round(time.perf_counter() - start, 2),
                "peak_mib": max(resource.getrusage(who).ru_maxrss for who in usage) // 1024,
                "rows": sum(d["rows_in"] for d in report["deliveries"]),
                "release": report["release"],
            }
        )
    )
