"""Folding: from the deliveries of one site's domain, in their order, the rows in force and what each restated.

Belongs here: cumulative and incremental domains, what is HELD, PENDFL, restatements. Does not: which deliveries
count, and making the outcome visible (corrections).

Each step has a hash of content and order only, so files that arrive in another order give the same rows, and a
settlement goes on from the one before when nothing has come in between.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from msc_pipeline import cdisc, models
from msc_pipeline import ledger as book
from msc_pipeline.errors import IntegrityError, PermanentError
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from msc_pipeline.storage import check, digest, put
from msc_pipeline.study import Domain, Study

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb


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
    (kind, path, sha256, rows). wanted: a state between that is written, too. The rows in force are the relation
    `earlier` of the connection: between the first step and the last they are in memory only.
    """

    study: Study
    domain: str
    settings: Settings
    connection: duckdb.DuckDBPyConnection
    known: dict[str, str]
    wanted: str = ""
    state: State | None = None
    in_memory: str = ""
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

    def keep(self, path: str) -> None:
        """Write the rows in force as a state part."""
        _write(self, "select * from earlier order by KEY_HASH, SRC_SHA256, SRC_ROW", path, "state")

    def stand_on(self, relation: str) -> None:
        """Let `earlier` be `relation`, a select or the name of a table."""
        self.connection.execute(f"create or replace view earlier as {relation}")


def fold_line(
    study: Study,
    site: str,
    domain: str,
    line: list[dict[str, Any]],
    ledger: Ledger,
    settings: Settings,
    *,
    wanted: str = "",
) -> Fold:
    """Put the deliveries of a line on top of each other; write what is not in the home yet, decide nothing.

    What an earlier settlement has put together is gone on from, unless `wanted` names a part to be made again.
    Raises: IntegrityError for a damaged part.
    """
    p, h = book.parts.c, book.heads.c
    known = {
        row["path"]: row["sha256"]
        for row in ledger.rows(sa.select(p.path, p.sha256).where(p.study == study.id))
    }
    paths = [d[kind] for d in line for kind in ("accepted_part", "quarantine_part", "findings_part")]
    if lost := [path for path in paths if path not in known]:
        raise IntegrityError(
            "INTEGRITY", f"{len(lost)} parts of site {site}, domain {domain} are not in the ledger"
        )
    fold = Fold(study, domain, settings, models.connect(settings.threads), known, wanted)
    try:
        mine = sa.select(book.heads).where(h.study == study.id, h.site == site, h.domain == domain)
        done = 0 if wanted else _go_on(fold, line, ledger.rows(mine))
        for delivery in line[done:]:
            _step(fold, delivery)
        if fold.state and fold.state.path not in paths and done < len(line):
            fold.keep(fold.state.path)
    finally:
        fold.connection.close()
    return fold


def _go_on(fold: Fold, line: list[dict[str, Any]], heads: list[dict[str, Any]]) -> int:
    """Stand on what the last settlement left when the line begins with what it settled; return how many that is."""
    hash_, done = "", 0
    for delivery in line:
        if delivery["status"] in ("ACCEPTED", "PARTIAL"):
            hash_ = _next_hash(hash_, delivery)
        elif delivery["status"] != "HELD" or delivery["let_through"]:
            break
        done += 1
    if not heads or not hash_ or heads[0]["state"] != hash_:
        return 0
    head = heads[0]
    fold.state = State(hash_, head["path"], tuple(json.loads(head["restatements"])), head["keys_pending"])
    fold.statuses |= {d["id"]: (d["status"], d["reason"] or "") for d in line[:done]}
    fold.stand_on(f"select * from read_parquet({fold.literal(head['path'])})")
    return done


def _next_hash(before: str, delivery: dict[str, Any]) -> str:
    """Return the hash of the step that puts a delivery on top: of content and order only, never of an id."""
    return digest(before or delivery["site"], delivery["sha256"], delivery["rule_set"])


def _step(fold: Fold, delivery: dict[str, Any]) -> None:
    """Put one delivery on top of the rows in force, or hold it."""
    before, id_, number = fold.state, delivery["id"], len(fold.statuses)
    quiet = "PARTIAL" if delivery["quarantined"] else "ACCEPTED"
    hash_ = _next_hash(before.hash if before else "", delivery)
    accepted = f"select * from read_parquet({fold.literal(delivery['accepted_part'])})"
    if before is None:
        fold.state = State(hash_, delivery["accepted_part"], (), 0)
        fold.statuses[id_] = (quiet, "")
        fold.stand_on(accepted)
        return
    refused = f"select * from read_parquet({fold.literal(delivery['quarantine_part'])})"
    fold.connection.execute(f"create or replace view fresh as {accepted}")
    fold.connection.execute(f"create or replace view refused as {refused}")
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
    path = f"{fold.study.id}/state/{fold.domain}/{hash_[:24]}.parquet" if kept else delivery["accepted_part"]
    both = (
        f"select * exclude (PENDING) replace (case when PENDING then 'Y' end as PENDFL) from ({stays})"
        " union all by name select * from fresh"
    )
    later = f"rows_{number}"
    fold.connection.execute(f"create table {later} as {both if kept else 'select * from fresh'}")
    restated = _restate(fold, later, hash_, delivery["sha256"])
    fold.stand_on(f"select * from {later}")
    fold.connection.execute(f"drop table if exists {fold.in_memory}") if fold.in_memory else None
    fold.in_memory = later
    fold.state = State(hash_, path, (*before.restatements, *restated), int(pending))
    if path == fold.wanted:
        fold.keep(path)


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


def _restate(fold: Fold, later: str, hash_: str, sha256: str) -> tuple[str, ...]:
    """Write what the delivery `sha256` changed, one row per key and variable; return the part's path if any.

    later: the relation of the rows after it. hash_: the hash of that step, which names the part.
    """
    rules, domain = fold.rules, fold.domain
    again = "select 1 from earlier semi join fresh using (KEY_HASH) limit 1"
    if rules.update == "incremental" and fold.connection.execute(again).fetchone() is None:
        return ()
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
        b as (select *, {key} as ROW_KEY from {later} {first}),
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
