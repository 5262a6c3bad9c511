"""Listing: deliveries and queries as people read them.

Belongs here: selects on the ledger for people, rules in words. Does not: changing anything.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline.landing import UNDECIDED
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from msc_pipeline.suites import load_all


def deliveries_of(study_id: str, site: str, settings: Settings) -> list[dict[str, Any]]:
    """Return deliveries in order of receipt: id, site, domain, file, status, counts, code, reason."""
    d = book.deliveries.c
    fields = (
        d.id,
        d.site,
        d.domain,
        d.file,
        d.status,
        d.rows_in,
        d.accepted,
        d.quarantined,
        d.code,
        d.reason,
    )
    mine = sa.and_(d.study == study_id, sa.true() if not site else d.site == site)
    return Ledger(settings.ledger).rows(sa.select(*fields).where(mine).order_by(d.id))


def queries_of(study_id: str, site: str, settings: Settings, *, closed: bool = False) -> list[dict[str, Any]]:
    """Return queries, grouped by site, domain and rule, with what the rule says and how many rows it concerns."""
    q = book.queries.c
    mine = sa.and_(q.study == study_id, sa.true() if not site else q.site == site)
    wanted = mine if closed else sa.and_(mine, q.closed_at.is_(None))
    counts = (sa.func.count().label("queries"), sa.func.sum(q.n_rows).label("rows"))
    dates = (sa.func.min(q.opened_at).label("since"), sa.func.max(q.last_seen_at).label("last_seen"))
    keys = (q.site, q.domain, q.rule_id, q.severity)
    found = Ledger(settings.ledger).rows(
        sa.select(*keys, *counts, *dates).where(wanted).group_by(*keys).order_by(*keys)
    )
    says = {rule.id: rule.meta.says for suite in load_all(settings.project).values() for rule in suite.rules}
    return [{**row, "says": says.get(row["rule_id"], "See msc deliveries for the reason.")} for row in found]


def undecided(study_id: str, settings: Settings) -> dict[str, list[int]]:
    """Return site → ids of deliveries half way."""
    d = book.deliveries.c
    rows = Ledger(settings.ledger).rows(
        sa.select(d.id, d.site).where(d.study == study_id, d.status.in_(UNDECIDED)).order_by(d.id)
    )
    sites: dict[str, list[int]] = {}
    for row in rows:
        sites.setdefault(row["site"], []).append(row["id"])
    return sites
