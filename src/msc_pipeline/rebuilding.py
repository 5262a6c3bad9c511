"""Rebuilding: a part that is made once more, beside the home, by the step that made it first.

Belongs here: which part is made from which. Does not: whether its bytes are the right ones, and putting it in
place (repair).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from msc_pipeline import corrections, curation, desk, folding, holding, models, validation
from msc_pipeline import ledger as book
from msc_pipeline.errors import IntegrityError
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from msc_pipeline.staging import stage_file
from msc_pipeline.storage import make_folder, sha256_of
from msc_pipeline.study import Study

SCRATCH = "repairing"
"""Folder of a study's home in which parts are made; emptied before and after."""


@dataclass
class Bench:
    """One repair under way: where parts are built, and what is known of them.

    known: path → sha256 of every part.
    """

    study: Study
    settings: Settings
    ledger: Ledger
    known: dict[str, str]

    @property
    def base(self) -> Path:
        """The study's folder in the home."""
        return self.settings.home / self.study.id

    @property
    def scratch(self) -> Settings:
        """Settings with which a step writes beside the home and not into it."""
        return replace(self.settings, home=self.base / SCRATCH)

    def lend(self, *paths: str) -> None:
        """Let a step find parts of the home in the scratch folder. Raises: IntegrityError for a damaged one."""
        for path in paths:
            source, target = self.settings.home / path, self.scratch.home / path
            if not source.is_file() or sha256_of(source) != self.known[path]:
                raise IntegrityError("INTEGRITY", "what it is made from is damaged, too")
            if not target.exists():
                make_folder(target.parent)
                try:
                    os.link(source, target)
                except OSError:  # a file system without links
                    shutil.copyfile(source, target)

    def rows(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> list[dict[str, Any]]:
        """Return the rows of a ledger table that are this study's."""
        return self.ledger.rows(sa.select(table).where(table.c.study == self.study.id, *where))


def _staged(bench: Bench, place: str) -> bool:
    for delivery in bench.rows(book.deliveries, book.deliveries.c.staged_part == place):
        study, code, sha256 = bench.study, delivery["domain"], delivery["sha256"]
        raw = bench.base / "raw" / sha256
        if not raw.is_file() or sha256_of(raw) != sha256:
            raise IntegrityError("INTEGRITY", "the raw copy it is made from is damaged, too")
        profile, target = study.profile(delivery["site"], code), bench.scratch.home / place
        stage_file(raw, profile, study.domains[code], target, code=code, name=delivery["file"])
        return True
    return False


def _validated(bench: Bench, place: str) -> bool:
    column = book.deliveries.c[f"{place.split('/')[1]}_part"]
    for delivery in bench.rows(book.deliveries, column == place):
        bench.lend(delivery["staged_part"])
        rules = validation.load_rules(bench.study, delivery["domain"], bench.settings.project)
        staged = bench.scratch.home / delivery["staged_part"]
        connection = validation.open_delivery(bench.study, delivery, staged, rules, bench.settings)
        try:
            validation.judge(connection, bench.study, rules)
            validation.write_parts(connection, bench.study, delivery, rules, bench.scratch)
        finally:
            connection.close()
        return True
    return False


def _folded(bench: Bench, place: str) -> bool:
    domain = place.split("/")[2]
    for head in bench.rows(book.heads, book.heads.c.domain == domain):
        line = corrections.line_of(bench.ledger, bench.study, head["site"], domain)
        with suppress(IntegrityError):  # of another site, most often; its parts are in the answer themselves
            bench.lend(*(d[k] for d in line for k in ("accepted_part", "quarantine_part")))
            folding.fold_line(
                bench.study, head["site"], domain, line, bench.ledger, bench.scratch, wanted=place
            )
        if (bench.scratch.home / place).is_file():
            return True
    return False


def _held(bench: Bench, place: str) -> bool:
    table = desk.Desk(bench.study, bench.scratch, bench.ledger)
    for site, hold in table.judged.items():
        if hold["path"] == place:
            bench.lend(*(head["path"] for head in hold["heads"]))
            connection = models.connect(bench.settings.threads)
            try:
                holding.write_held(connection, table, {site: hold["inputs"]}, hold["heads"])
            finally:
                connection.close()
            return True
    return False


def _curated(bench: Bench, place: str) -> bool:
    table = desk.Desk(bench.study, bench.scratch, bench.ledger)
    for row in bench.rows(book.curated, book.curated.c.path == place):
        site, made = row["site"], curation.tables_made(table, row["site"])
        plan, hold = curation.plan_tables(table, site), table.judged[site]
        if plan.get(row["table"]) == row["inputs"]:
            bench.lend(*(head["path"] for head in hold["heads"]), hold["path"])
            bench.lend(*_restatements(hold["heads"]))
            sound = {name: other for name, other in made.items() if _lent(bench, other["path"])}
            curation.make_tables(table, site, plan, sound)
        return True
    return False


def _restatements(heads: list[dict[str, Any]]) -> Iterator[str]:
    for head in heads:
        yield from json.loads(head["restatements"])


def _lent(bench: Bench, path: str) -> bool:
    try:
        bench.lend(path)
    except IntegrityError:
        return False
    return True


PARTS: dict[str, Callable[[Bench, str], bool]] = {
    "staged": _staged, "accepted": _validated, "quarantine": _validated, "findings": _validated, "state": _folded,
    "restatement": _folded, "held": _held, "curated": _curated,
}  # fmt: skip
"""Kind → what makes a part of it in the scratch folder, in the order in which one is made from those before it.

Each answers True when it tried, False when nothing in use is made that way; and raises PipelineError when what
the part is made from is damaged, too.
"""
