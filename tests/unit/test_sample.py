"""The sample of a public study: whole files, every row accounted for, and nothing open that could tell the arm."""

from __future__ import annotations

import csv
import re
import shutil
import stat
import tracemalloc
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from msc_pipeline import storage
from msc_pipeline.errors import ConfigError, TransientError, UsageError
from msc_pipeline.sample import SampleReport, load_spec, read_sources, write_sample
from msc_pipeline.sample.source import cell_text
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import Study, load_study

STUDY = "cdiscpilot01"
SOURCE_ROWS = {
    "LB": 59_580, "DM": 306, "SV": 3_559, "DS": 596, "EX": 591, "AE": 961, "CM": 7_510, "MH": 1_817, "VS": 29_643,
}  # fmt: skip
Tables = Mapping[str, pa.Table]


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY, PROJECT)


@pytest.fixture(scope="module")
def tables(study: Study) -> Tables:
    return read_sources(load_spec(study, PROJECT))


@pytest.fixture(scope="module")
def few(tables: Tables) -> Tables:
    """Three sites of the pilot, seven subjects."""
    sites = pa.array(["01-702", "01-706", "01-707"])
    return {
        name: t.filter(pc.is_in(pc.utf8_slice_codeunits(t["USUBJID"], 0, 6), value_set=sites))
        for name, t in tables.items()
    }


@pytest.fixture(scope="module")
def pilot(
    tmp_path_factory: pytest.TempPathFactory, study: Study, tables: Tables
) -> tuple[Path, SampleReport]:
    folder = tmp_path_factory.mktemp("pilot")
    report = write_sample(study, folder / "landing", closed=folder / "closed", tables=tables)
    return folder, report


def rows_of(folder: Path, pattern: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for path in sorted((folder / "landing" / STUDY).glob(pattern)):
        with path.open(encoding="utf-8", newline="") as file:
            rows += list(csv.DictReader(file, strict=True))
    return rows


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_source_row_is_exported_or_closed(pilot: tuple[Path, SampleReport]) -> None:
    folder, report = pilot
    assert {d.domain: d.source for d in report.domains} == SOURCE_ROWS
    for domain in report.domains:
        assert domain.source == domain.exported + domain.closed_only
        assert domain.exported == len(rows_of(folder, f"*/{domain.domain.lower()}_*.csv"))
        assert bool(domain.closed_only) == (domain.domain == "EX")
    closed = pq.read_table(folder / "closed" / STUDY / "exposure.parquet")
    assert closed.num_rows == SOURCE_ROWS["EX"]
    assert (report.sites, report.subjects, report.files) == (17, 306, 17 * 9)


def test_exported_cells_are_the_sources_cells(pilot: tuple[Path, SampleReport], tables: Tables) -> None:
    source = pa.concat_tables(
        [tables[name] for name in ("lbch", "lbhe", "lbur")], promote_options="permissive"
    )
    columns = ["USUBJID", "LBSEQ", "LBTESTCD", "LBORRES", "LBORRESU", "LBORNRLO", "LBDTC", "VISITNUM"]
    expected = sorted(tuple(cell_text(row[c]) for c in columns) for row in source.select(columns).to_pylist())
    assert sorted(tuple(row[c] for c in columns) for row in rows_of(pilot[0], "*/lb_*.csv")) == expected


def test_exports_hold_the_columns_the_study_lets_land(pilot: tuple[Path, SampleReport], study: Study) -> None:
    for code, domain in study.domains.items():
        for path in (pilot[0] / "landing" / STUDY).glob(f"*/{code.lower()}_*.csv"):
            header = path.read_text(encoding="utf-8").split("\n", 1)[0].split(",")
            assert set(domain.required) <= set(header) <= set(domain.columns)


def test_exports_are_plain_files(pilot: tuple[Path, SampleReport]) -> None:
    for path in (pilot[0] / "landing").rglob("*.csv"):
        data = path.read_bytes()
        assert data.endswith(b"\n") and b"\r" not in data and b"\0" not in data and b',"",' not in data
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert re.fullmatch(r"[a-z]{2}_\d{3}\.csv", path.name) and path.stem.endswith(path.parent.name)


def test_numbers_are_written_without_noise(pilot: tuple[Path, SampleReport]) -> None:
    numbers = {row["VISITNUM"] for row in rows_of(pilot[0], "*/sv_*.csv")}
    assert "9.3" in numbers and "1" in numbers
    assert all(re.fullmatch(r"\d+(\.\d)?", number) for number in numbers)
    assert cell_text(0.39999999999999997) == "0.4"
    assert [cell_text(value) for value in (None, float("nan"), 63.0, "098.6")] == ["", "", "63", "098.6"]


def test_lab_rows_stand_in_order_of_subject_and_sequence(pilot: tuple[Path, SampleReport]) -> None:
    order = [(row["USUBJID"], int(row["LBSEQ"])) for row in rows_of(pilot[0], "701/lb_*.csv")]
    assert order == sorted(order) and len(order) == 9_875


def test_exposure_is_one_row_per_subject_from_first_to_last_dose(pilot: tuple[Path, SampleReport]) -> None:
    rows = rows_of(pilot[0], "*/ex_*.csv")
    dosed = {row["USUBJID"]: row for row in rows_of(pilot[0], "*/dm_*.csv") if row["RFXSTDTC"]}
    assert len(rows) == len(dosed) == 254
    for row in rows:
        subject = dosed[row["USUBJID"]]
        assert (row["EXSTDTC"], row["EXENDTC"], row["EXSEQ"]) == (
            subject["RFXSTDTC"],
            subject["RFXENDTC"],
            "1",
        )


def test_permuting_the_arms_changes_no_byte_of_the_exports(
    tmp_path: Path, study: Study, pilot: tuple[Path, SampleReport], tables: Tables
) -> None:
    told = {"dm": ["ARMCD", "ARM", "ACTARMCD", "ACTARM"], "ex": ["EXTRT", "EXDOSE", "EXDOSU", "EXDOSFRM"]}
    permuted = dict(tables)
    for name, columns in told.items():
        table = permuted[name]
        for column in columns:
            values = table[column].to_pylist()
            table = table.set_column(
                table.column_names.index(column),
                column,
                pa.array(values[::-1], table.schema.field(column).type),
            )
        permuted[name] = table.sort_by([(columns[1], "descending")])  # the arm decides the order of rows, too
    write_sample(study, tmp_path / "landing", closed=tmp_path / "closed", tables=permuted)
    assert contents(tmp_path / "landing") == contents(pilot[0] / "landing")
    assert contents(tmp_path / "closed") != contents(pilot[0] / "closed")


def test_no_word_of_the_blind_is_in_any_export(pilot: tuple[Path, SampleReport], study: Study) -> None:
    blinded = re.compile(study.blinded)
    for name, data in contents(pilot[0] / "landing").items():
        assert not blinded.search(data.decode()), name
        assert not blinded.search(name)


def test_the_closed_list_is_the_owners_only(pilot: tuple[Path, SampleReport]) -> None:
    folder = pilot[0] / "closed" / STUDY
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {p.name for p in folder.iterdir()} == {"randomisation.parquet", "exposure.parquet"}
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    arms = pq.read_table(folder / "randomisation.parquet")
    assert arms.num_rows == 306 and set(arms["ARMCD"].to_pylist()) == {"Pbo", "Xan_Lo", "Xan_Hi", "Scrnfail"}


@pytest.mark.parametrize("place", ["landing", "landing/closed", "landing/x/../closed"])
def test_the_closed_list_is_never_put_in_the_landing_folder(tmp_path: Path, study: Study, place: str) -> None:
    with pytest.raises(UsageError, match="CLOSED_PLACE"):
        write_sample(study, tmp_path / "landing", closed=tmp_path / place)
    assert not (tmp_path / "landing").exists()


def test_a_scaled_sample_repeats_every_subject_under_numbers_of_its_own(
    tmp_path: Path, study: Study, few: Tables
) -> None:
    once = write_sample(study, tmp_path / "a/landing", closed=tmp_path / "a/closed", tables=few)
    thrice = write_sample(study, tmp_path / "b/landing", closed=tmp_path / "b/closed", tables=few, scale=3)
    assert thrice.subjects == 3 * once.subjects
    for small, large in zip(once.domains, thrice.domains, strict=True):
        assert (large.source, large.exported, large.closed_only) == tuple(
            3 * n for n in (small.source, small.exported, small.closed_only)
        )
    dm = rows_of(tmp_path / "b", "*/dm_*.csv")
    assert len({row["USUBJID"] for row in dm}) == len(dm) == thrice.subjects
    for row in dm:
        found = re.fullmatch(study.subject_pattern, row["USUBJID"])
        assert found and found[1] == row["SITEID"] and row["USUBJID"].endswith(row["SUBJID"])
    lab = [(row["USUBJID"], row["LBSEQ"]) for row in rows_of(tmp_path / "b", "*/lb_*.csv")]
    assert len(set(lab)) == len(lab) == thrice.domains[0].exported
    arms = pq.read_table(tmp_path / "b/closed" / STUDY / "randomisation.parquet")
    assert set(arms["USUBJID"].to_pylist()) == {row["USUBJID"] for row in dm}


def test_a_scaled_sample_begins_with_the_sample_itself(tmp_path: Path, study: Study, few: Tables) -> None:
    for name, scale in (("a", 1), ("b", 2)):
        write_sample(
            study, tmp_path / name / "landing", closed=tmp_path / name / "closed", tables=few, scale=scale
        )
    scaled = contents(tmp_path / "b/landing")
    for name, data in contents(tmp_path / "a/landing").items():
        assert scaled[name].startswith(data)


def test_memory_does_not_grow_with_the_scale(tmp_path: Path, study: Study, few: Tables) -> None:
    peaks = []
    for scale in (1, 1, 40):  # the first run pays for imports
        tracemalloc.start()
        write_sample(study, tmp_path / "landing", closed=tmp_path / "closed", tables=few, scale=scale)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1] + 500_000


@pytest.mark.parametrize("scale", [0, 1001, 10**9])
def test_a_scale_that_does_not_fit_the_subject_numbers_is_refused(
    tmp_path: Path, study: Study, few: Tables, scale: int
) -> None:
    with pytest.raises(UsageError, match="SAMPLE_SCALE"):
        write_sample(study, tmp_path / "landing", closed=tmp_path / "closed", tables=few, scale=scale)


def test_the_same_call_writes_the_same_bytes(tmp_path: Path, study: Study, few: Tables) -> None:
    for name in ("a", "b"):
        write_sample(
            study,
            tmp_path / name / "landing",
            closed=tmp_path / name / "closed",
            tables=few,
            plant_bad_file=True,
        )
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@pytest.mark.parametrize("scale", [1, 2])
def test_planted_files_are_a_cut_resend_and_a_resend_with_faulty_rows(
    tmp_path: Path, study: Study, few: Tables, scale: int
) -> None:
    report = write_sample(
        study, tmp_path / "landing", closed=tmp_path / "closed", tables=few, scale=scale, plant_bad_file=True
    )
    cut, faulty = report.planted
    assert (cut.expected, faulty.expected) == ("REJECTED", "PARTIAL")
    assert cut.site != faulty.site
    assert report.files == len(list((tmp_path / "landing").rglob("*.csv"))) == 3 * 9 + 2
    base = tmp_path / "landing" / STUDY
    whole = (base / cut.site / f"lb_{cut.site}.csv").read_bytes()
    assert (base / cut.file).read_bytes() == whole[:-7]
    assert whole.count(b"\n") == cut.rows + 2
    good = (base / faulty.site / f"lb_{faulty.site}.csv").read_bytes()
    assert (base / faulty.file).read_bytes().startswith(good)


def test_planted_rows_show_their_faults_under_keys_of_their_own(
    tmp_path: Path, study: Study, few: Tables
) -> None:
    report = write_sample(
        study, tmp_path / "landing", closed=tmp_path / "closed", tables=few, plant_bad_file=True
    )
    planted = report.planted[1]
    rows = rows_of(tmp_path, planted.file)
    good = rows_of(tmp_path, f"{planted.site}/lb_{planted.site}.csv")
    extra = rows[len(good) :]
    assert len(rows) == planted.rows and len(extra) == sum(planted.faults.values())
    assert 0.05 < len(extra) / len(rows) < study.max_quarantined

    def key(row: dict[str, str]) -> tuple[str, ...]:
        return row["USUBJID"], row["LBTESTCD"], row["LBDTC"]

    assert not {key(row) for row in extra} & {key(row) for row in good}
    wrong_unit = [row for row in extra if row["LBORRESU"] == "mmHg"]
    no_day = [row for row in extra if not _is_date(row["LBDTC"][:10])]
    by_key: dict[tuple[str, ...], set[str]] = {}
    for row in extra:
        by_key.setdefault(key(row), set()).add(row["LBORRES"])
    pairs = [results for results in by_key.values() if len(results) == 2]
    assert planted.faults == {
        "wrong unit": len(wrong_unit),
        "impossible date": len(no_day),
        "one key, two results": 2 * len(pairs),
    }
    assert len({(row["USUBJID"], row["LBSEQ"]) for row in rows}) == len(rows)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def test_a_watcher_sees_whole_files_only(
    tmp_path: Path, study: Study, few: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()

    def look(step: str) -> None:
        if step in {"tmp-written", "tmp-synced", "renamed", "folder-synced"}:
            for path in (tmp_path / "landing").rglob("*"):
                if path.is_file() and not path.name.startswith("."):
                    seen.add(path.name)
                    assert path.read_bytes().endswith(b"\n")

    monkeypatch.setattr(storage, "on_mark", look)
    told: list[str] = []
    write_sample(study, tmp_path / "landing", closed=tmp_path / "closed", tables=few, on_file=told.append)
    assert all(re.fullmatch(r"[a-z]{2}_\d{3}\.csv", name) for name in seen)
    assert len(told) == 27
    assert not [p for p in (tmp_path / "landing").rglob(".*")]


def test_a_full_disk_is_a_transient_error_and_leaves_no_export(
    tmp_path: Path, study: Study, few: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "sync_file", full)
    with pytest.raises(TransientError, match="DISK"):
        write_sample(study, tmp_path / "landing", closed=tmp_path / "closed", tables=few)
    assert not list((tmp_path / "landing").rglob("*.csv"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(PROJECT / "studies", tmp_path / "project/studies")
    return tmp_path / "project"


def _edit(project: Path, change: Any) -> None:
    path = project / "studies" / STUDY / "sample.yaml"
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(raw)
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")


WRONG = {
    "an unknown field": (lambda raw: raw.update(colour="x"), "colour"),
    "a column the study does not take": (lambda raw: raw["domains"]["LB"]["columns"].append("LBSTRESN"), "LBSTRESN"),
    "an open arm": (lambda raw: raw["domains"]["DM"]["columns"].append("ARM"), "domains.DM"),
    "an unknown domain": (lambda raw: raw["domains"].update(QQ=raw["domains"]["DM"]), "domains.QQ"),
    "a closed column that may land": (
        lambda raw: raw["domains"]["DM"].update(
            columns=["STUDYID", "USUBJID"], closed={"list": "x", "columns": ["USUBJID", "RACE"]}
        ),
        "RACE",
    ),
    "no subject": (lambda raw: raw["domains"]["DM"]["columns"].remove("USUBJID"), "USUBJID"),
    "a closed list without subjects": (
        lambda raw: raw["domains"]["DM"]["closed"]["columns"].remove("USUBJID"), "closed list names",
    ),
    "a merged row that leaves a column open": (
        lambda raw: raw["domains"]["EX"]["columns"].append("EXADJ"), "EXADJ",
    ),
    "dropped rows without a closed list": (lambda raw: raw["domains"]["EX"].pop("closed"), "rows would be lost"),
    "a column the data lack": (lambda raw: raw["domains"]["EX"]["order"].append("EXADJ"), "lacks a column"),
}  # fmt: skip


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_sample_file_is_refused_by_field(
    tmp_path: Path, project: Path, few: Tables, fault: str
) -> None:
    change, place = WRONG[fault]
    _edit(project, change)
    study = load_study(STUDY, project)
    with pytest.raises(ConfigError) as caught:
        write_sample(study, tmp_path / "landing", closed=tmp_path / "closed", project=project, tables=few)
    assert caught.value.code == "SAMPLE_INVALID" and place in caught.value.message


def test_a_sample_file_that_is_no_yaml_is_refused(project: Path) -> None:
    (project / "studies" / STUDY / "sample.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="not YAML"):
        load_spec(load_study(STUDY, project), project)


def test_a_subject_of_no_site_is_refused_unnamed(tmp_path: Path, study: Study, few: Tables) -> None:
    dm = few["dm"]
    names = pa.array(["01-999-1234", *dm["USUBJID"].to_pylist()[1:]])
    strange = {**few, "dm": dm.set_column(dm.column_names.index("USUBJID"), "USUBJID", names)}
    with pytest.raises(ConfigError, match="SAMPLE_INVALID") as caught:
        write_sample(study, tmp_path / "landing", closed=tmp_path / "closed", tables=strange)
    assert "999" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [("package", "no_such_package_here", "not installed"), ("collection", "nothing", "has no nothing")],
)
def test_data_that_are_not_installed_are_named_with_the_way_to_get_them(
    project: Path, field: str, value: str, says: str
) -> None:
    _edit(project, lambda raw: raw.update({field: value}))
    spec = load_spec(load_study(STUDY, project), project)
    with pytest.raises(ConfigError, match="SAMPLE_UNAVAILABLE") as caught:
        read_sources(spec)
    assert says in caught.value.message and caught.value.hint == f"pip install {spec.package}"


def test_the_package_is_read_without_being_imported(study: Study, tables: Tables) -> None:
    assert set(tables) >= {"lbch", "dm", "ex"}
    read_sources(load_spec(study, PROJECT))
    import sys

    assert load_spec(study, PROJECT).package not in sys.modules


def test_a_report_is_plain_data(pilot: tuple[Path, SampleReport]) -> None:
    plain = pilot[1].as_dict()
    assert plain["domains"][0] == {"domain": "LB", "source": 59_580, "exported": 59_580, "closed_only": 0}
