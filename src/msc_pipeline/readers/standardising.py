"""Standardising: a site's cells → the same cells in the study's words.

Belongs here: what a profile says of cells: value maps, decimal commas, local dates, units, constants. Does not:
judging a value; what a profile does not explain stays as sent, for the rules to find.

A column is encoded by its distinct values, so each is looked at once per batch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.header import Plan
from msc_pipeline.readers.local_dates import UNDECLARED, local_date
from msc_pipeline.readers.raw import RawBatch

if TYPE_CHECKING:
    import pyarrow as pa

NUMERIC = ("ORRES", "ORNRLO", "ORNRHI", "DOSE", "VISITNUM", "AGE")
"""Ends of names whose cells may hold a decimal mark."""

SAFETY = "AE"
"""The domain whose rows are never refused for a date: an undeclared local one stays as sent."""

_NUMBER = re.compile(
    r"\s*[<>]?=?\s*[+-]?[0-9][0-9.,]*(?:[eE][+-]?[0-9]+)?\s*|\s*[<>]?=?\s*[+-]?[.,][0-9]+\s*"
)
_SWAP = str.maketrans(".,", ",.")


class Standardiser:
    """Turns the raw batches of one export into standard columns."""

    def __init__(self, plan: Plan, profile: Profile, names: tuple[str, ...], code: str) -> None:
        self._plan, self._profile, self._names, self._code = plan, profile, names, code
        self._changes = {name: change for name in names if (change := _change(name, profile))}

    def columns(self, raw: RawBatch) -> dict[str, pa.StringArray]:
        """Return one string array per standard name; those the export lacks are null or constant.

        Raises: DeliveryRejected DATE_FORMAT.
        """
        import pyarrow as pa

        made: dict[str, pa.StringArray] = {}
        for name in self._names:
            if name in self._plan.positions:
                made[name] = self._column(name, raw)
            elif name in self._plan.constants:
                made[name] = _where_sound(raw, self._plan.constants[name])
            else:
                made[name] = pa.nulls(len(raw.lines), pa.string())
        return self._with_units(made)

    def _column(self, name: str, raw: RawBatch) -> pa.StringArray:
        import pyarrow.compute as pc

        column = raw.cells[self._plan.positions[name]]
        if name in self._changes:
            column = _each(column, self._changes[name])
        if empty := self._profile.values.get(name, {}).get(""):
            column = pc.coalesce(column, _where_sound(raw, empty))
        if name.endswith("DTC") and self._profile.date_format == "iso" and self._code != SAFETY:
            _refuse_local(column, raw, name)
        return column

    def _with_units(self, columns: dict[str, pa.StringArray]) -> dict[str, pa.StringArray]:
        """Fill the unit of results that were sent without one, where the profile knows it by the test."""
        import pyarrow as pa
        import pyarrow.compute as pc

        unit, test, result = (f"{self._code}{end}" for end in ("ORRESU", "TESTCD", "ORRES"))
        if not self._profile.units or not {unit, test, result} <= set(columns):
            return columns
        known = _each(columns[test], lambda cell: self._profile.units.get(cell, ""))
        known = pc.if_else(columns[result].is_valid(), known, pa.scalar(None, pa.string()))
        return {**columns, unit: pc.coalesce(columns[unit], known)}


def _change(name: str, profile: Profile) -> Callable[[str], str] | None:
    """Return what becomes of a cell of column `name`, or None: nothing. A mapped value is final."""
    mapping = profile.values.get(name, {})
    if name.endswith("DTC") and profile.date_format != "iso":
        convert = local_date(profile.date_format)
    elif name.endswith(NUMERIC) and profile.decimal_mark == ",":
        convert = _swap_marks
    elif mapping:
        return lambda cell: mapping.get(cell, cell)
    else:
        return None
    return lambda cell: mapping[cell] if cell in mapping else convert(cell)


def _swap_marks(cell: str) -> str:
    """Swap comma and point in a number: a point that nobody declared becomes a comma, and a rule finds it."""
    return cell.translate(_SWAP) if _NUMBER.fullmatch(cell) else cell


def _refuse_local(column: pa.StringArray, raw: RawBatch, name: str) -> None:
    """Refuse a file with a date that could mean two days, under a profile that says ISO."""
    import pyarrow.compute as pc

    encoded = column.dictionary_encode()
    for index, cell in enumerate(encoded.dictionary.to_pylist()):
        if UNDECLARED.fullmatch(cell):
            line = raw.lines[pc.index(encoded.indices, index).as_py()]
            raise DeliveryRejected(
                "DATE_FORMAT",
                f"Line {line}, {name}: a local date, and the site's profile declares no format.",
            )


def _where_sound(raw: RawBatch, text: str) -> pa.StringArray:
    """Return `text` for every row that could be split."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(
        raw.faults.is_null(), pa.scalar(text or None, pa.string()), pa.scalar(None, pa.string())
    )


def _each(column: pa.StringArray, change: Callable[[str], str]) -> pa.StringArray:
    """Apply `change` to every distinct text; an empty result is null."""
    import pyarrow as pa

    encoded = column.dictionary_encode()
    changed = [change(cell) or None for cell in encoded.dictionary.to_pylist()]
    return pa.array(changed, pa.string()).take(encoded.indices)
