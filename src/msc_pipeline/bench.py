"""Benchmarks on a public trial multiplied: whole runs by step, and one large file beside DuckDB's own copy.

Belongs here: timing. Does not: asserting a time (a benchmark is not a test).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline import pipeline
from msc_pipeline.errors import PermanentError
from msc_pipeline.landing import land_site
from msc_pipeline.ledger import Ledger
from msc_pipeline.sample import write_sample
from msc_pipeline.settings import Settings
from msc_pipeline.staging import stage_delivery
from msc_pipeline.study import Study, load_study


def run_bench(study: Study, scale: int, folder: Path, jobs: int) -> Iterator[dict[str, Any]]:
    """Yield one record per measurement: sample, first run by step, one pass of DuckDB over the same rows,
    second run with one new lab file.

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
    run = _alone("first run", _timed_run, study.id, settings, jobs)
    yield run
    record = _alone("one pass of DuckDB", _timed_pass, home / study.id / "accepted", folder / "pass.parquet")
    yield record | {"curate_ratio": round(run["seconds"]["curate"] / max(record["seconds"], 0.01), 2)}
    header, first, rest = text.split(b"\n", 2)
    keep.write_bytes(b"\n".join((header, rest)) if rest else b"\n".join((header, first, b"")))
    yield _alone("one new lab file of one site", _timed_run, study.id, settings, jobs)


def _smallest_lab_file(folder: Path) -> Path:
    return min(folder.glob("*/lb_*"), key=lambda path: path.stat().st_size)


def run_file_bench(study: Study, scale: int, folder: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield one record per measurement: one CSV with the lab rows of all sites, landed and staged, and DuckDB's own
    strict all-VARCHAR copy of that file to Parquet (zstd, as many threads as cores), in turn; last their ratio.

    The size of the file is in bytes, seconds are wall time of the work alone, peak_mib is the process's at most.
    """
    shutil.rmtree(folder, ignore_errors=True)
    write_sample(study, folder / "sample", closed=folder / "closed", scale=scale)
    exports = sorted((folder / "sample" / study.id).glob("*/lb_*.csv"))
    whole = _concatenated(exports, folder / "lb_all.csv")
    shutil.rmtree(folder / "sample")
    yield {"what": "file", "bytes": whole.stat().st_size, "threads": os.cpu_count()}
    ours, theirs = list[float](), list[float]()
    for repeat in range(repeats):
        settings = Settings.from_env({}, home=folder / f"home-{repeat}", landing=folder / f"landing-{repeat}")
        inbox = settings.landing / study.id / exports[0].parent.name
        inbox.mkdir(parents=True)
        os.link(whole, inbox / whole.name)
        record = _alone("land and stage", _timed_staging, study.id, inbox.name, settings)
        ours.append(record["seconds"])
        yield record
        record = _alone("DuckDB copy", _timed_copy, whole, folder / f"copy-{repeat}.parquet")
        theirs.append(record["seconds"])
        yield record
    yield {"what": "ratio of medians", "ratio": round(median(ours) / max(median(theirs), 0.01), 2)}


def _concatenated(exports: list[Path], target: Path) -> Path:
    with target.open("wb") as out:
        for number, export in enumerate(exports):
            with export.open("rb") as part:
                header = part.readline()
                out.write(b"" if number else header)
                shutil.copyfileobj(part, out)
    return target


def _alone(what: str, work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Return what `work` measured in a process of its own, and that process's peak memory."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(there, work, arguments))
    process.start()
    there.close()
    try:
        record: dict[str, Any] = json.loads(here.recv())
    except EOFError:
        raise PermanentError("BENCH_FAILED", f"{what}: the run ended without a result") from None
    finally:
        process.join()
    return {"what": what, **record}


def _tell(out: Any, work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> None:
    record = work(*arguments)
    usage = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(who).ru_maxrss for who in usage) // 1024
    out.send(json.dumps(record | {"peak_mib": peak}))


def _timed_run(study_id: str, settings: Settings, jobs: int) -> dict[str, Any]:
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
    return {
        "seconds": {step: round(value, 2) for step, value in seconds.items()},
        "total_seconds": round(time.perf_counter() - start, 2),
        "rows": sum(d["rows_in"] for d in report["deliveries"]),
        "release": report["release"],
    }


def _timed_pass(accepted: Path, target: Path) -> dict[str, Any]:
    """Read the accepted rows, number them within each subject in time, write them: the least that curation can do."""
    start, rows = time.perf_counter(), 0
    for folder in sorted(accepted.iterdir()):
        with duckdb.connect() as connection:
            relation = connection.read_parquet(str(folder / "*.parquet"), union_by_name=True)
            wanted = (f"{folder.name}TESTCD", f"{folder.name}DTC", f"{folder.name}SEQ")
            order = ", ".join(column for column in wanted if column in relation.columns) or "SRC_ROW"
            relation.project(
                f"*, row_number() over (partition by USUBJID order by {order}) as POSITION"
            ).write_parquet(str(target), compression="zstd")
            rows += connection.read_parquet(str(target)).aggregate("count(*)").fetchall()[0][0]
    return {"seconds": round(time.perf_counter() - start, 2), "rows": rows}


def _timed_staging(study_id: str, site: str, settings: Settings) -> dict[str, Any]:
    study = load_study(study_id, settings.project)
    start = time.perf_counter()
    (number,) = land_site(study, site, settings)
    ledger = Ledger(settings.ledger)
    found = sa.select(book.deliveries).where(book.deliveries.c.id == number)
    stage_delivery(study, ledger.rows(found)[0], settings)
    seconds = round(time.perf_counter() - start, 2)
    (staged,) = ledger.rows(found)
    return {"seconds": seconds, "status": staged["status"], "rows": staged["rows_in"]}


def _timed_copy(source: Path, target: Path) -> dict[str, Any]:
    start = time.perf_counter()
    with duckdb.connect() as connection:
        relation = connection.read_csv(str(source), all_varchar=True, strict_mode=True)
        relation.write_parquet(str(target), compression="zstd")
        seconds = round(time.perf_counter() - start, 2)
        rows = connection.read_parquet(str(target)).aggregate("count(*)").fetchall()[0][0]
    return {"seconds": seconds, "rows": rows}
