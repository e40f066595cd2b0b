"""An accuracy and its interval in words; refuses a bare number, so none can stand alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from feints.evaluate.stats import wilson
from feints.evaluate.vote_curve import VotePoint
from feints.records import Score
from feints.report.contents import ComparisonRow

NOT_JUDGED = "not judged"
"""In the place of an accuracy where no answer could be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Mean accuracy of one solver on one problem set over its training seeds, with an interval."""

    solver: str
    """Whose."""
    problem_set: str
    """On which problems."""
    value: float
    """Mean over seeds of right / counted, in [0, 1]; NaN when nothing could be judged."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""
    problems: int
    """Problems asked, of one seed."""
    singles: tuple[Score, ...]
    """The scores it is the mean of."""

    @property
    def judged(self) -> bool:
        """Whether any answer could be judged."""
        return not math.isnan(self.value)

    @property
    def not_counted(self) -> int:
        """Answers that could not be judged, all seeds together."""
        return sum(score.total - score.counted for score in self.singles)


def over_seeds(scores: Sequence[Score]) -> Accuracy:
    """Mean over the seeds of one solver on one problem set.

    One score keeps the interval it came with. For several, a Wilson interval about the mean with the number of
    problems of *one* seed: seeds answer the same problems, so pooling them would make the interval too narrow.

    Raises:
        ValueError: no score, or scores of more than one solver or problem set.
    """
    kinds = {(score.solver, score.problem_set) for score in scores}
    if len(kinds) != 1:
        raise ValueError(f"a mean over seeds needs scores of one solver on one problem set, got {sorted(kinds)}")
    [(solver, problem_set)] = kinds
    judged = [score for score in scores if score.counted]
    value, low, high = math.nan, 0.0, 1.0
    if len(judged) == 1:
        value, low, high = judged[0].accuracy, judged[0].low, judged[0].high
    elif judged:
        value = sum(score.accuracy for score in judged) / len(judged)
        counted = round(sum(score.counted for score in judged) / len(judged))
        low, high = wilson(round(value * counted), counted)
        low, high = min(low, value), max(high, value)  # rounding to whole problems may pass an end at 0 or 1
    problems = max(score.total for score in scores)
    return Accuracy(
        solver=solver,
        problem_set=problem_set,
        value=value,
        low=low,
        high=high,
        problems=problems,
        singles=tuple(scores),
    )


def percent(accuracy: Score | Accuracy) -> str:
    """For example "52.3 % [49.2, 55.4]".

    Raises:
        TypeError: for a bare number; a percentage never stands without its interval.
    """
    if isinstance(accuracy, Score):
        accuracy = over_seeds([accuracy])
    if not isinstance(accuracy, Accuracy):
        raise TypeError(f"a percentage needs its interval: give a Score or an Accuracy, not {type(accuracy).__name__}")
    if not accuracy.judged:
        return NOT_JUDGED
    return _written(accuracy.value, accuracy.low, accuracy.high)


def counted_percent(right: int, counted: int) -> str:
    """An accuracy of so many judged answers with its Wilson interval, as `percent` writes it."""
    return _written(right / counted, *wilson(right, counted)) if counted else NOT_JUDGED


def vote_percent(point: VotePoint) -> str:
    """An accuracy of a vote with its interval, as `percent` writes it."""
    return _written(point.accuracy, point.low, point.high)


def _written(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def points(row: ComparisonRow) -> str:
    """For example "+9.5 points [+6.1, +12.8]", in percentage points.

    Raises:
        TypeError: for anything but a comparison, which alone carries the interval.
    """
    if not isinstance(row, ComparisonRow):
        raise TypeError(f"a difference needs its interval: give a ComparisonRow, not {type(row).__name__}")
    return f"{signed(100 * row.difference)} points [{signed(100 * row.low)}, {signed(100 * row.high)}]"


def p_value(p: float | None) -> str:
    """For example "p = 0.031", "p < 0.0001", or "interval only" where several seeds are compared."""
    if p is None or math.isnan(p):
        return "interval only"
    if p < 0.0001:
        return "p < 0.0001"
    return f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"


def told_apart(row: ComparisonRow) -> bool:
    """Whether the interval of the difference leaves out 0, and the exact test, where there is one, agrees (p < 0.05).

    A bootstrap of a handful of problems leaves out 0 as soon as only one side has any to itself.
    """
    return (row.low > 0 or row.high < 0) and (row.p is None or row.p < 0.05)


def signed(value: float) -> str:
    """One decimal with a true minus sign, and a plus where positive; never a signed zero."""
    text = f"{abs(value):.1f}"
    if text == "0.0":
        return text
    return ("+" if value > 0 else "−") + text
