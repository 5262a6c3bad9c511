"""Nothing open tells the arm: not after the arms were dealt anew, not when a site writes one into a free text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import current
from msc_pipeline.sample import load_spec, read_sources, write_sample
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study
from tiny_trial import STUDY, TinyTrial, ae, cm, make_trial

pytestmark = pytest.mark.xdist_group("blinding")

WORD = "comparatorx"
"""A word of the tiny trial's blind, in the writing that no case change helps to find."""


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> tuple[TinyTrial, dict[str, Any]]:
    """A trial whose site XA writes an arm into a medication, an adverse event, a file name and a header."""
    trial = make_trial(tmp_path_factory.mktemp("leaky"))
    trial.send_all("XA")
    trial.send_all("XB")
    trial.send("XA", "AE", [ae("XA", n, AETERM=f"Rash after Comparatorx, subject {n}") for n in (1, 2, 3)])
    told = [cm("XA", n, CMTRT="ComparatorX 5 ml" if n == 1 else "PREDNISONE") for n in range(1, 8)]
    trial.send("XA", "CM", told)
    trial.send(
        "XB",
        "DM",
        [{"STUDYID": "TINY01", "USUBJID": "TINY01-XB-001", "ARM": "Comparatorx"}],
        name="dm_arm.csv",
    )
    return trial, trial.run()


def test_dealing_the_arms_anew_changes_no_byte_of_any_export(tmp_path: Path) -> None:
    study = load_study("cdiscpilot01", PROJECT)
    tables = read_sources(load_spec(study, PROJECT))
    write_sample(study, tmp_path / "true", closed=tmp_path / "closed-true")
    write_sample(study, tmp_path / "dealt", closed=tmp_path / "closed-dealt", tables=_dealt_anew(tables))
    assert _bytes(tmp_path / "closed-true") != _bytes(tmp_path / "closed-dealt")
    assert _bytes(tmp_path / "true") == _bytes(tmp_path / "dealt")


def _dealt_anew(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Turn every column that tells the arm around by one subject."""
    told = re.compile(r"(ACT)?ARM(CD)?|EXTRT|EXDOSE")
    return {
        name: pa.table({c: _turned(t[c]) if told.fullmatch(c) else t[c] for c in t.column_names})
        for name, t in tables.items()
    }


def _turned(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array([column.slice(1).combine_chunks(), column.slice(0, 1).combine_chunks()])


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_medication_that_names_an_arm_is_quarantined_and_an_event_is_kept_and_masked(
    leaky: tuple[TinyTrial, dict[str, Any]],
) -> None:
    trial, report = leaky
    assert trial.status(report)["cm_XA.csv"] == ("PARTIAL", None)
    assert trial.status(report)["ae_XA.csv"] == ("ACCEPTED", None)
    terms = {row["AETERM"] for row in trial.rows("select AETERM from curated.adae where SITEID = 'XA'")}
    assert terms == {f"Rash after [masked], subject {n}" for n in (1, 2, 3)}
    assert trial.rows("select CMTRT from curated.adcm where CMTRT ilike '%comparator%'") == []


def test_an_export_with_a_column_that_is_not_on_the_list_is_rejected(
    leaky: tuple[TinyTrial, dict[str, Any]],
) -> None:
    trial, report = leaky
    assert trial.status(report)["dm_arm.csv"] == ("REJECTED", "COLUMN_UNKNOWN")


def test_no_open_artefact_holds_a_word_of_the_blind(leaky: tuple[TinyTrial, dict[str, Any]]) -> None:
    trial, _ = leaky
    base = trial.settings.home / STUDY
    file = current(STUDY, trial.settings)
    assert file is not None
    places = [file, *(base / "restatements").rglob("*.parquet")]
    for table in trial.rows(
        "select schema_name || '.' || table_name as t from duckdb_tables() where not internal"
    ):
        for row in trial.rows(f"select * from {table['t']}"):
            assert WORD not in str(row).lower(), table["t"]
    for path in places:
        assert WORD.encode() not in path.read_bytes().lower(), path.name
    for name, ledger_table in book.metadata.tables.items():
        for row in Ledger(trial.settings.ledger).rows(sa.select(ledger_table)):
            assert WORD not in str(row).lower(), name


def test_the_search_would_find_a_planted_word(leaky: tuple[TinyTrial, dict[str, Any]]) -> None:
    trial, _ = leaky
    raw = (trial.settings.home / STUDY / "raw").iterdir()
    assert any(WORD.encode() in path.read_bytes().lower() for path in raw)
