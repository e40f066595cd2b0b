"""Statistics: Wilson, exact McNemar, paired and two-way bootstrap, pass@k, Holm, overlap against chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special, stats

Floats = npt.NDArray[np.float64]

_CELLS_AT_ONCE = 4_000_000
"""Resampled indices held in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference of two accuracies with its bootstrap interval, as fractions (not percent)."""

    difference: float
    """Accuracy of A minus accuracy of B."""
    low: float
    """Lower end of the interval."""
    high: float
    """Upper end."""
    confidence: float
    """Share of such intervals that hold the true difference, for example 0.95."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """How far two solvers are right on the same problems, beside what chance alone would give."""

    both: int
    """Problems both got right."""
    either: int
    """Problems at least one got right."""
    iou: float
    """both / either; NaN when neither was ever right."""
    chance: float
    """The ratio independent solvers of these accuracies would show; read `iou` only beside it."""


def wilson(right: int, counted: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927).

    With p = right / counted and z the normal quantile of (1 + confidence) / 2:
    (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), n = counted.

    Returns:
        (low, high) in [0, 1]; (0, 1) when nothing was counted.

    Raises:
        ValueError: right is not within 0..counted.
    """
    if not 0 <= right <= counted:
        raise ValueError(f"{right} right of {counted} counted is no proportion; right must lie within 0..counted")
    if counted == 0:
        return 0.0, 1.0
    z = float(stats.norm.ppf((1 + confidence) / 2))
    share, spread = right / counted, z * z / counted
    centre = (share + spread / 2) / (1 + spread)
    half = z * np.sqrt(share * (1 - share) / counted + spread / (4 * counted)) / (1 + spread)
    # The formula meets 0 and 1 exactly at the ends; rounding would leave 1e-17 there.
    low = 0.0 if right == 0 else float(centre - half)
    return low, 1.0 if right == counted else float(centre + half)


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided exact McNemar test of two solvers on the same problems (McNemar 1947, binomial form).

    Under "equally good", a problem only one of them got right is a fair coin:
    p = min(1, 2 P[X <= min(only_a, only_b)]), X ~ Binomial(only_a + only_b, 1/2).

    Returns:
        The p value; 1 when they never differ.
    """
    differing = only_a + only_b
    return float(min(1.0, 2 * stats.binom.cdf(min(only_a, only_b), differing, 0.5))) if differing else 1.0


def paired_bootstrap(
    a: Sequence[float] | Floats,
    b: Sequence[float] | Floats,
    seed: int,
    draws: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Percentile bootstrap of mean(a) - mean(b) over problems: each drawn with its two results together.

    The interval speaks of these two *trained* solvers on further problems of this kind; what another
    training seed would change is not in it (`seed_bootstrap`).

    Args:
        a: credit of solver A per problem (1 right, 0 wrong; fractions allowed).
        b: credit of solver B on the same problems in the same order.
        seed: of the resampling.
        draws: bootstrap samples.
        confidence: of the interval.

    Raises:
        ValueError: the lengths differ or nothing is given.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.ndim != 1 or left.shape != right.shape or left.size == 0:
        raise ValueError(f"credits of shapes {left.shape} and {right.shape} cannot be paired; give one per problem")
    # Problems with equal differences are interchangeable, so only how often each value is drawn matters.
    values, counts = np.unique(left - right, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(left.size, counts / left.size, size=draws)
    means = drawn @ values / left.size
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(
        difference=float(left.mean() - right.mean()), low=float(low), high=float(high), confidence=confidence
    )


def seed_bootstrap(
    a: Sequence[Sequence[float]] | Floats,
    b: Sequence[Sequence[float]] | Floats,
    seed: int,
    draws: int = 10_000,
    confidence: float = 0.95,
) -> Interval:
    """Bootstrap of mean(a) - mean(b) over training seeds *and* problems, two crossed samples.

    Each draw takes problems with replacement (the same ones for every seed of both methods) and,
    apart for each method, training seeds. Seeds pooled as if they were further problems would make
    the interval too short: the same problems recur, and a bad seed is bad on all of them.

    Of S seeds S - 1 are drawn (Rao and Wu 1988): drawing S would understate the variance between
    seeds by the factor (S - 1) / S, a third for three seeds. Percentiles are then taken as far from
    the difference as Student's t is beyond the normal at the Satterthwaite degrees of freedom, since
    three seeds say little about their own spread. One seed cannot say anything about seeds: the
    interval then speaks of problems only.

    Args:
        a: credits [seeds of A, problems].
        b: credits [seeds of B, problems], the same problems in the same order.
        seed: of the resampling.
        draws: bootstrap samples.
        confidence: of the interval.

    Raises:
        ValueError: the problems differ in number, or an array is empty.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1] or not left.size or not right.size:
        raise ValueError(f"credits of shapes {left.shape} and {right.shape} cannot be paired; give [seeds, problems]")
    rng = np.random.default_rng(seed)
    difference = float(left.mean() - right.mean())
    means = _two_way_means(left, right, rng, draws)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    widen = _student_over_normal(left, right, confidence)
    return Interval(
        difference=difference,
        low=difference + widen * (float(low) - difference),
        high=difference + widen * (float(high) - difference),
        confidence=confidence,
    )


def _two_way_means(left: Floats, right: Floats, rng: np.random.Generator, draws: int) -> Floats:
    """`draws` resampled differences of means, problems shared, seeds drawn per method."""
    problems = left.shape[1]
    chunk = max(1, _CELLS_AT_ONCE // problems)
    means: list[Floats] = []
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        picked = rng.integers(problems, size=(rows, problems)) + np.arange(rows)[:, None] * problems
        times = np.bincount(picked.ravel(), minlength=rows * problems).reshape(rows, problems)
        part = np.zeros(rows)
        for credits, sign in ((left, 1.0), (right, -1.0)):
            seeds = credits.shape[0]
            taken = max(1, seeds - 1)
            weights = rng.multinomial(taken, np.full(seeds, 1 / seeds), size=rows) / taken
            part += sign * ((times @ credits.T) * weights).sum(axis=1) / problems
        means.append(part)
    return np.concatenate(means)


def _student_over_normal(left: Floats, right: Floats, confidence: float) -> float:
    """Quantile of Student's t over that of the normal, at Satterthwaite's degrees of freedom."""
    problems = left.shape[1]
    parts = [(float(np.var(left.mean(axis=0) - right.mean(axis=0))) / problems, max(1, problems - 1))]
    for credits in (left, right):
        seeds = credits.shape[0]
        if seeds > 1:
            parts.append((float(np.var(credits.mean(axis=1), ddof=1)) / seeds, seeds - 1))
    spread = sum(variance for variance, _ in parts)
    if spread == 0.0:
        return 1.0
    freedom = spread**2 / sum(variance**2 / degrees for variance, degrees in parts)
    level = (1 + confidence) / 2
    return float(stats.t.ppf(level, freedom) / stats.norm.ppf(level))


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Unbiased chance that at least one of k samples is right (Chen et al. 2021, eq. 1).

    1 - C(samples - right, k) / C(samples, k), of one problem of which `right` of `samples` were right.

    Raises:
        ValueError: k exceeds the samples, or right is not within 0..samples.
    """
    if not 0 <= right <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} cannot be had from {right} right of {samples} samples; draw at least k samples")
    if samples - right < k:
        return 1.0
    return float(1.0 - special.comb(samples - right, k, exact=True) / special.comb(samples, k, exact=True))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p values for asking several questions at once (Holm 1979), in the order given.

    The i-th smallest of m becomes the largest of (m - j + 1) p_(j) over j <= i, at most 1.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def overlap(a: Sequence[bool], b: Sequence[bool]) -> Overlap:
    """Intersection over union of the problems two solvers got right, with its chance level.

    Chance: n pa pb / (n pa + n pb - n pa pb), pa and pb the two accuracies over n problems. Two weak
    solvers overlap little whatever they learnt, so a low ratio alone says nothing.

    Raises:
        ValueError: the lengths differ.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} results cannot be paired; give one per problem, in the same order")
    both = sum(x and y for x, y in zip(a, b, strict=True))
    right_a, right_b = sum(a), sum(b)
    either = right_a + right_b - both
    if not either:
        return Overlap(both=0, either=0, iou=float("nan"), chance=float("nan"))
    expected = right_a * right_b / len(a)
    return Overlap(both=both, either=either, iou=both / either, chance=expected / (right_a + right_b - expected))
