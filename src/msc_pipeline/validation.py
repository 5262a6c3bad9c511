"""Validation: judge one delivery by its suites, split it into accepted rows and quarantine.

Belongs here: what a delivery's rows look like to the rules, and what outcomes mean for the delivery. Does
not: rules (expectations/), how a rule is evaluated (checks), anything that needs another delivery or domain
(corrections, curation): the order in which files arrive changes nothing here.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from msc_pipeline import __version__, cdisc, checks, models
from msc_pipeline import ledger as book
from msc_pipeline.errors import DeliveryRejected, PermanentError
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from msc_pipeline.storage import check, digest, mark, put, sha256_of
from msc_pipeline.study import Study
from msc_pipeline.suites import Suite, load_suites, rules_hash

if TYPE_CHECKING:
    import duckdb

log = logging.getLogger(__name__)

FILE_SUITES = ("file/structure",)
"""Judge every file, whatever its domain, before its rows are looked at."""

ARM_WORD = "ARM_WORD"
"""The fact of every domain that says whether a record names a treatment arm."""


@dataclass(frozen=True)
class Rules:
    """What judges one domain of one study: suites, facts, macros and references; `hash` covers all of it."""

    file: tuple[Suite, ...]
    rows: tuple[Suite, ...]
    facts: models.Model
    hash: str

    @property
    def blind(self) -> frozenset[str]:
        """Ids of the rules that look for the name of a treatment arm."""
        return frozenset(r.id for suite in self.rows for r in suite.rules if r.kwargs.column == ARM_WORD)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one delivery. code and reason are set when it is rejected; unkeyed: rows without a key."""

    results: tuple[checks.RuleResult, ...]
    rows_in: int
    quarantined: int
    unkeyed: int
    code: str = ""
    reason: str = ""


def load_rules(study: Study, domain: str, project: Path) -> Rules:
    """Load what judges `domain`.

    Raises: ConfigError when a suite or model is not what it must be.
    """
    file, rows = load_suites(FILE_SUITES, project), load_suites(study.domains[domain].suites, project)
    facts = next(m for m in models.load_models(project, "facts") if m.name == f"facts.{domain.lower()}")
    inputs = sorted((project / "sql" / "reference").glob("*.csv"))
    inputs += [p for p in [project / "sql" / "macros.sql"] if p.is_file()]
    shared = digest(*(sha256_of(path) for path in inputs))
    parts = (rules_hash((*file, *rows)), facts.sha256, shared, study.config_hash, __version__)
    return Rules(file, rows, facts, digest(*parts))


def validate_delivery(study: Study, delivery: dict[str, Any], settings: Settings) -> None:
    """Judge one STAGED delivery: write its accepted, quarantine and findings parts, or reject it.

    Raises: IntegrityError when the staged part is not what was written; PermanentError MODEL_FAILED.
    """
    if delivery["status"] != "STAGED":
        return
    ledger = Ledger(settings.ledger)
    domain = delivery["domain"]
    rules = load_rules(study, domain, settings.project)
    staged = ledger.rows(sa.select(book.parts).where(book.parts.c.path == delivery["staged_part"]))[0]
    source = check(settings.home / delivery["staged_part"], staged["sha256"])
    connection = open_delivery(study, delivery, source, rules, settings)
    try:
        verdict = judge(connection, study, rules)
        written = write_parts(connection, study, delivery, rules, settings)
    finally:
        connection.close()
    mark("validated")
    with ledger.write() as transaction:
        _save(transaction, study, delivery, rules, verdict, written)
    log.info(
        "validated delivery=%d rows=%d quarantined=%d", delivery["id"], verdict.rows_in, verdict.quarantined
    )


def open_delivery(
    study: Study, delivery: dict[str, Any], staged: Path, rules: Rules, settings: Settings
) -> duckdb.DuckDBPyConnection:
    """Return a connection that holds one delivery as `delivery.all_rows`, `delivery.rows` and its facts."""
    connection = models.connect(settings.threads)
    models.install(connection, settings.project)
    models.install_study(connection, study)
    domain = study.domains[delivery["domain"]]
    names = cdisc.columns(delivery["domain"], domain.columns)
    here = {f"{cdisc.SITE_CELL if c == 'SITEID' else c}" for c in domain.columns}
    cells = ", ".join(f'"{n}"' if n in here else f'null::varchar as "{n}"' for n in names)
    key = _hash([c for c in domain.key if c in here])
    sequence = f"{delivery['domain']}SEQ"
    content = _hash([c for c in names if c in here and c != sequence])
    with models.reported("delivery.all_rows", PermanentError, "MODEL_FAILED"):
        connection.execute("create schema delivery; create schema facts")
        connection.execute(
            f"""create table delivery.all_rows as
            with staged as (
                select {cells}, $site as SITEID, SRC_ROW, FAULT,
                    case when FAULT is null then {key} end as KEY_HASH,
                    case when FAULT is null then {content} end as ROW_HASH
                from read_parquet($path))
            select *,
                case when FAULT is null then count(*) over same end as KEY_COPIES,
                case when FAULT is null then
                    case when min(ROW_HASH) over same = max(ROW_HASH) over same then 1 else 2 end
                end::bigint as KEY_VARIANTS
            from staged
            window same as (partition by KEY_HASH, FAULT is null)
            order by SRC_ROW""",
            {"site": delivery["site"], "path": str(staged)},
        )
        connection.execute("create view delivery.rows as select * from delivery.all_rows where FAULT is null")
        connection.execute(f"create table {rules.facts.name} as {rules.facts.sql}")
    return connection


def _hash(columns: list[str]) -> str:
    """Return SQL for a hash of some cells, the same on every machine; separators keep cells apart."""
    cells = ", chr(31), ".join(f"coalesce(\"{name}\", '')" for name in columns)
    return f"md5(concat({cells}))"


def judge(connection: duckdb.DuckDBPyConnection, study: Study, rules: Rules) -> Judgement:
    """Evaluate every rule, create `delivery.failing` (SRC_ROW, RULES, WARNINGS), and decide.

    Rejected as a whole: a rule that could not be evaluated, a critical table-level rule that failed, or more
    than the study's share of rows in quarantine.
    """
    results = (
        *checks.evaluate(connection, "delivery.all_rows", rules.file),
        *checks.evaluate(connection, rules.facts.name, rules.rows),
    )
    whole = checks.failing_rows(connection, "delivery.all_rows", rules.file)
    rows = checks.failing_rows(connection, rules.facts.name, rules.rows)
    with models.reported("delivery.failing", PermanentError, "MODEL_FAILED"):
        connection.execute(
            f"create table delivery.failing as select SRC_ROW, KEY_HASH, RULES, WARNINGS from ({whole})"
            f" union all select SRC_ROW, KEY_HASH, RULES, WARNINGS from ({rows})"
        )
        counts = connection.execute(
            "select (select count(*) from delivery.all_rows),"
            " (select count(distinct SRC_ROW) from delivery.failing where len(RULES) > 0),"
            " (select count(*) from delivery.all_rows where KEY_HASH is null)"
        ).fetchone()
    rows_in, quarantined, unkeyed = counts or (0, 0, 0)
    code, reason = _whole(study, results, rows_in, quarantined)
    return Judgement(results, rows_in, quarantined, unkeyed, code, reason)


def _whole(
    study: Study, results: tuple[checks.RuleResult, ...], rows_in: int, quarantined: int
) -> tuple[str, str]:
    """Return (code, reason) when the delivery cannot be used at all, else two empty texts."""
    if broken := [r.rule_id for r in results if r.error]:
        named = ", ".join(broken[:5]) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")
        return "RULE_NOT_EVALUATED", f"Rules could not be evaluated: {named}."
    failed = [
        r.rule_id for r in results if r.table_level and r.severity == "critical" and r.outcome == "failed"
    ]
    if failed:
        return "RULE_FAILED", f"The file as a whole fails {', '.join(failed)}."
    if quarantined > study.max_quarantined * rows_in:
        return "TOO_MANY_QUARANTINED", f"{quarantined} of {rows_in} rows fail a critical rule."
    return "", ""


def write_parts(
    connection: duckdb.DuckDBPyConnection,
    study: Study,
    delivery: dict[str, Any],
    rules: Rules,
    settings: Settings,
) -> dict[str, tuple[str, str, int]]:
    """Write the three parts; return kind → (path, sha256, rows)."""
    domain = delivery["domain"]
    cells = ", ".join(f'"{n}"' for n in cdisc.columns(domain, study.domains[domain].columns) if n != "DOMAIN")
    source = f"'{delivery['sha256']}' as SRC_SHA256, SRC_ROW"
    studyid = study.STUDYID.replace("'", "''")
    as_sent = cells.replace('"STUDYID"', f"coalesce(STUDYID, '{studyid}') as STUDYID")
    bad = "(select SRC_ROW, flatten(list(RULES)) as RULES from delivery.failing where len(RULES) > 0 group by 1)"
    selects = {
        "accepted": f"select {cells}, coalesce(DOMAIN, '{domain}') as DOMAIN, SITEID, {source}, KEY_HASH,"
        f" ROW_HASH, null::varchar as PENDFL from delivery.all_rows anti join {bad} using (SRC_ROW)",
        "quarantine": f"select {as_sent}, SITEID,"
        f" '{domain}' as DOMAIN, {delivery['id']}::bigint as DELIVERY, {source}, RULES, KEY_HASH, ROW_HASH"
        f" from delivery.all_rows join {bad} using (SRC_ROW)",
        "findings": "select SRC_ROW, KEY_HASH, RULE_ID, SEVERITY from (select SRC_ROW, KEY_HASH,"
        " unnest(list_concat(RULES, WARNINGS)) as RULE_ID from delivery.failing) join severities using (RULE_ID)"
        " where SEVERITY <> 'info'",
    }
    severities = [(rule.id, rule.severity) for suite in (*rules.file, *rules.rows) for rule in suite.rules]
    connection.execute("create table severities (RULE_ID varchar, SEVERITY varchar)")
    connection.executemany("insert into severities values (?, ?)", severities)
    written = {}
    name = f"{delivery['id']:08d}-{digest(delivery['sha256'], rules.hash)[:16]}.parquet"
    for kind, select in selects.items():
        path = f"{study.id}/{kind}/{domain}/{name}"
        order = "SRC_ROW, RULE_ID" if kind == "findings" else "SRC_ROW"
        sha256 = put(settings.home / path, models.copier(connection, f"{select} order by {order}", kind))
        rows = connection.execute(f"select count(*) from ({select})").fetchone()
        written[kind] = (path, sha256, int(rows[0]) if rows else 0)
    return written


def _save(
    connection: sa.Connection,
    study: Study,
    delivery: dict[str, Any],
    rules: Rules,
    verdict: Judgement,
    written: dict[str, tuple[str, str, int]],
) -> None:
    """Make the judgement visible in one transaction; a second worker with the same result changes nothing."""
    c = book.deliveries.c
    for kind, (path, sha256, rows) in written.items():
        book.add_part(connection, study.id, kind, path, sha256, rows)
    values = {
        "status": "VALIDATED", "rule_set": rules.hash, "rows_in": verdict.rows_in,
        "accepted": verdict.rows_in - verdict.quarantined, "quarantined": verdict.quarantined,
        "unkeyed": verdict.unkeyed, **{f"{kind}_part": path for kind, (path, _, _) in written.items()},
    }  # fmt: skip
    staged = sa.update(book.deliveries).where(c.id == delivery["id"], c.status == "STAGED")
    if connection.execute(staged.values(**values)).rowcount == 0:
        return
    connection.execute(sa.delete(book.results).where(book.results.c.delivery == delivery["id"]))
    judged = [
        {"delivery": delivery["id"], "rule_id": r.rule_id, "severity": r.severity, "outcome": r.outcome,
         "n_rows": r.n_rows, "n_failed": r.n_failed}
        for r in verdict.results
    ]  # fmt: skip
    if judged:
        connection.execute(sa.insert(book.results), judged)
    book.record(connection, study.id, "validated", delivery=delivery["id"], rule_set=rules.hash)
    if unblinding := sum(r.n_failed for r in verdict.results if r.rule_id in rules.blind):
        site, id_ = delivery["site"], delivery["id"]
        book.queue_alert(
            connection, study.id, "ARM_NAMED", f"{study.id}/delivery/{id_}/ARM_NAMED",
            f"{study.id}: delivery {id_} of site {site} names a treatment arm",
            f"Domain {delivery['domain']}: {unblinding} rows. They are in quarantine or masked. Next: do not open the"
            " file; tell the unblinded contact of the study, who asks the site to send it again without the name.",
        )  # fmt: skip
    if verdict.code:
        fault = DeliveryRejected(verdict.code, verdict.reason)
        book.reject(connection, delivery, fault.code, fault.message)
