"""A messy trial through the pipeline, and its truth file against what the pipeline says.

Belongs here: a small simulated trial with mess, one run, the comparison. Does not: assertions.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline import pipeline
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import current
from msc_pipeline.sample.damage import LATER
from msc_pipeline.sample.spec import SimulatedSpec, load_spec
from msc_pipeline.sample.trial import write_trial
from msc_pipeline.settings import PROJECT, Settings
from msc_pipeline.study import Study, load_study

STUDY = "misle"
ADDED = {"unknown subject", "subject of another site", "duplicate, same values", "short row", "long row"}
ADDED |= {"header repeated", "footer"}
"""Faults that add a row beside a good one; a duplicate key with other values adds one of its two."""

IN_USE = ("ACCEPTED", "PARTIAL")
Fact = dict[str, str]


def small(study: Study, subjects: int, domains: tuple[str, ...] = ()) -> SimulatedSpec:
    """Return the study's sample with at most so many subjects a site; domains: some only (all, when empty)."""
    spec = load_spec(study, PROJECT)
    assert isinstance(spec, SimulatedSpec)
    whole = spec.simulated
    sites = {
        name: site.model_copy(update={"subjects": min(subjects, site.subjects)})
        for name, site in whole.sites.items()
    }
    planted = tuple(case for case in whole.planted if case.number <= sites[case.site].subjects)
    few = whole.model_copy(update={"sites": sites, "planted": planted})
    columns = {name: names for name, names in spec.domains.items() if not domains or name in domains}
    return spec.model_copy(update={"simulated": few, "domains": columns})


@dataclass
class Messy:
    """One messy trial, run once. missed: facts the pipeline did not answer as it must, with what it said."""

    settings: Settings
    facts: list[Fact]
    clean_rows: dict[str, int]
    missed: list[str] = field(default_factory=list)
    hurt: list[str] = field(default_factory=list)

    @property
    def dirt(self) -> list[Fact]:
        """The facts about files and rows; the others are clinical."""
        return [fact for fact in self.facts if fact["file"]]

    def ledger(self, table: str) -> list[dict[str, Any]]:
        """Return every row of a ledger table."""
        return Ledger(self.settings.ledger).rows(sa.select(book.metadata.tables[table]))

    def part(self, path: str | None) -> list[dict[str, Any]]:
        """Return the rows of a part."""
        return pq.read_table(self.settings.home / path).to_pylist() if path else []

    def curated(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the current release."""
        return ask(self.settings, sql)


def ask(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    """Ask the current release of the study."""
    file = current(STUDY, settings)
    assert file is not None
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def read_facts(truth: Path) -> list[Fact]:
    """Return the facts of a truth file."""
    with truth.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def make_messy(
    folder: Path, seed: int, share: float, subjects: int = 3, domains: tuple[str, ...] = ()
) -> Messy:
    """Write a messy trial, run it once, and compare."""
    study = load_study(STUDY, PROJECT)
    spec = small(study, subjects, domains)
    landing, truth = folder / "landing", folder / "truth.csv"
    report = write_trial(
        study, spec, landing, folder / "closed", project=PROJECT, seed=seed, scale=1, mess=share, truth=truth,
        on_file=None,
    )  # fmt: skip
    settings = Settings(home=folder / "home", landing=landing, project=PROJECT)
    pipeline.run(STUDY, settings)
    messy = Messy(settings, read_facts(truth), {d.domain: d.exported for d in report.domains})
    _compare(messy)
    return messy


def send_later(messy: Messy) -> list[Fact]:
    """Move the files that come later into place, as a site would, and run again; return their facts."""
    facts = [fact for fact in messy.dirt if f"/{LATER}/" in fact["file"]]
    for fact in facts:
        path = messy.settings.landing / STUDY / fact["file"]
        shutil.move(path, path.parent.parent / path.name)
    pipeline.run(STUDY, messy.settings)
    return facts


def _compare(messy: Messy) -> None:
    deliveries = {f"{d['site']}/{d['file']}": d for d in messy.ledger("deliveries")}
    held = {
        (row["SITEID"], row["SRC_SHA256"], row["SRC_ROW"]): row["RULES"]
        for hold in messy.ledger("holds")
        for row in messy.part(hold["path"])
    }
    by_file: dict[str, list[Fact]] = defaultdict(list)
    for fact in messy.dirt:
        by_file[fact["file"]].append(fact)
    for file, facts in by_file.items():
        if f"/{LATER}/" in file:
            continue
        delivery = deliveries.get(file)
        _whole_file(messy, file, delivery, [f for f in facts if not f["row"]])
        if delivery is not None:
            _rows(messy, delivery, [f for f in facts if f["row"]], held)
    _clean(messy, deliveries, by_file, held)


def _miss(messy: Messy, fact: Fact, said: object) -> None:
    messy.missed.append(f"{' '.join(fact.values())} -> {said}")


def _whole_file(messy: Messy, file: str, delivery: dict[str, Any] | None, facts: list[Fact]) -> None:
    for fact in facts:
        if fact["expected"].endswith("no delivery"):
            names = {f"{r['site']}/{r['name']}" for r in messy.ledger("receipts")}
            if delivery is not None or file not in names:
                _miss(messy, fact, delivery and delivery["status"])
        elif delivery is None:
            _miss(messy, fact, "no delivery")
        elif fact["expected"].split(":")[0] in ("rejected", "held"):
            if (delivery["status"].lower(), delivery["code"]) != (
                fact["expected"].split(":")[0],
                fact["rule_id"],
            ):
                _miss(messy, fact, (delivery["status"], delivery["code"]))
        else:
            shas = {
                row["SRC_SHA256"]
                for head in messy.ledger("heads")
                if (head["site"], head["domain"]) == (delivery["site"], delivery["domain"])
                for row in messy.part(head["path"])
            }
            in_force = shas == {delivery["sha256"]}
            if delivery["status"] not in IN_USE or in_force != fact["expected"].endswith("in force"):
                _miss(messy, fact, (delivery["status"], in_force))


def _rows(messy: Messy, delivery: dict[str, Any], facts: list[Fact], held: dict[Any, Any]) -> None:
    """Compare the planted rows of one file with its parts."""
    if not facts:
        return
    quarantine = {row["SRC_ROW"]: row["RULES"] for row in messy.part(delivery["quarantine_part"])}
    accepted = {row["SRC_ROW"] for row in messy.part(delivery["accepted_part"])}
    found = {(row["SRC_ROW"], row["RULE_ID"]) for row in messy.part(delivery["findings_part"])}
    asked = {q["rule_id"] for q in messy.ledger("queries") if q["site"] == delivery["site"]}
    failed = {
        r["rule_id"]
        for r in messy.ledger("results")
        if r["delivery"] == delivery["id"] and r["outcome"] == "failed"
    }
    for fact in facts:
        row, rule = int(fact["row"]), fact["rule_id"]
        outcome = fact["expected"].split(":")[0]
        if outcome == "quarantined":
            holds = rule in quarantine.get(row, [])
        elif outcome == "held":
            holds = rule in held.get((delivery["site"], delivery["sha256"], row), [])
        else:
            holds = row in accepted
            if rule.startswith("X-"):
                holds &= rule in asked
            elif "query" in fact["expected"]:
                holds &= (row, rule) in found
            elif rule:
                holds &= rule in failed
        if not holds:
            said = quarantine.get(row) or ("accepted" if row in accepted else "not there")
            _miss(messy, fact, said)


def _clean(
    messy: Messy, deliveries: dict[str, Any], by_file: dict[str, list[Fact]], held: dict[Any, Any]
) -> None:
    """Find good rows that were lost, held or quarantined."""
    planted_held = set()
    rows: Counter[str] = Counter()
    first_files = {}
    for file, delivery in sorted(deliveries.items(), key=lambda item: item[1]["id"]):
        facts = by_file.get(file, [])
        planted = {int(f["row"]) for f in facts if f["row"]}
        planted_held |= {(delivery["site"], delivery["sha256"], row) for row in planted}
        if delivery["status"] in IN_USE:
            for row in messy.part(delivery["quarantine_part"]):
                if row["SRC_ROW"] not in planted:
                    messy.hurt.append(f"{file} row {row['SRC_ROW']} quarantined: {row['RULES']}")
        elif not any(not f["row"] and f["rule_id"] for f in facts):
            messy.hurt.append(f"{file} {delivery['status']} {delivery['code']} {delivery['reason']}")
        if (delivery["site"], delivery["domain"]) not in first_files:
            first_files[delivery["site"], delivery["domain"]] = file
            faults = Counter(f["fault"] for f in facts if f["row"])
            added = sum(n for fault, n in faults.items() if fault in ADDED)
            added += faults["duplicate key, other values"] // 2
            rows[delivery["domain"]] += delivery["rows_in"] - added
    for key, rules in held.items():
        if key not in planted_held:
            messy.hurt.append(f"{key[0]} row {key[2]} held: {rules}")
    if dict(rows) != messy.clean_rows:
        messy.hurt.append(f"rows read: {dict(rows)}; sent: {messy.clean_rows}")
    _curated(messy, deliveries, by_file, held)


def _curated(
    messy: Messy, deliveries: dict[str, Any], by_file: dict[str, list[Fact]], held: dict[Any, Any]
) -> None:
    """Find good laboratory rows in force that the release lacks."""
    there = set(messy.curated("select SRC_SHA256, SRC_ROW from curated.adlb"))
    planted = {
        (deliveries[file]["sha256"], int(f["row"]))
        for file, facts in by_file.items()
        if file in deliveries
        for f in facts
        if f["row"]
    }
    copies = {
        (sha, row - 1)
        for file, facts in by_file.items()
        if file in deliveries
        for f in facts
        if f["fault"] == "duplicate, same values"
        for sha, row in [(deliveries[file]["sha256"], int(f["row"]))]
    }
    for head in messy.ledger("heads"):
        if head["domain"] != "LB":
            continue
        force = {(row["SRC_SHA256"], row["SRC_ROW"]) for row in messy.part(head["path"])}
        if lost := force - there - planted - copies:
            messy.hurt.append(f"{head['site']} LB: {len(lost)} good rows are not in adlb")
