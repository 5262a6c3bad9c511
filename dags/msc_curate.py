"""`<study>__curate`: accepted rows to curated tables and one release, whenever ingest has news."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag
from airflow.sdk.exceptions import AirflowSkipException

from msc_airflow import wiring
from msc_airflow.task import msc_task
from msc_pipeline.settings import Settings

DOC = """
Runs after `{study}__ingest` has announced new accepted rows; several announcements become one run.

`hold` applies the rules that need more than one domain, `curate` rebuilds the tables of each site that
changed, `publish` writes a new DuckDB release and renames it into place. Readers of the old release keep it.
`publish` is skipped when the data gave the release that is already current.
"""


def curate_and_publish(study_id: str) -> None:
    """Declare the DAG of one study."""

    @msc_task()
    def hold() -> list[str]:
        from msc_pipeline import pipeline

        return pipeline.hold(study_id, Settings.from_env())

    @msc_task(map_index_template="{{ task.op_kwargs['site'] }}")
    def curate(site: str) -> dict[str, Any]:
        from msc_pipeline import pipeline

        return pipeline.curate(study_id, site, Settings.from_env())

    @msc_task(trigger_rule="none_failed", outlets=[wiring.release(study_id)])
    def publish(*, outlet_events: Any = None) -> None:
        from msc_pipeline import pipeline

        made = pipeline.publish(study_id, Settings.from_env())
        if not made.pop("new"):
            raise AirflowSkipException("nothing changed: the current release stands")
        outlet_events[wiring.release(study_id)].extra = made

    @dag(
        schedule=[wiring.accepted(study_id)],
        **wiring.dag_options(study_id, "curate", DOC.format(study=study_id)),
    )
    def build() -> None:
        curate.expand(site=hold()) >> publish()

    build()


for _study_id in wiring.schedules():
    curate_and_publish(_study_id)
