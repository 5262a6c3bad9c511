"""Holding: rules that need another domain or an earlier delivery, applied to the rows in force.

Belongs here: which rows are held, per site, and the queries that follow. A held row leaves curated tables and
comes back by itself when the cause is gone. Does not: rules (expectations/cross) and their facts (sql/cross).
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from msc_pipeline import checks, findings, models
from msc_pipeline import ledger as book
from msc_pipeline.desk import Desk, lay_out, open_desk
from msc_pipeline.errors import PermanentError
from msc_pipeline.settings import Settings
from msc_pipeline.storage import digest, mark, put
from msc_pipeline.study import Study
from msc_pipeline.suites import load_suite
from msc_pipeline.watching import watch_sites

if TYPE_CHECKING:
    import duckdb


def changed_sites(desk: Desk) -> dict[str, str]:
    """Return site → hash of what judges it, for every site whose rows or rules are not those last judged."""
    rules = (desk.shared, desk.cross_rules)
    inputs = {
        site: digest(*rules, *(f"{h['domain']}={h['state']}" for h in desk.heads.get(site, [])))
        for site in desk.sites
    }
    return {s: i for s, i in inputs.items() if s not in desk.judged or desk.judged[s]["inputs"] != i}


def hold_rows(study: Study, settings: Settings) -> list[str]:
    """Apply the cross-domain rules to every site whose rows or rules changed; return those sites.

    Raises: PermanentError RULE_NOT_EVALUATED when a rule could not be judged: nothing passes unjudged.
    """
    desk = open_desk(study, settings)
    changed = changed_sites(desk)
    if changed:
        _hold_sites(desk, changed)
    return sorted(changed)


def _hold_sites(desk: Desk, inputs: dict[str, str]) -> None:
    study = desk.study
    connection = models.connect(desk.settings.threads)
    try:
        heads = [h for site in inputs for h in desk.heads.get(site, [])]
        written, shown = write_held(connection, desk, inputs, heads)
        last = dict(connection.execute(_last_dates(study)).fetchall())
    finally:
        connection.close()
    known = {site: row["last_date"] for site, row in desk.judged.items()}
    watched = watch_sites(desk, known | {site: last.get(site) for site in inputs})
    mark("held")
    with desk.ledger.write() as transaction:
        for site, (path, sha256, n) in written.items():
            book.add_part(transaction, study.id, "held", path, sha256, n)
            values = {"inputs": inputs[site], "path": path, "last_date": last.get(site)}
            values["heads"] = json.dumps(desk.heads.get(site, []))
            book.upsert(transaction, book.holds, {"study": study.id, "site": site}, values)
            for model in desk.cross:
                domain = model.table.upper()
                rows_shown = shown.get((site, domain), {})
                findings.update(transaction, study.id, site, domain, findings.Shown(rows_shown, cross=True))
        for site, whole in watched.items():
            findings.update(transaction, study.id, site, findings.NO_DOMAIN, whole)


def write_held(
    connection: duckdb.DuckDBPyConnection, desk: Desk, inputs: dict[str, str], heads: list[dict[str, Any]]
) -> tuple[dict[str, tuple[str, str, int]], dict[tuple[str, str], dict[tuple[str, str], Any]]]:
    """Judge the rows that `heads` name by the cross-domain rules and write what each site of `inputs` has held.

    Return site → (path, sha256, rows), and (site, domain) → findings for queries.
    Raises: PermanentError RULE_NOT_EVALUATED; IntegrityError for a damaged part.
    """
    lay_out(connection, desk, heads)
    shown = _judge(connection, desk)
    written = {}
    for site in inputs:
        path = f"{desk.study.id}/held/{site}/{inputs[site][:24]}.parquet"
        select = f"select * exclude (WARNINGS) from held where SITEID = '{site}'"
        order = "order by DOMAIN, SRC_SHA256, SRC_ROW"
        sha256 = put(desk.settings.home / path, models.copier(connection, f"{select} {order}", "ops.held"))
        rows = connection.execute(f"select count(*) from ({select})").fetchone()
        written[site] = (path, sha256, int(rows[0]) if rows else 0)
    return written, shown


def _judge(
    connection: duckdb.DuckDBPyConnection, desk: Desk
) -> dict[tuple[str, str], dict[tuple[str, str], Any]]:
    """Evaluate the cross suites; fill table `held`; return (site, domain) → findings for queries."""
    connection.execute('create schema "cross"')
    connection.execute(
        "create table held (STUDYID varchar, SITEID varchar, DOMAIN varchar, SRC_SHA256 varchar, SRC_ROW bigint,"
        " KEY_HASH varchar, RULES varchar[], WARNINGS varchar[])"
    )
    shown: dict[tuple[str, str], dict[tuple[str, str], Any]] = defaultdict(dict)
    for model in desk.cross_shared:
        _make(connection, model)
    for model in desk.cross:
        suite = load_suite(f"cross/{model.table}", desk.project)
        _make(connection, model)
        checks.must_evaluate(connection, f"cross.{model.table}", [suite])
        domain = model.table.upper()
        failing = checks.failing_rows(connection, f"cross.{model.table}", [suite])
        connection.execute(
            f"insert into held select STUDYID, SITEID, '{domain}', SRC_SHA256, SRC_ROW, KEY_HASH, RULES, WARNINGS"
            f" from ({failing})"
        )
        severities = {rule.id: rule.severity for rule in suite.rules}
        counted = connection.execute(
            """with f as (select SITEID, KEY_HASH, unnest(list_concat(RULES, WARNINGS)) as RULE_ID from held
                where DOMAIN = $1),
            g as (select *, count(*) over (partition by SITEID, RULE_ID) as n from f)
            select SITEID, RULE_ID, case when n > $2 then $3 else KEY_HASH end, count(*) from g group by 1, 2, 3""",
            [domain, findings.MANY, findings.MANY_KEY],
        ).fetchall()
        for site, rule_id, key, n in counted:
            if severities[rule_id] != "info":
                shown[site, domain][rule_id, key] = (severities[rule_id], int(n))
    connection.execute("delete from held where len(RULES) = 0")
    return shown


def _make(connection: duckdb.DuckDBPyConnection, model: models.Model) -> None:
    with models.reported(model.name, PermanentError, "MODEL_FAILED"):
        connection.execute(f'create table "cross".{model.table} as {model.sql}')


def _last_dates(study: Study) -> str:
    """Return SQL for (SITEID, latest plausible date in the site's data); a day no calendar has is none."""
    dated = {"LB": "LBDTC", "SV": "SVSTDTC", "VS": "VSDTC", "AE": "AESTDTC", "DS": "DSSTDTC", "EG": "EGDTC"}
    each = " union all ".join(
        f"select SITEID, iso_date({column}) as d from arrived.{name.lower()}"
        for name, column in dated.items()
    )
    return (
        f"select SITEID, max(d)::varchar from ({each})"
        f" where d <= '{study.last_plausible_date}'::date group by SITEID order by SITEID"
    )
