"""A simulated trial on disk: each site's exports in its dialect, and the closed lists of arms and doses.

Belongs here: files of a simulated sample. Does not: drawing it (simulation).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from msc_pipeline.errors import UsageError
from msc_pipeline.sample.dialects import Row
from msc_pipeline.sample.mess import send_messy
from msc_pipeline.sample.placing import put_closed
from msc_pipeline.sample.report import DomainCount, SampleReport
from msc_pipeline.sample.sending import Outbox
from msc_pipeline.sample.simulation import Fact, Simulated, SiteExport, arms, facts, simulated_exports
from msc_pipeline.sample.simulation.course import course
from msc_pipeline.sample.spec import SimulatedSpec
from msc_pipeline.sample.truth import write_truth
from msc_pipeline.study import Study

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 5_000


def write_trial(  # noqa: PLR0913 - the options of one command
    study: Study,
    spec: SimulatedSpec,
    landing: Path,
    closed: Path,
    *,
    project: Path,
    seed: int | None,
    scale: int,
    mess: float,
    truth: Path | None,
    on_file: Callable[[str], None] | None,
) -> SampleReport:
    """Write each site's exports in its dialect into landing/<study>/<SITEID>/, and closed/<study>/<list>.parquet.

    mess: share of what could be dirty (mess). truth: the file that tells what is planted. Without mess nearly every
    format is written in constant memory.
    Raises: UsageError SAMPLE_SCALE when the copies do not fit the study's subject numbers; ConfigError DIALECT.
    """
    started = time.monotonic()
    simulated = spec.simulated
    _check_names(study, simulated, scale)
    use = simulated.seed if seed is None else seed
    outbox = Outbox.open(study, landing, project, on_file)
    exports = simulated_exports(study, simulated, spec.domains, seed=use, scale=scale)
    planted: list[Fact] = []
    if mess:
        counts, planted = send_messy(outbox, simulated, exports, mess, use, project)
    else:
        counts = _send(outbox, exports)
    if truth:
        write_truth(truth, chain(planted, facts(study, simulated, seed=use)))
    _write_closed(study, simulated, closed / study.id, seed, scale)
    return SampleReport(
        study=study.id,
        sites=len(simulated.sites),
        subjects=simulated.subjects * scale,
        files=len(outbox.written),
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


def _send(outbox: Outbox, exports: Iterable[SiteExport]) -> dict[str, int]:
    """Write every export in its site's dialect; return rows by domain."""
    counts: dict[str, int] = {}

    def counted(export: SiteExport) -> Iterator[Row]:
        for row in export.rows:
            counts[export.domain] = counts.get(export.domain, 0) + 1
            yield row

    for export in exports:
        counts.setdefault(export.domain, 0)
        rows = outbox.in_units(export.site, export.domain, export.columns, counted(export))
        outbox.send(export.site, export.domain, export.columns, rows)
    return counts


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
