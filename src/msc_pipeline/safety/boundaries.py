"""Boundaries of stopping rules: how many events in n subjects are too many.

Belongs here: two designs and the probability of ever crossing a boundary. Does not: which events count (stopping).

A boundary says for each n at which one looks how many events stop the study; n + 1 says that none can. Rates and
probabilities are Fractions, exact but for a prior that is not of whole numbers.

Sources: Ivanova, Qaqish, Schell, Biometrics 61 (2005) 540: monitoring at a constant nominal level, named after Pocock;
Geller, Follmann, Leifer, Carter (2003): the beta-binomial rule; Jennison and Turnbull (2000), chapter 12: exact
probabilities of crossing.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

Boundary = Mapping[int, int]
"""n → events that stop the study."""


def crossing_probability(boundary: Boundary, p: Fraction) -> Fraction:
    """Return the exact probability that events of rate `p` reach the boundary at one look or another.

    Walks all paths at once: how likely x events in n subjects are without having stopped before.
    """
    happens, stays = p.numerator, p.denominator - p.numerator
    paths, crossed = [1], 0  # both in units of 1 / denominator^n
    last = max(boundary, default=0)
    for n in range(1, last + 1):
        without, with_one = [*paths, 0], [0, *paths]
        paths = [a * stays + b * happens for a, b in zip(without, with_one, strict=True)]
        crossed *= p.denominator
        if n in boundary:
            crossed += sum(paths[boundary[n] :])
            paths = paths[: boundary[n]]
    return Fraction(crossed, p.denominator**last)


@lru_cache(maxsize=64)
def pocock(looks: tuple[int, ...], p0: Fraction, alpha: Fraction) -> Boundary:
    """Return the boundary of a constant nominal level: at each look the fewest events that are too unlikely under p0.

    The level is the highest at which the probability of ever stopping under p0 is at most `alpha`.
    """
    tails = {n: _tails(n, p0) for n in looks}
    levels = sorted({tail for n in looks for tail in tails[n] if tail <= alpha})
    low, high = 0, len(levels)  # levels[:low] keep to alpha, levels[high:] do not
    while low < high:
        middle = (low + high) // 2
        if crossing_probability(_at_level(tails, levels[middle]), p0) <= alpha:
            low = middle + 1
        else:
            high = middle
    return _at_level(tails, levels[low - 1] if low else Fraction(0))


@lru_cache(maxsize=64)
def beta_binomial(
    looks: tuple[int, ...], p0: Fraction, a: Fraction, b: Fraction, threshold: Fraction
) -> Boundary:
    """Return at each look the fewest events after which the rate exceeds p0 with at least probability `threshold`.

    a, b: prior Beta(a, b) of the rate: a events in a + b subjects seen before.
    """
    return {
        n: next((x for x in range(n + 1) if exceeds(a + x, b + n - x, p0) >= threshold), n + 1) for n in looks
    }


def exceeds(a: Fraction, b: Fraction, p0: Fraction) -> Fraction:
    """Return P(rate > p0) for a rate that is Beta(a, b).

    Exact for whole a and b, a binomial sum; else to 1e-12, by the series x^a (1-x)^b / (a B(a, b)) · Σ (a+b)_k /
    (a+1)_k · x^k, all of whose terms are positive (Abramowitz and Stegun 26.5.4).
    """
    if a.denominator == b.denominator == 1:
        return 1 - _tails(int(a + b) - 1, p0)[int(a) - 1]
    first, second, x = float(a), float(b), float(p0)
    log_beta = math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)
    term = math.exp(first * math.log(x) + second * math.log1p(-x) - log_beta) / first
    total, k = term, 0
    while term > total * 1e-17:
        term *= (first + second + k) / (first + 1 + k) * x
        total, k = total + term, k + 1
    return 1 - Fraction(total)


def _tails(n: int, p: Fraction) -> list[Fraction]:
    """Return P(X ≥ 1), …, P(X ≥ n) for X of n subjects with rate p: they fall."""
    happens, stays, tail, tails = p.numerator, p.denominator - p.numerator, 0, []
    for x in range(n, 0, -1):
        tail += math.comb(n, x) * happens**x * stays ** (n - x)
        tails.append(Fraction(tail, p.denominator**n))
    return tails[::-1]


def _at_level(tails: Mapping[int, Sequence[Fraction]], level: Fraction) -> Boundary:
    return {n: 1 + bisect_left(found, -level, key=lambda tail: -tail) for n, found in tails.items()}
