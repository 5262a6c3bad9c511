"""The requirements, and the plugin that says which test proves which: nothing untested ever counts as passed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import traceability
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study
from traceability import read_requirements

ROWS = read_requirements()
IDS = [row["id"] for row in ROWS]
NAMED = re.compile(r"^requirement: (.+)$", re.MULTILINE)
ID = re.compile(r'"([A-Z]{3}-\d\d)"')

TESTS = """
import pytest

@pytest.mark.requirement("A-01")
@pytest.mark.parametrize("n", [1, 2, 3])
def test_it_adds(n): pass

@pytest.mark.requirement("A-02", "A-01")
def test_it_subtracts(): {body}
"""

TWO = """\
id,area,requirement,source,model,risk
A-01,Sums,It adds.,arithmetic,curated.adlb,high
A-02,Sums,It subtracts.,arithmetic,curated.adlb,low
"""


def _named_by_tests() -> Counter[str]:
    """Return how many tests name each requirement, by reading the tests."""
    names: list[str] = []
    for path in (PROJECT / "tests" / "sql").rglob("test_*.md"):
        names += [name for line in NAMED.findall(path.read_text(encoding="utf-8")) for name in line.split()]
    for path in (PROJECT / "tests").rglob("test_*.py"):
        if path.name != Path(__file__).name:
            names += ID.findall(path.read_text(encoding="utf-8"))
    return Counter(names)


def test_every_requirement_is_complete_and_its_id_is_its_own() -> None:
    assert [name for name, count in Counter(IDS).items() if count > 1] == []
    for row in ROWS:
        assert tuple(row) == traceability.COLUMNS
        assert all(row.values()), row["id"]
        assert re.fullmatch(r"[A-Z]{3}-\d\d", row["id"])
        assert row["requirement"].endswith("."), row["id"]
        assert row["risk"] in ("high", "medium", "low"), row["id"]


def test_requirements_of_one_area_stand_together_under_one_prefix() -> None:
    areas = list(dict.fromkeys((row["id"][:3], row["area"]) for row in ROWS))
    assert len(areas) == len({prefix for prefix, _ in areas}) == len({area for _, area in areas})
    assert [row["id"][:3] for row in ROWS] == sorted(
        (row["id"][:3] for row in ROWS), key=[prefix for prefix, _ in areas].index
    )


def test_every_model_that_a_requirement_names_exists() -> None:
    known = {f"{path.parent.name}.{path.stem}" for path in (PROJECT / "sql").glob("*/*.[sc][qs][lv]")}
    known |= {f"study.{name}" for name in load_study("misle", PROJECT).relations()}
    assert {name for row in ROWS for name in row["model"].split()} <= known


def test_every_requirement_is_named_by_a_test_and_every_name_is_one() -> None:
    assert set(_named_by_tests()) == set(IDS)


def test_the_page_in_the_repository_lists_every_requirement_as_passed() -> None:
    text = (PROJECT / "docs" / "validation.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (\S+): (.+)$", text, re.MULTILINE) == [(name, "PASSED") for name in IDS]


def _run(folder: Path, body: str, *options: str) -> tuple[int, str]:
    """Run two small tests with the plugin, away from this project."""
    (folder / "test_sums.py").write_text(TESTS.format(body=body), encoding="utf-8")
    (folder / "requirements.csv").write_text(TWO, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = requirement\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "traceability", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*command, "--requirements", "requirements.csv", "test_sums.py"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(PROJECT / "tests")}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_run_on_two_workers_writes_the_page_that_a_run_alone_finds(tmp_path: Path) -> None:
    assert _run(tmp_path, "pass", "--write-validation", "page.md", "-n", "2")[0] == 0
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| 2 | 2 | 0 | 0 | 2 | 4 |" in text
    assert (
        "### A-01: PASSED" in text and "- passed: it adds (3 cases), [test_sums.py](../test_sums.py)" in text
    )
    assert "Requirements that are not proven: none." in text
    assert _run(tmp_path, "pass", "--validation", "page.md")[0] == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == text


def test_a_page_that_differs_fails_the_run_and_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# Validation\n", encoding="utf-8")
    code, text = _run(tmp_path, "pytest.skip()", "--validation", "page.md")
    assert code == 1
    assert "A-02: NOT TESTED" in text and "page.md differs" in text
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == "# Validation\n"


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (["passed", "passed"], "PASSED"),
        (["passed", "failed"], "FAILED"),
        (["failed", "skipped"], "FAILED"),
        (["passed", "skipped"], "NOT TESTED"),
        (["passed", "not run"], "NOT TESTED"),
        ([], "NOT TESTED"),
    ],
)
def test_a_requirement_is_passed_only_when_all_its_tests_ran_and_passed(
    outcomes: list[str], said: str
) -> None:
    cases = {f"t.py::test_it[{n}]": outcome for n, outcome in enumerate(outcomes)}
    assert traceability.result({"t.py::test_it": cases} if cases else {}) == said
    assert traceability.result({node: {node: outcome} for node, outcome in cases.items()}) == said


def test_what_was_collected_and_did_not_run_is_not_tested() -> None:
    found = traceability.Found(
        {"t.py::test_a": ("A-01",), "t.py::test_b": ("A-01",)}, {"t.py::test_a": "passed"}
    )
    rows = [{"id": "A-01"}, {"id": "A-02"}]
    assert traceability.complaints(rows, found.tests()) == ["A-01: NOT TESTED", "A-02: NOT TESTED"]


def test_a_requirement_that_nobody_wrote_down_is_told() -> None:
    found = traceability.Found({"t.py::test_a": ("A-01", "B-01")}, {"t.py::test_a": "passed"})
    said = ["B-01: named by a test, not in docs/requirements.csv"]
    assert traceability.complaints([{"id": "A-01"}], found.tests()) == said


def test_a_teardown_that_fails_and_a_setup_that_skips_are_seen() -> None:
    recorder = traceability.Recorder(None)  # type: ignore[arg-type]
    for node, when, outcome in (
        ("a", "setup", "passed"), ("a", "call", "passed"), ("a", "teardown", "failed"), ("b", "setup", "skipped"),
    ):  # fmt: skip
        report = pytest.TestReport(node, (node, 0, node), {}, outcome, None, when)  # type: ignore[arg-type]
        recorder.pytest_runtest_logreport(report)
    assert recorder.found.outcomes == {"a": "failed", "b": "skipped"}
