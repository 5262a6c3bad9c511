"""Corrections: from the deliveries of one site's domain, the rows in force, and what each delivery restated.

Belongs here: the order of deliveries, cumulative and incremental domains, HELD, PENDFL, restatements, and the
opening and closing of queries that follow. Does not: rules (validation) and derivations (curation).

The rows in force are a fold over the deliveries in their declared order, so files that arrive in another order
give the same rows. Each step of the fold has a hash of content and order only; a step already made is reused.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
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
    from pathlib import Path

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
    """One settlement under way: where it works, and what it has found so far.

    known: path → sha256 of the ledger's parts. statuses: delivery → (status, reason). written: new parts as
    (kind, path, sha256, rows).
    """

    study: Study
    domain: str
    settings: Settings
    connection: duckdb.DuckDBPyConnection
    known: dict[str, str]
    state: State | None = None
    statuses: dict[int, tuple[str, str]] = field(default_factory=dict)
    written: list[tuple[str, str, str, int]] = field(default_factory=list)

    @property
    def rules(self) -> Domain:
        """How the study collects this domain."""
        return self.study.domains[self.domain]

    def literal(self, path: str) -> str:
        """Return the SQL literal of a part's path, its bytes checked against the ledger."""
        return "'" + str(self.part(path)).replace("'", "''") + "'"

    def part(self, path: str) -> Path:
        """Return a part's file, its bytes checked against the ledger."""
        return check(self.settings.home / path, self.known[path])


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


def fold_line(
    study: Study, site: str, domain: str, line: list[dict[str, Any]], ledger: Ledger, settings: Settings
) -> Fold:
    """Put the deliveries of a line on top of each other; write what is not in the home yet, decide nothing.

    Raises: IntegrityError for a damaged part.
    """
    p = book.parts.c
    known = {
        row["path"]: row["sha256"]
        for row in ledger.rows(sa.select(p.path, p.sha256).where(p.study == study.id))
    }
    paths = [d[kind] for d in line for kind in ("accepted_part", "quarantine_part", "findings_part")]
    if lost := [path for path in paths if path not in known]:
        raise IntegrityError(
            "INTEGRITY", f"{len(lost)} parts of site {site}, domain {domain} are not in the ledger"
        )
    fold = Fold(study, domain, settings, models.connect(settings.threads), known)
    try:
        for delivery in line:
            _step(fold, delivery)
    finally:
        fold.connection.close()
    return fold


def _step(fold: Fold, delivery: dict[str, Any]) -> None:
    """Put one delivery on top of the rows in force, or hold it."""
    before, id_ = fold.state, delivery["id"]
    quiet = "PARTIAL" if delivery["quarantined"] else "ACCEPTED"
    hash_ = digest(before.hash if before else delivery["site"], delivery["sha256"], delivery["rule_set"])
    if before is None:
        fold.state = State(hash_, delivery["accepted_part"], (), 0)
        fold.statuses[id_] = (quiet, "")
        return
    views = {
        "earlier": before.path,
        "fresh": delivery["accepted_part"],
        "refused": delivery["quarantine_part"],
    }
    for name, path in views.items():
        fold.connection.execute(
            f"create or replace view {name} as select * from read_parquet({fold.literal(path)})"
        )
    removed = _removed(fold) if fold.rules.update == "cumulative" and not delivery["unkeyed"] else ""
    if removed and not delivery["let_through"]:
        fold.statuses[id_] = ("HELD", removed)
        return
    fold.statuses[id_] = (quiet, "")
    stays = _stays(fold.rules, unkeyed=bool(delivery["unkeyed"]))
    found = fold.connection.execute(
        f"select count(*), coalesce(count_if(PENDING), 0) from ({stays})"
    ).fetchone()
    kept, pending = found or (0, 0)
    path = delivery["accepted_part"]
    if kept:
        path = f"{fold.study.id}/state/{fold.domain}/{hash_[:24]}.parquet"
        both = (
            f"select * exclude (PENDING) replace (case when PENDING then 'Y' end as PENDFL) from ({stays})"
            " union all by name select * from fresh"
        )
        _write(fold, f"{both} order by KEY_HASH, SRC_SHA256, SRC_ROW", path, "state")
    restated = _restate(fold, path, hash_, delivery["sha256"])
    fold.state = State(hash_, path, (*before.restatements, *restated), int(pending))


def _removed(fold: Fold) -> str:
    """Return why a cumulative delivery would remove too much, or an empty text."""
    rules, domain = fold.rules, fold.domain
    row = fold.connection.execute(
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
        return f"It would remove all {domain} rows of {subjects} subject(s) ({keys} of {of} keys)."
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


def _restate(fold: Fold, path: str, hash_: str, sha256: str) -> tuple[str, ...]:
    """Write what the delivery `sha256` changed, one row per key and variable; return the part's path if any.

    path: the state after it. hash_: that state's hash, which names the part.
    """
    rules, domain = fold.rules, fold.domain
    names = [
        n for n in cdisc.columns(domain, rules.columns) if n not in ("STUDYID", "DOMAIN", f"{domain}SEQ")
    ]
    key = " || '; ' || ".join(f"'{c}=' || coalesce(\"{c}\", '')" for c in rules.key)
    columns = ", ".join(f"{{'name': '{n}', 'before': a.\"{n}\", 'after': b.\"{n}\"}}" for n in names)
    words = fold.study.blinded.replace("'", "''")

    def masked(cell: str) -> str:
        """An adverse event that names an arm is accepted, and masked wherever it is shown."""
        return f"regexp_replace({cell}, '{words}', '[masked]', 'g')"

    first = "qualify row_number() over (partition by KEY_HASH order by SRC_SHA256, SRC_ROW) = 1"
    select = f"""with a as (select *, {key} as ROW_KEY from earlier {first}),
        b as (select *, {key} as ROW_KEY from read_parquet({fold.literal(path)}) {first}),
        changed as (
            select a.STUDYID, a.SITEID, '{domain}' as DOMAIN, a.ROW_KEY, unnest([{columns}]) as cell,
                a.SRC_SHA256 as OLD_SHA256, a.SRC_ROW as OLD_ROW, b.SRC_SHA256 as NEW_SHA256, b.SRC_ROW as NEW_ROW
            from a join b using (KEY_HASH) where a.ROW_HASH <> b.ROW_HASH)
        select STUDYID, SITEID, DOMAIN, ROW_KEY, 'CHANGED' as CHANGE, cell.name as VARIABLE,
            {masked("cell.before")} as OLD, {masked("cell.after")} as NEW, OLD_SHA256, OLD_ROW, NEW_SHA256, NEW_ROW
        from changed where cell.before is distinct from cell.after
        union all
        select STUDYID, SITEID, '{domain}', ROW_KEY, 'REMOVED', null, null, null, SRC_SHA256, SRC_ROW,
            '{sha256}', null
        from a anti join b using (KEY_HASH)"""
    with models.reported("restatements", PermanentError, "MODEL_FAILED"):
        fold.connection.execute(f"create or replace temp table delta as {select}")
        found = fold.connection.execute("select count(*) from delta").fetchone()
    if not found or not found[0]:
        return ()
    target = f"{fold.study.id}/restatements/{domain}/{hash_[:24]}.parquet"
    _write(fold, "select * from delta order by ROW_KEY, CHANGE, VARIABLE", target, "restatement")
    return (target,)


def _write(fold: Fold, select: str, path: str, kind: str) -> None:
    if path in fold.known and (fold.settings.home / path).is_file():
        return
    sha256 = put(fold.settings.home / path, models.copier(fold.connection, select, f"{kind}s"))
    found = fold.connection.execute(f"select count(*) from ({select})").fetchone()
    fold.known[path] = sha256
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
