"""Dirt: slips dealt out over the rows of a trial's exports, and where each of them ends up.

Belongs here: which rows, how many, what the truth file says of them. Does not: the slips themselves (slips), whole
files (damage).

A share P of what could be dirty is dirty: of each export a share P of `MOST` of its rows, which stays below what a
delivery may have in quarantine. Each kind is planted once at the least.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil
from pathlib import Path
from random import Random

from msc_pipeline.sample.dialects import Row
from msc_pipeline.sample.sending import Line
from msc_pipeline.sample.simulation import Fact
from msc_pipeline.sample.slips import KINDS, Kind, Place, Planted
from msc_pipeline.sample.units import Units
from msc_pipeline.study import Study
from msc_pipeline.suites import Comparison, load_suites

MOST = 0.06
"""Share of an export's rows that slips may take at P = 1."""

TRIES = 400


@dataclass(frozen=True)
class Bench:
    """One export while slips are planted. whole: delimited text, which can hold broken lines.

    kept: subjects whose rows stay as they are, since cases are planted in them.
    """

    site: str
    domain: str
    columns: tuple[str, ...]
    rows: list[Row]
    file: str
    first_row: int
    whole: bool
    kept: frozenset[str]
    place: Place
    slots: dict[int, tuple[Kind, str, list[Planted | Line]]] = field(default_factory=dict)

    def plant(self, kind: Kind, random: Random) -> bool:
        """Put one slip into a row that has none; False where it fits no row."""
        if kind.domain != self.domain or (kind.lines and not self.whole) or not self.rows:
            return False
        who = self.columns.index("USUBJID")
        for _ in range(TRIES):
            at = random.randrange(len(self.rows))
            row = self.rows[at]
            if at in self.slots or row[who] in self.kept:
                continue
            made = kind.slip(dict(zip(self.columns, row, strict=True)), self.place)
            if made:
                self.slots[at] = (kind, *made)
                return True
        return False

    @property
    def refused(self) -> int:
        """Rows that will go to quarantine."""
        return sum(2 for kind, _, _ in self.slots.values() if kind.refused)

    def lines(self) -> Iterable[Row | Line]:
        """Return the rows of the file, in its order."""
        for at, row in enumerate(self.rows):
            if at in self.slots:
                for part in self.slots[at][2]:
                    yield part if isinstance(part, Line) else tuple(part.cells.values())
            else:
                yield row

    def facts(self) -> list[Fact]:
        """Return the truth about every planted row."""
        told, number = [], self.first_row
        for at in range(len(self.rows)):
            for part in self.slots[at][2] if at in self.slots else (None,):
                if part is not None and (isinstance(part, Line) or part.column):
                    kind, rule, _ = self.slots[at]
                    column = "" if isinstance(part, Line) else part.column
                    told.append(Fact(self.file, str(number), column, kind.fault, rule, kind.expected))
                number += 1
        return told


def deal(benches: Sequence[Bench], share: float, random: Random) -> None:
    """Plant slips in the exports: `share` of what could be, each kind once at the least.

    The kinds of a domain are dealt in turn, so that all are about equally frequent.
    """
    for domain in dict.fromkeys(kind.domain for kind in KINDS):
        kinds = deque(kind for kind in KINDS if kind.domain == domain)
        mine = [bench for bench in benches if bench.domain == domain and bench.rows]
        if not mine:
            continue
        kinds.rotate(random.randrange(len(kinds)))
        missing = set(kinds)
        least = ceil(len(kinds) / len(mine))
        for bench in mine:
            for _ in range(max(least, round(share * MOST * len(bench.rows)))):
                missing -= _next(bench, kinds, random)
        for kind in [kind for kind in KINDS if kind in missing]:
            for bench in random.sample(mine, len(mine)):
                if bench.plant(kind, random):
                    break


def _next(bench: Bench, kinds: deque[Kind], random: Random) -> set[Kind]:
    """Plant the next kind that fits; return it."""
    for _ in range(len(kinds)):
        kind = kinds[0]
        kinds.rotate(-1)
        if bench.plant(kind, random):
            return {kind}
    return set()


@dataclass(frozen=True)
class Limits:
    """The critical ranges of results in the study's suites: test → (rule, lowest, highest, unit)."""

    ranges: dict[str, tuple[str, Decimal | None, Decimal | None, str]]
    units: Units

    def beyond(self, test: str, result: Decimal, unit: str) -> str:
        """Return the rule that a result breaks, or nothing."""
        if test not in self.ranges or not unit:
            return ""
        rule, low, high, standard = self.ranges[test]
        found = self.units.factors.get((test, unit, standard))
        if found is None:
            return ""
        value = result * found[0]
        broken = (high is not None and value > high) or (low is not None and value < low)
        return rule if broken else ""


def load_limits(study: Study, domain: str, units: Units, project: Path) -> Limits:
    """Read the critical ranges from the suites that judge `domain`, in the unit of sql/reference/check_units.csv."""
    text = (project / "sql" / "reference" / "check_units.csv").read_text(encoding="utf-8")
    unit_of = dict(line.split(",")[:2] for line in text.splitlines()[1:])
    ranges: dict[str, tuple[str, Decimal | None, Decimal | None, str]] = {}
    for suite in load_suites(study.domains[domain].suites, project):
        for rule in suite.rules:
            given, where = rule.kwargs, rule.kwargs.row_condition
            if rule.severity != "critical" or not rule.type.endswith("_between"):
                continue
            if given.column != f"{domain}VAL_STD" or not isinstance(where, Comparison):
                continue
            tests = where.parameter if isinstance(where.parameter, tuple) else (where.parameter,)
            for test in tests:
                if str(test) in unit_of:
                    low, high = _bound(given.min_value), _bound(given.max_value)
                    ranges[str(test)] = (rule.id, low, high, unit_of[str(test)])
    return Limits(ranges, units)


def _bound(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))
