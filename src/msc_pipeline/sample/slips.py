"""Slips: what goes wrong in single rows of an export, and the rule that must find each.

Belongs here: one kind of fault each, applied to one good row. Does not: which rows get which (dirt), what is wrong
with whole files (damage), any analyte, drug or arm by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from msc_pipeline.sample.sending import Line

Cells = Mapping[str, str]
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class Planted:
    """One row as it goes into the file. column: where to look; none: it is as it was."""

    cells: dict[str, str]
    column: str = ""


@dataclass(frozen=True)
class Place:
    """What a slip may need to know: the arm's name, another site's subject, a subject nobody knows, when data end.

    beyond: (test, result, unit) → the critical rule that such a result breaks, or nothing.
    """

    arm: str
    other_subject: str
    unknown_subject: str
    last_year: int
    beyond: Callable[[str, Decimal, str], str]


Slip = Callable[[Cells, Place], tuple[str, list[Planted | Line]] | None]
"""Applied to a good row: (rule that finds it, what stands in its place), or None where it does not fit."""


@dataclass(frozen=True)
class Kind:
    """One kind of slip. domain: of its export. lines: needs delimited text. refused: rows that leave the data."""

    fault: str
    domain: str
    expected: str
    slip: Slip
    lines: bool = False

    @property
    def refused(self) -> bool:
        """Whether the row goes to quarantine, which a file bears only a share of."""
        return self.expected.startswith("quarantined")


def _changed(rule: str, column: str, change: Callable[[str], str | None]) -> Slip:
    """Return a slip that changes one cell; `change` answers None where it does not fit."""

    def slip(cells: Cells, place: Place) -> tuple[str, list[Planted | Line]] | None:
        new = change(cells.get(column, ""))
        return None if new is None else (rule, [Planted({**cells, column: new}, column)])

    return slip


def _added(rule: str, column: str, subject: Callable[[Place], str]) -> Slip:
    """Return a slip that adds the row again under another subject; the good row stays."""

    def slip(cells: Cells, place: Place) -> tuple[str, list[Planted | Line]] | None:
        return rule, [Planted(dict(cells)), Planted({**cells, column: subject(place)}, column)]

    return slip


def _line(rule: str, **how: object) -> Slip:
    """Return a slip that adds a broken line behind a good row."""

    def slip(cells: Cells, place: Place) -> tuple[str, list[Planted | Line]] | None:
        return rule, [Planted(dict(cells)), Line(tuple(cells.values()), **how)]  # type: ignore[arg-type]

    return slip


def _twice(cells: Cells, place: Place) -> tuple[str, list[Planted | Line]] | None:
    return "ID-006", [Planted(dict(cells)), Planted(dict(cells), "USUBJID")]


def _conflict(cells: Cells, place: Place) -> tuple[str, list[Planted | Line]] | None:
    result = cells["LBORRES"]
    if not _NUMBER.fullmatch(result):
        return None
    other = {**cells, "LBORRES": str(Decimal(result) + 1)}
    return "ID-005", [Planted(dict(cells), "LBORRES"), Planted(other, "LBORRES")]


def _times(factor: int) -> Slip:
    def slip(cells: Cells, place: Place) -> tuple[str, list[Planted | Line]] | None:
        if not _NUMBER.fullmatch(cells["LBORRES"]):
            return None
        result = Decimal(cells["LBORRES"]) * factor
        rule = place.beyond(cells["LBTESTCD"], result, cells["LBORRESU"])
        return (rule, [Planted({**cells, "LBORRES": f"{result:f}"}, "LBORRES")]) if rule else None

    return slip


def _swapped(cells: Cells, place: Place) -> tuple[str, list[Planted | Line]] | None:
    low, high = cells.get("LBORNRLO", ""), cells.get("LBORNRHI", "")
    if not (_NUMBER.fullmatch(low) and _NUMBER.fullmatch(high)) or Decimal(low) >= Decimal(high):
        return None
    return "LB-013", [Planted({**cells, "LBORNRLO": high, "LBORNRHI": low}, "LBORNRLO LBORNRHI")]


def _dated(rule: str, column: str, when: Callable[[str, Place], str]) -> Slip:
    def slip(cells: Cells, place: Place) -> tuple[str, list[Planted | Line]] | None:
        cell = cells.get(column, "")
        return (rule, [Planted({**cells, column: when(cell, place)}, column)]) if _DAY.match(cell) else None

    return slip


def _no_day(cell: str, place: Place) -> str:
    return f"{cell[:4]}-02-30{cell[10:]}"


def _future(cell: str, place: Place) -> str:
    return f"{place.last_year + 3}{cell[4:]}"


def _numeric(change: Callable[[str], str]) -> Callable[[str], str | None]:
    return lambda cell: change(cell) if _NUMBER.fullmatch(cell) else None


def _comma(cell: str) -> str | None:
    return cell.replace(".", ",") if re.fullmatch(r"\d+\.\d+", cell) else None


def _garbled(cell: str) -> str | None:
    return re.sub("u(?=[a-zA-Z])", "\u00c2\u00b5", cell) if re.search("u[a-zA-Z]", cell) else None


def _below(cell: str) -> str | None:
    return "<0.1" if _NUMBER.fullmatch(cell) and Decimal("0.05") < Decimal(cell) < Decimal("0.6") else None


def _above(cell: str) -> str | None:
    return ">1210" if _NUMBER.fullmatch(cell) and Decimal(cell) > 300 else None


def _tells(rule: str, column: str) -> Slip:
    def slip(cells: Cells, place: Place) -> tuple[str, list[Planted | Line]] | None:
        text = f"{cells[column]} ({place.arm}?)".strip()
        return rule, [Planted({**cells, column: text}, column)]

    return slip


def _unknown(place: Place) -> str:
    return place.unknown_subject


def _other(place: Place) -> str:
    return place.other_subject


def _unit(cell: str) -> str | None:
    return "arb. units" if cell else None


def _late_hour(cell: str) -> str | None:
    return f"{cell[:10]}T24:00" if len(cell) == 16 else None


def _hidden(cell: str) -> str:
    return f"{cell}\u00a0"


QUARANTINED, ASKED = "quarantined", "accepted: query"
KINDS = (
    Kind("duplicate, same values", "LB", "accepted: counted once", _twice),
    Kind("duplicate key, other values", "LB", "quarantined: both rows", _conflict),
    Kind("censored below", "LB", "accepted: interval [0, 0.1)", _changed("", "LBORRES", _below)),
    Kind("censored above", "LB", "accepted: interval above 1210", _changed("", "LBORRES", _above)),
    Kind("result x 10", "LB", QUARANTINED, _times(10)),
    Kind("result x 1000", "LB", QUARANTINED, _times(1000)),
    Kind("limits swapped", "LB", QUARANTINED, _swapped),
    Kind("unknown subject", "LB", "held", _added("X-LB-001", "USUBJID", _unknown)),
    Kind("subject of another site", "LB", QUARANTINED, _added("ID-004", "USUBJID", _other)),
    Kind("unit garbled", "LB", QUARANTINED, _changed("LB-022", "LBORRESU", _garbled)),
    Kind("unit unknown", "LB", QUARANTINED, _changed("LB-010", "LBORRESU", _unit)),
    Kind("day that no calendar has", "LB", QUARANTINED, _dated("LB-005", "LBDTC", _no_day)),
    Kind("date in the future", "LB", QUARANTINED, _dated("LB-006", "LBDTC", _future)),
    Kind("hour 24", "LB", QUARANTINED, _changed("LB-005", "LBDTC", _late_hour)),
    Kind("text for a number", "LB", QUARANTINED, _changed("LB-009", "LBORRES", _numeric(lambda _: "see comment"))),
    Kind("decimal comma undeclared", "LB", QUARANTINED, _changed("LB-026", "LBORRES", _comma)),
    Kind("odd number", "LB", QUARANTINED, _changed("LB-021", "LBORRES", _numeric(lambda _: "nan"))),
    Kind("result missing", "LB", QUARANTINED, _changed("LB-007", "LBORRES", _numeric(lambda _: ""))),
    Kind("identifier with a hidden blank", "LB", QUARANTINED, _changed("ID-003", "USUBJID", _hidden)),
    Kind("short row", "LB", QUARANTINED, _line("FILE-001", keep=3), lines=True),
    Kind("long row", "LB", QUARANTINED, _line("FILE-001", more=("", "1")), lines=True),
    Kind("header repeated", "LB", QUARANTINED, _line("FILE-004", header=True), lines=True),
    Kind("footer", "LB", QUARANTINED, _line("FILE-001", keep=0, more=("End of report",)), lines=True),
    Kind("text for a number", "VS", QUARANTINED, _changed("VS-009", "VSORRES", _numeric(lambda _: "not taken"))),
    Kind("unit unknown", "VS", QUARANTINED, _changed("VS-010", "VSORRESU", _unit)),
    Kind("day that no calendar has", "VS", QUARANTINED, _dated("VS-003", "VSDTC", _no_day)),
    Kind("date in the future", "VS", QUARANTINED, _dated("VS-004", "VSDTC", _future)),
    Kind("unknown subject", "VS", "held", _added("X-VS-001", "USUBJID", _unknown)),
    Kind("subject of another site", "VS", QUARANTINED, _added("ID-004", "USUBJID", _other)),
    Kind("arm named in a comment", "CM", "quarantined: blind", _tells("BLIND-001", "CMINDC")),
    Kind("arm named in a comment", "AE", "accepted: masked, query", _tells("AE-016", "AETERM")),
    Kind("day that no calendar has", "AE", ASKED, _dated("AE-004", "AESTDTC", _no_day)),
    Kind("date in the future", "AE", ASKED, _dated("AE-007", "AESTDTC", _future)),
    Kind("unknown subject", "AE", ASKED, _added("X-AE-001", "USUBJID", _unknown)),
)  # fmt: skip
"""Every kind of slip, in the order in which they are dealt out."""
