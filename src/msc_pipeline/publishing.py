"""Publishing: curated parts of all sites → one immutable DuckDB file, named by CURRENT.

Belongs here: pooled tables, ops tables, the release folder, moving CURRENT forward. Does not: derivations
(sql/), what may be open (gate).

A release is made of tables, not of views over paths, from parts whose bytes were just compared with the
ledger. Readers keep the file they opened.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from msc_pipeline import __version__, gate, models
from msc_pipeline import ledger as book
from msc_pipeline.desk import RESTATEMENTS, Desk, open_desk
from msc_pipeline.errors import IntegrityError, PermanentError
from msc_pipeline.settings import Settings
from msc_pipeline.storage import digest, locked, mark, put, put_text, sha256_of
from msc_pipeline.study import Study

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

log = logging.getLogger(__name__)

FILE = "open.duckdb"
CURRENT = "CURRENT"
NAME = re.compile(r"\d{7}-[0-9a-f]{16}")
"""Name of a release: place in the order, start of its hash."""


def current(study_id: str, settings: Settings) -> Path | None:
    """Return the DuckDB file of the release that CURRENT names, or None before the first."""
    releases = settings.home / study_id / "releases"
    name = pointed(releases)
    return releases / name / FILE if name else None


def pointed(releases: Path) -> str:
    """Return the name CURRENT holds; empty when there is no CURRENT or what it holds cannot be a name."""
    try:
        text = (releases / CURRENT).read_bytes().decode("ascii", "replace").strip()
    except FileNotFoundError:
        return ""
    return text if NAME.fullmatch(text) else ""


def publish_release(study: Study, settings: Settings) -> dict[str, Any]:
    """Build the release of everything curated, unless the current one already is exactly that.

    Return {"release", "new", "tables", "rows"}.
    Raises: PermanentError NOTHING_CURATED; BlindingError when the gate refuses; IntegrityError for a damaged
    part. CURRENT is unchanged then.
    """
    with locked(settings.home / study.id / "publish.lock"):
        desk = open_desk(study, settings)
        made = _curated(desk)
        if not made:
            raise PermanentError("NOTHING_CURATED", f"no site of {study.id} has curated data yet")
        hash_ = _hash(desk, made)
        last = _last(desk)
        if last and last["hash"] == hash_ and (folder := _folder(desk, last["name"])).is_file():
            _point(desk, last["name"], folder, last["sha256"])
            return {"release": last["name"], "new": False, "tables": last["n_tables"], "rows": last["n_rows"]}
        seq = (last["seq"] if last else 0) + 1
        name = f"{seq:07d}-{hash_[:16]}"
        counts: dict[str, int] = {}

        def write(path: Path) -> None:
            _build(desk, made, path, counts)
            _check_opens(path, counts)

        sha256 = put(_folder(desk, name), write)
        mark("release-built")
        row = {"hash": hash_, "name": name, "sha256": sha256, "as_of": desk.as_of}
        totals = {"n_tables": len(counts), "n_rows": sum(counts.values())}
        with desk.ledger.write() as connection:
            values = {**row, **totals, "created_at": book.now()}
            book.upsert(connection, book.releases, {"study": study.id, "seq": seq}, values)
            book.record(connection, study.id, "released", **row)
        mark("release-recorded")
        _point(desk, name, _folder(desk, name), sha256)
        log.info("released study=%s release=%s tables=%d", study.id, name, len(counts))
        return {"release": name, "new": True, "tables": totals["n_tables"], "rows": totals["n_rows"]}


def is_current(study: Study, settings: Settings) -> bool:
    """Say whether the current release is what would be published now."""
    desk = open_desk(study, settings)
    made, last, file = _curated(desk), _last(desk), current(study.id, settings)
    if not made:
        return True
    return last is not None and file == _folder(desk, last["name"]) and last["hash"] == _hash(desk, made)


def build_again(desk: Desk, name: str, path: Path) -> bool:
    """Build the release `name` at `path` once more; False when what is curated now is not what it was made of.

    Its tables hold what they held; the file's bytes differ, as the engine never writes the same file twice.
    """
    made = _curated(desk)
    rows = desk.ledger.rows(
        sa.select(book.releases.c.hash).where(
            book.releases.c.study == desk.study.id, book.releases.c.name == name
        )
    )
    if not made or not rows or rows[0]["hash"] != _hash(desk, made):
        return False
    counts: dict[str, int] = {}
    _build(desk, made, path, counts)
    _check_opens(path, counts)
    return True


def _folder(desk: Desk, name: str) -> Path:
    return desk.settings.home / desk.study.id / "releases" / name / FILE


def _curated(desk: Desk) -> dict[str, list[tuple[str, str]]]:
    """Return table → (site, path) of its parts, in a fixed order; tables that no model makes any more stay out."""
    c = book.curated.c
    tables: dict[str, list[tuple[str, str]]] = {}
    mine = sa.and_(c.study == desk.study.id, c.table.in_({RESTATEMENTS, *(m.name for m in desk.curated)}))
    for row in desk.ledger.rows(sa.select(book.curated).where(mine).order_by(c.table, c.site)):
        tables.setdefault(row["table"], []).append((row["site"], row["path"]))
    return tables


def _hash(desk: Desk, made: dict[str, list[tuple[str, str]]]) -> str:
    parts = [f"{table}/{site}={desk.known[path]}" for table, rows in made.items() for site, path in rows]
    pooled = [model.sha256 for model in models.load_models(desk.project, "dsmb")]
    dictionary = sha256_of(desk.project / "sql" / "reference" / "dictionary.csv")
    return digest(desk.shared, dictionary, desk.as_of, *parts, *pooled)


def _last(desk: Desk) -> dict[str, Any] | None:
    c = book.releases.c
    rows = desk.ledger.rows(
        sa.select(book.releases).where(c.study == desk.study.id).order_by(c.seq.desc()).limit(1)
    )
    return rows[0] if rows else None


def _point(desk: Desk, name: str, file: Path, sha256: str) -> None:
    """Move CURRENT to a release, forward only, after one more look at its bytes."""
    if sha256_of(file) != sha256 or file.with_name(f"{FILE}.wal").exists():
        raise IntegrityError("INTEGRITY", f"release {name} is not what was built", hint="run msc verify")
    releases = desk.settings.home / desk.study.id / "releases"
    if pointed(releases) < name:
        put_text(releases / CURRENT, name + "\n")


def _build(desk: Desk, made: dict[str, list[tuple[str, str]]], path: Path, counts: dict[str, int]) -> None:
    connection = models.connect(desk.settings.threads)
    try:
        with models.reported("release", PermanentError, "MODEL_FAILED"):
            models.install(connection, desk.project)
            models.install_study(connection, desk.study, desk.as_of)
            connection.execute("create schema curated; create schema dsmb; create schema ops")
            tables = _fill(connection, desk, made)
            target = str(path).replace("'", "''")
            connection.execute(f"attach '{target}' as release")
            for schema in ("curated", "dsmb", "ops"):
                connection.execute(f"create schema release.{schema}")
            for table, order in tables.items():
                connection.execute(f"create table release.{table} as select * from {table} order by {order}")
                found = connection.execute(f"select count(*) from release.{table}").fetchone()
                counts[table] = int(found[0]) if found else 0
            dictionary = gate.load_dictionary(desk.project)
            gate.check(connection, "release", dictionary, desk.study.blinded)
            gate.comment(connection, "release", dictionary)
            connection.execute("detach release")
    finally:
        connection.close()
    mark("release-closed")
    if path.with_name(path.name + ".wal").exists():
        raise IntegrityError("INTEGRITY", "the engine left a write-ahead log beside the release")


def _check_opens(path: Path, counts: dict[str, int]) -> None:
    """Open what was built as a reader would, and count its rows. Raises: IntegrityError INTEGRITY."""
    import duckdb

    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            found = {t: connection.execute(f"select count(*) from {t}").fetchone() for t in counts}
    except duckdb.Error:
        found = {}
    if not counts or {table: row[0] for table, row in found.items() if row} != counts:
        raise IntegrityError("INTEGRITY", "the release that was built cannot be read", hint="run again")


def _fill(
    connection: duckdb.DuckDBPyConnection, desk: Desk, made: dict[str, list[tuple[str, str]]]
) -> dict[str, str]:
    """Create every open relation in memory; return table → its total order."""
    grains = {model.name: model.grain for model in desk.curated}
    orders: dict[str, str] = {}
    for table, rows in made.items():
        paths = ", ".join(desk.part(path) for _, path in rows)
        source = f"read_parquet([{paths}], hive_partitioning = false)"
        connection.execute(f"create view {table} as select * from {source}")
        orders[table] = ", ".join(f'"{c}" nulls first' for c in grains[table]) if table in grains else "all"
    for model in models.load_models(desk.project, "dsmb"):
        connection.execute(f"create table {model.name} as {model.sql}")
        orders[model.name] = ", ".join(f'"{c}" nulls first' for c in model.grain)
    models.load_tables(connection, "ops", _ops(desk))
    held = [desk.part(desk.judged[site]["path"]) for site in sorted(desk.judged)]
    connection.execute(
        "create or replace table ops.held as select SITEID, DOMAIN, SRC_SHA256, SRC_ROW, RULES from"
        f" read_parquet([{', '.join(held)}], hive_partitioning = false)"
    )
    return orders | dict.fromkeys(
        ("ops.about", "ops.deliveries", "ops.results", "ops.queries", "ops.held"), "all"
    )


def _ops(desk: Desk) -> dict[str, pa.Table]:
    """Return what the ledger knows, for the people who run the pipeline. File names stay out: a site chose them."""
    d, r, q = book.deliveries.c, book.results.c, book.queries.c
    mine = d.study == desk.study.id
    deliveries = sa.select(
        d.id.label("DELIVERY"), d.site.label("SITEID"), d.domain.label("DOMAIN"), d.sha256.label("SRC_SHA256"),
        d.status.label("STATUS"), d.code.label("CODE"), d.verified.label("VERIFIED"), d.rows_in.label("ROWS_IN"),
        d.accepted.label("ACCEPTED"), d.quarantined.label("QUARANTINED"),
        book.receipts.c.received_at.label("RECEIVED_AT"), d.decided_at.label("DECIDED_AT"),
    ).where(mine, book.receipts.c.id == d.id).order_by(d.id)  # fmt: skip
    results = sa.select(
        r.delivery.label("DELIVERY"), r.rule_id.label("RULE_ID"), r.severity.label("SEVERITY"),
        r.outcome.label("OUTCOME"), r.n_rows.label("N_ROWS"), r.n_failed.label("N_FAILED"),
    ).where(mine, r.delivery == d.id).order_by(r.delivery, r.rule_id)  # fmt: skip
    queries = sa.select(
        q.id.label("QUERY"), q.site.label("SITEID"), q.domain.label("DOMAIN"), q.rule_id.label("RULE_ID"),
        q.key_hash.label("KEY_HASH"), q.severity.label("SEVERITY"), q.n_rows.label("N_ROWS"),
        q.opened_at.label("OPENED_AT"), q.last_seen_at.label("LAST_SEEN_AT"), q.closed_at.label("CLOSED_AT"),
    ).where(q.study == desk.study.id).order_by(q.id)  # fmt: skip
    about = {
        "study": desk.study.id, "STUDYID": desk.study.STUDYID, "title": desk.study.title,
        "registry": desk.study.registry, "as_of": desk.as_of or "", "code_version": __version__,
        "config_hash": desk.study.config_hash,
    }  # fmt: skip
    return {
        "about": _arrow([{"NAME": k, "VALUE": v} for k, v in about.items()], ("NAME", "VALUE")),
        **{
            name: _arrow(desk.ledger.rows(select), tuple(c.name for c in select.selected_columns))
            for name, select in {"deliveries": deliveries, "results": results, "queries": queries}.items()
        },
    }


WHOLE = frozenset({"DELIVERY", "QUERY", "ROWS_IN", "ACCEPTED", "QUARANTINED", "N_ROWS", "N_FAILED"})


def _arrow(rows: list[dict[str, Any]], names: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa

    schema = pa.schema([(name, pa.int64() if name in WHOLE else pa.string()) for name in names])
    return pa.Table.from_pylist(json.loads(json.dumps(rows)), schema=schema)
