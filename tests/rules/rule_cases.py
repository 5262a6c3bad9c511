"""Cases of rules as data, and the relations that facts and rules are evaluated on.

A case file names its suite, the relation it judges and, per rule, rows that fail it and rows that pass the
whole suite. A row is given by the cells that differ from the default row of its domain (defaults.yaml), and by
rows `beside` it, which differ from the row itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import yaml

from msc_pipeline import cdisc, checks, models
from msc_pipeline.study import Study
from msc_pipeline.suites import Suite, load_suite

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
OWN = {"FAULT": None, "KEY_HASH": "k", "KEY_COPIES": 1, "KEY_VARIANTS": 1, "SITEID": "101"}
NUMBERS = {"SRC_ROW": pa.int64(), "KEY_COPIES": pa.int64(), "KEY_VARIANTS": pa.int64()}


@dataclass(frozen=True)
class CaseFile:
    """One YAML file. fails, passes: rule id → rows."""

    suite: str
    relation: str
    fails: dict[str, list[dict[str, Any]]]
    passes: dict[str, list[dict[str, Any]]]


@dataclass
class Judged:
    """One relation evaluated: results by rule id, failed ids by SRC_ROW, and the rule each row is a case of."""

    results: dict[str, checks.RuleResult]
    failed: dict[int, set[str]]
    rule_of_row: dict[int, str]
    severities: dict[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[str]:
        """How many rows our own scan lists under each rule."""
        return Counter(rule_id for ids in self.failed.values() for rule_id in ids)


@lru_cache
def case_files() -> tuple[CaseFile, ...]:
    """Read every case file of this folder."""
    return tuple(_read(path) for path in sorted(HERE.glob("*.yaml")) if path.stem != "defaults")


def _read(path: Path) -> CaseFile:
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    sides = {
        side: {rule_id: case[side] for rule_id, case in raw["cases"].items()} for side in ("fails", "passes")
    }
    return CaseFile(raw["suite"], raw["relation"], **sides)


@lru_cache
def defaults() -> dict[str, dict[str, Any]]:
    """Return a valid row per domain."""
    rows: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "defaults.yaml").read_text(encoding="utf-8"))
    return rows


@lru_cache
def study() -> Study:
    """Return a small study: two sites, the second with a laboratory whose ranges labs.csv holds."""
    units = (PROJECT / "sql/reference/check_units.csv").read_text(encoding="utf-8").splitlines()[1:]
    pairs = [tuple(line.split(",")[:2]) for line in units]
    analyte = {"PARAM": "x", "PARCAT1": "OTHER"}
    return Study(
        id="trial1",
        STUDYID="TRIAL1",
        title="A trial made up for these tests",
        planned_subjects=10,
        subject_pattern=r"^T1-(\d{3})-\d{4}$",
        arms=({"ARMCD": "P", "ARM": "Placebo", "ratio": 1},),
        baseline={"rule": "visit", "visit": "SCREENING"},
        last_plausible_date="2026-12-31",
        max_doses=1,
        blinding={"words": ("placebo", "low dose")},
        profiles={"standard": {"timezone": "America/New_York"}},
        sites={"101": {"profile": "standard"}, "102": {"profile": "standard", "lab": "central"}},
        domains={},
        visits=(
            {"VISIT": "SCREENING", "VISITNUM": "1", "AVISIT": "Screening", "week": "-1", "day": -7},
            {"VISIT": "WEEK 4", "VISITNUM": "4", "AVISIT": "Week 4", "week": "4", "day": 29},
        ),
        analytes=(
            *({"LBTESTCD": code, "standard_unit": unit, **analyte} for code, unit in pairs),
            {"LBTESTCD": "COLOR", **analyte},
        ),
        ranges=({"lab": "central", "LBTESTCD": "ALT", "unit": "U/L", "LBORNRLO": "6", "LBORNRHI": "43"},),
    )


def connect() -> duckdb.DuckDBPyConnection:
    """Return a connection with macros, references and the study, and empty schemas for the relations."""
    connection = models.connect(2)
    models.install(connection, PROJECT)
    models.install_study(connection, study())
    connection.execute("create schema delivery; create schema facts; create schema arrived")
    connection.execute('create schema "cross"')
    return connection


def columns(domain: str) -> tuple[str, ...]:
    """Return the text columns of a domain's relations."""
    return cdisc.columns(domain.upper(), ("SITEID",) if domain == "dm" else ())


def fill(
    connection: duckdb.DuckDBPyConnection, name: str, cells: tuple[str, ...], rows: list[dict[str, Any]]
) -> None:
    """Create the table `name` of these rows; a cell that a row lacks is NULL."""
    table = pa.table({c: pa.array([r.get(c) for r in rows], NUMBERS.get(c, pa.string())) for c in cells})
    connection.register("rows_given", table)
    connection.execute(f"create or replace table {name} as select * from rows_given")
    connection.unregister("rows_given")


def deliver(connection: duckdb.DuckDBPyConnection, domain: str, rows: list[dict[str, Any]]) -> str:
    """Make one delivery of these rows and its facts; return the facts' relation. Needs connect()."""
    full = [
        {**OWN, "DOMAIN": domain.upper(), **defaults()[domain], **row, "SRC_ROW": number}
        for number, row in enumerate(rows, 2)
    ]
    fill(connection, "delivery.all_rows", (*columns(domain), "SRC_ROW", *OWN), full)
    connection.execute(
        "create or replace view delivery.rows as select * from delivery.all_rows where FAULT is null"
    )
    return _model(connection, f"facts.{domain}")


def arrive(connection: duckdb.DuckDBPyConnection, domain: str, cases: list[dict[str, Any]]) -> str:
    """Make one subject per case, with its rows in every domain; return the cross relation of `domain`.

    `beside`: further rows of the same domain, of the same subject unless they name another.
    """
    arrived: dict[str, list[dict[str, Any]]] = {name.lower(): [] for name in cdisc.DOMAINS}
    for number, case in enumerate(cases, 2):
        beside = [{"SRC_ROW": number + 10_000 * n, **row} for n, row in enumerate(case.get("beside", []), 1)]
        others = {"dm": [{}], "sv": [{}], **case.get("others", {}), domain: [case["row"], *beside]}
        for name, rows in others.items():
            own = {"USUBJID": f"T1-101-{number:04d}", "SITEID": "101", "SRC_ROW": number, "SRC_SHA256": name}
            arrived[name] += [{**defaults()[name], **own, **row} for row in rows]
    extra = ("SITEID", "SRC_SHA256", "SRC_ROW", "KEY_HASH", "PENDFL")
    for name, rows in arrived.items():
        fill(connection, f"arrived.{name}", (*columns(name), *extra), rows)
    for shared in ("subjects", "visits"):
        _model(connection, f"cross.{shared}")
    return _model(connection, f"cross.{domain}")


def watch(connection: duckdb.DuckDBPyConnection, cases: list[dict[str, Any]]) -> str:
    """Make one site per case, with its rows in other domains; return the relation of sites, SRC_ROW beside it.

    The newest data of the study are of 31 December 2025.
    """
    models.install_study(connection, study(), "2025-12-31")
    own = {"LAST_DATE": "2025-12-31", "LB_ROWS": 1000, "SV_ROWS": 100}
    reach = [{**own, **case["row"], "SITEID": str(number)} for number, case in enumerate(cases, 2)]
    kinds = {"SITEID": pa.string(), "LAST_DATE": pa.string(), "LB_ROWS": pa.int64(), "SV_ROWS": pa.int64()}
    table = pa.table({name: pa.array([row[name] for row in reach], kind) for name, kind in kinds.items()})
    models.load_tables(connection, "site", {"reach": table})
    for name in ("dm", "ds"):
        rows = [
            {**defaults()[name], "SITEID": str(number), **row}
            for number, case in enumerate(cases, 2)
            for row in case.get("others", {}).get(name, [])
        ]
        fill(connection, f"arrived.{name}", (*columns(name), "SITEID"), rows)
    relation = _model(connection, "cross.sites")
    connection.execute(
        'create or replace table "cross".sites as select *, SITEID::bigint as SRC_ROW from "cross".sites'
    )
    return relation


def _model(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    schema, _, table = name.partition(".")
    sql = (PROJECT / "sql" / schema / f"{table}.sql").read_text(encoding="utf-8")
    connection.execute(f'create or replace table "{schema}"."{table}" as {sql}')
    return name


def judge(connection: duckdb.DuckDBPyConnection, relation: str, suite: Suite) -> Judged:
    """Evaluate one relation by one suite."""
    results = {result.rule_id: result for result in checks.evaluate(connection, relation, [suite])}
    rows = connection.execute(
        f"select SRC_ROW, RULES, WARNINGS from ({checks.failing_rows(connection, relation, [suite])})"
    ).fetchall()
    return Judged(results, {row: {*rules, *warnings} for row, rules, warnings in rows}, {})


@lru_cache
def judged(suite_name: str, side: str) -> Judged:
    """Evaluate all failing, or all passing, rows of one case file together: Great Expectations runs once."""
    file = next(f for f in case_files() if f.suite == suite_name)
    given = file.fails if side == "fails" else file.passes
    owned: list[tuple[str, dict[str, Any]]] = [
        (rule_id, row) for rule_id, rows in given.items() for row in rows
    ]
    connection = connect()
    schema, _, table = file.relation.partition(".")
    rows = [row for _, row in owned]
    if file.relation == "cross.sites":
        relation = watch(connection, rows)
    elif schema == "cross":
        relation = arrive(connection, table, rows)
    else:
        relation = deliver(connection, "lb" if schema == "delivery" else table, _apart(rows))
        relation = file.relation if schema == "delivery" else relation
    found = judge(connection, relation, load_suite(suite_name, PROJECT))
    found.rule_of_row = {number: rule_id for number, (rule_id, _) in enumerate(owned, 2)}
    return found


def _apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each case a subject of its own; rows `beside` it follow all cases, with the cells of the case."""
    own = [{"USUBJID": f"T1-101-{number:04d}", **row} for number, row in enumerate(rows, 2)]
    others = [{**row, **other} for row in own for other in row.get("beside", [])]
    return [{k: v for k, v in row.items() if k != "beside"} for row in [*own, *others]]


def pairs() -> list[tuple[str, str]]:
    """Return (suite, rule id) of every case."""
    return [(file.suite, rule_id) for file in case_files() for rule_id in file.fails]
