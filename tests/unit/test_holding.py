"""Holding: rows that a rule across domains holds, and how they come back by themselves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from msc_pipeline import findings, gx_duckdb, pipeline
from msc_pipeline.desk import open_desk
from msc_pipeline.errors import PermanentError
from msc_pipeline.holding import changed_sites, hold_rows
from tiny_trial import FEW_RULES, STUDY, TinyTrial, ae, dm, lb, make_trial, trust_own_scan


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        trust_own_scan(patch)
        yield


@pytest.fixture
def trial(tmp_path: Path) -> TinyTrial:
    return make_trial(tmp_path, FEW_RULES)


@dataclass(frozen=True)
class Day:
    """What a release shows after one day's files."""

    held: list[tuple[str, int, list[str]]]
    labs: list[str]
    events: list[str]
    asked: list[tuple[str, str]]
    quality: list[tuple[int, int]]


def day(trial: TinyTrial) -> Day:
    trial.run()
    held = trial.rows("select DOMAIN, SRC_ROW, RULES from ops.held order by all")
    labs = trial.rows("select USUBJID[-3:] || ' ' || ADT as x from curated.adlb order by all")
    events = trial.rows("select USUBJID[-3:] as x from curated.adae order by all")
    asked = trial.rows(
        "select DOMAIN, RULE_ID from ops.queries where CLOSED_AT is null and RULE_ID like 'X-%' order by all"
    )
    quality = trial.rows(
        "select ROWS_ACCEPTED as a, ROWS_HELD as h from curated.data_quality where DOMAIN = 'LB'"
    )
    return Day(
        [(r["DOMAIN"], r["SRC_ROW"], r["RULES"]) for r in held],
        [r["x"] for r in labs],
        [r["x"] for r in events],
        [(r["DOMAIN"], r["RULE_ID"]) for r in asked],
        [(r["a"], r["h"]) for r in quality],
    )


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> list[Day]:
    """Subject 2 has no demography; it arrives; then subject 1 is said to have died the day after the dose."""
    trial = make_trial(tmp_path_factory.mktemp("held"), FEW_RULES)
    trial.send("XA", "DM", [dm("XA", 1)], name="dm_v1.csv")
    trial.send("XA", "LB", [lb("XA", n, s) for n in (1, 2) for s in (1, 2)])
    trial.send("XA", "AE", [ae("XA", 1), ae("XA", 2)])
    found = [day(trial)]
    trial.send("XA", "DM", [dm("XA", 1), dm("XA", 2)], name="dm_v2.csv")
    found.append(day(trial))
    trial.send(
        "XA",
        "DM",
        [dm("XA", 1, DTHFL="Y", DTHDTC="2025-03-02"), dm("XA", 2, DTHFL="", DTHDTC="")],
        name="dm_v3.csv",
    )
    found.append(day(trial))
    return found


def test_a_result_of_an_unknown_subject_is_held_and_not_curated(days: list[Day]) -> None:
    assert days[0].held == [("LB", 4, ["X-LB-001"]), ("LB", 5, ["X-LB-001"])]
    assert days[0].labs == ["001 2025-03-01", "001 2025-03-08"]
    assert days[0].quality == [(4, 2)]
    assert days[0].asked.count(("LB", "X-LB-001")) == 2


def test_an_adverse_event_of_an_unknown_subject_is_kept_and_only_asked_about(days: list[Day]) -> None:
    assert days[0].events == ["001", "002"]
    assert ("AE", "X-AE-001") in days[0].asked


def test_held_results_come_back_by_themselves_when_the_subject_arrives(days: list[Day]) -> None:
    assert days[1].held == []
    assert days[1].labs == ["001 2025-03-01", "001 2025-03-08", "002 2025-03-01", "002 2025-03-08"]
    assert days[1].asked == []
    assert days[1].quality == [(4, 0)]


def test_a_result_after_death_is_held_and_an_adverse_event_after_death_is_only_asked_about(
    days: list[Day],
) -> None:
    assert days[2].held == [("LB", 3, ["X-LB-002"])]
    assert days[2].labs == ["001 2025-03-01", "002 2025-03-01", "002 2025-03-08"]
    assert days[2].events == ["001", "002"]
    assert ("AE", "X-AE-002") in days[2].asked
    assert ("LB", "X-LB-002") in days[2].asked


def test_nothing_is_judged_twice(trial: TinyTrial) -> None:
    trial.send("XA", "LB", [lb("XA", 1)])
    trial.decide()
    assert hold_rows(trial.study, trial.settings) == ["XA"]
    before = trial.known("holds"), trial.known("queries")
    assert hold_rows(trial.study, trial.settings) == []
    assert changed_sites(open_desk(trial.study, trial.settings)) == {}
    assert (trial.known("holds"), trial.known("queries")) == before


def test_a_change_of_a_cross_domain_rule_judges_every_site_again(trial: TinyTrial) -> None:
    project = trial.settings.project
    for name in ("expectations", "sql"):
        source = (project / name).resolve()
        (project / name).unlink()
        shutil.copytree(source, project / name)
    for site in ("XA", "XB"):
        trial.send(site, "LB", [lb(site, 1)], name=f"lb_{site}.csv")
    trial.decide()
    hold_rows(trial.study, trial.settings)
    assert [q["severity"] for q in trial.known("queries")] == ["critical"] * 2
    suite = project / "expectations" / "cross" / "lb.yaml"
    suite.write_text(suite.read_text().replace("severity: critical", "severity: info", 1))
    assert hold_rows(trial.study, trial.settings) == ["XA", "XB"]
    assert all(q["closed_at"] for q in trial.known("queries")), "what is only counted asks nobody"
    (project / "sql" / "macros.sql").open("a").write("-- another version\n")
    assert hold_rows(trial.study, trial.settings) == ["XA", "XB"]
    assert len(trial.parts("held")) == 6


def test_a_rule_that_cannot_be_judged_lets_nothing_pass(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.send("XA", "LB", [lb("XA", 1)])
    trial.decide()

    def silent(*_words: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(gx_duckdb, "verdicts", silent)
    with pytest.raises(
        PermanentError, match=r"RULE_NOT_EVALUATED: cross rules could not be judged: X-[A-Z]+-001"
    ):
        hold_rows(trial.study, trial.settings)
    assert trial.known("holds") == []
    assert pipeline.news(STUDY, trial.settings) == {"changed": True}


def test_a_fault_of_many_rows_is_one_query_with_a_count(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.send("XA", "LB", [lb("XA", n, s) for n in (1, 2) for s in (1, 2)])
    trial.decide()
    monkeypatch.setattr(findings, "MANY", 3)
    hold_rows(trial.study, trial.settings)
    assert [(q["rule_id"], q["key_hash"], q["n_rows"]) for q in trial.known("queries")] == [
        ("X-LB-001", findings.MANY_KEY, 4)
    ]


def test_a_date_that_no_calendar_has_moves_no_date_of_the_data(trial: TinyTrial) -> None:
    dates = ("2025-02-30", "2025-13-45", "2031-01-01", "2025-03-03")
    trial.send("XA", "AE", [ae("XA", n, AESTDTC=date) for n, date in enumerate(dates, 1)])
    trial.decide()
    hold_rows(trial.study, trial.settings)
    assert [h["last_date"] for h in trial.known("holds")] == ["2025-03-03"]
    assert pipeline.curate(STUDY, "XA", trial.settings)["tables"] > 0


def test_a_moment_of_extraction_that_cannot_be_moves_no_date_of_the_data(trial: TinyTrial) -> None:
    trial.send("XA", "AE", [ae("XA", 1)])
    trial.send("XB", "AE", [ae("XB", 1)], name="ae_1.csv", extracted_at="2025-04-01T10:00:00Z")
    trial.send("XA", "CM", "", name="cm_1.csv", extracted_at="2026-01-01")
    trial.decide()
    hold_rows(trial.study, trial.settings)
    desk = open_desk(trial.study, trial.settings)
    assert desk.as_of == "2025-04-01", "a rejected delivery plays no part"
    early = trial.study.model_copy(update={"last_plausible_date": "2025-03-31"})
    assert replace(desk, study=early).as_of == "2025-03-03"


def test_a_study_without_dates_reaches_no_date(trial: TinyTrial) -> None:
    trial.send("XA", "DM", [dm("XA", 1)])
    trial.decide()
    hold_rows(trial.study, trial.settings)
    assert open_desk(trial.study, trial.settings).as_of is None


def test_a_site_that_fell_silent_is_asked_until_it_sends_again_though_nothing_of_it_changed(
    tmp_path: Path,
) -> None:
    text = FEW_RULES.replace(
        "optional: [DOMAIN, SITEID, DTHDTC", "optional: [DOMAIN, SITEID, RFSTDTC, DTHDTC"
    )
    trial = make_trial(tmp_path, text)

    def asked() -> list[tuple[str, str, str]]:
        trial.decide()
        hold_rows(trial.study, trial.settings)
        open_ = [q for q in trial.known("queries") if q["closed_at"] is None and "SITE" in q["rule_id"]]
        return [(q["site"], q["domain"], q["rule_id"]) for q in open_]

    trial.send("XA", "DM", [dm("XA", 1, RFSTDTC="2025-03-01")])
    trial.send("XA", "LB", [lb("XA", 1)], name="lb_v1.csv")
    assert asked() == []
    trial.send("XB", "AE", [ae("XB", 1, AESTDTC="2025-09-01")])
    assert asked() == [("XA", findings.NO_DOMAIN, "X-SITE-001")]
    trial.send("XA", "LB", [lb("XA", 1), lb("XA", 1, 2, LBDTC="2025-08-30T09:00")], name="lb_v2.csv")
    assert asked() == []
