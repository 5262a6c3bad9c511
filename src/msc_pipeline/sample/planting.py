"""Bad files for a demonstration: one resend cut off while it was sent, one resend with faulty extra rows.

Belongs here: the faults and what should become of them. Does not: judging them (expectations/).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

from msc_pipeline.sample.source import Row

WRONG_UNIT = "mmHg"
NO_DAY = "02-30"
CUT_BYTES = 7
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class PlantedFile:
    """One planted file: where it is, what was done to it, and the outcome it should have.

    rows: complete rows in the file. faults: planted faults → rows that show each.
    """

    file: str
    site: str
    domain: str
    rows: int
    expected: str
    faults: dict[str, int] = field(default_factory=dict)


def faulty_rows(rows: list[Row], columns: tuple[str, ...]) -> tuple[list[Row], dict[str, int]]:
    """Return about a tenth as many faulty lab rows as `rows`, and how many show each fault.

    A quarter has a wrong unit, a quarter a day no calendar has, half are pairs of one key with two results. They
    repeat rows of the site under sample times and sequence numbers of their own, so no good row is touched.
    """
    at = {name: i for i, name in enumerate(columns)}
    result, unit, when = at["LBORRES"], at["LBORRESU"], at["LBDTC"]
    usable = [row for row in rows if row[unit] and len(row[when]) >= 10 and _NUMBER.fullmatch(row[result])]
    groups = max(1, round(len(rows) / 40))
    seq = max((int(row[at["LBSEQ"]]) for row in rows), default=0)
    made: list[Row] = []

    def add(row: Row, moment: int, **cells: str) -> None:
        new = dict(zip(columns, row, strict=True))
        day = cells.pop("day", row[when][:10])
        new["LBDTC"] = f"{day}T22:{moment // 60 % 60:02d}:{moment % 60:02d}"
        new["LBSEQ"] = str(seq + len(made) + 1)
        new.update(cells)
        made.append(tuple(new.values()))

    step = max(1, len(usable) // (3 * groups))
    picked = usable[::step][: 3 * groups]
    for moment, row in enumerate(picked):
        if moment % 3 == 0:
            add(row, moment, LBORRESU=WRONG_UNIT)
        elif moment % 3 == 1:
            add(row, moment, day=f"{row[when][:4]}-{NO_DAY}")
        else:
            add(row, moment)
            add(row, moment, LBORRES=str(Decimal(row[result]) + 1))
    kinds = [len(picked[kind::3]) for kind in range(3)]
    faults = {"wrong unit": kinds[0], "impossible date": kinds[1], "one key, two results": 2 * kinds[2]}
    return made, faults
