"""Repair: what is damaged comes back with the very bytes the ledger holds, or the answer says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from faults.test_process import KINDS, base, flip, one
from integration.state import content
from msc_pipeline import cli, desk, pipeline, rebuilding, staging, storage, validation
from msc_pipeline import ledger as book
from msc_pipeline.errors import IntegrityError
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import current, pointed
from msc_pipeline.repair import repair_study
from tiny_trial import STUDY, TinyTrial

REBUILT = [kind for kind in KINDS if kind not in ("raw", "releases")]


def fix(trial: TinyTrial) -> tuple[list[str], list[str]]:
    """Repair; return the places repaired and those left."""
    report = repair_study(trial.study, trial.settings)
    return report["repaired"], [left["place"] for left in report["left"]]


def place(trial: TinyTrial, path: Path) -> str:
    return str(path.relative_to(trial.settings.home))


def files(trial: TinyTrial) -> dict[str, bytes]:
    """Return place → bytes of every file that counts, but for the ledger and what repair keeps aside."""
    found = (p for p in base(trial).rglob("*") if p.is_file() and p.suffix != ".lock")
    return {place(trial, p): p.read_bytes() for p in found if "damaged" not in p.parts}


@pytest.mark.parametrize("kind", REBUILT)
@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_a_damaged_part_comes_back_with_the_same_bytes(published: TinyTrial, kind: str, how: str) -> None:
    before, path = files(published), one(published, kind)
    flip(path) if how == "flipped" else path.unlink()
    damaged = path.read_bytes() if how == "flipped" else b""
    assert fix(published) == ([place(published, path)], [])
    assert files(published) == before
    assert pipeline.verify(STUDY, published.settings)["unused"] == 0
    (row,) = [json.loads(a["body"]) for a in published.known("audit") if a["event"] == "repaired"]
    assert row["place"] == place(published, path) and row["was"] == ("differs" if damaged else "missing")
    aside = [p.read_bytes() for p in (base(published) / "damaged").glob("*")]
    assert aside == ([damaged] if damaged else []), "what was damaged is kept"
    assert fix(published) == ([], []), "a second repair finds nothing to do"
    assert not pipeline.run(STUDY, published.settings)["new"]


def test_everything_but_raw_comes_back_at_once(published: TinyTrial) -> None:
    before = files(published)
    parts = [published.settings.home / p["path"] for p in published.known("parts")]
    for path in parts:
        flip(path)
    repaired, left = fix(published)
    assert left == [] and len(repaired) == len(parts)
    assert files(published) == before


def test_a_release_comes_back_with_its_content_and_its_new_hash_in_the_ledger(published: TinyTrial) -> None:
    file = current(STUDY, published.settings)
    assert file is not None
    before, name = content(file, "curated", "dsmb", "ops"), pointed(base(published) / "releases")
    flip(file)
    assert fix(published) == ([place(published, file)], [])
    assert content(file, "curated", "dsmb", "ops") == before
    assert [r["name"] for r in published.known("releases")] == [name] == [file.parent.name]
    pipeline.verify(STUDY, published.settings)
    assert not pipeline.run(STUDY, published.settings)["new"]


def test_a_current_that_names_nothing_names_the_newest_release_again(published: TinyTrial) -> None:
    pointer = base(published) / "releases" / "CURRENT"
    before = pointer.read_text()
    pointer.write_text("0000009-0123456789abcdef\n")
    assert fix(published) == ([place(published, pointer)], [])
    assert pointer.read_text() == before
    pipeline.verify(STUDY, published.settings)


def test_a_raw_copy_is_not_made_from_anything_and_comes_back_when_the_site_sends_it_again(
    published: TinyTrial,
) -> None:
    raw = next(
        p for p in (base(published) / "raw").iterdir() if p.read_bytes().startswith(b"STUDYID,USUBJID,CMSEQ")
    )
    sent = raw.read_bytes()
    staged = published.settings.home / next(
        d["staged_part"] for d in published.known("deliveries") if d["sha256"] == raw.name
    )
    flip(raw), flip(staged)
    report = repair_study(published.study, published.settings)
    assert {left["place"] for left in report["left"]} == {place(published, raw), place(published, staged)}
    assert all("send the very same file again" in left["next"] for left in report["left"])
    published.send("XA", "CM", sent, name="cm_again.csv")
    published.run()
    assert fix(published) == ([place(published, staged)], [])
    pipeline.verify(STUDY, published.settings)


@pytest.mark.parametrize("kind", ["staged", "accepted", "held", "curated", "releases"])
def test_what_other_code_would_make_otherwise_is_said_and_not_replaced(
    published: TinyTrial, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = one(published, kind)
    flip(path)
    damaged = path.read_bytes()
    if kind == "staged":
        write = staging._write

        def other(batches: object, path: Path, counted: list[int]) -> None:
            write(batches, path, counted)  # type: ignore[arg-type]
            path.write_bytes(path.read_bytes() + b" ")

        monkeypatch.setattr(staging, "_write", other)
    elif kind == "held":
        monkeypatch.setattr(rebuilding.holding, "put", lambda path, write: storage.put_text(path, "other"))
    else:
        for module in (validation, desk):
            monkeypatch.setattr(module, "__version__", "99.0.0")
    assert fix(published) == ([], [place(published, path)])
    assert path.read_bytes() == damaged
    assert not (base(published) / "damaged").exists()


def test_with_a_damaged_ledger_nothing_is_built(published: TinyTrial) -> None:
    path = one(published, "accepted")
    flip(path)
    with Ledger(published.settings.ledger).write() as connection:
        connection.execute(sa.update(book.audit).where(book.audit.c.seq == 2).values(body="{}"))
    repaired, left = fix(published)
    assert repaired == []
    assert place(published, path) in left and "audit row 2 is not what was written" in left


class KilledError(BaseException):
    """As if the process had ended."""


@pytest.mark.parametrize("step", ["repair-built", "repair-recorded", "repair-set-aside", "repair-placed"])
@pytest.mark.parametrize("kind", ["accepted", "curated", "releases"])
def test_a_repair_that_was_killed_is_ended_by_the_next(
    published: TinyTrial, kind: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = one(published, kind)
    flip(path)

    def kill(mark: str) -> None:
        if mark == step:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(storage, "on_mark", kill)
        with pytest.raises(KilledError):
            fix(published)
    fix(published)
    pipeline.verify(STUDY, published.settings)
    assert len(list((base(published) / "damaged").iterdir())) >= 1
    assert not pipeline.run(STUDY, published.settings)["new"]


def test_the_command_says_what_it_did_and_what_is_left(
    published: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSC_PROJECT", str(published.settings.project))
    flip(one(published, "curated"))
    words = ["repair", "--study", STUDY, "--home", str(published.settings.home)]
    done = CliRunner().invoke(cli.app, words)
    assert done.exit_code == 0 and done.output.startswith("repaired tiny/curated/"), done.output
    assert done.output.endswith("1 repaired, 0 left\n")
    raw = one(published, "raw")
    flip(raw)
    left = CliRunner().invoke(cli.app, [*words, "--json"])
    assert left.exit_code == 1
    assert json.loads(left.output)["left"][0]["place"] == place(published, raw)


def test_a_repair_stops_before_a_file_whose_ground_is_damaged_too(published: TinyTrial) -> None:
    delivery = next(d for d in published.known("deliveries") if d["domain"] == "AE" and d["site"] == "XB")
    raw = base(published) / "raw" / delivery["sha256"]
    paths = [raw, *(published.settings.home / delivery[f"{k}_part"] for k in ("staged", "accepted"))]
    for path in paths:
        flip(path)
    repaired, left = fix(published)
    assert repaired == [] and sorted(left) == sorted(place(published, path) for path in paths)
    with pytest.raises(IntegrityError):
        pipeline.verify(STUDY, published.settings)
