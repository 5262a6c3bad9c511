"""The only place where the pipeline's errors become Airflow's outcomes.

Belongs here: what fails at once, what retries, who is told. Does not: what a task does (dags/, one call
each) and how a message is sent (`msc_pipeline.alerts`).
"""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from msc_pipeline.errors import PipelineError, TransientError
from msc_pipeline.settings import Settings

log = logging.getLogger(__name__)

LABEL = "label"
"""Context key that mapped tasks show instead of their number, once `label_instance` has set it."""


def msc_task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a task of a function: `@msc_task(...)` takes what Airflow's `@task(...)` takes.

    A TransientError retries as the DAG says; any other error of the pipeline fails at once. Every failure
    queues one alert for its DAG run; pass `on_failure_callback=None` where the finding has its own.
    """
    ours = {"on_failure_callback": [tell_failed], "multiple_outputs": False}
    return lambda function: task(**{**ours, **options})(guarded(function))


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Translate errors of `function`, keeping library messages out of the log: they quote cell values.

    Airflow's own exceptions (skip, fail) pass. An error that the pipeline did not raise on purpose is
    reported as its type and place only, and retries.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except AirflowException:
            raise
        except TransientError as error:
            failure = AirflowException(str(error))
        except PipelineError as error:
            failure = AirflowFailException(str(error))
        except Exception as error:
            failure = AirflowException(f"UNEXPECTED: {type(error).__name__} at {_place(error)}")
        raise failure  # outside the handler, so that the log shows no chain of causes

    return call


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "msc_pipeline" in Path(frame.filename).parts] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno} in {ours[-1].name}"


def label_instance(text: str) -> None:
    """Show `text` instead of the number of this mapped task instance (template `{{ label }}`)."""
    get_current_context()[LABEL] = text  # type: ignore[literal-required]


def tell_failed(context: Mapping[str, Any]) -> None:
    """Queue one alert for the DAG run of `context`; never raises, since an alert must not hide its cause."""
    run, instance = context["dag_run"], context["ti"]
    study_id = instance.dag_id.rpartition("__")[0]
    try:
        from msc_pipeline import alerts

        alerts.dag_failed(study_id, instance.dag_id, run.run_id, instance.task_id, Settings.from_env())
    except Exception as error:
        log.error("alert not queued: %s at %s", type(error).__name__, _place(error))
