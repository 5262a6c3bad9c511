"""What is planted in a simulated trial: cases that a checker must find, by subject, as data of sample.yaml.

Belongs here: the shape of a planted case and of the facts that tell about it. Does not: drawing or writing rows.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

from pydantic import Field

from msc_pipeline.sample.simulation.spec import Frozen, Sex

LAST = "LAST"
"""Stands for the last attended visit that takes the test."""


class Fact(NamedTuple):
    """One row of the truth file. file and row are empty where the fact is about a subject, not a cell."""

    file: str
    row: str
    column: str
    fault: str
    rule_id: str
    expected: str


class Telling(Frozen):
    """What the planted case must become: `expected` is followed by the subject's USUBJID. column: what decides it."""

    fault: str
    expected: str
    column: str = ""
    rule_id: str = ""


class PlantedValue(Frozen):
    """A result at one visit, in the standard unit, or a titer; with neither the test was not done."""

    visit: str
    LBTESTCD: str
    value: Decimal | None = None
    titer: str = ""


class PlantedVisit(Frozen):
    """A planned visit that was missed, or held so many days after its window closed (before it opened: early)."""

    visit: str
    missed: bool = False
    late: int = Field(default=0, ge=0)
    early: int = Field(default=0, ge=0)


class Unscheduled(Frozen):
    """An extra visit so many days after a planned one; panels: what was taken."""

    VISIT: str
    VISITNUM: Decimal
    after: str
    days: int = Field(ge=1)
    panels: tuple[str, ...]


class PlantedMedication(Frozen):
    """A medication record instead of the subject's own of that drug. start, end: days from the infusion.

    told: how much of the start is known.
    """

    CMTRT: str
    CMCLAS: str
    CMDOSE: str
    CMDOSU: str
    CMDOSFRQ: str
    CMROUTE: str
    CMINDC: str
    start: int
    end: int | None = None
    told: Literal["day", "month", "year"] = "day"


class PlantedEvent(Frozen):
    """An adverse event; start, end: minutes from the start of the infusion, or days (unit). No end: not over.

    serious: which AES… flag says why. with_time: dates are told to the minute.
    """

    AETERM: str
    AEDECOD: str
    AEBODSYS: str
    AESEV: Literal["MILD", "MODERATE", "SEVERE"]
    AETOXGR: str
    AEREL: str
    AEOUT: str
    start: int
    end: int | None = None
    unit: Literal["minutes", "days"] = "days"
    serious: tuple[Literal["AESCONG", "AESDISAB", "AESDTH", "AESHOSP", "AESLIFE"], ...] = ()


class PlantedHistory(Frozen):
    """A condition of the past; years: how long before the infusion it began."""

    MHTERM: str
    MHDECOD: str
    MHBODSYS: str
    years: int


class PlantedFinding(Frozen):
    """The reading of an ECG or a chest radiograph at one visit."""

    domain: Literal["EG", "XR"]
    visit: str
    reading: Literal["NORMAL", "ABNORMAL NCS", "ABNORMAL CS"]


class Planted(Frozen):
    """Everything planted in one subject.

    weight: kg at entry, where a dose per kg is planted.
    may_leave: whether the subject may leave by chance. kept: visits that are not missed by chance. sledai: lowest
    and highest score at entry. bilag_quiet: no grade A or B at entry.
    dies, leaves: days from the infusion. infusion_paused: the text of EXADJ.
    """

    site: str
    number: int = Field(ge=1)
    truth: tuple[Telling, ...] = Field(min_length=1)
    sex: Sex | None = None
    age: int | None = None
    weight: float | None = Field(default=None, gt=0)
    may_leave: bool = False
    kept: tuple[str, ...] = ()
    sledai: tuple[int, int] | None = None
    bilag_quiet: bool = False
    dies: int | None = None
    leaves: tuple[int, str] | None = None
    infusion_paused: str = ""
    visits: tuple[PlantedVisit, ...] = ()
    unscheduled: tuple[Unscheduled, ...] = ()
    values: tuple[PlantedValue, ...] = ()
    medications: tuple[PlantedMedication, ...] = ()
    events: tuple[PlantedEvent, ...] = ()
    history: tuple[PlantedHistory, ...] = ()
    findings: tuple[PlantedFinding, ...] = ()

    def keeps(self, visit: str) -> bool:
        """Whether the visit may not be missed by chance, because something is planted in it."""
        return visit in self.kept or any(
            visit == name
            for name in (
                *(case.visit for case in self.values),
                *(case.visit for case in self.findings),
                *(case.after for case in self.unscheduled),
                *(case.visit for case in self.visits),
            )
        )
