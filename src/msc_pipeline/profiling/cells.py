"""Cells: the local date format and the decimal mark.

Belongs here: what every cell of the file agrees on. Does not: decide what the file leaves open.
"""

from __future__ import annotations

import re
from collections import Counter

from msc_pipeline.profiling.proposal import Column, Proposal
from msc_pipeline.readers import DELIMITED
from msc_pipeline.readers.local_dates import local_date
from msc_pipeline.readers.standardising import NUMERIC

ISO = re.compile(r"\d{4}(?:-(?:\d\d|-)(?:-(?:\d\d|-)(?:T(?:\d\d|-)(?::(?:\d\d|-)(?::\d\d(?:\.\d+)?)?)?)?)?)?")
CLOCK = re.compile(r"\d:\d\d")
MIDNIGHT = re.compile(r"T00:00(?::00(?:\.0+)?)?")
ORDERS = (
    "DD{0}MM{0}YYYY",
    "MM{0}DD{0}YYYY",
    "YYYY{0}MM{0}DD",
    "DD{0}MON{0}YYYY",
    "DD{0}MM{0}YY",
    "MM{0}DD{0}YY",
    "DD{0}MON{0}YY",
)
CLOCKS = ("", " HH:MI", " HH:MI:SS", "THH:MI", "THH:MI:SS", ":HH:MI", ":HH:MI:SS")
COMMA = re.compile(r"\s*[<>]?=?\s*[+-]?\d*,\d+\s*")
POINT = re.compile(r"\s*[<>]?=?\s*[+-]?\d*\.\d+\s*")
GROUPS = re.compile(r"\s*[<>]?=?\s*[+-]?[1-9]\d{0,2},\d{3}\s*")
BOTH = re.compile(r"\s*[<>]?=?\s*[+-]?\d[\d.,]*[.,]\d[\d.,]*[.,]\d+\s*")


def describe_dates(columns: list[Column], proposal: Proposal) -> None:
    """Propose `date_format`; ask where day and month could change places, or where no format fits."""
    dated = [c for c in columns if c.standard.endswith("DTC")]
    cells = Counter[str]()
    for column in dated:
        cells.update(column.cells)
    cells.pop("", None)
    local = [cell for cell in cells if not ISO.fullmatch(cell)]
    if local:
        _local(local, len(local) < len(cells), proposal)
    elif cells:
        proposal.fields["date_format"] = "iso"
    if any(CLOCK.search(cell) for cell in cells):
        says = "On which clock are the times? Give `timezone` as the name of a place, as Europe/Paris."
        proposal.ask("TIMEZONE", says)
    for column in dated:
        timed = {cell: n for cell, n in column.cells.items() if cell}
        if sum(timed.values()) > 1 and all(MIDNIGHT.search(cell) for cell in timed):
            says = "is at midnight in every row: a date that was stored as date and time? Ask the site for dates."
            proposal.ask("MIDNIGHT", f"{column.subject} {says}", column)


def _local(cells: list[str], mixed: bool, proposal: Proposal) -> None:
    fitting = [
        form
        for order in ORDERS
        for mark in (".", "/", "-", " ", "")
        if (form := _fits(order.format(mark), cells))
    ]
    if not fitting:
        says = f"{len(cells)} different dates are neither ISO 8601 nor all of one local format. Which is it?"
        proposal.ask("DATE_FORMAT", says)
        return
    if mixed:
        proposal.ask("DATE_FORMAT", "Some dates are ISO 8601, others local. Is that meant?")
    if len(fitting) > 1:
        says = "Every date fits more than one format: which part is the day? Give `date_format`."
        proposal.ask("DATE_ORDER", says, None, tuple(fitting))
        return
    proposal.fields["date_format"] = fitting[0]
    if "YYYY" not in fitting[0]:
        proposal.ask(
            "CENTURY",
            "Years have two digits: 69 to 99 are read as 1969 to 1999, others as 20xx. Is that right?",
        )


def _fits(date: str, cells: list[str]) -> str:
    """Return the shortest format with this date part that every cell is of, or nothing."""
    for clock in CLOCKS:
        convert = local_date(date + clock)
        if all(convert(cell) != cell for cell in cells):
            return date + clock
    return ""


def describe_numbers(columns: list[Column], proposal: Proposal) -> None:
    """Propose `decimal_mark`; ask where a comma may also part thousands, or where both marks stand."""
    cells = [cell for c in columns if c.standard.endswith(NUMERIC) for cell in c.cells]
    commas = [cell for cell in cells if COMMA.fullmatch(cell)]
    points = [cell for cell in cells if POINT.fullmatch(cell)]
    if any(BOTH.fullmatch(cell) for cell in cells):
        proposal.ask(
            "THOUSANDS",
            "Some numbers have marks between thousands, which are never read. Ask the site for plain ones.",
        )
    if not commas:
        return
    if points:
        says = (
            f"{len(commas)} different numbers have a comma, {len(points)} a point. Which is the decimal mark?"
        )
        proposal.ask("DECIMAL", says, None, (",", "."))
    elif proposal.fields["format"] not in DELIMITED:
        says = "Numbers are kept as text with a comma, where the format can keep numbers. Ask the site for numbers."
        proposal.ask("DECIMAL", says)
    elif all(GROUPS.fullmatch(cell) for cell in commas):
        proposal.ask(
            "DECIMAL", "Every comma stands before three digits: decimal mark, or thousands?", None, (",", ".")
        )
    elif proposal.fields.get("delimiter") == ",":
        proposal.ask(
            "DECIMAL",
            "Comma is delimiter and decimal mark, which a profile cannot say. Ask the site for another delimiter.",
        )
    else:
        proposal.fields["decimal_mark"] = ","
