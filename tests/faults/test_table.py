"""The fault table: each fault, made as a file, ends as the table says, and disturbs nothing else."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from faults.making import base, write
from msc_pipeline import pipeline
from tiny_trial import STUDY, STUDY_YAML, TinyTrial, make_trial, trust_own_scan

HERE = Path(__file__).parent
TABLE: list[dict[str, Any]] = yaml.safe_load((HERE / "table.yaml").read_text(encoding="utf-8"))
FILES = [row for row in TABLE if "test" not in row]
ELSEWHERE = [row for row in TABLE if "test" in row]
RULED_OTHERWISE = ("W", "H", "HELD")


def named(row: dict[str, Any]) -> str:
    """Return the name of a row's test."""
    return f"{row['n']} {row['fault']}".encode("ascii", "replace").decode()


def test_every_fault_from_1_to_103_is_in_the_table() -> None:
    assert [n for n in range(1, 104) if n not in {row["n"] for row in TABLE}] == []
    assert [row["n"] for row in TABLE] == sorted(row["n"] for row in TABLE)


def test_an_outcome_other_than_the_plain_one_gives_its_reason() -> None:
    plain = {3, 61}  # a warning is what is asked for
    for row in FILES:
        if row["expect"].split()[0] in RULED_OTHERWISE and row["n"] not in plain:
            assert row.get("why"), named(row)


@cache
def _tests_in(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ELSEWHERE, ids=named)
def test_the_test_that_brings_a_fault_about_is_there(row: dict[str, Any]) -> None:
    file, _, name = row["test"].partition("::")
    assert name in _tests_in(HERE.parent / file)


def trial_of(folder: Path, row: dict[str, Any]) -> TinyTrial:
    """Lay out the tiny trial with what the row's profile says for XA only."""
    study = yaml.safe_load(STUDY_YAML)
    study["profiles"]["faulty"] = {"settle_seconds": 0, **row.get("profile", {})}
    study["sites"]["XA"] = {"profile": "faulty"}
    study["domains"]["DM"]["optional"].append("RFICDTC")
    return make_trial(folder, yaml.safe_dump(study, sort_keys=False))


def accepted(trial: TinyTrial, delivery: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the accepted rows of a delivery in their order in the file."""
    return pq.read_table(trial.settings.home / delivery["accepted_part"]).sort_by("SRC_ROW").to_pylist()


def quarantined(trial: TinyTrial, delivery: dict[str, Any]) -> dict[int, list[str]]:
    """Return SRC_ROW → rules of the rows in quarantine."""
    rows = pq.read_table(trial.settings.home / delivery["quarantine_part"]).to_pylist()
    return {row["SRC_ROW"]: row["RULES"] for row in rows}


def held(trial: TinyTrial) -> dict[int, list[str]]:
    """Return SRC_ROW → rules of the rows that wait for another domain."""
    pipeline.hold(STUDY, trial.settings)
    rows = [row for path in trial.parts("held").values() for row in pq.read_table(path).to_pylist()]
    return {row["SRC_ROW"]: row["RULES"] for row in rows if row["SITEID"] == "XA"}


def send(trial: TinyTrial, row: dict[str, Any]) -> None:
    """Send what came before, what else the fault needs, a sound file of another site, and the faulty export."""
    domain = row.get("domain", "LB")
    for other in row.get("with", ()):
        cells = {"RFICDTC": "2025-02-01"} if other == "DM" else {}
        trial.send("XA", other, [{**r, **cells} for r in base(other, "XA")])
    if row.get("before"):
        trial.send("XA", domain, base(domain, "XA"), name=f"{domain.lower()}_before.csv")
        trial.decide()
    trial.send("XB", domain, base(domain, "XB"))
    write(trial.folder("XA") / row.get("name", f"{domain.lower()}_XA.csv"), row)


@pytest.mark.parametrize("row", FILES, ids=named)
def test_a_fault_ends_as_the_table_says(
    row: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_own_scan(monkeypatch)
    trial = trial_of(tmp_path, row)
    send(trial, row)
    trial.decide()
    last = max((d for d in trial.known("deliveries") if d["site"] == "XA"), key=lambda d: d["id"], default={})
    others = [d for d in trial.known("deliveries") if d["site"] == "XB"]
    assert [d["status"] for d in others] == ["ACCEPTED"], "another site's sound file is used"
    outcome, _, code = row["expect"].partition(" ")
    CHECKS[outcome](trial, row, last, code)
    if "alert" in row:
        assert row["alert"] in {a["kind"] for a in trial.known("alerts")}
    before = [trial.known(table) for table in ("receipts", "deliveries", "results", "parts")]
    trial.decide()
    assert before == [trial.known(table) for table in ("receipts", "deliveries", "results", "parts")]


def rejected(trial: TinyTrial, row: dict[str, Any], delivery: dict[str, Any], code: str) -> None:
    """The file is refused as a whole, with a query and an alert, and no row of it is in use."""
    assert (delivery["status"], delivery["code"]) == ("REJECTED", code), delivery["reason"]
    assert delivery["accepted"] == 0
    assert not trial.in_force("XA", row.get("domain", "LB"))
    assert [q["severity"] for q in trial.known("queries") if q["rule_id"] == code] == ["critical"]
    assert [a["kind"] for a in trial.known("alerts") if a["kind"] == "DELIVERY_REJECTED"]
    if code != "TOO_MANY_QUARANTINED":
        parts = [p["path"] for p in trial.known("parts")]
        assert not [p for p in parts if f"{delivery['id']:08d}-" in p and "/staged/" not in p]
    texts = [delivery["reason"], *(a["body"] + a["title"] for a in trial.known("alerts"))]
    assert not [t for t in texts if "TINY01-X" in t], "no subject in what people are told"


def used(trial: TinyTrial, row: dict[str, Any], delivery: dict[str, Any], quarantine: int) -> None:
    """No row is lost between reading, quarantine and acceptance; accepted cells are the text that was sent."""
    status = "PARTIAL" if quarantine else "ACCEPTED"
    assert (delivery["status"], delivery["code"]) == (status, None), delivery["reason"]
    rows = row.get("rows", len(base(row.get("domain", "LB"), "XA")))
    assert (delivery["rows_in"], delivery["quarantined"]) == (rows, quarantine)
    good = accepted(trial, delivery)
    assert len(good) == delivery["accepted"] == rows - quarantine
    for number, cells in row.get("cells", {}).items():
        assert {name: good[number - 1][name] for name in cells} == cells
    if "in_force" in row:
        assert len({r["KEY_HASH"] for r in good}) == row["in_force"]
    if "info" in row:
        results = {
            r["rule_id"]: r["n_failed"] for r in trial.known("results") if r["delivery"] == delivery["id"]
        }
        assert results[row["info"]]


def plainly_used(trial: TinyTrial, row: dict[str, Any], delivery: dict[str, Any], _code: str) -> None:
    """Every row is accepted and nobody is asked anything."""
    used(trial, row, delivery, 0)
    assert trial.open_queries() == []


def used_and_asked(trial: TinyTrial, row: dict[str, Any], delivery: dict[str, Any], code: str) -> None:
    """Every row is accepted and the site is asked."""
    used(trial, row, delivery, 0)
    held(trial)
    domain = row.get("domain", "LB")
    asked = {(q["site"], q["domain"], q["rule_id"]) for q in trial.known("queries") if not q["closed_at"]}
    assert ("XA", domain, code) in asked


def partly_used(trial: TinyTrial, row: dict[str, Any], delivery: dict[str, Any], code: str) -> None:
    """The faulty rows, and no others, are in quarantine with the rule."""
    found = quarantined(trial, delivery)
    assert sorted(found) == row["faulty"]
    assert all(code in rules for rules in found.values()), found
    used(trial, row, delivery, len(found))
    assert ("XA", row.get("domain", "LB"), code) in trial.open_queries()


def waits_for_another_domain(
    trial: TinyTrial, row: dict[str, Any], delivery: dict[str, Any], code: str
) -> None:
    """The row is accepted, and held from curated tables until the cause is gone."""
    used(trial, row, delivery, 0)
    found = {line: rules for line, rules in held(trial).items() if code in rules}
    assert sorted(found) == row["faulty"]


def waits_for_a_person(trial: TinyTrial, row: dict[str, Any], delivery: dict[str, Any], _code: str) -> None:
    """Earlier data stand until a person lets the delivery through."""
    assert (delivery["status"], delivery["code"]) == ("HELD", "REMOVES")
    assert len(trial.in_force("XA", row.get("domain", "LB"))) == len(base(row.get("domain", "LB"), "XA"))


def waits(trial: TinyTrial, _row: dict[str, Any], delivery: dict[str, Any], _code: str) -> None:
    """Nothing is taken."""
    assert delivery == {}
    assert [r for r in trial.known("receipts") if r["site"] == "XA"] == []
    assert [p for p in trial.folder("XA").iterdir() if p.is_file()]


CHECKS = {
    "R": rejected, "A": plainly_used, "W": used_and_asked, "Q": partly_used, "H": waits_for_another_domain,
    "HELD": waits_for_a_person, "WAITS": waits,
}  # fmt: skip
