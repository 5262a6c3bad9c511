"""A simulated trial on disk: plain exports by site and domain, and the closed lists of arms and doses.

Belongs here: files of a simulated sample. Does not: drawing it (simulation).
"""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from msc_pipeline.errors import UsageError
from msc_pipeline.sample.placing import put_closed, put_export
from msc_pipeline.sample.report import DomainCount, SampleReport
from msc_pipeline.sample.simulation import Simulated, SiteExport, arms, simulated_exports
from msc_pipeline.sample.simulation.course import course
from msc_pipeline.sample.spec import SimulatedSpec
from msc_pipeline.study import Study

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 5_000


def write_trial(
    study: Study,
    spec: SimulatedSpec,
    landing: Path,
    closed: Path,
    *,
    seed: int | None,
    scale: int,
    on_file: Callable[[str], None] | None,
) -> SampleReport:
    """Write landing/<study>/<SITEID>/<domain>_<SITEID>.csv and closed/<study>/<list>.parquet, in constant memory.

    Raises: UsageError SAMPLE_SCALE when the copies do not fit the study's subject numbers.
    """
    started = time.monotonic()
    simulated = spec.simulated
    _check_names(study, simulated, scale)
    counts = dict.fromkeys(spec.domains, 0)
    files = 0
    for export in simulated_exports(study, simulated, spec.domains, seed=seed, scale=scale):
        name = f"{export.domain.lower()}_{export.site}.csv"
        counts[export.domain] += _write(landing / study.id / export.site / name, export)
        files += 1
        if on_file:
            on_file(f"{export.site}/{name}")
    _write_closed(study, simulated, closed / study.id, seed, scale)
    return SampleReport(
        study=study.id,
        sites=len(simulated.sites),
        subjects=simulated.subjects * scale,
        files=files,
        domains=tuple(DomainCount(domain, rows, rows, 0) for domain, rows in counts.items()),
        planted=(),
        seconds=round(time.monotonic() - started, 3),
    )


def _check_names(study: Study, simulated: Simulated, scale: int) -> None:
    for site, enrolment in simulated.sites.items():
        number = enrolment.subjects + (scale - 1) * simulated.subject_step
        found = re.fullmatch(study.subject_pattern, simulated.usubjid.format(site=site, number=number))
        if not found or found[1] != site or enrolment.subjects > simulated.subject_step:
            raise UsageError("SAMPLE_SCALE", "so many copies do not fit the study's subject numbers")


def _write(path: Path, export: SiteExport) -> int:
    rows = 0

    def fill(temporary: Path) -> None:
        nonlocal rows
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(export.columns)
            for rows, row in enumerate(export.rows, 1):  # noqa: B007 - the last number is the count
                writer.writerow(row)

    put_export(path, fill)
    return rows


def _write_closed(study: Study, simulated: Simulated, folder: Path, seed: int | None, scale: int) -> None:
    """Write who is in which arm, and what each received."""
    import pyarrow as pa

    plan = simulated.randomisation
    names = {arm.ARMCD: arm.ARM for arm in study.arms}
    who = ("STUDYID", "USUBJID", "ARMCD", "ARM", "ACTARMCD", "ACTARM")
    what = ("STUDYID", "USUBJID", "EXSEQ", "EXTRT", "EXDOSE", "EXDOSU", "EXSTDTC", "EXENDTC")
    use = simulated.seed if seed is None else seed

    def listed() -> Iterator[tuple[str, ...]]:
        for index, code in arms(study, simulated, scale=scale):
            name = course(study, simulated, use, index).usubjid
            yield study.STUDYID, name, code, names[code], code, names[code]

    def given() -> Iterator[tuple[str, ...]]:
        for index, code in arms(study, simulated, scale=scale):
            subject, dose = course(study, simulated, use, index), plan.doses[code]
            times = f"{subject.dosed:%Y-%m-%dT%H:%M}", f"{subject.dose_ended:%Y-%m-%dT%H:%M}"
            yield study.STUDYID, subject.usubjid, "1", dose.EXTRT, dose.EXDOSE, dose.EXDOSU, *times

    for name, columns, rows in ((plan.list, who, listed()), (plan.exposure_list, what, given())):
        schema = pa.schema([(column, pa.string()) for column in columns])
        put_closed(folder / f"{name}.parquet", schema, _parts(rows, schema))


def _parts(rows: Iterator[tuple[str, ...]], schema: pa.Schema) -> Iterator[pa.Table]:
    import pyarrow as pa

    batch: list[tuple[str, ...]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield pa.Table.from_arrays([pa.array(cells) for cells in zip(*batch, strict=True)], schema=schema)
            batch = []
    if batch:
        yield pa.Table.from_arrays([pa.array(cells) for cells in zip(*batch, strict=True)], schema=schema)
