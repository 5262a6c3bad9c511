"""Disease activity of a simulated subject: organ systems, their grades and a total score that fits the laboratory.

Belongs here: RS rows. Does not: hidden factors (course), results (laboratory), any item or system by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from msc_pipeline.sample.simulation.clinical import Activity
from msc_pipeline.sample.simulation.course import Course, factors
from msc_pipeline.sample.simulation.laboratory import Values, limits, values
from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.sample.simulation.streams import stream
from msc_pipeline.study import Study

STEP = 0.15
STEPS = 60
BASELINE = 0


@dataclass(frozen=True)
class _Severity:
    """Severity of every involved system at every occasion, before the subject's own shift."""

    systems: dict[str, np.ndarray]

    def shifted(self, by: float) -> dict[str, np.ndarray]:
        return {code: value + by for code, value in self.systems.items()}


def involved(spec: Simulated, seed: int, subject: Course) -> tuple[str, ...]:
    """Return the organ systems that the disease has ever reached: as many at least as the entry score needs."""
    draw = stream(seed, subject.index, "history")
    systems = spec.activity.systems
    marks = dict(zip(systems, draw.random(len(systems)), strict=True))
    reached = {code for code, system in systems.items() if marks[code] < system.involved}
    for code in sorted(systems, key=lambda c: (-systems[c].involved, c)):
        if (
            sum(item.points for c in reached for item in systems[c].items.values())
            < spec.activity.entry_score[0]
        ):
            reached.add(code)
    return tuple(code for code in systems if code in reached)


def _severity(spec: Simulated, seed: int, subject: Course) -> _Severity:
    draw = stream(seed, subject.index, "activity")
    hidden = factors(spec, seed, subject)
    reached = involved(spec, seed, subject)
    made = {}
    for code, system in spec.activity.systems.items():
        own = system.mean + system.sd * draw.standard_normal()
        value = own + system.noise * draw.standard_normal(len(subject.occasions))
        for name, load in system.loads.items():
            value = value + load * hidden[name]
        if code in reached:
            made[code] = value
    return _Severity(made)


def _lab_points(study: Study, spec: Simulated, subject: Course, results: Values) -> np.ndarray:
    """Return the points that results give at every occasion."""
    points = np.zeros(len(subject.occasions), dtype=int)
    ranges = limits(study, spec.laboratory, subject)
    for item in spec.activity.lab_items:
        hit = np.zeros(len(points), dtype=bool)
        for test in item.tests:
            low, high = ranges[test]
            bound = item.limit if item.limit is not None else (low if item.beyond == "low" else high)
            if bound is not None:
                value = np.nan_to_num(results[test], nan=float(bound))
                hit |= value < float(bound) if item.beyond == "low" else value > float(bound)
        points += item.points * hit
    return points


def _grade(activity: Activity, value: float) -> str:
    return next((grade for grade, least in activity.grades.items() if value >= least), activity.quiet)


def _points(activity: Activity, severity: dict[str, np.ndarray], at: int) -> int:
    return sum(
        item.points
        for code, value in severity.items()
        for item in activity.systems[code].items.values()
        if value[at] >= item.at
    )


def scores(
    study: Study, spec: Simulated, seed: int, subject: Course
) -> tuple[list[int], dict[str, list[str]]]:
    """Return the total at every occasion, and the grade of every system.

    The subject's severity is shifted as a whole until both visits before the infusion meet the entry criteria, or
    fail them as planted.
    """
    activity = spec.activity
    raw = _severity(spec, seed, subject)
    by_lab = _lab_points(study, spec, subject, values(spec, seed, subject))
    entry = [i for i, o in enumerate(subject.occasions) if o.offset <= BASELINE]
    planted = subject.planted
    low, high = (planted.sledai if planted and planted.sledai else None) or activity.entry_score
    shift, severity = 0.0, raw.shifted(0.0)
    for _ in range(STEPS):
        totals = [_points(activity, severity, i) + int(by_lab[i]) for i in entry]
        graded = all(
            any(_grade(activity, value[i]) in activity.entry_grades for value in severity.values())
            for i in entry
        )
        if max(totals) > high:
            shift -= STEP
        elif min(totals) < low or not (graded or (planted and (planted.bilag_quiet or planted.sledai))):
            shift += STEP
        else:
            break
        severity = raw.shifted(shift)
    totals = [_points(activity, severity, i) + int(by_lab[i]) for i in range(len(subject.occasions))]
    grades = {
        code: [_grade(activity, v) for v in severity[code]]
        if code in severity
        else [activity.never] * len(totals)
        for code in activity.systems
    }
    for told in grades.values() if planted and planted.bilag_quiet else ():
        for at in entry:
            told[at] = _quiet(activity, told[at])
    return totals, grades


def _quiet(activity: Activity, grade: str) -> str:
    """Return the worst grade that does not meet the entry criterion, instead of one that does."""
    milder = next(name for name in activity.grades if name not in activity.entry_grades)
    return milder if grade in activity.entry_grades else grade


def rows(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[dict[str, str]]:
    """Yield the total and the grades of every visit that assesses them."""
    activity = spec.activity
    totals, grades = scores(study, spec, seed, subject)
    code, name, category = activity.score
    sequence = 0
    for at in subject.attended:
        occasion = subject.occasions[at]
        if occasion.VISIT not in activity.visits:
            continue
        told = [(code, name, category, str(totals[at]))]
        told += [(c, s.RSTEST, activity.category, grades[c][at]) for c, s in activity.systems.items()]
        for test, text, group, result in told:
            sequence += 1
            yield {
                "RSSEQ": str(sequence), "RSTESTCD": test, "RSTEST": text, "RSCAT": group, "RSORRES": result,
                "VISITNUM": occasion.VISITNUM, "VISIT": occasion.VISIT, "RSDTC": occasion.day,
            }  # fmt: skip
