"""Vital signs, ECG and chest radiography of a simulated subject.

Belongs here: VS, EG and XR rows. Does not: the person and dates (course), any measurement by name (sample.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from msc_pipeline.sample.simulation.clinical import Measure, Readings
from msc_pipeline.sample.simulation.course import Course, Occasion, factors
from msc_pipeline.sample.simulation.laboratory import Values, drawn
from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.sample.simulation.streams import stream
from msc_pipeline.study import Study

BEFORE_SAMPLES = timedelta(minutes=15)


def _measured(
    spec: Simulated, subject: Course, measures: dict[str, Measure], draw: np.random.Generator, hidden: Values
) -> Values:
    """Return every measurement at every occasion."""
    made: Values = {}
    for code, law in measures.items():
        value = drawn(draw, law, hidden, subject)
        if law.of:
            value = value * (subject.person.weight if law.of == "weight" else subject.person.height)
        if (law.least, law.most) != (None, None):
            value = np.clip(value, law.least, law.most)
        made[code] = value + made[law.upon] if law.upon else value
    return made


def vital_signs(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[dict[str, str]]:
    """Yield VS rows of every visit; on the day of the infusion before it and after."""
    vitals = spec.vitals
    draw = stream(seed, subject.index, "measures")
    made = _measured(spec, subject, vitals.measures, draw, factors(spec, seed, subject))
    noise = draw.standard_normal((len(vitals.after), len(vitals.measures)))
    sequence = 0
    for at in subject.attended:
        occasion = subject.occasions[at]
        if occasion.panels is not None:
            continue
        moments = [(occasion.at - BEFORE_SAMPLES, spec.infusion.before if occasion.offset == 0 else "", 0.0)]
        if occasion.offset == 0:
            moments += [
                (subject.dose_ended + timedelta(minutes=m), point, 1.0) for point, m in vitals.after.items()
            ]
        for turn, (when, point, again) in enumerate(moments):
            for place, (code, law) in enumerate(vitals.measures.items()):
                if (again and code not in vitals.again) or (law.visits and occasion.VISIT not in law.visits):
                    continue
                away = law.within * noise[turn - 1, place] / 2 if again else 0.0
                value = made[code][at] + away if law.linear else made[code][at] * np.exp(away)
                sequence += 1
                yield {
                    "VSSEQ": str(sequence), "VSTESTCD": code, "VSTEST": law.name,
                    "VSPOS": "" if law.of else vitals.position, "VSORRES": f"{value:.{law.digits}f}",
                    "VSORRESU": law.unit, **_when(occasion, "VSDTC", when), "VSTPT": point,
                }  # fmt: skip


def _when(occasion: Occasion, column: str, when: datetime) -> dict[str, str]:
    return {
        "VISITNUM": occasion.VISITNUM, "VISIT": occasion.VISIT, column: when.isoformat(timespec="minutes"),
    }  # fmt: skip


def _read(subject: Course, law: Readings, domain: str, draw: np.random.Generator) -> dict[int, str]:
    """Return the reading of every visit that has one: some subjects often have the second kind."""
    often = law.often if draw.random() < law.odd else law.seldom
    marks = draw.random(len(subject.occasions))
    planted = (
        {f.visit: f.reading for f in subject.planted.findings if f.domain == domain}
        if subject.planted
        else {}
    )
    return {
        at: planted.get(subject.occasions[at].VISIT, law.readings[1 if marks[at] < often else 0])
        for at in subject.attended
        if subject.occasions[at].VISIT in law.visits
    }


def ecg(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[dict[str, str]]:
    """Yield EG rows: intervals and the reader's interpretation."""
    law = spec.ecg
    draw = stream(seed, subject.index, "ecg")
    made = _measured(spec, subject, law.measures, draw, factors(spec, seed, subject))
    sequence = 0
    for at, reading in _read(subject, law, "EG", draw).items():
        occasion = subject.occasions[at]
        told = [(code, m.name, f"{made[code][at]:.{m.digits}f}", m.unit) for code, m in law.measures.items()]
        for code, name, result, unit in (*told, (law.code, law.name, reading, "")):
            sequence += 1
            yield {
                "EGSEQ": str(sequence), "EGTESTCD": code, "EGTEST": name, "EGORRES": result, "EGORRESU": unit,
                "EGCLSIG": ("Y" if reading == law.readings[2] else "N") if code == law.code else "",
                "EGMETHOD": law.method, "EGPOS": law.position,
                "EGTPT": spec.infusion.before if occasion.offset == 0 else "",
                **_when(occasion, "EGDTC", occasion.at - 2 * BEFORE_SAMPLES),
            }  # fmt: skip


def radiography(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[dict[str, str]]:
    """Yield XR rows: one reading a visit."""
    law = spec.radiography
    read = _read(subject, law, "XR", stream(seed, subject.index, "radiography"))
    for sequence, (at, reading) in enumerate(read.items(), 1):
        occasion = subject.occasions[at]
        yield {
            "XRSEQ": str(sequence), "XRORRES": reading, "XRMETHOD": law.method, "VISITNUM": occasion.VISITNUM,
            "VISIT": occasion.VISIT, "XRDTC": occasion.day,
        }  # fmt: skip
