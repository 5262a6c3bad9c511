"""Watching: what only a site's data as a whole can tell: that it fell silent, or sends too few results.

Belongs here: one row per site (sql/cross/sites), judged by expectations/cross/sites, whose findings open queries.
Does not: rows that a rule holds (holding). No clock: how late a site is counts from the study's newest data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from msc_pipeline import checks, findings, models
from msc_pipeline import ledger as book
from msc_pipeline.desk import Desk, lay_out
from msc_pipeline.errors import PermanentError

if TYPE_CHECKING:
    import pyarrow as pa

RELATION = "cross.sites"
READ = ("DM", "DS")
"""Domains whose rows tell which visits have come due; of others the number of rows is enough."""


def watch_sites(desk: Desk, last_dates: dict[str, str | None]) -> dict[str, findings.Shown]:
    """Judge every site as a whole; return what each one shows now.

    last_dates: site → the latest date in its data. Raises: PermanentError RULE_NOT_EVALUATED or MODEL_FAILED.
    """
    model, suite = desk.watch
    connection = models.connect(desk.settings.threads)
    try:
        lay_out(connection, desk, [h for heads in desk.heads.values() for h in heads if h["domain"] in READ])
        models.install_study(connection, desk.study, desk.reaches(last_dates))
        models.load_tables(connection, "site", {"reach": _reach(desk, last_dates)})
        with models.reported(model.name, PermanentError, "MODEL_FAILED"):
            connection.execute(f'create schema "cross"; create table "cross".{model.table} as {model.sql}')
        checks.must_evaluate(connection, RELATION, [suite])
        failing = checks.failing_rows(connection, RELATION, [suite])
        rows = connection.execute(f"select SITEID, list_concat(RULES, WARNINGS) from ({failing})").fetchall()
    finally:
        connection.close()
    severities = {rule.id: rule.severity for rule in suite.rules}
    failed = dict(rows)
    return {
        site: findings.Shown(
            {(rule_id, findings.MANY_KEY): (severities[rule_id], 1) for rule_id in failed.get(site, [])},
            cross=True,
        )
        for site in desk.sites
    }


def _reach(desk: Desk, last_dates: dict[str, str | None]) -> pa.Table:
    """Return SITEID, LAST_DATE, and how many rows of laboratory results and of visits are in force."""
    import pyarrow as pa

    p = book.parts.c
    known = desk.ledger.rows(sa.select(p.path, p.rows).where(p.study == desk.study.id))
    rows_of = {row["path"]: row["rows"] for row in known}
    columns: dict[str, list[Any]] = {"SITEID": [], "LAST_DATE": [], "LB_ROWS": [], "SV_ROWS": []}
    for site in desk.sites:
        counts = {h["domain"]: rows_of[h["path"]] for h in desk.heads.get(site, [])}
        columns["SITEID"].append(site)
        columns["LAST_DATE"].append(last_dates.get(site))
        columns["LB_ROWS"].append(counts.get("LB", 0) if "LB" in desk.study.domains else None)
        columns["SV_ROWS"].append(counts.get("SV", 0))
    kinds = {"SITEID": pa.string(), "LAST_DATE": pa.string(), "LB_ROWS": pa.int64(), "SV_ROWS": pa.int64()}
    return pa.table({name: pa.array(cells, kinds[name]) for name, cells in columns.items()})
