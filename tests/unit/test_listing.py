"""Listing: deliveries and queries as people read them; nothing is changed by looking."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline.ledger import Ledger
from msc_pipeline.listing import deliveries_of, queries_of, undecided
from tiny_trial import STUDY, TinyTrial

COLUMNS = ["id", "site", "domain", "file", "status", "rows_in", "accepted", "quarantined", "code", "reason"]


def delivery(id_: int, study: str = STUDY, site: str = "XA", status: str = "LANDED") -> dict[str, Any]:
    row = {
        "id": id_,
        "study": study,
        "site": site,
        "domain": "LB",
        "file": f"lb_{id_}.csv",
        "sha256": str(id_),
    }
    return {**row, "order_number": 10 - id_, "verified": "UNVERIFIED", "status": status}


@pytest.fixture
def known(trial: TinyTrial) -> TinyTrial:
    """A trial whose ledger knows some deliveries and queries, of another study too."""
    rows = [
        delivery(1, status="ACCEPTED"),
        delivery(2, site="XB", status="REJECTED"),
        delivery(3, study="other"),
        delivery(4, status="STAGED"),
        delivery(5, site="XB"),
        delivery(6, status="VALIDATED"),
        delivery(7, status="HELD"),
    ]
    with Ledger(trial.settings.ledger).write() as connection:
        connection.execute(sa.insert(book.deliveries), rows)
        for key, n in (("k1", 1), ("k2", 4)):
            book.open_query(connection, STUDY, "XA", "LB", "LB-RES-01", key, "critical", n)
        book.open_query(connection, STUDY, "XA", "LB", "QUOTE", "sha", "critical", 1)
        connection.execute(
            sa.update(book.queries).where(book.queries.c.rule_id == "QUOTE").values(closed_at="t")
        )
        book.open_query(connection, STUDY, "XB", "LB", "TRUNCATED", "sha", "critical", 1)
        book.open_query(connection, "other", "XA", "LB", "QUOTE", "sha", "critical", 1)
    return trial


def test_deliveries_are_listed_in_order_of_receipt_with_what_became_of_them(known: TinyTrial) -> None:
    rows = deliveries_of(STUDY, "", known.settings)
    assert [row["id"] for row in rows] == [1, 2, 4, 5, 6, 7]
    assert list(rows[0]) == COLUMNS
    assert [row["id"] for row in deliveries_of(STUDY, "XB", known.settings)] == [2, 5]
    assert deliveries_of(STUDY, "ZZ", known.settings) == []


def test_open_queries_are_counted_by_rule_with_what_the_rule_says(known: TinyTrial) -> None:
    rows = {(row["site"], row["rule_id"]): row for row in queries_of(STUDY, "", known.settings)}
    assert list(rows) == [("XA", "LB-RES-01"), ("XB", "TRUNCATED")]
    first = rows["XA", "LB-RES-01"]
    assert (first["queries"], first["rows"], first["severity"], first["domain"]) == (2, 5, "critical", "LB")
    assert first["since"] <= first["last_seen"]
    assert rows["XB", "TRUNCATED"]["says"] == "See msc deliveries for the reason."
    assert [row["rule_id"] for row in queries_of(STUDY, "XB", known.settings)] == ["TRUNCATED"]


def test_closed_queries_are_listed_when_asked_for(known: TinyTrial) -> None:
    rows = queries_of(STUDY, "XA", known.settings, closed=True)
    assert [row["rule_id"] for row in rows] == ["LB-RES-01", "QUOTE"]


def test_the_sentence_of_a_query_is_that_of_its_rule(known: TinyTrial) -> None:
    from msc_pipeline.suites import load_suite

    rule = load_suite("lab/structure", known.settings.project).rules[0]
    with Ledger(known.settings.ledger).write() as connection:
        book.open_query(connection, STUDY, "XC", "LB", rule.id, "k", rule.severity, 1)
    assert [row["says"] for row in queries_of(STUDY, "XC", known.settings)] == [rule.meta.says]


def test_deliveries_half_way_are_named_by_site(known: TinyTrial) -> None:
    assert undecided(STUDY, known.settings) == {"XA": [4, 6], "XB": [5]}
    assert undecided("nobody", known.settings) == {}
