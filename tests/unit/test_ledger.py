"""The ledger: one writer at a time, all of a transaction or nothing, and a chain that shows what was changed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline.errors import IntegrityError, TransientError
from msc_pipeline.ledger import Ledger

DELIVERY = {
    "id": 1, "study": "s", "site": "XA", "domain": "LB", "file": "lb_1.csv", "sha256": "abc", "order_number": 0,
    "verified": "UNVERIFIED", "status": "LANDED",
}  # fmt: skip


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/home/ledger.sqlite"


@pytest.fixture
def ledger(url: str) -> Ledger:
    return Ledger(url)


def file_of(url: str) -> str:
    return url.removeprefix("sqlite:///")


def by_hand(url: str, statement: str) -> None:
    """Change the ledger as somebody with a database tool would."""
    with closing(sqlite3.connect(file_of(url))) as connection, connection:
        connection.execute(statement)


def rows_of(ledger: Ledger, table: sa.Table) -> list[dict[str, Any]]:
    return ledger.rows(sa.select(table))


def write_audit(ledger: Ledger, count: int) -> None:
    for number in range(count):
        with ledger.write() as connection:
            book.record(connection, "s", "event", number=number)


def check(ledger: Ledger) -> int:
    with ledger.read() as connection:
        return book.check_chain(connection)


def test_a_ledger_is_made_where_there_is_none_and_opened_where_there_is(url: str) -> None:
    write_audit(Ledger(url), 1)
    assert check(Ledger(url)) == 1


def test_sqlite_writes_ahead_and_syncs_fully(ledger: Ledger) -> None:
    with ledger.read() as connection:
        found = [
            connection.exec_driver_sql(f"pragma {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
    assert found == ["wal", 2]


def test_a_transaction_that_fails_leaves_nothing(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.write() as connection:
        book.record(connection, "s", "event")
        book.add_part(connection, "s", "staged", "p", "abc", 1)
        raise RuntimeError
    assert rows_of(ledger, book.audit) == rows_of(ledger, book.parts) == []
    write_audit(ledger, 1)


def test_a_reader_sees_one_moment_and_blocks_no_writer(ledger: Ledger) -> None:
    write_audit(ledger, 1)
    with ledger.read() as connection:
        assert book.check_chain(connection) == 1
        write_audit(ledger, 1)
        assert book.check_chain(connection) == 1
    assert check(ledger) == 2


# --- The audit chain


def test_a_chain_that_nobody_touched_holds(ledger: Ledger) -> None:
    assert check(ledger) == 0
    write_audit(ledger, 5)
    assert check(ledger) == 5
    hashes = [row["hash"] for row in rows_of(ledger, book.audit)]
    assert [row["previous"] for row in rows_of(ledger, book.audit)] == ["", *hashes[:-1]]


COPY = "insert into audit select {}, at, study, event, body, {}, hash from audit where seq = 2"
TOUCHED = {
    "an edited text": ("update audit set body = '{}' where seq = 3", 3),
    "an edited time": ("update audit set at = '2020' where seq = 1", 1),
    "an edited study": ("update audit set study = 'x' where seq = 5", 5),
    "an edited event": ("update audit set event = 'x' where seq = 2", 2),
    "an edited hash": ("update audit set hash = 'x' where seq = 4", 4),
    "a removed first row": ("delete from audit where seq = 1", 1),
    "a removed row": ("delete from audit where seq = 3", 3),
    "a row moved to the end": ("update audit set seq = 6 where seq = 2", 2),
    "an inserted row": (COPY.format(6, "previous"), 6),
    "a row before the first": (COPY.format(0, "''"), 0),
}


@pytest.mark.parametrize("what", TOUCHED)
def test_the_check_names_the_first_row_that_is_not_what_was_written(what: str, url: str) -> None:
    ledger = Ledger(url)
    write_audit(ledger, 5)
    statement, row = TOUCHED[what]
    by_hand(url, statement)
    with pytest.raises(IntegrityError, match=rf"^AUDIT_CHAIN: audit row {row} is not"):
        check(ledger)


WRITER = """
import sys
from msc_pipeline import ledger as book
for number in range(15):
    with book.Ledger(sys.argv[1]).write() as connection:
        book.record(connection, "s", "event", number=number)
"""


def test_processes_that_write_at_the_same_time_make_one_unbroken_chain(url: str) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, url]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert check(Ledger(url)) == 45


# --- What the engine says


def test_a_ledger_that_another_process_keeps_locked_may_be_tried_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Ledger(url)
    monkeypatch.setattr(book, "BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(file_of(url), isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(TransientError, match="LEDGER: the ledger does not answer"):
            write_audit(Ledger(url), 1)
    write_audit(Ledger(url), 1)


def test_a_ledger_that_cannot_be_opened_may_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(TransientError, match="LEDGER"):
        Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


def test_a_ledger_that_is_damaged_needs_a_person(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("not a database " * 100)
    with pytest.raises(IntegrityError, match="LEDGER: the ledger is damaged"):
        Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")


def test_a_wrong_statement_is_our_own_fault_and_stays_what_it_is(ledger: Ledger) -> None:
    with pytest.raises(sa.exc.OperationalError):
        ledger.rows(sa.text("select * from nowhere"))


def test_an_error_of_the_engine_quotes_no_value(ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.execute(sa.insert(book.deliveries).values(**DELIVERY))
    with pytest.raises(sa.exc.IntegrityError) as caught, ledger.write() as connection:
        connection.execute(sa.insert(book.deliveries).values(**{**DELIVERY, "reason": "MARKER"}))
    assert "MARKER" not in str(caught.value)


# --- Facts that several stages record the same way


@pytest.fixture
def connection(ledger: Ledger) -> Iterator[sa.Connection]:
    with ledger.write() as opened:
        yield opened


def test_a_row_is_written_once_and_then_changed(connection: sa.Connection) -> None:
    book.add_part(connection, "s", "staged", "p", "abc", 1)
    book.add_part(connection, "s", "staged", "p", "def", 2)
    (row,) = connection.execute(sa.select(book.parts)).mappings()
    assert (row["sha256"], row["rows"]) == ("def", 2)


def test_an_alert_is_queued_once_for_its_key(connection: sa.Connection) -> None:
    for body in ("first", "again"):
        book.queue_alert(connection, "s", "KIND", "key", "title", body)
    book.queue_alert(connection, "s", "KIND", "other", "title", "other")
    found = connection.execute(sa.select(book.alerts.c.key, book.alerts.c.body, book.alerts.c.state)).all()
    assert sorted(map(tuple, found)) == [("key", "first", "WAITING"), ("other", "other", "WAITING")]


def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda at: monkeypatch.setattr(book, "now", lambda: at)


def test_a_query_that_is_seen_again_stays_one(
    connection: sa.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = clock(monkeypatch)
    for moment, n in (("t1", 3), ("t2", 5)):
        at(moment)
        book.open_query(connection, "s", "XA", "LB", "R1", "key", "warning", n)
    (query,) = connection.execute(sa.select(book.queries)).mappings()
    assert (query["opened_at"], query["last_seen_at"], query["n_rows"]) == ("t1", "t2", 5)
    assert query["closed_at"] is None


def test_a_query_that_was_closed_is_opened_anew(connection: sa.Connection) -> None:
    book.open_query(connection, "s", "XA", "LB", "R1", "key", "warning", 3)
    connection.execute(sa.update(book.queries).values(closed_at="t1"))
    book.open_query(connection, "s", "XA", "LB", "R1", "key", "warning", 3)
    closed = [q["closed_at"] for q in connection.execute(sa.select(book.queries)).mappings()]
    assert closed == ["t1", None]


def test_queries_of_another_key_rule_site_or_domain_stand_apart(connection: sa.Connection) -> None:
    base = ("s", "XA", "LB", "R1", "key")
    for place, other in enumerate(("s2", "XB", "AE", "R2", "key2")):
        book.open_query(connection, *base, "warning", 1)
        book.open_query(connection, *base[:place], other, *base[place + 1 :], "warning", 1)
    assert len(connection.execute(sa.select(book.queries)).all()) == 6


def test_a_rejection_is_decided_once_with_its_query_alert_and_audit_row(connection: sa.Connection) -> None:
    connection.execute(sa.insert(book.deliveries).values(**DELIVERY, accepted=9))
    assert book.reject(connection, DELIVERY, "QUOTE", "Line 4.")
    assert not book.reject(connection, DELIVERY, "OTHER", "Too late.")
    (row,) = connection.execute(sa.select(book.deliveries)).mappings()
    assert (row["status"], row["code"], row["reason"], row["accepted"]) == ("REJECTED", "QUOTE", "Line 4.", 0)
    assert row["decided_at"].endswith("+00:00")
    (query,) = connection.execute(sa.select(book.queries)).mappings()
    assert (query["rule_id"], query["key_hash"], query["severity"]) == ("QUOTE", "abc", "critical")
    (alert,) = connection.execute(sa.select(book.alerts)).mappings()
    assert alert["title"] == "s: delivery 1 of site XA was rejected"
    assert "code QUOTE. Line 4." in alert["body"]
    assert len(connection.execute(sa.select(book.audit)).all()) == 1


@pytest.mark.parametrize("status", ["ACCEPTED", "PARTIAL", "HELD", "REJECTED"])
def test_what_is_decided_cannot_be_rejected(status: str, connection: sa.Connection) -> None:
    connection.execute(sa.insert(book.deliveries).values(**{**DELIVERY, "status": status}))
    assert not book.reject(connection, DELIVERY, "QUOTE", "Line 4.")
    assert connection.execute(sa.select(book.alerts)).all() == []


def test_a_postgresql_writer_takes_the_lock_of_the_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.__new__(Ledger)
    said: list[str] = []

    class Connection:
        def __enter__(self) -> Connection:
            return self

        def __exit__(self, *_: object) -> None: ...

        def execute(self, statement: sa.Select[Any]) -> None:
            said.append(str(statement.compile(compile_kwargs={"literal_binds": True})))

        def commit(self) -> None:
            said.append("commit")

        def rollback(self) -> None:
            said.append("rollback")

    class Engine:
        connect = Connection

    monkeypatch.setattr(ledger, "_sqlite", False, raising=False)
    monkeypatch.setattr(ledger, "_engine", Engine(), raising=False)
    with ledger.write():
        said.append("work")
    with ledger.read():
        said.append("look")
    assert said == [f"SELECT pg_advisory_xact_lock({book.AUDIT_LOCK}) AS pg_advisory_xact_lock_1",
        "work", "commit", "look", "rollback"]  # fmt: skip
