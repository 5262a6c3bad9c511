"""Local dates: `01.02.2025 14:05`, `1-Feb-25`, `UN/02/2025` → ISO 8601, complete or partial, by a declared format.

Belongs here: one format, one cell. Does not: guess which part is the month; judge a date (sql/macros.sql). A cell
that is not of the format, or no day of the calendar, stays as sent, so that a rule finds it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

from msc_pipeline.profiles import DATE_TOKENS

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
"""What MON stands for, in any case: English, as data capture systems write it."""

CENTURY_FROM = 69
"""A year of two digits from here on is of the last century, as POSIX has it; below, of this one."""

UNDECLARED = re.compile(r"\d{1,2}([./-])\d{1,2}\1(?:\d{4}|\d{2})(?:\D.*)?", re.DOTALL | re.ASCII)
"""A date that could mean two days: never read without a declared format."""

_UNKNOWN = r"UN|UNK|UNKN|\?+"
_SPLIT = re.compile("(" + "|".join(DATE_TOKENS) + ")")
_TIME = ("HH", "MI", "SS")


def local_date(form: str) -> Callable[[str], str]:
    """Return a function from a cell to ISO 8601, for a format made of DATE_TOKENS.

    Unknown parts are UN, UNK, 00 or question marks: an unknown day leaves year and month, an unknown month the
    year (and `---` before a known day), an unknown time the date; nothing known is empty.
    """
    pattern = re.compile(_pattern(form), re.IGNORECASE | re.ASCII)

    def change(cell: str) -> str:
        match = pattern.fullmatch(cell)
        if match is None:
            return cell
        iso = _iso(match.groupdict())
        return cell if iso is None else iso

    return change


def _pattern(form: str) -> str:
    """Return the regular expression of a format; a time behind the date may be left out."""
    pieces = [piece for piece in _SPLIT.split(form) if piece]
    last_date = max(i for i, piece in enumerate(pieces) if piece in DATE_TOKENS and piece not in _TIME)
    texts = [_piece(pieces, i) for i in range(len(pieces))]
    head, tail = "".join(texts[: last_date + 1]), "".join(texts[last_date + 1 :])
    return f"{head}(?:{tail})?" if any(piece in _TIME for piece in pieces[last_date + 1 :]) else head + tail


def _piece(pieces: list[str], at: int) -> str:
    piece = pieces[at]
    if piece not in DATE_TOKENS:
        return re.escape(piece)
    touching = any(0 <= i < len(pieces) and pieces[i] in DATE_TOKENS for i in (at - 1, at + 1))
    digits = {
        "YYYY": r"\d{4}",
        "YY": r"\d{2}",
        "MON": "00|" + "|".join(MONTHS),
        "MI": r"\d{2}",
        "SS": r"\d{2}",
    }
    shape = digits.get(piece, r"\d{2}" if touching else r"\d{1,2}")
    return f"(?P<{piece}>{shape}|{_UNKNOWN})"


def _iso(parts: dict[str, str | None]) -> str | None:
    """Return ISO 8601; empty when nothing is known; None when the parts are no date."""
    year, month, day = _year(parts), _month(parts), _number(parts.get("DD"), zero_unknown=True)
    if year is None:
        return "" if month is None and day is None and not _time(parts) else None
    if month is None or day is None:
        if not (1 <= (month or 1) <= len(MONTHS) and 1 <= (day or 1) <= 31) or _time(parts):
            return None
        tail = f"-{month:02d}" if month else f"---{day:02d}" if day else ""
        return f"{year:04d}{tail}"
    try:
        date = dt.date(year, month, day).isoformat()
    except ValueError:
        return None
    time = _time(parts)
    return None if time is None else date + time


def _time(parts: dict[str, str | None]) -> str | None:
    """Return `T` and the known part of the time, empty when none is known; None when no clock shows it."""
    known = ""
    for token, limit, mark in (("HH", 24, "T"), ("MI", 60, ":"), ("SS", 60, ":")):
        number = _number(parts.get(token), zero_unknown=False)
        if number is None:
            return known
        if number >= limit:
            return None
        known += f"{mark}{number:02d}"
    return known


def _year(parts: dict[str, str | None]) -> int | None:
    whole = _number(parts.get("YYYY"), zero_unknown=True)
    short = _number(parts.get("YY"), zero_unknown=False)
    return whole if short is None else short + (1900 if short >= CENTURY_FROM else 2000)


def _month(parts: dict[str, str | None]) -> int | None:
    name = (parts.get("MON") or "").upper()
    return MONTHS.index(name) + 1 if name in MONTHS else _number(parts.get("MM"), zero_unknown=True)


def _number(text: str | None, *, zero_unknown: bool) -> int | None:
    if text is None or not text.isdigit() or (zero_unknown and not int(text)):
        return None
    return int(text)
