"""A trial whose sites speak nine dialects and make every mistake: what is planted is found, what is good is kept.

MSC_SEEDS is the number of seeds; the bar is 20. Great Expectations' counts are compared with our own scan elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.messy import Messy, make_messy, send_later
from msc_pipeline.sample.slips import KINDS
from tiny_trial import trust_own_scan

SEEDS = range(1, 1 + int(os.environ.get("MSC_SEEDS", "2")))
SHARES = (0.05, 0.01, 0.1, 0.2)
"""Shares of dirt, in turn."""


@pytest.fixture(scope="module", params=SEEDS, ids="seed {}".format)
def messy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Messy]:
    with pytest.MonkeyPatch.context() as patch:
        trust_own_scan(patch)
        seed = int(request.param)
        made = make_messy(tmp_path_factory.mktemp("mess"), seed, SHARES[(seed - 1) % len(SHARES)])
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


def test_the_truth_is_not_in_the_landing_folder(messy: Messy) -> None:
    names = {path.name for path in messy.settings.landing.rglob("*")}
    assert not any("truth" in name for name in names)


def test_a_file_that_comes_again_under_its_name_corrects_the_first(messy: Messy, tmp_path: Path) -> None:
    for fact in send_later(messy):
        site, *_, name = fact["file"].split("/")
        mine = [d for d in messy.ledger("deliveries") if (d["site"], d["file"]) == (site, name)]
        assert [d["status"] in ("ACCEPTED", "PARTIAL") for d in mine] == [True, True]
        assert mine[0]["sha256"] != mine[1]["sha256"]
