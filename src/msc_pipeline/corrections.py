"""Corrections: from the deliveries of one site's domain, the rows in force, and what each delivery restated.

Belongs here: the order of deliveries, cumulative and incremental domains, HELD, PENDFL, restatements, and the
opening and closing of queries that follow. Does not: rules (validation) and derivations (curation).

The rows in force are a fold over the deliveries in their declared order, so files that arrive in another order
give the same rows. Each step of the fold has a hash of content and order only; a step already made is reused.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from msc_pipeline import cdisc, findings, models
from msc_pipeline import ledger as book
from msc_pipeline.errors import IntegrityError, PermanentError, TransientError
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from msc_pipeline.storage import check, digest, mark, put
from msc_pipeline.study import Domain, Study

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)

IN_LINE = ("VALIDATED", "ACCEPTED", "PARTIAL", "HELD")
TRIES = 5


@dataclass(frozen=True)
class State:
    """The rows in force after one step: their part, the step's hash, restatement parts so far, keys pending."""

    hash: str
    path: str
    restatements: tuple[str, ...]
    pending: int


@dataclass
class Fold:
    """Everything one settlement found: the last state, each delivery's status, and the parts it wrote."""

    state: State | None
    statuses: dict[int, tuple[str, str]]
    written: list[tuple[str, str, str, int]]


def settle(study: Study, site: str, domain: str, settings: Settings) -> list[int]:
    """Decide every validated delivery of one site's domain; return the ids decided now.

    Raises: IntegrityError for a damaged part; TransientError RACE when other workers keep changing the domain.
    """
    ledger = Ledger(settings.ledger)
    for _ in range(TRIES):
        line = _line(ledger, study, site, domain)
        fresh = [d["id"] for d in line if d["status"] == "VALIDATED"]
        if not fresh and not any(d["status"] == "HELD" and d["let_through"] for d in line):
            return []
        fold = _fold(study, site, domain, line, ledger, settings)
        shown = _shown(study, line, fold, ledger, settings)
        mark("folded")
        with ledger.write() as connection:
            if _save(connection, study, site, domain, line, fold):
                if shown:
                    findings.update(connection, study.id, site, domain, shown)
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


def _line(ledger: Ledger, study: Study, site: str, domain: str) -> list[dict[str, Any]]:
    c = book.deliveries.c
    mine = sa.select(book.deliveries).where(
        c.study == study.id, c.site == site, c.domain == domain, c.status.in_(IN_LINE)
    )
    return ledger.rows(mine.order_by(c.order_number, c.id))


def _fold(
    study: Study, site: str, domain: str, line: list[dict[str, Any]], ledger: Ledger, settings: Settings
) -> Fold:
    fold = Fold(None, {}, [])
    paths = [d[kind] for d in line for kind in ("accepted_part", "quarantine_part")]
    known = {
        p["path"]: p["sha256"]
        for p in ledger.rows(sa.select(book.parts).where(book.parts.c.study == study.id))
    }
    if lost := [path for path in paths if path not in known]:
        raise IntegrityError(
            "INTEGRITY", f"{len(lost)} parts of site {site}, domain {domain} are not in the ledger"
        )
    connection = models.connect(settings.threads)
    try:
        for delivery in line:
            _step(connection, study, domain, delivery, fold, known, settings)
    finally:
        connection.close()
    return fold


def _step(
    connection: duckdb.DuckDBPyConnection,
    study: Study,
    domain: str,
    delivery: dict[str, Any],
    fold: Fold,
    known: dict[str, str],
    settings: Settings,
) -> None:
    """Put one delivery on top of the rows in force, or hold it."""
    rules = study.domains[domain]
    before = fold.state
    quiet = "PARTIAL" if delivery["quarantined"] else "ACCEPTED"
    if before is None:
        hash_ = digest("first", delivery["sha256"], delivery["rule_set"])
        fold.state = State(hash_, delivery["accepted_part"], (), 0)
        fold.statuses[delivery["id"]] = (quiet, "")
        return
    hash_ = digest(before.hash, delivery["sha256"], delivery["rule_set"])
    _views(connection, before, delivery, known, settings)
    removed = _removed(connection, rules, domain) if rules.update == "cumulative" else None
    if removed and not delivery["unkeyed"] and not delivery["let_through"]:
        fold.statuses[delivery["id"]] = ("HELD", removed)
        return
    fold.statuses[delivery["id"]] = (quiet, "")
    stays = _stays(rules, unkeyed=bool(delivery["unkeyed"]))
    found = connection.execute(f"select count(*), coalesce(count_if(PENDING), 0) from ({stays})").fetchone()
    kept, pending = found or (0, 0)
    path = delivery["accepted_part"]
    if kept:
        path = f"{study.id}/state/{domain}/{hash_[:24]}.parquet"
        now = (
            f"select * exclude (PENDING) replace (case when PENDING then 'Y' end as PENDFL) from ({stays})"
            " union all by name select * from fresh"
        )
        _write(
            connection, f"{now} order by KEY_HASH, SRC_SHA256, SRC_ROW", path, "state", fold, known, settings
        )
    state = State(hash_, path, before.restatements, int(pending))
    restated = _restate(connection, study, domain, delivery["sha256"], state, fold, known, settings)
    fold.state = replace(state, restatements=(*before.restatements, *restated))


def _views(
    connection: duckdb.DuckDBPyConnection,
    before: State,
    delivery: dict[str, Any],
    known: dict[str, str],
    settings: Settings,
) -> None:
    """Create views `earlier`, `fresh` and `refused` over parts whose bytes were just checked."""
    views = {
        "earlier": before.path,
        "fresh": delivery["accepted_part"],
        "refused": delivery["quarantine_part"],
    }
    for name, path in views.items():
        checked = str(check(settings.home / path, known[path])).replace("'", "''")
        connection.execute(f"create or replace view {name} as select * from read_parquet('{checked}')")


def _removed(connection: duckdb.DuckDBPyConnection, rules: Domain, domain: str) -> str:
    """Return why a cumulative delivery would remove too much, or an empty text."""
    row = connection.execute(
        """with gone as (
            select KEY_HASH, USUBJID from earlier
            anti join (select KEY_HASH from fresh union all select KEY_HASH from refused) using (KEY_HASH)),
        present as (select USUBJID from fresh union select USUBJID from refused)
        select (select count(distinct KEY_HASH) from gone),
            (select count(distinct KEY_HASH) from earlier),
            (select count(distinct USUBJID) from gone where USUBJID not in
                (select USUBJID from present where USUBJID is not null))"""
    ).fetchone()
    keys, of, subjects = row or (0, 0, 0)
    if subjects:
        return f"It would remove all {domain} rows of {subjects} subjects ({keys} of {of} keys)."
    if keys and rules.hold_removed_rows:
        return f"It would remove {keys} {domain} rows."
    if keys > rules.max_removed * of:
        return f"It would remove {keys} of {of} keys."
    return ""


def _stays(rules: Domain, *, unkeyed: bool) -> str:
    """Return SQL for the earlier rows that stand beside the fresh ones; PENDING where a correction is awaited.

    A row whose correction sits in quarantine stands. Where some rows of the delivery could not even be split
    into columns, any missing key may be among them, so every missing key stands, pending.
    """
    pending = "KEY_HASH in (select KEY_HASH from refused where KEY_HASH is not null)"
    missing = "KEY_HASH not in (select KEY_HASH from fresh)"
    if rules.update == "incremental":
        return (
            f"select *, {pending} or PENDFL is not distinct from 'Y' as PENDING from earlier where {missing}"
        )
    if unkeyed:
        return f"select *, true as PENDING from earlier where {missing}"
    return f"select *, true as PENDING from earlier where {missing} and {pending}"


def _restate(
    connection: duckdb.DuckDBPyConnection,
    study: Study,
    domain: str,
    sha256: str,
    state: State,
    fold: Fold,
    known: dict[str, str],
    settings: Settings,
) -> tuple[str, ...]:
    """Write what changed between two states, one row per key and variable; return the part's path if any."""
    after = str(settings.home / state.path).replace("'", "''")
    rules = study.domains[domain]
    names = [
        n for n in cdisc.columns(domain, rules.columns) if n not in ("STUDYID", "DOMAIN", f"{domain}SEQ")
    ]
    key = " || '; ' || ".join(f"'{c}=' || coalesce(\"{c}\", '')" for c in rules.key)
    columns = ", ".join(f"{{'name': '{n}', 'before': a.\"{n}\", 'after': b.\"{n}\"}}" for n in names)
    first = "qualify row_number() over (partition by KEY_HASH order by SRC_SHA256, SRC_ROW) = 1"
    select = f"""with a as (select *, {key} as ROW_KEY from earlier {first}),
        b as (select *, {key} as ROW_KEY from read_parquet('{after}') {first}),
        changed as (
            select a.STUDYID, a.SITEID, '{domain}' as DOMAIN, a.ROW_KEY, unnest([{columns}]) as cell,
                a.SRC_SHA256 as OLD_SHA256, a.SRC_ROW as OLD_ROW, b.SRC_SHA256 as NEW_SHA256, b.SRC_ROW as NEW_ROW
            from a join b using (KEY_HASH) where a.ROW_HASH <> b.ROW_HASH)
        select STUDYID, SITEID, DOMAIN, ROW_KEY, 'CHANGED' as CHANGE, cell.name as VARIABLE,
            cell.before as OLD, cell.after as NEW, OLD_SHA256, OLD_ROW, NEW_SHA256, NEW_ROW
        from changed where cell.before is distinct from cell.after
        union all
        select STUDYID, SITEID, '{domain}', ROW_KEY, 'REMOVED', null, null, null, SRC_SHA256, SRC_ROW,
            '{sha256}', null
        from a anti join b using (KEY_HASH)"""
    with models.reported("restatements", PermanentError, "MODEL_FAILED"):
        connection.execute(f"create or replace temp table delta as {select}")
        found = connection.execute("select count(*) from delta").fetchone()
    if not found or not found[0]:
        return ()
    target = f"{study.id}/restatements/{domain}/{state.hash[:24]}.parquet"
    ordered = "select * from delta order by ROW_KEY, CHANGE, VARIABLE"
    _write(connection, ordered, target, "restatement", fold, known, settings)
    return (target,)


def _write(
    connection: duckdb.DuckDBPyConnection,
    select: str,
    path: str,
    kind: str,
    fold: Fold,
    known: dict[str, str],
    settings: Settings,
) -> None:
    if path in known and (settings.home / path).is_file():
        return
    sha256 = put(settings.home / path, models.copier(connection, select, f"{kind}s"))
    found = connection.execute(f"select count(*) from ({select})").fetchone()
    known[path] = sha256
    fold.written.append((kind, path, sha256, int(found[0]) if found else 0))


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
    study: Study, line: list[dict[str, Any]], fold: Fold, ledger: Ledger, settings: Settings
) -> findings.Shown | None:
    """Return what the newest delivery in use shows, and which keys it speaks of (all, when cumulative)."""
    newest = [d for d in line if fold.statuses[d["id"]][0] != "HELD"]
    if not newest:
        return None
    last = newest[-1]
    parts = [settings.home / last[kind] for kind in ("accepted_part", "quarantine_part")]
    incremental = study.domains[last["domain"]].update == "incremental"
    carried = findings.keys_in(parts) | {last["sha256"], findings.MANY_KEY} if incremental else None
    rows = findings.in_part(settings.home / last["findings_part"])
    r = book.results.c
    failed = sa.select(r.rule_id, r.severity).where(
        r.delivery == last["id"], r.outcome == "failed", r.severity != "info"
    )
    of_file = [x for x in ledger.rows(failed) if x["rule_id"] not in {rule_id for rule_id, _ in rows}]
    rows |= {(x["rule_id"], findings.MANY_KEY): (x["severity"], 1) for x in of_file}
    return findings.Shown(rows, carried)


def _tell(connection: sa.Connection, study: Study, delivery: dict[str, Any]) -> None:
    """Queue the alert that a decision calls for."""
    site, id_ = delivery["site"], delivery["id"]
    if delivery["status"] == "HELD":
        book.open_query(
            connection, study.id, site, delivery["domain"], "REMOVES", delivery["sha256"], "critical", 1
        )
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
