"""The shape of studies/<id>/sample.yaml: which data of which package become which export, or what is simulated.

Belongs here: the model and its agreement with the study. Does not: reading data (source).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from msc_pipeline.errors import ConfigError
from msc_pipeline.sample.simulation import DOMAINS, Simulated
from msc_pipeline.study import Study

NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class OneRow(_Frozen):
    """One exported row per subject: `lowest` and `highest` columns hold the extreme of the subject's rows."""

    lowest: tuple[str, ...]
    highest: tuple[str, ...]


class Closed(_Frozen):
    """What goes to the closed list: all rows, these columns, in the file `<list>.parquet`."""

    list: str = Field(pattern=NAME)
    columns: tuple[str, ...] = Field(min_length=1)


class Export(_Frozen):
    """One domain: its datasets in the package, the exported columns, their row order, and what stays closed."""

    datasets: tuple[str, ...] = Field(min_length=1)
    order: tuple[str, ...] = Field(min_length=1)
    columns: tuple[str, ...] = Field(min_length=1)
    one_row_per_subject: OneRow | None = None
    closed: Closed | None = None

    @property
    def read(self) -> tuple[str, ...]:
        """Every column taken from the package."""
        closed = self.closed.columns if self.closed else ()
        return tuple(dict.fromkeys((*self.columns, *self.order, *closed)))

    @model_validator(mode="after")
    def _columns(self) -> Export:
        if "USUBJID" not in self.columns or self.order[0] != "USUBJID":
            raise ValueError("USUBJID is exported and comes first in `order`")
        if self.closed and "USUBJID" not in self.closed.columns:
            raise ValueError("the closed list names its subjects by USUBJID")
        if merged := self.one_row_per_subject:
            decided = {"STUDYID", "DOMAIN", "USUBJID", *merged.lowest, *merged.highest}
            if open_question := sorted(set(self.columns) - decided):
                raise ValueError(f"one row per subject: neither lowest nor highest: {open_question}")
        return self


class SimulatedSpec(_Frozen):
    """A sample that is drawn, not taken from a package; domains: the columns of each export, in order."""

    simulated: Simulated
    domains: dict[str, tuple[str, ...]] = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> SimulatedSpec:
        if unknown := sorted(set(self.domains) - set(DOMAINS)):
            raise ValueError(f"no such domain can be simulated: {unknown}")
        return self


class SampleSpec(_Frozen):
    """A sample: package and collection, the step between copies of a subject number, exports by domain."""

    package: str = Field(pattern=NAME)
    collection: str = Field(pattern=NAME)
    subject_step: int = Field(default=10_000, ge=10)
    domains: dict[str, Export] = Field(min_length=1)


def load_spec(study: Study, project: Path) -> SampleSpec | SimulatedSpec:
    """Read studies/<id>/sample.yaml and check that the study lets every exported column land, and no closed one.

    Raises: ConfigError SAMPLE_UNAVAILABLE when the study has none, SAMPLE_INVALID naming the field.
    """
    path = project / "studies" / study.id / "sample.yaml"
    if not path.is_file():
        raise ConfigError(
            "SAMPLE_UNAVAILABLE", f"study {study.id} has no sample data (studies/{study.id}/sample.yaml)"
        )
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        model = SimulatedSpec if isinstance(raw, dict) and "simulated" in raw else SampleSpec
        spec = model.model_validate(raw)
    except yaml.YAMLError:
        raise _invalid(study, "not YAML") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "sample"
        raise _invalid(study, f"{where}: {first['msg']}") from None
    if isinstance(spec, SimulatedSpec):
        _agree_simulated(study, spec)
    else:
        for domain, export in spec.domains.items():
            _agree(study, domain, export)
    return spec


def _agree_simulated(study: Study, spec: SimulatedSpec) -> None:
    for domain, columns in spec.domains.items():
        _may_land(study, domain, columns)
    simulated = spec.simulated
    units = {analyte.LBTESTCD for analyte in study.analytes}
    drawn = {code for panel in simulated.laboratory.panels.values() for code in panel.tests}
    planned = {visit.VISIT for visit in study.visits}
    if strange := sorted(drawn - units):
        raise _invalid(study, f"simulated.laboratory: not analytes of the study: {strange}")
    if strange := sorted({v for p in simulated.laboratory.panels.values() for v in p.visits} - planned):
        raise _invalid(study, f"simulated.laboratory: not visits of the study: {strange}")
    if strange := sorted(set(simulated.sites) - set(study.sites)):
        raise _invalid(study, f"simulated.sites: not sites of the study: {strange}")
    if set(simulated.randomisation.doses) != {arm.ARMCD for arm in study.arms}:
        raise _invalid(study, "simulated.randomisation.doses: not the arms of the study")


def _may_land(study: Study, domain: str, columns: tuple[str, ...]) -> set[str]:
    if domain not in study.domains:
        raise _invalid(study, f"domains.{domain}: the study does not collect it")
    may_land = set(study.domains[domain].columns)
    if strange := sorted(set(columns) - may_land):
        raise _invalid(study, f"domains.{domain}.columns: the study lets no such column land: {strange}")
    return may_land


def _agree(study: Study, domain: str, export: Export) -> None:
    may_land = _may_land(study, domain, export.columns)
    hidden = set(export.closed.columns) - set(export.columns) if export.closed else set()
    if leaking := sorted(hidden & may_land):
        raise _invalid(study, f"domains.{domain}.closed: the study would let these land: {leaking}")


def _invalid(study: Study, what: str) -> ConfigError:
    return ConfigError("SAMPLE_INVALID", f"studies/{study.id}/sample.yaml: {what}")
