"""Every site's exports of a simulated trial, as streams of rows, and the closed list of arms beside them.

Belongs here: which subject's rows go to which export, in what order and columns. Does not: text of files, dirt
(writing and what writes in a site's dialect).

    for export in simulated_exports(study, sample, seed=1, scale=1):
        for row in export.rows: ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from msc_pipeline.sample.simulation import activity, events, laboratory, measures, treatment, visits
from msc_pipeline.sample.simulation.course import Course, course
from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.sample.simulation.streams import stream
from msc_pipeline.study import Study

Cells = Mapping[str, str]
Row = tuple[str, ...]
Rows = Callable[[Study, Simulated, int, Course], Iterator[dict[str, str]]]

DOMAINS: dict[str, Rows] = {
    "LB": laboratory.rows,
    "DM": visits.demographics,
    "SV": visits.visits,
    "DS": visits.disposition,
    "EX": visits.exposure,
    "AE": events.adverse_events,
    "CM": treatment.rows,
    "MH": events.history,
    "VS": measures.vital_signs,
    "EG": measures.ecg,
    "RS": activity.rows,
    "XR": measures.radiography,
}


@dataclass(frozen=True)
class _Rows:
    """Rows of one site and domain, made anew by every iteration: nothing is kept."""

    study: Study
    spec: Simulated
    seed: int
    domain: str
    columns: tuple[str, ...]
    subjects: Callable[[], Iterator[int]]

    def __iter__(self) -> Iterator[Row]:
        fixed = {"STUDYID": self.study.STUDYID, "DOMAIN": self.domain}
        make = DOMAINS[self.domain]
        for index in self.subjects():
            subject = course(self.study, self.spec, self.seed, index)
            fixed["USUBJID"] = subject.usubjid
            for cells in make(self.study, self.spec, self.seed, subject):
                known = {**fixed, **cells}
                yield tuple(known.get(name, "") for name in self.columns)


@dataclass(frozen=True)
class SiteExport:
    """One export of one site: rows of text in standard names and units, empty = missing. rows may be read again."""

    site: str
    domain: str
    columns: tuple[str, ...]
    rows: Iterable[Row]


def simulated_exports(
    study: Study,
    spec: Simulated,
    columns: Mapping[str, tuple[str, ...]],
    *,
    seed: int | None = None,
    scale: int = 1,
) -> Iterator[SiteExport]:
    """Yield every site's exports; columns: domain → columns, in the order of both.

    The same arguments give the same rows; a larger scale adds subjects after those of a smaller one.
    """
    seed = spec.seed if seed is None else seed
    for domain, names in columns.items():
        for site in spec.sites:
            rows = _Rows(study, spec, seed, domain, names, _Members(spec, site, scale))
            yield SiteExport(site, domain, names, rows)


@dataclass(frozen=True)
class _Members:
    """Indices of a site's subjects, copy by copy."""

    spec: Simulated
    site: str
    scale: int

    def __call__(self) -> Iterator[int]:
        before = 0
        for site, enrolment in self.spec.sites.items():
            if site == self.site:
                break
            before += enrolment.subjects
        for copy in range(self.scale):
            start = copy * self.spec.subjects + before
            yield from range(start, start + self.spec.sites[self.site].subjects)


def arms(
    study: Study, spec: Simulated, *, scale: int = 1, seed: int | None = None
) -> Iterator[tuple[int, str]]:
    """Yield index and ARMCD of every subject, by permuted blocks; nothing open is drawn from this stream."""
    seed = spec.randomisation.seed if seed is None else seed
    pattern = [arm.ARMCD for arm in study.arms for _ in range(arm.ratio)]
    size = spec.randomisation.block
    for block in range(-(-spec.subjects * scale // size)):
        order = stream(seed, block, "arms").permutation(size)
        for place in range(size):
            index = block * size + place
            if index < spec.subjects * scale:
                yield index, pattern[int(order[place]) % len(pattern)]
