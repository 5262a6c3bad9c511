"""Profiling: what is proposed loads, what is open is a question, and nothing of a subject is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from msc_pipeline.cli import app
from msc_pipeline.errors import DeliveryRejected, UsageError
from msc_pipeline.profiles import Profile
from msc_pipeline.profiling import Proposal, as_dict, as_yaml, propose
from msc_pipeline.readers import read_export
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import Study
from tiny_trial import STUDY_YAML, TinyTrial, csv_text, lb, make_trial

SITE_NAMES = {
    "STUDYID": "Protocol", "USUBJID": "Patient", "LBSEQ": "No", "LBTESTCD": "Test", "LBORRES": "Result",
    "LBORRESU": "Unit", "LBORNRLO": "Lower limit", "LBORNRHI": "Upper limit", "LBDTC": "Collected",
    "VISITNUM": "Visit number", "VISIT": "Visit",
}  # fmt: skip
ROWS = [lb("XA", n, s) for n in (1, 2, 3) for s in (1, 2, 3)]


@pytest.fixture
def study(trial: TinyTrial) -> Study:
    return trial.study


def own_words(**cells: str) -> list[dict[str, str]]:
    """Return lab rows under a site's own names; `cells` are templates over the standard row."""
    rows = []
    for n, row in enumerate(ROWS):
        changed = {**row, **{name: text.format(n=n, day=n % 9 + 1, **row) for name, text in cells.items()}}
        rows.append({SITE_NAMES[name]: cell for name, cell in changed.items()})
    return rows


def by_semicolon(rows: list[dict[str, str]]) -> str:
    return "".join(";".join(row) + "\n" for row in [list(rows[0]), *(list(r.values()) for r in rows)])


def proposed(
    tmp_path: Path,
    text: str,
    study: Study | None,
    name: str = "lb_1.csv",
    encoding: str = "utf-8",
    **more: Any,
) -> Proposal:
    file = tmp_path / name
    file.write_bytes(text.encode(encoding))
    found = propose(file, PROJECT, study, **more)
    shown = as_yaml(found) + json.dumps(as_dict(found))
    assert not any(secret in shown for secret in ("TINY01-", "2025-03", "Headache"))
    assert Profile(**yaml.safe_load(as_yaml(found))) == Profile(**found.fields)
    return found


def codes(found: Proposal) -> list[str]:
    return [question.code for question in found.questions]


def test_a_file_in_the_standards_words_needs_no_profile_and_only_the_clock_is_asked(
    tmp_path: Path, study: Study
) -> None:
    found = proposed(tmp_path, csv_text(ROWS), study, "lb_a.csv")
    assert found.fields == {"format": "csv", "encoding": "utf-8-sig", "delimiter": ",", "date_format": "iso"}
    assert (codes(found), found.rows, found.domain) == (["TIMEZONE"], 9, "LB")


def test_usual_names_are_proposed_and_to_be_confirmed(tmp_path: Path, study: Study) -> None:
    found = proposed(tmp_path, csv_text(own_words()), study, "lb_a.csv")
    assert found.fields["columns"] == {
        site: name for name, site in SITE_NAMES.items() if name not in ("LBSEQ", "VISIT")
    } | {"Visit": "VISIT"}
    assert codes(found) == ["CONFIRM_COLUMNS", "COLUMN", "MISSING", "TIMEZONE"]
    assert found.questions[1].column == 3 and "LBSEQ" in found.questions[2].says


@pytest.mark.parametrize(
    ("delimiter", "quote"), [(",", '"'), (";", '"'), ("\t", '"'), ("|", '"'), (";", "'"), (",", "'")]
)
def test_delimiter_and_quote_are_seen(tmp_path: Path, study: Study, delimiter: str, quote: str) -> None:
    rows = [list(ROWS[0]), *(list(row.values()) for row in ROWS)]
    text = "\n".join(delimiter.join(f"{quote}{cell}{quote}" for cell in row) for row in rows) + "\n"
    found = proposed(tmp_path, text, study, "lb_a.csv")
    assert (found.fields["delimiter"], found.fields.get("quote", '"')) == (delimiter, quote)
    assert codes(found) == ["TIMEZONE"]


@pytest.mark.parametrize(
    ("encoding", "letter", "said", "choices"),
    [
        ("utf-8", "µ", "utf-8-sig", None),
        ("utf-8-sig", "µ", "utf-8-sig", None),
        ("utf-16", "µ", "utf-16", None),
        ("cp1252", "µ", "cp1252", ("cp1252", "latin-1")),
        ("cp1252", "€", "cp1252", ("cp1252",)),
        ("latin-1", "\x81", "latin-1", ("latin-1",)),
    ],
)
def test_an_encoding_that_bytes_cannot_tell_is_asked(
    tmp_path: Path, study: Study, encoding: str, letter: str, said: str, choices: tuple[str, ...] | None
) -> None:
    text = csv_text([{**row, "LBORRESU": f"{letter}g/L"} for row in ROWS])
    found = proposed(tmp_path, text, study, "lb_a.csv", encoding)
    assert found.fields["encoding"] == said
    assert [q.choices for q in found.questions if q.code == "ENCODING"] == ([choices] if choices else [])


@pytest.mark.parametrize(
    ("template", "form", "asked"),
    [
        ("2025-03-0{day}", "iso", []),
        ("2025-03", "iso", []),
        ("{day}.03.2025", None, ["DATE_ORDER"]),
        ("1{day}.03.2025", "DD.MM.YYYY", []),
        ("03/1{day}/2025", "MM/DD/YYYY", []),
        ("0{day}-Mar-2025", "DD-MON-YYYY", []),
        ("0{day}MAR2025", "DDMONYYYY", []),
        ("2025/03/0{day}", "YYYY/MM/DD", []),
        ("UN.03.2025", None, ["DATE_ORDER"]),
        ("1{day}.03.2025 09:15", "DD.MM.YYYY HH:MI", ["TIMEZONE"]),
        ("1{day}.03.2025 09:15:30", "DD.MM.YYYY HH:MI:SS", ["TIMEZONE"]),
        ("1{day}-Mar-25", "DD-MON-YY", ["CENTURY"]),
        ("the {day}th", None, ["DATE_FORMAT"]),
        ("2025-03-01T00:00", "iso", ["TIMEZONE", "MIDNIGHT"]),
    ],
)
def test_a_date_format_is_proposed_only_when_every_date_agrees(
    tmp_path: Path, study: Study, template: str, form: str | None, asked: list[str]
) -> None:
    rows = [{**row, "LBDTC": template.format(day=n % 9 + 1)} for n, row in enumerate(ROWS)]
    found = proposed(tmp_path, csv_text(rows), study, "lb_a.csv")
    assert found.fields.get("date_format") == form
    assert [code for code in codes(found) if code != "CODE"] == asked


@pytest.mark.parametrize(
    ("results", "mark", "asked"),
    [
        (["12", "<5"], None, []),
        (["1.5", "12"], None, []),
        (["1,5", "<0,25"], ",", []),
        (["1,5", "2.5"], None, ["DECIMAL"]),
        (["1,234", "22,500"], None, ["DECIMAL"]),
        (["1.234,5"], None, ["THOUSANDS"]),
        (["1,5", "22,500"], ",", []),
    ],
)
def test_a_decimal_comma_is_proposed_only_when_it_can_be_nothing_else(
    tmp_path: Path, study: Study, results: list[str], mark: str | None, asked: list[str]
) -> None:
    rows = [{**ROWS[0], "LBDTC": "2025-03", "LBORRES": result} for result in results]
    found = proposed(tmp_path, by_semicolon(rows), study, "lb_a.csv")
    assert found.fields.get("decimal_mark") == mark
    assert codes(found) == asked


def test_a_decimal_comma_between_commas_cannot_be_a_profile(tmp_path: Path, study: Study) -> None:
    found = proposed(tmp_path, csv_text([{**ROWS[0], "LBORRES": "1,5"}]), study, "lb_a.csv")
    assert "decimal_mark" not in found.fields and "DECIMAL" in codes(found)


def test_a_comma_in_a_format_that_has_numbers_is_a_question(tmp_path: Path, study: Study) -> None:
    rows = [{**ROWS[0], "LBDTC": "2025-03", "LBORRES": "1,5"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "lb_a.parquet")
    found = propose(tmp_path / "lb_a.parquet", PROJECT, study)
    assert (codes(found), found.fields) == (["DECIMAL"], {"format": "parquet", "date_format": "iso"})


def test_nothing_is_said_of_dates_where_there_are_none(tmp_path: Path, study: Study) -> None:
    rows = [{name: cell for name, cell in row.items() if name not in ("LBDTC", "STUDYID")} for row in ROWS]
    found = proposed(tmp_path, csv_text(rows), study, "lb_a.csv")
    assert "date_format" not in found.fields
    assert codes(found) == ["CONFIRM_STUDY", "MISSING"]
    assert found.fields["constants"] == {"STUDYID": "TINY01"}


def test_a_domain_that_the_study_does_not_collect_is_a_wrong_word(tmp_path: Path, study: Study) -> None:
    with pytest.raises(UsageError, match="DOMAIN_UNKNOWN"):
        proposed(tmp_path, csv_text(ROWS), study, domain="VS")


def test_codes_are_mapped_where_known_and_asked_where_not(tmp_path: Path, study: Study) -> None:
    rows = [
        {**ROWS[0], "LBTESTCD": "SGPT", "LBORRESU": "u / L", "VISIT": "Day 1"},
        {**ROWS[1], "LBTESTCD": "alt", "VISIT": "Follow-up"},
        {**ROWS[2], "LBTESTCD": "Hb", "LBORRESU": "spoons", "VISITNUM": "77"},
        {**ROWS[3], "LBTESTCD": "XYZ"},
    ]
    found = proposed(tmp_path, csv_text(rows), study, "lb_a.csv")
    assert found.fields["values"] == {
        "VISIT": {"Day 1": "DAY 1"},
        "LBTESTCD": {"Hb": "HGB", "SGPT": "ALT", "alt": "ALT"},
        "LBORRESU": {"u / L": "U/L"},
    }
    says = " ".join(q.says for q in found.questions)
    assert all(word in says for word in ("Follow-up", "XYZ", "77", "HGB in spoons", "SGPT is ALT"))
    assert "alt is ALT" not in says


def test_results_without_units_are_asked_for_by_test(tmp_path: Path, study: Study) -> None:
    found = proposed(tmp_path, csv_text([{**row, "LBORRESU": ""} for row in ROWS]), study, "lb_a.csv")
    assert [q.says for q in found.questions if q.code == "UNITS"] == [
        "Results without a unit: ALT, HGB. Give `units` by test code."
    ]


def test_a_column_that_may_tell_the_arm_is_never_dropped_silently(tmp_path: Path, study: Study) -> None:
    rows = [
        {**row, "Kit no": "K1", "Activex level": "3", "LBSTRESN": "1", "Remark": "Headache"} for row in ROWS
    ]
    found = proposed(tmp_path, csv_text(rows), study, "lb_a.csv")
    assert found.fields["drop"] == ["LBSTRESN"]
    assert [(q.code, q.column) for q in found.questions[:3]] == [("BLIND", 12), ("BLIND", 13), ("COLUMN", 15)]


def test_a_column_whose_name_may_be_a_cell_is_named_by_its_place_only(tmp_path: Path, study: Study) -> None:
    rows = [{**row, "TINY01-XA-001": "1"} for row in ROWS]
    found = proposed(tmp_path, csv_text(rows), study, "lb_a.csv")
    assert [q.says.split(" has")[0] for q in found.questions if q.code == "COLUMN"] == ["Column 12"]


def test_a_file_without_header_shows_nothing_of_its_first_line(tmp_path: Path, study: Study) -> None:
    text = csv_text(ROWS).split("\n", 1)[1]
    found = proposed(tmp_path, text, study, "lb_a.csv")
    assert codes(found) == ["HEADER"]


def test_many_codes_or_codes_like_ids_are_only_counted(tmp_path: Path, study: Study) -> None:
    rows = [{**ROWS[0], "LBTESTCD": f"T{n:03d}"} for n in range(70)]
    found = proposed(tmp_path, csv_text(rows), study, "lb_a.csv")
    assert any("70 different values" in q.says for q in found.questions)
    rows = [{**ROWS[0], "VISIT": "TINY01-XA-001"}]
    assert "CODE" in codes(proposed(tmp_path, csv_text(rows), study, "lb_a.csv"))


def test_the_domain_comes_from_the_name_or_the_caller_or_is_asked(tmp_path: Path, study: Study) -> None:
    assert codes(proposed(tmp_path, csv_text(ROWS), study, "export.csv")) == ["DOMAIN"]
    found = proposed(tmp_path, csv_text(ROWS), study, "chem_2025.csv", domain="LB")
    assert codes(found) == ["TIMEZONE", "FILES", "SEQUENCE"]
    assert found.questions[1].choices == ("chem_*.csv",)


def test_without_a_study_the_standards_columns_are_known(tmp_path: Path) -> None:
    found = proposed(tmp_path, csv_text(ROWS), None, "lb_a.csv")
    assert codes(found) == ["TIMEZONE"]


def test_redcaps_own_columns_are_known_and_its_instruments_asked(tmp_path: Path, study: Study) -> None:
    rows = [
        {
            "record_id": row["USUBJID"], "redcap_event_name": "day_1_arm_1", "redcap_repeat_instrument": "lab",
            "redcap_repeat_instance": "1", **{k: row[k] for k in ("STUDYID", "LBTESTCD", "LBORRES", "LBORRESU")},
        }
        for row in ROWS
    ]  # fmt: skip
    found = proposed(tmp_path, csv_text(rows), study, "lb_a.csv")
    assert found.fields["format"] == "redcap"
    assert found.fields["columns"] == {
        "record_id": "USUBJID", "redcap_event_name": ["VISIT", "VISITNUM"], "redcap_repeat_instance": "LBSEQ",
    }  # fmt: skip
    says = " ".join(q.says for q in found.questions if q.code == "REDCAP")
    assert "lab" in says and "day_1_arm_1" in says


def test_a_workbook_of_several_sheets_asks_which(tmp_path: Path, study: Study) -> None:
    book = openpyxl.Workbook()
    for row in [list(ROWS[0]), *(list(row.values()) for row in ROWS)]:
        book.active.append(row)
    book.create_sheet("notes")
    book.save(tmp_path / "lb_a.xlsx")
    found = propose(tmp_path / "lb_a.xlsx", PROJECT, study)
    assert (codes(found), found.questions[0].choices) == (["SHEET", "TIMEZONE"], ("Sheet", "notes"))
    assert found.fields["format"] == "xlsx" and found.fields["sheet"] == "Sheet"
    book["notes"].sheet_state = "hidden"
    book.save(tmp_path / "lb_a.xlsx")
    with pytest.raises(DeliveryRejected, match="HIDDEN_SHEET"):
        propose(tmp_path / "lb_a.xlsx", PROJECT, study)


def test_a_workbook_with_a_password_is_told_as_one(tmp_path: Path, study: Study) -> None:
    (tmp_path / "lb_a.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(DeliveryRejected, match="ENCRYPTED"):
        propose(tmp_path / "lb_a.xlsx", PROJECT, study)


def test_the_format_is_what_the_content_says(tmp_path: Path, study: Study) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "lb_a.csv")
    found = propose(tmp_path / "lb_a.csv", PROJECT, study)
    assert (found.fields["format"], codes(found)) == ("parquet", ["FORMAT", "TIMEZONE"])


def test_a_file_read_with_the_completed_profile_lands(tmp_path: Path, study: Study) -> None:
    rows = own_words(
        LBDTC="1{day}/03/2025 09:15",
        LBORRES="{n},5",
        LBORNRLO="7,5",
        LBORNRHI="40",
        LBTESTCD="sgpt",
        VISIT="day 1",
    )
    text = by_semicolon(rows).replace("U/L", "U/l")
    found = proposed(tmp_path, text, study, "chem_a.csv", "cp1252", domain="LB")
    fields = yaml.safe_load(as_yaml(found))
    assert fields["date_format"] == "DD/MM/YYYY HH:MI" and fields["decimal_mark"] == ","
    fields["columns"]["No"] = "LBSEQ"
    fields |= {"timezone": "Europe/Paris", "files": {"LB": ["chem_*.csv"]}, "settle_seconds": 0}
    batches = list(read_export(tmp_path / "chem_a.csv", Profile(**fields), study.domains["LB"], "LB"))
    landed = pa.Table.from_batches(batches).to_pylist()
    assert len(landed) == len(ROWS)
    assert (landed[0]["LBDTC"], landed[0]["LBORRES"], landed[0]["LBTESTCD"]) == (
        "2025-03-11T09:15",
        "0.5",
        "ALT",
    )
    assert landed[0]["USUBJID"] == ROWS[0]["USUBJID"] and landed[0]["VISIT"] == "DAY 1"
    profiles = f"profiles:\n  plain: {json.dumps(fields)}\n"
    other = make_trial(
        tmp_path / "two",
        STUDY_YAML.replace("profiles:\n", profiles).replace("  plain: {sequence", "  old: {sequence"),
    )
    assert other.study.profile("XA", "LB") == Profile(**fields)


def test_the_command_prints_yaml_or_json(
    trial: TinyTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSC_PROJECT", str(trial.settings.project))
    file = tmp_path / "lb_a.csv"
    file.write_text(csv_text(ROWS))
    run = CliRunner().invoke(app, ["profile", str(file), "--study", "tiny"])
    assert run.exit_code == 0 and yaml.safe_load(run.stdout)["format"] == "csv"
    assert "# 1. TIMEZONE: " in run.stdout
    run = CliRunner().invoke(app, ["profile", str(file), "--json", "--domain", "lb"])
    assert json.loads(run.stdout)["profile"]["delimiter"] == ","
