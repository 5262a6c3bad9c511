"""What is known: receipts, deliveries, parts, results, queries, releases, and the hash-chained audit trail.

Belongs here: the tables, transactions, the audit chain, and the two facts that several stages record the same
way (a rejection, an alert to send). Does not: files (storage) or what a stage decides.

A file becomes visible only through one transaction here. No file work happens inside a transaction. Times are
UTC. No row holds a subject id or a cell value: keys of queries are hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, UniqueConstraint

from msc_pipeline.errors import IntegrityError, TransientError
from msc_pipeline.storage import refusal

metadata = sa.MetaData()

receipts = Table(
    "receipts",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("study", String, nullable=False),
    Column("site", String, nullable=False),
    Column("name", String, nullable=False),
    Column("claim", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("received_at", String, nullable=False),
    UniqueConstraint("study", "site", "claim"),
    sqlite_autoincrement=True,
)
"""One file seen. `claim` is unique, so a landing that was killed and re-run records it once."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("study", String, nullable=False),
    Column("site", String, nullable=False),
    Column("domain", String),
    Column("file", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("order_number", BigInteger, nullable=False),
    Column("extracted_at", String),
    Column("rows_declared", BigInteger),
    Column("verified", String, nullable=False),
    Column("status", String, nullable=False),
    Column("code", String),
    Column("reason", String),
    Column("rows_in", BigInteger, nullable=False, server_default="0"),
    Column("accepted", BigInteger, nullable=False, server_default="0"),
    Column("quarantined", BigInteger, nullable=False, server_default="0"),
    Column("unkeyed", BigInteger, nullable=False, server_default="0"),
    Column("rule_set", String),
    Column("staged_part", String),
    Column("accepted_part", String),
    Column("quarantine_part", String),
    Column("findings_part", String),
    Column("let_through", String),
    Column("decided_at", String),
    Index("deliveries_of_domain", "study", "site", "domain"),
)
"""Content put to use; the id is the receipt's. LANDED → STAGED → VALIDATED → ACCEPTED | PARTIAL | HELD, or REJECTED."""

parts = Table(
    "parts",
    metadata,
    Column("path", String, primary_key=True),
    Column("study", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("rows", BigInteger, nullable=False),
)
"""Every file that counts, relative to the home, with the hash it must have."""

results = Table(
    "results",
    metadata,
    Column("delivery", Integer, primary_key=True),
    Column("rule_id", String, primary_key=True),
    Column("severity", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("n_rows", BigInteger, nullable=False),
    Column("n_failed", BigInteger, nullable=False),
)

queries = Table(
    "queries",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("study", String, nullable=False),
    Column("site", String, nullable=False),
    Column("domain", String, nullable=False),
    Column("rule_id", String, nullable=False),
    Column("key_hash", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("n_rows", BigInteger, nullable=False),
    Column("opened_at", String, nullable=False),
    Column("last_seen_at", String, nullable=False),
    Column("closed_at", String),
    Index("queries_of_domain", "study", "site", "domain", "rule_id"),
)
"""An open finding. It closes by itself when a later delivery no longer shows it."""

heads = Table(
    "heads",
    metadata,
    Column("study", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("domain", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("path", String, nullable=False),
    Column("restatements", String, nullable=False),
    Column("keys_pending", BigInteger, nullable=False),
)
"""The rows in force of one site's domain. `state` is a hash of content and order only, never of a delivery id."""

holds = Table(
    "holds",
    metadata,
    Column("study", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("inputs", String, nullable=False),
    Column("path", String, nullable=False),
    Column("heads", String, nullable=False),
    Column("last_date", String),
)
"""Rows that a cross-domain rule holds, per site; the heads that were judged; the latest date in the site's data."""

curated = Table(
    "curated",
    metadata,
    Column("study", String, primary_key=True),
    Column("table", String, primary_key=True),
    Column("site", String, primary_key=True),
    Column("inputs", String, nullable=False),
    Column("path", String, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("study", String, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("hash", String, nullable=False),
    Column("name", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("as_of", String),
    Column("n_tables", Integer, nullable=False),
    Column("n_rows", BigInteger, nullable=False),
    Column("created_at", String, nullable=False),
)

alerts = Table(
    "alerts",
    metadata,
    Column("key", String, primary_key=True),
    Column("study", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("title", String, nullable=False),
    Column("body", String, nullable=False),
    Column("created_at", String, nullable=False),
    Column("state", String, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("sent_at", String),
    Column("claimed_until", Float),
    Column("sent_to", String, nullable=False, server_default="[]"),
)
"""Messages to people: WAITING, SENT, or UNROUTED (no address was configured). One row per finding."""

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
    Column("study", String, nullable=False),
    Column("event", String, nullable=False),
    Column("body", String, nullable=False),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
)

BUSY_SECONDS = 60.0
"""How long SQLite waits for another writer."""
AUDIT_LOCK = 8_221_633_163
"""Advisory lock key on PostgreSQL: one writer of the chain at a time."""


def now() -> str:
    """Return the time of a ledger event, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@lru_cache(maxsize=16)
def _engine(url: str) -> sa.Engine:
    """Return the engine of a ledger; it keeps compiled statements and, pooling none, no connection."""
    sqlite = sa.make_url(url).get_backend_name() == "sqlite"
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_SECONDS}} if sqlite else {}
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool, hide_parameters=True, **options)
    if sqlite:
        sa.event.listen(engine, "connect", _configure_sqlite)
    return engine


class Ledger:
    """One ledger, opened by URL; safe to open in every process."""

    def __init__(self, url: str) -> None:
        """Open or create the ledger at a SQLAlchemy URL."""
        self._engine = _engine(url)
        self._sqlite = self._engine.dialect.name == "sqlite"
        if self._sqlite and self._engine.url.database:
            _make_room(Path(self._engine.url.database).parent)
        with _answering():
            made = sa.inspect(self._engine).has_table(audit.name)  # one transaction makes them all
        if not made:
            with self.write() as connection:
                metadata.create_all(connection)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Run one transaction with the only write lock; commit at the end, roll back on any error.

        Raises: TransientError LEDGER when it does not answer in time; IntegrityError LEDGER when it is damaged.
        """
        with _answering(), self._engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(AUDIT_LOCK)))
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Read one consistent snapshot. Raises: as `write`."""
        with _answering(), self._engine.connect() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection
            connection.rollback()

    def rows(self, statement: sa.Executable) -> list[dict[str, Any]]:
        """Return the rows of one select as dictionaries."""
        with self.read() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]


@contextmanager
def _answering() -> Iterator[None]:
    """Turn what the engine says about its file or its server into our errors; a fault in a statement passes."""
    try:
        yield
    except sa.exc.DatabaseError as error:
        name = str(getattr(error.orig, "sqlite_errorname", ""))
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise IntegrityError("LEDGER", "the ledger is damaged", hint="restore it from backup") from None
        if isinstance(error, sa.exc.OperationalError) and name != "SQLITE_ERROR":
            raise TransientError(
                "LEDGER", "the ledger does not answer", hint="is it in reach, writable, not locked?"
            ) from None
        raise


def _make_room(folder: Path) -> None:
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refusal("make", "the folder of the ledger", error) from None


def _configure_sqlite(raw: Any, _record: Any) -> None:
    raw.isolation_level = None
    busy = f"busy_timeout={int(BUSY_SECONDS * 1000)}"
    for pragma in (busy, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        raw.execute(f"PRAGMA {pragma}")


def upsert(connection: sa.Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Write one row by primary key; works the same on every engine because the write lock is held."""
    where = sa.and_(*(table.c[name] == value for name, value in key.items()))
    if connection.execute(sa.update(table).where(where).values(**values)).rowcount == 0:
        connection.execute(sa.insert(table).values(**key, **values))


def add_part(connection: sa.Connection, study: str, kind: str, path: str, sha256: str, rows: int) -> None:
    """Make a file count. The same path always carries the same content, so a re-run changes nothing."""
    upsert(connection, parts, {"path": path}, {"study": study, "kind": kind, "sha256": sha256, "rows": rows})


def record(connection: sa.Connection, study: str, event: str, **body: Any) -> None:
    """Append one row to the audit chain: its hash covers the previous row's hash and its own text."""
    last = connection.execute(
        sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
    ).first()
    seq, previous = (last.seq + 1, last.hash) if last else (1, "")
    row = {"seq": seq, "at": now(), "study": study, "event": event, "body": json.dumps(body, sort_keys=True)}
    connection.execute(sa.insert(audit).values(**row, previous=previous, hash=_link(previous, row)))


def _link(previous: str, row: dict[str, Any]) -> str:
    text = json.dumps([previous, row["seq"], row["at"], row["study"], row["event"], row["body"]])
    return hashlib.sha256(text.encode()).hexdigest()


def broken_links(connection: sa.Connection) -> tuple[list[int], int]:
    """Return the numbers of all audit rows that were edited, removed or inserted, and how many rows there are.

    After a broken row the walk goes on from what that row says of itself, so that one edit is one broken row.
    """
    broken: list[int] = []
    previous, expected, rows = "", 1, 0
    for row in connection.execute(sa.select(audit).order_by(audit.c.seq)).mappings():
        broken += range(expected, row["seq"])
        edited = row["seq"] < expected or row["hash"] != _link(row["previous"], dict(row))
        cut_off = row["previous"] != previous and row["seq"] == expected and row["seq"] - 1 not in broken
        if edited or cut_off:
            broken.append(row["seq"])
        previous, expected, rows = row["hash"], row["seq"] + 1, rows + 1
    return broken, rows


def check_chain(connection: sa.Connection) -> int:
    """Return the number of audit rows.

    Raises: IntegrityError AUDIT_CHAIN, naming the first row that was edited, removed or inserted.
    """
    broken, rows = broken_links(connection)
    if broken:
        raise IntegrityError("AUDIT_CHAIN", f"audit row {broken[0]} is not what was written")
    return rows


def queue_alert(connection: sa.Connection, study: str, kind: str, key: str, title: str, body: str) -> None:
    """Queue one message for people, once per `key`. It may hold study, site, rule, counts and ids of ours only."""
    if connection.execute(sa.select(alerts.c.key).where(alerts.c.key == key)).first() is None:
        row = {"key": key, "study": study, "kind": kind, "title": title, "body": body}
        connection.execute(sa.insert(alerts).values(**row, created_at=now(), state="WAITING"))


def reject(connection: sa.Connection, delivery: dict[str, Any], code: str, reason: str) -> bool:
    """Decide that a delivery is not used, with its query, alert and audit row; False if already decided."""
    undecided = deliveries.c.status.in_(("LANDED", "STAGED", "VALIDATED"))
    values = {"status": "REJECTED", "code": code, "reason": reason, "accepted": 0, "decided_at": now()}
    done = connection.execute(
        sa.update(deliveries).where(deliveries.c.id == delivery["id"], undecided).values(**values)
    )
    if done.rowcount == 0:
        return False
    study, site, domain = delivery["study"], delivery["site"], delivery["domain"] or "-"
    open_query(connection, study, site, domain, code, delivery["sha256"], "critical", 1)
    record(connection, study, "rejected", delivery=delivery["id"], site=site, domain=domain, code=code)
    queue_alert(
        connection,
        study,
        "DELIVERY_REJECTED",
        f"{study}/delivery/{delivery['id']}/REJECTED",
        f"{study}: delivery {delivery['id']} of site {site} was rejected",
        f"Domain {domain}, code {code}. {reason} Earlier data of the site stand. "
        f"Next: msc deliveries --study {study}, then ask the site to send the file again.",
    )
    return True


def open_query(
    connection: sa.Connection,
    study: str,
    site: str,
    domain: str,
    rule_id: str,
    key: str,
    severity: str,
    n: int,
) -> None:
    """Open a finding, or note that an open one was seen again."""
    c = queries.c
    same = sa.and_(
        c.study == study, c.site == site, c.domain == domain, c.rule_id == rule_id, c.key_hash == key,
        c.closed_at.is_(None),
    )  # fmt: skip
    at = now()
    if connection.execute(sa.update(queries).where(same).values(last_seen_at=at, n_rows=n)).rowcount == 0:
        row = {"study": study, "site": site, "domain": domain, "rule_id": rule_id, "key_hash": key}
        times = {"opened_at": at, "last_seen_at": at}
        connection.execute(sa.insert(queries).values(**row, severity=severity, n_rows=n, **times))
