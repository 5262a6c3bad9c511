"""Five laboratory tables of the pilot's report, computed twice: from a release and the closed list, and from its ADaM.

pilot_sources.sql brings both sides to the same records, pilot_tables.sql makes the cells of either. The tables as the
report defines them: 14-6.01 Summary Statistics for Continuous Laboratory Values; 14-6.02 Frequency of Normal and
Abnormal (Beyond Normal Range) Laboratory Values During Treatment; 14-6.04 and 14-6.05 Shifts of Laboratory Values
During Treatment, Categorized Based on Threshold Ranges, by Visit and over all visits; 14-6.06 Shifts of Hy's Law
Values During Treatment. Their p-values are functions of the counts and are not computed here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from integration.pilot_run import ADAM, STUDY, Pilot
from msc_pipeline import models
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study

HERE = Path(__file__).parent
CELLS = {"": 3, "14-6.01": 4950, "14-6.02": 540, "14-6.04": 11340, "14-6.05": 1260, "14-6.06": 60}
"""Cells of each table (without a name: subjects per arm). 14-6.01: 30 tests x 11 visits x 3 arms x n, mean, SD, mean
and SD of the change. 14-6.02: 30 x 3 x low, normal, high, n and percent. 14-6.04: 30 x 9 visits x 3 x normal or high at
baseline x its n, and n and percent of the shift to low, normal, high. 14-6.05: the same over all visits. 14-6.06: two
rows of Hy's law x 3 x normal or high at baseline x its n, and n and percent of the shift to normal, high."""

KEY = "TABLE_ID, PARAMCD, AVISIT, ARM, BASE, SHIFT, STATISTIC"
LOW, PLACEBO = "Xanomeline Low Dose", "Placebo"
UNDECIDED = {
    ("BILI", "Week 2", LOW): (77, 78),
    ("BILI", "Week 4", LOW): (69, 70),
    ("BILI", "Week 24", LOW): (24, 25),
    ("BILI", "Week 24", PLACEBO): (55, 57),
    ("GLUC", "Week 4", LOW): (68, 69),
}
"""Test, visit and arm of table 14-6.04 → subjects normal at baseline, by us and by the pilot's ADaM; of each both the
column's n and its shift to normal differ. The pilot's ADaM calls a result NORMAL that has no number: five bilirubins
of `<0.2` mg/dL (LLN 0.2) and a glucose of `<40` mg/dL (LLN 50). 0.5 x LLN, 0.1 and 25 mg/dL, lies within what they may
be, so they are low or normal and nobody can tell which; here they are not judged."""


@pytest.fixture(scope="module")
def db(pilot: Pilot) -> Iterator[duckdb.DuckDBPyConnection]:
    """Both sides' records, with the study's configuration and the project's macros."""
    with models.connect(2) as connection:
        models.install(connection, PROJECT)
        models.install_study(connection, load_study(STUDY, PROJECT))
        connection.execute(f"attach '{pilot.release}' as r (read_only)")
        connection.execute("create schema curated; create schema dsmb")
        for name in ("curated.adlb", "curated.adsl", "dsmb.lab_shift"):
            connection.execute(f"create view {name} as from r.{name}")
        connection.execute(f"create view closed as from '{pilot.closed}'")
        for name in ("adsl", "adlbhy"):
            connection.execute(f"create view {name} as from '{ADAM / name}.parquet'")
        chemistry, haematology = (f"from '{ADAM / name}.parquet'" for name in ("adlbc", "adlbh"))
        connection.execute(f"create view adlb as ({chemistry} union all by name {haematology})")
        connection.execute((HERE / "pilot_sources.sql").read_text(encoding="utf-8"))
        for side in ("ours", "theirs"):
            make_cells(connection, side)
        yield connection


def make_cells(connection: duckdb.DuckDBPyConnection, side: str) -> None:
    """Compute the tables of one side: the same definitions, on its own records."""
    connection.execute(f"set search_path = '{side},main'")
    connection.execute((HERE / "pilot_tables.sql").read_text(encoding="utf-8"))
    connection.execute("reset search_path")


def differing(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Return the cells that differ, or that only one side has: key, our value, their value."""
    return connection.execute(
        f"select {KEY}, o.VALUE, t.VALUE from ours.cells as o full join theirs.cells as t using ({KEY})"
        " where o.VALUE is distinct from t.VALUE order by all"
    ).fetchall()


@pytest.mark.requirement("ALL-04")
@pytest.mark.parametrize("table", CELLS)
def test_both_sides_have_every_cell_of_the_table_once(db: duckdb.DuckDBPyConnection, table: str) -> None:
    for side in ("ours", "theirs"):
        counts = f"count(*), count(distinct ({KEY})) from {side}.cells where TABLE_ID = '{table}'"
        assert db.execute(f"select {counts}").fetchall() == [(CELLS[table], CELLS[table])], side
    print(f"{table or 'subjects per arm'}: {CELLS[table]} cells")


@pytest.mark.requirement("ALL-04")
@pytest.mark.parametrize("table", [table for table in CELLS if table != "14-6.04"])
def test_every_cell_equals_the_published_one_to_eight_decimals(
    db: duckdb.DuckDBPyConnection, table: str
) -> None:
    assert [cell for cell in differing(db) if cell[0] == table] == []


@pytest.mark.requirement("ALL-04")
def test_shifts_by_visit_differ_in_ten_cells_where_the_pilot_judged_results_without_a_number(
    db: duckdb.DuckDBPyConnection,
) -> None:
    expected = [
        ("14-6.04", test, visit, arm, "N", shift, "n", *values)
        for (test, visit, arm), values in UNDECIDED.items()
        for shift in ("", "N")
    ]
    assert [cell for cell in differing(db) if cell[0] == "14-6.04"] == sorted(expected)


def test_those_cells_differ_by_six_records_that_the_pilot_calls_normal_without_a_value(
    db: duckdb.DuckDBPyConnection,
) -> None:
    records = db.execute(
        "select t.PARAMCD, t.AVISIT, t.ARM, m.AVALC, m.AVALLO::int, m.ANRLO <= 2 * m.AVALHI, count(*)"
        " from theirs.lab as t join ours.lab as o using (USUBJID, PARAMCD, AVISIT)"
        " join curated.adlb as m on m.USUBJID = t.USUBJID and m.PARAMCD = t.PARAMCD and m.AVISIT = t.AVISIT"
        " where t.SHIFT = 'N' and t.AVAL is null and o.SHIFT is null group by all"
    ).fetchall()
    found = {(test, visit, arm): n for test, visit, arm, _, _, _, n in records}
    assert found == {key: theirs - ours for key, (ours, theirs) in UNDECIDED.items()}
    # From 0 to beyond half of the lower limit: on both sides of the threshold.
    assert {(text, lowest, across) for _, _, _, text, lowest, across, _ in records} == {
        ("<0.2", 0, True),
        ("<40", 0, True),
    }
    judged = "select count(*), count_if(o.SHIFT is distinct from t.SHIFT) from ours.lab as o"
    both = f"{judged} join theirs.lab as t using (USUBJID, PARAMCD, AVISIT) where t.AVAL is not null"
    assert db.execute(both).fetchone() == (60_373, 0)


@pytest.mark.requirement("ALL-04")
def test_means_and_deviations_equal_those_of_the_published_numbers_in_binary(
    db: duckdb.DuckDBPyConnection,
) -> None:
    visit = "case AVISITN when 99 then 'End of treatment' else AVISIT end"
    test = "case PARAMCD when 'BUN' then 'UREAN' else PARAMCD end"
    far = db.execute(
        f"with published as (select {test} as PARAMCD, {visit} as AVISIT, TRTP as ARM, avg(AVAL) as mean,"
        " stddev_samp(AVAL) as sd, avg(CHG) as chg_mean, stddev_samp(CHG) as chg_sd from adlb group by all)"
        " select count(*), count_if(abs(o.VALUE::double - p.VALUE) > 1e-7) from ours.cells as o"
        " join (unpivot published on mean, sd, chg_mean, chg_sd into name STATISTIC value VALUE) as p"
        " using (PARAMCD, AVISIT, ARM, STATISTIC) where o.TABLE_ID = '14-6.01'"
    ).fetchone()
    assert far == (3780, 0)


def test_the_pooled_tables_of_the_board_are_the_published_ones_summed_over_arms(
    db: duckdb.DuckDBPyConnection,
) -> None:
    board = (
        "select PARAMCD, if(AVISIT = 'Post-baseline', '', AVISIT) as AVISIT, left(BNRIND, 1) as BASE, SHIFT, VALUE from"
        " (unpivot (select * replace (subjects - not_gradable as subjects) from dsmb.lab_shift"
        " where criterion = 'STUDY THRESHOLD' and BNRIND <> 'NOT KNOWN')"
        " on low, normal, high, subjects into name SHIFT value VALUE)"
    )
    published = (
        "select PARAMCD, AVISIT, BASE, case SHIFT when 'L' then 'low' when 'N' then 'normal' when 'H' then 'high'"
        " else 'subjects' end as SHIFT, sum(VALUE)::bigint as VALUE from {side}.cells"
        " where TABLE_ID in ('14-6.04', '14-6.05') and STATISTIC = 'n' group by all having sum(VALUE) > 0"
    )

    def compared(side: str) -> tuple[Any, ...] | None:
        return db.execute(
            f"select count(*), count_if(b.VALUE is distinct from p.VALUE) from ({published.format(side=side)}) as p"
            f" left join ({board}) as b using (PARAMCD, AVISIT, BASE, SHIFT)"
        ).fetchone()

    assert compared("ours") == (842, 0)
    assert compared("theirs") == (842, 8)  # the ten cells above; Week 24 is in two arms


def test_another_threshold_in_the_study_makes_other_cells(db: duckdb.DuckDBPyConnection) -> None:
    db.execute("begin; drop schema ours cascade; drop schema theirs cascade; drop table shown")
    try:
        db.execute("update study.lab_threshold set times_uln = 2")
        db.execute((HERE / "pilot_sources.sql").read_text(encoding="utf-8"))
        for side in ("ours", "theirs"):
            make_cells(db, side)
        tables = {cell[0] for cell in differing(db)}
    finally:
        db.execute("rollback")
    assert tables == {"14-6.02", "14-6.04", "14-6.05", "14-6.06"}
