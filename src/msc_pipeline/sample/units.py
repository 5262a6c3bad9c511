"""Units of a site: results and limits in standard units → those its laboratory reports in, rounded as it rounds.

Belongs here: conversion for samples, by the factors of sql/reference. Does not: conversion of received data (sql/).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from msc_pipeline.errors import ConfigError
from msc_pipeline.sample.dialects import Row, SiteUnit
from msc_pipeline.study import Study

_RESULT = re.compile(r"([<>]=? ?)?(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Scale:
    """value in the site's unit = (value in the standard unit × by − addend) / per."""

    by: Decimal
    per: Decimal
    addend: Decimal = Decimal(0)


@dataclass(frozen=True)
class Units:
    """The factors of sql/reference/units.csv and vital_units.csv: (test, unit, standard unit) → factor, addend.

    standard: test → the study's standard unit.
    """

    factors: Mapping[tuple[str, str, str], tuple[Decimal, Decimal]]
    standard: Mapping[str, str]

    def scale(self, test: str, unit: str, site_unit: str) -> Scale:
        """Return how a result goes from `unit` to `site_unit`. Raises: ConfigError DIALECT."""
        for (code, one, standard), (factor, addend) in self.factors.items():
            other = self.factors.get((test, site_unit, standard))
            if (code, one) == (test, unit) and other and addend == 0:
                return Scale(factor, other[0], other[1])
        raise ConfigError("DIALECT", f"{test}: no factor from {unit} to {site_unit}")


def load_units(study: Study, project: Path) -> Units:
    """Read the factors."""
    folder = project / "sql" / "reference"
    factors: dict[tuple[str, str, str], tuple[Decimal, Decimal]] = {}
    with (folder / "units.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            factors[row["LBTESTCD"], row["unit"], row["standard_unit"]] = (Decimal(row["factor"]), Decimal(0))
    with (folder / "vital_units.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = row["VSTESTCD"], row["unit"], row["check_unit"]
            factors[key] = (Decimal(row["factor"]), Decimal(row["addend"]))
    return Units(factors, {a.LBTESTCD: a.standard_unit for a in study.analytes})


def in_site_units(
    rows: Iterable[Row], columns: tuple[str, ...], code: str, wanted: Mapping[str, SiteUnit], units: Units
) -> Iterator[Row]:
    """Yield rows with results, limits and unit as the site reports them; other rows as they are.

    A test that was not done has limits, but no unit: they are taken to be in the study's standard unit.
    Raises: ConfigError DIALECT when there is no factor.
    """
    test, unit = f"{code}TESTCD", f"{code}ORRESU"
    if not wanted or test not in columns or unit not in columns:
        yield from rows
        return
    at = {name: i for i, name in enumerate(columns)}
    numbers = [at[n] for n in (f"{code}ORRES", f"{code}ORNRLO", f"{code}ORNRHI") if n in at]
    known: dict[tuple[str, str], Scale] = {}
    for row in rows:
        site = wanted.get(row[at[test]])
        before = row[at[unit]] or units.standard.get(row[at[test]], "")
        if site is None or not before or before == site.unit:
            yield row
            continue
        key = row[at[test]], before
        if key not in known:
            known[key] = units.scale(*key, site.unit)
        cells = list(row)
        for i in numbers:
            cells[i] = converted(cells[i], known[key], site.digits)
        cells[at[unit]] = site.unit if row[at[unit]] else ""
        yield tuple(cells)


def converted(cell: str, scale: Scale, digits: int) -> str:
    """Return a plain or censored number in the other unit, rounded half up; other text as it is."""
    found = _RESULT.fullmatch(cell)
    if not found:
        return cell
    value = (Decimal(found[2]) * scale.by - scale.addend) / scale.per
    return f"{found[1] or ''}{value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"
