"""The desk: the rows in force of some sites, laid out as the relations that models read.

Belongs here: heads, decided deliveries, checked parts, `arrived.<domain>`, and up to which date data reach.
Does not: judging (holding), deriving (curation), pooling (publishing).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from msc_pipeline import __version__, cdisc, models
from msc_pipeline import ledger as book
from msc_pipeline.errors import IntegrityError, PermanentError
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from msc_pipeline.storage import check, digest, sha256_of
from msc_pipeline.study import Study
from msc_pipeline.suites import Suite, load_suite, suite_names

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

RESTATEMENTS = "curated.restatements"
"""The one curated table that is no model: what deliveries restated, as corrections wrote it down."""

DERIVED = "derived."
"""How models begin that are made on the way to curated tables and never stored."""


@dataclass(frozen=True)
class Desk:
    """Everything curation of one study reads, loaded once: the study, its models, and the ledger."""

    study: Study
    settings: Settings
    ledger: Ledger

    @cached_property
    def cross(self) -> tuple[models.Model, ...]:
        """Models sql/cross of the domains this study collects and a suite judges."""
        judged = {
            f"cross.{name.partition('/')[2]}"
            for name in suite_names(self.project)
            if name.startswith("cross/")
        }
        mine = {f"cross.{domain.lower()}" for domain in self.study.domains}
        return tuple(m for m in models.load_models(self.project, "cross") if m.name in judged & mine)

    @cached_property
    def cross_shared(self) -> tuple[models.Model, ...]:
        """Models sql/cross that no suite judges: what the others share, made before them."""
        judged = {name.replace("/", ".") for name in suite_names(self.project)}
        return tuple(m for m in models.load_models(self.project, "cross") if m.name not in judged)

    @cached_property
    def watch(self) -> tuple[models.Model, Suite]:
        """The model with one row per site, and the suite that judges it."""
        found = next(m for m in models.load_models(self.project, "cross") if m.name == "cross.sites")
        return found, load_suite("cross/sites", self.project)

    @cached_property
    def curated(self) -> tuple[models.Model, ...]:
        """Models sql/curated, and those of sql/derived that they build on, in run order."""
        return models.load_models(self.project, "derived", "curated")

    @cached_property
    def shared(self) -> str:
        """Hash of what every curated part depends on: macros, references, the study, code and engine versions."""
        import duckdb

        files = [
            self.project / "sql" / "macros.sql",
            *sorted((self.project / "sql" / "reference").glob("*.csv")),
        ]
        return digest(*map(sha256_of, files), self.study.config_hash, __version__, duckdb.__version__)

    @cached_property
    def cross_rules(self) -> str:
        """Hash of the cross-domain rules and the facts they look at."""
        texts = [m.sha256 for m in (*self.cross_shared, *self.cross)]
        texts += [load_suite(f"cross/{m.table}", self.project).text_hash for m in self.cross]
        return digest(*texts, self.watch[0].sha256, self.watch[1].text_hash)

    @cached_property
    def known(self) -> dict[str, str]:
        """Path → sha256 of every part of the study; rows are only ever added, so late ones may join."""
        p = book.parts.c
        rows = self.ledger.rows(sa.select(p.path, p.sha256).where(p.study == self.study.id))
        return {row["path"]: row["sha256"] for row in rows}

    @property
    def project(self) -> Path:
        """Folder of sql/, studies/ and expectations/."""
        return self.settings.project

    def part(self, path: str) -> str:
        """Return the SQL literal of a part's path, its bytes checked against the ledger."""
        if path not in self.known:  # made by another process after we looked
            found = sa.select(book.parts.c.sha256).where(book.parts.c.path == path)
            self.known.update((path, row["sha256"]) for row in self.ledger.rows(found))
        if path not in self.known:
            raise IntegrityError("INTEGRITY", f"{path} is not in the ledger", hint="run msc verify")
        return "'" + str(check(self.settings.home / path, self.known[path])).replace("'", "''") + "'"

    @cached_property
    def heads(self) -> dict[str, list[dict[str, Any]]]:
        """Return site → heads of its domains, in a fixed order."""
        found = self.ledger.rows(sa.select(book.heads).where(book.heads.c.study == self.study.id))
        sites: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for head in sorted(found, key=lambda h: (h["site"], h["domain"])):
            sites[head["site"]].append(head)
        return dict(sites)

    @cached_property
    def judged(self) -> dict[str, dict[str, Any]]:
        """Return site → its hold: `path` of held rows, `inputs`, and `heads`, the rows that were judged.

        Curation reads these and not the newest heads, so no row is curated that no cross-domain rule has seen.
        """
        found = self.ledger.rows(sa.select(book.holds).where(book.holds.c.study == self.study.id))
        return {row["site"]: {**row, "heads": json.loads(row["heads"])} for row in found}

    @cached_property
    def decided(self) -> dict[str, list[dict[str, Any]]]:
        """Return site → decided deliveries with the fields a curated table may hold, order of arrival removed."""
        d = book.deliveries.c
        fields = (d.site, d.domain, d.sha256, d.status, d.rows_in, d.accepted, d.quarantined)
        ready = d.status.in_(("ACCEPTED", "PARTIAL", "HELD", "REJECTED"))
        sites: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in self.ledger.rows(sa.select(*fields).where(d.study == self.study.id, ready)):
            sites[row["site"]].append(row)
        order = ("domain", "sha256", "status", "rows_in")
        return {site: sorted(rows, key=lambda r: [str(r[k]) for k in order]) for site, rows in sites.items()}

    @cached_property
    def as_of(self) -> str | None:
        """The date the study's data reach, by the sites that are judged."""
        return self.reaches({site: row["last_date"] for site, row in self.judged.items()})

    def reaches(self, last_dates: Mapping[str, str | None]) -> str | None:
        """Return the latest extracted_at or data date of any site, never today. last_dates: site → data date.

        A date no calendar has, or after the last plausible one, plays no part: one site's slip would move it for all.
        """
        d = book.deliveries.c
        used = d.status.in_(("ACCEPTED", "PARTIAL"))
        extracted = self.ledger.rows(sa.select(d.extracted_at).where(d.study == self.study.id, used))
        dates = {(r["extracted_at"] or "")[:10] for r in extracted}
        dates |= {day or "" for day in last_dates.values()}
        return max((d for d in dates if _is_day(d) and d <= self.study.last_plausible_date), default=None)

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites with any decided delivery; a site whose every file was rejected is one of them."""
        return tuple(sorted({*self.heads, *self.decided}))


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def open_desk(study: Study, settings: Settings) -> Desk:
    """Return what curation works with."""
    return Desk(study, settings, Ledger(settings.ledger))


def lay_out(
    connection: duckdb.DuckDBPyConnection, desk: Desk, heads: list[dict[str, Any]], *, with_date: bool = False
) -> None:
    """Install macros, references, study tables, and `arrived.<domain>` over the rows that `heads` name."""
    models.install(connection, desk.project)
    models.install_study(connection, desk.study, desk.as_of if with_date else None)
    connection.execute("create schema arrived")
    for domain in cdisc.DOMAINS:
        paths = [desk.part(h["path"]) for h in heads if h["domain"] == domain]
        collected = desk.study.domains[domain].columns if domain in desk.study.domains else ()
        cells = ", ".join(f'"{name}"' for name in cdisc.columns(domain, collected))
        keep = f"{cells}, SITEID, SRC_SHA256, SRC_ROW, KEY_HASH, ROW_HASH, PENDFL"
        if not paths:
            empty = ", ".join(
                f"null::{'bigint' if c == 'SRC_ROW' else 'varchar'} as {c}" for c in keep.split(", ")
            )
            connection.execute(f"create view arrived.{domain.lower()} as select {empty} where false")
            continue
        rows = f"from read_parquet([{', '.join(paths)}])"
        # Of equal rows the first is taken. Picking it sorts them all, so it is done only where there are any.
        once = "partition by SITEID, KEY_HASH, ROW_HASH order by SRC_SHA256, SRC_ROW"
        again = f"select 1 {rows} group by hash(SITEID, KEY_HASH, ROW_HASH) having count(*) > 1 limit 1"
        with models.reported(f"arrived.{domain.lower()}", PermanentError, "MODEL_FAILED"):
            first = f"qualify row_number() over ({once}) = 1" if connection.execute(again).fetchone() else ""
        connection.execute(f"create view arrived.{domain.lower()} as select {keep} {rows} {first}")
