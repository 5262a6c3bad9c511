"""The course of one simulated subject: person, dates, visits, leaving and hidden factors; everything else follows it.

Belongs here: what several domains must agree on. Does not: rows of any domain, and nothing that depends on an arm.

Draws are made for the whole planned course and cut at the data date afterwards, so that a later data date adds
visits and changes none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np

from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.sample.simulation.planted import Planted
from msc_pipeline.sample.simulation.spec import Normal, Sex
from msc_pipeline.sample.simulation.streams import between, pick, stream
from msc_pipeline.study import Study, Visit

SATURDAY = 5
DEATH = "DEATH"


@dataclass(frozen=True)
class Occasion:
    """One visit, planned or not. offset: days from the infusion. at: when samples are taken. panels: None is all."""

    VISIT: str
    VISITNUM: str
    offset: int
    at: datetime
    attended: bool
    panels: tuple[str, ...] | None = None

    @property
    def day(self) -> str:
        """The date as ISO text."""
        return self.at.date().isoformat()


@dataclass(frozen=True)
class Person:
    """Who the subject is; height in cm, weight at entry in kg."""

    sex: Sex
    age: int
    race: str
    ethnic: str
    height: float
    weight: float


@dataclass(frozen=True)
class Course:
    """One subject. ended: last day in the study so far. reason: why it ended, empty while it goes on."""

    index: int
    site: str
    number: int
    usubjid: str
    person: Person
    dosed: datetime
    dose_ended: datetime
    occasions: tuple[Occasion, ...]
    flares: tuple[tuple[int, float], ...]
    last: date
    reason: str
    planted: Planted | None

    @property
    def attended(self) -> list[int]:
        """Positions of the occasions that took place."""
        return [i for i, occasion in enumerate(self.occasions) if occasion.attended]

    @property
    def consent(self) -> date:
        """The day of consent is the day of the first visit."""
        return self.occasions[0].at.date()

    def date_of(self, offset: int) -> date:
        """Return the date so many days from the infusion."""
        return self.dosed.date() + timedelta(days=offset)

    @property
    def died(self) -> date | None:
        """The date of death."""
        return self.last if self.reason == DEATH else None


def course(study: Study, spec: Simulated, seed: int, index: int) -> Course:
    """Return the course of subject `index`: copies of the trial follow each other, sites in order within each."""
    site, number, place = _position(spec, index)
    planted = spec.plants.get((site, number))
    draw = stream(seed, index, "course")
    person = _person(spec, draw, planted)
    day_one = _day_one(spec, draw, site, place)
    sampled = _moment(spec, draw, day_one)
    dosed = sampled + timedelta(minutes=between(draw, spec.infusion.wait))
    dose_ended = dosed + timedelta(minutes=between(draw, spec.infusion.lasts))
    leaves, reason = _leaving(spec, draw, planted)
    occasions = _occasions(study, spec, draw, sampled, planted)
    flares = _flares(spec, draw, occasions[-1].offset)
    ends = occasions[-1].offset if occasions[-1].attended else 10**6
    if leaves < ends:
        ends = leaves
    else:
        reason = "COMPLETED"
    last_known = (spec.data_until - day_one).days
    occasions = [o if o.offset <= min(ends, last_known) else _absent(o) for o in occasions]
    if ends > last_known:
        ends, reason = max(o.offset for o in occasions if o.attended), ""
    return Course(
        index, site, number, spec.usubjid.format(site=site, number=number), person, dosed, dose_ended,
        tuple(occasions), flares, day_one + timedelta(days=ends), reason, planted,
    )  # fmt: skip


def _position(spec: Simulated, index: int) -> tuple[str, int, int]:
    """Return site, number at the site, and the subject's place in the site's order of enrolment (from 0)."""
    copy, rest = divmod(index, spec.subjects)
    for site, enrolment in spec.sites.items():
        if rest < enrolment.subjects:
            return site, rest + 1 + copy * spec.subject_step, rest
        rest -= enrolment.subjects
    raise AssertionError("divmod leaves less than the number of subjects")


def _normal(draw: np.random.Generator, law: Normal) -> float:
    return float(min(max(law.mean + law.sd * draw.standard_normal(), law.low), law.high))


def _person(spec: Simulated, draw: np.random.Generator, planted: Planted | None) -> Person:
    people = spec.people
    sex: Sex = "M" if pick(draw, people.sex) == "M" else "F"
    age = round(_normal(draw, people.age))
    race, ethnic = pick(draw, people.race), pick(draw, people.ethnic)
    height = round(_normal(draw, people.height[sex]), 1)
    weight = round(_normal(draw, people.bmi) * (height / 100) ** 2, 1)
    if planted and planted.age is not None:
        age = planted.age
    if planted and planted.weight is not None:
        weight = planted.weight
    return Person(planted.sex if planted and planted.sex else sex, age, race, ethnic, height, weight)


def _day_one(spec: Simulated, draw: np.random.Generator, site: str, place: int) -> date:
    """Return a working day: the site's first day for its first subject, its last for the last, between for others."""
    enrolment = spec.sites[site]
    steps = max(enrolment.subjects - 1, 1)
    moved = 0.8 * draw.random() - 0.4
    share = (place + (moved if 0 < place < steps else 0.0)) / steps
    day = enrolment.first + timedelta(days=round(share * (enrolment.last - enrolment.first).days))
    return _working(day, day - timedelta(days=3), day + timedelta(days=3), spec.attendance.holidays)


def _working(day: date, first: date, last: date, closed: tuple[str, ...]) -> date:
    """Return the working day nearest to `day` from `first` to `last`; `day` itself if there is none."""
    for step in (0, -1, 1, -2, 2, -3, 3):
        other = day + timedelta(days=step)
        if first <= other <= last and other.weekday() < SATURDAY and f"{other:%m-%d}" not in closed:
            return other
    return day


def _moment(spec: Simulated, draw: np.random.Generator, day: date) -> datetime:
    return datetime.combine(day, time()) + timedelta(minutes=between(draw, spec.attendance.opens))


def _leaving(spec: Simulated, draw: np.random.Generator, planted: Planted | None) -> tuple[int, str]:
    """Return when, in days from the infusion, and why the subject would leave."""
    day = 365.25 * draw.exponential() / spec.attendance.leaves_per_year
    reason = pick(draw, {code: weight for code, (_, weight) in spec.attendance.reasons.items()})
    if planted and planted.dies is not None:
        return planted.dies, DEATH
    if planted and planted.leaves:
        return planted.leaves
    if planted and not planted.may_leave:
        return 10**6, ""
    return max(10, round(day)), reason


def _occasions(
    study: Study, spec: Simulated, draw: np.random.Generator, sampled: datetime, planted: Planted | None
) -> list[Occasion]:
    """Return planned visits and planted unscheduled ones, in order of time."""
    day_one = sampled.date()
    made = []
    for visit in study.visits:
        at = _moment(spec, draw, _planned_day(spec, draw, day_one, visit, planted))
        missed = draw.random() < _missed(spec, visit) and visit is not study.visits[-1]
        if visit.day == 1:
            at, missed = sampled, False
        offset = (at.date() - day_one).days
        attended = not missed or visit.day <= 1 or (planted is not None and planted.keeps(visit.VISIT))
        attended = attended and not _skipped(planted, visit.VISIT)
        made.append(Occasion(visit.VISIT, f"{visit.VISITNUM.normalize():f}", offset, at, attended))
    when = {o.VISIT: o.at for o in made}
    for extra in planted.unscheduled if planted else ():
        day = when[extra.after].date() + timedelta(days=extra.days)
        number = f"{extra.VISITNUM.normalize():f}"
        at = _moment(spec, draw, _working(day, day, day + timedelta(days=3), spec.attendance.holidays))
        made.append(Occasion(extra.VISIT, number, (at.date() - day_one).days, at, True, extra.panels))
    return sorted(made, key=lambda o: o.at)


def _planned_day(
    spec: Simulated, draw: np.random.Generator, day_one: date, visit: Visit, planted: Planted | None
) -> date:
    """Return the day of a planned visit: near its target and inside its window, unless planted otherwise."""
    if visit.day < 1:
        day = day_one - timedelta(days=between(draw, spec.attendance.screening_days))
        return _working(day, day - timedelta(days=2), day_one - timedelta(days=1), spec.attendance.holidays)
    target = day_one + timedelta(days=visit.day - 1)
    first, last = target - timedelta(days=visit.before), target + timedelta(days=visit.after)
    away = draw.standard_normal() * spec.attendance.spread
    day = target + timedelta(
        days=round(max(-1.0, min(1.0, away)) * (visit.after if away > 0 else visit.before))
    )
    for other in planted.visits if planted else ():
        if other.visit == visit.VISIT and other.late:
            return last + timedelta(days=other.late)
        if other.visit == visit.VISIT and other.early:
            return first - timedelta(days=other.early)
    return _working(day, first, last, spec.attendance.holidays)


def _missed(spec: Simulated, visit: Visit) -> float:
    return max((share for day, share in spec.attendance.missed.items() if day <= visit.day), default=0.0)


def _skipped(planted: Planted | None, visit: str) -> bool:
    return planted is not None and any(v.visit == visit and v.missed for v in planted.visits)


def _flares(spec: Simulated, draw: np.random.Generator, until: int) -> tuple[tuple[int, float], ...]:
    """Return the first day and the size of every flare after the infusion."""
    number = draw.poisson(spec.flares.per_year * until / 365.25)
    days = sorted(int(day) for day in draw.integers(20, until + 1, size=number))
    low, high = spec.flares.size
    return tuple((day, low + (high - low) * float(draw.random())) for day in days)


def _absent(occasion: Occasion) -> Occasion:
    return Occasion(occasion.VISIT, occasion.VISITNUM, occasion.offset, occasion.at, False, occasion.panels)


def factors(spec: Simulated, seed: int, subject: Course) -> dict[str, np.ndarray]:
    """Return each hidden factor at every occasion: standard normal, slow, with its drop and the subject's flares."""
    draw = stream(seed, subject.index, "factors")
    days = np.array([o.offset for o in subject.occasions], dtype=float)
    made = {}
    for name, law in spec.factors.items():
        own = draw.standard_normal()
        steps = draw.standard_normal(len(days))
        wave = np.empty(len(days))
        for i, step in enumerate(steps):
            kept = 0.5 ** ((days[i] - days[i - 1]) / law.half_life) if i else 0.0
            wave[i] = kept * (wave[i - 1] if i else 0.0) + np.sqrt(1 - kept**2) * step
        value = np.sqrt(law.between) * own + np.sqrt(1 - law.between) * wave
        value -= law.drop * (1 - 0.5 ** (np.maximum(days, 0) / law.drop_half_life))
        if name == spec.flares.factor:
            value += _bursts(spec, subject, days)
        made[name] = value
    return made


def _bursts(spec: Simulated, subject: Course, days: np.ndarray) -> np.ndarray:
    total = np.zeros(len(days))
    for start, size in subject.flares:
        since = days - start
        total += np.where(since >= 0, size * 0.5 ** (np.maximum(since, 0) / spec.flares.half_life), 0.0)
    return total
