"""The real data: the public pilot's exports, taken through the pipeline once, against the published truth.

Truth: the SDTM package the exports were made from, and the ADaM datasets its authors published (`adlbc`, `adlbh`).
"""

from __future__ import annotations

import pytest

from integration.pilot_run import SDTM, STUDY, Pilot

SOURCES = {
    "DM": 306,
    "SV": 3559,
    "DS": 596,
    "EX": 591,
    "AE": 961,
    "CM": 7510,
    "MH": 1817,
    "VS": 29643,
    "LB": 59580,
}


def test_every_source_row_is_accepted_quarantined_held_or_on_the_closed_list(pilot: Pilot) -> None:
    closed = {entry["domain"]: entry["closed_only"] for entry in pilot.sample["domains"]}
    for domain, n in SOURCES.items():
        mine = [d for d in pilot.report["deliveries"] if d["domain"] == domain]
        accepted, quarantined = (sum(d[name] for d in mine) for name in ("accepted", "quarantined"))
        assert accepted + quarantined + closed[domain] == n, domain
        assert sum(d["rows_in"] for d in mine) + closed[domain] == n, domain
    assert pilot.one("select count(*) from r.ops.held") == (0,)


KEYS = {
    "DM": "USUBJID",
    "SV": "USUBJID, VISITNUM, SVSTDTC",
    **{domain: f"USUBJID, {domain}SEQ" for domain in ("DS", "AE", "CM", "MH", "VS", "LB")},
}
"""Columns that tell the source's records apart, other than those the pipeline goes by; EX lands merged."""


@pytest.mark.parametrize("domain", KEYS)
def test_every_source_record_is_in_one_part_once_accepted_or_quarantined(pilot: Pilot, domain: str) -> None:
    files = [f"'{SDTM / name}.parquet'" for name in ("lbch", "lbhe", "lbur")]
    source = f"[{', '.join(files)}]" if domain == "LB" else f"'{SDTM / domain.lower()}.parquet'"
    names = KEYS[domain].split(", ")
    as_text = ", ".join(f"printf('%g', {n}::double)" if n.endswith(("SEQ", "NUM")) else n for n in names)
    home = pilot.folder / "home" / STUDY
    parts = [f"'{home / kind / domain / '*.parquet'}'" for kind in ("accepted", "quarantine")]
    read = f"read_parquet([{', '.join(parts)}], union_by_name = true)"
    pilot.db.execute(f"create or replace temp view sent as select {as_text} from read_parquet({source})")
    pilot.db.execute(f"create or replace temp view kept as select {KEYS[domain]} from {read}")
    lost = pilot.one("select count(*) from (from sent except all from kept)")
    doubled = pilot.one("select count(*) from (from kept except all from sent)")
    assert (lost, doubled) == ((0,), (0,))
    distinct = pilot.one("select count(*), count(distinct kept) from kept")
    assert distinct == (SOURCES[domain], SOURCES[domain])


@pytest.mark.requirement("ALL-03")
def test_every_lab_record_is_curated_exactly_once(pilot: Pilot) -> None:
    both = "lb full join r.curated.adlb as m on m.USUBJID = lb.USUBJID and m.LBSEQ = lb.LBSEQ::int"
    lost = "count_if(m.USUBJID is null), count_if(lb.USUBJID is null)"
    assert pilot.one(f"select count(*), {lost} from {both}") == (59580, 0, 0)
    assert pilot.one("select count(*), count(distinct (USUBJID, LBSEQ)) from r.curated.adlb") == (
        59580,
        59580,
    )


def test_the_other_domains_are_curated_row_by_row(pilot: Pilot) -> None:
    counts = {
        name: pilot.one(f"select count(*) from r.curated.{name}")[0]
        for name in ("adsl", "adae", "adcm", "admh")
    }
    assert counts == {"adsl": 306, "adae": 961, "adcm": 7510, "admh": 1817}
    assert pilot.one(f"select count(*), sum(len(RULES)) from {_quarantined(pilot)}") == (
        80,
        80,
    )


def _quarantined(pilot: Pilot) -> str:
    return f"read_parquet('{pilot.folder / 'home' / STUDY / 'quarantine' / 'VS' / '*.parquet'}')"


def test_what_is_quarantined_are_the_forty_vital_signs_that_contradict_each_other(pilot: Pilot) -> None:
    rows = f"select distinct RULES, KEY_HASH from {_quarantined(pilot)}"
    assert pilot.one(f"select count(*), min(RULES[1]), max(RULES[1]) from ({rows})") == (
        40,
        "ID-005",
        "ID-005",
    )


@pytest.mark.requirement("ALL-03", "UNI-01")
def test_aval_is_the_published_result_to_its_last_digit(pilot: Pilot) -> None:
    tolerance = "0.5 * pow(10, -len(regexp_extract(LBSTRESC, '\\.([0-9]+)', 1))) + 1e-9"
    near = f"abs(m.AVAL::double - lb.LBSTRESN) <= {tolerance}"
    matched = "lb join r.curated.adlb as m on m.USUBJID = lb.USUBJID and m.LBSEQ = lb.LBSEQ::int"
    n, same = pilot.one(f"select count(lb.LBSTRESN), count_if({near}) from {matched}")
    assert n == 58_700
    assert same / n >= 0.999


@pytest.mark.requirement("ALL-03")
def test_baseline_and_change_are_those_of_the_published_adam(pilot: Pilot) -> None:
    tolerance = "0.5 * pow(10, -len(regexp_extract(LBSTRESC, '\\.([0-9]+)', 1))) + 1e-9"

    def same(name: str, times: int) -> str:
        near = f"abs(a.{name} - m.{name}::double) <= {times} * ({tolerance})"
        return f"count_if((a.{name} is null and m.{name} is null) or {near})"

    matched = (
        "adam as a join lb on lb.USUBJID = a.USUBJID and lb.LBSEQ = a.LBSEQ"
        " left join r.curated.adlb as m on m.USUBJID = a.USUBJID and m.LBSEQ = a.LBSEQ::int"
    )
    flags = "count_if(a.ABLFL is not distinct from m.ABLFL)"
    found = pilot.one(f"select count(*), {flags}, {same('BASE', 1)}, {same('CHG', 2)} from {matched}")
    assert found == (54_575,) * 4


@pytest.mark.requirement("ALL-03")
def test_the_range_indicator_agrees_on_every_numeric_record_with_limits(pilot: Pilot) -> None:
    numeric = "regexp_full_match(lb.LBORRES, '[0-9.]+') and lb.LBORNRLO is not null"
    matched = "lb join r.curated.adlb as m on m.USUBJID = lb.USUBJID and m.LBSEQ = lb.LBSEQ::int"
    found = pilot.one(f"select count(*), count_if(lb.LBNRIND = m.ANRIND) from {matched} where {numeric}")
    assert found == (56_659, 56_659)


def test_the_pooled_tables_tell_the_known_story_of_the_pilot(pilot: Pilot) -> None:
    numbers = "screened, screen_failures, dosed, completed, deaths"
    assert pilot.one(f"select {numbers} from r.dsmb.enrolment where SITEID = 'ALL'") == (306, 52, 254, 110, 3)
    alt = "PARAMCD = 'ALT' and AVISIT = 'Screening 1'"
    expected = pilot.one(
        "select count(*), round(avg(LBSTRESN), 6) from lb where LBTESTCD = 'ALT' and VISIT = 'SCREENING 1'"
    )
    assert pilot.one(f"select n, round(mean::double, 6) from r.dsmb.lab_summary where {alt}") == expected


def test_every_open_table_and_column_has_a_comment(pilot: Pilot) -> None:
    bare = "where database_name = 'r' and not internal and comment is null"
    assert pilot.one(f"select count(*) from duckdb_columns() {bare}") == (0,)
    assert pilot.one(f"select count(*) from duckdb_tables() {bare}") == (0,)
