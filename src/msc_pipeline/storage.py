"""Files that survive a kill: write beside, fsync, rename, fsync the folder; hash before trust.

Belongs here: bytes on disk, locks between processes, the marks where a kill is tested. Does not: what the
bytes mean (readers, models) and what is known about them (ledger).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from msc_pipeline.errors import BusyError, IntegrityError, TransientError

CHUNK = 1 << 20
LITTER_AGE_SECONDS = 3600

on_mark: Callable[[str], None] | None = None
"""Called at every marked step. Only tests set it, to kill the process exactly there."""


def mark(step: str) -> None:
    """Name a moment at which a kill must lose and double nothing."""
    if on_mark is not None:
        on_mark(step)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Create `folder` and what it lacks above it, so that the folders survive a power cut like their files."""
    lacking = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in lacking:
        sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make the bytes of `path` durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*parts: object) -> str:
    """Return a SHA-256 over the text of `parts`; separators keep ("a", "bc") and ("ab", "c") apart."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()


def refusal(what: str, name: str, error: OSError) -> TransientError:
    """Return our error for one of the file system: full, read-only, no rights; it may be put right meanwhile."""
    why = os.strerror(error.errno) if error.errno else "the file system refused"
    return TransientError("DISK", f"cannot {what} {name}: {why}", hint="free space or rights")


def put(path: Path, write: Callable[[Path], None], *, mode: int = 0o444) -> str:
    """Create `path` by calling `write(temporary_path)`; return the sha256. A reader sees all of it or nothing.

    Raises: TransientError DISK when the file system refuses (full, read-only); nothing is left at `path`.
    """
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        make_folder(path.parent)
        write(temporary)
        mark("tmp-written")
        sha256 = sha256_of(temporary)
        temporary.chmod(mode)
        sync_file(temporary)
        mark("tmp-synced")
        temporary.replace(path)
        mark("renamed")
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise refusal("write", path.name, error) from None
        raise
    mark("folder-synced")
    return sha256


def put_text(path: Path, text: str, *, mode: int = 0o644) -> str:
    """Create a small text file by the same steps as `put`."""
    return put(path, lambda temporary: _write_text(temporary, text), mode=mode)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def check(path: Path, sha256: str) -> Path:
    """Return `path` when its bytes are those the ledger knows.

    Raises: IntegrityError INTEGRITY when the file is gone or differs. DuckDB and pyarrow read a flipped bit
    of a Parquet file without an error, so this runs before every read that a release is made from.
    """
    if not path.is_file():
        raise IntegrityError("INTEGRITY", f"{path.name} is missing", hint="run msc verify")
    if sha256_of(path) != sha256:
        raise IntegrityError(
            "INTEGRITY",
            f"{path.name} differs from what was written",
            hint="run msc verify; restore from backup",
        )
    return path


@contextmanager
def locked(path: Path, *, wait_seconds: float = 600.0) -> Iterator[None]:
    """Hold an exclusive lock between processes; the system frees it when the holder dies.

    Raises: BusyError BUSY after `wait_seconds`; TransientError DISK when the file cannot be made.
    """
    deadline = time.monotonic() + wait_seconds
    with _lock_file(path) as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BusyError("BUSY", f"another process holds {path.name}") from None
                time.sleep(0.05)
        yield


def _lock_file(path: Path) -> IO[str]:
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a")
    except OSError as error:
        raise refusal("lock", path.name, error) from None


def sweep(folder: Path, *, age_seconds: float = LITTER_AGE_SECONDS) -> int:
    """Remove temporary files that a killed process left; return how many. Young ones may be in use."""
    removed = 0
    for path in folder.rglob("*.tmp*"):
        try:
            if path.is_file() and time.time() - path.stat().st_mtime > age_seconds:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue
    return removed
