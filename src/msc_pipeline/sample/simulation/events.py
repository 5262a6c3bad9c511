"""Adverse events and medical history of a simulated subject.

Belongs here: AE and MH rows. Does not: deaths and flares (course), any term by name (sample.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

import numpy as np

from msc_pipeline.sample.simulation.activity import involved
from msc_pipeline.sample.simulation.clinical import Event, Events
from msc_pipeline.sample.simulation.course import Course
from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.sample.simulation.planted import PlantedEvent
from msc_pipeline.sample.simulation.streams import between, pick, stream
from msc_pipeline.study import Study

RESOLVED = "RECOVERED/RESOLVED"
GOING_ON = "NOT RECOVERED/NOT RESOLVED"
REASONS = ("AESCONG", "AESDISAB", "AESDTH", "AESHOSP", "AESLIFE")
YEAR = 365
MONTHS_TOLD = 2 * YEAR


@dataclass(frozen=True)
class _Told:
    """One event as it is told: dates as text, flags as they stand."""

    begins: str
    ends: str
    cells: dict[str, str]


def adverse_events(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[dict[str, str]]:
    """Yield AE rows in order of their start."""
    told = [
        _plant(subject, case, spec.events.action)
        for case in (subject.planted.events if subject.planted else ())
    ]
    last = min(subject.last, spec.data_until).isoformat()
    told = [event for event in told if event.begins[:10] <= last]
    told += _chance(spec, seed, subject)
    for sequence, event in enumerate(sorted(told, key=lambda e: (e.begins, e.cells["AEDECOD"])), 1):
        over = bool(event.ends) and event.ends[:10] <= last
        cells = event.cells if over else {**event.cells, "AEOUT": GOING_ON}
        yield {
            "AESEQ": str(sequence), **cells, "AESTDTC": event.begins, "AEENDTC": event.ends if over else "",
        }  # fmt: skip


def _plant(subject: Course, case: PlantedEvent, action: str) -> _Told:
    def when(offset: int | None) -> str:
        if offset is None:
            return ""
        if case.unit == "minutes":
            return (subject.dosed + timedelta(minutes=offset)).isoformat(timespec="minutes")
        return subject.date_of(offset).isoformat()

    cells = {
        "AETERM": case.AETERM, "AEDECOD": case.AEDECOD, "AEBODSYS": case.AEBODSYS, "AESOC": case.AEBODSYS,
        "AESEV": case.AESEV, "AETOXGR": case.AETOXGR, "AEREL": case.AEREL, "AEOUT": case.AEOUT,
        "AEACN": action, **_serious(case.serious),
    }  # fmt: skip
    return _Told(when(case.start), when(case.end), cells)


def _serious(reasons: tuple[str, ...]) -> dict[str, str]:
    flags = (
        {name: "Y" if name in reasons else "N" for name in REASONS} if reasons else dict.fromkeys(REASONS, "")
    )
    return {"AESER": "Y" if reasons else "N", **flags}


def _chance(spec: Simulated, seed: int, subject: Course) -> list[_Told]:
    """Return events that come by chance, and those of flares, up to the last day known."""
    law = spec.events
    draw = stream(seed, subject.index, "events")
    until = subject.occasions[-1].offset
    made = []
    starts = [*law.per_year, until + 1]
    for first, last in pairwise(starts):
        number = draw.poisson(max(0.0, law.per_year[first] * (last - first) / YEAR))
        for day in sorted(int(d) for d in draw.integers(first, max(last, first + 1), size=number)):
            kind = law.kinds[_weighed(draw, law)]
            made.append(_draw(spec, draw, subject, kind, day))
    for day, size in subject.flares:
        event = _draw(spec, draw, subject, law.flare, day)
        if size >= law.flare_from:
            made.append(event)
    known = (min(subject.last, spec.data_until) - subject.dosed.date()).days
    first = (subject.consent - subject.dosed.date()).days
    kept = [e for day, e in made if first <= day <= known and not 0 <= day < law.quiet_days]
    since = {kind.AEDECOD: kind.since.isoformat() for kind in law.kinds if kind.since}
    kept = [e for e in kept if e.begins >= since.get(e.cells["AEDECOD"], "")]
    return _apart(kept)


def _apart(told: list[_Told]) -> list[_Told]:
    """Leave out an event that begins while one of its own kind still goes on."""
    made: list[_Told] = []
    ends: dict[str, str] = {}
    for event in sorted(told, key=lambda e: e.begins):
        if event.begins > ends.get(event.cells["AEDECOD"], ""):
            made.append(event)
            ends[event.cells["AEDECOD"]] = event.ends
    return made


def _weighed(draw: np.random.Generator, law: Events) -> int:
    weights = np.cumsum([kind.weight for kind in law.kinds])
    return int(np.searchsorted(weights, draw.random() * weights[-1], side="right"))


def _draw(
    spec: Simulated, draw: np.random.Generator, subject: Course, kind: Event, day: int
) -> tuple[int, _Told]:
    term = kind.terms[int(draw.integers(0, len(kind.terms)))]
    severity = pick(draw, kind.severity)
    length = max(1, round(kind.days * float(np.exp(0.5 * draw.standard_normal()))))
    relation = pick(draw, spec.events.relation)
    serious = draw.random() < kind.serious
    if serious and severity == "MILD":
        severity = "MODERATE"
    cells = {
        "AETERM": term, "AEDECOD": kind.AEDECOD, "AEBODSYS": kind.AEBODSYS, "AESOC": kind.AEBODSYS, "AESEV": severity,
        "AETOXGR": spec.events.grades[severity], "AEREL": relation, "AEOUT": RESOLVED, "AEACN": spec.events.action,
        **_serious(("AESHOSP",) if serious else ()),
    }  # fmt: skip
    return day, _Told(subject.date_of(day).isoformat(), subject.date_of(day + length).isoformat(), cells)


def history(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[dict[str, str]]:
    """Yield MH rows: the disease first, then what fits the organ systems it reached, then the rest."""
    draw = stream(seed, subject.index, "conditions")
    reached = involved(spec, seed, subject)
    told: list[tuple[int, dict[str, str]]] = []
    for law in spec.history:
        mark, days = draw.random(), between(draw, (law.years[0] * YEAR, law.years[1] * YEAR))
        days = min(days, (subject.person.age - 12) * YEAR)
        if mark < law.share and (not law.needs or law.needs in reached):
            told.append((days, law.model_dump(include={"MHTERM", "MHDECOD", "MHBODSYS", "MHCAT"})))
    for case in subject.planted.history if subject.planted else ():
        told.append((case.years * YEAR, {**case.model_dump(exclude={"years"}), "MHCAT": "GENERAL"}))
    for sequence, (days, cells) in enumerate(told, 1):
        start = subject.date_of(-days)
        yield {
            "MHSEQ": str(sequence), **cells, "MHDTC": subject.consent.isoformat(),
            "MHSTDTC": f"{start.year}" if days > MONTHS_TOLD else f"{start:%Y-%m}",
        }  # fmt: skip
