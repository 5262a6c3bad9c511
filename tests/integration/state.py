"""What a home holds, in a form that two homes can be compared by.

Belongs here: looking into ledger, parts and release; the rules that every home must keep. Does not: deciding
which homes must be equal (the tests).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline import pipeline
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import current
from msc_pipeline.settings import Settings
from msc_pipeline.storage import sha256_of

DECIDED = {"ACCEPTED", "PARTIAL", "HELD", "REJECTED"}
Rows = list[dict[str, Any]]


def table(settings: Settings, name: str) -> Rows:
    """Return every row of a ledger table."""
    return Ledger(settings.ledger).rows(sa.select(book.metadata.tables[name]))


def counted(rows: Rows, *names: str) -> Counter[tuple[Any, ...]]:
    """Return how often each combination of some columns occurs."""
    return Counter(tuple(row[name] for name in names) for row in rows)


def curated_parts(settings: Settings) -> dict[tuple[str, str], str]:
    """Return (table, site) → sha256 of the bytes on disk, for every curated part in force."""
    return {(r["table"], r["site"]): sha256_of(settings.home / r["path"]) for r in table(settings, "curated")}


def content(file: Path, *schemas: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return table → sorted rows of a release."""
    with duckdb.connect(str(file), read_only=True) as connection:
        names = [
            f'{schema}."{name}"'
            for schema, name in connection.execute(
                "select schema_name, table_name from duckdb_tables() where not internal order by all"
            ).fetchall()
            if schema in schemas
        ]
        return {
            name: [tuple(map(str, r)) for r in connection.execute(f"from {name} order by all").fetchall()]
            for name in names
        }


def picture(study: str, settings: Settings) -> dict[str, Any]:
    """Return what a home holds, without its clock and without ids, which follow the order of arrival."""
    deliveries = table(settings, "deliveries")
    file = current(study, settings)
    assert file is not None
    facts = ("site", "domain", "file", "sha256", "order_number", "extracted_at", "verified", "status", "code")
    counts = ("rows_in", "accepted", "quarantined", "unkeyed", "reason")
    names = {row["id"]: (row["site"], row["file"], row["sha256"]) for row in deliveries}
    results = [{**row, "delivery": names[row["delivery"]]} for row in table(settings, "results")]
    return {
        "receipts": counted(table(settings, "receipts"), "site", "name", "sha256", "bytes"),
        "deliveries": counted(deliveries, *facts, *counts),
        "results": counted(results, "delivery", "rule_id", "severity", "outcome", "n_rows", "n_failed"),
        "queries": counted(
            [{**q, "open": q["closed_at"] is None} for q in table(settings, "queries")],
            "site", "domain", "rule_id", "key_hash", "severity", "n_rows", "open",
        ),
        "heads": counted(table(settings, "heads"), "site", "domain", "state", "keys_pending"),
        "alerts": counted(table(settings, "alerts"), "kind"),
        "events": counted(table(settings, "audit"), "event"),
        "curated": curated_parts(settings),
        "release": file.parent.name.partition("-")[2],
        "content": content(file, "curated", "dsmb"),
        "held": content(file, "ops")['ops."held"'],
    }  # fmt: skip


def differences(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """Return what two pictures differ in; empty when they are equal."""
    return {
        name: {"found": _only(found[name], expected[name]), "expected": _only(expected[name], found[name])}
        for name in expected
        if found[name] != expected[name]
    }


def _only(one: Any, other: Any) -> Any:
    if isinstance(one, Counter):
        return list((one - other).items())[:5]
    if isinstance(one, dict):
        return [(k, v if isinstance(v, str) else v[:3]) for k, v in one.items() if other.get(k) != v][:5]
    return one


def faults(study: str, settings: Settings, sent: int) -> list[str]:
    """Return what is wrong with a home after a run to completion: nothing lost, nothing doubled, nothing left."""
    wrong = [*_lost(settings), *_doubled(settings)]
    if (n := len(table(settings, "receipts"))) != sent:
        wrong.append(f"{n} receipts for {sent} files")
    if left := pipeline.sites_waiting(study, settings):
        wrong.append(f"left waiting: {left}")
    if claims := list((settings.landing / study).glob("*/.claimed/*")):
        wrong.append(f"{len(claims)} claims left")
    if not pipeline.verify(study, settings)["files"]:
        wrong.append("nothing to verify")
    return wrong


def _lost(settings: Settings) -> list[str]:
    """Compare rows that came in with rows that are accepted or in quarantine, and curated parts with the ledger."""
    parts, wrong = {p["path"]: p["rows"] for p in table(settings, "parts")}, []
    for row in table(settings, "deliveries"):
        if row["status"] not in DECIDED:
            wrong.append(f"{row['file']} is {row['status']}")
        elif row["accepted_part"] and row["status"] != "REJECTED":
            out = parts[row["accepted_part"]], parts[row["quarantine_part"]]
            if out != (row["accepted"], row["quarantined"]) or sum(out) != row["rows_in"]:
                wrong.append(f"{row['file']}: {row['rows_in']} rows in, {out} out")
    with duckdb.connect(":memory:") as connection:
        for row in table(settings, "curated"):
            relation = connection.read_parquet(str(settings.home / row["path"]), hive_partitioning=False)
            if (n := len(relation.fetchall())) != parts[row["path"]]:
                wrong.append(f"{row['path']}: {n} rows for {parts[row['path']]}")
    return wrong


def _doubled(settings: Settings) -> list[str]:
    """Return what the audit trail has more than once of one delivery; only a decision may be taken anew."""
    events = Counter((json.loads(a["body"]).get("delivery"), a["event"]) for a in table(settings, "audit"))
    once = {"validated", "rejected", "let through"}
    return [
        f"delivery {id_}: {event}, {n} times" for (id_, event), n in events.items() if event in once and n > 1
    ]
