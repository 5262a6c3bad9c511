"""Corrections: which rows are in force after each delivery, what is held, and what a delivery restated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from msc_pipeline import corrections, ledger, pipeline
from msc_pipeline.corrections import let_through, settle
from msc_pipeline.errors import IntegrityError, PermanentError, TransientError
from msc_pipeline.ledger import Ledger
from tiny_trial import FEW_RULES, STUDY, TinyTrial, ae, cm, csv_text, lb, make_trial, trust_own_scan

Rows = list[dict[str, str]]


@pytest.fixture
def trial(tmp_path: Path) -> TinyTrial:
    return make_trial(tmp_path, FEW_RULES)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        trust_own_scan(patch)
        yield


def labs(*subjects: int, site: str = "XA", seqs: tuple[int, ...] = (1, 2), **cells: str) -> Rows:
    return [lb(site, number, seq, **cells) for number in subjects for seq in seqs]


def results(trial: TinyTrial, site: str = "XA") -> list[tuple[str, str, str | None]]:
    return [(r["USUBJID"][-3:], r["LBORRES"], r["PENDFL"]) for r in trial.in_force(site, "LB")]


def restatements(trial: TinyTrial) -> list[dict[str, Any]]:
    return [row for file in trial.parts("restatement").values() for row in pq.read_table(file).to_pylist()]


def sha(trial: TinyTrial, file: str) -> str:
    return next(d["sha256"] for d in trial.known("deliveries") if d["file"] == file)


def test_a_cumulative_file_replaces_what_its_site_sent_before(trial: TinyTrial) -> None:
    trial.send("XA", "LB", labs(1, 2), name="lb_v1.csv")
    trial.send("XB", "LB", labs(1, site="XB"), name="lb_xb_v1.csv")
    trial.decide()
    trial.send("XA", "LB", [*labs(1, 2, seqs=(1,)), *labs(1, 2, seqs=(3,))], name="lb_v2.csv")
    assert trial.decide()["lb_v2.csv"] == ("ACCEPTED", None)
    assert sorted(r["LBTESTCD"] for r in trial.in_force("XA", "LB")) == ["ALT", "ALT", "HGB", "HGB"]
    assert {r["SRC_SHA256"] for r in trial.in_force("XA", "LB")} == {sha(trial, "lb_v2.csv")}
    assert len(trial.in_force("XB", "LB")) == 2


def test_incremental_files_add_and_the_newest_wins_per_key_whatever_their_order_of_arrival(
    tmp_path: Path,
) -> None:
    files = {
        "cm_v1.csv": [cm("XA", 1, 1, CMTRT="ONE"), cm("XA", 1, 2, CMTRT="TWO")],
        "cm_v2.csv": [cm("XA", 1, 2, CMTRT="TWO AGAIN"), cm("XA", 1, 3, CMTRT="THREE")],
        "cm_v3.csv": [cm("XA", 2, 1, CMTRT="FOUR")],
    }
    found = []
    for order in (list(files), ["cm_v3.csv", "cm_v2.csv", "cm_v1.csv"]):
        trial = make_trial(tmp_path / order[0])
        for name in order:
            trial.send("XA", "CM", files[name], name=name)
            trial.decide()
        found.append(trial.in_force("XA", "CM"))
    assert found[0] == found[1]
    assert [r["CMTRT"] for r in sorted(found[0], key=lambda r: (r["USUBJID"], r["CMSEQ"]))] == [
        "ONE", "TWO AGAIN", "THREE", "FOUR",
    ]  # fmt: skip


def test_a_file_that_lacks_a_subject_is_held_until_a_person_lets_it_through(trial: TinyTrial) -> None:
    trial.send("XA", "LB", labs(1, 2), name="lb_v1.csv")
    trial.decide()
    before = trial.in_force("XA", "LB")
    trial.send("XA", "LB", labs(1), name="lb_v2.csv")
    assert trial.decide()["lb_v2.csv"] == ("HELD", "REMOVES")
    assert trial.in_force("XA", "LB") == before
    assert trial.open_queries() == [("XA", "LB", "REMOVES")]
    assert [a["kind"] for a in trial.known("alerts")] == ["DELIVERY_HELD"]
    assert "1 subject" in trial.known("alerts")[0]["body"]

    let_through(trial.study, 2, "The subject withdrew consent.", trial.settings)
    assert {r["USUBJID"][-3:] for r in trial.in_force("XA", "LB")} == {"001"}
    assert trial.decide()["lb_v2.csv"] == ("ACCEPTED", None)
    assert trial.open_queries() == []
    events = [(a["event"], "withdrew consent" in a["body"]) for a in trial.known("audit")]
    assert events[-2:] == [("let through", True), ("decided", False)]
    assert [r["CHANGE"] for r in restatements(trial)] == ["REMOVED", "REMOVED"]
    with pytest.raises(PermanentError, match="NOT_HELD"):
        let_through(trial.study, 2, "Again.", trial.settings)


def test_a_held_file_is_forgotten_when_the_site_sends_a_whole_one(trial: TinyTrial) -> None:
    for name, rows in {"lb_v1.csv": labs(1, 2), "lb_v2.csv": labs(1)}.items():
        trial.send("XA", "LB", rows, name=name)
        trial.decide()
    trial.send("XA", "LB", labs(1, 2, LBORRES="30"), name="lb_v3.csv")
    statuses = trial.decide()
    assert (statuses["lb_v2.csv"][0], statuses["lb_v3.csv"][0]) == ("HELD", "ACCEPTED")
    assert {r[1] for r in results(trial)} == {"30"}
    assert trial.open_queries() == []


def test_a_file_that_lacks_an_adverse_event_is_held(trial: TinyTrial) -> None:
    trial.send("XA", "AE", [ae("XA", 1, 1), ae("XA", 1, 2)], name="ae_v1.csv")
    trial.decide()
    trial.send("XA", "AE", [ae("XA", 1, 1)], name="ae_v2.csv")
    assert trial.decide()["ae_v2.csv"] == ("HELD", "REMOVES")
    assert sorted(r["AESEQ"] for r in trial.in_force("XA", "AE")) == ["1", "2"]


def test_as_many_keys_as_max_removed_may_go_and_not_one_more(trial: TinyTrial) -> None:
    assert trial.study.domains["LB"].max_removed == Decimal("0.5")
    trial.send("XA", "LB", labs(1, 2), name="lb_v1.csv")
    trial.decide()
    trial.send("XA", "LB", labs(1, 2, seqs=(1,)), name="lb_v2.csv")
    assert trial.decide()["lb_v2.csv"] == ("ACCEPTED", None)
    trial.send("XA", "LB", labs(1, 2, seqs=(1, 2, 3)), name="lb_v3.csv")
    trial.send("XA", "LB", [*labs(1, seqs=(1,)), *labs(2, seqs=(2,))], name="lb_v4.csv")
    assert trial.decide()["lb_v4.csv"] == ("HELD", "REMOVES")
    assert trial.known("deliveries")[3]["reason"] == "It would remove 4 of 6 keys."


def test_files_in_any_order_give_the_same_rows_statuses_and_restatements(tmp_path: Path) -> None:
    files = {
        "lb_v1.csv": labs(1, 2),
        "lb_v2.csv": labs(1, 2, LBORRES="31"),
        "lb_v3.csv": labs(1),
    }
    found = []
    for order in (["lb_v1.csv", "lb_v2.csv", "lb_v3.csv"], ["lb_v3.csv", "lb_v1.csv", "lb_v2.csv"]):
        trial = make_trial(tmp_path / order[0], FEW_RULES)
        for name in order:
            trial.send("XA", "LB", files[name], name=name)
            statuses = trial.decide()
        head = trial.known("heads")[0]
        used = [pq.read_table(trial.settings.home / p).to_pylist() for p in json.loads(head["restatements"])]
        found.append((statuses, head["state"], trial.in_force("XA", "LB"), used, trial.open_queries()))
    assert found[0] == found[1]
    assert found[0][0]["lb_v3.csv"] == ("HELD", "REMOVES")
    assert [len(part) for part in found[0][3]] == [4]


def test_a_quarantined_correction_leaves_the_last_accepted_row_pending_until_a_good_one(
    trial: TinyTrial,
) -> None:
    good = labs(1, 2, 3)
    trial.send("XA", "LB", good, name="lb_v1.csv")
    trial.decide()
    trial.send("XA", "LB", [{**good[0], "LBORRES": "high"}, *good[1:]], name="lb_v2.csv")
    assert trial.decide()["lb_v2.csv"][0] == "PARTIAL"
    pending = [r for r in trial.in_force("XA", "LB") if r["PENDFL"] == "Y"]
    assert [(r["LBORRES"], r["SRC_SHA256"]) for r in pending] == [("22", sha(trial, "lb_v1.csv"))]
    assert trial.known("heads")[0]["keys_pending"] == 1
    assert restatements(trial) == []

    trial.send("XA", "LB", [{**good[0], "LBORRES": "99"}, *good[1:]], name="lb_v3.csv")
    trial.decide()
    assert ("001", "99", None) in results(trial)
    assert {r[2] for r in results(trial)} == {None}
    (change,) = restatements(trial)
    assert (change["OLD"], change["NEW"]) == ("22", "99")
    assert (change["OLD_SHA256"], change["NEW_SHA256"]) == (sha(trial, "lb_v1.csv"), sha(trial, "lb_v3.csv"))


def test_a_pending_row_of_an_incremental_domain_stays_pending_until_its_key_comes_good(
    trial: TinyTrial,
) -> None:
    rows = [cm("XA", 1, seq) for seq in range(1, 6)]
    trial.send("XA", "CM", rows, name="cm_v1.csv")
    trial.send("XA", "CM", [{**rows[0], "CMTRT": ""}, *rows[1:]], name="cm_v2.csv")
    trial.decide()
    pending = [r["CMSEQ"] for r in trial.in_force("XA", "CM") if r["PENDFL"]]
    assert pending == ["1"]
    trial.send("XA", "CM", [cm("XA", 2, 1)], name="cm_v3.csv")
    trial.decide()
    assert [r["CMSEQ"] for r in trial.in_force("XA", "CM") if r["PENDFL"]] == pending
    trial.send("XA", "CM", [cm("XA", 1, 1, CMTRT="IBUPROFEN")], name="cm_v4.csv")
    trial.decide()
    assert [r["CMSEQ"] for r in trial.in_force("XA", "CM") if r["PENDFL"]] == []
    assert len(trial.in_force("XA", "CM")) == 6


def test_a_line_that_cannot_be_split_removes_nothing(trial: TinyTrial) -> None:
    trial.send("XA", "LB", labs(1, 2, 3), name="lb_v1.csv")
    trial.decide()
    trial.send("XA", "LB", csv_text(labs(1, 2)) + "TINY01,broken\n", name="lb_v2.csv")
    assert trial.decide()["lb_v2.csv"] == ("PARTIAL", None)
    assert [r[0] for r in results(trial) if r[2] == "Y"] == ["003", "003"]
    trial.send("XA", "LB", labs(1, 2, 3, LBORRES="33"), name="lb_v3.csv")
    trial.decide()
    assert [r[2] for r in results(trial)] == [None] * 6


def test_a_restatement_has_one_row_per_key_and_variable_with_both_files(trial: TinyTrial) -> None:
    first = labs(1, seqs=(1, 2, 3))
    trial.send("XA", "LB", first, name="lb_v1.csv")
    trial.decide()
    second = [{**first[0], "LBORRES": "41", "LBORNRHI": "45", "LBSEQ": "9"}, first[1]]
    trial.send("XA", "LB", second, name="lb_v2.csv")
    trial.decide()
    old, new = sha(trial, "lb_v1.csv"), sha(trial, "lb_v2.csv")
    key = "USUBJID=TINY01-XA-001; LBTESTCD={}; LBDTC=2025-03-0{}T09:00"
    found = [
        (r["CHANGE"], r["ROW_KEY"], r["VARIABLE"], r["OLD"], r["NEW"], r["OLD_ROW"], r["NEW_ROW"])
        for r in restatements(trial)
    ]
    assert found == [
        ("CHANGED", key.format("ALT", 1), "LBORNRHI", "40", "45", 2, 2),
        ("CHANGED", key.format("ALT", 1), "LBORRES", "22", "41", 2, 2),
        ("REMOVED", key.format("HGB", 8), None, None, None, 4, None),
    ]
    assert {(r["OLD_SHA256"], r["NEW_SHA256"]) for r in restatements(trial)} == {(old, new)}


def test_a_word_of_the_blind_is_masked_in_restatements(trial: TinyTrial) -> None:
    for number, term in enumerate(("Rash after activex", "Rash"), 1):
        trial.send("XA", "AE", [ae("XA", 1, AETERM=term)], name=f"ae_v{number}.csv")
        trial.decide()
    (change,) = restatements(trial)
    assert (change["OLD"], change["NEW"]) == ("Rash after [masked]", "Rash")


def test_going_back_to_an_older_file_restates_back_and_leaves_earlier_deltas_alone(trial: TinyTrial) -> None:
    first, second = labs(1), labs(1, LBORRES="30")
    trial.send("XA", "LB", first, name="lb_first.csv")
    trial.decide()
    rows = trial.in_force("XA", "LB")
    trial.send("XA", "LB", second, name="lb_second.csv")
    trial.decide()
    (delta,) = trial.parts("restatement").values()
    kept = delta.read_bytes()
    trial.send("XA", "LB", first, name="lb_first.csv")
    trial.decide()
    assert [d["status"] for d in trial.known("deliveries")] == ["ACCEPTED"] * 3
    assert trial.in_force("XA", "LB") == rows
    assert len(trial.parts("restatement")) == 2
    assert delta.read_bytes() == kept
    assert [(r["OLD"], r["NEW"]) for r in restatements(trial)].count(("30", "22")) == 1
    trial.send("XA", "LB", first, name="lb_first_again.csv")
    trial.decide()
    assert len(trial.known("deliveries")) == 3
    assert len(trial.known("receipts")) == 4


def test_deciding_again_changes_nothing(trial: TinyTrial) -> None:
    for name, rows in {"lb_v1.csv": labs(1, 2), "lb_v2.csv": labs(1)}.items():
        trial.send("XA", "LB", rows, name=name)
        trial.decide()
    before = {table: trial.known(table) for table in ledger.metadata.tables}
    files = {path: path.stat().st_mtime_ns for path in trial.settings.home.rglob("*.parquet")}
    assert settle(trial.study, "XA", "LB", trial.settings) == []
    assert settle(trial.study, "XB", "LB", trial.settings) == []
    assert {table: trial.known(table) for table in ledger.metadata.tables} == before
    assert {path: path.stat().st_mtime_ns for path in trial.settings.home.rglob("*.parquet")} == files


def test_of_conflicting_duplicates_both_are_quarantined_and_identical_ones_are_accepted(
    trial: TinyTrial,
) -> None:
    same = [lb("XA", 1, 1), lb("XA", 1, 1, LBSEQ="7")]
    clash = [lb("XA", 1, 2), lb("XA", 1, 2, LBORRES="999")]
    trial.send("XA", "LB", [*same, *clash, *labs(2, 3, seqs=(1, 2, 3))], name="lb_v1.csv")
    assert trial.decide()["lb_v1.csv"][0] == "PARTIAL"
    (part,) = trial.parts("quarantine").values()
    quarantined = pq.read_table(part).to_pylist()
    assert [(r["SRC_ROW"], r["RULES"]) for r in quarantined] == [(4, ["ID-005"]), (5, ["ID-005"])]
    assert [r["SRC_ROW"] for r in trial.in_force("XA", "LB") if r["USUBJID"].endswith("001")] == [2, 3]
    assert trial.open_queries() == [("XA", "LB", "ID-005")]
    assert [q["n_rows"] for q in trial.known("queries")] == [2]


def test_equal_bytes_of_two_sites_make_two_states(trial: TinyTrial) -> None:
    header = csv_text([cm("XA", 1)]).splitlines()[0] + "\n"
    for site in ("XA", "XB"):
        trial.send(site, "CM", header, name="cm_empty.csv")
    trial.decide()
    assert len({h["state"] for h in trial.known("heads")}) == 2


def test_a_damaged_or_unknown_part_stops_the_decision(trial: TinyTrial) -> None:
    trial.send("XA", "LB", labs(1), name="lb_v1.csv")
    trial.decide()
    trial.send("XA", "LB", labs(1, LBORRES="30"), name="lb_v2.csv")
    ids = pipeline.land(STUDY, "XA", trial.settings)
    pipeline.validate(STUDY, pipeline.stage(STUDY, ids, trial.settings), trial.settings)
    (path, file), *_ = trial.parts("accepted").items()
    good = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(IntegrityError, match="INTEGRITY"):
        settle(trial.study, "XA", "LB", trial.settings)
    assert trial.known("deliveries")[1]["status"] == "VALIDATED"
    file.write_bytes(good)
    with Ledger(trial.settings.ledger).write() as connection:
        connection.execute(sa.delete(ledger.parts).where(ledger.parts.c.path == path))
    with pytest.raises(IntegrityError, match="1 parts of site XA, domain LB are not in the ledger"):
        settle(trial.study, "XA", "LB", trial.settings)


def test_a_decision_that_others_keep_overtaking_gives_up_and_may_be_retried(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.send("XA", "LB", labs(1), name="lb_v1.csv")
    ids = pipeline.land(STUDY, "XA", trial.settings)
    pipeline.validate(STUDY, pipeline.stage(STUDY, ids, trial.settings), trial.settings)
    tries = []

    def overtake(step: str) -> None:
        if step == "folded":
            tries.append(step)
            with Ledger(trial.settings.ledger).write() as connection:
                changed = sa.update(ledger.deliveries).values(let_through=f"changed {len(tries)}")
                connection.execute(changed)

    with monkeypatch.context() as patch:
        patch.setattr("msc_pipeline.storage.on_mark", overtake)
        with pytest.raises(TransientError, match="RACE"):
            settle(trial.study, "XA", "LB", trial.settings)
    assert len(tries) == corrections.TRIES
    assert trial.known("heads") == []
    assert settle(trial.study, "XA", "LB", trial.settings) == ids
