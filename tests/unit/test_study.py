"""Studies as configuration: what ships is complete and agrees with its sources; what is wrong is refused by name."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from msc_pipeline.errors import ConfigError
from msc_pipeline.sample import load_spec, read_sources
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import Study, load_study, study_ids

SHIPPED = study_ids(PROJECT)

TELLS_THE_ARM = {
    *("ARM", "ARMCD", "ACTARM", "ACTARMCD", "EXTRT", "EXTRTV", "EXROUTE", "EXLOT", "EXVAMT", "EXVAMTU"),
    *("EXDOSE", "EXDOSU", "EXDOSTXT", "EXDOSFRM", "EXDOSFRQ"),
}


@pytest.fixture(params=SHIPPED)
def study(request: pytest.FixtureRequest) -> Study:
    return load_study(request.param, PROJECT)


def test_two_studies_ship() -> None:
    assert {"cdiscpilot01", "misle"} <= set(SHIPPED)


def test_no_column_that_tells_the_arm_may_land(study: Study) -> None:
    for domain in study.domains.values():
        assert not TELLS_THE_ARM & set(domain.columns)


def test_standardised_copies_of_results_may_not_land(study: Study) -> None:
    assert not {"LBSTRESC", "LBSTRESN", "LBSTRESU", "LBNRIND"} & set(study.domains["LB"].columns)


def test_natural_keys_are_the_contract(study: Study) -> None:
    expected = {
        "LB": "USUBJID LBTESTCD LBSPEC LBDTC LBTPT LBREFID",
        "DM": "USUBJID",
        "SV": "USUBJID VISITNUM SVSTDTC",
        "XR": "USUBJID XRDTC",
        **{code: f"USUBJID {code}SEQ" for code in ("EX", "AE", "CM", "MH", "DS")},
        **{code: f"USUBJID {code}TESTCD {code}DTC {code}TPT" for code in ("VS", "EG", "RS")},
    }
    for code, domain in study.domains.items():
        assert " ".join(domain.key) == expected[code]


def test_adverse_events_are_held_on_any_removal_and_never_judged_for_words(study: Study) -> None:
    events = study.domains["AE"]
    assert events.hold_removed_rows
    assert "common/blind" not in events.suites


def test_visits_have_names_numbers_and_weeks_of_their_own(study: Study) -> None:
    for column in ("VISIT", "VISITNUM", "AVISIT", "week"):
        counted = Counter(getattr(visit, column) for visit in study.visits)
        assert max(counted.values()) == 1, column
    assert all(visit.day != 0 for visit in study.visits)


def test_visits_in_order_of_their_week_are_in_order_of_their_day(study: Study) -> None:
    planned = [visit for visit in study.visits if visit.expected]
    assert [v.day for v in sorted(planned, key=lambda v: v.week)] == sorted(v.day for v in planned)


def test_an_empty_cell_of_labs_csv_is_null(study: Study) -> None:
    rows = study.relations()["ranges"].to_pylist()
    assert len(rows) == len(study.ranges)
    assert "" not in {cell for row in rows for cell in row.values()}


def test_a_parameter_is_named_with_its_unit(study: Study) -> None:
    for analyte in study.analytes:
        unit = "fraction of 1" if analyte.standard_unit == "1" else analyte.standard_unit
        assert analyte.PARAM.endswith(f" ({unit})") if unit else "(" not in analyte.PARAM


def test_the_pilots_visits_are_all_planned_or_unscheduled() -> None:
    study = load_study("cdiscpilot01", PROJECT)
    tables = read_sources(load_spec(study, PROJECT))
    with duckdb.connect() as connection:
        for name in ("sv", "vs", "cm", "ds", "mh", "lbch", "lbhe", "lbur"):
            connection.register("source", tables[name])
            connection.register("planned", study.relations()["visits"])
            strange = connection.execute(
                """
                select distinct s.VISIT from source as s left join planned as p
                    on s.VISIT = p.VISIT and round(s.VISITNUM, 2) = p.VISITNUM
                where p.VISIT is null and not regexp_matches(s.VISIT, ?)
                """,
                [study.unscheduled_visits],
            ).fetchall()
            assert strange == [], name


def test_the_pilots_own_text_holds_no_word_of_the_blind_but_words_of_the_blind_are_found() -> None:
    study = load_study("cdiscpilot01", PROJECT)
    spec = load_spec(study, PROJECT)
    tables = read_sources(spec)
    with duckdb.connect() as connection:
        for export in spec.domains.values():
            for name in export.datasets:
                connection.register("source", tables[name])
                for column in export.columns:
                    found = connection.execute(
                        f"select count(*) from source where regexp_matches({column}::varchar, ?)",
                        [study.blinded],
                    ).fetchall()
                    assert found == [(0,)], (name, column)
        words = ["Placebo.", "on XAN_HI", "xanomeline 54", "the high dose", "HIGH-DOSE arm"]
        query = "select list(regexp_matches(word, ?)) from unnest(?::varchar[]) as t(word)"
        assert connection.execute(query, [study.blinded, words]).fetchall() == [([True] * 5,)]


def test_misle_follows_its_protocol() -> None:
    study = load_study("misle", PROJECT)
    assert study.planned_subjects == 81
    assert len(study.sites) == 9
    cells = sum(arm.ratio for arm in study.arms if arm.ARMCD != "PBO")
    assert cells == 2 * sum(arm.ratio for arm in study.arms if arm.ARMCD == "PBO")
    weeks = [1, 2, 4, 8, 12, 16, 20, 24, 36, 52, 104, 156, 208, 260, 312]
    followed = [v for v in study.visits if v.week > 0]
    assert [int(v.week) for v in followed] == weeks
    assert [v.day for v in followed] == [7 * week + 1 for week in weeks]
    screening = study.visits[0]
    assert (screening.day - screening.before, screening.day + screening.after) == (-28, -1)
    windows = {v.VISIT: v.before for v in study.visits if v.before == v.after}
    named = ("WEEK 1", "WEEK 8", "WEEK 24", "WEEK 52", "YEAR 6")
    assert [windows[name] for name in named] == [2, 3, 7, 14, 60]
    markers = {a.LBTESTCD for a in study.analytes if a.PARCAT1 == "TUMOR MARKERS"}
    assert {"AFP", "CEA", "CA125AG", "CA19_9AG", "CA15_3AG", "PSA"} == markers
    assert set(study.domains) == {"LB", "DM", "SV", "DS", "EX", "AE", "CM", "MH", "VS", "EG", "RS", "XR"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(PROJECT / "studies", tmp_path / "studies")
    return tmp_path


def _edit(project: Path, change: dict[str, Any]) -> None:
    path = project / "studies/misle/study.yaml"
    path.write_text(
        yaml.safe_dump({**yaml.safe_load(path.read_text(encoding="utf-8")), **change}), encoding="utf-8"
    )


WRONG = [
    ({"colour": "SECRET"}, "colour"),
    ({"planned_subjects": "SECRET"}, "planned_subjects"),
    ({"subject_pattern": "SECRET"}, "subject_pattern"),
    ({"subject_pattern": "^no group$"}, "subject_pattern"),
    ({"sites": {"MSC01": {"profile": "elsewhere"}}}, "profiles that do not exist"),
    ({"baseline": {"rule": "visit"}}, "baseline"),
    ({"baseline": {"rule": "visit", "visit": "SECRET"}}, "baseline.visit"),
    ({"profiles": {"standard": {"sequence": "SECRET"}}}, "profiles.standard.sequence"),
    ({"sites": {"MSC01": {"profile": "standard"}}, "profiles": {"standard": {"files": {"QQ": ["x"]}}}},
     "unknown domains"),
    ({"domains": {"QQ": {"update": "cumulative", "key": ["USUBJID"], "required": ["STUDYID", "USUBJID"],
                         "suites": ["a"]}}}, "unknown domains"),
    ({"domains": {"DM": {"update": "cumulative", "key": ["USUBJID"], "required": ["USUBJID"], "suites": ["a"]}}},
     "domains.DM"),
    ({"domains": {"DM": {"update": "cumulative", "key": ["USUBJID", "AGE"], "required": ["STUDYID", "USUBJID"],
                         "suites": ["a"]}}}, "domains.DM"),
    ({"domains": {"DM": {"update": "cumulative", "key": ["USUBJID"], "required": ["STUDYID", "USUBJID", "USUBJID"],
                         "suites": ["a"]}}}, "named twice"),
    ({"domains": {"DM": {"update": "cumulative", "key": ["USUBJID"], "required": ["STUDYID", "USUBJID", "bad name"],
                         "suites": ["a"]}}}, "CDISC variable"),
    ({"analytes": [{"LBTESTCD": "K", "PARAM": "K", "PARCAT1": "OTHER"}] * 2}, "analyte is named twice"),
    ({"ranges": []}, "ranges"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "place"), WRONG)
def test_a_wrong_field_is_refused_by_file_and_field_and_quotes_no_value(
    project: Path, change: dict[str, Any], place: str
) -> None:
    _edit(project, change)
    with pytest.raises(ConfigError) as caught:
        load_study("misle", project)
    assert caught.value.code == "STUDY_INVALID"
    assert "studies/misle/study.yaml" in caught.value.message and place in caught.value.message
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "- a list", "\tid: x"])
def test_a_file_that_is_not_a_mapping_is_refused(project: Path, text: str) -> None:
    (project / "studies/misle/study.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="STUDY_INVALID"):
        load_study("misle", project)


def test_a_study_that_is_not_there_is_refused_with_those_that_are(project: Path) -> None:
    with pytest.raises(ConfigError, match="cdiscpilot01, misle") as caught:
        load_study("nowhere", project)
    assert caught.value.code == "STUDY_UNKNOWN"


def test_the_id_is_the_folders_name(project: Path) -> None:
    _edit(project, {"id": "other"})
    with pytest.raises(ConfigError, match="id differs"):
        load_study("misle", project)


def test_ranges_need_the_agreed_columns(project: Path) -> None:
    (project / "studies/misle/labs.csv").write_text("lab,unit\nX,g/L\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"studies/misle/labs\.csv"):
        load_study("misle", project)


@pytest.mark.parametrize("name", ["study.yaml", "labs.csv"])
def test_one_more_byte_of_configuration_changes_the_hash(project: Path, name: str) -> None:
    before = load_study("misle", project).config_hash
    path = project / "studies/misle" / name
    extra = "# x\n" if name.endswith("yaml") else "CENTRAL,CEA,ng/mL,,18,,,,,5\n"
    path.write_text(path.read_text(encoding="utf-8") + extra, encoding="utf-8")
    assert load_study("misle", project).config_hash != before


def test_relations_hold_one_row_per_thing(study: Study) -> None:
    relations = study.relations()
    own = {name: table for name, table in relations.items() if name not in study.safety.relations()}
    assert {name: table.num_rows for name, table in own.items()} == {
        "protocol": 1,
        "visits": len(study.visits),
        "analytes": len(study.analytes),
        "assessments": sum(len(a.visits) for a in study.assessments),
        "ranges": len(study.ranges),
        "sites": len(study.sites),
    }
    assert set(relations["visits"].column("expected").to_pylist()) <= {"Y", "N"}


@pytest.mark.parametrize(
    ("assessment", "named"),
    [
        ("{domain: EG, visits: [WEEK 99]}", "visits that are not planned"),
        ("{domain: LB, visits: [WEEK 12]}", "names a category of tests"),
        ("{domain: XR, PARCAT1: RENAL, visits: [WEEK 12]}", "names a category of tests"),
        ("{domain: AE, visits: [WEEK 12]}", "domain"),
        ("{domain: EG, visits: []}", "visits"),
    ],
)
def test_an_assessment_names_planned_visits_and_of_laboratory_a_category(
    project: Path, assessment: str, named: str
) -> None:
    path = project / "studies/misle/study.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("assessments:\n", f"assessments:\n  - {assessment}\n"), encoding="utf-8")
    with pytest.raises(ConfigError, match=named):
        load_study("misle", project)


def test_a_study_cannot_be_changed_once_read(study: Study) -> None:
    with pytest.raises(ValueError, match="frozen"):
        study.title = "other"  # type: ignore[misc]
