from __future__ import annotations

import itertools
import math
import random
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from feints.evaluate import stats
from feints.evaluate.stats import (
    holm,
    mcnemar_exact,
    overlap,
    paired_bootstrap,
    pass_at_k,
    seed_bootstrap,
    wilson,
)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95]))
def test_wilson_is_scipys(pair: tuple[int, int], confidence: float) -> None:
    right, counted = pair
    theirs = scipy_stats.binomtest(right, counted).proportion_ci(confidence, method="wilson")
    assert wilson(right, counted, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_at_the_edges() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == 1.0
    # Wilson 1927 in numbers: 81 of 263 (Newcombe 1998, table I) gives 0.2553 to 0.3662.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    for right in (-1, 11):
        with pytest.raises(ValueError, match="10 counted"):
            wilson(right, 10)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_and_blind_to_the_order(only_a: int, only_b: int) -> None:
    ours = mcnemar_exact(only_a, only_b)
    assert ours == mcnemar_exact(only_b, only_a)
    if only_a + only_b == 0:
        assert ours == 1.0
        return
    assert ours == pytest.approx(scipy_stats.binomtest(only_a, only_a + only_b).pvalue, rel=1e-9)
    tail = sum(math.comb(only_a + only_b, i) for i in range(min(only_a, only_b) + 1))
    assert ours == pytest.approx(min(1.0, 2 * Fraction(tail, 2 ** (only_a + only_b))), rel=1e-9)


def naive_paired(a: list[float], b: list[float], seed: int, draws: int) -> tuple[float, float]:
    chooser = random.Random(seed)
    means = []
    for _ in range(draws):
        rows = [chooser.randrange(len(a)) for _ in a]
        means.append(sum(a[i] - b[i] for i in rows) / len(a))
    means.sort()
    return means[round(0.025 * draws)], means[round(0.975 * draws)]


def test_paired_bootstrap_against_a_loop() -> None:
    chooser = random.Random(5)
    a = [float(chooser.random() < 0.6) for _ in range(150)]
    b = [0.5 if chooser.random() < 0.1 else float(chooser.random() < 0.5) for _ in range(150)]
    ours = paired_bootstrap(a, b, seed=1, draws=20_000)
    assert ours.difference == pytest.approx(sum(a) / 150 - sum(b) / 150)
    assert (ours.low, ours.high) == pytest.approx(naive_paired(a, b, 2, 4_000), abs=0.012)
    assert ours == paired_bootstrap(a, b, seed=1, draws=20_000)
    assert ours != paired_bootstrap(a, b, seed=3, draws=20_000)


def test_pairing_is_what_makes_the_interval_short() -> None:
    rng = np.random.default_rng(0)
    easy = (rng.random(400) < 0.5).astype(float)
    nearly = np.where(rng.random(400) < 0.05, 1 - easy, easy)
    paired = paired_bootstrap(nearly, easy, seed=0)
    shuffled = paired_bootstrap(nearly, rng.permutation(easy), seed=0)
    assert paired.high - paired.low < 0.5 * (shuffled.high - shuffled.low)
    same = paired_bootstrap(easy, easy, seed=0)
    assert (same.difference, same.low, same.high) == (0.0, 0.0, 0.0)


def test_one_seed_each_is_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.random((2, 300)) < 0.5).astype(float)
    two_way, plain = seed_bootstrap([a], [b], seed=0, draws=20_000), paired_bootstrap(a, b, seed=0, draws=20_000)
    assert two_way.difference == plain.difference
    assert (two_way.low, two_way.high) == pytest.approx((plain.low, plain.high), abs=0.006)


def test_identical_seeds_are_no_further_problems() -> None:
    """The fault this guards against: three copies of one run must not shorten the interval."""
    rng = np.random.default_rng(2)
    a, b = (rng.random((2, 300)) < 0.5).astype(float)
    one, three = seed_bootstrap([a], [b], seed=0), seed_bootstrap([a] * 3, [b] * 3, seed=0)
    assert three.high - three.low == pytest.approx(one.high - one.low, rel=0.05)


def test_two_way_bootstrap_against_a_loop() -> None:
    rng = np.random.default_rng(3)
    a = (rng.random((3, 60)) < np.array([[0.4], [0.6], [0.8]])).astype(float)
    b = (rng.random((2, 60)) < 0.5).astype(float)
    chooser = random.Random(9)
    means = []
    for _ in range(4_000):
        problems = [chooser.randrange(60) for _ in range(60)]
        picked_a, picked_b = [chooser.randrange(3) for _ in range(2)], [chooser.randrange(2)]
        means.append(
            np.mean([a[s, i] for s in picked_a for i in problems])
            - np.mean([b[s, i] for s in picked_b for i in problems])
        )
    low, high = np.quantile(means, [0.025, 0.975])
    ours = seed_bootstrap(a, b, seed=0)
    # The percentiles stretched by t / z about the same point: undo it with the stretch the two ends share.
    stretch_low = (ours.low - ours.difference) / (low - ours.difference)
    stretch_high = (ours.high - ours.difference) / (high - ours.difference)
    assert stretch_low == pytest.approx(stretch_high, rel=0.1)
    assert 1.0 < stretch_low < scipy_stats.t.ppf(0.975, 1) / scipy_stats.norm.ppf(0.975)


def test_the_spread_between_seeds_is_not_understated() -> None:
    a, b = np.array([[0.0], [1.0], [1.0]]).repeat(20, axis=1), np.full((1, 20), 0.5)
    means = stats._two_way_means(a, b, np.random.default_rng(0), 20_000)
    assert np.var(means) == pytest.approx(statistics.variance([0.0, 1.0, 1.0]) / 3, rel=0.05)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_stretch_is_that_of_welch_and_satterthwaite(confidence: float) -> None:
    rng = np.random.default_rng(6)
    a, b = (rng.random((3, 40)) < 0.6).astype(float), (rng.random((2, 40)) < 0.4).astype(float)
    parts = [(np.mean((a.mean(0) - b.mean(0) - a.mean() + b.mean()) ** 2) / 40, 39)]
    parts += [(statistics.variance(runs.mean(1).tolist()) / len(runs), len(runs) - 1) for runs in (a, b)]
    freedom = sum(v for v, _ in parts) ** 2 / sum(v**2 / degrees for v, degrees in parts)
    level = (1 + confidence) / 2
    expected = scipy_stats.t.ppf(level, freedom) / scipy_stats.norm.ppf(level)
    assert stats._student_over_normal(a, b, confidence) == pytest.approx(expected)


def test_coverage_over_seeds_and_problems_is_near_nominal_where_pooling_fails() -> None:
    rng = np.random.default_rng(4)
    held = {"two-way": 0, "pooled": 0}
    trials, seeds, problems = 300, 3, 200
    for trial in range(trials):
        hardness = rng.normal(0, 1.0, problems)
        runs = [
            (rng.normal(0, 0.35, (seeds, 1)) + hardness + rng.normal(0, 1, (seeds, problems)) > 0).astype(float)
            for _ in range(2)
        ]
        two_way = seed_bootstrap(runs[0], runs[1], seed=trial, draws=600)
        pooled = paired_bootstrap(runs[0].ravel(), runs[1].ravel(), seed=trial, draws=600)
        held["two-way"] += two_way.low <= 0 <= two_way.high
        held["pooled"] += pooled.low <= 0 <= pooled.high
    assert held["two-way"] / trials > 0.90
    assert held["pooled"] / trials < 0.75


@pytest.mark.parametrize(("samples", "right"), [(n, c) for n in range(1, 7) for c in range(n + 1)])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(samples: int, right: int) -> None:
    flags = [True] * right + [False] * (samples - right)
    for k in range(1, samples + 1):
        subsets = list(itertools.combinations(flags, k))
        assert pass_at_k(samples, right, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_refuses_what_cannot_be() -> None:
    for samples, right, k in ((3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0)):
        with pytest.raises(ValueError, match="samples"):
            pass_at_k(samples, right, k)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_overlap_beside_its_chance_level() -> None:
    # 253 and 166 right of 5,000, 29 in common: the published 0.074 stands against 0.020 by chance.
    a = [True] * 253 + [False] * 4747
    b = [False] * 224 + [True] * 166 + [False] * 4610
    found = overlap(a, b)
    assert (found.both, found.either) == (29, 390)
    assert found.iou == pytest.approx(0.074, abs=5e-4)
    assert found.chance == pytest.approx(0.0204, abs=5e-4)
    assert math.isnan(overlap([False], [False]).iou)
    with pytest.raises(ValueError, match="paired"):
        overlap([True], [])


def test_lengths_that_do_not_match_are_refused() -> None:
    for a, b in (([1.0], [1.0, 0.0]), ([], [])):
        with pytest.raises(ValueError, match="paired"):
            paired_bootstrap(a, b, seed=0)
    with pytest.raises(ValueError, match="paired"):
        seed_bootstrap([[1.0, 0.0]], [[1.0]], seed=0)
