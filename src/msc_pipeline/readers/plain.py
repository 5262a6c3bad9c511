"""Plain blocks of a CSV: those that can only mean one thing are split at speed, all others are handed back.

Belongs here: proving that a block is plain. Does not: any repair; the strict reader decides whatever is in
doubt, and both give the same cells, line numbers and faults on every input (a property test holds them to it).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from msc_pipeline.profiles import Profile
from msc_pipeline.readers.raw import RawBatch

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_plain(block: bytes, line: int, header: list[str], profile: Profile) -> RawBatch | None:
    """Return the rows of a block that starts at `line`, outside any quote, and ends with a line feed.

    None when it holds anything but rows of the header's width, one a line: a blank or ragged line, a lone
    carriage return, a quote that does not enclose a whole field, a quoted line end, a field that may be too
    long, or a header again.
    """
    import pyarrow as pa

    if len(header) < 2 or not _is_plain(block, profile):
        return None
    try:
        table = _split(block, len(header), profile)
    except pa.ArrowInvalid:
        return None
    rows = block.count(b"\n")
    if table.num_rows != rows or _may_repeat(table, header[0]):
        return None
    cells = [_one(column) for column in table.columns]
    lines = pa.array(_range(line, rows), pa.int64())
    return RawBatch(cells, lines, pa.nulls(rows, pa.string()))


def _is_plain(block: bytes, profile: Profile) -> bool:
    import numpy as np

    returns = block.count(b"\r")
    if returns != block.count(b"\r\n") or block.startswith((b"\n", b"\r", BYTE_ORDER_MARK)):
        return False
    if b"\n\n" in block or (returns and b"\n\r" in block):
        return False
    octets = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(octets == 10)
    longest = max(int(np.diff(ends).max(initial=0)), int(ends[0]) + 1)
    if longest > profile.max_field_bytes:
        return False
    quote = profile.quote.encode()
    return quote not in block or _encloses(octets, ends, quote[0], profile.delimiter.encode()[0])


def _encloses(octets: np.ndarray, ends: np.ndarray, quote: int, delimiter: int) -> bool:
    """Say whether quotes come in pairs around whole fields on one line.

    By induction from the start of the block, which is outside a quote: an odd one opens, since a delimiter or a
    line end stands before it; the next one closes, since one follows it, and no line end lies between the two.
    """
    import numpy as np

    at = np.flatnonzero(octets == quote)
    if len(at) % 2:
        return False
    opening, closing = at[0::2], at[1::2]
    before, after = octets[opening - 1], octets[closing + 1]
    opens = (before == delimiter) | (before == 10) | (opening == 0)
    closes = (after == delimiter) | (after == 10) | (after == 13)
    return bool(
        opens.all()
        and closes.all()
        and (np.searchsorted(ends, opening) == np.searchsorted(ends, closing)).all()
    )


def _split(block: bytes, width: int, profile: Profile) -> pa.Table:
    """Split a plain block: every cell as text, nothing inferred, an empty cell null."""
    import pyarrow as pa
    from pyarrow import csv

    names = [str(i) for i in range(width)]
    return csv.read_csv(
        io.BytesIO(block),
        csv.ReadOptions(column_names=names, block_size=len(block) + 1),
        csv.ParseOptions(
            delimiter=profile.delimiter,
            quote_char=profile.quote,
            double_quote=True,
            escape_char=False,
            newlines_in_values=False,
            ignore_empty_lines=False,
        ),
        csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def _may_repeat(table: pa.Table, name: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.equal(table.column(0), name)).as_py())


def _one(column: pa.ChunkedArray) -> pa.StringArray:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _range(start: int, count: int) -> np.ndarray:
    import numpy as np

    return np.arange(start, start + count, dtype=np.int64)
