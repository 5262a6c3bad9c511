"""The steps in order: what the DAGs call one task at a time and `msc run` calls in a row.

Belongs here: order, and plain values in and out (ids, counts, names of sites). Does not: what a step does.
Every step may be called again at any time, by two workers at once, or after a kill: nothing is doubled.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline import storage
from msc_pipeline.alerts import send_pending
from msc_pipeline.corrections import settle
from msc_pipeline.curation import curate_site, stale_sites
from msc_pipeline.desk import open_desk
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.holding import changed_sites, hold_rows
from msc_pipeline.integrity import verify_study
from msc_pipeline.landing import UNDECIDED, land_site, site_folders, waiting
from msc_pipeline.ledger import Ledger
from msc_pipeline.overdue import notice_overdue
from msc_pipeline.publishing import is_current, publish_release
from msc_pipeline.settings import Settings
from msc_pipeline.staging import stage_delivery
from msc_pipeline.study import load_study
from msc_pipeline.validation import validate_delivery

log = logging.getLogger(__name__)

STEPS = ("land", "stage", "validate", "commit", "hold", "curate", "publish")
"""The order of the steps; a test holds DAGs and `run` to it."""

Progress = Callable[[str, str], None]
"""Called with (step, site) when a step of `run` ends."""


def sites_waiting(study_id: str, settings: Settings) -> list[dict[str, Any]]:
    """Return [{"site", "files"}] of sites with exports in their folder or deliveries half way.

    It also tells people of what lies there for too long without becoming a delivery.
    """
    study = load_study(study_id, settings.project)
    if notice_overdue(study, settings):
        send_pending(settings)
    d = book.deliveries.c
    let_through = sa.and_(d.status == "HELD", d.let_through.is_not(None))
    open_ = sa.or_(d.status.in_(UNDECIDED), let_through)
    half = sa.select(d.site, sa.func.count().label("n")).where(d.study == study_id, open_)
    undecided = {row["site"]: row["n"] for row in Ledger(settings.ledger).rows(half.group_by(d.site))}
    folders = site_folders(study, settings)
    files = {site: waiting(study, site, settings) for site in {*folders, *undecided}}
    total = {site: files[site] + undecided.get(site, 0) for site in files}
    return [{"site": site, "files": total[site]} for site in sorted(total) if total[site]]


def land(study_id: str, site: str, settings: Settings) -> list[int]:
    """Take what waits in one site's folder; return the ids of deliveries to carry on with."""
    return land_site(load_study(study_id, settings.project), site, settings)


def stage(study_id: str, ids: list[int], settings: Settings) -> list[int]:
    """Turn raw copies into staged parts; return the same ids."""
    study = load_study(study_id, settings.project)
    for delivery in _deliveries(study_id, ids, settings):
        stage_delivery(study, delivery, settings)
    return ids


def validate(study_id: str, ids: list[int], settings: Settings) -> list[int]:
    """Judge staged deliveries by their suites; return the same ids."""
    study = load_study(study_id, settings.project)
    for delivery in _deliveries(study_id, ids, settings):
        validate_delivery(study, delivery, settings)
    return ids


def commit(study_id: str, site: str, ids: list[int], settings: Settings) -> dict[str, Any]:
    """Decide one site's validated deliveries and send what there is to tell; return counts over `ids`."""
    study = load_study(study_id, settings.project)
    for domain in study.domains:
        settle(study, site, domain, settings)
    send_pending(settings)
    rows = _deliveries(study_id, ids, settings)
    return {
        "site": site,
        "label": f"{site} · {len(rows)} files",
        "deliveries": [row["id"] for row in rows],
        "accepted": sum(row["accepted"] for row in rows if row["status"] in ("ACCEPTED", "PARTIAL")),
        "quarantined": sum(row["quarantined"] for row in rows if row["status"] == "PARTIAL"),
        "rejected": [row["id"] for row in rows if row["status"] == "REJECTED"],
        "held": [row["id"] for row in rows if row["status"] == "HELD"],
    }


def verdict(study_id: str, delivery_id: int, settings: Settings) -> None:
    """Say why a delivery is not in use.

    Raises: DeliveryRejected with the delivery's code and reason; nothing for one that is in use.
    """
    for row in _deliveries(study_id, [delivery_id], settings):
        if row["status"] in ("REJECTED", "HELD"):
            raise DeliveryRejected(row["code"], f"{row['status']} {_label(row)}: {row['reason']}")


def delivery_label(study_id: str, delivery_id: int, settings: Settings) -> str:
    """Return `site · file`, what a person recognises a delivery by."""
    return _label(_deliveries(study_id, [delivery_id], settings)[0])


def news(study_id: str, settings: Settings) -> dict[str, Any]:
    """Return {"changed"}: is anything decided that the current release does not hold yet?"""
    study = load_study(study_id, settings.project)
    stale = bool(changed_sites(open_desk(study, settings)) or stale_sites(study, settings))
    return {"changed": stale or not is_current(study, settings)}


def hold(study_id: str, settings: Settings) -> list[str]:
    """Apply the cross-domain rules where rows changed; return the sites whose tables must be made again."""
    study = load_study(study_id, settings.project)
    with storage.locked(settings.home / study_id / "curate.lock"):
        hold_rows(study, settings)
        return stale_sites(study, settings)


def curate(study_id: str, site: str, settings: Settings) -> dict[str, Any]:
    """Make one site's curated tables; return {"site", "tables", "rows"}."""
    return curate_site(load_study(study_id, settings.project), site, settings)


def curate_sites(
    study_id: str, sites: list[str], settings: Settings, *, jobs: int = 1
) -> Iterator[dict[str, Any]]:
    """Make the curated tables of several sites, `jobs` at a time; yield as `curate` returns."""
    for _, made in _each(curate, study_id, sites, settings, jobs):
        yield made


def publish(study_id: str, settings: Settings) -> dict[str, Any]:
    """Publish what is curated; return {"release", "new", "tables", "rows"}."""
    return publish_release(load_study(study_id, settings.project), settings)


def verify(study_id: str, settings: Settings) -> dict[str, Any]:
    """Compare every file with the ledger; return counts. Raises: IntegrityError."""
    return verify_study(load_study(study_id, settings.project), settings)


def run(
    study_id: str, settings: Settings, *, jobs: int = 1, progress: Progress | None = None
) -> dict[str, Any]:
    """Do every step once: the sites' steps, then hold, curate, publish.

    jobs: processes for the steps that go site by site. Return {"study", "release", "new", "deliveries"}.
    Raises: PipelineError of the step that failed; what was committed before stays, the next run goes on.
    """
    study = load_study(study_id, settings.project)
    tell = progress or _quiet
    storage.sweep(settings.home / study_id) if (settings.home / study_id).is_dir() else None
    sites = [entry["site"] for entry in sites_waiting(study_id, settings)]
    ids: list[int] = []
    for site, found in _each(_ingest, study.id, sites, settings, jobs):
        ids += found
        tell("ingest", site)
    stale = hold(study_id, settings)
    tell("hold", "")
    for site, _ in _each(curate, study.id, stale, settings, jobs):
        tell("curate", site)
    released = publish(study_id, settings)
    tell("publish", "")
    send_pending(settings)
    names = ("id", "site", "domain", "file", "status", "rows_in", "accepted", "quarantined", "code", "reason")
    deliveries = [{name: row[name] for name in names} for row in _deliveries(study_id, ids, settings)]
    return {
        "study": study_id,
        "release": released["release"],
        "new": released["new"],
        "deliveries": deliveries,
    }


def _ingest(study_id: str, site: str, settings: Settings) -> list[int]:
    ids = validate(study_id, stage(study_id, land(study_id, site, settings), settings), settings)
    commit(study_id, site, ids, settings)
    return ids


def _each(
    step: Callable[[str, str, Settings], Any], study_id: str, sites: list[str], settings: Settings, jobs: int
) -> Iterator[tuple[str, Any]]:
    """Yield (site, step's result) for every site; with `jobs`, in forked processes that share loaded code."""
    if jobs <= 1 or len(sites) <= 1:
        for site in sites:
            yield site, step(study_id, site, settings)
        return
    if step is _ingest:
        from msc_pipeline.gx_duckdb import preload

        preload()
    # Sites are worth more than threads: a process each keeps all cores busy, threads of one query do not.
    settings = replace(settings, threads=max(1, settings.threads // jobs))
    with ProcessPoolExecutor(min(jobs, len(sites)), mp_context=multiprocessing.get_context("fork")) as pool:
        futures = {site: pool.submit(step, study_id, site, settings) for site in sites}
        for site, future in futures.items():
            yield site, future.result()


def _quiet(_step: str, _site: str) -> None:
    return None


def _label(row: dict[str, Any]) -> str:
    return f"{row['site']} · {row['file']}"


def _deliveries(study_id: str, ids: list[int], settings: Settings) -> list[dict[str, Any]]:
    d = book.deliveries.c
    mine = sa.select(book.deliveries).where(d.study == study_id, d.id.in_(ids)).order_by(d.id)
    return Ledger(settings.ledger).rows(mine)
