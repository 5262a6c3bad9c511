"""Looking for words that must not be somewhere: in files, ledgers, releases and what a run prints.

Belongs here: turning every kind of artefact into text. Does not: which words and which artefacts (the tests).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb

from integration.state import table
from msc_pipeline import ledger as book
from msc_pipeline.settings import Settings

COPIES = frozenset({"raw", "staged", "accepted", "quarantine", "state"})
"""Folders of a study's home that hold what sites sent, as they sent it."""


def hits(words: Iterable[str], text: str | bytes) -> list[str]:
    """Return the words that a text holds, in any case."""
    low = text.lower()
    return [w for w in words if (w.lower() if isinstance(low, str) else w.lower().encode()) in low]


def derived_files(home: Path) -> Iterator[Path]:
    """Yield every file of a home but copies of what sites sent."""
    for path in sorted(p for p in home.rglob("*") if p.is_file()):
        if len(path.relative_to(home).parts) < 2 or path.relative_to(home).parts[1] not in COPIES:
            yield path


def cells_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (place, text) of everything a stored file holds: names, comments, every cell, and its bare bytes."""
    yield "bytes", path.read_bytes().decode("latin-1")
    if path.suffix == ".parquet":
        with duckdb.connect() as connection:
            rows = connection.read_parquet(str(path), hive_partitioning=False).fetchall()
        yield "cells", json.dumps(rows, default=str, ensure_ascii=False)
    elif path.suffix == ".duckdb":
        yield from _cells_of_release(path)


def _cells_of_release(path: Path) -> Iterator[tuple[str, str]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        for kind in ("tables", "columns", "schemas", "views"):
            rows = connection.execute(f"from duckdb_{kind}() where not internal").fetchall()
            yield kind, json.dumps(rows, default=str)
        names = "select schema_name || '.' || table_name from duckdb_tables() where not internal order by 1"
        for (name,) in connection.execute(names).fetchall():
            yield (
                name,
                json.dumps(connection.execute(f"from {name}").fetchall(), default=str, ensure_ascii=False),
            )


def cells_of_ledger(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield (table, text) of every table of the ledger."""
    for name in book.metadata.tables:
        yield name, json.dumps(table(settings, name), default=str, ensure_ascii=False)
