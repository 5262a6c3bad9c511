"""DM, SV, EX and DS of a simulated subject: who took part, when, and how it ended.

Belongs here: rows of those four domains. Does not: dates and reasons (course), and nothing that tells the arm.
"""

from __future__ import annotations

from collections.abc import Iterator

from msc_pipeline.sample.simulation.course import DEATH, Course
from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.study import Study

Cells = dict[str, str]


def demographics(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[Cells]:
    """Yield the subject's one DM row."""
    person = subject.person
    died = subject.died
    yield {
        "SUBJID": f"{subject.number:03d}",
        "RFSTDTC": _minutes(subject.dosed), "RFENDTC": subject.last.isoformat() if subject.reason else "",
        "RFXSTDTC": _minutes(subject.dosed), "RFXENDTC": _minutes(subject.dose_ended),
        "RFICDTC": subject.consent.isoformat(), "RFPENDTC": subject.last.isoformat() if subject.reason else "",
        "DTHDTC": died.isoformat() if died else "", "DTHFL": "Y" if died else "",
        "SITEID": subject.site, "AGE": str(person.age), "AGEU": "YEARS", "SEX": person.sex, "RACE": person.race,
        "ETHNIC": person.ethnic, "COUNTRY": spec.people.country, "DMDTC": subject.consent.isoformat(),
    }  # fmt: skip


def _minutes(moment: object) -> str:
    return f"{moment:%Y-%m-%dT%H:%M}"


def visits(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[Cells]:
    """Yield an SV row for every visit that took place."""
    for at in subject.attended:
        occasion = subject.occasions[at]
        planned = occasion.panels is None
        yield {
            "VISITNUM": occasion.VISITNUM, "VISIT": occasion.VISIT, "SVSTDTC": occasion.day,
            "SVENDTC": occasion.day, "SVUPDES": "" if planned else "REPEAT OF LABORATORY TESTS",
        }  # fmt: skip


def exposure(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[Cells]:
    """Yield the one infusion: when, never what."""
    planted = subject.planted
    yield {
        "EXSEQ": "1", "EXSTDTC": _minutes(subject.dosed), "EXENDTC": _minutes(subject.dose_ended),
        "EXADJ": planted.infusion_paused if planted else "",
    }  # fmt: skip


def disposition(study: Study, spec: Simulated, seed: int, subject: Course) -> Iterator[Cells]:
    """Yield consent, randomisation and, once it happened, the end of the study for the subject."""
    day_one = subject.dosed.date().isoformat()
    consent = subject.consent.isoformat()
    events = [
        (
            "INFORMED CONSENT OBTAINED",
            "Informed consent obtained",
            "PROTOCOL MILESTONE",
            "SCREENING",
            consent,
        ),
        ("RANDOMIZED", "Randomized", "PROTOCOL MILESTONE", "TREATMENT", day_one),
    ]
    if subject.reason:
        text = spec.attendance.reasons.get(subject.reason, ("", 0.0))[0] or subject.reason.capitalize()
        text = "Death" if subject.reason == DEATH else text
        events.append((subject.reason, text, "DISPOSITION EVENT", "FOLLOW-UP", subject.last.isoformat()))
    for sequence, (code, term, category, epoch, day) in enumerate(events, 1):
        yield {
            "DSSEQ": str(sequence), "DSTERM": term, "DSDECOD": code, "DSCAT": category, "EPOCH": epoch,
            "DSDTC": day, "DSSTDTC": day,
        }  # fmt: skip
