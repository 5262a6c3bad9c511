"""Generated pages: the data dictionary and the rule book, from the files the pipeline itself runs on.

Belongs here: turning suites, models and the dictionary into Markdown. Does not: prose that is kept by hand.
"""

from __future__ import annotations

from pathlib import Path

from msc_pipeline import gate, models
from msc_pipeline.errors import PermanentError
from msc_pipeline.suites import Suite, load_all

NOTE = "<!-- Written by `msc docs`. Edit the sources, not this page. -->"


def write_docs(project: Path, *, check_only: bool = False) -> list[str]:
    """Write docs/data-dictionary.md and docs/rule-book.md; return their paths.

    Raises: PermanentError DOCS_STALE with `check_only` when a page differs from its sources.
    """
    pages = {"data-dictionary.md": data_dictionary(project), "rule-book.md": rule_book(project)}
    folder = project / "docs"
    stale = [
        n for n, t in pages.items() if not (folder / n).is_file() or (folder / n).read_text("utf-8") != t
    ]
    if check_only and stale:
        raise PermanentError("DOCS_STALE", ", ".join(stale), hint="run msc docs")
    if not check_only:
        folder.mkdir(exist_ok=True)
        for name in stale:
            (folder / name).write_text(pages[name], encoding="utf-8")
    return [f"docs/{name}" for name in pages]


def data_dictionary(project: Path) -> str:
    """Return the page of every open table: label, grain, source, columns."""
    dictionary = gate.load_dictionary(project)
    found = {m.name: m for m in models.load_models(project, "derived", "curated", "dsmb")}
    lines = [
        "# Data dictionary",
        "",
        NOTE,
        "",
        "Every table and column of an open release. Nothing else is open.",
    ]
    for table, entries in dictionary.columns.items():
        lines += ["", f"## {table}", "", dictionary.labels[table], ""]
        if model := found.get(table):
            lines += [
                f"Grain: one row per {', '.join(model.grain)}. Units: {model.units}. Source: {model.source}.",
                "",
            ]
        lines += ["| column | type | unit | meaning |", "|---|---|---|---|"]
        lines += [f"| {e.name} | {e.type} | {_cell(e.unit)} | {_cell(e.label)} |" for e in entries]
    return "\n".join(lines) + "\n"


def rule_book(project: Path) -> str:
    """Return the page of every rule: id, severity, sentence, reason, source."""
    lines = [
        "# Rule book", "", NOTE, "",
        "critical: the row goes to quarantine (for rules of a whole file: the file is rejected; for rules `X-`: the "
        "row is held). warning: accepted, and a query opens (for rules `X-SITE`: about the site as a whole). "
        "info: counted.",
    ]  # fmt: skip
    for name, suite in sorted(load_all(project).items()):
        lines += ["", f"## {name}", "", "| rule | severity | says | why | source |", "|---|---|---|---|---|"]
        lines += _rules(suite)
    return "\n".join(lines) + "\n"


def _rules(suite: Suite) -> list[str]:
    return [
        f"| {r.id} | {r.severity} | {_cell(r.meta.says)} | {_cell(r.meta.why)} | {_cell(r.meta.source)} |"
        for r in suite.rules
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
