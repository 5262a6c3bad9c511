"""What a checker must find in a simulated trial as it is drawn, before any dirt: planted cases and what chance brought.

Belongs here: facts about subjects. Does not: facts about cells that were made dirty (whoever makes them dirty).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from msc_pipeline.sample.simulation.course import DEATH, Course, course
from msc_pipeline.sample.simulation.events import adverse_events
from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.sample.simulation.planted import Fact
from msc_pipeline.study import Study

COMPLETED = "COMPLETED"


def facts(study: Study, spec: Simulated, *, seed: int | None = None) -> Iterator[Fact]:
    """Yield planted cases, missed visits, serious events, and who left, of the first copy of every subject.

    expected: curated table, what it holds, and the subject. Copies (`scale`) are drawn by chance alone.
    """
    seed = spec.seed if seed is None else seed
    subjects = [course(study, spec, seed, index) for index in range(spec.subjects)]
    as_of = max(subject.last for subject in subjects)
    for subject in subjects:
        who = f"USUBJID={subject.usubjid}"
        planted = subject.planted
        told = (
            [(case.column, case.fault, case.rule_id, case.expected) for case in planted.truth]
            if planted
            else []
        )
        told += [
            found
            for found in _by_chance(study, spec, seed, subject, as_of)
            if found[3] not in {t[3] for t in told}
        ]
        for column, fault, rule_id, expected in told:
            yield Fact("", "", column, fault, rule_id, f"{expected} {who}")


Found = tuple[str, str, str, str]


def _by_chance(study: Study, spec: Simulated, seed: int, subject: Course, as_of: date) -> Iterator[Found]:
    for visit in _missed(study, subject, as_of):
        yield "SVSTDTC", "missed visit", "", f"adsv MISSED VISIT={visit}"
    for event in adverse_events(study, spec, seed, subject):
        if event["AESER"] == "Y":
            yield "AESER", "serious adverse event", "", f"adae AESER=Y AEDECOD={event['AEDECOD']}"
    if subject.reason not in ("", COMPLETED, DEATH):
        yield "DSDECOD", "left the study", "", f"adsl EOSSTT=DISCONTINUED DSDECOD={subject.reason}"


def _missed(study: Study, subject: Course, as_of: date) -> Iterator[str]:
    """Yield planned visits whose window closed, while the subject was in the study, without a visit."""
    attended = {subject.occasions[at].VISIT for at in subject.attended}
    for visit in study.visits:
        closes = subject.date_of(visit.day - (visit.day > 0) + visit.after)
        gone = closes > subject.last if subject.reason else closes >= as_of
        if visit.VISIT not in attended and not gone:
            yield visit.VISIT
