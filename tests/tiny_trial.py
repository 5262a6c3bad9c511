"""A whole trial in a temporary folder: two sites, a few subjects, the real rules and models.

Belongs here: writing exports as a site would, running the pipeline, reading the release. Does not: assertions.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from msc_pipeline import checks, gx_duckdb, pipeline
from msc_pipeline import ledger as book
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import current
from msc_pipeline.settings import PROJECT, Settings
from msc_pipeline.study import Study, load_study

STUDY = "tiny"
SITES = ("XA", "XB")
STUDY_YAML = r"""
id: tiny
STUDYID: TINY01
title: A tiny trial
planned_subjects: 8
subject_pattern: '^TINY01-([A-Z]{2})-\d{3}$'
arms:
  - {ARMCD: A, ARM: Activex, ratio: 1}
  - {ARMCD: C, ARM: Comparatorx, ratio: 1}
baseline: {rule: last_on_or_before_dose}
last_plausible_date: "2030-12-31"
blinding: {words: [activex, comparatorx]}
profiles:
  plain: {sequence: '_v(\d+)\.csv$', settle_seconds: 0}
  strict: {manifest: required, settle_seconds: 0}
sites:
  XA: {profile: plain}
  XB: {profile: plain}
  XC: {profile: strict}
domains:
  LB:
    update: cumulative
    key: [USUBJID, LBTESTCD, LBDTC]
    required: [STUDYID, USUBJID, LBSEQ, LBTESTCD, LBORRES, LBORRESU, LBDTC]
    optional: [DOMAIN, LBORNRLO, LBORNRHI, VISITNUM, VISIT, LBSTAT]
    max_removed: 0.5
    suites: [common/identity, common/blind, lab/structure, lab/blood_counts, lab/liver_function, lab/tumor_markers]
  DM:
    update: cumulative
    key: [USUBJID]
    required: [STUDYID, USUBJID, SUBJID, AGE, AGEU, SEX]
    optional: [DOMAIN, SITEID, DTHDTC, DTHFL]
    suites: [common/identity, common/blind, visit/dm]
  SV:
    update: cumulative
    key: [USUBJID, VISITNUM, SVSTDTC]
    required: [STUDYID, USUBJID, VISITNUM, VISIT, SVSTDTC, SVENDTC]
    suites: [common/identity, common/blind, visit/sv]
  EX:
    update: cumulative
    key: [USUBJID, EXSEQ]
    required: [STUDYID, USUBJID, EXSEQ, EXSTDTC, EXENDTC]
    suites: [common/identity, common/blind, visit/ex]
  AE:
    update: cumulative
    key: [USUBJID, AESEQ]
    required: [STUDYID, USUBJID, AESEQ, AETERM, AESEV, AESER, AESTDTC]
    optional: [AEENDTC, AEDECOD, AEOUT]
    free_text: [AETERM]
    hold_removed_rows: true
    suites: [common/identity, visit/ae]
  CM:
    update: incremental
    key: [USUBJID, CMSEQ]
    required: [STUDYID, USUBJID, CMSEQ, CMTRT, CMSTDTC]
    optional: [CMDOSE, CMDOSU]
    free_text: [CMTRT]
    suites: [common/identity, common/blind, visit/cm]
visits:
  - {VISITNUM: "1", VISIT: DAY 1, AVISIT: Day 1, week: "0", day: 1}
  - {VISITNUM: "2", VISIT: WEEK 1, AVISIT: Week 1, week: "1", day: 8, before: 2, after: 2}
analytes:
  - {LBTESTCD: ALT, PARAM: Alanine Aminotransferase (U/L), PARCAT1: LIVER FUNCTION, standard_unit: U/L}
  - {LBTESTCD: HGB, PARAM: Hemoglobin (g/L), PARCAT1: BLOOD COUNTS, standard_unit: g/L}
"""


FEW_RULES = STUDY_YAML.replace(", lab/blood_counts, lab/liver_function, lab/tumor_markers", "")
"""The same trial with fewer rules on LB, for tests that send many lab files."""


def subject(site: str, number: int) -> str:
    """Return a USUBJID of the tiny trial."""
    return f"TINY01-{site}-{number:03d}"


def dm(site: str, number: int, **cells: str) -> dict[str, str]:
    """Return one valid DM row."""
    who = {"STUDYID": "TINY01", "USUBJID": subject(site, number), "SUBJID": f"{number:03d}"}
    return {**who, "AGE": str(30 + number), "AGEU": "YEARS", "SEX": "F", **cells}


def ex(site: str, number: int, **cells: str) -> dict[str, str]:
    """Return one valid EX row: infusion on 1 March 2025."""
    who = {"STUDYID": "TINY01", "USUBJID": subject(site, number), "EXSEQ": "1"}
    return {**who, "EXSTDTC": "2025-03-01T10:00", "EXENDTC": "2025-03-01T10:40", **cells}


def sv(site: str, number: int, visit: int = 1, **cells: str) -> dict[str, str]:
    """Return one valid SV row: visit 1 is day 1, visit 2 is day 8."""
    date = "2025-03-01" if visit == 1 else "2025-03-08"
    row = {"STUDYID": "TINY01", "USUBJID": subject(site, number), "VISITNUM": str(visit)}
    return {**row, "VISIT": "DAY 1" if visit == 1 else "WEEK 1", "SVSTDTC": date, "SVENDTC": date, **cells}


def lb(site: str, number: int, seq: int = 1, **cells: str) -> dict[str, str]:
    """Return one valid LB row: ALT before the dose (seq 1), a week later (seq 2), haemoglobin after (seq 3)."""
    row = {"STUDYID": "TINY01", "USUBJID": subject(site, number), "LBSEQ": str(seq), "LBTESTCD": "ALT"}
    row |= {"LBORRES": str(20 + number + seq), "LBORRESU": "U/L", "LBORNRLO": "7", "LBORNRHI": "40"}
    row |= {"LBDTC": "2025-03-01T09:00", "VISITNUM": "1", "VISIT": "DAY 1"}
    if seq > 1:
        row |= {"LBDTC": "2025-03-08T09:00", "VISITNUM": "2", "VISIT": "WEEK 1"}
    if seq > 2:
        row |= {
            "LBTESTCD": "HGB",
            "LBORRES": "12.5",
            "LBORRESU": "g/dL",
            "LBORNRLO": "11.5",
            "LBORNRHI": "16",
        }
    return {**row, **cells}


def ae(site: str, number: int, seq: int = 1, **cells: str) -> dict[str, str]:
    """Return one valid AE row."""
    row = {"STUDYID": "TINY01", "USUBJID": subject(site, number), "AESEQ": str(seq), "AETERM": "Headache"}
    return {**row, "AESEV": "MILD", "AESER": "N", "AESTDTC": "2025-03-03", **cells}


def cm(site: str, number: int, seq: int = 1, **cells: str) -> dict[str, str]:
    """Return one valid CM row."""
    row = {"STUDYID": "TINY01", "USUBJID": subject(site, number), "CMSEQ": str(seq)}
    return {**row, "CMTRT": "PREDNISONE", "CMSTDTC": "2024-11", **cells}


def csv_text(rows: list[dict[str, str]]) -> str:
    """Return rows as a CSV text with the first row's columns."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@dataclass(frozen=True)
class TinyTrial:
    """One tiny trial: its settings, and what tests do with it."""

    settings: Settings

    @property
    def study(self) -> Study:
        """The study as loaded from its folder."""
        return load_study(STUDY, self.settings.project)

    def folder(self, site: str) -> Path:
        """Return the landing folder of a site."""
        path = self.settings.landing / STUDY / site
        path.mkdir(parents=True, exist_ok=True)
        return path

    def send(
        self,
        site: str,
        domain: str,
        rows: list[dict[str, str]] | str | bytes,
        name: str = "",
        **manifest: Any,
    ) -> Path:
        """Write one export; keyword arguments become its manifest (sha256=True computes it)."""
        data = (
            rows if isinstance(rows, bytes) else (rows if isinstance(rows, str) else csv_text(rows)).encode()
        )
        path = self.folder(site) / (name or f"{domain.lower()}_{site}.csv")
        if manifest:
            if manifest.get("sha256") is True:
                manifest["sha256"] = hashlib.sha256(data).hexdigest()
            path.with_name(path.name + ".manifest.json").write_text(json.dumps(manifest))
        path.write_bytes(data)
        return path

    def send_all(self, site: str, subjects: int = 3) -> None:
        """Write one valid export of every domain."""
        numbers = range(1, subjects + 1)
        self.send(site, "DM", [dm(site, n) for n in numbers])
        self.send(site, "EX", [ex(site, n) for n in numbers])
        self.send(site, "SV", [sv(site, n, v) for n in numbers for v in (1, 2)])
        self.send(site, "LB", [lb(site, n, s) for n in numbers for s in (1, 2, 3)])
        self.send(site, "AE", [ae(site, n) for n in numbers])
        self.send(site, "CM", [cm(site, n) for n in numbers])

    def run(self) -> dict[str, Any]:
        """Do every step once, in this process."""
        return pipeline.run(STUDY, self.settings)

    def send_story(self) -> None:
        """Write every domain of XA, with a second lab file (a correction, a copy, a faulty row), and a few of XB."""
        self.send_all("XA")
        people = range(1, 4)
        self.send("XB", "DM", [dm("XB", n) for n in people])
        self.send("XB", "LB", [lb("XB", n, s) for n in people for s in (1, 2, 3)])
        self.send("XB", "AE", [ae("XB", n) for n in people])
        (self.folder("XA") / "lb_XA.csv").rename(self.folder("XA") / "lb_XA_v1.csv")
        rows = [lb("XA", n, s) for n in (1, 2, 3) for s in (1, 2, 3)]
        changed = {**rows[0], "LBORRES": "25"}
        faulty = {**rows[-1], "LBORRES": "unreadable"}
        self.send("XA", "LB", [changed, {**changed, "LBSEQ": "99"}, *rows[1:-1], faulty], name="lb_XA_v2.csv")

    def decide(self) -> dict[str, tuple[str, str | None]]:
        """Land, stage, validate and commit what every site sent; return file → (status, code) of all so far."""
        for entry in pipeline.sites_waiting(STUDY, self.settings):
            ids = pipeline.land(STUDY, entry["site"], self.settings)
            pipeline.validate(STUDY, pipeline.stage(STUDY, ids, self.settings), self.settings)
            pipeline.commit(STUDY, entry["site"], ids, self.settings)
        return {d["file"]: (d["status"], d["code"]) for d in self.known("deliveries")}

    def known(self, table: str) -> list[dict[str, Any]]:
        """Return every row of a ledger table, in the order of its primary key."""
        known = book.metadata.tables[table]
        return Ledger(self.settings.ledger).rows(sa.select(known).order_by(*known.primary_key.columns))

    def parts(self, kind: str) -> dict[str, Path]:
        """Return path in the ledger → file, for every part of a kind."""
        return {p["path"]: self.settings.home / p["path"] for p in self.known("parts") if p["kind"] == kind}

    def in_force(self, site: str, domain: str) -> list[dict[str, Any]]:
        """Return the rows in force of one site's domain, in the order of subject and key."""
        heads = [h for h in self.known("heads") if (h["site"], h["domain"]) == (site, domain)]
        rows = pq.read_table(self.settings.home / heads[0]["path"]).to_pylist() if heads else []
        return sorted(
            rows, key=lambda row: (row["USUBJID"], row["KEY_HASH"], row["SRC_SHA256"], row["SRC_ROW"])
        )

    def open_queries(self, *, closed: bool = False) -> list[tuple[str, str, str]]:
        """Return (site, domain, rule) of each open, or closed, query that no cross-domain rule asks."""
        found = [q for q in self.known("queries") if (q["closed_at"] is not None) == closed]
        return sorted(
            (q["site"], q["domain"], q["rule_id"]) for q in found if not q["rule_id"].startswith("X-")
        )

    def status(self, report: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
        """Return file → (status, code) of a run's report."""
        return {d["file"]: (d["status"], d["code"]) for d in report["deliveries"]}

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Ask the current release."""
        file = current(STUDY, self.settings)
        assert file is not None
        with duckdb.connect(str(file), read_only=True) as connection:
            return connection.sql(sql).to_arrow_table().to_pylist()

    def at(self, home: Path, **changes: Any) -> TinyTrial:
        """Return the same trial with another home (and other settings)."""
        return TinyTrial(replace(self.settings, home=home, **changes))


def trust_own_scan(patch: pytest.MonkeyPatch) -> None:
    """Let our own scan speak for Great Expectations, whose import takes seconds, where a test is not about rules."""

    def verdicts(connection: Any, relation: str, rules: Any) -> dict[str, gx_duckdb.Verdict]:
        counts = checks._counts(connection, relation, rules)
        return {rule_id: gx_duckdb.Verdict(failed == 0, n, failed) for rule_id, (n, failed) in counts.items()}

    patch.setattr(gx_duckdb, "verdicts", verdicts)


def make_trial(folder: Path, study_yaml: str = STUDY_YAML) -> TinyTrial:
    """Lay out a tiny trial in `folder`, with this project's own rules and models."""
    project = folder / "project"
    (project / "studies" / STUDY).mkdir(parents=True)
    (project / "studies" / STUDY / "study.yaml").write_text(study_yaml)
    for name in ("sql", "expectations"):
        (project / name).symlink_to(PROJECT / name)
    return TinyTrial(Settings(home=folder / "home", landing=folder / "landing", project=project))
