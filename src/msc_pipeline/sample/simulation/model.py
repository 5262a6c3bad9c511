"""The whole `simulated` part of sample.yaml, and what its sections must agree on.

Belongs here: the top of the model. Does not: its sections (spec, clinical, planted).
"""

from __future__ import annotations

from datetime import date
from functools import cached_property

from pydantic import Field, model_validator

from msc_pipeline.sample.simulation.clinical import (
    Activity,
    Condition,
    Events,
    Readings,
    Treatment,
    Vitals,
)
from msc_pipeline.sample.simulation.planted import Planted
from msc_pipeline.sample.simulation.spec import (
    Attendance,
    Enrolment,
    Factor,
    Flares,
    Frozen,
    Infusion,
    Laboratory,
    People,
)

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Dose(Frozen):
    """What one arm receives, for the closed list only."""

    EXTRT: str
    EXDOSE: str
    EXDOSU: str


class Randomisation(Frozen):
    """Arms in permuted blocks, from a random stream of their own. doses: by ARMCD."""

    list: str = Field(pattern=NAME)
    exposure_list: str = Field(pattern=NAME)
    block: int = Field(ge=1)
    seed: int
    doses: dict[str, Dose]


class Simulated(Frozen):
    """A simulated trial. data_until: nothing after it is known. subject_step: between the numbers of copies."""

    seed: int
    data_until: date
    subject_step: int = Field(ge=100)
    usubjid: str
    sites: dict[str, Enrolment] = Field(min_length=1)
    people: People
    attendance: Attendance
    infusion: Infusion
    factors: dict[str, Factor]
    flares: Flares
    laboratory: Laboratory
    activity: Activity
    treatment: Treatment
    events: Events
    history: tuple[Condition, ...]
    vitals: Vitals
    ecg: Readings
    radiography: Readings
    randomisation: Randomisation
    planted: tuple[Planted, ...] = ()

    @property
    def subjects(self) -> int:
        """Subjects of one copy of the trial."""
        return sum(site.subjects for site in self.sites.values())

    @cached_property
    def plants(self) -> dict[tuple[str, int], Planted]:
        """Planted cases by site and number."""
        return {(case.site, case.number): case for case in self.planted}

    @model_validator(mode="after")
    def _agrees(self) -> Simulated:
        if len(self.plants) != len(self.planted):
            raise ValueError("planted: a subject is named twice")
        for case in self.planted:
            if case.site not in self.sites or case.number > self.sites[case.site].subjects:
                raise ValueError("planted: a subject that no site enrols")
        known = set(self.factors)
        drawn = [t for p in self.laboratory.panels.values() for t in p.tests.values()]
        if strange := {f for d in (*drawn, *self.laboratory.helpers.values()) for f in d.loads} - known:
            raise ValueError(f"laboratory: unknown factors: {sorted(strange)}")
        if self.flares.factor not in known:
            raise ValueError("flares: unknown factor")
        return self
