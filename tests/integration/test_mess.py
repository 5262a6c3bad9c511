"""A trial whose sites speak nine dialects and make every mistake: what is planted is found, what is good is kept.

MSC_SEEDS is the number of seeds, with every domain; the bar is 20. Without it two seeds of half the domains. Great
Expectations' counts are compared with our own scan elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.messy import Messy, make_messy, send_later
from msc_pipeline.sample.slips import KINDS
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study
from tiny_trial import trust_own_scan

SEEDS = range(1, 1 + int(os.environ.get("MSC_SEEDS", "2")))
DOMAINS = () if "MSC_SEEDS" in os.environ else ("LB", "DM", "SV", "EX", "AE", "CM", "VS")
SUBJECTS = 3 if "MSC_SEEDS" in os.environ else 2
SHARES = (0.05, 0.01, 0.1, 0.2)
"""Shares of dirt, in turn."""


@pytest.fixture(scope="module", params=SEEDS, ids="seed {}".format)
def messy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Messy]:
    with pytest.MonkeyPatch.context() as patch:
        trust_own_scan(patch)
        seed = int(request.param)
        share = SHARES[(seed - 1) % len(SHARES)]
        made = make_messy(tmp_path_factory.mktemp("mess"), seed, share, SUBJECTS, DOMAINS)
        print(
            f"\nseed {seed}: {len(made.dirt)} planted, {len(made.missed)} missed, {len(made.hurt)} good rows hurt"
        )
        yield made


def test_every_planted_fault_is_found_by_its_rule(messy: Messy) -> None:
    assert messy.missed == []


def test_no_good_row_is_lost_held_or_quarantined(messy: Messy) -> None:
    assert messy.hurt == []


def test_every_kind_of_fault_is_planted(messy: Messy) -> None:
    planted = {(fact["fault"], fact["file"].split("/")[0]) for fact in messy.dirt}
    assert {kind.fault for kind in KINDS} <= {fault for fault, _ in planted}


def test_a_censored_result_is_an_interval(messy: Messy) -> None:
    file_of = {d["sha256"]: f"{d['site']}/{d['file']}" for d in messy.ledger("deliveries")}
    asked = messy.curated("select SRC_SHA256, SRC_ROW, AVAL, AVALLO, AVALHI from curated.adlb")
    found = {(file_of[sha256], str(row)): interval for sha256, row, *interval in asked}
    for fact in messy.dirt:
        if fact["fault"].startswith("censored"):
            value, low, high = found[fact["file"], fact["row"]]
            assert value is None
            assert (low == 0 and high) if fact["fault"] == "censored below" else (low and high is None)


def test_no_text_of_the_release_names_an_arm(messy: Messy) -> None:
    words = load_study("misle", PROJECT).blinded
    for table, column in (("adae", "AETERM"), ("adcm", "CMTRT"), ("adcm", "CMINDC")):
        asked = f"select count(*) from curated.{table} where regexp_matches({column}, $${words}$$)"
        assert messy.curated(asked) == [(0,)]


SAME = {
    "events": (
        "select events, subjects from dsmb.ae_overview where category = 'ANY'",
        "select events, subjects from dsmb.ae_by_grade where AESOC = 'ALL'",
    ),
    "first events": (
        "select sum(events), sum(subjects) from dsmb.ae_summary",
        "select count(*), count(AOCCPFL) from curated.adae where TRTEMFL = 'Y'",
    ),
    "first events of a class": (
        "select sum(events), sum(subjects) from dsmb.ae_by_grade where AEDECOD = 'ALL' and AESOC <> 'ALL'",
        "select count(*), count(AOCCSFL) from curated.adae where TRTEMFL = 'Y'",
    ),
    "terms": (
        "select AESOC, AEDECOD, subjects, percent, severe_subjects from dsmb.ae_summary order by all",
        "select AESOC, AEDECOD, subjects, percent, grade_3_or_more from dsmb.ae_by_grade"
        " where AEDECOD <> 'ALL' order by all",
    ),
    "infusion reactions": (
        "select subjects from dsmb.ae_overview where category = 'INFUSION REACTION'",
        "select reaction_subjects from dsmb.infusions where SITEID = 'ALL'",
    ),
    "infusions": (
        "select sum(expected), sum(received), sum(gradable) from dsmb.infusions where SITEID <> 'ALL'",
        "select expected, received, gradable from dsmb.infusions where SITEID = 'ALL'",
    ),
    "deaths": (
        "select count(*) from dsmb.deaths where SAFFL is not null",
        "select count(*) from curated.adsl where DTHFL = 'Y'",
    ),
}
"""Two tables, one number."""


@pytest.mark.parametrize("what", SAME)
def test_tables_of_the_board_agree(messy: Messy, what: str) -> None:
    one, other = (messy.curated(sql) for sql in SAME[what])
    assert one == other


def test_the_truth_is_not_in_the_landing_folder(messy: Messy) -> None:
    names = {path.name for path in messy.settings.landing.rglob("*")}
    assert not any("truth" in name for name in names)


def test_a_file_that_comes_again_under_its_name_corrects_the_first(messy: Messy, tmp_path: Path) -> None:
    for fact in send_later(messy):
        site, *_, name = fact["file"].split("/")
        mine = [d for d in messy.ledger("deliveries") if (d["site"], d["file"]) == (site, name)]
        assert [d["status"] in ("ACCEPTED", "PARTIAL") for d in mine] == [True, True]
        assert mine[0]["sha256"] != mine[1]["sha256"]
