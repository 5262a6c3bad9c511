"""The shape of the clinical sections of a simulated trial: activity, treatment, events, history, measurements.

Belongs here: models. Does not: drawing rows (activity, treatment, events, measures), any term or number.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from msc_pipeline.sample.simulation.spec import Drawn, Frozen, Weights


class Item(Frozen):
    """One item of the score: its points, and the severity of its organ system from which it is present."""

    points: int
    at: float


class System(Frozen):
    """One organ system. involved: share of subjects; severity = mean + sd · own + loads · factors + noise."""

    RSTEST: str
    involved: float = Field(ge=0, le=1)
    mean: float
    sd: float
    noise: float
    loads: Weights = Field(default_factory=dict)
    items: dict[str, Item] = Field(default_factory=dict)


class LabItem(Frozen):
    """An item of the score that the laboratory decides: any of `tests` beyond its range, or below a limit."""

    points: int
    tests: tuple[str, ...]
    beyond: Literal["low", "high"]
    limit: float | None = None


class Activity(Frozen):
    """Disease activity. score: code, name and category of the total; grades: least severity of each, worst first.

    never, quiet: grades of a system that never was, or no longer is, active. entry: bounds of the score before the
    infusion, and the grades of which one at least is there.
    """

    visits: tuple[str, ...]
    score: tuple[str, str, str]
    category: str
    systems: dict[str, System]
    lab_items: tuple[LabItem, ...]
    grades: dict[str, float]
    never: str
    quiet: str
    entry_score: tuple[int, int]
    entry_grades: tuple[str, ...]


class Drug(Frozen):
    """A medication: name, class, unit, route, indication, and doses by frequency."""

    CMTRT: str
    CMCLAS: str
    CMDOSU: str
    CMROUTE: str
    CMINDC: str
    CMDOSFRQ: str
    doses: tuple[float, ...] = Field(min_length=1)


class Steroid(Frozen):
    """The steroid and its taper. per_kg: most at entry, mg/kg/day. goal: dose after the taper, at `taper` days.

    burst: doses of a flare, burst_days its length; after it the dose falls back over `back_days`.
    """

    drug: Drug
    entry_doses: dict[float, float]
    per_kg: float
    stable_days: tuple[int, int]
    taper: tuple[int, ...]
    goals: tuple[float, ...]
    burst: tuple[float, ...]
    burst_days: tuple[int, int]
    back_days: tuple[int, int]
    treated: float


class Choice(Frozen):
    """Medications of which a subject takes one, or none (share). stable_days: least time unchanged at entry.

    changed: share of flares that change the dose or the drug; stopped: share that stops it a year and more after.
    """

    share: float
    drugs: tuple[Drug, ...]
    weights: tuple[float, ...]
    stable_days: int
    changed: float = 0
    stopped: float = 0


class Past(Frozen):
    """A medication that ended before the study: share, and days between its end and the infusion."""

    share: float
    drug: Drug
    ended: tuple[int, int]
    lasted: tuple[int, int]


class Other(Frozen):
    """A medication taken throughout (share); with: a drug it goes with; needs: an organ system."""

    share: float
    drug: Drug
    goes_with: str = ""
    needs: str = ""


class Treatment(Frozen):
    """All medication. on_day_one: given before the infusion to everybody."""

    steroid: Steroid
    groups: tuple[Choice, ...]
    past: tuple[Past, ...]
    others: tuple[Other, ...]
    on_day_one: tuple[Drug, ...] = ()


class Event(Frozen):
    """A kind of adverse event. terms: as sites write it. severity: weights. days: middle length. serious: share.

    since: the first day on which there was such a thing.
    """

    AEDECOD: str
    AEBODSYS: str
    terms: tuple[str, ...] = Field(min_length=1)
    weight: float
    days: float
    severity: Weights
    serious: float = 0
    since: date | None = None


class Events(Frozen):
    """Adverse events. per_year: from a day on. flare: the event of a flare from `flare_from` in size."""

    per_year: dict[int, float]
    quiet_days: int
    grades: dict[str, str]
    relation: Weights
    action: str
    flare: Event
    flare_from: float
    kinds: tuple[Event, ...]


class Condition(Frozen):
    """A condition of the past; years: between its start and the infusion. needs: an organ system."""

    MHTERM: str
    MHDECOD: str
    MHBODSYS: str
    MHCAT: str
    share: float
    years: tuple[int, int]
    needs: str = ""


class Measure(Drawn):
    """A measurement. of: a share of the person's weight or height. upon: it lies this much above another measurement.

    digits: as written; visits: all when empty.
    """

    name: str
    unit: str
    digits: int = Field(ge=0, le=2)
    median: float = 1
    of: Literal["", "weight", "height"] = ""
    upon: str = ""
    visits: tuple[str, ...] = ()


class Vitals(Frozen):
    """Vital signs. after: VSTPT → minutes after the end of the infusion; only `again` is measured then."""

    position: str
    measures: dict[str, Measure]
    after: dict[str, int]
    again: tuple[str, ...]


class Readings(Frozen):
    """An examination read as one of `readings`. odd: share of subjects who have the second reading, and how often.

    Readings of the third kind are planted only.
    """

    visits: tuple[str, ...]
    method: str
    readings: tuple[str, str, str]
    odd: float
    often: float
    seldom: float
    measures: dict[str, Measure] = Field(default_factory=dict)
    code: str = ""
    name: str = ""
    position: str = ""
