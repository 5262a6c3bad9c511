"""Standardising: a site's cells → the same cells in the study's words.

Belongs here: value maps, constants, and later what else a profile says of cells. Does not: judging a value:
what a profile does not explain stays as sent.

A column is encoded by its distinct values, so each is looked at once per batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msc_pipeline.profiles import Profile
from msc_pipeline.readers.header import Plan
from msc_pipeline.readers.raw import RawBatch

if TYPE_CHECKING:
    import pyarrow as pa


def standard_columns(
    raw: RawBatch, plan: Plan, profile: Profile, names: tuple[str, ...]
) -> dict[str, pa.StringArray]:
    """Return one string array per standard name; those the export lacks are null or constant."""
    import pyarrow as pa

    columns: dict[str, pa.StringArray] = {}
    for name in names:
        if name in plan.positions:
            mapping = profile.values.get(name)
            column = raw.cells[plan.positions[name]]
            columns[name] = _mapped(column, raw, mapping) if mapping else column
        elif name in plan.constants:
            columns[name] = _where_sound(raw, plan.constants[name])
        else:
            columns[name] = pa.nulls(len(raw.lines), pa.string())
    return columns


def _where_sound(raw: RawBatch, text: str) -> pa.StringArray:
    """Return `text` for every row that could be split."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(
        raw.faults.is_null(), pa.scalar(text or None, pa.string()), pa.scalar(None, pa.string())
    )


def _mapped(column: pa.StringArray, raw: RawBatch, mapping: dict[str, str]) -> pa.StringArray:
    import pyarrow.compute as pc

    column = _each(column, lambda cell: mapping.get(cell, cell))
    if empty := mapping.get(""):
        column = pc.coalesce(column, _where_sound(raw, empty))
    return column


def _each(column: pa.StringArray, change: Callable[[str], str]) -> pa.StringArray:
    """Apply `change` to every distinct text; an empty result is null."""
    import pyarrow as pa

    encoded = column.dictionary_encode()
    changed = [change(cell) or None for cell in encoded.dictionary.to_pylist()]
    return pa.array(changed, pa.string()).take(encoded.indices)
