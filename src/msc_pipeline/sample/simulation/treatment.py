"""Medication of a simulated subject: the steroid and its taper, immunosuppressants and their changes, the rest.

Belongs here: CM rows. Does not: flares and dates (course), any drug or dose by name (sample.yaml).

A period is one dose from one day to another, in days from the infusion; no end: it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from msc_pipeline.sample.simulation.activity import involved
from msc_pipeline.sample.simulation.clinical import Choice, Drug, Steroid, Treatment
from msc_pipeline.sample.simulation.course import Course
from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.sample.simulation.planted import PlantedMedication
from msc_pipeline.sample.simulation.streams import between, stream
from msc_pipeline.study import Study

YEAR = 365
VAGUE_YEARS = 3
"""A start longer ago is told as a year, one longer ago than a year as a month."""


@dataclass(frozen=True)
class _Period:
    """One dose of one drug. told: how much of the start is known; empty, by how long ago it was."""

    drug: Drug
    dose: float
    start: int
    end: int | None
    told: str = ""


def rows(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[dict[str, str]]:
    """Yield CM rows in order of their start."""
    known = min((subject.last - subject.dosed.date()).days, (spec.data_until - subject.dosed.date()).days)
    periods = [p for p in _periods(spec, seed, subject) if p.start <= known]
    periods.sort(key=lambda p: (p.start, p.drug.CMTRT))
    for sequence, period in enumerate(periods, 1):
        drug = period.drug
        over = period.end is not None and period.end <= known
        yield {
            "CMSEQ": str(sequence), "CMTRT": drug.CMTRT, "CMDECOD": drug.CMTRT, "CMINDC": drug.CMINDC,
            "CMCLAS": drug.CMCLAS, "CMDOSE": f"{period.dose:g}", "CMDOSU": drug.CMDOSU,
            "CMDOSFRQ": drug.CMDOSFRQ, "CMROUTE": drug.CMROUTE, "CMSTDTC": _begin(subject, period),
            "CMENDTC": subject.date_of(period.end or 0).isoformat() if over else "",
        }  # fmt: skip


def _begin(subject: Course, period: _Period) -> str:
    """Return a start: to the day, or as a month or a year when it is long ago."""
    day = subject.date_of(period.start)
    long_ago = "year" if period.start < -VAGUE_YEARS * YEAR else "month" if period.start < -YEAR else "day"
    told = period.told or long_ago
    return f"{day.year}" if told == "year" else f"{day:%Y-%m}" if told == "month" else day.isoformat()


def _periods(spec: Simulated, seed: int, subject: Course) -> list[_Period]:
    law = spec.treatment
    draw = stream(seed, subject.index, "treatment")
    made = _steroid(law.steroid, draw, subject)
    for group in law.groups:
        made += _group(group, draw, subject)
    for past in law.past:
        lasted, ended, dose = (
            between(draw, past.lasted),
            between(draw, past.ended),
            _one(draw, past.drug.doses),
        )
        if draw.random() < past.share:
            made.append(_Period(past.drug, dose, -ended - lasted, -ended))
    made += _others(spec, seed, draw, subject, {p.drug.CMTRT for p in made})
    made += [_Period(drug, drug.doses[0], 0, 0) for drug in law.on_day_one]
    planted = subject.planted
    if planted and planted.medications:
        replaced = {m.CMTRT for m in planted.medications}
        made = [p for p in made if p.drug.CMTRT not in replaced] + [_planted(m) for m in planted.medications]
    return made


def _planted(case: PlantedMedication) -> _Period:
    drug = Drug(
        CMTRT=case.CMTRT, CMCLAS=case.CMCLAS, CMDOSU=case.CMDOSU, CMROUTE=case.CMROUTE, CMINDC=case.CMINDC,
        CMDOSFRQ=case.CMDOSFRQ, doses=(float(case.CMDOSE),),
    )  # fmt: skip
    return _Period(drug, float(case.CMDOSE), case.start, case.end, case.told)


def _one(draw: np.random.Generator, doses: tuple[float, ...]) -> float:
    return doses[int(draw.integers(0, len(doses)))]


def _steroid(law: Steroid, draw: np.random.Generator, subject: Course) -> list[_Period]:
    """Return the steroid's doses: stable at entry, tapered after the infusion, raised in flares."""
    allowed = {d: w for d, w in law.entry_doses.items() if d <= law.per_kg * subject.person.weight}
    mark = draw.random() * sum(allowed.values())
    dose = min(allowed)
    for dose, weight in allowed.items():  # noqa: B007 - the last dose stands when rounding leaves a rest
        mark -= weight
        if mark < 0:
            break
    start, goal = -between(draw, law.stable_days), _one(draw, law.goals)
    steps = _taper(law, dose, goal, draw) + _bursts(law, goal, draw, subject)
    if draw.random() >= law.treated:
        return []
    periods = []
    for (day, amount), (following, _) in zip([(start, dose), *steps], [*steps, (10**6, 0.0)], strict=True):
        if following > day and amount > 0:
            periods.append(_Period(law.drug, amount, day, None if following == 10**6 else following - 1))
    return _merged(periods)


def _taper(law: Steroid, dose: float, goal: float, draw: np.random.Generator) -> list[tuple[int, float]]:
    """Return day and dose of each step down, in equal parts rounded to 2.5, a few days after each visit."""
    steps = []
    goal = min(goal, dose)
    for turn, day in enumerate(law.taper, 1):
        part = dose - (dose - goal) * turn / len(law.taper)
        steps.append((day + between(draw, (0, 4)), max(goal, round(part / 2.5) * 2.5)))
    return steps


def _bursts(law: Steroid, goal: float, draw: np.random.Generator, subject: Course) -> list[tuple[int, float]]:
    """Return day and dose of every change that flares after the taper bring."""
    steps: list[tuple[int, float]] = []
    free = law.taper[-1] + 10
    for day, _ in subject.flares:
        dose, length, back = (
            _one(draw, law.burst),
            between(draw, law.burst_days),
            between(draw, law.back_days),
        )
        start = day + 3
        if start < free:
            continue
        steps += [
            (start, dose),
            (start + length, round(dose / 5) * 2.5),
            (start + length + back // 2, goal + 2.5),
        ]
        steps.append((start + length + back, goal))
        free = start + length + back + 1
    return steps


def _merged(periods: list[_Period]) -> list[_Period]:
    """Join neighbours of one dose."""
    made: list[_Period] = []
    for period in periods:
        if made and made[-1].dose == period.dose:
            made[-1] = _Period(period.drug, period.dose, made[-1].start, period.end)
        else:
            made.append(period)
    return made


def _group(law: Choice, draw: np.random.Generator, subject: Course) -> list[_Period]:
    """Return one drug of the group, unchanged long enough at entry, then changed by a flare or stopped."""
    weights = np.cumsum(law.weights) / sum(law.weights)
    at = int(np.searchsorted(weights, draw.random(), side="right"))
    drug = law.drugs[min(at, len(law.drugs) - 1)]
    dose = _one(draw, drug.doses)
    start = -law.stable_days - between(draw, (0, 5 * YEAR))
    marks = draw.random(3 + len(subject.flares))
    stop = between(draw, (2 * YEAR, 5 * YEAR)) if marks[1] < law.stopped else 10**6
    if marks[0] >= law.share:
        return []
    made = []
    for turn, (day, _) in enumerate(subject.flares):
        changed = day + 7
        if marks[3 + turn] >= law.changed or changed >= stop or changed <= start:
            continue
        made.append(_Period(drug, dose, start, changed - 1))
        higher = [d for d in drug.doses if d > dose]
        if higher:
            dose = higher[0]
        else:
            drug = law.drugs[(law.drugs.index(drug) + 1) % len(law.drugs)]
            dose = drug.doses[0]
        start = changed
    return [*made, _Period(drug, dose, start, None if stop == 10**6 else stop)]


def _others(
    spec: Simulated, seed: int, draw: np.random.Generator, subject: Course, taken: set[str]
) -> list[_Period]:
    law: Treatment = spec.treatment
    reached = involved(spec, seed, subject)
    made = []
    for other in law.others:
        mark, start, dose = draw.random(), -between(draw, (120, 4 * YEAR)), _one(draw, other.drug.doses)
        fits = (not other.goes_with or other.goes_with in taken) and (
            not other.needs or other.needs in reached
        )
        if fits and mark < other.share:
            made.append(_Period(other.drug, dose, start, None))
    return made
