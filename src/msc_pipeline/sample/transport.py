"""A small writer of SAS transport files, version 5: the form in which a site that works with SAS sends its data.

Belongs here: records of 80 bytes, IBM numbers. Does not: which columns there are (dialects), reading (readers).

The library that reads them writes the time of day into each file; a sample has the same bytes every time.
Source: SAS, "Record layout of a SAS version 5 or 6 data set in SAS transport (XPORT) format", TS-140.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from msc_pipeline.errors import ConfigError

RECORD = 80
MOMENT = b"01JAN26:00:00:00"
MISSING = b"." + bytes(7)
SYSTEM = b"SAS     SAS     SASLIB  9.4     LINUX   "
TEXT_LIMIT = 200


def write_transport(
    path: Path, name: str, header: Sequence[str], numeric: Sequence[bool], rows: Iterable[Sequence[str]],
    encoding: str = "utf-8",
) -> None:  # fmt: skip
    """Write one data set. rows are gone through twice: the first time for the width of each text.

    Raises: ConfigError DIALECT for a name longer than 8 or a text longer than 200 bytes, which version 5 cannot hold.
    """
    kept = rows if isinstance(rows, list) else list(rows)
    widths = [8 if is_number else 1 for is_number in numeric]
    for row in kept:
        for i, cell in enumerate(row):
            if not numeric[i] and len(cell) * 4 > widths[i]:
                widths[i] = max(widths[i], len(cell.encode(encoding)))
    if max(map(len, header)) > 8 or max(widths) > TEXT_LIMIT:
        raise ConfigError("DIALECT", f"{name}: version 5 holds names of 8 letters and texts of 200 bytes")
    with path.open("wb") as file:
        file.write(_head(name, len(header)))
        file.write(_padded(_descriptors(header, numeric, widths)))
        file.write(_marker("OBS", "0" * 30))
        size = 0
        for row in kept:
            for cell, is_number, width in zip(row, numeric, widths, strict=True):
                file.write(ibm(cell) if is_number else cell.encode(encoding).ljust(width))
            size += sum(widths)
        file.write(b" " * (-size % RECORD))


def _marker(kind: str, rest: str) -> bytes:
    return f"HEADER RECORD*******{kind:<8}HEADER RECORD!!!!!!!{rest}".encode().ljust(RECORD)


def _head(name: str, variables: int) -> bytes:
    return b"".join((
        _marker("LIBRARY", "0" * 30),
        (SYSTEM + b" " * 24 + MOMENT).ljust(RECORD),
        MOMENT.ljust(RECORD),
        _marker("MEMBER", "0" * 17 + "1600000000140"),
        _marker("DSCRPTR", "0" * 30),
        (b"SAS     " + name.encode().ljust(8) + SYSTEM[16:] + b" " * 24 + MOMENT).ljust(RECORD),
        MOMENT.ljust(RECORD),
        _marker("NAMESTR", f"000000{variables:04d}" + "0" * 20),
    ))  # fmt: skip


def _descriptors(header: Sequence[str], numeric: Sequence[bool], widths: Sequence[int]) -> bytes:
    made, position = [], 0
    for number, (name, is_number, width) in enumerate(zip(header, numeric, widths, strict=True), 1):
        kind = struct.pack(">hhhh", 1 if is_number else 2, 0, width, number)
        names = name.encode().ljust(8) + name.encode().ljust(40)
        form = b" " * 8 + struct.pack(">hhh2s", 0, 0, 0, b"") + b" " * 8 + struct.pack(">hh", 0, 0)
        made.append(kind + names + form + struct.pack(">i", position) + bytes(52))
        position += width
    return b"".join(made)


def _padded(block: bytes) -> bytes:
    return block + b" " * (-len(block) % RECORD)


def ibm(cell: str) -> bytes:
    """Return a number as IBM hexadecimal floating point of 8 bytes; empty is SAS's missing value.

    Raises: ConfigError DIALECT for text.
    """
    if not cell:
        return MISSING
    try:
        value = float(cell)
    except ValueError:
        raise ConfigError("DIALECT", "a numeric variable holds text") from None
    if value == 0:
        return bytes(8)
    sign, value, exponent = (0x80 if value < 0 else 0), abs(value), 64
    while value >= 1:
        value, exponent = value / 16, exponent + 1
    while value < 1 / 16:
        value, exponent = value * 16, exponent - 1
    return bytes([sign | exponent]) + int(value * 2**56).to_bytes(7, "big")
