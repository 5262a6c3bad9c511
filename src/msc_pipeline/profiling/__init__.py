"""Profiling: a site's first file → a proposed profile, and what a person must decide.

Belongs here: looking through a file without landing it. Does not: decide; what the file does not say is a
question, and a profile that leaves it open refuses the file rather than misread it.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from msc_pipeline import cdisc
from msc_pipeline.errors import DeliveryRejected, UsageError
from msc_pipeline.profiles import FORMATS, Profile
from msc_pipeline.profiling.cells import describe_dates, describe_numbers
from msc_pipeline.profiling.codes import UNIT_TABLES, describe_codes, describe_units
from msc_pipeline.profiling.matching import INSTRUMENT, match_columns
from msc_pipeline.profiling.names import known_name
from msc_pipeline.profiling.proposal import Column, Proposal, Question
from msc_pipeline.profiling.text_form import describe_text
from msc_pipeline.readers import OPENERS
from msc_pipeline.readers.raw import RawBatch, RawTable
from msc_pipeline.readers.workbook import sheet_names
from msc_pipeline.study import Study

__all__ = ["Proposal", "Question", "as_dict", "as_yaml", "propose"]

MAX_ROWS = 100_000
WIDTH = 100
MAGIC = (
    (b"\xd0\xcf\x11\xe0", "xlsx"),
    (b"PK\x03\x04", "xlsx"),
    (b"PAR1", "parquet"),
    (b"HEADER RECORD*******", "xpt"),
)


def propose(file: Path, project: Path, study: Study | None = None, domain: str = "") -> Proposal:
    """Look through one export and propose a profile.

    Raises: DeliveryRejected when the file cannot be opened whatever a profile says, as with a hidden sheet;
    UsageError DOMAIN_UNKNOWN.
    """
    known = tuple(study.domains) if study else cdisc.DOMAINS
    if domain and domain not in known:
        raise UsageError("DOMAIN_UNKNOWN", f"{domain} is not collected", hint=", ".join(known))
    proposal = Proposal(file.name, domain or _domain(file.name))
    form = _format(file, proposal)
    proposal.fields["format"] = form
    if form == "csv":
        describe_text(file, proposal)
    table = _opened(file, proposal)
    columns = [Column(i, name) for i, name in enumerate(table.header)]
    if not any(known_name(c.name) for c in columns):
        says = (
            "The first line holds no known name of a column. Is it the header? Its content is not shown here."
        )
        proposal.ask("HEADER", says)
        return proposal
    if any(c.name in {"redcap_event_name", INSTRUMENT} for c in columns):
        proposal.fields |= {"format": "redcap", "redcap": {"instruments": {}}}
    if not proposal.domain:
        proposal.ask("DOMAIN", "The file's name tells no domain. Name it with --domain.", None, cdisc.DOMAINS)
        return proposal
    _look_through(table, columns, proposal, study, project)
    _file_name(file.name, proposal)
    Profile(**proposal.fields)
    return proposal


def _look_through(
    table: RawTable, columns: list[Column], proposal: Proposal, study: Study | None, project: Path
) -> None:
    batches = _read(table, columns, proposal)
    match_columns(columns, proposal, study)
    describe_dates(columns, proposal)
    describe_numbers(columns, proposal)
    describe_codes(columns, proposal, study)
    at = {c.standard: c.at for c in columns}
    test, unit, result = (at.get(f"{proposal.domain}{end}") for end in ("TESTCD", "ORRESU", "ORRES"))
    if proposal.domain in UNIT_TABLES and test is not None and unit is not None and result is not None:
        sent = Counter[tuple[str, str]]()
        for batch in batches:
            three = (batch.cells[i].to_pylist() for i in (test, unit, result))
            sent.update((t, u or "") for t, u, r in zip(*three, strict=True) if t and r)
        describe_units(sent, proposal, study, project)


def _read(table: RawTable, columns: list[Column], proposal: Proposal) -> list[RawBatch]:
    """Fill the columns' cells from the first rows; return those rows."""
    batches, faults = list[RawBatch](), Counter[str]()
    for batch in table.batches(frozenset(range(len(columns)))):
        batches.append(batch)
        proposal.rows += len(batch.lines)
        faults.update(fault for fault in batch.faults.to_pylist() if fault)
        for column, cells in zip(columns, batch.cells, strict=True):
            for found in cells.value_counts():
                column.cells[found["values"].as_py() or ""] += found["counts"].as_py()
        if proposal.rows >= MAX_ROWS:
            proposal.ask(
                "SAMPLE",
                f"Only the first {proposal.rows} rows were looked through. Does the rest look alike?",
            )
            break
    if faults:
        said = ", ".join(f"{n} {fault}" for fault, n in sorted(faults.items()))
        proposal.ask("ROWS", f"Rows that cannot be read: {said}. Is the delimiter right, is the file whole?")
    return batches


def _format(file: Path, proposal: Proposal) -> str:
    """Return the format by the file's first bytes; the extension decides among texts."""
    with file.open("rb") as raw:
        start = raw.read(21)
    by_name = next((f for f, ends in FORMATS.items() if file.name.lower().endswith(ends)), "")
    text = "dataset-json" if by_name == "dataset-json" or start.lstrip()[:1] == b"{" else "csv"
    form = next((form for magic, form in MAGIC if start.startswith(magic)), text)
    if form != by_name:
        proposal.ask("FORMAT", f"The name does not say what the content is: {form}. Will every file come so?")
    return form


def _opened(file: Path, proposal: Proposal) -> RawTable:
    """Open the file as proposed; where a workbook has several sheets, ask, and look through the first."""
    module, function = OPENERS[proposal.fields["format"]]
    opener = getattr(import_module(f"msc_pipeline.readers.{module}"), function)
    try:
        table: RawTable = opener(file, Profile(**proposal.fields))
    except DeliveryRejected as fault:
        if fault.code != "SHEET":
            raise
        names = sheet_names(file)
        proposal.ask(
            "SHEET",
            "The workbook has several sheets: which holds the data? The first was looked at.",
            None,
            names,
        )
        proposal.fields["sheet"] = names[0]
        table = opener(file, Profile(**proposal.fields))
    return table


def _domain(name: str) -> str:
    """Return the domain that a file's name begins with, or nothing."""
    found = re.match(r"([a-z]{2})_", name.lower())
    return found[1].upper() if found and found[1].upper() in cdisc.DOMAINS else ""


def _file_name(name: str, proposal: Proposal) -> None:
    if not name.lower().startswith(f"{proposal.domain.lower()}_"):
        like = re.sub(r"\d+", "*", name)
        proposal.ask(
            "FILES",
            f"The name does not begin with {proposal.domain.lower()}_. Which names are {proposal.domain}?",
            None,
            (like,),
        )
    if re.search(r"\d", name.split(".", maxsplit=1)[0]):
        says = "Does a number or date in the names order corrections? Then give `sequence`, with one group around it."
        proposal.ask("SEQUENCE", says)


def as_dict(proposal: Proposal) -> dict[str, Any]:
    """Return a proposal for machines."""
    asked = [
        {"code": q.code, "column": q.column or None, "says": q.says, "choices": list(q.choices)}
        for q in proposal.questions
    ]
    return {
        "file": proposal.file, "domain": proposal.domain, "rows": proposal.rows,
        "profile": proposal.fields, "questions": asked,
    }  # fmt: skip


def as_yaml(proposal: Proposal) -> str:
    """Return a profile as YAML; the questions stand above it, as comments."""
    lines = [
        f"Proposed from one file ({proposal.fields['format']}, {proposal.rows} rows).",
        "Put it under `profiles:` of study.yaml, once the questions are settled.",
    ]
    if proposal.questions:
        lines += ["", "A person must decide:"]
    for i, question in enumerate(proposal.questions, 1):
        choices = f" One of: {', '.join(question.choices)}." if question.choices else ""
        text = f"{i}. {question.code}: {question.says}{choices}"
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="   ", break_long_words=False)
    comments = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return comments + yaml.safe_dump(proposal.fields, sort_keys=False, allow_unicode=True, width=WIDTH)
