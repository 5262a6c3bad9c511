"""What the topics of a study's safety configuration share: frozen shapes, and turning them into tables.

Belongs here: nothing about medicine.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import pyarrow as pa


class Frozen(BaseModel):
    """Unknown keys are refused, values cannot change, and errors do not quote input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def as_table(shape: type[Frozen], rows: Sequence[Frozen], *more: str) -> pa.Table:
    """Return one row per object and one column per field: text, INTEGER, DECIMAL(20,8), VARCHAR[] or BOOLEAN.

    more: names of text properties that become columns too. An empty text is NULL.
    """
    import pyarrow as pa

    kinds = {name: _kind(field.annotation) for name, field in shape.model_fields.items()}
    kinds |= dict.fromkeys(more, pa.string())
    cells = [{name: _cell(getattr(row, name)) for name in kinds} for row in rows]
    return pa.Table.from_pylist(cells, schema=pa.schema(list(kinds.items())))


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return None if value == "" else value


def _kind(annotation: Any) -> pa.DataType:
    import pyarrow as pa

    inner = [kind for kind in get_args(annotation) if kind not in (NoneType, Ellipsis)]
    if str in inner and getattr(annotation, "__origin__", None) is tuple:
        return pa.list_(pa.string())
    kinds = {int: pa.int32(), Decimal: pa.decimal128(20, 8), bool: pa.bool_()}
    return kinds.get(inner[0] if inner else annotation, pa.string())
