"""The simulated trial without dirt: every planted and drawn case is in the curated tables, and none is invented.

A fact of the truth file says `<curated table> <what it holds>`. `CASES` lists every case of a curated table in the
same words; the two lists must be equal. MSC_SEEDS is the number of whole trials that go through the pipeline, from
files in nine dialects to a release; the bar is 20. Without it one trial of three sites does, and three whole ones go
straight into the models. Our own scan speaks for Great Expectations here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drawn_trial import simulated
from integration.messy import STUDY, ask, read_facts
from integration.modelled import modelled
from msc_pipeline import pipeline
from msc_pipeline.sample.simulation import facts
from msc_pipeline.sample.trial import write_trial
from msc_pipeline.settings import PROJECT, Settings
from msc_pipeline.study import load_study
from tiny_trial import trust_own_scan

WHOLE = int(os.environ.get("MSC_SEEDS", "0"))
FEW = ("MSC05", "MSC06", "MSC08")
"""Sites of the everyday run: SAS transport, Dataset-JSON, and UTF-16 in local words with another laboratory's units."""

SEEDS = [("files", seed) for seed in range(1, WHOLE + 1)] or [
    ("files", 1),
    *(("rows", seed) for seed in (2, 3, 4)),
]

CASES = {
    "hys_law": """
        select 'hys_law HYSLAW=' || HYSLAW || ' VISIT=' || VISIT || ' USUBJID=' || USUBJID from curated.hys_law
        """,
    "tumor_markers": """
        select 'tumor_markers ' || STATUS || ' PARAMCD=' || PARAMCD || ' VISIT=' || VISIT || ' USUBJID=' || USUBJID
        from curated.tumor_markers where STATUS in ('CONFIRMED', 'SINGLE', 'PENDING')
        """,
    "eligibility": """
        select 'eligibility ' || STATUS || ' CRITERION=' || CRITERION || ' USUBJID=' || USUBJID
        from curated.eligibility where STATUS <> 'MET'
        """,
    "adsv": """
        select 'adsv ' || VISSTAT || ' VISIT=' || VISIT || ' USUBJID=' || USUBJID
        from curated.adsv where VISSTAT in ('MISSED', 'LATE', 'EARLY')
        """,
    "adae": """
        select 'adae INFRFL=Y AEDECOD=' || AEDECOD || ' USUBJID=' || USUBJID from curated.adae where INFRFL = 'Y'
        union
        select 'adae AESER=Y AEDECOD=' || AEDECOD || ' USUBJID=' || USUBJID from curated.adae where AESER = 'Y'
        """,
    "adsl": """
        select 'adsl DTHFL=Y USUBJID=' || USUBJID from curated.adsl where DTHFL = 'Y'
        union
        select 'adsl EOSSTT=' || EOSSTT || ' DSDECOD=' || DCSREAS || ' USUBJID=' || USUBJID
        from curated.adsl where EOSSTT = 'DISCONTINUED' and DTHFL is distinct from 'Y'
        """,
    "adeg": """
        select 'adeg ABNORMAL CS VISIT=' || VISIT || ' USUBJID=' || USUBJID from curated.adeg where NEWCSFL = 'Y'
        """,
    "adxr": """
        select 'adxr ABNORMAL CS VISIT=' || VISIT || ' USUBJID=' || USUBJID from curated.adxr where NEWCSFL = 'Y'
        """,
}
"""Curated table → all its cases, in the words of the truth file."""

GRADES = """
    select 'adlb ATOXGRL=' || ATOXGRL || ' PARAMCD=' || PARAMCD || ' VISIT=' || VISIT || ' USUBJID=' || USUBJID
    from curated.adlb where ATOXGRL > 0
    union
    select
        'adlb ATOXGRH=' || ATOXGRH || ' ATOXGRHU=' || ATOXGRHU || ' PARAMCD=' || PARAMCD || ' VISIT=' || VISIT
        || ' USUBJID=' || USUBJID
    from curated.adlb where ATOXGRHU > 0
    """
"""All grades, in the words of the truth file. Chance brings grades too, and no fact tells of them."""


@dataclass(frozen=True)
class Trial:
    """One simulated trial and its curated tables. facts: what the truth file expects. ask: SQL → rows."""

    whole: bool
    facts: frozenset[str]
    ask: Callable[[str], list[tuple[Any, ...]]]

    def told(self, table: str) -> set[str]:
        """Return what a curated table must hold; a fact that there is no case is one for nothing more."""
        return {words for words in self.facts if words.split()[0] == table and " no case " not in words}

    def found(self, sql: str) -> set[str]:
        """Return the cases that the curated tables hold."""
        return {str(words) for (words,) in self.ask(sql)}


def _from_files(folder: Path, seed: int) -> Trial:
    """Write a trial as its sites send it and run the pipeline."""
    study, truth = load_study(STUDY, PROJECT), folder / "truth.csv"
    spec = simulated(study)
    if not WHOLE:
        sites = {name: site for name, site in spec.simulated.sites.items() if name in FEW}
        planted = tuple(case for case in spec.simulated.planted if case.site in FEW)
        few = spec.simulated.model_copy(update={"sites": sites, "planted": planted})
        spec = spec.model_copy(update={"simulated": few})
    settings = Settings(home=folder / "home", landing=folder / "landing", project=PROJECT)
    write_trial(
        study, spec, settings.landing, folder / "closed", project=PROJECT, seed=seed, scale=1, mess=0.0,
        truth=truth, on_file=None,
    )  # fmt: skip
    pipeline.run(STUDY, settings)
    told = frozenset(fact["expected"] for fact in read_facts(truth))
    return Trial(bool(WHOLE), told, lambda sql: ask(settings, sql))


@pytest.fixture(scope="module", params=SEEDS, ids=lambda one: f"{one[0]}, seed {one[1]}")
def trial(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    way, seed = request.param
    if way == "files":
        with pytest.MonkeyPatch.context() as patch:
            trust_own_scan(patch)
            yield _from_files(tmp_path_factory.mktemp("truth"), seed)
        return
    study = load_study(STUDY, PROJECT)
    spec = simulated(study)
    told = frozenset(fact.expected for fact in facts(study, spec.simulated, seed=seed))
    with modelled(study, spec, seed) as connection:
        yield Trial(True, told, lambda sql: connection.execute(sql).fetchall())


@pytest.mark.requirement("ALL-05")
@pytest.mark.parametrize("table", CASES)
def test_every_case_of_a_table_is_found_and_none_is_invented(trial: Trial, table: str) -> None:
    told, found = trial.told(table), trial.found(CASES[table])
    print(f"{table}: {len(told)} told, {len(told - found)} missed, {len(found - told)} invented")
    assert told or not trial.whole
    assert sorted(told - found) == []
    assert sorted(found - told) == []


@pytest.mark.requirement("ALL-05")
def test_every_grade_that_is_told_is_found(trial: Trial) -> None:
    assert trial.told("adlb")
    assert sorted(trial.told("adlb") - trial.found(GRADES)) == []


def test_every_fact_is_about_a_table_that_is_looked_at(trial: Trial) -> None:
    assert {words.split()[0] for words in trial.facts} <= {*CASES, "adlb"}


def test_nothing_of_a_trial_without_dirt_is_quarantined_or_held(trial: Trial) -> None:
    asked = "select sum(ROWS_QUARANTINED), sum(ROWS_HELD) from curated.data_quality"
    assert trial.ask(asked) == [(0, 0)]
