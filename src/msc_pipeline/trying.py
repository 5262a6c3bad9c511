"""Trying: what would happen to a file, without landing it.

Belongs here: the same reader, rules and decision as a delivery meets, over a temporary folder; what the
outcome means, in plain words. Does not: store anything, compare with earlier deliveries or other domains.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msc_pipeline.checks import RuleResult
from msc_pipeline.errors import DeliveryRejected, UsageError
from msc_pipeline.landing import route
from msc_pipeline.manifests import known_as
from msc_pipeline.readers import format_of
from msc_pipeline.settings import Settings
from msc_pipeline.staging import stage_file
from msc_pipeline.storage import sha256_of
from msc_pipeline.study import Study
from msc_pipeline.validation import judge, load_rules, open_delivery

if TYPE_CHECKING:
    import duckdb


FIRST_ROWS = 5

PLACES = {"csv": "line", "redcap": "line", "xlsx": "sheet row"}
"""Format → what a row number counts; records from 1 in the others."""

CONSEQUENCES = {
    "critical": "the row waits in quarantine",
    "warning": "used; a query opens",
    "info": "counted",
}


def try_file(study: Study, site: str, file: Path, settings: Settings, *, domain: str = "") -> dict[str, Any]:
    """Return {"file", "site", "domain", "format", "status", "code", "reason", "rows_in", "quarantined", "rules"}.

    `rules` lists what failed: rule, severity, rows, the numbers of the first rows, sentence, consequence.
    Raises: UsageError SITE_UNKNOWN, DOMAIN_UNKNOWN.
    """
    if site not in study.sites:
        raise UsageError("SITE_UNKNOWN", f"{site} is not a site of {study.id}", hint=", ".join(study.sites))
    if domain and domain not in study.domains:
        raise UsageError(
            "DOMAIN_UNKNOWN", f"{study.id} does not collect {domain}", hint=", ".join(study.domains)
        )
    report: dict[str, Any] = {"file": file.name, "site": site, "domain": domain, "format": ""}
    try:
        name = domain or route(study, site, known_as(study, file.name), study.profile(site))
        profile = study.profile(site, name)
        report |= {"domain": name, "format": format_of(file.name, profile)}
        if file.stat().st_size > profile.max_bytes:
            raise DeliveryRejected("SIZE", "The file is larger than the site's profile allows.")
        return {**report, **_judged(study, site, name, file, settings)}
    except DeliveryRejected as fault:
        why = {"status": "REJECTED", "code": fault.code, "reason": fault.message}
        return {**report, **why, "rows_in": 0, "quarantined": 0, "rules": []}


def _judged(study: Study, site: str, domain: str, file: Path, settings: Settings) -> dict[str, Any]:
    """Stage and judge the file in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="msc-check-") as folder:
        staged = Path(folder) / "staged.parquet"
        profile = study.profile(site, domain)
        stage_file(file, profile, study.domains[domain], staged, code=domain, name=file.name)
        rules = load_rules(study, domain, settings.project)
        delivery = {"site": site, "domain": domain, "sha256": sha256_of(file)}
        connection = open_delivery(study, delivery, staged, rules, settings)
        try:
            verdict = judge(connection, study, rules)
            first = _first_rows(connection)
        finally:
            connection.close()
    says = {rule.id: rule.meta.says for suite in (*rules.file, *rules.rows) for rule in suite.rules}
    failed = [
        {
            "rule": r.rule_id,
            "severity": r.severity,
            "rows": r.n_failed,
            "first_rows": first.get(r.rule_id, []),
            "says": says[r.rule_id],
            "consequence": _consequence(r),
        }
        for r in verdict.results
        if r.outcome == "failed"
    ]
    status = "REJECTED" if verdict.code else "PARTIAL" if verdict.quarantined else "ACCEPTED"
    counts = {"rows_in": verdict.rows_in, "quarantined": verdict.quarantined}
    return {"status": status, "code": verdict.code, "reason": verdict.reason, **counts, "rules": failed}


def _consequence(result: RuleResult) -> str:
    if result.table_level:
        return "the file is refused" if result.severity == "critical" else "a query opens"
    return CONSEQUENCES[result.severity]


def _first_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, list[int]]:
    """Return rule → numbers of the first rows that fail it."""
    found = connection.execute(
        f"""select RULE_ID, min(SRC_ROW, {FIRST_ROWS}) from (
            select SRC_ROW, unnest(list_concat(RULES, WARNINGS)) as RULE_ID from delivery.failing)
        group by RULE_ID"""
    ).fetchall()
    return {str(rule): [int(row) for row in rows] for rule, rows in found}


def in_words(report: dict[str, Any]) -> str:
    """Return what a report says as a sentence for the site."""
    rows, waiting = report["rows_in"], report["quarantined"]
    if report["status"] == "REJECTED":
        return f"REJECTED: nothing of the file would be used. {report['code']}: {report['reason']}"
    if report["status"] == "PARTIAL":
        return (
            f"PARTIAL: {rows - waiting} of {rows} rows would be used, "
            f"{waiting} would wait in quarantine until a corrected file comes."
        )
    open_ = " Queries would open on what the table names." if report["rules"] else ""
    return f"ACCEPTED: all {rows} rows would be used.{open_}"


def as_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the failed rules as rows of a table, the gravest first."""
    place = PLACES.get(report["format"], "record")
    order = list(CONSEQUENCES)
    return [
        {
            "rule": rule["rule"],
            "must hold": rule["says"],
            "rows": rule["rows"],
            f"first {place}s": ", ".join(map(str, rule["first_rows"])),
            "so": rule["consequence"],
        }
        for rule in sorted(report["rules"], key=lambda rule: (order.index(rule["severity"]), rule["rule"]))
    ]
