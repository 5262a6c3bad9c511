"""`safety.stopping` of study.yaml: boundaries against published ones and against every path, and what it refuses.

Published: the examples in the manuals of two R packages. clinfun, toxbdry (V. Seshan), whose boundary is the largest
number that does not stop, one below ours; it prints two, and the one that keeps to the level is `high`.
stoppingrule 0.5, README (M. Martens, B. Logan), whose boundary is ours.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import product
from math import comb, prod
from typing import Any

import pytest
from pydantic import ValidationError

from msc_pipeline.safety import Safety
from msc_pipeline.safety.boundaries import (
    Boundary,
    beta_binomial,
    crossing_probability,
    exceeds,
    pocock,
)
from msc_pipeline.safety.stopping import Stopping, StoppingRule
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study

CONTINUOUS = tuple(range(2, 31))
STEPS = {3: 1, 8: 2, 13: 3, 19: 4, 26: 5, 30: 6}
"""toxbdry(0.1, 0.3, 2:30), high boundary: up to 3 subjects 1 may happen, up to 8 subjects 2, …"""

GELLER = [2, 3, 3, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 7, 7, 7, 7, 8, 8, 8, 9, 9, 9, 9, 10, 10, 10, 10, 11, 11]
"""calc.rule.bin(ns=1:30, p0=0.20, alpha=0.10, type="BB", param=c(0.6, 2.4))"""


@pytest.mark.requirement("STP-01")
@pytest.mark.parametrize(
    ("looks", "p0", "alpha", "published", "error"),
    [
        ((20, 40, 60, 75), "0.2", "0.10", {20: 7, 40: 12, 60: 17, 75: 21}, "0.088"),
        ((20, 40, 60, 75), "0.2", "0.15", {20: 7, 40: 12, 60: 16, 75: 20}, "0.117"),
        (
            CONTINUOUS,
            "0.1",
            "0.10",
            {n: next(STEPS[last] for last in STEPS if n <= last) for n in CONTINUOUS},
            "0.097",
        ),
    ],
)
def test_a_pocock_boundary_is_the_published_one(
    looks: tuple[int, ...], p0: str, alpha: str, published: dict[int, int], error: str
) -> None:
    boundary = pocock(looks, Fraction(p0), Fraction(alpha))
    assert boundary == {n: most + 1 for n, most in published.items()}
    assert f"{float(crossing_probability(boundary, Fraction(p0))):.3f}" == error


@pytest.mark.requirement("STP-02")
def test_a_beta_binomial_boundary_is_the_published_one() -> None:
    # The package calibrates the threshold to 0.9630823, finding roots to 1e-4 of an event: 4 events in 7 subjects,
    # which it must not stop for, reach 0.9630827.
    looks, p0 = tuple(range(1, 31)), Fraction("0.2")
    four_of_seven = exceeds(Fraction("4.6"), Fraction("5.4"), p0)
    assert abs(float(four_of_seven) - 0.9630823) < 1e-6
    threshold = four_of_seven + Fraction(1, 10**9)
    boundary = beta_binomial(looks, p0, Fraction("0.6"), Fraction("2.4"), threshold)
    assert [boundary[n] for n in looks] == GELLER


@pytest.mark.parametrize(
    ("p", "published"),
    [
        ("0.20", 0.09957367),
        ("0.25", 0.23832301),
        ("0.30", 0.43615256),
        ("0.35", 0.64555222),
        ("0.40", 0.81491087),
    ],
)
def test_the_probability_of_stopping_is_the_published_one(p: str, published: float) -> None:
    boundary = dict(enumerate(GELLER, 1))
    assert abs(float(crossing_probability(boundary, Fraction(p))) - published) < 1e-8


def every_path(boundary: Boundary, p: Fraction) -> Fraction:
    """Return the probability of crossing by looking at each of the 2^n histories."""
    last = max(boundary)
    return sum(
        (
            prod(p if event else 1 - p for event in path)
            for path in product((0, 1), repeat=last)
            if any(sum(path[:n]) >= most for n, most in boundary.items())
        ),
        Fraction(0),
    )


@pytest.mark.parametrize("looks", [(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), (4, 8, 12), (12,)])
@pytest.mark.parametrize("p0", ["0.05", "0.2", "0.45"])
def test_the_probability_of_stopping_is_that_of_all_paths(looks: tuple[int, ...], p0: str) -> None:
    boundary = pocock(looks, Fraction(p0), Fraction("0.1"))
    assert crossing_probability(boundary, Fraction(p0)) == every_path(boundary, Fraction(p0))


def tail(n: int, least: int, p: Fraction) -> Fraction:
    return sum((comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(least, n + 1)), Fraction(0))


@pytest.mark.requirement("STP-01")
@pytest.mark.parametrize("alpha", ["0.05", "0.1"])
@pytest.mark.parametrize("p0", ["0.02", "0.05", "0.2", "0.5"])
@pytest.mark.parametrize("looks", [tuple(range(1, 21)), (10, 20, 30), (20,)])
def test_a_pocock_boundary_keeps_to_its_level_and_the_next_more_liberal_one_does_not(
    looks: tuple[int, ...], p0: str, alpha: str
) -> None:
    rate, level = Fraction(p0), Fraction(alpha)
    boundary = pocock(looks, rate, level)
    assert crossing_probability(boundary, rate) <= level
    # Constant nominal level: it lies between the likeliest set of events that stops and the next likelier.
    nominal = max(tail(n, most, rate) for n, most in boundary.items())
    following = min(tail(n, most - 1, rate) for n, most in boundary.items())
    assert nominal < following
    liberal = {n: next(x for x in range(n + 2) if tail(n, x, rate) <= following) for n in looks}
    assert crossing_probability(liberal, rate) > level


@pytest.mark.requirement("STP-02")
@pytest.mark.parametrize("threshold", ["0.8", "0.95"])
@pytest.mark.parametrize(("a", "b"), [("1", "9"), ("2", "3"), ("0.5", "9.5")])
def test_a_beta_binomial_boundary_is_the_fewest_events_above_the_threshold(
    a: str, b: str, threshold: str
) -> None:
    looks, p0 = tuple(range(1, 41)), Fraction("0.2")
    boundary = beta_binomial(looks, p0, Fraction(a), Fraction(b), Fraction(threshold))
    for n, most in boundary.items():
        if most <= n:
            assert exceeds(Fraction(a) + most, Fraction(b) + n - most, p0) >= Fraction(threshold)
        assert exceeds(Fraction(a) + most - 1, Fraction(b) + n - most + 1, p0) < Fraction(threshold)


@pytest.mark.parametrize(("a", "b", "p0"), [(1, 9, "0.05"), (5, 6, "0.3"), (3, 79, "0.03"), (40, 2, "0.9")])
def test_a_posterior_of_whole_numbers_is_exact_and_the_series_agrees(a: int, b: int, p0: str) -> None:
    exact = exceeds(Fraction(a), Fraction(b), Fraction(p0))
    assert exact == 1 - tail(a + b - 1, a, Fraction(p0))
    nearly = exceeds(a + Fraction(1, 10**15), Fraction(b), Fraction(p0))
    assert abs(float(nearly - exact)) < 1e-12


RULE = {
    "rule": "death", "says": "Too many deaths.", "source": "assumption", "event": "DEATH", "last_n": 20, "p0": "0.1",
    "design": "pocock", "alpha": "0.05",
}  # fmt: skip
BAYES = {"design": "beta_binomial", "alpha": None, "prior_a": "1", "prior_b": "9", "threshold": "0.95"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"event": "select 1"}, "event"),
        ({"design": "gut feeling"}, "design"),
        ({"p0": "0"}, "p0"),
        ({"p0": "1"}, "p0"),
        ({"alpha": "1"}, "alpha"),
        ({"alpha": None}, "pocock has alpha"),
        ({"threshold": "0.9"}, "pocock has alpha"),
        ({**BAYES, "threshold": None}, "beta_binomial has prior_a, prior_b, threshold"),
        ({**BAYES, "prior_a": "0"}, "prior_a"),
        ({**BAYES, "prior_a": "9", "prior_b": "1"}, "prior alone"),
        ({"min_grade": 3}, "min_grade"),
        ({"event": "ADVERSE EVENT", "min_grade": 6}, "min_grade"),
        ({"event": "SPECIAL INTEREST"}, "special_interest"),
        ({"special_interest": "infection"}, "special_interest"),
        ({"within_days": -1}, "within_days"),
        ({"first_n": 21}, "first_n"),
        ({"last_n": 0}, "last_n"),
        ({"says": ""}, "says"),
        ({"source": ""}, "source"),
    ],
)
def test_a_wrong_value_is_refused_naming_the_field(wrong: dict[str, Any], field: str) -> None:
    StoppingRule.model_validate(RULE)
    with pytest.raises(ValidationError, match=field):
        StoppingRule.model_validate({**RULE, **wrong})


def test_a_rule_is_named_once() -> None:
    with pytest.raises(ValidationError, match="rules"):
        Stopping.model_validate({"rules": [RULE, RULE]})


def test_a_rule_on_a_category_that_the_study_does_not_list_is_refused() -> None:
    rule = {**RULE, "event": "SPECIAL INTEREST", "special_interest": "malignancy"}
    with pytest.raises(ValidationError, match="special_interest names no category of events: malignancy"):
        Safety.model_validate({"stopping": {"rules": [rule]}})
    listed = {"name": "malignancy", "socs": ["Neoplasms"], "source": "assumption"}
    Safety.model_validate({"stopping": {"rules": [rule]}, "events": {"special_interest": [listed]}})


def test_a_study_that_says_nothing_has_empty_tables() -> None:
    tables = Stopping().relations()
    assert [table.num_rows for table in tables.values()] == [0, 0]
    filled = Stopping.model_validate({"rules": [RULE, {**RULE, **BAYES, "rule": "two"}]}).relations()
    assert {n: t.schema for n, t in filled.items()} == {n: t.schema for n, t in tables.items()}


def test_a_number_that_nobody_can_reach_is_no_boundary() -> None:
    steps = Stopping.model_validate({"rules": [RULE]}).relations()["stopping_boundary"].to_pylist()
    assert steps[0] == {"rule": "death", "n": 1, "boundary": None}
    assert [step["n"] for step in steps] == list(range(1, 21))
    assert all(step["boundary"] is None or step["boundary"] <= step["n"] for step in steps)


def test_the_stated_error_is_never_less_than_the_true_one() -> None:
    for rule in load_study("misle", PROJECT).safety.stopping.rules:
        true = crossing_probability(rule.boundary(), Fraction(rule.p0))
        assert 0 <= Fraction(rule.type_one_error()) - true < Fraction(1, 10**8)
        assert rule.alpha is None or rule.type_one_error() <= rule.alpha


def test_a_rule_of_the_trial_names_a_category_of_the_trial_and_covers_every_planned_subject() -> None:
    study = load_study("misle", PROJECT)
    names = {category.name for category in study.safety.events.special_interest}
    for rule in study.safety.stopping.rules:
        assert rule.special_interest in {"", *names}
        assert rule.last_n == study.planned_subjects
        assert Decimal(0) < rule.p0 < 1
