"""`<study>__integrity`: every stored byte and every audit row against the ledger, weekly."""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag

from msc_airflow import wiring
from msc_airflow.task import msc_task
from msc_pipeline.settings import Settings

DOC = """
Compares every file of **{study}** with the hash that the ledger holds, and checks the chain of audit rows.
Red means that something outside the pipeline changed a stored byte: nothing is published over it.
"""


def integrity(study_id: str, expression: str) -> None:
    """Declare the DAG of one study."""

    @msc_task()
    def verify() -> dict[str, Any]:
        from msc_pipeline import pipeline

        return pipeline.verify(study_id, Settings.from_env())

    @dag(
        schedule=wiring.cron(expression),
        **wiring.dag_options(study_id, "integrity", DOC.format(study=study_id)),
    )
    def build() -> None:
        verify()

    build()


for _study_id, _schedule in wiring.schedules().items():
    integrity(_study_id, _schedule.integrity)
