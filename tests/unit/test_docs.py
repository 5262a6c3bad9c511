"""Generated pages: they list what the pipeline runs on, and a stale page is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from msc_pipeline import gate, models
from msc_pipeline.docs import NOTE, data_dictionary, rule_book, write_docs
from msc_pipeline.errors import PermanentError
from msc_pipeline.settings import PROJECT
from msc_pipeline.suites import load_all


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("sql", "expectations"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    return tmp_path


def test_the_rule_book_lists_every_rule_once_with_its_severity_and_words() -> None:
    lines = rule_book(PROJECT).splitlines()
    for name, suite in load_all(PROJECT).items():
        assert f"## {name}" in lines
        for rule in suite.rules:
            (line,) = [line for line in lines if line.startswith(f"| {rule.id} |")]
            assert f"| {rule.severity} |" in line
            assert rule.meta.says.split("|")[0] in line


def test_the_data_dictionary_lists_every_table_with_its_grain_and_every_column() -> None:
    page = data_dictionary(PROJECT)
    dictionary = gate.load_dictionary(PROJECT)
    sections = {part.splitlines()[0]: part.splitlines() for part in page.split("\n## ")[1:]}
    assert list(sections) == list(dictionary.columns)
    for table, entries in dictionary.columns.items():
        rows = [line for line in sections[table] if line.startswith("| ")][1:]
        assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [entry.name for entry in entries]
    for model in (*models.load_models(PROJECT, "curated"), *models.load_models(PROJECT, "dsmb")):
        assert any(
            line.startswith(f"Grain: one row per {', '.join(model.grain)}. ") for line in sections[model.name]
        )


def test_a_bar_or_line_break_in_a_text_stays_inside_its_cell(project: Path) -> None:
    path = project / "sql" / "reference" / "dictionary.csv"
    path.write_text(path.read_text().replace(",Serious event (Y/N)", ',"Serious | event\nor not"'))
    lines = [x for x in data_dictionary(project).splitlines() if x.startswith("| AESER |")]
    assert lines
    assert all(line.endswith(r"| Serious \| event or not |") for line in lines)


def test_written_pages_pass_the_check_and_are_not_written_again(project: Path) -> None:
    assert write_docs(project) == ["docs/data-dictionary.md", "docs/rule-book.md"]
    pages = {path: path.stat().st_mtime_ns for path in (project / "docs").iterdir()}
    assert all(NOTE in path.read_text() for path in pages)
    assert write_docs(project, check_only=True) == ["docs/data-dictionary.md", "docs/rule-book.md"]
    write_docs(project)
    assert {path: path.stat().st_mtime_ns for path in (project / "docs").iterdir()} == pages


def test_missing_or_stale_pages_fail_the_check_and_are_not_touched(project: Path) -> None:
    with pytest.raises(PermanentError, match=r"DOCS_STALE: data-dictionary.md, rule-book.md"):
        write_docs(project, check_only=True)
    assert not (project / "docs").exists()
    write_docs(project)
    suite = project / "expectations" / "lab" / "structure.yaml"
    suite.write_text(
        suite.read_text().replace("The record names its test.", "The record says which test it is.")
    )
    with pytest.raises(PermanentError, match=r"DOCS_STALE: rule-book.md"):
        write_docs(project, check_only=True)
    write_docs(project)
    assert "The record says which test it is." in (project / "docs" / "rule-book.md").read_text()
