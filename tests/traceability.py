"""A pytest plugin: which requirement which test proves, and with what outcome, as docs/validation.md.

A test names what it proves: `@pytest.mark.requirement("UN-01")`, or a line `requirement: UN-01` in a page of
tests/sql. `--validation FILE` compares FILE with what the run found and fails the run where they differ, where a
requirement of docs/requirements.csv is not proven, or where a test names one that does not exist;
`--write-validation FILE` writes it instead. Works with pytest-xdist: workers tell what they collected, the
controller hears every report.

Belongs here: outcomes by requirement. Does not: the requirements (docs/requirements.csv), nor any time, machine or
version: the page is the same wherever the same tests pass.
"""

from __future__ import annotations

import csv
import difflib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[1]
REQUIREMENTS = PROJECT / "docs" / "requirements.csv"
COLUMNS = ("id", "area", "requirement", "source", "model", "risk")
ORDER = ("failed", "not run", "skipped", "passed")
"""Outcomes of a test, the worst first."""

NOTE = "<!-- Written by `make validation`. Edit docs/requirements.csv and the tests, not this page. -->"
READING = """\
What the pipeline must do, the model that does it, and the tests that prove it, with the outcome of the run that wrote
this page. `make test` runs all of them again and fails where this page differs from what it finds, or where a
requirement is not proven. **PASSED**: every test of the requirement ran and passed. **NOT TESTED**: it has no test, or
one of its tests did not run; that never counts as passed. Risk: what a fault would do; high, to a subject's safety or
the blind; medium, to a table the board reads; low, to the work of a data manager."""


Tests = dict[str, dict[str, str]]
"""Test → node id of each of its cases → outcome."""


@dataclass
class Found:
    """What a run found: node id → requirements it names; node id → its outcome."""

    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    def tests(self) -> dict[str, Tests]:
        """Return requirement → its tests; a test that was collected and did not run is there."""
        tests: dict[str, Tests] = defaultdict(lambda: defaultdict(dict))
        for node, ids in sorted(self.names.items()):
            for requirement in ids:
                tests[requirement][node.split("[")[0]][node] = self.outcomes.get(node, "not run")
        return tests


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("validation", "requirements and the tests that prove them")
    group.addoption("--validation", metavar="FILE", help="fail when FILE differs from what the run found")
    group.addoption("--requirements", metavar="FILE", default=str(REQUIREMENTS), help="the requirements")
    group.addoption("--write-validation", metavar="FILE", help="write what the run found to FILE")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(config), "requirements")


class Recorder:
    """Hears of every test, on a worker, the controller, or alone."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.found = Found()
        self.complaints: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note what is collected, before any of it is deselected."""
        for item in items:
            ids = [str(name) for mark in item.iter_markers("requirement") for name in mark.args]
            if ids:
                self.found.names[item.nodeid] = tuple(dict.fromkeys(ids))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst of setup, call and teardown; a call alone can pass."""
        before = self.found.outcomes.get(report.nodeid)
        if report.failed:
            self.found.outcomes[report.nodeid] = "failed"
        elif report.skipped and before != "failed":
            self.found.outcomes[report.nodeid] = "skipped"
        elif report.when == "call" and before is None:
            self.found.outcomes[report.nodeid] = "passed"

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker collected."""
        self.found.names.update(getattr(node, "workeroutput", {}).get("requirements", {}))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output["requirements"] = self.found.names
            return
        compare, write = self.config.getoption("validation"), self.config.getoption("write_validation")
        if compare or write:
            requirements = read_requirements(Path(self.config.getoption("requirements")))
            tests = self.found.tests()
            self.complaints = complaints(requirements, tests)
            text = page(requirements, tests)
            if write:
                Path(write).write_text(text, encoding="utf-8")
            elif stale := difference(Path(compare), text):
                self.complaints += [
                    f"{compare} differs from what this run found: run make validation",
                    *stale,
                ]
            if self.complaints:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.complaints:
            terminalreporter.section("requirements")
            for line in self.complaints:
                terminalreporter.write_line(line)


def read_requirements(path: Path = REQUIREMENTS) -> list[dict[str, str]]:
    """Return the requirements in their order."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def result(tests: Tests) -> str:
    """Return FAILED, NOT TESTED or PASSED, from the outcomes of a requirement's tests."""
    outcomes = {outcome for cases in tests.values() for outcome in cases.values()}
    if "failed" in outcomes:
        return "FAILED"
    return "PASSED" if outcomes == {"passed"} else "NOT TESTED"


def complaints(requirements: Iterable[Mapping[str, str]], tests: Mapping[str, Tests]) -> list[str]:
    """Return what keeps the requirements from being proven: none, one that failed or did not run, an unknown one."""
    known = [row["id"] for row in requirements]
    lines = [f"{name}: {said}" for name in known if (said := result(tests.get(name, {}))) != "PASSED"]
    return lines + [
        f"{name}: named by a test, not in docs/requirements.csv" for name in sorted({*tests} - {*known})
    ]


def difference(path: Path, text: str) -> list[str]:
    """Return the lines in which the page at `path` and `text` differ, thirty at the most."""
    held = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    changed = difflib.unified_diff(held, text.splitlines(), "committed", "found", lineterm="", n=0)
    return list(changed)[:30]


def page(requirements: Iterable[Mapping[str, str]], tests: Mapping[str, Tests]) -> str:
    """Return docs/validation.md."""
    rows = list(requirements)
    by_result: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_result[result(tests.get(row["id"], {}))].append(row["id"])
    names = {name for found in tests.values() for name in found}
    cases = {node for found in tests.values() for nodes in found.values() for node in nodes}
    lines = ["# Validation", "", NOTE, "", READING, ""]
    lines += [
        "| requirements | passed | failed | not tested | tests | cases of them |",
        "|---|---|---|---|---|---|",
    ]
    counts = [len(by_result[name]) for name in ("PASSED", "FAILED", "NOT TESTED")]
    cells = [len(rows), *counts, len(names), len(cases)]
    lines += ["| " + " | ".join(str(cell) for cell in cells) + " |", ""]
    lines += [f"Requirements that are not proven: {_listed(by_result['FAILED'] + by_result['NOT TESTED'])}."]
    area = ""
    for row in rows:
        if row["area"] != area:
            area = row["area"]
            lines += ["", f"## {area}"]
        lines += ["", *_requirement(row, tests.get(row["id"], {}))]
    return "\n".join(lines) + "\n"


def _listed(names: list[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _requirement(row: Mapping[str, str], tests: Tests) -> list[str]:
    models = ", ".join(f"`{name}`" for name in row["model"].split())
    lines = [
        f"### {row['id']}: {result(tests)}", "", row["requirement"], "",
        f"Source: {row['source']}. Model: {models}. Risk: {row['risk']}.", "",
    ]  # fmt: skip
    return lines + ([_test(name, cases) for name, cases in sorted(tests.items())] or ["- no test"])


def _test(name: str, cases: Mapping[str, str]) -> str:
    """Return one line: the worst outcome, the fact that the test is named after, and the file."""
    path, _, rest = name.partition("::")
    fact = rest.split("::")[-1].removeprefix("test_").replace("_", " ")
    counted = f" ({len(cases)} cases)" if len(cases) > 1 else ""
    return f"- {min(cases.values(), key=ORDER.index)}: {fact}{counted}, [{Path(path).name}](../{path})"
