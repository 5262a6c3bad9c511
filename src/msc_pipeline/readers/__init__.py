"""Readers: one export file → its cells as text under standard names, row by row, or a clear rejection.

Belongs here: choosing the format, and the way every format goes: header plan, raw batches, standard columns.
A format module yields raw batches and knows nothing of studies. Does not: types, ranges, rules; they are judged
later, from the text as it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from msc_pipeline import cdisc
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import FORMATS, Profile
from msc_pipeline.readers.header import plan_header
from msc_pipeline.readers.raw import FIELD_COUNT, RawBatch, RawTable
from msc_pipeline.readers.redcap import Instruments
from msc_pipeline.readers.standardising import Standardiser
from msc_pipeline.study import Domain

if TYPE_CHECKING:
    import pyarrow as pa

OPENERS = {
    "csv": ("delimited", "open_delimited"),
    "redcap": ("delimited", "open_delimited"),
    "xlsx": ("workbook", "open_workbook"),
    "xpt": ("transport", "open_transport"),
    "dataset-json": ("dataset_json", "open_dataset_json"),
    "parquet": ("columnar", "open_parquet"),
}
"""Format → module and function `(path, profile) -> RawTable`; a module is imported when its format is met."""

SIGNATURES = (
    (b"PK\x03\x04", ("xlsx", "csv", "redcap")),
    (b"PAR1", ("parquet",)),
    (b"HEADER RECORD*******", ("xpt",)),
    (b"\xd0\xcf\x11\xe0", ()),
    (b"\x1f\x8b", ("csv", "redcap", "dataset-json")),
)
"""First bytes → the formats that may start with them. The CSV reader itself names what is wrong with an archive."""

SIGNED = ("xlsx", "xpt", "parquet")
"""Formats that always start with a signature."""


DELIMITED = ("csv", "redcap")
"""Formats whose numbers are written as the profile says; the others hold numbers as such."""


@dataclass(slots=True)
class Tally:
    """Rows of the file that have been read, also those of other domains that a REDCap export holds."""

    rows: int = 0


def read_export(
    path: Path,
    profile: Profile,
    domain: Domain,
    code: str = "",
    name: str = "",
    tally: Tally | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield batches of text columns: every column of `domain` (missing ones null), SRC_ROW, FAULT.

    code: the domain's, as LB. name: the file's own, when `path` is a copy under another. tally: counts along.
    SRC_ROW is the line at which the row starts; the header is line 1. FAULT is null, or says why a row could
    not be split into columns; its cells are then null.
    Raises: DeliveryRejected with the code of the fault; it never quotes the file.
    """
    form = format_of(name or path.name, profile)
    table = _open(path, profile, form)
    if form not in DELIMITED:
        profile = profile.model_copy(update={"decimal_mark": "."})
    chosen = Instruments(table.header, profile.redcap, profile, code) if profile.redcap else None
    plan = plan_header(table.header, profile, domain, code, chosen.unread if chosen else ())
    standardiser = Standardiser(plan, profile, domain.columns, code)
    for raw in _limited(table.batches(plan.free_text), profile, tally or Tally()):
        mine = chosen.own(raw, plan) if chosen else raw
        yield _batch(standardiser.columns(mine), mine.lines, mine.faults)


def _limited(batches: Iterator[RawBatch], profile: Profile, tally: Tally) -> Iterator[RawBatch]:
    """Count rows, and refuse a file of too many, or one without a single row of the header's width."""
    short = 0
    for raw in batches:
        tally.rows += len(raw.lines)
        if tally.rows > profile.max_rows:
            raise DeliveryRejected("SIZE", "The file has more rows than the site's profile allows.")
        if raw.faults.null_count < len(raw.faults):
            short += raw.faults.to_pylist().count(FIELD_COUNT)
        yield raw
    if tally.rows and short == tally.rows:
        raise DeliveryRejected("FIELD_COUNT_ALL", "No row has as many fields as the header.")


def _batch(
    columns: dict[str, pa.StringArray], lines: pa.Int64Array, faults: pa.StringArray
) -> pa.RecordBatch:
    import pyarrow as pa

    arrays = {cdisc.SITE_CELL if name == "SITEID" else name: column for name, column in columns.items()}
    return pa.record_batch({**arrays, "SRC_ROW": lines, "FAULT": faults})


def format_of(name: str, profile: Profile) -> str:
    """Return the format of a file of this name, by its extension unless the profile fixes it.

    Raises: DeliveryRejected FORMAT.
    """
    if profile.format != "by_extension":
        return profile.format
    for known, extensions in FORMATS.items():
        if name.lower().endswith(extensions):
            return known
    raise DeliveryRejected("FORMAT", "The file's extension stands for no format that is read.")


def _open(path: Path, profile: Profile, form: str) -> RawTable:
    """Open a file in its format, once its first bytes agree."""
    with path.open("rb") as file:
        start = file.read(32)
    if not start:
        raise DeliveryRejected("EMPTY_FILE", "The file is empty.")
    fitting = next((formats for magic, formats in SIGNATURES if start.startswith(magic)), None)
    if form not in fitting if fitting is not None else form in SIGNED:
        raise DeliveryRejected(
            "FORMAT", "The content is not of the format that the name or the profile says."
        )
    module, function = OPENERS[form]
    table: RawTable = getattr(import_module(f"msc_pipeline.readers.{module}"), function)(path, profile)
    return table
