"""Integrity: every damaged, missing or foreign thing is named, and nothing is changed by looking."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline import pipeline
from msc_pipeline.errors import IntegrityError
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import CURRENT, pointed
from tiny_trial import STUDY, TinyTrial

KINDS = ("raw", "staged", "accepted", "quarantine", "findings", "state", "restatements", "held", "curated")


def verify(trial: TinyTrial) -> dict[str, int]:
    return pipeline.verify(STUDY, trial.settings)


def stored(trial: TinyTrial, folder: str) -> Path:
    return sorted(path for path in (trial.settings.home / STUDY / folder).rglob("*") if path.is_file())[0]


def write(trial: TinyTrial, statement: sa.Executable) -> None:
    with Ledger(trial.settings.ledger).write() as connection:
        connection.execute(statement)


def test_a_home_as_it_was_written_is_whole(released: TinyTrial) -> None:
    before = {p: p.stat().st_mtime_ns for p in released.settings.home.rglob("*") if p.is_file()}
    found = verify(released)
    files = [p for p in (released.settings.home / STUDY).rglob("*") if p.is_file() and p.suffix != ".lock"]
    assert found == {"files": len(files) - 1, "audit_rows": len(released.known("audit")), "unused": 0}
    assert {p: p.stat().st_mtime_ns for p in before} == before


@pytest.mark.parametrize("folder", [*KINDS, "releases"])
def test_one_flipped_bit_is_named_whatever_the_file_is(published: TinyTrial, folder: str) -> None:
    file = stored(published, folder)
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(IntegrityError) as damaged:
        verify(published)
    assert (
        damaged.value.message == f"1 files differ or are missing: {file.relative_to(published.settings.home)}"
    )


def test_every_missing_file_is_named(published: TinyTrial) -> None:
    gone = list((published.settings.home / STUDY / "staged").rglob("*.parquet"))
    gone += list((published.settings.home / STUDY / "curated").rglob("*.parquet"))
    for file in gone:
        file.unlink()
    with pytest.raises(IntegrityError) as damaged:
        verify(published)
    assert damaged.value.message.startswith(f"{len(gone)} files differ or are missing: tiny/curated/")
    assert damaged.value.message.count(".parquet") == len(gone)


@pytest.mark.parametrize("event", ["received", "released"])
def test_an_edited_audit_row_breaks_the_chain(published: TinyTrial, event: str) -> None:
    row = next(a for a in published.known("audit") if a["event"] == event)
    edited = sa.update(book.audit).where(book.audit.c.seq == row["seq"])
    write(published, edited.values(body=row["body"].replace('"', '" ', 1)))
    with pytest.raises(IntegrityError, match=f"AUDIT_CHAIN: audit row {row['seq']} is not what was written"):
        verify(published)


def test_a_removed_or_inserted_audit_row_breaks_the_chain(published: TinyTrial) -> None:
    write(published, sa.delete(book.audit).where(book.audit.c.seq == 3))
    with pytest.raises(IntegrityError, match="AUDIT_CHAIN: audit row 3"):
        verify(published)


def test_an_edited_hash_of_a_part_is_found_by_its_file(published: TinyTrial) -> None:
    path = published.known("parts")[0]["path"]
    write(published, sa.update(book.parts).where(book.parts.c.path == path).values(sha256="0" * 64))
    with pytest.raises(IntegrityError, match=path):
        verify(published)


@pytest.mark.parametrize("content", [b"0000009-0123456789abcdef\n", b"", b"\xff\x00", None])
def test_a_current_that_names_no_known_release_is_named(published: TinyTrial, content: bytes | None) -> None:
    pointer = published.settings.home / STUDY / "releases" / CURRENT
    pointer.unlink() if content is None else pointer.write_bytes(content)
    with pytest.raises(IntegrityError, match=f"1 files differ or are missing: tiny/releases/{CURRENT}"):
        verify(published)


def test_a_current_of_a_ledger_without_releases_is_named(published: TinyTrial) -> None:
    write(published, sa.delete(book.releases))
    with pytest.raises(IntegrityError, match=f"tiny/releases/{CURRENT}"):
        verify(published)


def test_what_a_killed_run_left_is_counted_and_harmless(published: TinyTrial) -> None:
    base = published.settings.home / STUDY
    (base / "accepted" / "LB" / "00000099-x.parquet.abc.tmp").write_bytes(b"half")
    (base / "releases" / "0000002-0000000000000000").mkdir()
    (base / "releases" / "0000002-0000000000000000" / "open.duckdb").write_bytes(b"never recorded")
    assert verify(published)["unused"] == 2


def test_a_home_that_nothing_has_reached_yet_is_whole(trial: TinyTrial) -> None:
    assert verify(trial) == {"files": 0, "audit_rows": 0, "unused": 0}
    assert pointed(trial.settings.home / STUDY / "releases") == ""
