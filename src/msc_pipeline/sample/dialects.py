"""Dialects: standard rows → the same rows as one site writes them; the inverse of reading by a profile.

Belongs here: names, values, dates, decimal marks and units of a site. Does not: bytes of a file format (formats,
transport), reading (readers), any site by name (study.yaml, dialects.yaml).

What a profile says is turned round: a column's standard value is written as the site's word for it. What a site
does beside that, such as the units its laboratory reports in, stands in studies/<id>/dialects.yaml, which only
samples need.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from msc_pipeline.errors import ConfigError
from msc_pipeline.profiles import Profile
from msc_pipeline.study import Study

Row = tuple[str, ...]
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_EVENT, _INSTANCE = "redcap_event_name", "redcap_repeat_instance"
_ISO = re.compile(r"(\d{4})(?:-(\d{2}|UNK?)(?:-(\d{2}|UNK?)(?:T(\d{2}):(\d{2})(?::(\d{2}))?)?)?)?")
_TOKEN = re.compile("YYYY|YY|MM|MON|DD|HH|MI|SS")
_NUMBER = re.compile(r"(?:[<>]=? ?)?[+-]?(?:\d+[.,]?\d*|[.,]\d+)")
_SWAP = str.maketrans(".,", ",.")
_NUMERIC = re.compile(r"..(?:ORRES|ORNRLO|ORNRHI|DOSE)|AGE|VISITNUM")


class SiteUnit(BaseModel):
    """The unit a site reports one test in, and how many digits it gives after the point."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    unit: str
    digits: int = Field(ge=0, le=6)


class Dialect(BaseModel):
    """What a site's exports are like beside its profile.

    units: test code → unit. omit: standard columns it does not send. add: columns that its profile drops, and what
    every row holds there. extension: of its files, or domain → extension (`*`: every other).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    units: dict[str, SiteUnit] = {}
    omit: tuple[str, ...] = ()
    add: dict[str, str] = {}
    extension: str | dict[str, str] = "csv"

    def suffix(self, domain: str) -> str:
        """Return the extension of the files of one domain."""
        if isinstance(self.extension, str):
            return self.extension
        return self.extension.get(domain, self.extension.get("*", "csv"))


PLAIN = Dialect()


def load_dialects(study: Study, project: Path) -> dict[str, Dialect]:
    """Return SITEID → dialect from studies/<id>/dialects.yaml; none when there is no such file.

    Raises: ConfigError DIALECT naming the field.
    """
    path = project / "studies" / study.id / "dialects.yaml"
    if not path.is_file():
        return {}
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = {site: Dialect.model_validate(one) for site, one in raw.items()}
    except (yaml.YAMLError, AttributeError):
        raise _wrong(study, "not YAML, or not a mapping of sites") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise _wrong(study, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if strange := sorted(set(found) - set(study.sites)):
        raise _wrong(study, f"not sites of the study: {strange}")
    return found


def _wrong(study: Study, what: str) -> ConfigError:
    return ConfigError("DIALECT", f"studies/{study.id}/dialects.yaml: {what}")


@dataclass(frozen=True)
class Column:
    """One column as a site writes it: its name, the standard columns it stands for, or the text it always holds."""

    name: str
    stands_for: tuple[str, ...] = ()
    text: str = ""


def layout(
    columns: tuple[str, ...],
    profile: Profile,
    code: str,
    dialect: Dialect = PLAIN,
    extra: tuple[Column, ...] = (),
) -> list[Column]:
    """Return a site's columns for an export of `columns` in one domain, in the order of its file; `extra` come last."""
    sources = _sources(profile, code)
    made: dict[str, list[str]] = {}
    for name in columns:
        if name not in dialect.omit and profile.constant(name, code) is None:
            made.setdefault(sources.get(name, name), []).append(name)
    own = {name: Column(name, tuple(standard)) for name, standard in made.items()}
    added = [Column(name, (), text) for name, text in dialect.add.items() if name in profile.drop]
    if profile.redcap is not None:
        instrument = profile.redcap.instruments.get(code, "")
        leading = [own.pop("record_id", Column("record_id"))]
        leading.append(own.pop(_EVENT, Column(_EVENT, (), "ongoing_arm_1")))
        leading.append(Column("redcap_repeat_instrument", (), instrument))
        leading.append(own.pop(_INSTANCE, Column(_INSTANCE, (), "1")))
        return [*leading, *own.values(), *added, *extra]
    return [*own.values(), *added, *extra]


def _sources(profile: Profile, code: str) -> dict[str, str]:
    """Return standard column → the site's name of it in one domain."""
    own = profile.columns.get(code)
    names = [name for name, to in profile.columns.items() if not isinstance(to, dict)]
    names += list(own) if isinstance(own, dict) else []
    return {standard: name for name in names for standard in profile.names(name, code)}


def localiser(
    columns: tuple[str, ...], profile: Profile, code: str, plan: list[Column]
) -> Callable[[Row], Row]:
    """Return what turns a standard row into the site's, cell by cell of `plan`.

    Raises, when called: ConfigError DIALECT when one column cannot stand for several standard ones.
    """
    at = {name: i for i, name in enumerate(columns)}
    writers = [_writer(column, at, profile) for column in plan]
    blank = _blank_units(at, profile, code)

    def local(row: Row) -> Row:
        cells = blank(row) if blank else row
        return tuple(write(cells) for write in writers)

    return local


def _writer(column: Column, at: Mapping[str, int], profile: Profile) -> Callable[[Row], str]:
    if not column.stands_for:
        return lambda _: column.text
    first, *others = column.stands_for
    place, local, known = at[first], _local(first, profile), dict[str, str]()
    checks = [(at[name], profile.values.get(name, {})) for name in others]

    def write(row: Row) -> str:
        cell = row[place]
        text = known.get(cell)
        if text is None:
            text = known[cell] = local(cell)
        for i, values in checks:
            if values.get(text, text) != row[i]:
                raise ConfigError(
                    "DIALECT", f"column {column.name} cannot stand for {', '.join(column.stands_for)}"
                )
        return text

    return write


def _local(name: str, profile: Profile) -> Callable[[str], str]:
    """Return what turns a standard cell of a column into the site's."""
    words = {standard: word for word, standard in reversed(profile.values.get(name, {}).items())}
    dated = name.endswith("DTC") and profile.date_format != "iso"
    comma = profile.decimal_mark == "," and _NUMERIC.fullmatch(name) is not None

    def local(cell: str) -> str:
        if cell in words:
            return words[cell]
        if dated:
            return local_date(cell, profile.date_format)
        return cell.translate(_SWAP) if comma and _NUMBER.fullmatch(cell) else cell

    return local


def local_date(iso: str, form: str) -> str:
    """Return an ISO date, or date and time, in a local form; UN for what is unknown; other text as it is.

    A day that no calendar has keeps its numbers, so that a planted fault survives.
    """
    found = _ISO.fullmatch(iso)
    if not found:
        return iso
    year, month, day, hour, minute, second = found.groups()
    day_only = re.split(r"[ T]?HH", form, maxsplit=1)[0] if hour is None else form
    unknown = "UN"
    number = int(month) if month and month.isdigit() else 0
    parts = {
        "YYYY": year, "YY": year[2:], "MM": month if number else unknown,
        "MON": MONTHS[number - 1] if 1 <= number <= 12 else "UNK",
        "DD": day if day and day.isdigit() else unknown, "HH": hour or "", "MI": minute or "", "SS": second or "00",
    }  # fmt: skip
    return iso if number > 12 and "MON" in form else _TOKEN.sub(lambda t: str(parts[t[0]]), day_only)


def _blank_units(at: Mapping[str, int], profile: Profile, code: str) -> Callable[[Row], Row] | None:
    """Return what empties a unit that the site's profile knows, since it is sent without one."""
    unit, test = at.get(f"{code}ORRESU"), at.get(f"{code}TESTCD")
    if not profile.units or unit is None or test is None:
        return None

    def blank(row: Row) -> Row:
        if row[unit] and profile.units.get(row[test]) == row[unit]:
            return (*row[:unit], "", *row[unit + 1 :])
        return row

    return blank
