"""The simulated trial as a clinician would look at it: consistent in itself, lupus-like, with its planted cases."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta

import pytest

from drawn_trial import STUDY, Rows, drawn, simulated
from msc_pipeline.sample.simulation import Fact, facts
from msc_pipeline.sample.spec import SimulatedSpec
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import Study, load_study

MARKERS = {"AFP", "CEA", "CA125AG", "CA19_9AG", "CA15_3AG", "PSA"}
Visits = dict[tuple[str, str], dict[str, float]]


@pytest.fixture(scope="module")
def study() -> Study:
    return load_study(STUDY, PROJECT)


@pytest.fixture(scope="module")
def spec(study: Study) -> SimulatedSpec:
    return simulated(study)


@pytest.fixture(scope="module")
def trial(study: Study, spec: SimulatedSpec) -> Rows:
    return drawn(study, spec)


@pytest.fixture(scope="module")
def results(trial: Rows) -> Visits:
    """Subject and visit → analyte → result; what was not done, and titers, are left out."""
    made: Visits = defaultdict(dict)
    for row in trial["LB"]:
        if re.fullmatch(r"[<>]?[\d.]+", row["LBORRES"]):
            made[row["USUBJID"], row["VISIT"]][row["LBTESTCD"]] = float(row["LBORRES"].lstrip("<>"))
    return made


@pytest.fixture(scope="module")
def told(study: Study, spec: SimulatedSpec) -> list[Fact]:
    return list(facts(study, spec.simulated))


def subjects_of(told: list[Fact], what: str) -> set[str]:
    return {fact.expected.rsplit("USUBJID=", 1)[1] for fact in told if fact.expected.startswith(what)}


def at_baseline(results: Visits, code: str) -> list[float]:
    return [row[code] for (_, visit), row in results.items() if visit == "BASELINE" and code in row]


def share_below(values: list[float], limit: float) -> float:
    return sum(value < limit for value in values) / len(values)


def test_nine_of_ten_are_women_of_18_to_65(trial: Rows, told: list[Fact]) -> None:
    women = sum(row["SEX"] == "F" for row in trial["DM"]) / len(trial["DM"])
    assert 0.82 <= women <= 0.97
    too_old = subjects_of(told, "eligibility NOT MET CRITERION=age")
    assert {row["USUBJID"] for row in trial["DM"] if not 18 <= int(row["AGE"]) <= 65} == too_old


def test_enrolment_is_staggered_from_2018_to_2025_and_later_subjects_have_fewer_late_visits(
    trial: Rows,
) -> None:
    days = sorted(row["RFSTDTC"][:7] for row in trial["DM"])
    assert days[0] == "2018-11" and days[-1] == "2025-02" and len(set(days)) > 40
    seen = Counter(row["VISIT"] for row in trial["SV"])
    assert seen["BASELINE"] == 81 > seen["WEEK 52"] > seen["YEAR 2"] > seen["YEAR 4"] > seen["YEAR 6"] >= 3


def test_a_lupus_baseline_is_cytopenic_with_low_complement_and_anti_dsdna(results: Visits) -> None:
    assert 0.3 < share_below(at_baseline(results, "HGB"), 120) < 0.7
    assert 0.2 < share_below(at_baseline(results, "WBC"), 4) < 0.5
    assert 0.3 < share_below(at_baseline(results, "LYM"), 1) < 0.65
    assert 0.05 < share_below(at_baseline(results, "PLAT"), 150) < 0.3
    assert 0.45 < share_below(at_baseline(results, "C3"), 0.9) < 0.8
    assert 0.55 < 1 - share_below(at_baseline(results, "DSDNA"), 30.5) < 0.9


@pytest.mark.parametrize("seed", [None, 11, 12])
def test_about_a_third_has_a_marker_above_its_limit_at_baseline(
    study: Study, spec: SimulatedSpec, trial: Rows, seed: int | None
) -> None:
    rows = trial["LB"] if seed is None else drawn(study, spec, "LB", seed=seed)["LB"]
    raised = {
        row["USUBJID"]
        for row in rows
        if row["VISIT"] == "BASELINE" and row["LBTESTCD"] in MARKERS and row["LBORRES"]
        if float(row["LBORRES"].lstrip("<>")) > float(row["LBORNRHI"])
    }
    assert 0.22 < len(raised) / 81 < 0.46


def test_liver_enzymes_move_together_and_a_subject_stays_alike(results: Visits) -> None:
    pairs = [(row["ALT"], row["AST"]) for row in results.values() if {"ALT", "AST"} <= set(row)]
    logs = [[math.log(value) for value in column] for column in zip(*pairs, strict=True)]
    assert statistics.correlation(*logs) > 0.6
    for code in ("HGB", "PLAT", "CREAT", "CA125AG"):
        both = [
            (row[code], results[who, "WEEK 24"][code])
            for (who, visit), row in results.items()
            if visit == "BASELINE" and code in row and code in results.get((who, "WEEK 24"), {})
        ]
        assert statistics.correlation(*zip(*both, strict=True)) > 0.6, code


def test_blood_counts_agree_with_each_other(results: Visits) -> None:
    for row in results.values():
        if {"HGB", "HCT", "RBC", "MCV"} <= set(row):
            assert row["HCT"] / row["RBC"] * 1000 == pytest.approx(row["MCV"], rel=0.01)
            assert 300 < row["HGB"] / row["HCT"] < 370
        if (parts := {"NEUT", "LYM", "MONO", "EOS", "BASO"}) | {"WBC"} <= set(row):
            assert sum(row[part] for part in parts) == pytest.approx(row["WBC"], abs=0.04)
        if {"CD4", "CD8", "CD19", "LYM"} <= set(row):
            assert row["CD4"] + row["CD8"] + row["CD19"] < row["LYM"]


def test_direct_bilirubin_is_part_of_the_total(results: Visits) -> None:
    both = [(row["BILDIR"], row["BILI"]) for row in results.values() if {"BILDIR", "BILI"} <= set(row)]
    assert len(both) > 900 and all(direct < total for direct, total in both)


def test_only_men_have_a_psa(trial: Rows) -> None:
    men = {row["USUBJID"] for row in trial["DM"] if row["SEX"] == "M"}
    assert {row["USUBJID"] for row in trial["LB"] if row["LBTESTCD"] == "PSA"} == men


def test_the_score_falls_after_entry_and_entry_needs_six_points_and_one_bilag_a_or_b(
    trial: Rows, told: list[Fact]
) -> None:
    score: dict[str, dict[str, int]] = defaultdict(dict)
    active: set[tuple[str, str]] = set()
    for row in trial["RS"]:
        if row["RSTESTCD"] == "SLEDAI":
            score[row["VISIT"]][row["USUBJID"]] = int(row["RSORRES"])
        elif row["RSORRES"] in ("A", "B"):
            active.add((row["USUBJID"], row["VISIT"]))
    assert statistics.mean(score["WEEK 24"].values()) < statistics.mean(score["BASELINE"].values()) - 1.5
    few = subjects_of(told, "eligibility NOT MET CRITERION=SLEDAI")
    quiet = subjects_of(told, "eligibility NOT MET CRITERION=BILAG")
    for visit in ("SCREENING", "BASELINE"):
        assert {who for who, points in score[visit].items() if points < 6} == few
        assert {who for who in score[visit] if (who, visit) not in active} == quiet


def test_the_score_counts_the_low_complement_of_the_same_visit(trial: Rows, results: Visits) -> None:
    for row in trial["RS"]:
        found = results.get((row["USUBJID"], row["VISIT"]), {})
        if row["RSTESTCD"] == "SLEDAI" and {"C3", "DSDNA"} <= set(found):
            points = 2 * (found["C3"] < 0.9) + 2 * (found["DSDNA"] > 30)
            assert int(row["RSORRES"]) >= points


def test_hys_law_cases_are_the_planted_ones_only(trial: Rows, told: list[Fact]) -> None:
    high: dict[str, dict[str, list[date]]] = defaultdict(lambda: defaultdict(list))
    for row in trial["LB"]:
        if row["LBTESTCD"] in ("ALT", "AST", "BILI") and row["LBORRES"]:
            times = 2 if row["LBTESTCD"] == "BILI" else 3
            if float(row["LBORRES"]) >= times * float(row["LBORNRHI"]):
                kind = "BILI" if row["LBTESTCD"] == "BILI" else "ENZYME"
                high[row["USUBJID"]][kind].append(date.fromisoformat(row["LBDTC"][:10]))
    found = {
        who
        for who, when in high.items()
        if any(timedelta(0) <= b - e <= timedelta(days=30) for e in when["ENZYME"] for b in when["BILI"])
    }
    assert found == subjects_of(told, "hys_law HYSLAW=") and len(found) == 4
    assert {"Y", "N", "CANNOT TELL"} == {
        re.split("HYSLAW=| VISIT", fact.expected)[1] for fact in told if "HYSLAW=" in fact.expected
    }


def test_marker_rises_are_the_planted_ones_only(results: Visits, told: list[Fact], trial: Rows) -> None:
    limit = {row["LBTESTCD"]: float(row["LBORNRHI"]) for row in trial["LB"] if row["LBTESTCD"] in MARKERS}
    found = {
        who
        for (who, visit), row in results.items()
        for code in MARKERS & set(row)
        if row[code] > limit[code] and row[code] >= 2 * results[who, "BASELINE"].get(code, math.inf)
    }
    assert found == subjects_of(told, "tumor_markers") and len(found) == 4


def test_washout_violations_are_the_planted_ones_only(trial: Rows, told: list[Fact]) -> None:
    day_one = {row["USUBJID"]: date.fromisoformat(row["RFSTDTC"][:10]) for row in trial["DM"]}
    weight = {row["USUBJID"]: float(row["VSORRES"]) for row in trial["VS"] if row["VSTESTCD"] == "WEIGHT"
              and row["VISIT"] == "BASELINE"}  # fmt: skip
    found = defaultdict(set)
    for row in trial["CM"]:
        who = row["USUBJID"]
        started = (day_one[who] - _earliest(row["CMSTDTC"])).days
        ended = (day_one[who] - _earliest(row["CMENDTC"])).days if row["CMENDTC"] else -9999
        if row["CMTRT"] == "BELIMUMAB" and ended < 61:
            found["belimumab"].add(who)
        if row["CMTRT"] == "RITUXIMAB" and ended < 183:
            found["rituximab"].add(who)
        high = float(row["CMDOSE"]) > 0.5 * weight[who]
        if row["CMTRT"] == "PREDNISONE" and high and started > 0 and ended < 31:
            found["prednisone"].add(who)
        if row["CMCLAS"] == "IMMUNOSUPPRESSANTS" and (0 < started < 92 or 0 < ended < 92):
            found["immunosuppressant"].add(who)
    assert found["belimumab"] == subjects_of(told, "eligibility NOT MET CRITERION=no belimumab")
    assert found["rituximab"] == subjects_of(told, "eligibility NOT MET CRITERION=no rituximab")
    assert found["prednisone"] == subjects_of(told, "eligibility NOT MET CRITERION=prednisone")
    assert found["immunosuppressant"] == subjects_of(told, "eligibility NOT MET CRITERION=immunosuppressant")
    assert all(found.values())


def _earliest(text: str) -> date:
    return date.fromisoformat(text + "-01-01"[len(text) - 4 :] if len(text) < 10 else text)


def test_prednisone_is_tapered_after_the_infusion(trial: Rows) -> None:
    day_one = {row["USUBJID"]: row["RFSTDTC"][:10] for row in trial["DM"]}
    doses: dict[str, list[float]] = defaultdict(list)
    for row in trial["CM"]:
        week_22 = (date.fromisoformat(day_one[row["USUBJID"]]) + timedelta(days=154)).isoformat()
        if row["CMTRT"] == "PREDNISONE" and row["CMSTDTC"] <= week_22 < (row["CMENDTC"] or "9"):
            doses["week 22"].append(float(row["CMDOSE"]))
        if row["CMTRT"] == "PREDNISONE" and row["CMSTDTC"] <= day_one[row["USUBJID"]] <= (
            row["CMENDTC"] or "9"
        ):
            doses["entry"].append(float(row["CMDOSE"]))
    assert statistics.mean(doses["week 22"]) < 10 < statistics.mean(doses["entry"])


def test_the_infusion_reaction_begins_minutes_after_the_infusion_and_is_mild(
    trial: Rows, told: list[Fact]
) -> None:
    began = {row["USUBJID"]: datetime.fromisoformat(row["EXSTDTC"]) for row in trial["EX"]}
    soon = [
        row
        for row in trial["AE"]
        if timedelta(0) <= datetime.fromisoformat(row["AESTDTC"]) - began[row["USUBJID"]] <= timedelta(days=1)
    ]
    assert {row["USUBJID"] for row in soon} == subjects_of(told, "adae INFRFL")
    assert {row["AEDECOD"] for row in soon} == {"Dizziness", "Feeling hot"}
    assert {row["AESEV"] for row in soon} == {"MILD"}


def test_serious_events_and_the_death_are_told(trial: Rows, told: list[Fact]) -> None:
    serious = {row["USUBJID"] for row in trial["AE"] if row["AESER"] == "Y"}
    assert serious == subjects_of(told, "adae AESER=Y")
    dead = {row["USUBJID"] for row in trial["DM"] if row["DTHFL"] == "Y"}
    assert dead == subjects_of(told, "adsl DTHFL=Y") and len(dead) == 1
    assert dead == {row["USUBJID"] for row in trial["AE"] if row["AEOUT"] == "FATAL"}
    assert dead == {row["USUBJID"] for row in trial["DS"] if row["DSDECOD"] == "DEATH"}


def test_nothing_happens_after_a_death_or_before_consent(trial: Rows) -> None:
    dm = {row["USUBJID"]: row for row in trial["DM"]}
    for code, when in (
        ("SV", "SVSTDTC"),
        ("LB", "LBDTC"),
        ("VS", "VSDTC"),
        ("AE", "AESTDTC"),
        ("RS", "RSDTC"),
    ):
        for row in trial[code]:
            about = dm[row["USUBJID"]]
            assert about["RFICDTC"] <= row[when][:10] <= (about["DTHDTC"] or "9999")


def test_baseline_samples_are_taken_before_the_infusion(trial: Rows) -> None:
    began = {row["USUBJID"]: row["EXSTDTC"] for row in trial["EX"]}
    for row in trial["LB"]:
        if row["VISIT"] == "BASELINE":
            assert row["LBDTC"] < began[row["USUBJID"]] and row["LBTPT"] == "PRE-INFUSION"


def test_missed_and_late_visits_are_told(trial: Rows, told: list[Fact], study: Study) -> None:
    kinds = Counter(fact.fault for fact in told)
    assert kinds["missed visit"] >= 10 and kinds["late visit"] >= 2 and kinds["early visit"] >= 1
    window = {visit.VISIT: visit for visit in study.visits}
    day_one = {row["USUBJID"]: date.fromisoformat(row["RFSTDTC"][:10]) for row in trial["DM"]}
    late = set()
    for row in trial["SV"]:
        visit = window.get(row["VISIT"])
        if visit and visit.day > 1:
            day = (date.fromisoformat(row["SVSTDTC"]) - day_one[row["USUBJID"]]).days + 1
            if day > visit.day + visit.after:
                late.add(row["USUBJID"])
            assert visit.day - visit.before - 14 <= day
    assert late == subjects_of(told, "adsv LATE")


def test_the_systolic_pressure_is_above_the_diastolic(study: Study, spec: SimulatedSpec) -> None:
    pressure: dict[tuple[str, str, str], dict[str, int]] = defaultdict(dict)
    for row in drawn(study, spec, "VS", seed=7, scale=3)["VS"]:
        if row["VSTESTCD"] in ("SYSBP", "DIABP"):
            pressure[row["USUBJID"], row["VSDTC"], row["VSTPT"]][row["VSTESTCD"]] = int(row["VSORRES"])
    assert min(both["SYSBP"] - both["DIABP"] for both in pressure.values()) >= 15
