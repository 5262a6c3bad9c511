"""Curation: rows in force → curated tables, one site at a time.

Belongs here: which site's tables must be made again, the rows a model sees (`accepted`, `site`), and writing
the parts. Does not: derivations (sql/derived, sql/curated), cross-domain rules (holding), pooling (publishing).

A curated part is named by the hash of everything it is made from; a part that is up to date is not made again.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from msc_pipeline import cdisc, models
from msc_pipeline import ledger as book
from msc_pipeline.desk import DERIVED, RESTATEMENTS, Desk, lay_out, open_desk
from msc_pipeline.errors import PermanentError, TransientError
from msc_pipeline.settings import Settings
from msc_pipeline.storage import digest, mark, put
from msc_pipeline.study import Study

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

log = logging.getLogger(__name__)

TRIES = 5
RESTATEMENT_COLUMNS = (
    "STUDYID varchar, SITEID varchar, DOMAIN varchar, ROW_KEY varchar, CHANGE varchar, VARIABLE varchar, OLD varchar,"
    " NEW varchar, OLD_SHA256 varchar, OLD_ROW bigint, NEW_SHA256 varchar, NEW_ROW bigint"
)


def stale_sites(study: Study, settings: Settings) -> list[str]:
    """Return the judged sites of which any curated table is not up to date."""
    desk = open_desk(study, settings)
    return [site for site in sorted(desk.judged) if _stale(desk, site)]


def plan_tables(desk: Desk, site: str) -> dict[str, str]:
    """Return table name → hash of everything its part of this site is made from, derived tables among them."""
    judged = desk.judged[site]
    counts = json.dumps(desk.decided.get(site, []), sort_keys=True)
    base = digest(desk.shared, site, judged["inputs"])
    plan: dict[str, str] = {RESTATEMENTS: digest(base, RESTATEMENT_COLUMNS)}
    for model in desk.curated:
        upstream = [plan[name] for name in model.inputs if name in plan]
        extra = [desk.as_of or ""] if "as_of" in model.sql else []
        extra += [counts] if "site.deliveries" in model.inputs else []
        plan[model.name] = digest(base, model.sha256, *upstream, *extra)
    return plan


def tables_made(desk: Desk, site: str) -> dict[str, dict[str, Any]]:
    """Return table name → its row of the ledger, for the tables of one site that are made."""
    return {row["table"]: row for row in desk.ledger.rows(_of(desk, site))}


def _of(desk: Desk, site: str) -> sa.Select[Any]:
    c = book.curated.c
    return sa.select(book.curated).where(c.study == desk.study.id, c.site == site)


def _stale(desk: Desk, site: str) -> bool:
    made = tables_made(desk, site)
    return any(
        _unmade(name, inputs, made)
        for name, inputs in plan_tables(desk, site).items()
        if not name.startswith(DERIVED)
    )


def _unmade(name: str, inputs: str, made: dict[str, dict[str, Any]]) -> bool:
    return name not in made or made[name]["inputs"] != inputs


def curate_site(study: Study, site: str, settings: Settings) -> dict[str, Any]:
    """Make the curated tables of one site that are not up to date; return how many tables and rows were made.

    Where another process made tables of the site in the meantime, ours may be the older ones: look again.

    Raises: IntegrityError for a damaged part or a grain that is not unique; PermanentError MODEL_FAILED;
    TransientError RACE when other processes keep making them.
    """
    for _ in range(TRIES):
        desk = open_desk(study, settings)
        plan, made = plan_tables(desk, site), tables_made(desk, site)
        written = make_tables(desk, site, plan, made)
        mark("curated")
        with desk.ledger.write() as transaction:
            now = {row["table"]: dict(row) for row in transaction.execute(_of(desk, site)).mappings()}
            if now != made:
                continue
            for name, (path, sha256, rows) in written.items():
                book.add_part(transaction, study.id, "curated", path, sha256, rows)
                key = {"study": study.id, "table": name, "site": site}
                book.upsert(transaction, book.curated, key, {"inputs": plan[name], "path": path})
        log.info("curated site=%s tables=%d", site, len(written))
        return {"site": site, "tables": len(written), "rows": sum(rows for _, _, rows in written.values())}
    raise TransientError("RACE", f"site {site}: another run keeps making its tables")


def make_tables(
    desk: Desk, site: str, plan: dict[str, str], made: dict[str, dict[str, Any]]
) -> dict[str, tuple[str, str, int]]:
    """Write the parts that are not up to date; return table → (path, sha256, rows)."""
    connection = models.connect(desk.settings.threads)
    written: dict[str, tuple[str, str, int]] = {}
    try:
        lay_out(connection, desk, desk.judged[site]["heads"], with_date=True)
        making = _making(desk, [name for name, inputs in plan.items() if _unmade(name, inputs, made)])
        _accept(connection, desk, site)
        connection.execute("create schema curated; create schema derived")
        for name, inputs in plan.items():
            if name.startswith(DERIVED):
                if name in making:
                    models.create(connection, making[name], _kind(name, desk))
                continue
            path = f"{desk.study.id}/curated/{name.partition('.')[2]}/SITEID={site}/{inputs[:24]}.parquet"
            if not _unmade(name, inputs, made):
                path = made[name]["path"]
                desk.part(path)
            else:
                written[name] = _write(connection, desk, site, name, path)
            target = str(desk.settings.home / path).replace("'", "''")
            connection.execute(
                f"create view {name} as select * from read_parquet('{target}', hive_partitioning = false)"
            )
    finally:
        connection.close()
    return written


def _making(desk: Desk, stale: list[str]) -> dict[str, models.Model]:
    """Return the stale curated models, and the derived ones that they read, directly or through each other."""
    by_name = {model.name: model for model in desk.curated}
    look = [name for name in stale if name in by_name and not name.startswith(DERIVED)]
    making: dict[str, models.Model] = {}
    while look:
        model = by_name[look.pop()]
        making[model.name] = model
        look += [name for name in model.inputs if name.startswith(DERIVED) and name not in making]
    return making


def _kind(name: str, desk: Desk) -> str:
    """Say whether a relation is a table or a view: what is read more than once is put together once.

    All models count, not those that are made now: a part that is made again alone must have the same bytes.
    """
    return "table" if sum(model.mentions(name) for model in desk.curated) > 1 else "view"


def _accept(connection: duckdb.DuckDBPyConnection, desk: Desk, site: str) -> None:
    """Create `accepted.<domain>` (arrived rows that no rule holds), `site.held` and `site.deliveries`."""
    import pyarrow as pa

    connection.execute("create schema site; create schema accepted")
    connection.execute(
        f"create table site.held as select * from read_parquet({desk.part(desk.judged[site]['path'])})"
    )
    for domain in cdisc.DOMAINS:
        held_rows = f"(select SRC_SHA256, SRC_ROW from site.held where DOMAIN = '{domain}')"
        name = f"accepted.{domain.lower()}"
        with models.reported(name, PermanentError, "MODEL_FAILED"):
            connection.execute(
                f"create {_kind(name, desk)} {name} as select * exclude (KEY_HASH, ROW_HASH)"
                f" from arrived.{domain.lower()} anti join {held_rows} using (SRC_SHA256, SRC_ROW)"
            )
    names = {"SITEID": "site", "DOMAIN": "domain", "SRC_SHA256": "sha256", "STATUS": "status"}
    numbers = {"ROWS_IN": "rows_in", "ACCEPTED": "accepted", "QUARANTINED": "quarantined"}
    rows = desk.decided.get(site, [])
    columns: dict[str, Any] = {"STUDYID": pa.array([desk.study.STUDYID] * len(rows), pa.string())}
    columns |= {name: pa.array([r[key] for r in rows], pa.string()) for name, key in names.items()}
    columns |= {name: pa.array([r[key] for r in rows], pa.int64()) for name, key in numbers.items()}
    models.load_tables(connection, "site", {"deliveries": pa.table(columns)})


def _write(
    connection: duckdb.DuckDBPyConnection, desk: Desk, site: str, name: str, path: str
) -> tuple[str, str, int]:
    counted = [0]

    def write(temporary: Path) -> None:
        if name == RESTATEMENTS:
            counted[0] = _write_restatements(connection, desk, site, temporary)
        else:
            model = next(m for m in desk.curated if m.name == name)
            counted[0] = models.write(connection, model, temporary)

    return path, put(desk.settings.home / path, write), counted[0]


def _write_restatements(connection: duckdb.DuckDBPyConnection, desk: Desk, site: str, path: Path) -> int:
    """Collect the deltas of one site's deliveries; each delta is a part of its own that never changes."""
    deltas = [p for head in desk.judged[site]["heads"] for p in json.loads(head["restatements"])]
    connection.execute(f"create or replace temp table all_deltas ({RESTATEMENT_COLUMNS})")
    for delta in deltas:
        connection.execute(f"insert into all_deltas by name select * from read_parquet({desk.part(delta)})")
    order = "order by DOMAIN, ROW_KEY, VARIABLE, OLD_SHA256, OLD_ROW, NEW_SHA256, NEW_ROW"
    models.copier(connection, f"select * from all_deltas {order}", RESTATEMENTS)(path)
    found = connection.execute("select count(*) from all_deltas").fetchone()
    return int(found[0]) if found else 0
