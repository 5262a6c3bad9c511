"""Findings: which rules fail for which keys, and the queries that open and close because of it.

Belongs here: reading a findings part, and matching it with the open queries of one site's domain. Does not:
what a rule is (suites), or when a delivery is in use (corrections).

A query names a rule, a site and the hash of a natural key; never a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from msc_pipeline import ledger as book

MANY = 1000
"""More failing rows than this of one rule in one delivery are one query with a count."""
MANY_KEY = "*"
CROSS = "X-"
"""Prefix of the ids of cross-domain rules; their queries follow curation, not a delivery."""


@dataclass(frozen=True)
class Shown:
    """Rows per (rule id, key hash), and the keys that were looked at: None means all of the domain."""

    rows: dict[tuple[str, str], tuple[str, int]]
    keys: frozenset[str] | None = None
    cross: bool = False


def in_part(path: Path) -> dict[tuple[str, str], tuple[str, int]]:
    """Return (severity, rows) per (rule id, key hash) of a findings part; frequent ones under `MANY_KEY`."""
    import duckdb

    with duckdb.connect(":memory:") as connection:
        rows = connection.execute(
            """with f as (
                select RULE_ID, SEVERITY, coalesce(KEY_HASH, '-') as k, count(*) over (partition by RULE_ID) as n
                from read_parquet($1))
            select RULE_ID, any_value(SEVERITY), case when n > $2 then $3 else k end as k, count(*)
            from f group by RULE_ID, case when n > $2 then $3 else k end""",
            [str(path), MANY, MANY_KEY],
        ).fetchall()
    return {(rule_id, key): (severity, int(n)) for rule_id, severity, key, n in rows}


def keys_in(paths: Sequence[Path]) -> frozenset[str]:
    """Return the key hashes that some parts hold."""
    import duckdb

    with duckdb.connect(":memory:") as connection:
        names = [str(path) for path in paths]
        rows = connection.execute("select distinct KEY_HASH from read_parquet($1)", [names]).fetchall()
    return frozenset(row[0] for row in rows if row[0])


def update(connection: sa.Connection, study: str, site: str, domain: str, shown: Shown) -> None:
    """Open a query per finding, note those seen again, close those no longer shown."""
    c = book.queries.c
    about = c.rule_id.like(f"{CROSS}%") if shown.cross else c.rule_id.not_like(f"{CROSS}%")
    mine = sa.select(c.id, c.rule_id, c.key_hash).where(
        c.study == study, c.site == site, c.domain == domain, c.closed_at.is_(None), about
    )
    still = {(q.rule_id, q.key_hash): q.id for q in connection.execute(mine)}
    at = book.now()
    seen = [{"i": still[k], "n": n, "at": at} for k, (_, n) in shown.rows.items() if k in still]
    fresh = [
        {"study": study, "site": site, "domain": domain, "rule_id": rule_id, "key_hash": key,
         "severity": severity, "n_rows": n, "opened_at": at, "last_seen_at": at}
        for (rule_id, key), (severity, n) in shown.rows.items() if (rule_id, key) not in still
    ]  # fmt: skip
    gone = [
        {"i": id_, "at": at}
        for (rule_id, key), id_ in still.items()
        if (rule_id, key) not in shown.rows and (shown.keys is None or key in shown.keys)
    ]
    by_id = sa.update(book.queries).where(c.id == sa.bindparam("i"))
    if seen:
        connection.execute(by_id.values(n_rows=sa.bindparam("n"), last_seen_at=sa.bindparam("at")), seen)
    if fresh:
        connection.execute(sa.insert(book.queries), fresh)
    if gone:
        connection.execute(by_id.values(closed_at=sa.bindparam("at")), gone)
