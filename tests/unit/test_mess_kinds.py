"""Mess without the pipeline: what is planted where, what the truth file says, and that the same seed repeats it."""

from __future__ import annotations

import csv
import hashlib
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from typer.testing import CliRunner

from integration.messy import small
from msc_pipeline.cli import app
from msc_pipeline.errors import ConfigError, DeliveryRejected, UsageError
from msc_pipeline.readers import read_export
from msc_pipeline.sample import write_sample
from msc_pipeline.sample.damage import LATER, Site, _cut
from msc_pipeline.sample.dirt import Bench, load_limits
from msc_pipeline.sample.mess import send_messy
from msc_pipeline.sample.sending import Line, Outbox
from msc_pipeline.sample.simulation import Fact, simulated_exports
from msc_pipeline.sample.slips import KINDS, Kind, Place, Planted
from msc_pipeline.sample.trial import write_trial
from msc_pipeline.sample.truth import write_truth
from msc_pipeline.sample.units import load_units
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study

STUDY = load_study("misle", PROJECT)
FEW = small(STUDY, 2)
LIMITS = load_limits(STUDY, "LB", load_units(STUDY, PROJECT), PROJECT)
PLACE = Place("Placebo", "MISLE-MSC02-001", "MISLE-MSC01-999", 2031, LIMITS.beyond)
GOOD = {
    "LB": {"USUBJID": "MISLE-MSC01-001", "LBTESTCD": "CREAT", "LBORRES": "66.5", "LBORRESU": "umol/L",
           "LBORNRLO": "45", "LBORNRHI": "90", "LBDTC": "2025-03-08T09:05"},
    "VS": {"USUBJID": "MISLE-MSC01-001", "VSTESTCD": "TEMP", "VSORRES": "36.6", "VSORRESU": "C",
           "VSDTC": "2025-03-08"},
    "CM": {"USUBJID": "MISLE-MSC01-001", "CMTRT": "PREDNISONE", "CMINDC": "Lupus"},
    "AE": {"USUBJID": "MISLE-MSC01-001", "AETERM": "Rash", "AESTDTC": "2025-03-08"},
}  # fmt: skip
FITTING = {
    "censored below": {"LBORRES": "0.2"},
    "censored above": {"LBORRES": "400"},
    "result x 10": {"LBTESTCD": "HGB", "LBORRES": "119", "LBORRESU": "g/L"},
}
EXPECTED_FILES = {
    "half a file", "file cut at a line's end, hash declared", "file cut at a line's end, rows declared",
    "column that nobody declared", "wrong delimiter", "encoding that nobody declared",
    "local dates that nobody declared", "same file under another name", "rows removed", "adverse event removed",
    "subject removed", "correction received early", "older correction received late", "same name, new content",
    "correction received early, order declared", "older correction received late, order declared",
}  # fmt: skip


def sent(folder: Path, seed: int, share: float) -> tuple[dict[str, int], list[Fact]]:
    exports = simulated_exports(STUDY, FEW.simulated, FEW.domains, seed=seed)
    outbox = Outbox.open(STUDY, folder, PROJECT)
    return send_messy(outbox, FEW.simulated, exports, share, seed, PROJECT)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.domain} {kind.fault}")
def test_a_slip_changes_a_good_row_and_names_the_column(kind: Kind) -> None:
    good = GOOD[kind.domain] | FITTING.get(kind.fault, {})
    made = kind.slip(good, PLACE)
    assert made is not None
    parts = made[1]
    assert any(isinstance(part, Line) or part.column for part in parts)
    changed = [part for part in parts if isinstance(part, Line) or part.cells != good]
    assert changed or kind.fault == "duplicate, same values"
    for part in changed:
        if isinstance(part, Planted):
            assert {name for name in good if part.cells[name] != good[name]} == set(part.column.split())


UNFIT = {"LBORRES": "", "LBORRESU": "", "LBORNRLO": "", "LBORNRHI": "", "LBDTC": "", "VSORRES": "", "VSORRESU": "",
         "VSDTC": "", "AESTDTC": ""}  # fmt: skip


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if not k.lines and "subject" not in k.fault and "arm" not in k.fault
             and "same values" not in k.fault and "identifier" not in k.fault],
    ids=lambda kind: f"{kind.domain} {kind.fault}",
)  # fmt: skip
def test_a_slip_passes_over_a_row_that_it_does_not_fit(kind: Kind) -> None:
    good = GOOD[kind.domain]
    assert kind.slip({**good, **{n: c for n, c in UNFIT.items() if n in good}}, PLACE) is None


@pytest.mark.parametrize(
    ("test", "result", "unit", "rule"),
    [("HGB", "1190", "g/L", "BC-001"), ("HGB", "119", "g/dL", "BC-001"), ("HGB", "11.9", "g/dL", ""),
     ("HGB", "1190", "stones", ""), ("HGB", "1190", "", ""), ("XYZ", "1", "g/L", "")],
)  # fmt: skip
def test_a_result_is_beyond_belief_as_the_suites_say(test: str, result: str, unit: str, rule: str) -> None:
    assert LIMITS.beyond(test, Decimal(result), unit) == rule


def test_the_same_seed_gives_the_same_files_and_truth(tmp_path: Path) -> None:
    first, again, other = (sent(tmp_path / name, seed, 0.05) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert first == again != other
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b") != hashes(tmp_path / "c")


@pytest.mark.parametrize("share", [0.0001, 1.0])
def test_every_kind_of_fault_is_planted_at_any_share(share: float, tmp_path: Path) -> None:
    counts, facts = sent(tmp_path, 5, share)
    assert {fact.fault for fact in facts} == EXPECTED_FILES | {kind.fault for kind in KINDS}
    rows = len([fact for fact in facts if fact.row])
    assert rows < 0.1 * sum(counts.values())
    files = {path for path in hashes(tmp_path / "misle") if not path.endswith(".manifest.json")}
    assert {fact.file for fact in facts} <= files


def test_a_share_of_one_is_dirtier_than_a_small_one(tmp_path: Path) -> None:
    assert len(sent(tmp_path / "a", 5, 1.0)[1]) > 2 * len(sent(tmp_path / "b", 5, 0.01)[1])


def test_no_planted_case_is_touched(tmp_path: Path) -> None:
    sent(tmp_path, 5, 1.0)
    cases = {f"MISLE-MSC07-{c.number:03d}" for c in FEW.simulated.planted if c.site == "MSC07"}
    path = tmp_path / "misle/MSC07/results_MSC07.csv.gz"
    read = read_export(path, STUDY.profile("MSC07", "LB"), STUDY.domains["LB"], "LB", path.name)
    there = {(r["LBREFID"], r["LBTESTCD"]): r["LBORRES"] for b in read for r in b.to_pylist()}
    columns = FEW.domains["LB"]
    for export in simulated_exports(STUDY, FEW.simulated, {"LB": columns}, seed=5):
        for row in export.rows:
            cells = dict(zip(columns, row, strict=True))
            if cells["USUBJID"] in cases:
                assert there[cells["LBREFID"], cells["LBTESTCD"]] == (cells["LBORRES"] or None)
    assert cases


@pytest.mark.parametrize("site", STUDY.sites)
def test_half_a_file_is_refused_with_the_code_of_its_format(site: str, tmp_path: Path) -> None:
    outbox = Outbox.open(STUDY, tmp_path, PROJECT)
    one = FEW.simulated.model_copy(update={"sites": {site: FEW.simulated.sites[site]}, "planted": ()})
    place = Place("", "", "", 2031, LIMITS.beyond)
    for export in simulated_exports(STUDY, one, FEW.domains, seed=5):
        rows, domain = list(export.rows), export.domain
        bench = Bench(site, domain, export.columns, rows, "", 1, False, frozenset(), place)
        for fact in _cut(Site(outbox, bench), Random(1)):
            path = tmp_path / "misle" / fact.file
            with pytest.raises(DeliveryRejected) as caught:
                list(read_export(path, STUDY.profile(site, domain), STUDY.domains[domain], domain, path.name))
            assert caught.value.code == fact.rule_id, domain


def test_the_truth_file_has_its_columns_and_lies_outside_landing(tmp_path: Path) -> None:
    truth = tmp_path / "truth.csv"
    write_trial(
        STUDY, FEW, tmp_path / "landing", tmp_path / "closed", project=PROJECT, seed=5, scale=1, mess=0,
        truth=truth, on_file=None,
    )  # fmt: skip
    with truth.open(encoding="utf-8", newline="") as file:
        facts = list(csv.DictReader(file))
    assert list(facts[0]) == ["file", "row", "column", "fault", "rule_id", "expected"]
    assert not any(fact["file"] for fact in facts)
    assert not list((tmp_path / "landing").rglob(LATER))


def test_a_fact_with_a_comma_survives_the_truth_file(tmp_path: Path) -> None:
    fact = Fact("MSC01/lb.csv", "7", "LBORRES", "censored, below", "", "accepted: [0, 0.1)")
    write_truth(tmp_path / "truth.csv", [fact])
    with (tmp_path / "truth.csv").open(encoding="utf-8", newline="") as file:
        assert [Fact(*row.values()) for row in csv.DictReader(file)] == [fact]


def test_the_truth_in_the_landing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="TRUTH_PLACE"):
        write_sample(
            STUDY, tmp_path / "landing", closed=tmp_path / "closed", truth=tmp_path / "landing/misle/t.csv"
        )


def test_mess_is_for_simulated_studies(tmp_path: Path) -> None:
    pilot = load_study("cdiscpilot01", PROJECT)
    with pytest.raises(UsageError, match="SAMPLE_MESS"):
        write_sample(pilot, tmp_path / "landing", closed=tmp_path / "closed", mess=0.1)


def test_a_share_beyond_one_is_refused_by_the_command(tmp_path: Path) -> None:
    words = ["sample", "--study", "misle", "--landing", str(tmp_path), "--mess", "1.5"]
    assert CliRunner().invoke(app, words).exit_code == 2


def test_a_study_without_an_arm_that_the_blind_covers_cannot_be_messy(tmp_path: Path) -> None:
    bare = STUDY.model_copy(update={"blinding": STUDY.blinding.model_copy(update={"words": ("nothing",)})})
    bare.__dict__.pop("blinded", None)
    outbox = Outbox.open(bare, tmp_path, PROJECT)
    exports = simulated_exports(bare, FEW.simulated, FEW.domains, seed=5)
    with pytest.raises(ConfigError, match="SAMPLE_INVALID"):
        send_messy(outbox, FEW.simulated, exports, 0.1, 5, PROJECT)
