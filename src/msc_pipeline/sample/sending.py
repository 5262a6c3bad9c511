"""Sending: one site's export of one domain, from standard rows to a file in the site's folder.

Belongs here: file names by the site's patterns, and the way through units, dialect and format. Does not: dirt (dirt,
damage), drawing rows (simulation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from msc_pipeline.profiles import Profile
from msc_pipeline.sample.dialects import PLAIN, Column, Dialect, Row, layout, load_dialects, localiser
from msc_pipeline.sample.formats import Broken, Sheet, first_row, write_file
from msc_pipeline.sample.placing import put_export
from msc_pipeline.sample.units import Units, in_site_units, load_units
from msc_pipeline.study import Study


@dataclass(frozen=True)
class Line:
    """A line of delimited text made from a standard row, but no row any more: cut short, too long, or no data at all.

    keep: how many of its fields it keeps (None: all). more: fields behind them. header: it repeats the header.
    """

    row: Row
    keep: int | None = None
    more: tuple[str, ...] = ()
    header: bool = False


@dataclass(frozen=True)
class Outbox:
    """Where the sites of one study put their exports, and how each writes them."""

    study: Study
    landing: Path
    dialects: dict[str, Dialect]
    units: Units
    on_file: Callable[[str], None] | None = None
    written: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls, study: Study, landing: Path, project: Path, on_file: Callable[[str], None] | None = None
    ) -> Outbox:
        """Read the study's dialects and factors. Raises: ConfigError DIALECT."""
        return cls(study, landing, load_dialects(study, project), load_units(study, project), on_file)

    def dialect(self, site: str) -> Dialect:
        """Return what a site does beside its profile."""
        return self.dialects.get(site, PLAIN)

    def name(self, site: str, domain: str, tag: str = "") -> str:
        """Return a file name that the site's patterns route to `domain`; tag: told apart by, as `_v2`."""
        patterns = self.study.profile(site).files.get(domain)
        pattern = patterns[0] if patterns else f"{domain.lower()}_*.{self.dialect(site).suffix(domain)}"
        return pattern.replace("*", f"{site}{tag}")

    def in_units(
        self, site: str, domain: str, columns: tuple[str, ...], rows: Iterable[Row]
    ) -> Iterator[Row]:
        """Yield standard rows with results in the units the site reports in."""
        return in_site_units(rows, columns, domain, self.dialect(site).units, self.units)

    def first_row(self, site: str, domain: str) -> int:
        """Return the number that the pipeline gives to the first row of the site's files."""
        return first_row(self.study.profile(site, domain), self.dialect(site).suffix(domain))

    def sheet(
        self,
        site: str,
        domain: str,
        columns: tuple[str, ...],
        rows: Iterable[Row | Line],
        profile: Profile,
        extra: tuple[Column, ...] = (),
    ) -> Sheet:
        """Return an export as the site writes it; rows are in the site's units already."""
        plan = layout(columns, profile, domain, self.dialect(site), extra)
        header = tuple(column.name for column in plan)

        def made() -> Iterator[Row | Broken]:
            local = localiser(columns, profile, domain, plan)
            for row in rows:
                if isinstance(row, Line):
                    fields = header if row.header else local(row.row)
                    yield Broken((*fields[: row.keep], *row.more))
                else:
                    yield local(row)

        standard = tuple(column.stands_for[0] if column.stands_for else "" for column in plan)
        return Sheet(domain, header, standard, made())

    def send(
        self, site: str, domain: str, columns: tuple[str, ...], rows: Iterable[Row | Line], *,
        name: str = "", profile: Profile | None = None, extra: tuple[Column, ...] = (),
    ) -> Path:  # fmt: skip
        """Write one file, whole; profile: another than the site's, as a mistake would have it."""
        path = self.landing / self.study.id / site / (name or self.name(site, domain))
        mine = profile or self.study.profile(site, domain)
        sheet = self.sheet(site, domain, columns, rows, mine, extra)
        suffix = self.dialect(site).suffix(domain)
        put_export(path, lambda temporary: write_file(temporary, sheet, mine, suffix))
        self.written.append(path.relative_to(self.landing / self.study.id).as_posix())
        if self.on_file:
            self.on_file(self.written[-1])
        return path
