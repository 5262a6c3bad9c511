"""What the DAGs of all studies share: assets, schedules, retries, owner, tags.

Belongs here: anything two DAG files would otherwise repeat. Imported at every parse, so it stays light.
Does not: errors and alerts (task.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, CronTriggerTimetable

from msc_pipeline.errors import ConfigError
from msc_pipeline.settings import Settings
from msc_pipeline.study import Schedule, load_study, study_ids

OWNER = "data engineering"
RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=5),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=2),
}
"""About 5, 10 and 20 seconds apart: enough for a busy ledger or a full disk being emptied."""


def dag_options(study_id: str, part: str, doc: str) -> dict[str, Any]:
    """Return the arguments every DAG takes: one run at a time, no catch-up, owner, retries, tags."""
    return {
        "dag_id": f"{study_id}__{part}",
        "default_args": {"owner": OWNER, "execution_timeout": timedelta(hours=4), **RETRIES},
        "catchup": False,
        "max_active_runs": 1,
        "tags": [study_id, part],
        "doc_md": doc,
    }


def accepted(study_id: str) -> Asset:
    """Return the asset that changes when a study has accepted rows its release does not hold yet."""
    return Asset(name=f"{study_id}_accepted", uri=f"msc://{study_id}/accepted")


def release(study_id: str) -> Asset:
    """Return the asset that changes with every new release of a study."""
    return Asset(name=f"{study_id}_release", uri=f"msc://{study_id}/release")


def cron(expression: str) -> CronTriggerTimetable:
    """Return a UTC schedule that waits for its next time when a DAG is switched on."""
    return CronTriggerTimetable(expression, timezone="UTC", run_immediately=timedelta(0))


def schedules() -> dict[str, Schedule]:
    """Return the schedule of every study in the project.

    A study whose configuration is wrong keeps the default one: its first task then fails with the file and
    field at fault, and the DAGs of the other studies are untouched.
    """
    project = Settings.from_env().project
    found = {}
    for study_id in study_ids(project):
        try:
            found[study_id] = load_study(study_id, project).schedule
        except ConfigError:
            found[study_id] = Schedule()
    return found
