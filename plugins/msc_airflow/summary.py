"""What one `run` of the embedded stack came to: shown on the terminal, and compared with what was planted.

Belongs here: reading the ledger and the release for people. Does not: any count of its own making.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from rich.table import Table

from msc_airflow.progress import console, plain, say
from msc_airflow.rest import Api
from msc_pipeline import ledger as book
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import current
from msc_pipeline.settings import Settings
from msc_pipeline.study import load_study

if TYPE_CHECKING:
    from msc_pipeline.sample import SampleReport

IN_USE = ("ACCEPTED", "PARTIAL")
MOST = 12
"""Lines of one kind; what is longer is in the ledger (`msc deliveries`)."""
RED = ("failed", "upstream_failed")
QUESTIONS = {
    "Who is in the study?": "select SITEID, screened, screen_failures, dosed, completed, discontinued, deaths "
    "from dsmb.enrolment order by SITEID = 'ALL', SITEID",
    "How does ALT move?": "select AVISIT, AVALU, n, round(mean, 1) as mean, round(sd, 1) as sd, median, max, "
    "round(chg_mean, 1) as chg_mean from dsmb.lab_summary where PARAMCD = 'ALT' order by AVISITN",
    "What became of every row?": "select DOMAIN, deliveries, deliveries_rejected as rejected, rows_in, "
    "rows_accepted, rows_quarantined, rows_held from dsmb.data_quality order by DOMAIN = 'ALL', DOMAIN",
}


def system_faults(api: Api, dag_ids: tuple[str, ...]) -> list[str]:
    """Return what failed in the DAGs' runs, except verdicts: those are about a file, and expected."""
    faults = []
    for dag_id in dag_ids:
        for run_id in sorted(api.run_ids(dag_id)):
            red = [one for one in api.instances(dag_id, run_id) if one["state"] in RED]
            faults += [
                f"{dag_id}: task {one['task_id']} {one['rendered_map_index'] or ''} {one['state']}"
                for one in red
                if one["task_id"] != "verdict"
            ]
    return faults


def deliveries(study_id: str, settings: Settings) -> list[dict[str, Any]]:
    """Return every delivery of a study as the ledger knows it, by id."""
    d = book.deliveries
    return Ledger(settings.ledger).rows(sa.select(d).where(d.c.study == study_id).order_by(d.c.id))


def unexpected(rows: list[dict[str, Any]], report: SampleReport) -> list[str]:
    """Return where outcomes or row sums differ from what the sample report says was written."""
    planted = {file.file: file.expected for file in report.planted}
    wrong = []
    for row in rows:
        name = f"{row['site']}/{row['file']}"
        allowed = (planted[name],) if name in planted else IN_USE
        if row["status"] not in allowed:
            wrong.append(f"{name} is {row['status']} {row['code'] or ''}, expected {' or '.join(allowed)}")
        if row["status"] in IN_USE and row["rows_in"] != row["accepted"] + row["quarantined"]:
            wrong.append(f"{name}: accepted and quarantined rows do not add up to {row['rows_in']}")
    if len(rows) != report.files:
        wrong.append(f"{len(rows)} deliveries for {report.files} files")
    written = sum(domain.exported for domain in report.domains)
    read = sum(row["rows_in"] for row in rows if f"{row['site']}/{row['file']}" not in planted)
    if read != written:
        wrong.append(f"{read} rows read of {written} written")
    return wrong


def show(study_id: str, settings: Settings, report: SampleReport, faults: list[str]) -> int:
    """Print the summary. Returns: 0 when a release exists and every outcome is the expected one, else 1."""
    rows = deliveries(study_id, settings)
    release = current(study_id, settings)
    wrong = [*faults, *unexpected(rows, report)]
    if release is None or not release.is_file():
        wrong.append("there is no release")
    _show_sites(study_id, rows)
    _show_refused(rows)
    if release is not None and release.is_file():
        say(f"\n[bold]Release[/bold] {plain(release.parent.name)}: {plain(release)}")
        for question, sql in QUESTIONS.items():
            _show_answer(study_id, settings, question, sql)
    for line in wrong[:MOST]:
        say(f"[red]not as expected:[/red] {plain(line)}")
    if len(wrong) > MOST:
        say(f"[red]and {len(wrong) - MOST} more[/red]")
    return 1 if wrong else 0


def _show_sites(study_id: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"{study_id}: rows by site", title_justify="left", title_style="bold")
    table.add_column("site")
    for name in ("files", "accepted", "quarantined", "rejected"):
        table.add_column(name, justify="right")
    sites = sorted({row["site"] for row in rows})
    for site in (*sites, ""):
        mine = [row for row in rows if site in ("", row["site"])]
        counts = (
            len(mine),
            sum(row["accepted"] for row in mine if row["status"] in IN_USE),
            sum(row["quarantined"] for row in mine if row["status"] in IN_USE),
            sum(row["rows_in"] for row in mine if row["status"] not in IN_USE),
        )
        if not site:
            table.add_section()
        table.add_row(site or "all", *(f"{count:,}" for count in counts), style="" if site else "bold")
    console.print(table)


def _show_refused(rows: list[dict[str, Any]]) -> None:
    for row in [row for row in rows if row["status"] not in IN_USE][:MOST]:
        name = f"{row['site']} · {row['file']}"
        say(f"[red]{row['status']}[/red] {plain(name)}: {plain(row['code'])}. {plain(row['reason'] or '')}")


def _show_answer(study_id: str, settings: Settings, question: str, sql: str) -> None:
    from msc_pipeline.asking import ask

    answer = ask(load_study(study_id, settings.project), sql, settings)
    table = Table(title=question, title_justify="left", title_style="bold", box=None, padding=(0, 1, 0, 0))
    for field in answer.schema:
        table.add_column(field.name, justify="left" if str(field.type) == "string" else "right")
    for row in answer.to_pylist():
        table.add_row(*("" if value is None else plain(_text(value)) for value in row.values()))
    say("")
    console.print(table)
    say(f'[dim]msc query --study {study_id} "{plain(sql)}"[/dim]')


def _text(value: object) -> str:
    text = str(value)
    return text.rstrip("0").rstrip(".") if "." in text else text
