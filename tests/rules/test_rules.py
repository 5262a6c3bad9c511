"""Every rule fails the rows it is meant for, and passes the rows it is not."""

from __future__ import annotations

import pytest
import rule_cases as cases

from msc_pipeline import cdisc, checks, models
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study, study_ids
from msc_pipeline.suites import load_all, load_suite, load_suites

pytestmark = pytest.mark.xdist_group("great_expectations")  # one import, one evaluation for many cases

EMPTY_FILE = "FILE-002"
RETIRED = frozenset({"LB-020"})
"""Ids of rules that are no more: another rule never takes one."""


@pytest.mark.parametrize(("suite", "rule_id"), cases.pairs())
def test_a_failing_row_is_named_under_its_rule(suite: str, rule_id: str) -> None:
    judged = cases.judged(suite, "fails")
    rows = [row for row, owner in judged.rule_of_row.items() if owner == rule_id]
    assert rows
    missed = [row for row in rows if rule_id not in judged.failed.get(row, set())]
    assert not missed, f"rows {[row - rows[0] for row in missed]} of the case pass"
    result = judged.results[rule_id]
    assert (result.outcome, result.error, result.table_level) == ("failed", False, False)
    assert result.n_failed == judged.counts[rule_id]
    assert result.n_rows >= result.n_failed


@pytest.mark.parametrize(("suite", "rule_id"), cases.pairs())
def test_a_passing_row_is_judged_and_fails_no_rule_of_the_suite(suite: str, rule_id: str) -> None:
    judged = cases.judged(suite, "passes")
    rows = [row for row, owner in judged.rule_of_row.items() if owner == rule_id]
    assert rows
    assert not {row - rows[0]: judged.failed[row] for row in rows if row in judged.failed}
    result = judged.results[rule_id]
    assert (result.outcome, result.error) == ("passed", False)
    assert result.n_rows > 0


def test_every_rule_has_cases() -> None:
    suites = load_all(cases.PROJECT)
    known = {rule.id for suite in suites.values() for rule in suite.rules}
    assert {rule_id for _, rule_id in cases.pairs()} == known - {EMPTY_FILE}


def test_no_rule_takes_the_id_of_one_that_is_no_more() -> None:
    rules = [rule.id for suite in load_all(cases.PROJECT).values() for rule in suite.rules]
    assert not RETIRED & set(rules)


def test_every_case_belongs_to_its_suite() -> None:
    suites = load_all(cases.PROJECT)
    for file in cases.case_files():
        assert set(file.fails) <= {rule.id for rule in suites[file.suite].rules}


def test_a_file_without_rows_fails_the_rule_on_rows_and_evaluates_no_other() -> None:
    connection = cases.connect()
    cases.deliver(connection, "lb", [])
    suite = load_suite("file/structure", cases.PROJECT)
    results = {r.rule_id: r for r in checks.evaluate(connection, "delivery.all_rows", [suite])}
    assert results[EMPTY_FILE] == checks.RuleResult(EMPTY_FILE, "warning", "failed", 0, 1, table_level=True)
    assert {r.outcome for r in results.values() if r.rule_id != EMPTY_FILE} == {"not_evaluated"}
    assert not any(r.error for r in results.values())


def test_a_file_with_a_row_passes_the_rule_on_rows() -> None:
    connection = cases.connect()
    cases.deliver(connection, "lb", [{}])
    suite = load_suite("file/structure", cases.PROJECT)
    results = {r.rule_id: r for r in checks.evaluate(connection, "delivery.all_rows", [suite])}
    assert results[EMPTY_FILE] == checks.RuleResult(EMPTY_FILE, "warning", "passed", 1, 0, table_level=True)


@pytest.mark.parametrize("domain", [name.lower() for name in cdisc.DOMAINS])
def test_the_common_suites_can_judge_every_domain(domain: str) -> None:
    connection = cases.connect()
    relation = cases.deliver(connection, domain, [{}, {"STUDYID": "OTHER", "USUBJID": "T1-102-0001"}])
    suites = load_suites(("common/identity", "common/blind"), cases.PROJECT)
    results = {r.rule_id: (r.outcome, r.n_failed) for r in checks.evaluate(connection, relation, suites)}
    failed = {rule_id for rule_id, (outcome, _) in results.items() if outcome == "failed"}
    assert failed == {"ID-001", "ID-004"}
    assert "not_evaluated" not in {outcome for outcome, _ in results.values()}


@pytest.mark.parametrize(
    ("domain", "row", "rule_id"),
    [
        ("dm", {"DTHFL": "Y", "DTHDTC": "2026-05-01", "COUNTRY": "placebo"}, "DM-028"),
        ("ds", {"DSDECOD": "DEATH", "DSTERM": "Died on low dose"}, "DS-011"),
        ("ae", {"AETERM": "Rash under placebo"}, "AE-016"),
    ],
)
def test_words_of_the_blind_never_quarantine_a_death_or_an_adverse_event(
    domain: str, row: dict[str, str], rule_id: str
) -> None:
    connection = cases.connect()
    relation = cases.deliver(connection, domain, [row])
    names = ("common/identity", *(() if domain == "ae" else ("common/blind",)), f"visit/{domain}")
    sql = checks.failing_rows(connection, relation, load_suites(names, cases.PROJECT))
    assert connection.execute(f"select RULES, WARNINGS from ({sql})").fetchall() == [([], [rule_id])]


def test_rules_on_adverse_events_are_warnings() -> None:
    suites = load_all(cases.PROJECT)
    rules = [*suites["visit/ae"].rules, *suites["cross/ae"].rules, *suites["cross/dm"].rules]
    assert {rule.severity for rule in rules} == {"warning"}


def test_a_death_with_faulty_dates_and_cells_is_never_quarantined() -> None:
    connection = cases.connect()
    bad = {"DTHFL": "Y", "DTHDTC": "2026-02-30", "RFSTDTC": "yesterday", "AGE": "old", "SEX": "Female"}
    relation = cases.deliver(connection, "dm", [bad])
    sql = checks.failing_rows(
        connection, relation, load_suites(("common/identity", "visit/dm"), cases.PROJECT)
    )
    (rules, warnings) = connection.execute(f"select RULES, WARNINGS from ({sql})").fetchall()[0]
    assert rules == []
    assert warnings == ["DM-005", "DM-008", "DM-013", "DM-023"]


EXTREMES = {
    ("PLAT", "3", "10^9/L"): "220", ("PLAT", "1900", "10^9/L"): "220", ("ALT", "3000", "U/L"): "25",
    ("ALT", "12000", "U/L"): "25", ("AST", "9000", "U/L"): "22", ("CA125AG", "5000", "U/mL"): "15",
    ("AFP", "40000", "ng/mL"): "3", ("HGB", "42", "g/L"): "118", ("WBC", "0.2", "10^9/L"): "5.1",
    ("WBC", "95", "10^9/L"): "5.1", ("NEUT", "0.02", "10^9/L"): "3.0", ("LYM", "0.05", "10^9/L"): "1.1",
    ("BILI", "480", "umol/L"): "8", ("CREAT", "1100", "umol/L"): "70", ("SODIUM", "108", "mmol/L"): "139",
    ("K", "8.4", "mmol/L"): "4.1", ("GLUC", "44", "mmol/L"): "5.2", ("CRP", "620", "mg/L"): "2",
    ("IGG", "0.9", "g/L"): "14", ("C3", "0.05", "g/L"): "0.8", ("C4", "0.01", "g/L"): "0.12",
    ("DSDNA", "9000", "IU/mL"): "60", ("CD19", "0.001", "10^9/L"): "0.11", ("ALB", "9", "g/L"): "40",
}  # fmt: skip
"""(test, result, unit) that illness does bring about → what the subject usually has."""


def test_a_true_extreme_is_asked_about_and_never_quarantined_or_held() -> None:
    connection = cases.connect()
    rows = [dict(zip(("LBTESTCD", "LBORRES", "LBORRESU"), extreme, strict=True)) for extreme in EXTREMES]
    names = ("lab/blood_counts", "lab/liver_function", "lab/tumor_markers", "lab/chemistry", "lab/immunology")
    cases.deliver(connection, "lb", rows)
    quarantine = checks.failing_rows(connection, "facts.lb", load_suites(names, cases.PROJECT))
    usual = [
        {"row": row, "beside": [{**row, "LBORRES": value}] * 5}
        for row, value in zip(rows, EXTREMES.values(), strict=True)
    ]
    cases.arrive(connection, "lb", usual)
    held = checks.failing_rows(connection, "cross.lb", [load_suite("cross/lb", cases.PROJECT)])
    for sql in (quarantine, held):
        refused = connection.execute(f"select LBTESTCD, LBORRES, RULES from ({sql}) where len(RULES) > 0")
        assert refused.fetchall() == []
    asked = connection.execute(
        f"select SRC_ROW from ({quarantine}) union select SRC_ROW from ({held}) where SRC_ROW < 1000"
    ).fetchall()
    assert len(asked) == len(EXTREMES)


def test_every_unit_we_can_convert_for_a_panel_test_is_one_we_can_check() -> None:
    connection = cases.connect()
    missing = connection.execute(
        """select distinct u.LBTESTCD, u.unit from reference.units as u
        join reference.check_units as c on u.LBTESTCD = c.LBTESTCD
        anti join (select u.LBTESTCD, u.unit from reference.units as u join reference.check_units as c
            on u.LBTESTCD = c.LBTESTCD and u.standard_unit = c.check_unit) as k
        on u.LBTESTCD = k.LBTESTCD and u.unit = k.unit"""
    ).fetchall()
    assert missing == []


@pytest.mark.requirement("UNI-03")
@pytest.mark.parametrize("study_id", study_ids(PROJECT))
def test_lb_010_refuses_what_cannot_be_converted_for_every_analyte_of_a_study(study_id: str) -> None:
    """Its own unit passes; a made-up unit, another test's and none at all fail; without a unit nothing is asked."""
    connection, study = cases.connect(), load_study(study_id, PROJECT)
    models.install_study(connection, study)
    refused = ("furlongs", "10^7/L", "mol", "", None)
    wanted, rows = [], []
    for analyte in study.analytes:
        own = analyte.standard_unit
        for unit in (own, *refused):
            rows.append({"LBTESTCD": analyte.LBTESTCD, "LBORRESU": unit})
            wanted.append((analyte.LBTESTCD, unit, None if not own else "Y" if unit == own else "N"))
    cases.deliver(connection, "lb", rows)
    found = connection.execute(
        "select LBTESTCD, LBORRESU, UNIT_KNOWN from facts.lb order by SRC_ROW"
    ).fetchall()
    assert found == wanted


def test_the_search_for_words_of_the_blind_needs_no_variable_and_agrees_with_it() -> None:
    connection = cases.connect()
    rows = [{"LBREASND": text} for text in ("placebo", "PLACEBO", "a low dose", "low dosed", "none", None)]
    cases.deliver(connection, "lb", rows)
    without = connection.execute("select ARM_WORD from facts.lb order by SRC_ROW").fetchall()
    connection.execute("set variable blinded = (select blinded from study.protocol)")
    cases.deliver(connection, "lb", rows)
    assert connection.execute("select ARM_WORD from facts.lb order by SRC_ROW").fetchall() == without
    assert [word for (word,) in without] == ["Y", "Y", "Y", "N", "N", "N"]
