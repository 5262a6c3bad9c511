"""Storage: a reader sees all of a file or nothing, and no changed byte is trusted."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from msc_pipeline import storage
from msc_pipeline.errors import BusyError, IntegrityError, TransientError
from msc_pipeline.storage import check, digest, locked, make_folder, put, put_text, sha256_of, sweep


def write(text: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(text)


def test_put_makes_a_file_that_nobody_may_change_and_names_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "part"
    assert put(path, write("text")) == sha256_of(path) == hashlib.sha256(b"text").hexdigest()
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert [p.name for p in path.parent.iterdir()] == ["part"]


def test_put_replaces_what_was_there_in_one_move(tmp_path: Path) -> None:
    path = tmp_path / "part"
    put(path, write("old"))
    with path.open() as reader:
        put(path, write("new"))
        assert (reader.read(), path.read_text()) == ("old", "new")


def test_put_text_may_be_written_again(tmp_path: Path) -> None:
    path = tmp_path / "CURRENT"
    put_text(path, "1")
    put_text(path, "µ2")
    assert path.read_text(encoding="utf-8") == "µ2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


class KilledError(BaseException):
    """As if the process had ended."""


@pytest.mark.parametrize("fault", [ValueError, KilledError])
def test_put_leaves_nothing_when_writing_fails(fault: type[BaseException], tmp_path: Path) -> None:
    def half(path: Path) -> None:
        path.write_text("half")
        raise fault

    with pytest.raises(fault):
        put(tmp_path / "part", half)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "says"),
    [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only"), (None, "the file system refused")],
)
def test_put_says_what_the_file_system_refused_and_leaves_nothing(
    number: int | None, says: str, tmp_path: Path
) -> None:
    def refuse(path: Path) -> None:
        path.write_text("half")
        raise OSError(number, "SECRET") if number else OSError("SECRET")

    with pytest.raises(TransientError, match=rf"^DISK: cannot write part: {says}") as caught:
        put(tmp_path / "part", refuse)
    assert "SECRET" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_put_says_so_when_a_folder_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(TransientError, match="DISK"):
        put(tmp_path / "home" / "part", write("x"))


def test_put_keeps_the_old_file_when_the_new_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "part"
    put(path, write("old"))

    def refuse(_: Path) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(storage, "sync_file", refuse)
    with pytest.raises(TransientError):
        put(path, write("new"))
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_new_folders_are_made_durable_from_the_top_of_what_was_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(storage, "sync_folder", synced.append)
    make_folder(tmp_path / "a" / "b")
    assert sorted(synced) == [tmp_path, tmp_path / "a"]
    make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_every_moment_of_put_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    monkeypatch.setattr(storage, "on_mark", steps.append)
    put(tmp_path / "part", write("x"))
    assert steps == ["tmp-written", "tmp-synced", "renamed", "folder-synced"]


def test_a_digest_keeps_its_parts_apart() -> None:
    known = {
        digest("a", "bc"),
        digest("ab", "c"),
        digest("abc"),
        digest("a", "b", "c"),
        digest("abc", ""),
        digest(),
    }
    assert len(known) == 6
    assert digest("a", 1) == digest("a", "1")


def test_a_file_with_the_right_bytes_passes_the_check(tmp_path: Path) -> None:
    path = tmp_path / "part"
    assert check(path, put(path, write("text"))) == path


def test_one_flipped_bit_does_not_pass_the_check(tmp_path: Path) -> None:
    path = tmp_path / "part"
    sha256 = put(path, write("text"))
    data = bytearray(path.read_bytes())
    data[2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="part differs from what was written"):
        check(path, sha256)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir])
def test_a_missing_file_does_not_pass_the_check(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "part")
    with pytest.raises(IntegrityError, match="part is missing"):
        check(tmp_path / "part", "0" * 64)


HOLDER = """
import sys, time
from pathlib import Path
from msc_pipeline.storage import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_other_processes_out_until_its_holder_dies(tmp_path: Path) -> None:
    path = tmp_path / "home" / "curate.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        busy = pytest.raises(BusyError, match=r"BUSY: another process holds curate\.lock")
        with busy, locked(path, wait_seconds=0.1):
            pass
        holder.kill()
        with locked(path, wait_seconds=30):
            pass


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with pytest.raises(ValueError, match="x"), locked(path):
        raise ValueError("x")
    with locked(path, wait_seconds=0):
        pass


def test_sweep_removes_old_litter_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    old, young, kept = folder / "a.parquet.1f.tmp", folder / "b.parquet.2f.tmp", folder / "c.parquet"
    wal = folder / "open.duckdb.3f.tmp.wal"
    for path in (old, young, kept, wal):
        path.write_text("x")
    (folder / "d.tmp").mkdir()
    for path in (old, kept, wal, folder / "d.tmp"):
        os.utime(path, (time.time() - 7200,) * 2)
    assert sweep(tmp_path) == 2
    assert sorted(p.name for p in folder.iterdir()) == ["b.parquet.2f.tmp", "c.parquet", "d.tmp"]
    assert sweep(tmp_path, age_seconds=-1) == 1


def test_sweep_passes_over_what_another_run_removes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tmp").write_text("x")

    def gone(_: Path) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "unlink", gone)
    assert sweep(tmp_path, age_seconds=-1) == 0
