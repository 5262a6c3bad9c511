"""Laboratory results of a simulated subject, correlated within the subject and over time.

Belongs here: values and LB rows. Does not: hidden factors (course), any analyte, range or unit by name (sample.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import numpy as np

from msc_pipeline.sample.simulation.course import Course, factors
from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.sample.simulation.planted import LAST
from msc_pipeline.sample.simulation.spec import Drawn, Laboratory, Test
from msc_pipeline.sample.simulation.streams import pick, stream
from msc_pipeline.study import Study

NOT_DONE = "NOT DONE"
Values = dict[str, np.ndarray]
Cells = dict[str, str]


def values(spec: Simulated, seed: int, subject: Course) -> Values:
    """Return every drawn and derived number at every occasion; NaN where a planted result is missing."""
    laboratory = spec.laboratory
    draw = stream(seed, subject.index, "laboratory")
    hidden = factors(spec, seed, subject)
    first = next(i for i, o in enumerate(subject.occasions) if o.offset == 0)
    made: Values = {}
    for name, law in _laws(laboratory).items():
        number = drawn(draw, law, hidden, subject)
        made[name] = _bounded(number, law, first)
    _plant(spec, subject, made)
    for _ in range(2):  # sums may be made from products
        for panel in laboratory.panels.values():
            for code, test in panel.tests.items():
                if test.derived:
                    made[code] = _derived(test, made)
    _plant(spec, subject, made)
    return {code: np.round(made[code], test.digits) for code, test in _tests(laboratory).items()}


def _laws(laboratory: Laboratory) -> dict[str, Drawn]:
    drawn = {code: test for code, test in _tests(laboratory).items() if not test.derived}
    return {**laboratory.helpers, **drawn}


def _tests(laboratory: Laboratory) -> dict[str, Test]:
    return {code: test for panel in laboratory.panels.values() for code, test in panel.tests.items()}


def drawn(draw: np.random.Generator, law: Drawn, hidden: Values, subject: Course) -> np.ndarray:
    """Return one number at every occasion, without its bounds."""
    number = len(subject.occasions)
    away = law.between * draw.standard_normal() + law.within * draw.standard_normal(number)
    for name, load in law.loads.items():
        away = away + load * hidden[name]
    middle = law.median * (law.male if subject.person.sex == "M" else 1)
    value: np.ndarray = middle + away if law.linear else middle * np.exp(away)
    return value


def _bounded(value: np.ndarray, law: Drawn, first: int) -> np.ndarray:
    """Keep unplanned values inside their bounds; `first` is the occasion of the infusion.

    A value beyond a bound is mirrored into the inside, not laid on it, so that no heap of equal values betrays it.
    """
    value = _within(value, law.least, law.most)
    low, high = law.entry
    value[: first + 1] = _within(value[: first + 1], low, high)
    if law.most_times_first is not None:
        ceiling = law.most_times_first * value[first]
        value = np.where(value > ceiling, ceiling * (ceiling / value) ** 0.5, value)
    return value


def _within(value: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    if low is not None:
        value = np.where(value < low, low * (low / np.maximum(value, low / 4)) ** 0.25, value)
    if high is not None:
        value = np.where(value > high, high * (high / value) ** 0.5, value)
    return value


def _derived(test: Test, made: Values) -> np.ndarray:
    parts = [made[name] for name in (*test.times, *test.plus) if name in made]
    value = np.sum(parts, axis=0) if test.plus else np.prod(parts, axis=0)
    if test.over:
        value = value / made[test.over]
    result: np.ndarray = value * test.scale
    return result


def _plant(spec: Simulated, subject: Course, made: Values) -> None:
    planted = subject.planted
    for case in planted.values if planted else ():
        if case.LBTESTCD in made:
            at = _position(spec, subject, case.visit, case.LBTESTCD)
            missing = case.value is None and not case.titer
            made[case.LBTESTCD][at] = np.nan if missing else float(case.value or 1)


def _position(spec: Simulated, subject: Course, visit: str, code: str) -> int:
    if visit != LAST:
        return next(i for i, o in enumerate(subject.occasions) if visit == o.VISIT)
    return [i for i in subject.attended if code in _taken(spec.laboratory, subject, i)][-1]


def _taken(laboratory: Laboratory, subject: Course, at: int) -> dict[str, tuple[str, str, Test]]:
    """Return the tests of one occasion: code → panel, tube, test."""
    occasion = subject.occasions[at]
    return {
        code: (name, panel.tube, test)
        for name, panel in laboratory.panels.items()
        for code, test in panel.tests.items()
        if (
            name in occasion.panels
            if occasion.panels is not None
            else not panel.visits or occasion.VISIT in panel.visits
        )
        and test.sex in (None, subject.person.sex)
    }


def rows(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[Cells]:
    """Yield LB rows in order of time."""
    laboratory = spec.laboratory
    made = values(spec, seed, subject)
    draw = stream(seed, subject.index, "cells")
    ranges = limits(study, laboratory, subject)
    units = {analyte.LBTESTCD: analyte.standard_unit for analyte in study.analytes}
    lost = draw.random((len(subject.occasions), len(made)))
    why = draw.integers(0, len(laboratory.not_done_reasons), len(subject.occasions))
    place = {code: i for i, code in enumerate(made)}
    known = _decided(spec, subject)
    titers = {code: pick(draw, test.titers) for code, test in _tests(laboratory).items() if test.titers}
    sequence = 0
    for at in subject.attended:
        occasion = subject.occasions[at]
        when = occasion.at.isoformat(timespec="minutes")
        point = spec.infusion.before if occasion.offset == 0 else ""
        for code, (panel, tube, test) in _taken(laboratory, subject, at).items():
            sequence += 1
            value = float(made[code][at])
            missing = np.isnan(value) or (
                lost[at, place[code]] < laboratory.not_done
                and not test.titers
                and (occasion.VISIT, code) not in known
            )
            titer = known.get((occasion.VISIT, code)) or titers.get(code)
            yield {
                "LBSEQ": str(sequence),
                "LBREFID": f"{subject.site}{subject.number:04d}-{at + 1:02d}{tube}",
                "LBTESTCD": code, "LBTEST": test.LBTEST, "LBCAT": panel, "LBSPEC": test.LBSPEC,
                "LBORRES": "" if missing else titer or _text(value, test),
                "LBORRESU": "" if missing else units[code],
                "LBORNRLO": _limit(ranges[code][0]), "LBORNRHI": _limit(ranges[code][1]),
                "LBSTAT": NOT_DONE if missing else "",
                "LBREASND": laboratory.not_done_reasons[why[at]] if missing else "",
                "LBTPT": point, "VISITNUM": occasion.VISITNUM, "VISIT": occasion.VISIT, "LBDTC": when,
            }  # fmt: skip


def _decided(spec: Simulated, subject: Course) -> dict[tuple[str, str], str]:
    """Return visit and test of every planted value, with its titer: those results are never lost."""
    planted = subject.planted
    return {
        (
            subject.occasions[_position(spec, subject, case.visit, case.LBTESTCD)].VISIT,
            case.LBTESTCD,
        ): case.titer
        for case in (planted.values if planted else ())
    }


Limits = dict[str, tuple[Decimal | None, Decimal | None]]


def limits(study: Study, laboratory: Laboratory, subject: Course) -> Limits:
    """Return each test's reference range at the site's laboratory, for the subject's sex."""
    lab = study.sites[subject.site].lab
    table = {**laboratory.ranges[laboratory.default_lab], **laboratory.ranges.get(lab, {})}
    sex = subject.person.sex
    return {code: table.get(code, {}).get(sex, (None, None)) for code in _tests(laboratory)}


def _limit(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}"


def _text(value: float, test: Test) -> str:
    """Return a result as the laboratory reports it: with its digits, beyond the assay's limits with a sign."""
    if test.below is not None and value < test.below:
        return f"<{test.below:g}"
    if test.above is not None and value > test.above:
        return f">{test.above:g}"
    return f"{value:.{test.digits}f}"
