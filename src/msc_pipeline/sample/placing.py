"""Putting a sample's files in place: exports whole, closed lists for their owner only.

Belongs here: names, modes and renames. Does not: what the files hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from msc_pipeline import storage

if TYPE_CHECKING:
    import pyarrow as pa


def put_export(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a file and show it at `path` whole: a dot file is no export, the rename makes it one."""
    hidden = path.with_name(f".{path.name}")
    storage.put(hidden, fill, mode=0o644)
    hidden.replace(path)
    storage.sync_folder(path.parent)


def put_closed(path: Path, schema: pa.Schema, parts: Iterable[pa.Table]) -> None:
    """Write a closed list as Parquet, part by part; only its owner can read it."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)

    def fill(temporary: Path) -> None:
        temporary.touch(mode=0o600)
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for part in parts:
                writer.write_table(part)

    storage.put(path, fill, mode=0o600)
