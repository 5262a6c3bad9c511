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
from msc_pipeline.predicates import literal

MANY = 1000
"""More failing rows than this of one rule in one delivery are one query with a count."""
MANY_KEY = "*"
CROSS = "X-"
"""Prefix of the ids of cross-domain rules; their queries follow curation, not a delivery."""
NO_DOMAIN = "-"
"""Domain of a query on a file that no domain claimed, or on a site as a whole."""


@dataclass(frozen=True)
class Shown:
    """All that one site's domain shows now: (severity, rows) per (rule id, key hash)."""

    rows: dict[tuple[str, str], tuple[str, int]]
    cross: bool = False


def standing(deliveries: Sequence[Sequence[Path]]) -> dict[tuple[str, str], tuple[str, int]]:
    """Return (severity, rows) per (rule id, key hash) over deliveries in order; frequent ones under `MANY_KEY`.

    deliveries: findings, accepted and quarantine part of each. For a key the newest delivery that carries it
    counts; a finding without a key (`-`) counts in the newest delivery only.
    """
    import duckdb

    places = {str(path): n for n, parts in enumerate(deliveries) for path in parts}
    found = _numbered("RULE_ID, SEVERITY, KEY_HASH", [parts[0] for parts in deliveries])
    carried = _numbered("KEY_HASH", [path for parts in deliveries for path in parts[1:]])
    with duckdb.connect(":memory:") as connection:
        connection.execute("create table place as select unnest($1) as filename, unnest($2) as n", [
            list(places), list(places.values()),
        ])  # fmt: skip
        rows = connection.execute(
            f"""with newest as (select KEY_HASH, max(n) as n from ({carried}) group by KEY_HASH),
            now as (select f.* from ({found}) as f left join newest using (KEY_HASH)
                where f.n = case when f.KEY_HASH is null then $1 else newest.n end),
            f as (select RULE_ID, SEVERITY, n, coalesce(KEY_HASH, '-') as k, count(*) over (partition by RULE_ID) as c
                from now)
            select RULE_ID, arg_max(SEVERITY, n), case when c > $2 then $3 else k end as k, count(*)
            from f group by RULE_ID, case when c > $2 then $3 else k end""",
            [len(deliveries) - 1, MANY, MANY_KEY],
        ).fetchall()
    return {(rule_id, key): (severity, int(n)) for rule_id, severity, key, n in rows}


def _numbered(columns: str, parts: Sequence[Path]) -> str:
    """Return SQL for some columns of parts beside the place of their delivery in the order."""
    paths = ", ".join(literal(path) for path in parts)
    return f"select {columns}, n from read_parquet([{paths}], filename = true) join place using (filename)"


def close_elsewhere(connection: sa.Connection, study: str, site: str, contents: Sequence[str]) -> None:
    """Close queries on files that no domain claimed and whose very bytes are in use by now."""
    c = book.queries.c
    mine = sa.and_(c.study == study, c.site == site, c.domain == NO_DOMAIN, c.closed_at.is_(None))
    now_used = sa.update(book.queries).where(mine, c.key_hash.in_(contents))
    connection.execute(now_used.values(closed_at=book.now()))


def update(connection: sa.Connection, study: str, site: str, domain: str, shown: Shown) -> None:
    """Open a query per finding, note those seen again, close those no longer shown."""
    c = book.queries.c
    about = c.rule_id.like(f"{CROSS}%") if shown.cross else c.rule_id.not_like(f"{CROSS}%")
    mine = sa.select(c.id, c.rule_id, c.key_hash).where(
        c.study == study, c.site == site, c.domain == domain, c.closed_at.is_(None), about
    )
    still = {(q.rule_id, q.key_hash): q.id for q in connection.execute(mine)}
    at = book.now()
    seen = [
        {"i": still[k], "n": n, "s": severity, "at": at}
        for k, (severity, n) in shown.rows.items()
        if k in still
    ]
    fresh = [
        {"study": study, "site": site, "domain": domain, "rule_id": rule_id, "key_hash": key,
         "severity": severity, "n_rows": n, "opened_at": at, "last_seen_at": at}
        for (rule_id, key), (severity, n) in shown.rows.items() if (rule_id, key) not in still
    ]  # fmt: skip
    gone = [{"i": id_, "at": at} for k, id_ in still.items() if k not in shown.rows]
    by_id = sa.update(book.queries).where(c.id == sa.bindparam("i"))
    if seen:
        again = by_id.values(
            n_rows=sa.bindparam("n"), severity=sa.bindparam("s"), last_seen_at=sa.bindparam("at")
        )
        connection.execute(again, seen)
    if fresh:
        connection.execute(sa.insert(book.queries), fresh)
    if gone:
        connection.execute(by_id.values(closed_at=sa.bindparam("at")), gone)
