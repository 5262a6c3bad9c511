"""Integrity: is every byte still what the ledger says, and does the ledger agree with its own audit trail?

Belongs here: looking, and naming each damage. Does not: repairing (repair); it changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline.errors import IntegrityError
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import CURRENT, FILE, pointed
from msc_pipeline.settings import Settings
from msc_pipeline.storage import locked, sha256_of
from msc_pipeline.study import Study

ASIDE = "damaged"
"""Folder of a study's home where repair keeps what it replaced; nothing there counts."""
NAMED = 1000
"""So many damages are named in one message; repair lists them all."""


@dataclass(frozen=True)
class Damage:
    """One thing that is not what it must be.

    kind: raw, a kind of part, release, CURRENT, audit or ledger. place: a path relative to the home, or words for
    a row. sha256: what the file must have; empty for what is no file.
    """

    kind: str
    place: str
    sha256: str = ""

    @property
    def is_file(self) -> bool:
        """Say whether a file is damaged, and not a row of the ledger."""
        return self.kind not in ("audit", "ledger")


@dataclass(frozen=True)
class Look:
    """What one look found: the damages, and how many files, audit rows and unused files there are."""

    damages: tuple[Damage, ...]
    files: int
    audit_rows: int
    unused: int


def verify_study(study: Study, settings: Settings) -> dict[str, Any]:
    """Compare every file with the ledger, the ledger with its audit trail, and walk the trail.

    Return {"files", "audit_rows", "unused"}; unused files are left by killed runs and are harmless.
    Raises: IntegrityError INTEGRITY naming each damage, or AUDIT_CHAIN where only the ledger itself is damaged.
    """
    look = look_over(study, settings)
    if look.damages:
        raise _damaged(look.damages)
    return {"files": look.files, "audit_rows": look.audit_rows, "unused": look.unused}


def look_over(study: Study, settings: Settings) -> Look:
    """Return every damage of one study's home and ledger. Raises: IntegrityError LEDGER when it cannot be read."""
    ledger = Ledger(settings.ledger)
    home, base = settings.home, settings.home / study.id
    named = pointed(base / "releases")  # before the ledger is read: a release is recorded, then named
    with ledger.read() as connection:
        broken, audit_rows = book.broken_links(connection)
        rows = [Damage("audit", f"audit row {seq} is not what was written") for seq in broken]
        rows += [Damage("ledger", what) for what in _disagreements(connection, study)]
        expected = _expected(connection, study)
        releases = set(connection.execute(_of_study(book.releases.c.name, study)).scalars())
    bad = [d for d in expected if not (home / d.place).is_file() or sha256_of(home / d.place) != d.sha256]
    pointer = base / "releases" / CURRENT
    if releases and not named:
        with locked(base / "publish.lock"):  # the first release may be between the two
            named = pointed(base / "releases")
    if (releases or pointer.is_file()) and named not in releases:
        bad.append(Damage(CURRENT, f"{study.id}/releases/{CURRENT}"))
    known = {d.place for d in expected} | {f"{study.id}/releases/{CURRENT}"}
    unused = len(_files(base, home) - known)
    return Look((*sorted(bad, key=lambda d: d.place), *rows), len(expected), audit_rows, unused)


def _damaged(damages: tuple[Damage, ...]) -> IntegrityError:
    files = [d.place for d in damages if d.is_file]
    rows = [d.place for d in damages if not d.is_file]
    parts = [f"{len(files)} files differ or are missing: {', '.join(files[:NAMED])}"] if files else []
    parts += ["; ".join(rows[:NAMED])] if rows else []
    hint = "msc repair rebuilds what can be rebuilt" if files else "restore the ledger from backup"
    return IntegrityError("INTEGRITY" if files else "AUDIT_CHAIN", "; ".join(parts), hint=hint)


def _files(base: Path, home: Path) -> set[str]:
    found = (p for p in base.rglob("*") if p.is_file() and p.suffix != ".lock")
    return {str(p.relative_to(home)) for p in found if p.relative_to(base).parts[0] != ASIDE}


def _of_study(column: sa.Column[Any], study: Study) -> sa.Select[Any]:
    return sa.select(column).where(column.table.c.study == study.id)


def _expected(connection: sa.Connection, study: Study) -> list[Damage]:
    """Return every file that counts, as the damage it would be."""
    c, p, r = book.receipts.c, book.parts.c, book.releases.c
    raw = _of_study(c.sha256, study).where(c.sha256 != "").distinct()
    found = [Damage("raw", f"{study.id}/raw/{sha}", sha) for sha in connection.execute(raw).scalars()]
    parts = sa.select(p.kind, p.path, p.sha256).where(p.study == study.id)
    found += [Damage(*row) for row in connection.execute(parts)]
    releases = sa.select(r.name, r.sha256).where(r.study == study.id).order_by(r.seq)
    found += [
        Damage("release", f"{study.id}/releases/{name}/{FILE}", sha)
        for name, sha in connection.execute(releases)
    ]
    return found


def _disagreements(connection: sa.Connection, study: Study) -> Iterator[str]:
    """Yield what the rows of the ledger say otherwise than the audit trail that was written with them.

    The trail is a chain, the rows are not: a row that was edited by hand, lost or slipped in shows here.
    """
    received: dict[int, tuple[str, str]] = {}
    status: dict[int, str] = {}
    released: dict[str, str] = {}
    for event, body in _trail(connection, study):
        if event == "received":
            received[body.get("receipt", 0)] = (body.get("site", ""), body.get("sha256", ""))
        elif event in ("decided", "rejected"):
            status[body.get("delivery", 0)] = body.get("status", "REJECTED")
        elif event == "released" or (event == "repaired" and "name" in body):
            released[body.get("name", "")] = body.get("sha256", "")
    r, d, s = book.receipts.c, book.deliveries.c, book.releases.c
    receipts = {
        i: (site, sha)
        for i, site, sha in connection.execute(sa.select(r.id, r.site, r.sha256).where(r.study == study.id))
    }
    yield from (f"receipt {i} is not the one received" for i in _unlike(received, receipts))
    deliveries = sa.select(d.id, d.status).where(d.study == study.id)
    final = {i: s for i, s in connection.execute(deliveries) if s not in ("LANDED", "STAGED", "VALIDATED")}
    yield from (f"delivery {i} has not the status decided" for i in _unlike(status, final))
    releases = sa.select(s.name, s.sha256).where(s.study == study.id)
    known = {name: sha for name, sha in connection.execute(releases)}
    yield from (f"release {name} is not the one released" for name in _unlike(released, known))


def _trail(connection: sa.Connection, study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (event, body); a body that was edited into something else is empty."""
    a = book.audit.c
    for event, text in connection.execute(
        sa.select(a.event, a.body).where(a.study == study.id).order_by(a.seq)
    ):
        try:
            yield event, dict(json.loads(text))
        except (ValueError, TypeError):
            yield event, {}


def _unlike(trail: dict[Any, Any], rows: dict[Any, Any]) -> list[Any]:
    return sorted(key for key in trail.keys() | rows.keys() if trail.get(key) != rows.get(key))
