"""What an opened export holds, as plain Python. Belongs here: nothing that judges."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from msc_pipeline.errors import DeliveryRejected


class Raw(NamedTuple):
    """Everything a format module says of a file."""

    header: list[str]
    rows: list[tuple[str | None, ...]]
    lines: list[int]
    faults: list[str | None]


def raw_rows(opened: Any) -> Raw:
    """Return what an opened file holds; every batch has the shape of the readers' face."""
    rows: list[tuple[str | None, ...]] = []
    lines: list[int] = []
    faults: list[str | None] = []
    for batch in opened.batches(frozenset()):
        assert len(batch.cells) == len(opened.header)
        assert {len(c) for c in batch.cells} == {len(batch.lines)} == {len(batch.faults)}
        rows += zip(*(column.to_pylist() for column in batch.cells), strict=True)
        lines += batch.lines.to_pylist()
        faults += batch.faults.to_pylist()
    return Raw(opened.header, rows, lines, faults)


def code_of(call: Any, *secrets: str) -> str:
    """Return the code a call is rejected with; its message quotes none of `secrets` and has no library error."""
    with pytest.raises(DeliveryRejected) as caught:
        call()
    assert caught.value.message.endswith(".")
    assert not any(secret in str(caught.value) for secret in secrets)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value.code
