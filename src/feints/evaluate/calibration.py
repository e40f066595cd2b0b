"""How good the scores of a ranker are: pair accuracy, calibration, Brier score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerCheck:
    """A ranker on rationales it was not trained on."""

    rationales: int
    """Rationales scored."""
    unscored: int
    """Left out: too long, or empty."""
    pairs: int
    """Pairs of a right and a wrong rationale of one problem."""
    pair_accuracy: float
    """Share of them in which the right one has the higher score; a tie counts a half. NaN without pairs."""
    brier: float
    """Mean of (score - right)^2, in [0, 1]; NaN without rationales."""
    calibration_error: float
    """Mean over ten equal bins of |mean score - share right|, each weighed by its rationales."""
    share_right: float
    """Share of right rationales: what a ranker that knows nothing should say."""
    bin_scores: tuple[float, ...]
    """Mean score of each bin that holds any."""
    bin_right: tuple[float, ...]
    """Share right in each of them."""
    bin_sizes: tuple[int, ...]
    """Rationales in each of them."""


def check_ranker(problem_ids: Sequence[str], scores: Sequence[float | None], right: Sequence[bool]) -> RankerCheck:
    """Hold scores against verdicts.

    Args:
        problem_ids: whose rationale each is; pairs are made within a problem.
        scores: in (0, 1); None for one that was not scored.
        right: its verdict.

    Raises:
        ValueError: the lengths differ.
    """
    rows = [(p, s, r) for p, s, r in zip(problem_ids, scores, right, strict=True) if s is not None]
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for _, score, own in rows:
        bins[min(9, int(score * 10))].append((score, own))
    shown = [
        (_mean([s for s, _ in rows_]), _mean([float(r) for _, r in rows_]), len(rows_))
        for _, rows_ in sorted(bins.items())
    ]
    pairs, won = _pairs(rows)
    return RankerCheck(
        rationales=len(rows),
        unscored=len(scores) - len(rows),
        pairs=pairs,
        pair_accuracy=won / pairs if pairs else float("nan"),
        brier=_mean([(score - own) ** 2 for _, score, own in rows]),
        calibration_error=sum(abs(s - r) * size for s, r, size in shown) / len(rows) if rows else float("nan"),
        share_right=_mean([float(own) for _, _, own in rows]),
        bin_scores=tuple(s for s, _, _ in shown),
        bin_right=tuple(r for _, r, _ in shown),
        bin_sizes=tuple(size for _, _, size in shown),
    )


def _pairs(rows: Sequence[tuple[str, float, bool]]) -> tuple[int, float]:
    """Pairs within problems, and how many of them are in order."""
    sides: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for problem, score, own in rows:
        sides[problem][0 if own else 1].append(score)
    pairs, won = 0, 0.0
    for good, bad in sides.values():
        pairs += len(good) * len(bad)
        won += sum((a > b) + 0.5 * (a == b) for a in good for b in bad)
    return pairs, won


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
