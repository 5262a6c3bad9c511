"""Repair: what verify found damaged is built again from what is sound, and put in its place.

Belongs here: the order, setting the damaged file aside, the audit row, releases and CURRENT. Does not: looking
(integrity), making a part (rebuilding).

A file comes back only when its bytes have the sha256 that the ledger holds. Where the code, the rules or the
study's configuration have changed since, they differ: nothing is replaced then, and the answer says so. A
release is the exception: the engine never writes the same file twice, so a release comes back with the content
it had (its hash names all it is made of) and the ledger gets the new sha256, beside an audit row.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from msc_pipeline import desk, publishing
from msc_pipeline import ledger as book
from msc_pipeline.errors import PermanentError, PipelineError
from msc_pipeline.integrity import ASIDE, Damage, look_over
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import CURRENT
from msc_pipeline.rebuilding import PARTS, SCRATCH, Bench
from msc_pipeline.settings import Settings
from msc_pipeline.storage import locked, make_folder, mark, put, put_text, refusal, sha256_of, sync_folder
from msc_pipeline.study import Study

log = logging.getLogger(__name__)

ORDER = (*PARTS, "release", CURRENT)
"""Kinds in the order in which they are repaired."""

NEXT = {
    "raw": "restore it from backup, or ask the site to send the very same file again",
    "audit": "restore the ledger from backup, then repair again",
    "ledger": "restore the ledger from backup, then repair again",
}
BACKUP = "restore it from backup"
CHANGED = "the code, the rules or the study have changed since: what is made now has other bytes"
RELEASE_CHANGED = "what is curated now is not what it was made of"
UNUSED = "nothing in use is made from it any more, so nothing tells how it was made"


def repair_study(study: Study, settings: Settings) -> dict[str, Any]:
    """Build again what is damaged and can be built.

    Return {"study", "repaired": [places], "left": [{"place", "why", "next"}]}. What was damaged is kept under
    <study>/damaged/. With a damaged ledger nothing is built: its hashes are what everything is held to.
    """
    with locked(settings.home / study.id / "repair.lock"), locked(settings.home / study.id / "curate.lock"):
        ledger = Ledger(settings.ledger)
        damages = look_over(study, settings).damages
        bench = Bench(study, settings, ledger, _known(ledger, study))
        repaired, left = list[str](), list[dict[str, str]]()
        trusted = all(damage.is_file for damage in damages)
        for damage in damages:
            if damage.kind not in ORDER:
                left.append(_left(damage, "it is not made from anything", NEXT[damage.kind]))
            elif not trusted:
                left.append(_left(damage, "the ledger itself is damaged", NEXT["ledger"]))
        for damage in sorted((d for d in damages if trusted and d.kind in ORDER), key=_place_in_order):
            _clear(bench)
            why = _repair(bench, damage)
            repaired += [] if why else [damage.place]
            left += [why] if why else []
        _clear(bench)
        return {"study": study.id, "repaired": repaired, "left": left}


def _known(ledger: Ledger, study: Study) -> dict[str, str]:
    p = book.parts.c
    found = ledger.rows(sa.select(p.path, p.sha256).where(p.study == study.id))
    return {row["path"]: row["sha256"] for row in found}


def _place_in_order(damage: Damage) -> tuple[int, str]:
    return ORDER.index(damage.kind), damage.place


def _left(damage: Damage, why: str, next_: str) -> dict[str, str]:
    return {"place": damage.place, "why": why, "next": next_}


def _clear(bench: Bench) -> None:
    shutil.rmtree(bench.base / SCRATCH, ignore_errors=True)


def _repair(bench: Bench, damage: Damage) -> dict[str, str] | None:
    """Build one file again and put it in its place; return why not, or nothing."""
    try:
        if damage.kind == "release":
            _release(bench, damage)
        elif damage.kind == CURRENT:
            _current(bench, damage)
        elif not PARTS[damage.kind](bench, damage.place):
            return _left(damage, UNUSED, BACKUP)
        else:
            built = bench.scratch.home / damage.place
            if not built.is_file() or sha256_of(built) != damage.sha256:
                return _left(damage, CHANGED, f"{BACKUP}, or repair with the code that made it")
            _replace(bench, damage, built)
    except PipelineError as error:
        return _left(damage, error.message, NEXT["raw"] if damage.kind == "staged" else BACKUP)
    return None


def _replace(bench: Bench, damage: Damage, built: Path, **more: str) -> None:
    """Write the audit row, set the damaged file aside, move the new one in; killed between, the next repair ends it."""
    target = bench.settings.home / damage.place
    mark("repair-built")
    with bench.ledger.write() as connection:
        body = {
            "place": damage.place,
            "sha256": damage.sha256,
            "was": "differs" if target.exists() else "missing",
        }
        book.record(connection, bench.study.id, "repaired", **{**body, **more})
        if more:
            mine = sa.and_(book.releases.c.study == bench.study.id, book.releases.c.name == more["name"])
            connection.execute(sa.update(book.releases).where(mine).values(sha256=more["sha256"]))
    mark("repair-recorded")
    try:
        _set_aside(bench, target)
        mark("repair-set-aside")
        make_folder(target.parent)
        built.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise refusal("replace", target.name, error) from None
    mark("repair-placed")
    log.warning("repaired %s", damage.place)


def _set_aside(bench: Bench, target: Path) -> None:
    """Keep the damaged file for a person to look at, under a name that is not taken yet."""
    if target.exists():
        aside = bench.base / ASIDE
        make_folder(aside)
        name = "~".join(target.relative_to(bench.base).parts)
        taken = {path.name for path in aside.iterdir()}
        free = next(f"{name}.{n}" for n in range(1, len(taken) + 2) if f"{name}.{n}" not in taken)
        target.rename(aside / free)
        sync_folder(aside)
        sync_folder(target.parent)


def _release(bench: Bench, damage: Damage) -> None:
    name = Path(damage.place).parent.name
    with locked(bench.base / "publish.lock"):
        built = bench.scratch.home / damage.place
        table = desk.open_desk(bench.study, bench.settings)

        def write(path: Path) -> None:
            if not publishing.build_again(table, name, path):
                raise PermanentError("CHANGED", RELEASE_CHANGED)

        sha256 = put(built, write)
        _replace(bench, damage, built, name=name, sha256=sha256, was_sha256=damage.sha256)


def _current(bench: Bench, damage: Damage) -> None:
    """Let CURRENT name the newest release again."""
    with locked(bench.base / "publish.lock"):
        names = sorted(row["name"] for row in bench.rows(book.releases))
        if not names:
            raise PermanentError("NOTHING_RELEASED", "no release is known that it could name")
        pointer = bench.settings.home / damage.place
        with bench.ledger.write() as connection:
            book.record(connection, bench.study.id, "repaired", place=damage.place, release=names[-1])
        _set_aside(bench, pointer)
        put_text(pointer, names[-1] + "\n")
