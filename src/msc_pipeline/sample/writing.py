"""Per-site export files and the closed list, written in constant memory whatever the scale.

Belongs here: text of the files, copies of subjects, renaming files into place, the account of every source
row. Does not: where the data come from (source), what is wrong with planted rows (planting).
"""

from __future__ import annotations

import csv
import io
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from msc_pipeline import cdisc
from msc_pipeline.errors import ConfigError, UsageError
from msc_pipeline.sample.placing import put_closed, put_export
from msc_pipeline.sample.planting import CUT_BYTES, PlantedFile, faulty_rows
from msc_pipeline.sample.report import DomainCount, SampleReport
from msc_pipeline.sample.source import Row, Source, read_sources, source_of
from msc_pipeline.sample.spec import Export, SimulatedSpec, load_spec
from msc_pipeline.sample.trial import write_trial
from msc_pipeline.sample.truth import check_place
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import Study

if TYPE_CHECKING:
    import pyarrow as pa

_MARKS = {"USUBJID": "\x01", "SUBJID": "\x02"}
_NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)


@dataclass(frozen=True)
class _Copies:
    """How subjects multiply: `scale` copies, each numbered `step` further; copy 0 is the subject itself."""

    scale: int
    step: int

    def name(self, name: str, number: int) -> str:
        """Return a subject's name in copy `number`: its last digits plus number * step."""
        found = _NUMBERED.fullmatch(name)
        if number == 0 or not found:
            return name
        return f"{found[1]}{int(found[2]) + number * self.step}"

    def check(self, study: Study, usubjid: str) -> str:
        """Return the site of a subject whose copies all have names of their own that the study takes.

        Raises: UsageError SAMPLE_SCALE; ConfigError SAMPLE_INVALID for a subject of no site of the study.
        """
        found = re.fullmatch(study.subject_pattern, usubjid)
        if not found or found[1] not in study.sites:
            raise ConfigError(
                "SAMPLE_INVALID", "the data name a subject that belongs to no site of the study"
            )
        last = re.fullmatch(study.subject_pattern, self.name(usubjid, self.scale - 1))
        digits = _NUMBERED.fullmatch(usubjid)
        apart = self.scale == 1 or (digits is not None and int(digits[2]) < self.step)
        if not last or last[1] != found[1] or not apart:
            raise UsageError("SAMPLE_SCALE", "so many copies do not fit the study's subject numbers")
        return found[1]


@dataclass(frozen=True)
class _Block:
    """All rows of one subject in one domain as CSV text, with marks where the subject's names stand."""

    usubjid: str
    subjid: str
    text: str

    def copy(self, number: int, copies: _Copies) -> str:
        """Return the text of one copy of the subject."""
        text = self.text.replace(_MARKS["USUBJID"], copies.name(self.usubjid, number))
        return text.replace(_MARKS["SUBJID"], copies.name(self.subjid, number)) if self.subjid else text


@dataclass(frozen=True)
class _Site:
    """One domain of one site: the rows as they are and, by subject, as text."""

    rows: list[Row]
    blocks: list[_Block]


@dataclass(frozen=True)
class _Written:
    """What one domain became."""

    count: DomainCount
    sites: set[str]
    subjects: set[str]
    planted: tuple[PlantedFile, ...]


@dataclass(frozen=True)
class _Desk:
    """Writes one sample: where exports and closed lists go, and how many copies of each subject."""

    study: Study
    landing: Path
    closed: Path
    copies: _Copies
    plant: bool
    on_file: Callable[[str], None] | None

    def domain(self, domain: str, export: Export, tables: Mapping[str, pa.Table]) -> _Written:
        """Write every site's export of one domain, and its closed list."""
        source = source_of(domain, export, tables)
        count = _count(domain, source, self.copies.scale)
        by_site = _by_site(self.study, self.copies, source)
        for site in sorted(by_site.items()):
            self.file(f"{domain.lower()}_{site[0]}.csv", source, site)
        if export.closed and source.closed is not None:
            _write_closed(self.closed / self.study.id, export.closed.list, source.closed, self.copies)
        planted = _plant(self, source, by_site) if self.plant and domain == cdisc.LAB_DOMAIN else ()
        subjects = {block.usubjid for site in by_site.values() for block in site.blocks}
        return _Written(count, set(by_site), subjects, planted)

    def file(
        self, name: str, source: Source, site: tuple[str, _Site], *, tail: str = "", cut: int = 0
    ) -> str:
        """Write one site's file; `tail` follows the copies, `cut` bytes are missing at the end."""

        def fill(temporary: Path) -> None:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                file.write(_csv([source.columns]))
                for number in range(self.copies.scale):
                    file.writelines(block.copy(number, self.copies) for block in site[1].blocks)
                file.write(tail)
            if cut:
                os.truncate(temporary, temporary.stat().st_size - cut)

        put_export(self.landing / self.study.id / site[0] / name, fill)
        if self.on_file:
            self.on_file(f"{site[0]}/{name}")
        return f"{site[0]}/{name}"


def write_sample(  # noqa: PLR0913 - the options of one command
    study: Study,
    landing: Path,
    *,
    closed: Path,
    scale: int = 1,
    seed: int | None = None,
    plant_bad_file: bool = False,
    mess: float = 0,
    truth: Path | None = None,
    project: Path = PROJECT,
    tables: Mapping[str, pa.Table] | None = None,
    on_file: Callable[[str], None] | None = None,
) -> SampleReport:
    """Write landing/<study>/<SITEID>/<domain>_<SITEID>.csv and closed/<study>/<list>.parquet.

    closed: a folder outside `landing`, readable by its owner only. scale: copies of every subject, each under a
    number of its own; memory does not grow with it. seed: of a simulated trial, instead of its own.
    plant_bad_file: adds two bad resends (planting). mess: share of a simulated trial's exports that is dirty; truth:
    file that tells what is planted in them. tables: datasets to use instead of the package's. on_file: told
    each file's name. A watcher never sees half a file.

    Raises: ConfigError SAMPLE_UNAVAILABLE, SAMPLE_INVALID, DIALECT; UsageError SAMPLE_SCALE, SAMPLE_MESS, CLOSED_PLACE,
    TRUTH_PLACE.
    """
    started = time.monotonic()
    spec = load_spec(study, project)
    if closed.resolve().is_relative_to(landing.resolve()):
        raise UsageError("CLOSED_PLACE", "the closed list may not lie in the landing folder")
    check_place(truth, landing)
    if scale < 1:
        raise UsageError("SAMPLE_SCALE", "the scale is a whole number from 1")
    if isinstance(spec, SimulatedSpec):
        return write_trial(
            study, spec, landing, closed,
            project=project, seed=seed, scale=scale, mess=mess, truth=truth, on_file=on_file,
        )  # fmt: skip
    if mess or truth:
        raise UsageError("SAMPLE_MESS", "only a simulated study has a messy sample and a truth file")
    datasets = read_sources(spec) if tables is None else tables
    desk = _Desk(study, landing, closed, _Copies(scale, spec.subject_step), plant_bad_file, on_file)
    written = [desk.domain(domain, export, datasets) for domain, export in spec.domains.items()]
    planted = tuple(file for part in written for file in part.planted)
    return SampleReport(
        study=study.id,
        sites=len(set[str]().union(*(part.sites for part in written))),
        subjects=len(set[str]().union(*(part.subjects for part in written))) * scale,
        files=sum(len(part.sites) for part in written) + len(planted),
        domains=tuple(part.count for part in written),
        planted=planted,
        seconds=round(time.monotonic() - started, 3),
    )


def _count(domain: str, source: Source, scale: int) -> DomainCount:
    """Account for every source row; a domain without a closed list must export them all."""
    closed_only = source.counted - len(source.rows)
    if closed_only and source.closed is None:
        raise ConfigError(
            "SAMPLE_INVALID", f"domains.{domain}: rows would be lost: one row per subject, no closed list"
        )
    return DomainCount(domain, source.counted * scale, len(source.rows) * scale, closed_only * scale)


def _by_site(study: Study, copies: _Copies, source: Source) -> dict[str, _Site]:
    """Return the domain's rows by site, in their order."""
    at = source.columns.index("USUBJID")
    sites: dict[str, _Site] = {}
    for usubjid, group in groupby(source.rows, key=lambda row: row[at]):
        rows = list(group)
        site = sites.setdefault(copies.check(study, usubjid), _Site([], []))
        site.rows.extend(rows)
        site.blocks.append(_block(usubjid, rows, source.columns))
    return sites


def _block(usubjid: str, rows: list[Row], columns: tuple[str, ...]) -> _Block:
    where = {name: columns.index(name) for name in _MARKS if name in columns}
    subjid = rows[0][where["SUBJID"]] if "SUBJID" in where else ""
    marked = []
    for row in rows:
        cells = list(row)
        for name, i in where.items():
            cells[i] = _MARKS[name]
        marked.append(tuple(cells))
    return _Block(usubjid, subjid, _csv(marked))


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _plant(desk: _Desk, source: Source, by_site: dict[str, _Site]) -> tuple[PlantedFile, ...]:
    """Add a resend that was cut off and one with faulty rows, at the sites with the fewest lab rows."""
    fewest = sorted(by_site.items(), key=lambda item: (len(item[1].rows), item[0]))[:2]
    first, second = fewest[0], fewest[-1]
    code, scale = cdisc.LAB_DOMAIN, desk.copies.scale
    rows = len(first[1].rows) * scale - 1
    file = desk.file(f"{code.lower()}_{first[0]}_resend.csv", source, first, cut=CUT_BYTES)
    cut = PlantedFile(file, first[0], code, rows, "REJECTED", {"cut off inside the last row": 1})
    made, faults = faulty_rows(second[1].rows, source.columns)
    file = desk.file(f"{code.lower()}_{second[0]}_corrected.csv", source, second, tail=_csv(made))
    rows = len(second[1].rows) * scale + len(made)
    return cut, PlantedFile(file, second[0], code, rows, "PARTIAL", faults)


def _write_closed(folder: Path, name: str, table: pa.Table, copies: _Copies) -> None:
    """Write all rows of a closed list, for every copy of the subjects."""
    put_closed(folder / f"{name}.parquet", table.schema, _renamed(table, copies))


def _renamed(table: pa.Table, copies: _Copies) -> Iterator[pa.Table]:
    import pyarrow as pa

    at = table.column_names.index("USUBJID")
    names = table.column("USUBJID").to_pylist()
    for number in range(copies.scale):
        column = pa.array([copies.name(name, number) for name in names], pa.string())
        yield table.set_column(at, "USUBJID", column).cast(table.schema)
