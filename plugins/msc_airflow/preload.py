"""Import the heavy libraries once, in the scheduler, before LocalExecutor forks its workers.

Importing Great Expectations costs seconds of CPU. Workers and their tasks inherit what the scheduler has
loaded; without this, every task pays. Only with MSC_PRELOAD set, and only in the scheduler's process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys

from airflow.plugins_manager import AirflowPlugin

HEAVY = ("duckdb", "pyarrow.parquet", "msc_pipeline.pipeline")


def wanted(environ: dict[str, str] | os._Environ[str], argv: list[str]) -> bool:
    """Say whether this process should pay for the imports."""
    return bool(environ.get("MSC_PRELOAD")) and "scheduler" in argv[1:2]


if wanted(os.environ, sys.argv):
    with contextlib.suppress(ImportError):  # a task that needs it says so better
        for name in HEAVY:
            importlib.import_module(name)
        importlib.import_module("msc_pipeline.gx_duckdb").preload()


class PreloadPlugin(AirflowPlugin):
    """Makes Airflow import this module."""

    name = "msc_preload"
