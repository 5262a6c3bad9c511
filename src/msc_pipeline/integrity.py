"""Integrity: is every byte still what the ledger says, and is the audit chain whole?

Belongs here: looking. Does not: repairing; it changes nothing.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline.errors import IntegrityError
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import CURRENT, FILE, pointed
from msc_pipeline.settings import Settings
from msc_pipeline.storage import locked, sha256_of
from msc_pipeline.study import Study


def verify_study(study: Study, settings: Settings) -> dict[str, Any]:
    """Compare raw copies, parts, releases and CURRENT with the ledger, and walk the audit chain.

    Return {"files", "audit_rows", "unused"}; unused files are left by killed runs and are harmless.
    Raises: IntegrityError naming every file that is missing or differs (at most 20 by name).
    """
    ledger = Ledger(settings.ledger)
    home, base = settings.home, settings.home / study.id
    named = pointed(base / "releases")  # before the ledger is read: a release is recorded, then named
    with ledger.read() as connection:
        audit_rows = book.check_chain(connection)
    expected = {f"{study.id}/raw/{sha}": sha for sha in _raw(ledger, study)}
    p, r = book.parts.c, book.releases.c
    for row in ledger.rows(sa.select(p.path, p.sha256).where(p.study == study.id)):
        expected[row["path"]] = row["sha256"]
    releases = ledger.rows(sa.select(r.name, r.sha256).where(r.study == study.id).order_by(r.seq))
    expected |= {f"{study.id}/releases/{row['name']}/{FILE}": row["sha256"] for row in releases}
    bad = [
        path for path, sha in expected.items() if not (home / path).is_file() or sha256_of(home / path) != sha
    ]
    pointer = base / "releases" / CURRENT
    if releases and not named:
        with locked(base / "publish.lock"):  # the first release may be between the two
            named = pointed(base / "releases")
    if (releases or pointer.is_file()) and named not in {row["name"] for row in releases}:
        bad.append(f"{study.id}/releases/{CURRENT}")
    if bad:
        first = ", ".join(sorted(bad)[:20])
        raise IntegrityError(
            "INTEGRITY", f"{len(bad)} files differ or are missing: {first}", hint="restore them"
        )
    files = {str(p.relative_to(home)) for p in base.rglob("*") if p.is_file() and p.suffix != ".lock"}
    aside = {f"{study.id}/releases/{CURRENT}"}
    return {"files": len(expected), "audit_rows": audit_rows, "unused": len(files - set(expected) - aside)}


def _raw(ledger: Ledger, study: Study) -> list[str]:
    c = book.receipts.c
    rows = ledger.rows(sa.select(c.sha256).where(c.study == study.id, c.sha256 != "").distinct())
    return [row["sha256"] for row in rows]
