"""Staging: a raw copy becomes one part with every cell as text, or the delivery is rejected; nothing half-written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from msc_pipeline import staging, storage
from msc_pipeline.errors import IntegrityError, TransientError
from msc_pipeline.landing import land_site
from msc_pipeline.staging import stage_delivery
from msc_pipeline.storage import sha256_of
from tiny_trial import STUDY, STUDY_YAML, TinyTrial, ae, csv_text, lb, make_trial


def landed(trial: TinyTrial, data: str | bytes, name: str = "lb_1.csv") -> dict[str, Any]:
    """Return the delivery that one export has become."""
    trial.send("XA", "LB", data, name=name)
    (id_,) = land_site(trial.study, "XA", trial.settings)
    return next(d for d in trial.known("deliveries") if d["id"] == id_)


def staged_files(trial: TinyTrial) -> list[Path]:
    return [path for path in (trial.settings.home / STUDY / "staged").rglob("*") if path.is_file()]


def now(trial: TinyTrial) -> dict[str, Any]:
    return trial.known("deliveries")[-1]


def test_a_delivery_is_staged_as_a_part_that_the_ledger_knows(trial: TinyTrial) -> None:
    rows = [lb("XA", 1), lb("XA", 2, LBORRES="0012", LBORRESU="NA")]
    stage_delivery(trial.study, landed(trial, csv_text(rows)), trial.settings)
    (part,) = trial.known("parts")
    path = trial.settings.home / part["path"]
    assert (part["kind"], part["rows"], part["sha256"]) == ("staged", 2, sha256_of(path))
    assert (now(trial)["status"], now(trial)["rows_in"], now(trial)["staged_part"]) == (
        "STAGED",
        2,
        part["path"],
    )
    table = pq.read_table(path)
    assert table.column("LBORRES").to_pylist() == [rows[0]["LBORRES"], "0012"]
    assert table.column("LBORRESU").to_pylist() == ["U/L", "NA"]
    assert table.column("LBSTAT").null_count == 2
    assert table.column("SRC_ROW").to_pylist() == [2, 3]


def test_a_file_with_a_header_only_is_a_part_without_rows(trial: TinyTrial) -> None:
    stage_delivery(trial.study, landed(trial, csv_text([lb("XA", 1)]).splitlines()[0] + "\n"), trial.settings)
    assert (now(trial)["status"], now(trial)["rows_in"]) == ("STAGED", 0)
    assert pq.read_table(trial.settings.home / now(trial)["staged_part"]).column_names[0] == "STUDYID"


def test_a_file_that_cannot_be_read_is_rejected_with_a_query_and_an_alert_and_leaves_no_part(
    trial: TinyTrial,
) -> None:
    stage_delivery(trial.study, landed(trial, csv_text([lb("XA", 1)]).encode() + b"\xff\n"), trial.settings)
    assert (now(trial)["status"], now(trial)["code"], now(trial)["accepted"]) == ("REJECTED", "ENCODING", 0)
    assert staged_files(trial) == [] == trial.known("parts")
    assert trial.open_queries() == [("XA", "LB", "ENCODING")]
    assert [a["kind"] for a in trial.known("alerts")] == ["DELIVERY_REJECTED"]
    assert [a["event"] for a in trial.known("audit")] == ["received", "rejected"]


def test_a_fault_behind_the_first_batch_leaves_nothing_either(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("msc_pipeline.readers.delimited.BLOCK", 2)
    text = csv_text([lb("XA", n) for n in range(1, 6)]) + 'x,"y\n'
    stage_delivery(trial.study, landed(trial, text), trial.settings)
    assert now(trial)["code"] == "QUOTE"
    assert staged_files(trial) == []


def test_a_raw_copy_that_changed_stops_staging_and_rejects_nothing(trial: TinyTrial) -> None:
    delivery = landed(trial, csv_text([lb("XA", 1)]))
    copy = trial.settings.home / STUDY / "raw" / delivery["sha256"]
    copy.chmod(0o644)
    copy.write_text(copy.read_text().replace("22", "23"))
    with pytest.raises(IntegrityError) as caught:
        stage_delivery(trial.study, delivery, trial.settings)
    assert caught.value.code == "INTEGRITY"
    assert now(trial)["status"] == "LANDED"


def test_a_full_disk_leaves_the_delivery_for_the_next_run(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = landed(trial, csv_text([lb("XA", 1)]))

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "no")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "sync_file", full)
        with pytest.raises(TransientError):
            stage_delivery(trial.study, delivery, trial.settings)
    assert now(trial)["status"] == "LANDED"
    assert staged_files(trial) == []
    stage_delivery(trial.study, delivery, trial.settings)
    assert now(trial)["status"] == "STAGED"


def test_two_workers_that_stage_one_delivery_do_it_once(trial: TinyTrial) -> None:
    delivery = landed(trial, csv_text([lb("XA", 1)]))
    for _ in range(2):
        stage_delivery(trial.study, delivery, trial.settings)
    stage_delivery(trial.study, now(trial), trial.settings)
    assert len(trial.known("parts")) == len(staged_files(trial)) == 1
    assert now(trial)["status"] == "STAGED"


def test_two_workers_that_reject_one_delivery_do_it_once(trial: TinyTrial) -> None:
    delivery = landed(trial, "nothing\n")
    for _ in range(2):
        stage_delivery(trial.study, delivery, trial.settings)
    assert len(trial.known("queries")) == len(trial.known("alerts")) == 1
    assert [a["event"] for a in trial.known("audit")] == ["received", "rejected"]


def test_another_profile_or_version_makes_another_part_and_overwrites_none(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    delivery = landed(trial, csv_text([lb("XA", 1)]))
    stage_delivery(trial.study, delivery, trial.settings)
    changed = STUDY_YAML.replace("plain: {", "plain: {values: {LBSTAT: {x: NOT DONE}}, ")
    stage_delivery(make_trial(tmp_path / "changed", changed).study, delivery, trial.settings)
    monkeypatch.setattr(staging, "__version__", "another")
    stage_delivery(trial.study, delivery, trial.settings)
    assert len(staged_files(trial)) == 3


@pytest.mark.parametrize("gone", ["  XA: {profile: plain}\n", "  AE:\n"])
def test_a_delivery_of_a_site_or_domain_that_the_study_gave_up_is_rejected(
    gone: str, trial: TinyTrial, tmp_path: Path
) -> None:
    delivery = landed(trial, csv_text([ae("XA", 1)]), name="ae_1.csv")
    less = STUDY_YAML.replace("AE:", "MH:") if "AE" in gone else STUDY_YAML.replace(gone, "")
    less = less.replace("AESEQ", "MHSEQ").replace("AETERM", "MHTERM") if "AE" in gone else less
    stage_delivery(make_trial(tmp_path / "less", less).study, delivery, trial.settings)
    assert (now(trial)["status"], now(trial)["code"]) == ("REJECTED", "ROUTE")
