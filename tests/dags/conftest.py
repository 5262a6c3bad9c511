"""Airflow reads its environment when it is first imported, so it is set here, before any test is."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL_STUDY = Path(__file__).parent / "small_study"

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(REPOSITORY / "dags")
os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(REPOSITORY / "plugins")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of three studies: two that are right and one whose study.yaml is not."""
    folder = tmp_path_factory.mktemp("project") / "studies"
    text = (SMALL_STUDY / "study.yaml").read_text()
    for study_id, content in {
        "small": text,
        "other": text.replace("id: small", "id: other"),
        "broken": text.replace("id: small", "id: broken").replace("ratio: 1", "ratio: none"),
    }.items():
        (folder / study_id).mkdir(parents=True)
        (folder / study_id / "study.yaml").write_text(content)
    return folder.parent


def pytest_sessionfinish() -> None:
    """Leave no Airflow home behind."""
    shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)
