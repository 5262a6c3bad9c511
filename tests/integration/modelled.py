"""A simulated trial straight into the models: its rows as they are drawn, as if every site's exports were accepted.

Belongs here: accepted rows and curated tables in memory, of all sites at once. Does not: files, rules, holds.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from msc_pipeline import cdisc, models
from msc_pipeline.sample.simulation import simulated_exports
from msc_pipeline.sample.simulation.course import course
from msc_pipeline.sample.spec import SimulatedSpec
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import Study

HELD = "SITEID VARCHAR, DOMAIN VARCHAR, SRC_SHA256 VARCHAR, SRC_ROW BIGINT, RULES VARCHAR[]"


def modelled(study: Study, spec: SimulatedSpec, seed: int) -> duckdb.DuckDBPyConnection:
    """Return a connection with every derived and curated table of the trial."""
    trial = spec.simulated
    last = max(course(study, trial, seed, number).last for number in range(trial.subjects))
    connection = models.connect(1)
    models.install(connection, PROJECT)
    models.install_study(connection, study, last.isoformat())
    rows: dict[str, list[dict[str, str]]] = {domain: [] for domain in cdisc.DOMAINS}
    for export in simulated_exports(study, trial, spec.domains, seed=seed):
        for row in export.rows:
            cells = dict(zip(export.columns, row, strict=True))
            rows[export.domain].append(
                {**cells, "SITEID_CELL": cells.get("SITEID", ""), "SITEID": export.site}
            )
    models.load_tables(connection, "accepted", {d.lower(): _accepted(d, found) for d, found in rows.items()})
    _load_site(connection, study)
    connection.execute("create schema curated; create schema derived")
    for model in models.load_models(PROJECT, "derived", "curated"):
        models.create(connection, model)
    return connection


def _accepted(domain: str, rows: list[dict[str, str]]) -> pa.Table:
    names = cdisc.columns(domain, ("SITEID",) if domain == "DM" else ())
    columns: dict[str, Any] = {
        name: pa.array([row.get(name) or None for row in rows], pa.string()) for name in (*names, "SITEID")
    }
    columns |= {name: pa.array([None] * len(rows), pa.string()) for name in ("KEY_HASH", "PENDFL")}
    columns["SRC_SHA256"] = pa.array([domain] * len(rows), pa.string())
    columns["SRC_ROW"] = pa.array(range(2, len(rows) + 2), pa.int64())
    return pa.table(columns)


def _load_site(connection: duckdb.DuckDBPyConnection, study: Study) -> None:
    """Say that every site sent every domain once, and that nothing is held."""
    sent = [(site, domain) for site in study.sites for domain in study.domains]
    columns: dict[str, Any] = {
        "STUDYID": [study.STUDYID] * len(sent), "SITEID": [site for site, _ in sent],
        "DOMAIN": [domain for _, domain in sent], "SRC_SHA256": [domain for _, domain in sent],
        "STATUS": ["ACCEPTED"] * len(sent),
        **dict.fromkeys(("ROWS_IN", "ACCEPTED", "QUARANTINED"), pa.array([0] * len(sent), pa.int64())),
    }  # fmt: skip
    models.load_tables(connection, "site", {"deliveries": pa.table(columns)})
    connection.execute(f"create table site.held ({HELD})")
