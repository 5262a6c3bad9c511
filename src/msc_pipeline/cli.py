"""The command line: one command a step, each one call; exit codes come from the errors.

Belongs here: options, printing, exit codes. Does not: work.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from msc_pipeline.errors import PipelineError, UsageError
from msc_pipeline.settings import Settings
from msc_pipeline.study import Study, load_study, study_ids

if TYPE_CHECKING:
    import pyarrow as pa

app = typer.Typer(
    name="msc", help="Site exports of a blinded trial → a validated, curated DuckDB release.",
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
)  # fmt: skip
deliveries_app = typer.Typer(
    help="Deliveries: what came, and what became of it.", invoke_without_command=True
)
app.add_typer(deliveries_app, name="deliveries")

StudyOption = Annotated[str, typer.Option("--study", help="Study id: a folder of studies/.")]
HomeOption = Annotated[Path | None, typer.Option("--home", help="Folder of curated data; default MSC_HOME.")]
LandingOption = Annotated[
    Path | None, typer.Option("--landing", help="Folder above <study>/<SITEID>/; default MSC_LANDING.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
SiteOption = Annotated[str, typer.Option("--site", help="SITEID; every site when left out.")]


def main() -> None:
    """Run the command line; turn our errors into one line and their exit code."""
    try:
        app()
    except PipelineError as error:
        typer.secho(str(error), err=True, fg="red")
        sys.exit(error.exit_code)


@app.callback()
def _set_up(verbose: Annotated[bool, typer.Option("--verbose", help="Log every step.")] = False) -> None:
    from msc_pipeline import log

    log.to_terminal(verbose)


@app.command()
def sample(  # noqa: PLR0913 - its options
    study: StudyOption,
    landing: Annotated[Path, typer.Option("--landing", help="Folder to write <study>/<SITEID>/ exports to.")],
    scale: Annotated[int, typer.Option(min=1, help="Times as many subjects, for benchmarks.")] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Another simulated trial; default: the study's own seed.")
    ] = None,
    closed: Annotated[
        Path | None,
        typer.Option(help="Folder for what tells the arm; default: `closed` beside the landing folder."),
    ] = None,
    plant_bad_file: Annotated[
        bool, typer.Option(help="Add faulty files, to see a rejection and quarantine.")
    ] = False,
    mess: Annotated[
        float, typer.Option(min=0, max=1, help="Share of what could be dirty, in a simulated trial.")
    ] = 0,
    truth: Annotated[
        Path | None, typer.Option(help="File to tell what is planted; never in the landing folder.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Write a trial's data as per-site exports; what would tell the arm goes to the closed list."""
    from msc_pipeline.sample import write_sample

    aside = closed or landing.resolve().parent / "closed"
    report = write_sample(
        _study(study), landing, closed=aside, scale=scale, seed=seed, plant_bad_file=plant_bad_file,
        mess=mess, truth=truth, project=Settings.from_env().project,
    )  # fmt: skip
    _show(report.as_dict(), json_)


@app.command()
def run(
    study: StudyOption,
    landing: LandingOption = None,
    home: HomeOption = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Processes for the steps that go site by site.")
    ] = os.cpu_count() or 1,
    json_: JsonOption = False,
) -> None:
    """Do every step once, without Airflow. Exit 0 released; 3 released, with rejected or held deliveries."""
    from msc_pipeline.pipeline import run as run_all

    settings = Settings.from_env(home=home, landing=landing)
    progress = None if json_ or not sys.stderr.isatty() else _tick
    report = run_all(study, settings, jobs=jobs, progress=progress)
    if json_:
        typer.echo(json.dumps(report))
    else:
        _print_run(report)
    if any(d["status"] in ("REJECTED", "HELD") for d in report["deliveries"]):
        raise typer.Exit(3)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The export to try.")],
    study: StudyOption,
    site: Annotated[str, typer.Option("--site", help="SITEID.")],
    domain: Annotated[
        str, typer.Option("--domain", help="Domain, when the file name does not tell it.")
    ] = "",
    json_: JsonOption = False,
) -> None:
    """Say what would happen to a file; nothing is stored. Exit 0 it would be used; 3 rejected, or rows quarantined."""
    from msc_pipeline.trying import as_rows, in_words, try_file

    report = try_file(_study(study), site, file, Settings.from_env(), domain=domain.upper())
    if json_:
        typer.echo(json.dumps(report))
    else:
        typer.echo(f"{report['file']}, site {site}, {report['domain'] or 'no domain'}")
        typer.echo(in_words(report))
        if report["rules"]:
            _rows(as_rows(report), False)
    if report["status"] != "ACCEPTED":
        raise typer.Exit(3)


@app.command()
def profile(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A site's export.")],
    study: Annotated[
        str, typer.Option("--study", help="Study id: its columns, visits, codes and units.")
    ] = "",
    domain: Annotated[
        str, typer.Option("--domain", help="Domain, when the file name does not tell it.")
    ] = "",
    json_: JsonOption = False,
) -> None:
    """Propose a site profile from a file, and list what a person must decide. No cell but codes is shown."""
    from msc_pipeline.profiling import as_dict, as_yaml, propose

    settings = Settings.from_env()
    known = _study(study) if study else None
    proposal = propose(file, settings.project, known, domain.upper())
    typer.echo(json.dumps(as_dict(proposal)) if json_ else as_yaml(proposal), nl=json_)


@app.command()
def land(
    study: StudyOption, site: SiteOption = "", landing: LandingOption = None, home: HomeOption = None
) -> None:
    """Take what waits in the landing folder; print delivery ids."""
    from msc_pipeline import pipeline

    settings = Settings.from_env(home=home, landing=landing)
    for name in [site] if site else [s["site"] for s in pipeline.sites_waiting(study, settings)]:
        for id_ in pipeline.land(study, name, settings):
            typer.echo(f"{id_}\t{pipeline.delivery_label(study, id_, settings)}")


@app.command()
def stage(study: StudyOption, home: HomeOption = None) -> None:
    """Turn every landed delivery into a staged part."""
    _on_undecided("stage", study, Settings.from_env(home=home))


@app.command()
def validate(study: StudyOption, home: HomeOption = None) -> None:
    """Judge every staged delivery, and decide what is in use."""
    _on_undecided("validate", study, Settings.from_env(home=home))


@app.command()
def curate(
    study: StudyOption,
    home: HomeOption = None,
    jobs: Annotated[int, typer.Option(min=1, help="Sites at a time.")] = os.cpu_count() or 1,
) -> None:
    """Apply cross-domain rules and make the curated tables of sites that changed."""
    from msc_pipeline import pipeline

    settings = Settings.from_env(home=home)
    stale = pipeline.hold(study, settings)
    for made in pipeline.curate_sites(study, stale, settings, jobs=jobs):
        typer.echo(f"{made['site']}\t{made['tables']} tables\t{made['rows']} rows")


@app.command()
def publish(study: StudyOption, home: HomeOption = None, json_: JsonOption = False) -> None:
    """Publish what is curated as a release."""
    from msc_pipeline import pipeline

    _show(pipeline.publish(study, Settings.from_env(home=home)), json_)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT on curated.*, dsmb.* or ops.*.")],
    study: Annotated[str, typer.Option("--study", help="Needed where the home holds more than one.")] = "",
    home: HomeOption = None,
    format_: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
) -> None:
    """Ask the current open release one question, read-only."""
    from msc_pipeline.asking import ask

    settings = Settings.from_env(home=home)
    _print_table(ask(_study(_picked(study, settings)), sql, settings), format_)


@deliveries_app.callback()
def deliveries(
    context: typer.Context,
    study: Annotated[str, typer.Option("--study", help="Study id.")] = "",
    site: SiteOption = "",
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """List deliveries with status, counts and reason."""
    if context.invoked_subcommand is None:
        from msc_pipeline.listing import deliveries_of

        settings = Settings.from_env(home=home)
        _rows(deliveries_of(_picked(study, settings), site, settings), json_)


@deliveries_app.command("accept")
def accept(
    delivery: Annotated[int, typer.Argument(help="Id of a HELD delivery.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it is right; goes into the audit trail.")],
    study: StudyOption,
    home: HomeOption = None,
) -> None:
    """Let a HELD delivery through."""
    from msc_pipeline.corrections import let_through

    let_through(_study(study), delivery, reason, Settings.from_env(home=home))
    typer.echo(f"delivery {delivery} is in use; the next run curates it")


@app.command()
def queries(
    study: Annotated[str, typer.Option("--study", help="Study id.")] = "",
    site: SiteOption = "",
    all_: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """List open queries: what a site has to look at, with the rule's sentence."""
    from msc_pipeline.listing import queries_of

    settings = Settings.from_env(home=home)
    _rows(queries_of(_picked(study, settings), site, settings, closed=all_), json_)


@app.command()
def verify(
    study: Annotated[
        str, typer.Option("--study", help="Study id; every study of the home when left out.")
    ] = "",
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Compare every stored file with the ledger and walk the audit chain. Exit 1 when anything differs."""
    from msc_pipeline import pipeline

    settings = Settings.from_env(home=home)
    names = [study] if study else _studies_here(settings)
    if not names:
        raise UsageError("STUDY_NEEDED", "no study in this home", hint="is --home right?")
    for name in names:
        _show({"study": name, **pipeline.verify(name, settings)}, json_)


@app.command()
def repair(
    study: StudyOption,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Build again, from raw, what verify finds damaged. Exit 0 all is sound; 1 something only a backup brings back."""
    from msc_pipeline.repair import repair_study

    report = repair_study(_study(study), Settings.from_env(home=home))
    if json_:
        typer.echo(json.dumps(report))
    else:
        for place in report["repaired"]:
            typer.echo(f"repaired {place}")
        for left in report["left"]:
            typer.echo(f"left     {left['place']}: {left['why']}. Next: {left['next']}.")
        typer.echo(f"{len(report['repaired'])} repaired, {len(report['left'])} left")
    if report["left"]:
        raise typer.Exit(1)


@app.command()
def docs(
    check_only: Annotated[bool, typer.Option("--check", help="Exit 1 when the pages are stale.")] = False,
) -> None:
    """Write the data dictionary and the rule book into docs/."""
    from msc_pipeline.docs import write_docs

    for path in write_docs(Settings.from_env().project, check_only=check_only):
        typer.echo(path)


@app.command()
def bench(
    study: StudyOption,
    scale: Annotated[int, typer.Option(min=1, help="Times as many subjects as the public trial.")] = 17,
    folder: Annotated[Path, typer.Option(help="Scratch folder; emptied first.")] = Path(".run/bench"),
    jobs: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    one_file: Annotated[
        bool, typer.Option(help="One file of all lab rows: landing and staging beside DuckDB's own copy.")
    ] = False,
    repeats: Annotated[int, typer.Option(min=1, help="How often, with --one-file.")] = 3,
) -> None:
    """Time each step and the memory it takes, first on all sites, then with one new site file."""
    from msc_pipeline.bench import run_bench, run_file_bench

    chosen = _study(study)
    records = (
        run_file_bench(chosen, scale, folder, repeats) if one_file else run_bench(chosen, scale, folder, jobs)
    )
    for line in records:
        typer.echo(json.dumps(line))


def _study(study_id: str) -> Study:
    return load_study(study_id, Settings.from_env().project)


def _studies_here(settings: Settings) -> list[str]:
    return [name for name in study_ids(settings.project) if (settings.home / name).is_dir()]


def _picked(study_id: str, settings: Settings) -> str:
    """Return a study that exists: the one named, or the only one of the home."""
    if study_id:
        return _study(study_id).id
    found = _studies_here(settings)
    if len(found) != 1:
        raise UsageError("STUDY_NEEDED", f"{len(found)} studies in this home", hint="name one with --study")
    return found[0]


def _on_undecided(step: str, study: str, settings: Settings) -> None:
    from msc_pipeline import pipeline
    from msc_pipeline.listing import undecided

    for site, ids in undecided(_study(study).id, settings).items():
        getattr(pipeline, step)(study, ids, settings)
        if step == "validate":
            pipeline.commit(study, site, ids, settings)
        typer.echo(f"{site}\t{len(ids)} deliveries")


def _tick(step: str, site: str) -> None:
    typer.secho(f"{step} {site}".rstrip(), err=True, dim=True)


def _show(values: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(values))
    else:
        for name, value in values.items():
            typer.echo(f"{name}: {value}")


def _rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    import pyarrow as pa

    if as_json:
        typer.echo(json.dumps(rows))
    elif rows:
        _print_table(pa.Table.from_pylist(rows), "table")
    else:
        typer.echo("none")


def _print_run(report: dict[str, Any]) -> None:
    names = ("id", "site", "domain", "file", "status", "rows_in", "accepted", "quarantined", "reason")
    _rows([{name: d[name] for name in names} for d in report["deliveries"]], False)
    typer.echo(f"release {report['release']}" + ("" if report["new"] else " (unchanged)"))


def _print_table(table: pa.Table, format_: str) -> None:
    if format_ == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, sys.stdout.buffer)
    elif format_ == "json":
        if len(set(table.column_names)) < table.num_columns:
            raise UsageError("SAME_NAME", "two columns have the same name", hint="name them with `as`")
        typer.echo(json.dumps(table.to_pylist(), default=str))
    elif format_ == "csv":
        for row in chain([table.column_names], _values(table)):
            typer.echo(_csv_line(row))
    elif format_ == "table":
        _print_grid(table)
    else:
        raise UsageError("FORMAT", f"no format {format_}", hint="table, csv, json or parquet")


def _print_grid(table: pa.Table) -> None:
    """Print every character of every cell: no markup, no emoji codes, nothing cut off, no control characters."""
    from rich.console import Console
    from rich.table import Table

    grid = Table()
    for name in table.column_names:
        grid.add_column(_printable(name), overflow="fold")
    for row in _values(table):
        grid.add_row(*(_printable(value) for value in row))
    width = None if sys.stdout.isatty() else 200
    Console(width=width, markup=False, emoji=False, highlight=False).print(grid)


def _values(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """Yield rows by position: an answer may hold two columns of one name."""
    return zip(*(column.to_pylist() for column in table.columns), strict=True)


def _printable(value: Any) -> str:
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _csv_line(values: Iterable[Any]) -> str:
    """Return one record. The csv module leaves a carriage return bare unless a record ends with one, too."""
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerow([_spreadsheet_safe(value) for value in values])
    return out.getvalue().removesuffix("\r\n")


def _spreadsheet_safe(value: Any) -> Any:
    """Keep a spreadsheet from running a cell that a site wrote as a formula."""
    return "'" + value if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


if __name__ == "__main__":
    main()
