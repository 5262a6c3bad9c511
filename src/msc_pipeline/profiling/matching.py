"""Columns: which stands for which standard name, which is not for this study, which may tell the arm.

Belongs here: names first, cells only where a name may mean two things. Does not: what cells say otherwise.
"""

from __future__ import annotations

import re

from msc_pipeline import cdisc
from msc_pipeline.profiling.codes import known_tests
from msc_pipeline.profiling.names import DERIVED, may_tell_arm, plain, usual_names
from msc_pipeline.profiling.proposal import Column, Proposal, showable
from msc_pipeline.study import Study

INSTRUMENT = "redcap_repeat_instrument"
REDCAP = {
    "record_id": ("USUBJID",),
    "redcap_event_name": ("VISIT", "VISITNUM"),
    "redcap_repeat_instance": ("--SEQ",),
}
"""Columns that every REDCap export has → what they stand for."""


def match_columns(columns: list[Column], proposal: Proposal, study: Study | None) -> None:
    """Give each column its standard name, or ask; propose `columns` and `drop`."""
    _name(columns, proposal, study)
    mapped = {
        c.name: [c.standard, c.also] if c.also else c.standard
        for c in columns
        if c.standard not in ("", c.name)
    }
    if mapped:
        proposal.fields["columns"] = mapped
    derived = [c.name for c in columns if not c.standard and DERIVED.fullmatch(c.name.strip().upper())]
    if derived:
        proposal.fields["drop"] = derived
    for column in columns:
        if not column.standard and column.name not in (*derived, INSTRUMENT):
            _ask_about(column, proposal, study)
    _missing(columns, proposal, study)


def _name(columns: list[Column], proposal: Proposal, study: Study | None) -> None:
    """Give columns their standard names: REDCap's own, the same name, a usual one."""
    wanted = allowed(proposal.domain, study)
    if proposal.fields["format"] == "redcap":
        _match_redcap(columns, proposal, study)
    for column in columns:
        upper = column.name.strip().upper()
        if upper in wanted and not column.standard and all(c.standard != upper for c in columns):
            column.standard = upper
    usual = []
    for column in columns:
        if not column.standard and (name := _by_usual_name(column, columns, proposal, study, wanted)):
            column.standard = name
            usual.append(column)
    if usual:
        pairs = ", ".join(f"{c.shown} is {c.standard}" for c in usual)
        proposal.ask("CONFIRM_COLUMNS", f"Taken by their usual names, to be confirmed: {pairs}.")


def _match_redcap(columns: list[Column], proposal: Proposal, study: Study | None) -> None:
    """Give REDCap's own columns their names; which instrument is the domain's, a person says."""
    for column in columns:
        names = REDCAP.get(column.name, ())
        if names:
            column.standard, column.also = names[0].replace("--", proposal.domain), "".join(names[1:])
        if column.name == INSTRUMENT:
            found = [cell for cell in column.cells if cell]
            says = f"Which instrument holds {proposal.domain}, which are left out? There are: {showable(found, study)}."
            proposal.ask("REDCAP", says, column)
        if column.name == "redcap_event_name":
            found = [cell for cell in column.cells if cell]
            proposal.ask(
                "REDCAP",
                f"Give VISIT and VISITNUM of each event in `values`: {showable(found, study)}.",
                column,
            )


def allowed(domain: str, study: Study | None) -> tuple[str, ...]:
    """Return the columns that may land."""
    if study and domain in study.domains:
        return study.domains[domain].columns
    return cdisc.COLUMNS.get(domain, ())


def _by_usual_name(
    column: Column, columns: list[Column], proposal: Proposal, study: Study | None, wanted: tuple[str, ...]
) -> str:
    taken = {other.standard for other in columns}
    names = [n for n in usual_names(column.name, proposal.domain) if n in wanted and n not in taken]
    if len(names) < 2:
        return names[0] if names else ""
    sure = [name for name in names if _cells_say(name, column, study)]
    if len(sure) == 1:
        return sure[0]
    proposal.ask("COLUMN", f"{column.subject} may stand for more than one.", column, tuple(names))
    return ""


def _cells_say(name: str, column: Column, study: Study | None) -> bool:
    """Say whether the cells can only be of this standard column."""
    cells = [cell for cell in column.cells if cell]
    if study is None or not cells:
        return False
    whole = all(re.match(study.subject_pattern, cell) for cell in cells)
    if name in ("USUBJID", "SUBJID"):
        return whole == (name == "USUBJID")
    known = known_tests(study)
    coded = sum(plain(cell) in known for cell in cells) * 2 >= len(cells)
    return coded == name.endswith("TESTCD")


def _ask_about(column: Column, proposal: Proposal, study: Study | None) -> None:
    if may_tell_arm(column.name) or (study and re.search(study.blinded, column.name)):
        says = "may tell the arm. Ask the site not to send it; put it in `drop` only once that is settled."
        proposal.ask("BLIND", f"{column.subject} {says}", column)
    elif not column.standard and not _asked(column, proposal):
        says = "has no counterpart. Map it in `columns`, or put it in `drop` if it is not needed."
        proposal.ask("COLUMN", f"{column.subject} {says}", column)


def _asked(column: Column, proposal: Proposal) -> bool:
    return any(q.code == "COLUMN" and q.column == column.at + 1 for q in proposal.questions)


def _missing(columns: list[Column], proposal: Proposal, study: Study | None) -> None:
    """Ask for required columns that no column stands for; what the study knows itself is a constant."""
    if study is None or proposal.domain not in study.domains:
        return
    there = {name for c in columns for name in (c.standard, c.also)}
    missing = [name for name in study.domains[proposal.domain].required if name not in there]
    if "STUDYID" in missing:
        missing.remove("STUDYID")
        proposal.fields["constants"] = {"STUDYID": study.STUDYID}
        proposal.ask(
            "CONFIRM_STUDY", f"No column names the study: is every row of every file of {study.STUDYID}?"
        )
    if missing:
        says = "Map each, set it in `constants`, or ask the site for it."
        proposal.ask("MISSING", f"No column stands for {', '.join(missing)}. {says}")
