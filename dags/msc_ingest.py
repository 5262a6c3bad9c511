"""`<study>__ingest`: site exports from landing to accepted rows, each site on its own."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task_group
from airflow.sdk.exceptions import AirflowSkipException

from msc_airflow import wiring
from msc_airflow.task import label_instance, msc_task
from msc_pipeline.settings import Settings

DOC = """
Takes what the sites of **{study}** have sent: claims and copies each file (`land`), reads it as text
(`stage`), judges it with the Great Expectations suites (`validate`) and writes accepted and quarantined rows
(`commit`), one lane per site.

* `verdict` is red once per rejected or held file; its log names the reason. Nothing waits for it.
* `announce` tells `{study}__curate` when there is anything that the current release lacks.
* `every_site` is red when a lane could not finish: a fault of the system, not of a file.

Clear, retry or run it as often as you like, or backfill it: what waits is taken once, and a file that is already
decided is not taken again. Runs have no date of their own.
"""
LANE = "{{ task.op_kwargs['lane']['site'] }} · {{ task.op_kwargs['lane']['files'] }} files"

Lanes = list[dict[str, Any]] | None
"""What `commit` returned for each site; None when no lane got that far."""


def lanes(study_id: str) -> Any:
    """Declare what happens to one site's exports; the lane is an entry of `discover`."""

    @msc_task(map_index_template=LANE)
    def land(lane: dict[str, Any]) -> list[int]:
        from msc_pipeline import pipeline

        return pipeline.land(study_id, lane["site"], Settings.from_env())

    @msc_task(map_index_template=LANE)
    def stage(lane: dict[str, Any], deliveries: list[int]) -> list[int]:
        from msc_pipeline import pipeline

        return pipeline.stage(study_id, deliveries, Settings.from_env())

    @msc_task(map_index_template=LANE)
    def validate(lane: dict[str, Any], deliveries: list[int]) -> list[int]:
        from msc_pipeline import pipeline

        return pipeline.validate(study_id, deliveries, Settings.from_env())

    @msc_task(map_index_template=LANE)
    def commit(lane: dict[str, Any], deliveries: list[int]) -> dict[str, Any]:
        from msc_pipeline import pipeline

        return pipeline.commit(study_id, lane["site"], deliveries, Settings.from_env())

    @task_group(group_id="site")
    def site(lane: dict[str, Any]) -> Any:
        staged = stage(lane=lane, deliveries=land(lane=lane))
        return commit(lane=lane, deliveries=validate(lane=lane, deliveries=staged))

    return site


def ingest(study_id: str, expression: str) -> None:
    """Declare the DAG of one study."""

    @msc_task()
    def discover() -> list[dict[str, Any]]:
        from msc_pipeline import pipeline

        return pipeline.sites_waiting(study_id, Settings.from_env())

    @msc_task(trigger_rule="all_done")
    def refused(sites: Lanes) -> list[int]:
        return [delivery for one in sites or () for delivery in (*one["rejected"], *one["held"])]

    @msc_task(map_index_template="{{ label }}", on_failure_callback=None)
    def verdict(delivery: int) -> None:
        from msc_pipeline import pipeline

        label_instance(pipeline.delivery_label(study_id, delivery, Settings.from_env()))
        pipeline.verdict(study_id, delivery, Settings.from_env())

    @msc_task(trigger_rule="all_done", outlets=[wiring.accepted(study_id)])
    def announce(sites: Lanes, *, outlet_events: Any = None) -> None:
        from msc_pipeline import pipeline

        if not pipeline.news(study_id, Settings.from_env())["changed"]:
            raise AirflowSkipException("nothing new since the sites' tables were made")
        outlet_events[wiring.accepted(study_id)].extra = _totals(sites)

    @dag(
        schedule=wiring.cron(expression), **wiring.dag_options(study_id, "ingest", DOC.format(study=study_id))
    )
    def build() -> None:
        sites = lanes(study_id).expand(lane=discover())
        verdict.expand(delivery=refused(sites))
        announce(sites)
        sites >> EmptyOperator(task_id="every_site", trigger_rule="none_failed")

    build()


def _totals(sites: Lanes) -> dict[str, Any]:
    """Return what the asset's event shows: rows accepted and quarantined by this run, and of which sites."""
    lanes_done = list(sites or ())
    counts = {name: sum(one[name] for one in lanes_done) for name in ("accepted", "quarantined")}
    return {**counts, "sites": [one["site"] for one in lanes_done]}


for _study_id, _schedule in wiring.schedules().items():
    ingest(_study_id, _schedule.ingest)
