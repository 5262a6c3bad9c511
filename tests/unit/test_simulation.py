"""A simulated trial: plausible, reproducible, and nothing open depends on the arm."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from drawn_trial import STUDY, Rows, drawn, simulated
from msc_pipeline.errors import UsageError
from msc_pipeline.sample import write_sample
from msc_pipeline.sample.simulation import DOMAINS, arms, simulated_exports
from msc_pipeline.sample.spec import SimulatedSpec
from msc_pipeline.sample.trial import write_trial
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import Study, load_study


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY, PROJECT)


@pytest.fixture(scope="module")
def spec(study: Study) -> SimulatedSpec:
    return simulated(study)


@pytest.fixture(scope="module")
def trial(study: Study, spec: SimulatedSpec) -> Rows:
    return drawn(study, spec)


def test_the_trial_has_its_planned_subjects_at_every_site(trial: Rows, study: Study) -> None:
    assert len({row["USUBJID"] for row in trial["DM"]}) == len(trial["DM"]) == study.planned_subjects
    assert {row["SITEID"] for row in trial["DM"]} == set(study.sites)
    for row in trial["DM"]:
        found = re.fullmatch(study.subject_pattern, row["USUBJID"])
        assert found and found[1] == row["SITEID"]


def test_every_domain_of_the_study_is_simulated_with_its_required_columns(
    trial: Rows, study: Study, spec: SimulatedSpec
) -> None:
    assert set(spec.domains) <= set(DOMAINS)
    for code, columns in spec.domains.items():
        assert set(study.domains[code].required) <= set(columns) <= set(study.domains[code].columns)
        assert trial[code]


def test_no_key_stands_twice(trial: Rows, study: Study, spec: SimulatedSpec) -> None:
    for code, columns in spec.domains.items():
        key = [name for name in study.domains[code].key if name in columns]
        keys = [tuple(row[name] for name in key) for row in trial[code]]
        assert len(set(keys)) == len(keys), code


def test_nothing_is_later_than_the_data_date(trial: Rows, spec: SimulatedSpec) -> None:
    last = spec.simulated.data_until.isoformat()
    for rows in trial.values():
        for row in rows:
            assert all(cell[:10] <= last for name, cell in row.items() if name.endswith("DTC"))


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(
    study: Study, spec: SimulatedSpec, trial: Rows
) -> None:
    assert drawn(study, spec, "DM", "EX") == {code: trial[code] for code in ("DM", "EX")}
    assert drawn(study, spec, "DM", seed=5)["DM"] != trial["DM"]


def test_a_larger_scale_leaves_earlier_subjects_as_they_were(study: Study, spec: SimulatedSpec) -> None:
    columns = {"DM": spec.domains["DM"], "SV": spec.domains["SV"]}
    once = simulated_exports(study, spec.simulated, columns)
    for small, large in zip(once, simulated_exports(study, spec.simulated, columns, scale=2), strict=True):
        assert list(large.rows)[: len(list(small.rows))] == list(small.rows)
        assert len({row[2] for row in large.rows}) == 2 * len({row[2] for row in small.rows})


def test_arms_are_balanced_and_known_to_the_closed_list_only(
    tmp_path: Path, study: Study, spec: SimulatedSpec, trial: Rows
) -> None:
    visits = spec.model_copy(update={"domains": {"SV": spec.domains["SV"]}})
    write_trial(
        study, visits, tmp_path / "landing", tmp_path / "closed",
        project=PROJECT, seed=None, scale=1, mess=0, truth=None, on_file=None,
    )  # fmt: skip
    listed = pq.read_table(tmp_path / "closed" / STUDY / "randomisation.parquet")
    counts = {code: listed["ARMCD"].to_pylist().count(code) for code in ("PBO", "LOW", "HIGH")}
    assert counts == {"PBO": 27, "LOW": 27, "HIGH": 27}
    assert set(listed["USUBJID"].to_pylist()) == {row["USUBJID"] for row in trial["DM"]}
    for rows in trial.values():
        assert not {"ARM", "ARMCD", "ACTARM", "ACTARMCD", "EXTRT", "EXDOSE"} & set(rows[0])
        texts = {cell for row in rows for cell in row.values()}
        assert not [text for text in texts if re.search(study.blinded, text)]


def test_another_seed_of_the_arms_changes_no_open_row(study: Study, spec: SimulatedSpec, trial: Rows) -> None:
    other = spec.simulated.randomisation.model_copy(update={"seed": 99})
    changed = spec.model_copy(
        update={"simulated": spec.simulated.model_copy(update={"randomisation": other})}
    )
    assert list(arms(study, changed.simulated)) != list(arms(study, spec.simulated))
    assert drawn(study, changed) == trial


def test_so_many_copies_that_numbers_run_out_are_refused(tmp_path: Path, study: Study) -> None:
    with pytest.raises(UsageError, match="SAMPLE_SCALE"):
        write_sample(study, tmp_path / "landing", closed=tmp_path / "closed", scale=10_001)


def test_memory_does_not_grow_with_the_scale(study: Study, spec: SimulatedSpec) -> None:
    peaks = []
    for scale in (1, 1, 12):  # the first pass pays for imports
        tracemalloc.start()
        for export in simulated_exports(study, spec.simulated, {"SV": spec.domains["SV"]}, scale=scale):
            for _ in export.rows:
                pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1] + 100_000
