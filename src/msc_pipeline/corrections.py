"""Corrections: from the deliveries of one site's domain, the rows in force, and what each delivery restated.

Belongs here: which deliveries count and in which order, deciding them, letting one through, and the opening and
closing of queries that follow. Does not: putting deliveries on top of each other (folding), rules (validation),
derivations (curation).
"""

from __future__ import annotations

import json
import logging
from typing import Any

import sqlalchemy as sa

from msc_pipeline import findings
from msc_pipeline import ledger as book
from msc_pipeline.errors import PermanentError, TransientError
from msc_pipeline.folding import Fold, fold_line
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from msc_pipeline.storage import mark
from msc_pipeline.study import Study

log = logging.getLogger(__name__)

IN_LINE = ("VALIDATED", "ACCEPTED", "PARTIAL", "HELD")
TRIES = 5


def settle(study: Study, site: str, domain: str, settings: Settings) -> list[int]:
    """Decide every validated delivery of one site's domain; return the ids decided now.

    Raises: IntegrityError for a damaged part; TransientError RACE when other workers keep changing the domain.
    """
    ledger = Ledger(settings.ledger)
    for _ in range(TRIES):
        line = line_of(ledger, study, site, domain)
        fresh = [d["id"] for d in line if d["status"] == "VALIDATED"]
        if not fresh and not any(d["status"] == "HELD" and d["let_through"] for d in line):
            return []
        fold = fold_line(study, site, domain, line, ledger, settings)
        used = [d for d in line if fold.statuses[d["id"]][0] != "HELD"]
        shown = _shown(study, used, ledger, fold)
        mark("folded")
        with ledger.write() as connection:
            if _save(connection, study, site, domain, line, fold):
                shown |= _not_in_use(connection, study, used[-1])
                findings.update(connection, study.id, site, domain, findings.Shown(shown))
                findings.close_elsewhere(connection, study.id, site, [d["sha256"] for d in used])
                return fresh
    raise TransientError("RACE", f"site {site}, domain {domain}: another run keeps deciding it")


def let_through(study: Study, delivery_id: int, reason: str, settings: Settings) -> None:
    """Put a HELD delivery to use after a person has looked at it.

    Raises: PermanentError NOT_HELD.
    """
    ledger = Ledger(settings.ledger)
    c = book.deliveries.c
    with ledger.write() as connection:
        held = sa.update(book.deliveries).where(c.study == study.id, c.id == delivery_id, c.status == "HELD")
        if connection.execute(held.values(let_through=reason)).rowcount == 0:
            raise PermanentError("NOT_HELD", f"delivery {delivery_id} of {study.id} is not held")
        book.record(connection, study.id, "let through", delivery=delivery_id, reason=reason)
    found = ledger.rows(sa.select(c.site, c.domain).where(c.id == delivery_id))[0]
    settle(study, found["site"], found["domain"], settings)


def line_of(ledger: Ledger, study: Study, site: str, domain: str) -> list[dict[str, Any]]:
    """Return the deliveries of one site's domain that count, in their order."""
    c = book.deliveries.c
    mine = sa.select(book.deliveries).where(
        c.study == study.id, c.site == site, c.domain == domain, c.status.in_(IN_LINE)
    )
    return ledger.rows(mine.order_by(c.order_number, c.id))


def _save(
    connection: sa.Connection,
    study: Study,
    site: str,
    domain: str,
    line: list[dict[str, Any]],
    fold: Fold,
) -> bool:
    """Make a settlement visible; False, and nothing written, when the line changed while we folded."""
    c = book.deliveries.c
    mine = sa.select(c.id, c.status, c.let_through).where(
        c.study == study.id, c.site == site, c.domain == domain, c.status.in_(IN_LINE)
    )
    seen = {(d["id"], d["status"], d["let_through"]) for d in line}
    if {tuple(row) for row in connection.execute(mine)} != seen:
        return False
    for kind, path, sha256, rows in fold.written:
        book.add_part(connection, study.id, kind, path, sha256, rows)
    if fold.state is not None:
        values = {
            "state": fold.state.hash, "path": fold.state.path, "keys_pending": fold.state.pending,
            "restatements": json.dumps(fold.state.restatements),
        }  # fmt: skip
        book.upsert(connection, book.heads, {"study": study.id, "site": site, "domain": domain}, values)
    for delivery in line:
        status, reason = fold.statuses[delivery["id"]]
        if status == delivery["status"]:
            continue
        values = {"status": status, "reason": reason or None, "code": "REMOVES" if reason else None}
        decided = {**values, "decided_at": book.now()}
        connection.execute(sa.update(book.deliveries).where(c.id == delivery["id"]).values(**decided))
        book.record(
            connection, study.id, "decided", delivery=delivery["id"], site=site, domain=domain, status=status
        )
        _tell(connection, study, {**delivery, **values})
    return True


def _shown(
    study: Study, used: list[dict[str, Any]], ledger: Ledger, fold: Fold
) -> dict[tuple[str, str], tuple[str, int]]:
    """Return every finding that stands: (severity, rows) per (rule id, key hash).

    A cumulative delivery speaks of its whole domain, so the newest says it all, with those before it back to one
    whose every row has a key. Incremental deliveries speak of their own keys only, the newest of each key counts.
    What is about a file and no key stands until the next delivery is in use.
    """
    last = used[-1]
    complete = [n for n, d in enumerate(used) if not d["unkeyed"]]
    first = 0 if study.domains[last["domain"]].update == "incremental" or not complete else complete[-1]
    kinds = ("findings_part", "accepted_part", "quarantine_part")
    rows = findings.standing([[fold.part(d[kind]) for kind in kinds] for d in used[first:]])
    r = book.results.c
    failed = sa.select(r.rule_id, r.severity).where(
        r.delivery == last["id"], r.outcome == "failed", r.severity != "info"
    )
    of_file = [x for x in ledger.rows(failed) if x["rule_id"] not in {rule_id for rule_id, _ in rows}]
    return rows | {(x["rule_id"], findings.MANY_KEY): (x["severity"], 1) for x in of_file}


def _not_in_use(
    connection: sa.Connection, study: Study, newest: dict[str, Any]
) -> dict[tuple[str, str], tuple[str, int]]:
    """Return the findings that are whole deliveries: rejected or held ones that no later one has replaced."""
    c = book.deliveries.c
    after = sa.or_(
        c.order_number > newest["order_number"],
        sa.and_(c.order_number == newest["order_number"], c.id > newest["id"]),
    )
    mine = sa.and_(c.study == study.id, c.site == newest["site"], c.domain == newest["domain"])
    refused = sa.select(c.code, c.sha256).where(mine, after, c.status.in_(("REJECTED", "HELD")))
    return {(code, sha256): ("critical", 1) for code, sha256 in connection.execute(refused)}


def _tell(connection: sa.Connection, study: Study, delivery: dict[str, Any]) -> None:
    """Queue the alert that a decision calls for."""
    site, id_ = delivery["site"], delivery["id"]
    if delivery["status"] == "HELD":
        book.queue_alert(
            connection, study.id, "DELIVERY_HELD", f"{study.id}/delivery/{id_}/HELD",
            f"{study.id}: delivery {id_} of site {site} is held",
            f"Domain {delivery['domain']}. {delivery['reason']} Earlier data of the site stand. "
            f"Next: msc deliveries accept {id_} --study {study.id} --reason …, or ask the site for a complete file.",
        )  # fmt: skip
    elif delivery["quarantined"] > study.alert_quarantined * delivery["rows_in"]:
        book.queue_alert(
            connection, study.id, "QUARANTINE", f"{study.id}/delivery/{id_}/QUARANTINE",
            f"{study.id}: many rows of delivery {id_} of site {site} are in quarantine",
            f"Domain {delivery['domain']}: {delivery['quarantined']} of {delivery['rows_in']} rows. "
            f"Next: msc queries --study {study.id} --site {site}.",
        )  # fmt: skip
