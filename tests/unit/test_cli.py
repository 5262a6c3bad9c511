"""The command line: what it prints, what it exits with, and that an error is one line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from msc_pipeline import asking, bench, cli, corrections, pipeline
from msc_pipeline import sample as sampling
from msc_pipeline.errors import ConfigError, IntegrityError, TransientError, UsageError
from msc_pipeline.settings import Settings
from tiny_trial import FEW_RULES, STUDY, TinyTrial, ae, dm, lb, make_trial, trust_own_scan

GROUP: Any = typer.main.get_command(cli.app)
COMMANDS = sorted(GROUP.commands)


@dataclass(frozen=True)
class Said:
    """What one call of `msc` printed and exited with."""

    exit: int
    out: str
    err: str


Msc = Callable[..., Said]


def use(trial: TinyTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment name a trial's folders, as on a server."""
    for name in ("home", "landing", "project"):
        monkeypatch.setenv(f"MSC_{name.upper()}", str(getattr(trial.settings, name)))


@pytest.fixture
def trial(tmp_path: Path) -> TinyTrial:
    return make_trial(tmp_path, FEW_RULES)


@pytest.fixture
def msc(trial: TinyTrial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Msc:
    """Call the command line as a person would."""
    use(trial, monkeypatch)
    trust_own_scan(monkeypatch)

    def call(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["msc", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return call


def test_the_commands_are_those_that_people_were_told() -> None:
    told = "sample run check land stage validate curate publish query deliveries queries verify docs bench"
    assert set(told.split()) <= set(COMMANDS)


@pytest.mark.parametrize("words", [[], ["deliveries", "accept"], *[[name] for name in COMMANDS]])
def test_every_command_has_help(words: list[str], msc: Msc) -> None:
    said = msc(*words, "--help")
    assert said.exit == 0
    assert "Usage: " in said.out and "--help" in said.out
    command = GROUP
    for word in words:
        command = command.commands[word]
    assert command.help


def test_without_a_command_help_is_shown(msc: Msc) -> None:
    assert "Usage: " in (said := msc()).out + said.err


@pytest.mark.parametrize(
    "words",
    [
        ["fly"],
        ["run"],
        ["run", "--study"],
        ["run", "--study", STUDY, "--jobs", "0"],
        ["check", "nowhere.csv", "--study", STUDY, "--site", "XA"],
        ["check", ".", "--study", STUDY, "--site", "XA"],
        ["query", "--study", STUDY],
        ["deliveries", "accept", "one", "--reason", "x", "--study", STUDY],
        ["deliveries", "accept", "1", "--study", STUDY],
    ],
)
def test_words_that_are_off_exit_with_2(words: list[str], msc: Msc) -> None:
    said = msc(*words)
    assert (said.exit, said.out) == (2, "")
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--study", "nobody"],
        ["land", "--study", "nobody"],
        ["stage", "--study", "nobody"],
        ["validate", "--study", "nobody"],
        ["curate", "--study", "nobody"],
        ["publish", "--study", "nobody"],
        ["verify", "--study", "nobody"],
        ["deliveries", "--study", "nobody"],
        ["queries", "--study", "nobody"],
        ["query", "select 1", "--study", "nobody"],
    ],
)
def test_a_study_that_does_not_exist_exits_with_2_and_makes_no_folder(
    words: list[str], msc: Msc, trial: TinyTrial
) -> None:
    said = msc(*words)
    assert (said.exit, said.out) == (2, "")
    assert said.err == "STUDY_UNKNOWN: no folder studies/nobody (studies here: tiny)\n"
    assert not trial.settings.home.exists()


# --- run


def delivery(status: str, **more: Any) -> dict[str, Any]:
    row = {
        "id": 1,
        "site": "XA",
        "domain": "LB",
        "file": "lb.csv",
        "status": status,
        "code": None,
        "reason": None,
    }
    return {**row, "rows_in": 3, "accepted": 2, "quarantined": 1, **more}


def pretend(monkeypatch: pytest.MonkeyPatch, *deliveries: dict[str, Any], new: bool = True) -> None:
    """Let `run` release at once what these deliveries are."""
    report = {"study": STUDY, "release": "0000001-ab", "new": new, "deliveries": list(deliveries)}

    def run(study: str, settings: Settings, *, jobs: int, progress: Any) -> dict[str, Any]:
        if progress:
            progress("ingest", "XA")
            progress("hold", "")
        return report

    monkeypatch.setattr(pipeline, "run", run)


EXITS = {"ACCEPTED": 0, "PARTIAL": 0, "HELD": 3, "REJECTED": 3}


@pytest.mark.parametrize("status", EXITS)
def test_run_exits_with_0_when_released_and_3_with_rejected_or_held_deliveries(
    status: str, msc: Msc, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, delivery("ACCEPTED"), delivery(status))
    said = msc("run", "--study", STUDY)
    assert said.exit == EXITS[status]
    assert "release 0000001-ab\n" in said.out
    assert status in said.out


def test_run_without_news_says_so(msc: Msc, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, new=False)
    assert msc("run", "--study", STUDY).out == "none\nrelease 0000001-ab (unchanged)\n"


def test_run_for_machines_prints_one_object(msc: Msc, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, delivery("REJECTED", code="QUOTE"))
    said = msc("run", "--study", STUDY, "--json")
    assert said.exit == 3
    report = json.loads(said.out)
    assert {"study", "release", "deliveries"} <= set(report)
    wanted = {"id", "site", "domain", "file", "status", "rows_in", "accepted", "quarantined"}
    assert wanted <= set(report["deliveries"][0])


def test_run_shows_progress_on_a_terminal_only(msc: Msc, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    assert msc("run", "--study", STUDY).err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    steps = msc("run", "--study", STUDY).err.splitlines()
    assert ["ingest XA" in steps[0], "hold" in steps[1]] == [True, True]
    assert msc("run", "--study", STUDY, "--json").err == ""


ERRORS = {
    TransientError("DISK", "cannot write part", hint="free space"): 1,
    IntegrityError("INTEGRITY", "part differs"): 1,
    ConfigError("STUDY_INVALID", "studies/tiny/study.yaml: arms"): 2,
    UsageError("STUDY_NEEDED", "2 studies in this home"): 2,
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_of_ours_is_one_line_without_a_traceback(
    error: Any, msc: Msc, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run", fail)
    said = msc("run", "--study", STUDY)
    assert (said.exit, said.out, said.err) == (ERRORS[error], "", f"{error}\n")


# --- step by step


def test_the_steps_by_hand_make_a_release_that_can_be_listed_asked_and_verified(
    msc: Msc, trial: TinyTrial
) -> None:
    trial.send("XA", "DM", [dm("XA", n) for n in (1, 2)])
    trial.send("XA", "LB", [lb("XA", 1), lb("XA", 2, LBORRESU="furlongs")])
    trial.send("XB", "LB", "not an export\n")
    assert msc("land", "--study", STUDY, "--site", "XB").out == "1\tXB · lb_XB.csv\n"
    landed = ["2\tXA · dm_XA.csv", "3\tXA · lb_XA.csv", "1\tXB · lb_XB.csv"]
    assert msc("land", "--study", STUDY).out.splitlines() == landed
    assert sorted(msc("stage", "--study", STUDY).out.splitlines()) == ["XA\t2 deliveries", "XB\t1 deliveries"]
    assert msc("validate", "--study", STUDY).out == "XA\t2 deliveries\n"
    assert msc("curate", "--study", STUDY).out.startswith("XA\t")
    assert "release: 0000001-" in msc("publish", "--study", STUDY).out
    assert json.loads(msc("publish", "--study", STUDY, "--json").out)["new"] is False

    listed = json.loads(msc("deliveries", "--json").out)
    found = {(d["file"], d["status"], d["code"]) for d in listed}
    assert found == {
        ("dm_XA.csv", "ACCEPTED", None),
        ("lb_XA.csv", "REJECTED", "TOO_MANY_QUARANTINED"),
        ("lb_XB.csv", "REJECTED", "HEADER_MISSING"),
    }
    shown = msc("deliveries", "--study", STUDY, "--site", "XB").out
    assert "HEADER_MISSING" in shown and "XA" not in shown

    assert "HEADER_MISSING" in msc("queries").out
    open_ones = json.loads(msc("queries", "--site", "XB", "--json").out)
    assert [(q["site"], q["rule_id"], q["queries"]) for q in open_ones] == [("XB", "HEADER_MISSING", 1)]
    assert open_ones[0]["says"]
    assert msc("queries", "--site", "XC", "--all").out == "none\n"

    assert json.loads(msc("query", "select count(*) as N from curated.adsl", "--format", "json").out) == [
        {"N": 2}
    ]
    verified = msc("verify", "--json")
    assert (verified.exit, json.loads(verified.out)["study"]) == (0, STUDY)
    next((trial.settings.home / STUDY / "raw").iterdir()).unlink()
    said = msc("verify")
    assert (said.exit, said.out) == (1, "")
    assert said.err.startswith("INTEGRITY: 1 files differ or are missing")


def test_every_step_is_logged_when_asked_for(
    msc: Msc, trial: TinyTrial, caplog: pytest.LogCaptureFixture
) -> None:
    trial.send("XA", "AE", [ae("XA", 1)])
    assert msc("--verbose", "land", "--study", STUDY).exit == 0
    assert msc("--verbose", "stage", "--study", STUDY).exit == 0
    assert "staged delivery=1 rows=1" in caplog.text
    assert "TINY01-XA" not in caplog.text


def test_a_held_delivery_is_let_through_with_a_reason(msc: Msc, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("deliveries", "accept", 1, "--reason", "the site withdrew it", "--study", STUDY)
    said = msc(*words)
    assert (said.exit, said.err) == (1, "NOT_HELD: delivery 1 of tiny is not held\n")
    called: list[Any] = []
    monkeypatch.setattr(corrections, "let_through", lambda *args: called.append(args[1:3]))
    said = msc(*words)
    assert (said.exit, said.out) == (0, "delivery 1 is in use; the next run curates it\n")
    assert called == [(1, "the site withdrew it")]


def test_a_home_without_a_study_is_not_verified(msc: Msc) -> None:
    said = msc("verify")
    assert (said.exit, said.err) == (2, "STUDY_NEEDED: no study in this home (is --home right?)\n")


def test_a_study_must_be_named_where_a_home_holds_none_or_more_than_one(
    msc: Msc, trial: TinyTrial, tmp_path: Path
) -> None:
    said = msc("deliveries")
    assert (said.exit, said.err) == (2, "STUDY_NEEDED: 0 studies in this home (name one with --study)\n")
    for name in (STUDY, "other"):
        (trial.settings.home / name).mkdir(parents=True)
        (trial.settings.project / "studies" / name).mkdir(exist_ok=True)
    other = FEW_RULES.replace("id: tiny", "id: other")
    (trial.settings.project / "studies" / "other" / "study.yaml").write_text(other)
    assert msc("queries").exit == 2
    assert msc("queries", "--study", "other").out == "none\n"
    assert msc("queries", "--study", "other", "--json").out == "[]\n"
    assert msc("deliveries", "--study", "other", "--home", tmp_path / "elsewhere").out == "none\n"


def test_samples_are_written_from_the_project_that_is_in_use(
    msc: Msc, trial: TinyTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Report:
        def as_dict(self) -> dict[str, Any]:
            return {"files": 3}

    called: list[dict[str, Any]] = []
    monkeypatch.setattr(sampling, "write_sample", lambda *args, **more: called.append(more) or Report())
    said = msc("sample", "--study", STUDY, "--landing", tmp_path / "in", "--scale", 2)
    assert (said.exit, said.out) == (0, "files: 3\n")
    assert called[0]["closed"] == tmp_path / "closed"
    assert (called[0]["scale"], called[0]["project"]) == (2, trial.settings.project)
    msc("sample", "--study", STUDY, "--landing", tmp_path / "in", "--closed", tmp_path / "aside")
    assert called[1]["closed"] == tmp_path / "aside"


def test_docs_are_written_and_stale_ones_exit_with_1(msc: Msc) -> None:
    assert msc("docs", "--check").exit == 1
    assert msc("docs").out.splitlines() == ["docs/data-dictionary.md", "docs/rule-book.md"]
    assert msc("docs", "--check").exit == 0


def test_a_benchmark_prints_a_record_a_line(msc: Msc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "run_bench", lambda *_: iter([{"step": "land"}, {"step": "stage"}]))
    assert msc("bench", "--study", STUDY).out == '{"step": "land"}\n{"step": "stage"}\n'


# --- query


ANSWER = pa.table(
    {
        "SUBJECT": ["a", "b"],
        "AVAL": pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)),
        "ADT": pa.array([date(2025, 3, 1), None], pa.date32()),
        "TEXT": ["=cmd|' /C calc'!A0", 'a "b", c\nd'],
    }
)


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[pa.Table], None]:
    """Let every question have one answer."""
    return lambda table: monkeypatch.setattr(asking, "ask", lambda *_: table)


def test_an_answer_as_csv_comes_back_as_it_was(msc: Msc, answer: Callable[[pa.Table], None]) -> None:
    answer(ANSWER)
    rows = list(csv.reader(io.StringIO(msc("query", "x", "--study", STUDY, "--format", "csv").out)))
    assert rows == [
        ["SUBJECT", "AVAL", "ADT", "TEXT"],
        ["a", "1.50", "2025-03-01", "'=cmd|' /C calc'!A0"],
        ["b", "", "", 'a "b", c\nd'],
    ]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_spreadsheet_runs_no_cell_of_a_csv(
    start: str, msc: Msc, answer: Callable[[pa.Table], None]
) -> None:
    answer(pa.table({f"{start}NAME": [f"{start}1+1"], "N": [-1]}))
    rows = list(
        csv.reader(io.StringIO(msc("query", "x", "--study", STUDY, "--format", "csv").out, newline=""))
    )
    assert rows == [[f"'{start}NAME", "N"], [f"'{start}1+1", "-1"]]


def test_an_answer_as_json_is_a_list_of_objects(msc: Msc, answer: Callable[[pa.Table], None]) -> None:
    answer(ANSWER)
    rows = json.loads(msc("query", "x", "--study", STUDY, "--format", "json").out)
    assert rows[0] == {"SUBJECT": "a", "AVAL": "1.50", "ADT": "2025-03-01", "TEXT": "=cmd|' /C calc'!A0"}
    assert rows[1]["AVAL"] is None


def test_an_answer_as_parquet_is_the_answer(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes],
    answer: Callable[[pa.Table], None],
) -> None:  # fmt: skip
    use(trial, monkeypatch)
    answer(ANSWER)
    monkeypatch.setattr(sys, "argv", ["msc", "query", "x", "--study", STUDY, "--format", "parquet"])
    with pytest.raises(SystemExit):
        cli.main()
    assert pq.read_table(pa.BufferReader(capsysbinary.readouterr().out)) == ANSWER


def test_an_answer_as_a_table_shows_every_character(msc: Msc, answer: Callable[[pa.Table], None]) -> None:
    text = "Pain [left] [/b] :smile: " + "x" * 300
    answer(pa.table({"TEXT[red]": [text, None], "N": [1, 2]}))
    out = msc("query", "x", "--study", STUDY).out
    assert "TEXT[red]" in out and "Pain [left] [/b] :smile:" in out
    assert out.count("x") == 300


def test_a_table_sends_no_control_characters_to_a_terminal(
    msc: Msc, answer: Callable[[pa.Table], None]
) -> None:
    answer(pa.table({"TEXT": ["a\x1b]0;title\x07b\u202ec\nd"]}))
    out = msc("query", "x", "--study", STUDY).out
    assert not set(out) & {"\x1b", "\x07", "\u202e"}
    assert "a\N{REPLACEMENT CHARACTER}]0;title" in out


def test_two_columns_of_one_name_are_never_mixed_up(msc: Msc, answer: Callable[[pa.Table], None]) -> None:
    answer(pa.table([["first"], ["second"]], names=["x", "x"]))
    assert msc("query", "x", "--study", STUDY, "--format", "csv").out == "x,x\nfirst,second\n"
    out = msc("query", "x", "--study", STUDY).out
    assert "first" in out and "second" in out
    said = msc("query", "x", "--study", STUDY, "--format", "json")
    assert (said.exit, said.out) == (2, "")
    assert said.err.startswith("SAME_NAME")


def test_an_answer_without_rows_still_has_its_header(msc: Msc, answer: Callable[[pa.Table], None]) -> None:
    answer(ANSWER.slice(0, 0))
    assert msc("query", "x", "--study", STUDY, "--format", "csv").out == "SUBJECT,AVAL,ADT,TEXT\n"
    assert msc("query", "x", "--study", STUDY, "--format", "json").out == "[]\n"
    assert "SUBJECT" in msc("query", "x", "--study", STUDY).out


def test_an_unknown_format_exits_with_2(msc: Msc, answer: Callable[[pa.Table], None]) -> None:
    answer(ANSWER)
    said = msc("query", "x", "--study", STUDY, "--format", "xml")
    assert (said.exit, said.out) == (2, "")
    assert said.err == "FORMAT: no format xml (table, csv, json or parquet)\n"


def test_a_question_without_a_release_says_what_to_do(msc: Msc) -> None:
    said = msc("query", "select 1", "--study", STUDY)
    assert (said.exit, said.err) == (1, "NO_RELEASE: tiny has no release here (msc run --study tiny)\n")


# --- check


def test_check_prints_what_would_happen_and_stores_nothing(msc: Msc, trial: TinyTrial) -> None:
    path = trial.send("XA", "LB", [lb("XA", n, s) for n in (1, 2) for s in (1, 2, 3)])
    said = msc("check", path, "--study", STUDY, "--site", "XA")
    assert said.exit == 0
    assert "ACCEPTED: all 6 rows would be used.\n" in said.out
    rejected = trial.send("XA", "LB", "not an export\n", name="lb_2.csv")
    said = msc("check", rejected, "--study", STUDY, "--site", "XA", "--json")
    assert (said.exit, json.loads(said.out)["code"]) == (3, "HEADER_MISSING")
    assert not trial.settings.home.exists()
    assert sorted(p.name for p in trial.folder("XA").iterdir()) == ["lb_2.csv", "lb_XA.csv"]


def test_great_expectations_and_the_engine_leave_stderr_clean_and_no_value_is_printed(
    trial: TinyTrial,
) -> None:
    rows = [lb("XA", n, s) for n in (1, 2) for s in (1, 2, 3)]
    path = trial.send("XA", "LB", [*rows, lb("XA", 3, LBORRES="MARKER")])
    words = [
        sys.executable,
        "-m",
        "msc_pipeline.cli",
        "check",
        path,
        "--study",
        STUDY,
        "--site",
        "XA",
        "--json",
    ]
    environ = {
        "MSC_PROJECT": str(trial.settings.project),
        "PATH": "",
        "HOME": str(trial.settings.home.parent),
    }
    said = subprocess.run(words, capture_output=True, text=True, env=environ, check=False)
    assert (said.returncode, said.stderr) == (3, "")
    report = json.loads(said.stdout)
    assert (report["status"], report["rows_in"], report["quarantined"]) == ("PARTIAL", 7, 1)
    assert "MARKER" not in said.stdout and "TINY01-XA" not in said.stdout
