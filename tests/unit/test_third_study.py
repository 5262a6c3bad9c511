"""A third study is a folder under studies/: no code knows any study by name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from msc_pipeline.errors import ConfigError
from msc_pipeline.sample import write_sample
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study, study_ids

STUDY_YAML = r"""
id: third
STUDYID: THIRD01
title: A third study
planned_subjects: 12
subject_pattern: '^THIRD01-([A-Z]{2})-\d{3,8}$'
arms:
  - {ARMCD: A, ARM: Active, ratio: 1}
  - {ARMCD: C, ARM: Comparator, ratio: 1}
baseline: {rule: last_on_or_before_dose}
last_plausible_date: "2030-12-31"
blinding: {words: [active, comparator]}
profiles:
  plain: {sequence: '_(\d+)\.csv$'}
  semicolons: {delimiter: ";", encoding: cp1252, files: {LB: ["chem_*.csv"]}}
sites:
  XA: {profile: plain}
  XB: {profile: semicolons, lab: NORTH}
domains:
  DM:
    update: cumulative
    key: [USUBJID]
    required: [STUDYID, USUBJID, SEX]
    suites: [common/identity, visit/dm]
  LB:
    update: incremental
    key: [USUBJID, LBREFID, LBTESTCD]
    required: [STUDYID, USUBJID, LBREFID, LBTESTCD, LBORRES, LBORRESU, LBDTC]
    suites: [common/identity, lab/structure]
visits:
  - {VISITNUM: "1", VISIT: DAY 1, AVISIT: Day 1, week: "0", day: 1}
analytes:
  - {LBTESTCD: ALT, PARAM: Alanine Aminotransferase (U/L), PARCAT1: LIVER FUNCTION, standard_unit: U/L}
"""

LABS_CSV = """lab,LBTESTCD,unit,SEX,age_low,age_high,valid_from,valid_to,LBORNRLO,LBORNRHI
NORTH,ALT,U/L,,,,,,,40
"""

SAMPLE_YAML = """
package: data_of_the_third
collection: sdtm
subject_step: 1000
domains:
  DM:
    datasets: [people]
    order: [USUBJID]
    columns: [STUDYID, USUBJID, SEX]
    closed: {list: randomisation, columns: [USUBJID, ARM]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project with one more folder under studies/."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT / "studies", project / "studies")
    folder = project / "studies/third"
    folder.mkdir()
    (folder / "study.yaml").write_text(STUDY_YAML, encoding="utf-8")
    (folder / "labs.csv").write_text(LABS_CSV, encoding="utf-8")
    return project


def test_a_third_study_is_there_once_its_folder_is(project: Path) -> None:
    assert set(study_ids(project)) == {*study_ids(PROJECT), "third"}
    study = load_study("third", project)
    assert study.profile("XB").delimiter == ";"
    assert study.domains["LB"].update == "incremental"
    assert study.relations()["sites"].to_pylist() == [
        {"SITEID": "XA", "lab": None, "timezone": "UTC"},
        {"SITEID": "XB", "lab": "NORTH", "timezone": "UTC"},
    ]


def test_a_folder_without_a_study_file_is_no_study(project: Path) -> None:
    (project / "studies/notes").mkdir()
    assert "notes" not in study_ids(project)


def test_the_others_do_not_change_by_a_third(project: Path) -> None:
    for study_id in study_ids(PROJECT):
        assert load_study(study_id, project) == load_study(study_id, PROJECT)


def test_a_study_without_sample_data_says_so(project: Path, tmp_path: Path) -> None:
    study = load_study("third", project)
    with pytest.raises(ConfigError) as caught:
        write_sample(study, tmp_path / "landing", closed=tmp_path / "closed", project=project)
    assert caught.value.code == "SAMPLE_UNAVAILABLE"
    assert not (tmp_path / "landing").exists()


def test_sample_data_of_a_third_study_need_a_file_only(project: Path, tmp_path: Path) -> None:
    (project / "studies/third/sample.yaml").write_text(SAMPLE_YAML, encoding="utf-8")
    people = pa.table(
        {
            "STUDYID": ["THIRD01"] * 3,
            "USUBJID": ["THIRD01-XB-001", "THIRD01-XA-002", "THIRD01-XA-001"],
            "SEX": ["F", "M", "F"],
            "ARM": ["Active", "Comparator", "Active"],
        }
    )
    report = write_sample(
        load_study("third", project),
        tmp_path / "landing",
        closed=tmp_path / "closed",
        scale=2,
        plant_bad_file=True,
        project=project,
        tables={"people": people},
    )
    assert (report.sites, report.subjects, report.files, report.planted) == (2, 6, 2, ())
    text = (tmp_path / "landing/third/XA/dm_XA.csv").read_text(encoding="utf-8")
    assert text.split("\n") == [
        "STUDYID,USUBJID,SEX",
        "THIRD01,THIRD01-XA-001,F",
        "THIRD01,THIRD01-XA-002,M",
        "THIRD01,THIRD01-XA-1001,F",
        "THIRD01,THIRD01-XA-1002,M",
        "",
    ]
    assert pq.read_table(tmp_path / "closed/third/randomisation.parquet").num_rows == 6


def test_nothing_in_the_code_names_a_study() -> None:
    names = {
        name for study_id in study_ids(PROJECT) for name in (study_id, load_study(study_id, PROJECT).STUDYID)
    }
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, sorted(names))) + r")\b", re.IGNORECASE)
    places = [
        *(PROJECT / "src").rglob("*.py"),
        *(PROJECT / "plugins").rglob("*.py"),
        *(PROJECT / "dags").rglob("*.py"),
    ]
    assert places
    assert [p.name for p in places if pattern.search(p.read_text(encoding="utf-8"))] == []
