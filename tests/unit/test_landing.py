"""Landing: every export is taken exactly once, as it is, or refused with a reason; nothing about it is trusted."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from msc_pipeline import landing, storage
from msc_pipeline.errors import PipelineError, TransientError
from msc_pipeline.landing import land_site, site_folders, waiting
from msc_pipeline.staging import stage_delivery
from tiny_trial import STUDY, STUDY_YAML, TinyTrial, ae, csv_text, lb, make_trial

LAB = csv_text([lb("XA", 1)])
EVENTS = csv_text([ae("XA", 1)])


def land(trial: TinyTrial, site: str = "XA") -> list[int]:
    return land_site(trial.study, site, trial.settings)


def deliveries(trial: TinyTrial) -> dict[str, dict[str, Any]]:
    return {d["file"]: d for d in trial.known("deliveries")}


def codes(trial: TinyTrial) -> dict[str, str | None]:
    return {name: d["code"] for name, d in deliveries(trial).items()}


def left(trial: TinyTrial, site: str = "XA") -> list[str]:
    """Return every file in a site's folder, hidden ones too."""
    folder = trial.folder(site)
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir() or p.is_symlink())


def declare(path: Path, **manifest: Any) -> None:
    path.with_name(path.name + ".manifest.json").write_text(json.dumps(manifest))


def raw(trial: TinyTrial) -> Path:
    return trial.settings.home / STUDY / "raw"


def with_profile(folder: Path, line: str) -> TinyTrial:
    """Return a tiny trial whose site XA has a profile of its own."""
    text = STUDY_YAML.replace("profiles:\n", f"profiles:\n  own: {line}\n", 1)
    return make_trial(folder, text.replace("XA: {profile: plain}", "XA: {profile: own}", 1))


def fail(number: int) -> Callable[..., Any]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(number, "no")

    return refuse


def test_an_export_becomes_a_receipt_a_delivery_and_a_raw_copy_that_nobody_may_change(
    trial: TinyTrial,
) -> None:
    trial.send("XA", "LB", LAB)
    assert land(trial) == [1]
    sha256 = hashlib.sha256(LAB.encode()).hexdigest()
    copy = raw(trial) / sha256
    assert copy.read_text() == LAB
    assert stat.S_IMODE(copy.stat().st_mode) == 0o444
    receipt, delivery = trial.known("receipts")[0], trial.known("deliveries")[0]
    assert (receipt["site"], receipt["name"], receipt["sha256"]) == ("XA", "lb_XA.csv", sha256)
    assert receipt["bytes"] == len(LAB)
    assert (delivery["id"], delivery["domain"], delivery["status"]) == (receipt["id"], "LB", "LANDED")
    assert (delivery["sha256"], delivery["verified"], delivery["order_number"]) == (sha256, "UNVERIFIED", 0)
    assert [a["event"] for a in trial.known("audit")] == ["received"]
    assert left(trial) == []


def test_landing_again_takes_nothing_and_names_what_is_still_undecided(trial: TinyTrial) -> None:
    trial.send("XA", "LB", LAB)
    assert land(trial) == land(trial) == [1]
    assert len(trial.known("receipts")) == 1


def test_a_site_that_sent_nothing_has_nothing(trial: TinyTrial) -> None:
    assert land(trial, "XB") == []
    assert waiting(trial.study, "XB", trial.settings) == 0
    assert site_folders(trial.study, trial.settings) == ()


def test_what_waits_is_counted_also_when_it_is_half_landed(trial: TinyTrial) -> None:
    trial.send("XA", "LB", LAB)
    trial.send("XA", "AE", EVENTS)
    (trial.folder("XA") / ".claimed").mkdir()
    (trial.folder("XA") / "ae_XA.csv").rename(trial.folder("XA") / ".claimed" / f"{1:020d}-1-00000~ae_XA.csv")
    assert waiting(trial.study, "XA", trial.settings) == 2
    assert [deliveries(trial)[d]["domain"] for d in ("ae_XA.csv", "lb_XA.csv") if land(trial)] == ["AE", "LB"]


def test_folders_of_sites_are_named_hidden_and_unusable_ones_are_not(trial: TinyTrial) -> None:
    for name in ("XB", "XA", ".hidden", "line\nend"):
        trial.folder(name)
    (trial.settings.landing / STUDY / "loose.csv").write_text(LAB)
    (trial.settings.landing / STUDY / os.fsdecode(b"\xff")).mkdir()
    assert site_folders(trial.study, trial.settings) == ("XA", "XB")


# --- When a file is complete


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds landing has slept."""
    slept: list[float] = []
    monkeypatch.setattr(landing.time, "sleep", slept.append)
    return slept


def test_a_young_file_is_looked_at_twice_and_taken_when_it_stood_still(
    tmp_path: Path, naps: list[float]
) -> None:
    trial = with_profile(tmp_path, "{settle_seconds: 30}")
    trial.send("XA", "LB", LAB)
    assert land(trial) == [1]
    assert naps == [30.0]


def test_an_old_file_is_taken_at_once(tmp_path: Path, naps: list[float]) -> None:
    trial = with_profile(tmp_path, "{settle_seconds: 30}")
    path = trial.send("XA", "LB", LAB)
    os.utime(path, (time.time() - 31,) * 2)
    assert land(trial) == [1]
    assert naps == []


def test_a_file_from_the_future_is_looked_at_twice(tmp_path: Path, naps: list[float]) -> None:
    trial = with_profile(tmp_path, "{settle_seconds: 30}")
    path = trial.send("XA", "LB", LAB)
    os.utime(path, (time.time() + 9999,) * 2)
    assert land(trial) == [1]
    assert naps == [30.0]


def test_a_file_that_is_being_written_waits_for_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = with_profile(tmp_path, "{settle_seconds: 30}")
    path = trial.send("XA", "LB", LAB[:50])
    monkeypatch.setattr(landing.time, "sleep", lambda _: path.write_text(LAB))
    assert land(trial) == []
    assert trial.known("receipts") == []
    os.utime(path, (time.time() - 31,) * 2)
    assert land(trial) == [1]
    assert (raw(trial) / trial.known("receipts")[0]["sha256"]).read_text() == LAB


def test_a_file_that_vanishes_while_it_settles_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = with_profile(tmp_path, "{settle_seconds: 30}")
    path = trial.send("XA", "LB", LAB)
    trial.send("XA", "AE", EVENTS)
    monkeypatch.setattr(landing.time, "sleep", lambda _: path.unlink())
    land(trial)
    assert list(deliveries(trial)) == ["ae_XA.csv"]


def test_a_file_that_vanishes_between_listing_and_claiming_stops_nothing(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = trial.send("XA", "AE", EVENTS)
    trial.send("XA", "LB", LAB)
    settled = landing._settled

    def then_gone(*args: Any) -> list[Path]:
        ready = settled(*args)
        gone.unlink()
        return ready

    monkeypatch.setattr(landing, "_settled", then_gone)
    assert land(trial) == [1]
    assert list(deliveries(trial)) == ["lb_XA.csv"]


def test_a_file_that_vanishes_before_it_is_looked_at_stops_nothing(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    ghost = trial.folder("XA") / "lb_ghost.csv"
    listed = landing._candidates
    monkeypatch.setattr(landing, "_candidates", lambda folder: [ghost, *listed(folder)])
    trial.send("XA", "LB", LAB)
    assert land(trial) == [1]


def test_a_claim_that_vanishes_stops_nothing(trial: TinyTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    ghost = trial.folder("XA") / ".claimed" / f"{1:020d}-1-00000~lb_ghost.csv"
    listed = landing._claims
    monkeypatch.setattr(landing, "_claims", lambda folder: [ghost, *listed(folder)])
    trial.send("XA", "LB", LAB)
    assert land(trial) == [1]


# --- Manifests


def test_a_manifest_that_holds_makes_a_delivery_verified(trial: TinyTrial) -> None:
    said = {"rows": 1, "sequence": 7, "extracted_at": "2025-03-01T10:00:00Z"}
    declare(trial.send("XA", "LB", LAB), sha256=hashlib.sha256(LAB.encode()).hexdigest(), **said)
    land(trial)
    delivery = deliveries(trial)["lb_XA.csv"]
    assert (delivery["verified"], delivery["order_number"]) == ("VERIFIED", 7)
    assert (delivery["rows_declared"], delivery["extracted_at"]) == (1, "2025-03-01T10:00:00Z")
    assert left(trial) == []


def test_with_a_manifest_nothing_is_waited_for(tmp_path: Path, naps: list[float]) -> None:
    trial = with_profile(tmp_path, "{settle_seconds: 30}")
    trial.send("XA", "LB", LAB, sha256=True)
    assert land(trial) == [1]
    assert naps == []


def test_a_hash_in_capitals_is_the_same_hash(trial: TinyTrial) -> None:
    trial.send("XA", "LB", LAB, sha256=hashlib.sha256(LAB.encode()).hexdigest().upper())
    land(trial)
    assert deliveries(trial)["lb_XA.csv"]["verified"] == "VERIFIED"


def test_where_a_manifest_is_required_nothing_is_taken_before_it_is_there(trial: TinyTrial) -> None:
    path = trial.send("XC", "AE", EVENTS)
    assert land(trial, "XC") == []
    assert path.is_file()
    assert waiting(trial.study, "XC", trial.settings) == 1
    trial.send("XC", "AE", EVENTS, sha256=True)
    assert land(trial, "XC") == [1]


def test_a_file_that_is_not_the_one_its_manifest_describes_is_rejected(trial: TinyTrial) -> None:
    trial.send("XA", "LB", LAB, sha256="0" * 64)
    assert land(trial) == [1]
    assert codes(trial) == {"lb_XA.csv": "SHA_MISMATCH"}
    assert left(trial) == []


BAD_MANIFESTS = {
    "not JSON": "{",
    "an empty file": "",
    "a list": "[]",
    "a text": '""',
    "a number": "7",
    "nothing": "null",
    "nested without end": "[" * 60_000,
    "not UTF-8": b"\xff\xfe\x00",
    "too large": "{" + " " * 70_000 + "}",
    "an unknown key": '{"sha": "x"}',
    "a hash that is no text": '{"sha256": null}',
    "rows as text": '{"rows": "12"}',
    "rows as a truth value": '{"rows": true}',
    "rows below 0": '{"rows": -1}',
    "a sequence with a fraction": '{"sequence": 1.5}',
    "a sequence beyond all bounds": '{"sequence": 1' + "0" * 30 + "}",
    "a sequence with 5000 digits": '{"sequence": 1' + "0" * 5000 + "}",
    "a date that is none": '{"extracted_at": "2025-02-30"}',
    "a date in words": '{"extracted_at": "yesterday"}',
    "a date after the study": '{"extracted_at": "2031-01-01"}',
}


@pytest.mark.parametrize("what", BAD_MANIFESTS)
def test_a_manifest_that_is_not_what_it_must_be_rejects_its_export(what: str, trial: TinyTrial) -> None:
    text = BAD_MANIFESTS[what]
    path = trial.send("XA", "LB", LAB)
    path.with_name("lb_XA.csv.manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    land(trial)
    assert codes(trial) == {"lb_XA.csv": "MANIFEST"}
    assert left(trial) == []


def test_a_manifest_left_over_from_a_kill_goes_back_beside_its_export(trial: TinyTrial) -> None:
    folder = trial.folder("XC")
    (folder / ".claimed").mkdir()
    trial.send("XC", "AE", EVENTS, sha256=True, sequence=3)
    (folder / "ae_XC.csv.manifest.json").rename(
        folder / ".claimed" / f"{1:020d}-1-00000~ae_XC.csv.manifest.json"
    )
    land(trial, "XC")
    assert deliveries(trial)["ae_XC.csv"]["order_number"] == 3
    assert left(trial, "XC") == []


def test_a_manifest_left_over_from_a_kill_gives_way_to_a_newer_one(trial: TinyTrial) -> None:
    folder = trial.folder("XC")
    (folder / ".claimed").mkdir()
    (folder / ".claimed" / f"{1:020d}-1-00000~ae_XC.csv.manifest.json").write_text(
        json.dumps({"sequence": 3})
    )
    trial.send("XC", "AE", EVENTS, sha256=True, sequence=4)
    land(trial, "XC")
    assert deliveries(trial)["ae_XC.csv"]["order_number"] == 4
    assert left(trial, "XC") == []


# --- The order of deliveries


def orders(trial: TinyTrial) -> dict[str, int]:
    return {d["file"]: d["order_number"] for d in trial.known("deliveries")}


def test_a_sequence_comes_from_the_manifest_before_the_file_name(trial: TinyTrial) -> None:
    trial.send("XA", "LB", LAB, name="lb_v2.csv", sequence=9)
    trial.send("XA", "LB", LAB + LAB, name="lb_v3.csv")
    land(trial)
    assert orders(trial) == {"lb_v2.csv": 9, "lb_v3.csv": 3}


def test_a_date_in_a_file_name_orders(tmp_path: Path) -> None:
    trial = with_profile(tmp_path, r"{settle_seconds: 0, sequence: '_(\d{4}-\d{2}-\d{2})'}")
    trial.send("XA", "LB", LAB, name="lb_2025-03-01.csv")
    land(trial)
    assert orders(trial) == {"lb_2025-03-01.csv": 20250301}


def test_a_file_without_a_number_comes_after_what_is_there(trial: TinyTrial) -> None:
    for text, name in ((LAB, "lb_v5.csv"), (LAB * 2, "lb_final.csv"), (LAB * 3, "lb_really_final.csv")):
        trial.send("XA", "LB", text, name=name)
        land(trial)
    assert orders(trial) == {"lb_v5.csv": 5, "lb_final.csv": 5, "lb_really_final.csv": 5}
    assert [d["id"] for d in trial.known("deliveries")] == [1, 2, 3]


def test_a_number_that_the_pattern_leaves_out_is_no_number(tmp_path: Path) -> None:
    trial = with_profile(tmp_path, r"{settle_seconds: 0, sequence: 'lb(_\d+)?'}")
    trial.send("XA", "LB", LAB, name="lb.csv")
    land(trial)
    assert orders(trial) == {"lb.csv": 0}


def test_a_number_too_long_to_order_by_rejects_the_file(trial: TinyTrial) -> None:
    trial.send("XA", "LB", LAB, name=f"lb_v{'9' * 19}.csv")
    trial.send("XA", "LB", LAB, name=f"lb_v{'9' * 18}.csv")
    land(trial)
    assert sorted(codes(trial).values(), key=str) == [None, "SEQUENCE"]


# --- The same bytes again


def test_the_same_bytes_again_are_a_receipt_only_whatever_their_name(trial: TinyTrial) -> None:
    for name in ("lb_XA.csv", "lb_XA.csv", "lb_copy.csv"):
        trial.send("XA", "LB", LAB, name=name)
        land(trial)
    assert [r["name"] for r in trial.known("receipts")] == ["lb_XA.csv", "lb_XA.csv", "lb_copy.csv"]
    assert list(deliveries(trial)) == ["lb_XA.csv"]
    assert len(list(raw(trial).iterdir())) == 1


def test_a_site_that_goes_back_from_b_to_a_makes_three_deliveries(trial: TinyTrial) -> None:
    for text in (LAB, LAB * 2, LAB):
        trial.send("XA", "LB", text)
        land(trial)
    shas = [d["sha256"] for d in trial.known("deliveries")]
    assert len(shas) == 3 and shas[0] == shas[2] != shas[1]
    assert len(list(raw(trial).iterdir())) == 2


def test_the_same_bytes_of_two_sites_are_two_deliveries_of_one_raw_copy(trial: TinyTrial) -> None:
    for site in ("XA", "XB"):
        trial.send(site, "LB", LAB)
        land(trial, site)
    assert [d["site"] for d in trial.known("deliveries")] == ["XA", "XB"]
    assert len(list(raw(trial).iterdir())) == 1


def test_the_same_bytes_under_a_higher_number_stay_newer_than_an_older_file_that_comes_late(
    trial: TinyTrial,
) -> None:
    trial.send("XA", "LB", LAB, name="lb_v1.csv", extracted_at="2025-03-01")
    land(trial)
    trial.send("XA", "LB", LAB, name="lb_v3.csv", extracted_at="2025-03-03")
    land(trial)
    trial.send("XA", "LB", LAB * 2, name="lb_v2.csv")
    land(trial)
    assert orders(trial) == {"lb_v1.csv": 3, "lb_v2.csv": 2}
    assert deliveries(trial)["lb_v1.csv"]["extracted_at"] == "2025-03-03"


def test_bytes_that_were_rejected_may_be_sent_again(trial: TinyTrial) -> None:
    for _ in range(2):
        trial.send("XA", "LB", LAB, sha256="0" * 64)
        land(trial)
    trial.send("XA", "LB", LAB)
    land(trial)
    assert [d["status"] for d in trial.known("deliveries")] == ["REJECTED", "REJECTED", "LANDED"]
    assert [q["n_rows"] for q in trial.known("queries")] == [1]


# --- What is not an export, and what may not be one


def test_dot_files_parts_and_manifests_are_not_exports(trial: TinyTrial) -> None:
    names = [".lb_1.csv", "lb_2.csv.part", "lb_3.csv.PART", "lb_4.csv.manifest.json"]
    for name in names:
        trial.send("XA", "LB", LAB, name=name)
    assert land(trial) == []
    assert left(trial) == sorted(names)
    assert waiting(trial.study, "XA", trial.settings) == 0


def test_what_file_systems_leave_among_the_claims_is_not_taken(trial: TinyTrial) -> None:
    claimed = trial.folder("XA") / ".claimed"
    claimed.mkdir()
    for name in (".nfs000001", ".DS_Store", "Thumbs.db"):
        (claimed / name).write_text("x")
    trial.send("XA", "LB", LAB)
    assert land(trial) == [1]
    assert len(left(trial)) == 3


def make_symlink(path: Path) -> None:
    secret = path.parent.parent.parent / "secret.csv"
    secret.write_text(LAB)
    path.symlink_to(secret)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # the address of a socket is short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


NOT_FILES: dict[str, Callable[[Path], None]] = {
    "a link": make_symlink,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
    "a socket": make_socket,
    "a folder": Path.mkdir,
}


@pytest.mark.parametrize("what", NOT_FILES)
def test_what_is_no_file_is_refused_and_kept_aside(what: str, trial: TinyTrial) -> None:
    NOT_FILES[what](trial.folder("XA") / "lb_1.csv")
    trial.send("XA", "AE", EVENTS)
    assert len(land(trial)) == 2
    assert codes(trial) == {"lb_1.csv": "NOT_A_FILE", "ae_XA.csv": None}
    assert [r["sha256"] for r in trial.known("receipts") if r["name"] == "lb_1.csv"] == [""]
    assert [p.name for p in raw(trial).iterdir()] == [hashlib.sha256(EVENTS.encode()).hexdigest()]
    assert [p.name.split("~")[1] for p in (trial.folder("XA") / ".refused").iterdir()] == ["lb_1.csv"]
    assert len(land(trial)) == 1


def test_a_file_that_is_not_ours_to_read_is_refused(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.send("XA", "LB", LAB)
    real = os.open

    def no_rights(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path).endswith("~lb_XA.csv"):
            raise PermissionError(errno.EACCES, "no")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(landing.os, "open", no_rights)
    land(trial)
    assert codes(trial) == {"lb_XA.csv": "NOT_A_FILE"}


UNSAFE_NAMES = {
    "a line end": b"lb_\n.csv",
    "a control character": b"lb_\x1b[31m.csv",
    "the sign of claims": b"lb_~1.csv",
    "a backslash": b"lb_..\\1.csv",
    "bytes that are no text": b"lb_\xff.csv",
    "250 bytes": b"lb_" + b"x" * 243 + b".csv",
    "255 bytes in 88 letters": b"lb_" + "ア".encode() * 82 + b"xx.csv",
    "181 bytes": b"lb_" + b"x" * 174 + b".csv",
}


@pytest.mark.parametrize("what", UNSAFE_NAMES)
def test_a_name_that_cannot_be_kept_rejects_its_file_and_no_other(what: str, trial: TinyTrial) -> None:
    folder = trial.folder("XA")
    with open(os.path.join(os.fsencode(folder), UNSAFE_NAMES[what]), "w") as file:  # noqa: PTH118, PTH123 - bytes
        file.write(LAB)
    trial.send("XA", "AE", EVENTS)
    assert len(land(trial)) == 2
    found = codes(trial)
    assert found.pop("ae_XA.csv") is None
    assert list(found.values()) == ["NAME"]
    assert next(iter(found)).startswith("unsafe-name-")
    assert left(trial) == []


def test_a_name_of_180_bytes_is_kept(trial: TinyTrial) -> None:
    name = f"lb_{'x' * 173}.csv"
    trial.send("XA", "LB", LAB, name=name, sha256=True)
    land(trial)
    assert deliveries(trial)[name]["verified"] == "VERIFIED"


def test_a_name_that_tells_a_subject_or_an_arm_is_kept_without_it(trial: TinyTrial) -> None:
    trial.send("XA", "AE", EVENTS, name="ae_TINY01-XA-007_Activex_v2.csv")
    land(trial)
    assert orders(trial) == {"ae_subject_masked_v2.csv": 2}
    assert "TINY01-XA" not in str(trial.known("receipts"))


def test_a_file_over_the_limit_of_its_site_is_rejected(tmp_path: Path) -> None:
    trial = with_profile(tmp_path, f"{{settle_seconds: 0, max_bytes: {len(LAB)}}}")
    trial.send("XA", "LB", LAB, name="lb_1.csv")
    trial.send("XA", "LB", LAB + "\n", name="lb_2.csv")
    land(trial)
    assert codes(trial) == {"lb_1.csv": None, "lb_2.csv": "SIZE"}


# --- Which domain a file is


ROUTES = {"lb.csv": "LB", "LB_1.CSV": "LB", "Lb_Final.txt": "LB", "ae_x_lb_.csv": "AE"}


def test_a_file_name_begins_with_its_domain_in_any_case(trial: TinyTrial) -> None:
    for number, name in enumerate(ROUTES):
        trial.send("XA", "LB", LAB * (number + 1), name=name)
    land(trial)
    assert {name: d["domain"] for name, d in deliveries(trial).items()} == ROUTES


@pytest.mark.parametrize("name", ["lbx.csv", "labs.csv", "vs_1.csv", "1_lb_.csv"])
def test_a_name_of_no_domain_is_rejected(name: str, trial: TinyTrial) -> None:
    trial.send("XA", "LB", LAB, name=name)
    land(trial)
    assert codes(trial) == {name: "ROUTE"}
    assert deliveries(trial)[name]["domain"] is None


def test_a_profile_may_give_other_names_and_one_that_two_domains_claim_is_rejected(tmp_path: Path) -> None:
    files = '{LB: ["chem_*.csv", "both_*"], AE: ["both_*"]}'
    trial = with_profile(tmp_path, f"{{settle_seconds: 0, files: {files}}}")
    for number, name in enumerate(("Chem_1.CSV", "both_1.csv", "lb_1.csv", "cm_1.csv")):
        trial.send("XA", "LB", LAB * (number + 1), name=name)
    land(trial)
    assert codes(trial) == {"Chem_1.CSV": None, "both_1.csv": "ROUTE", "lb_1.csv": "ROUTE", "cm_1.csv": None}


def test_a_folder_that_is_no_site_has_its_files_rejected(trial: TinyTrial, naps: list[float]) -> None:
    trial.send("ZZ", "LB", LAB)
    assert site_folders(trial.study, trial.settings) == ("ZZ",)
    assert land(trial, "ZZ") == [1]
    assert codes(trial) == {"lb_XA.csv": "ROUTE"} or codes(trial) == {"lb_ZZ.csv": "ROUTE"}
    assert len(naps) == 1


def test_a_rejection_opens_one_query_and_queues_one_alert(trial: TinyTrial) -> None:
    trial.send("XA", "LB", LAB, name="labs.csv")
    assert land(trial) == [1]
    assert land(trial) == []
    assert trial.open_queries() == [("XA", "-", "ROUTE")]
    assert [(a["kind"], a["state"]) for a in trial.known("alerts")] == [("DELIVERY_REJECTED", "WAITING")]
    assert [a["event"] for a in trial.known("audit")] == ["received", "rejected"]


# --- Kills, full disks, and others at the same time


class KilledError(BaseException):
    """As if the process had ended."""


STEPS = (
    "companion-claimed", "claimed", "raw-written", "copied", "received", "companion-dropped", "claim-dropped",
)  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("count", [1, 2])
def test_landing_that_was_killed_at_any_step_is_brought_to_its_end_by_the_next(
    step: str, count: int, trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.send("XA", "AE", EVENTS, sha256=True, sequence=4)
    trial.send("XA", "LB", LAB, sha256=True, sequence=5)
    seen: list[str] = []

    def kill(mark: str) -> None:
        seen.append(mark)
        if seen.count(step) == count:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(storage, "on_mark", kill)
        with pytest.raises(KilledError):
            land(trial)
    assert len(land(trial)) == 2
    assert [r["name"] for r in trial.known("receipts")] == ["ae_XA.csv", "lb_XA.csv"]
    found = {(d["file"], d["verified"], d["order_number"], d["status"]) for d in trial.known("deliveries")}
    assert found == {("ae_XA.csv", "VERIFIED", 4, "LANDED"), ("lb_XA.csv", "VERIFIED", 5, "LANDED")}
    assert left(trial) == []


@pytest.mark.parametrize("step", ["copied", "received", "companion-dropped"])
def test_a_refusal_that_was_killed_is_written_once(
    step: str, trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(trial.folder("XA") / "lb_1.csv")

    def kill(mark: str) -> None:
        if mark == step:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(storage, "on_mark", kill)
        with pytest.raises(KilledError):
            land(trial)
    land(trial)
    assert len(trial.known("receipts")) == len(trial.known("queries")) == len(trial.known("alerts")) == 1
    assert len(left(trial)) == 1


@pytest.mark.parametrize("call", ["sync_file", "make_folder", "sync_folder"])
def test_a_full_disk_loses_nothing_and_the_next_run_goes_on(
    call: str, trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.send("XA", "LB", LAB, sha256=True)
    with monkeypatch.context() as patch:
        patch.setattr(landing, call, fail(errno.ENOSPC))
        with pytest.raises(TransientError, match="No space left on device") as caught:
            land(trial)
    assert caught.value.code == "DISK"
    assert trial.known("receipts") == []
    assert not raw(trial).is_dir() or [p for p in raw(trial).iterdir() if p.suffix == ".tmp"] == []
    assert len(left(trial)) == 2
    assert land(trial) == [1]
    assert deliveries(trial)["lb_XA.csv"]["verified"] == "VERIFIED"
    assert left(trial) == []


def test_a_landing_folder_that_may_not_be_written_fails_clearly(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.send("XA", "LB", LAB)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fail(errno.EROFS))
        with pytest.raises(TransientError, match="cannot claim exports of site XA: Read-only file system"):
            land(trial)
    assert land(trial) == [1]


def test_a_process_out_of_file_handles_rejects_nothing(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.send("XA", "LB", LAB)
    real = os.open

    def none_left(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path).endswith("~lb_XA.csv"):
            raise OSError(errno.EMFILE, "no")
        return real(path, flags, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(landing.os, "open", none_left)
        with pytest.raises(TransientError):
            land(trial)
    assert land(trial) == [1]
    assert codes(trial) == {"lb_XA.csv": None}


def test_landings_at_the_same_time_take_each_file_exactly_once(trial: TinyTrial) -> None:
    for number in range(30):
        trial.send(
            "XA", "AE", csv_text([ae("XA", number)]), name=f"ae_{number}.csv", sha256=True, sequence=number
        )
    failed: list[PipelineError] = []

    def work() -> None:
        try:
            land(trial)
        except PipelineError as error:
            failed.append(error)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failed == []
    assert sorted(r["name"] for r in trial.known("receipts")) == sorted(f"ae_{n}.csv" for n in range(30))
    assert {d["verified"] for d in trial.known("deliveries")} == {"VERIFIED"}
    assert orders(trial) == {f"ae_{n}.csv": n for n in range(30)}
    assert left(trial) == []


def test_a_manifest_with_another_count_of_rows_rejects_at_staging(trial: TinyTrial) -> None:
    declare(trial.send("XA", "LB", LAB, name="lb_1.csv"), rows=1)
    declare(trial.send("XA", "LB", LAB + LAB.splitlines()[1] + "\n", name="lb_2.csv"), rows=3)
    land(trial)
    for delivery in trial.known("deliveries"):
        stage_delivery(trial.study, delivery, trial.settings)
    found = {name: (d["status"], d["code"]) for name, d in deliveries(trial).items()}
    assert found == {"lb_1.csv": ("STAGED", None), "lb_2.csv": ("REJECTED", "COUNT_MISMATCH")}
