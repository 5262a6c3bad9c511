"""Faults of the machine and of those who run it: disks, rights, clocks, damage, repetition."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from faults.permissions import kept
from integration.forking import FOLDERS
from integration.state import content, differences, faults, picture
from msc_pipeline import desk, gx_duckdb, landing, pipeline, publishing, staging, storage, validation
from msc_pipeline import ledger as book
from msc_pipeline.errors import IntegrityError, PipelineError, TransientError
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import FILE, current, pointed
from tiny_trial import FEW_RULES, STUDY, TinyTrial, ae, dm, lb, make_trial, trust_own_scan


@pytest.fixture(autouse=True)
def _own_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    trust_own_scan(monkeypatch)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a home holds after three files and no fault."""
    trial = small(tmp_path_factory.mktemp("undisturbed"))
    with pytest.MonkeyPatch.context() as patch:
        trust_own_scan(patch)
        trial.run()
    return picture(STUDY, trial.settings)


def small(folder: Path) -> TinyTrial:
    """Return a trial to which one site sent three files, one of them with a faulty row."""
    trial = make_trial(folder, FEW_RULES)
    trial.send("XA", "DM", [dm("XA", n) for n in range(1, 7)])
    labs = [lb("XA", n) for n in range(1, 7)]
    trial.send("XA", "LB", [*labs[:-1], {**labs[-1], "LBORRESU": "furlong"}])
    trial.send("XA", "AE", [ae("XA", 1)])
    return trial


def base(trial: TinyTrial) -> Path:
    return trial.settings.home / STUDY


def flip(path: Path, at: float = 0.5) -> None:
    """Flip one bit of a file."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 1
    path.write_bytes(bytes(data))


# --- Disks and rights


@contextmanager
def full_after(calls: int, patch: pytest.MonkeyPatch, number: int) -> Iterator[list[int]]:
    """Let every write after the first `calls` fail, as on a disk that is full; the list counts them."""
    counted = [0]
    fsync = os.fsync

    def refuse() -> None:
        counted[0] += 1
        if counted[0] > calls:
            raise OSError(number, os.strerror(number))

    def sync(fd: int) -> None:
        refuse()
        fsync(fd)

    with patch.context() as patched:
        patched.setattr(os, "fsync", sync)
        for name in ("rename", "replace", "mkdir", "chmod"):
            patched.setattr(Path, name, _refusing(getattr(Path, name), refuse))
        yield counted


def _refusing(real: Any, refuse: Any) -> Any:
    def call(*words: Any, **more: Any) -> Any:
        refuse()
        return real(*words, **more)

    return call


def test_a_disk_that_is_full_at_any_write_fails_the_run_and_the_next_one_makes_it_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, Any]
) -> None:
    calls, failed = 0, 0
    trial = small(tmp_path)
    while True:
        with full_after(calls, monkeypatch, errno.ENOSPC):
            try:
                trial.run()
                break
            except TransientError as error:
                assert error.code in ("DISK", "MODEL_RESOURCES"), error
                assert "No space left" in str(error) or error.code == "MODEL_RESOURCES"
                failed += 1
        calls += 3  # each run goes a little farther, from what the one before left
        assert not list(base(trial).rglob("*.tmp")), "nothing half written is left"
    assert failed > 10
    assert faults(STUDY, trial.settings, 3) == []
    assert differences(picture(STUDY, trial.settings), undisturbed) == {}


def test_a_full_disk_leaves_the_old_release_in_use(
    published: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pointed(base(published) / "releases")
    published.send("XA", "DM", [dm("XA", n, AGE="66") for n in (1, 2, 3)], name="dm_XA_v9.csv")
    for calls in (5, 15, 30):
        with full_after(calls, monkeypatch, errno.ENOSPC), pytest.raises(TransientError):
            published.run()
        assert pointed(base(published) / "releases") == before
        assert published.rows("select count(*) as n from curated.adsl")[0]["n"]
    assert published.run()["release"] != before


def test_the_engine_writing_to_a_full_disk_is_a_fault_that_may_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, Any]
) -> None:
    """The engine writes Parquet and releases by itself; a folder for its file that is no folder refuses it."""
    trial = small(tmp_path)
    real = storage.put

    def nowhere(path: Path, write: Any, *, mode: int = 0o444) -> str:
        return real(path, lambda temporary: write(temporary / "no" / "folder"), mode=mode)

    for module in (validation, publishing):
        with monkeypatch.context() as patch:
            patch.setattr(module, "put", nowhere)
            with pytest.raises(TransientError, match=r"MODEL_RESOURCES|DISK"):
                trial.run()
    trial.run()
    assert differences(picture(STUDY, trial.settings), undisturbed) == {}


def test_no_file_may_grow_any_more_and_the_run_fails_until_it_may(
    tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """The system itself refuses every byte beyond a size: ledger, copies, engine and release meet it in turn."""
    trial, hard, codes = small(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)[1], list[str]()
    for kilobytes in (1, 60, 250, 1000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, hard))
        try:
            trial.run()
        except TransientError as error:
            codes.append(error.code)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert len(codes) > 2 and set(codes) <= {"DISK", "LEDGER", "MODEL_RESOURCES"}, codes
    trial.run()
    assert faults(STUDY, trial.settings, 3) == []
    assert differences(picture(STUDY, trial.settings), undisturbed) == {}


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_may_not_be_written_fails_clearly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: dict[str, Any], number: int
) -> None:
    trial = small(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(landing.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(number, "no")))
        with pytest.raises(TransientError, match=os.strerror(number)) as refused:
            trial.run()
    assert refused.value.code == "DISK" and refused.value.hint
    trial.run()
    assert differences(picture(STUDY, trial.settings), undisturbed) == {}


@pytest.mark.parametrize("where", ["home", "landing"])
def test_a_read_only_folder_fails_clearly(tmp_path: Path, where: str) -> None:
    trial = small(tmp_path)
    folder = trial.settings.home if where == "home" else trial.folder("XA")
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o555)
    try:
        with kept(), pytest.raises(PipelineError, match=r"DISK|LEDGER"):
            trial.run()
    finally:
        folder.chmod(0o755)
    assert trial.run()["release"]


# --- Clocks


def test_a_clock_set_back_changes_no_order(trial: TinyTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    real_time = time.time_ns
    for value, years in (("20", 0), ("21", -3), ("22", -1)):
        shift = years * 365 * 86_400
        monkeypatch.setattr(landing.time, "time_ns", lambda s=shift: real_time() + s * 10**9)
        monkeypatch.setattr(book, "now", lambda y=years: f"{2026 + y}-03-01T10:00:00.000+00:00")
        path = trial.send("XA", "LB", [lb("XA", 1, LBORRES=value)], name=f"lb_{value}.csv")
        os.utime(path, (real_time() / 1e9 + shift, real_time() / 1e9 + shift))
        trial.run()
    assert [row["LBORRES"] for row in trial.in_force("XA", "LB")] == ["22"]
    assert [d["id"] for d in trial.known("deliveries")] == [1, 2, 3]
    assert [a["at"][:4] for a in trial.known("audit") if a["event"] == "received"] == ["2026", "2023", "2025"]
    assert pipeline.verify(STUDY, trial.settings)["audit_rows"] == len(trial.known("audit"))
    assert pointed(base(trial) / "releases").startswith("0000003-")


# --- Damage


KINDS = ("raw", *FOLDERS)


def one(trial: TinyTrial, kind: str) -> Path:
    """Return a file of a kind that the next run must read."""
    if kind == "releases":
        file = current(STUDY, trial.settings)
        assert file is not None
        return file
    used = {head["path"] for head in trial.known("heads")} | {c["path"] for c in trial.known("curated")}
    found = sorted(p for p in (base(trial) / kind).rglob("*") if p.is_file())
    return next((p for p in found if str(p.relative_to(trial.settings.home)) in used), found[0])


def test_every_damage_is_named_not_only_the_first(published: TinyTrial) -> None:
    damaged = [one(published, kind) for kind in KINDS]
    for path in damaged:
        flip(path)
    (base(published) / "releases" / "CURRENT").write_text("0000009-0123456789abcdef\n")
    received, decided = (
        next(a for a in published.known("audit") if a["event"] == e) for e in ("received", "decided")
    )
    first = published.known("deliveries")[0]
    with Ledger(published.settings.ledger).write() as connection:
        for row in (received, decided):
            edit = sa.update(book.audit).where(book.audit.c.seq == row["seq"])
            connection.execute(edit.values(body=row["body"].replace('"', '" ', 1)))
        other = sa.update(book.deliveries).where(book.deliveries.c.id == first["id"])
        connection.execute(other.values(status="REJECTED"))
        connection.execute(sa.delete(book.receipts).where(book.receipts.c.id == 2))
    with pytest.raises(IntegrityError) as found:
        pipeline.verify(STUDY, published.settings)
    said = found.value.message
    for path in (*damaged, base(published) / "releases" / "CURRENT"):
        assert str(path.relative_to(published.settings.home)) in said
    assert f"audit row {received['seq']} is not" in said and f"audit row {decided['seq']} is not" in said
    assert f"delivery {first['id']} has not the status decided" in said
    assert "receipt 2 is not the one received" in said
    assert said.startswith(f"{len(KINDS) + 1} files differ")


def send_news(trial: TinyTrial) -> None:
    """Send what makes the next run read everything again: a correction of every domain."""
    trial.send("XA", "DM", [dm("XA", n, AGE="66") for n in (1, 2, 3)], name="dm_XA_v9.csv")
    trial.send(
        "XA", "LB", [lb("XA", n, s, LBORRES="9") for n in (1, 2, 3) for s in (1, 2, 3)], name="lb_XA_v9.csv"
    )


@pytest.mark.parametrize("kind", ["accepted", "state", "restatements", "held", "curated", "releases"])
def test_nothing_is_built_on_a_damaged_file(published: TinyTrial, kind: str) -> None:
    before = pointed(base(published) / "releases")
    if kind in ("restatements", "held"):  # read when tables are made again, and only then
        with Ledger(published.settings.ledger).write() as connection:
            connection.execute(sa.delete(book.curated))
    elif kind != "releases":
        send_news(published)
    for path in (base(published) / kind).rglob("*"):
        if path.is_file() and path.name != "CURRENT":
            flip(path)
    with pytest.raises(IntegrityError, match="INTEGRITY"):
        published.run()
    assert pointed(base(published) / "releases") == before


@pytest.mark.parametrize("kind", ["raw", "staged", "accepted", "quarantine", "findings"])
def test_a_delivery_is_not_carried_on_from_a_damaged_file(trial: TinyTrial, kind: str) -> None:
    trial.send("XA", "CM", "STUDYID,USUBJID,CMSEQ,CMTRT,CMSTDTC\nTINY01,TINY01-XA-001,1,PREDNISONE,2024-11\n")
    ids = pipeline.land(STUDY, "XA", trial.settings)
    steps = {"raw": pipeline.stage, "staged": pipeline.validate}
    if kind != "raw":
        pipeline.stage(STUDY, ids, trial.settings)
    if kind not in steps:
        pipeline.validate(STUDY, ids, trial.settings)
    flip(one(trial, kind))
    with pytest.raises(IntegrityError, match="INTEGRITY"):
        if kind not in steps:
            pipeline.commit(STUDY, "XA", ids, trial.settings)
        else:
            steps[kind](STUDY, ids, trial.settings)
    assert trial.known("heads") == []


def test_a_release_that_cannot_be_opened_leaves_current_as_it_was(
    published: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pointed(base(published) / "releases")
    send_news(published)
    with monkeypatch.context() as patch:
        patch.setattr(
            publishing, "_build", lambda _desk, _made, path, _counts: path.write_bytes(b"no database")
        )
        with pytest.raises(PipelineError, match="INTEGRITY"):
            published.run()
    assert pointed(base(published) / "releases") == before
    assert [r["name"] for r in published.known("releases")] == [before]
    assert published.run()["new"]


# --- Rules, repetition, other code


def test_a_rule_that_raises_rejects_the_file_and_never_passes(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(*_: Any) -> dict[str, gx_duckdb.Verdict]:
        raise RuntimeError

    monkeypatch.setattr(gx_duckdb, "verdicts", raising)
    trial.send("XA", "LB", [lb("XA", 1)])
    assert trial.decide() == {"lb_XA.csv": ("REJECTED", "RULE_NOT_EVALUATED")}
    assert {r["outcome"] for r in trial.known("results")} == {"not_evaluated"}


def test_steps_that_are_repeated_make_no_new_rows(trial: TinyTrial) -> None:
    trial.send_story()
    trial.run()
    tables = [name for name in book.metadata.tables if name not in ("alerts",)]
    before = {name: trial.known(name) for name in tables}
    ids = [d["id"] for d in trial.known("deliveries")]
    for _ in range(2):  # a retry, a cleared task, a backfill: the same call again, whatever the order
        for site in ("XB", "XA"):
            pipeline.commit(STUDY, site, ids, trial.settings)
            pipeline.land(STUDY, site, trial.settings)
        pipeline.validate(STUDY, ids, trial.settings)
        pipeline.stage(STUDY, ids, trial.settings)
        for site in pipeline.hold(STUDY, trial.settings):
            pipeline.curate(STUDY, site, trial.settings)
        assert not pipeline.publish(STUDY, trial.settings)["new"]
    assert {name: trial.known(name) for name in tables} == before


def test_a_change_of_the_code_makes_new_parts_and_leaves_old_releases_alone(
    published: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = current(STUDY, published.settings)
    assert file is not None
    old = storage.sha256_of(file)
    parts = {p["path"]: p["sha256"] for p in published.known("parts")}
    for module in (staging, validation, desk, publishing):
        monkeypatch.setattr(module, "__version__", "99.0.0")
    report = published.run()
    assert report["new"] and storage.sha256_of(file) == old
    now = {p["path"]: p["sha256"] for p in published.known("parts")}
    assert parts.items() < now.items(), "new parts beside the old ones, none changed"
    assert pipeline.verify(STUDY, published.settings)


def test_the_same_deliveries_give_the_same_bytes_again(tmp_path: Path) -> None:
    homes = []
    for name in ("one", "two"):
        trial = make_trial(tmp_path / name)
        trial.send_story()
        trial.run()
        homes.append(trial)
    first, second = ({p["path"]: p["sha256"] for p in trial.known("parts")} for trial in homes)
    assert first == second
    names = [pointed(base(trial) / "releases") for trial in homes]
    assert names[0] == names[1]
    files = [current(STUDY, trial.settings) for trial in homes]
    assert files[0] and files[1]
    assert content(files[0], "curated", "dsmb") == content(files[1], "curated", "dsmb")
    shutil.rmtree(base(homes[0]) / "releases")
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o444 and files[1].name == FILE
