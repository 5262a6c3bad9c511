"""Site profiles: how one site writes its exports.

Belongs here: the shape of `profiles:` in study.yaml and what its fields may say. Does not: reading a file
(readers), proposing a profile from one (profiling).

Nothing here is guessed from data: the same cell means the same thing in every file of a site.
"""

from __future__ import annotations

import functools
import re
import zoneinfo
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from msc_pipeline import cdisc

FORMATS = {
    "csv": (".csv", ".csv.gz", ".txt", ".tsv"),
    "xlsx": (".xlsx",),
    "xpt": (".xpt",),
    "dataset-json": (".json", ".ndjson", ".json.gz", ".ndjson.gz"),
    "parquet": (".parquet",),
}
"""Format → the file extensions that stand for it where a profile says `by_extension`."""

DATE_TOKENS = ("YYYY", "YY", "MM", "MON", "DD", "HH", "MI", "SS")
"""Parts of a local date format, as in `DD.MM.YYYY HH:MI`; what stands between them is literal."""

_TOKEN = re.compile("|".join(DATE_TOKENS))
Name = Annotated[str, Field(min_length=1)]


@functools.cache
def _zones() -> frozenset[str]:
    """Return the names of all time zones; listing them walks a folder of files, so it is done once."""
    return frozenset(zoneinfo.available_timezones())


class _Frozen(BaseModel):
    """Unknown keys are refused, values cannot change, and errors do not quote input."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Redcap(_Frozen):
    """What a REDCap export needs beside columns and values: which rows are which domain's.

    instruments: domain → name of its repeating instrument, as the export writes it (raw name or label). ignore:
    instruments whose rows are left out on purpose.
    """

    instruments: dict[str, str] = Field(default_factory=dict)
    ignore: tuple[str, ...] = ()


class Profile(_Frozen):
    """How one site writes its exports.

    format: `by_extension`, or the one format the site sends (`redcap`: a REDCap CSV). A CSV may be gzipped.
    encoding, delimiter, quote, decimal_mark: of delimited text. date_format: `iso` or a local format made of
    DATE_TOKENS; unknown parts are written UN, UNK, 00 or ??. timezone: IANA name of the clock at the site.
    sheet: the sheet of a workbook that holds the data; empty: its only one.
    files: file-name patterns per domain (shell style, case-insensitive) instead of `<domain>_*`.
    columns: name in the export → standard name, or several names that the same cells stand for. Under the name
    of a domain: the same for that domain only, which comes first. values: standard column → {value in the
    export: standard value}. drop: columns of the export that are never read into the pipeline.
    constants: standard column → the cell of every row, for a column the export lacks (under a domain's name:
    for that domain). units: test code → unit, for results that are sent without a unit.
    sequence: a regular expression whose first group is the number or ISO date in a file name that orders
    corrections. max_*: limits; a file beyond one is refused.
    """

    format: Literal["by_extension", "csv", "redcap", "xlsx", "xpt", "dataset-json", "parquet"] = (
        "by_extension"
    )
    encoding: Literal["utf-8-sig", "utf-16", "cp1252", "latin-1"] = "utf-8-sig"
    delimiter: Literal[",", ";", "\t", "|"] = ","
    quote: Literal['"', "'"] = '"'
    decimal_mark: Literal[".", ","] = "."
    date_format: str = "iso"
    timezone: str = "UTC"
    sheet: str = ""
    redcap: Redcap | None = None
    files: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    columns: dict[str, str | tuple[str, ...] | dict[str, str | tuple[str, ...]]] = Field(default_factory=dict)
    values: dict[str, dict[str, str]] = Field(default_factory=dict)
    drop: tuple[str, ...] = ()
    constants: dict[str, str | dict[str, str]] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    sequence: str = ""
    manifest: Literal["optional", "required"] = "optional"
    settle_seconds: float = Field(default=1.0, ge=0)
    max_bytes: int = Field(default=4 * 1024**3, gt=0)
    max_unpacked_bytes: int = Field(default=16 * 1024**3, gt=0)
    max_ratio: int = Field(default=100, gt=1)
    max_rows: int = Field(default=100_000_000, gt=0)
    max_columns: int = Field(default=500, gt=0)
    max_field_bytes: int = Field(default=1_000_000, gt=0)

    @field_validator("sequence")
    @classmethod
    def _one_group(cls, pattern: str) -> str:
        if pattern and re.compile(pattern).groups != 1:
            raise ValueError("needs exactly one group, around the number or date")
        return pattern

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        if name not in _zones():
            raise ValueError("not the name of a time zone, as Europe/Paris")
        return name

    @field_validator("date_format")
    @classmethod
    def _date(cls, text: str) -> str:
        tokens = _TOKEN.findall(text)
        months = sum(token in ("MM", "MON") for token in tokens)
        years = sum(token in ("YYYY", "YY") for token in tokens)
        whole = len(set(tokens)) == len(tokens) and months == years == 1 and "DD" in tokens
        if text != "iso" and not whole:
            raise ValueError(f"is `iso` or names day, month and year once, each of {', '.join(DATE_TOKENS)}")
        return text

    @model_validator(mode="after")
    def _apart(self) -> Profile:
        if self.delimiter == self.decimal_mark:
            raise ValueError("the delimiter and the decimal mark differ")
        if (self.redcap is not None) != (self.format == "redcap"):
            raise ValueError("`redcap` is given if, and only if, the format is redcap")
        for field in ("columns", "constants"):
            nested = {k for k, v in getattr(self, field).items() if isinstance(v, dict)}
            if unknown := sorted(nested - set(cdisc.DOMAINS)):
                raise ValueError(f"{field}: not domains: {unknown}")
        return self

    def names(self, column: str, domain: str) -> tuple[str, ...]:
        """Return the standard names that a column of the export stands for in `domain`; its own if none."""
        own, shared = self.columns.get(domain), self.columns.get(column, column)
        found = own.get(column, shared) if isinstance(own, dict) else shared
        if isinstance(found, dict):
            return (column,)
        return (found,) if isinstance(found, str) else found

    def constant(self, column: str, domain: str) -> str | None:
        """Return what every cell of a standard column holds when the export lacks it, or None."""
        own = self.constants.get(domain)
        found = own.get(column) if isinstance(own, dict) else None
        shared = self.constants.get(column)
        return found if found is not None else (shared if isinstance(shared, str) else None)
