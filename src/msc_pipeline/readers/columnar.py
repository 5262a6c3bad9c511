"""Parquet files.

Belongs here: types that have a text, limits known before and while pages are unpacked. Does not: column names or
meanings.

A file says little of what it unpacks to: one value repeated a billion times takes a few bytes. Rows are counted
from the metadata, texts are read as dictionaries, and each batch is measured before it is written out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.raw import RawBatch
from msc_pipeline.readers.typed import (
    BATCH_BYTES,
    check_rows,
    check_text,
    check_width,
    identifiers,
    moment_text,
    not_text,
    number_text,
    raw_batch,
    texts,
)  # fmt: skip

ROWS_AT_ONCE = 16_384
MAGIC = b"PAR1"
ENCRYPTED = b"PARE"
FOOTER = 8
MAX_FOOTER = 64 * 1024**2
MAX_ROW_GROUP = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Columnar:
    """One opened file; see the readers' face."""

    path: Path
    profile: Profile
    header: list[str]
    kinds: list[pa.DataType]

    def batches(self, free_text: frozenset[int]) -> Iterator[RawBatch]:
        """Yield every row, numbered from 1. No cell can run into the next, so free text needs no care."""
        for i in sorted(identifiers(self.header, self.profile)):
            if not (_is_text(self.kinds[i]) or pa.types.is_null(self.kinds[i])):
                raise not_text(i)
        done = unpacked = 0
        with _file(self.path) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, use_threads=False):
                cells = [_text(column, self.profile) for column in batch.columns]
                unpacked += sum(cell.nbytes for cell in cells)
                if unpacked > self.profile.max_unpacked_bytes:
                    raise DeliveryRejected(
                        "RATIO", "The file holds more text than the site's profile allows."
                    )
                yield raw_batch(cells, done + 1)
                done += batch.num_rows
            if done != file.metadata.num_rows:
                raise DeliveryRejected(
                    "COUNT_MISMATCH", "The file holds another number of rows than it says."
                )
        if not done:
            yield raw_batch([pa.array([], pa.string()) for _ in self.header], 1)


def open_parquet(path: Path, profile: Profile) -> Columnar:
    """Read a Parquet file's metadata.

    Raises: DeliveryRejected EMPTY_FILE, ENCRYPTED, TRUNCATED, CORRUPT, TYPE, SIZE, RATIO; `batches` also
    ID_NOT_TEXT, FIELD_SIZE, NUL_BYTE, COUNT_MISMATCH.
    """
    _check_ends(path)
    with _file(path) as file:
        metadata, schema = file.metadata, file.schema_arrow
    check_width(len(schema), profile)
    check_rows(metadata.num_rows, profile)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    sizes = [group.total_byte_size for group in groups]
    if max(sizes, default=0) > MAX_ROW_GROUP or sum(sizes) > profile.max_unpacked_bytes:
        raise DeliveryRejected("RATIO", "The file, or one row group of it, unpacks to more than is allowed.")
    for i, field in enumerate(schema, 1):
        if not _has_text(field.type):
            raise DeliveryRejected(
                "TYPE", f"Column {i} is of a type that has no text: nested, binary or with a zone."
            )
    return Columnar(path, profile, schema.names, schema.types)


def _check_ends(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(4)
        file.seek(max(0, size - FOOTER))
        footer, last = int.from_bytes(file.read(4), "little"), file.read(4)
    if not size:
        raise DeliveryRejected("EMPTY_FILE", "The file is empty.")
    if ENCRYPTED in (first, last):
        raise DeliveryRejected("ENCRYPTED", "The file is encrypted.")
    if first == MAGIC and last != MAGIC:
        raise DeliveryRejected("TRUNCATED", "The file has a beginning but no end: it may be cut off.")
    if first != MAGIC or footer > min(MAX_FOOTER, size - FOOTER - 4):
        raise DeliveryRejected("CORRUPT", "The file is no Parquet file, or is damaged.")


@contextmanager
def _file(path: Path) -> Iterator[pq.ParquetFile]:
    """Open with pyarrow; its errors, which may quote the file, become ours."""
    try:
        with pq.ParquetFile(path, pre_buffer=False) as first:
            words = [f.name for f in first.schema_arrow if _is_text(f.type)]
        with pq.ParquetFile(
            path, pre_buffer=False, read_dictionary=words, page_checksum_verification=True
        ) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError):
        raise DeliveryRejected("CORRUPT", "The file is damaged, or uses what cannot be read.") from None


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _has_text(kind: pa.DataType) -> bool:
    kinds = pa.types
    if kinds.is_timestamp(kind):
        return kind.tz is None
    simple = (
        kinds.is_null,
        kinds.is_boolean,
        kinds.is_integer,
        kinds.is_floating,
        kinds.is_decimal,
        kinds.is_date,
    )
    return _is_text(kind) or kinds.is_time(kind) or any(is_one(kind) for is_one in simple)


def _text(column: pa.Array, profile: Profile) -> pa.StringArray:
    kinds, kind = pa.types, column.type
    if kinds.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if _is_text(kind):
        return check_text(_spread(column, profile), profile)
    if kinds.is_boolean(kind) or kinds.is_integer(kind):
        return column.cast(pa.string())
    if kinds.is_decimal(kind):
        return texts(column, number_text)
    if kinds.is_floating(kind):
        return _floats(column)
    return _moments(column)


def _spread(column: pa.Array, profile: Profile) -> pa.StringArray:
    """Return a text column in full, once its letters are checked (pyarrow does not) and its size is bearable."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        raise DeliveryRejected("ENCODING", "A text is not UTF-8.") from None
    if not pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    lengths = pc.binary_length(column.dictionary)
    if (pc.max(lengths).as_py() or 0) > profile.max_field_bytes:
        raise DeliveryRejected("FIELD_SIZE", "A field is longer than the site's profile allows.")
    if (pc.sum(lengths.take(column.indices)).as_py() or 0) > 16 * BATCH_BYTES:
        raise DeliveryRejected("RATIO", "The file unpacks to more text than is allowed.")
    return column.dictionary.cast(pa.string()).take(column.indices)


def _floats(column: pa.Array) -> pa.StringArray:
    """Return the shortest text that means the same number at the column's own precision."""
    narrow = {pa.float32(): np.float32, pa.float16(): np.float16}.get(column.type)
    if narrow is None:
        return texts(column, number_text)
    return texts(column, lambda value: number_text(float(str(narrow(value)))))


def _moments(column: pa.Array) -> pa.StringArray:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_time64(kind) and kind.unit == "ns":
        column = column.cast(pa.time64("us"))
    return texts(column, moment_text)
