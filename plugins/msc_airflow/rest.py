"""The few calls of Airflow's REST API that the embedded stack needs."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

ENDED = ("success", "failed")


class Api:
    """Airflow on loopback, where the embedded stack asks nobody to log in."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, path: str, body: dict[str, Any] | None = None, method: str = "GET") -> Any:
        """Return the decoded answer. Raises: urllib.error.HTTPError, or OSError while nobody listens."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v2/{path}", data, headers, method=method)  # noqa: S310
        with self._opener.open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def healthy(self) -> bool:
        """Say whether the API server, the scheduler and the DAG processor all answer."""
        try:
            health = self.call("monitor/health")
        except OSError:
            return False
        return all(
            health[part]["status"] == "healthy" for part in ("metadatabase", "scheduler", "dag_processor")
        )

    def dag_ids(self) -> set[str]:
        """Return the DAGs that Airflow has read so far."""
        return {dag["dag_id"] for dag in self.call("dags?limit=1000")["dags"]}

    def import_errors(self) -> list[str]:
        """Return the files of the DAGs folder that could not be read, each with its reason."""
        errors = self.call("importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}" for error in errors]

    def switch_on(self, dag_id: str) -> None:
        """Unpause a DAG."""
        self.call(f"dags/{dag_id}", {"is_paused": False}, "PATCH")

    def trigger(self, dag_id: str) -> str:
        """Start one run; return its id."""
        return str(self.call(f"dags/{dag_id}/dagRuns", {"logical_date": None}, "POST")["dag_run_id"])

    def run_ids(self, dag_id: str) -> set[str]:
        """Return the ids of a DAG's runs."""
        return {run["dag_run_id"] for run in self.call(f"dags/{dag_id}/dagRuns?limit=100")["dag_runs"]}

    def state(self, dag_id: str, run_id: str) -> str:
        """Return the state of one run."""
        return str(self.call(f"dags/{dag_id}/dagRuns/{_quoted(run_id)}")["state"])

    def instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return every task instance of one run, however many pages that takes."""
        found: list[dict[str, Any]] = []
        while True:
            path = f"dags/{dag_id}/dagRuns/{_quoted(run_id)}/taskInstances?limit=100&offset={len(found)}"
            page = self.call(path)
            found += page["task_instances"]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found


def _quoted(run_id: str) -> str:
    return urllib.parse.quote(run_id, safe="")
