"""Exams: solver times problems gives a score; two solvers, or two sets of training seeds, compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from feints.errors import DataError
from feints.evaluate import stats
from feints.evaluate.solver import Solver
from feints.records import Answer, Judgement, Problem, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two solvers on the same problems; problems one of them could not be judged on are left out and counted."""

    n: int
    """Problems judged for both."""
    left_out: int
    """Problems not checked for at least one of the two."""
    both_right: int
    """Right for both."""
    only_a: int
    """Right for A alone."""
    only_b: int
    """Right for B alone."""
    neither: int
    """Right for none."""
    difference: float
    """Accuracy of A minus accuracy of B over the n problems, as a fraction."""
    low: float
    """Lower end of the paired bootstrap interval of the difference."""
    high: float
    """Upper end."""
    confidence: float
    """Of the interval."""
    p_value: float
    """Exact McNemar test, two-sided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedComparison:
    """Two methods, several training seeds each, on the same problems."""

    n: int
    """Problems judged in every run."""
    left_out: int
    """Problems not checked in at least one run."""
    accuracies_a: tuple[float, ...]
    """Accuracy of each seed of A over the n problems."""
    accuracies_b: tuple[float, ...]
    """Accuracy of each seed of B."""
    difference: float
    """Mean accuracy of A minus mean accuracy of B."""
    low: float
    """Lower end of the interval over seeds and problems (`stats.seed_bootstrap`)."""
    high: float
    """Upper end."""
    confidence: float
    """Of the interval."""


def examine(
    solver: Solver, problems: Sequence[Problem], name: str, problem_set: str, seed: int
) -> tuple[list[Answer], Score]:
    """Let `solver` answer `problems` and mark the answers.

    Args:
        solver: who is examined.
        problems: with gold answers.
        name: of the solver, for the score.
        problem_set: name of the problems, for the score.
        seed: of the exam's sampling, and the training seed the score is filed under.

    Raises:
        DataError: the solver left a problem out, answered one twice or changed the order.
    """
    answers = solver.solve(problems, seed)
    _require_aligned([problem.id for problem in problems], answers, name)
    return answers, score(answers, name, problem_set, seed)


def score(answers: Sequence[Answer], name: str, problem_set: str, seed: int) -> Score:
    """Accuracy with its Wilson interval; an answer that could not be checked shrinks the denominator."""
    counted = [answer for answer in answers if answer.judgement is not Judgement.NOT_CHECKED]
    right = sum(answer.judgement is Judgement.CORRECT for answer in counted)
    low, high = stats.wilson(right, len(counted))
    return Score(
        solver=name,
        problem_set=problem_set,
        right=right,
        counted=len(counted),
        total=len(answers),
        low=low,
        high=high,
        lenient_right=sum(answer.lenient is Judgement.CORRECT for answer in counted),
        extracted=sum(answer.extracted is not None for answer in answers),
        truncated=sum(answer.truncated for answer in answers),
        tokens=sum(answer.tokens for answer in answers),
        seed=seed,
    )


def scores_by_group(
    problems: Sequence[Problem],
    answers: Sequence[Answer],
    group: Callable[[Problem], str],
    name: str,
    problem_set: str,
    seed: int,
) -> dict[str, Score]:
    """One score per group of problems, groups in order of name; `by_topic` and `by_level` are such groups.

    Raises:
        DataError: the answers are not those to `problems`.
    """
    _require_aligned([problem.id for problem in problems], answers, name)
    piles: dict[str, list[Answer]] = {}
    for problem, answer in zip(problems, answers, strict=True):
        piles.setdefault(group(problem), []).append(answer)
    return {key: score(piles[key], name, f"{problem_set}/{key}", seed) for key in sorted(piles)}


def by_topic(problem: Problem) -> str:
    """Group of a problem: its topic."""
    return problem.topic or "no topic"


def by_level(problem: Problem) -> str:
    """Group of a problem: its level, so written that groups sort as numbers."""
    return "no level" if problem.level is None else f"level {problem.level:2d}"


def compare(
    answers_a: Sequence[Answer], answers_b: Sequence[Answer], seed: int = 0, confidence: float = 0.95
) -> Comparison:
    """Paired comparison of two solvers on the same problems.

    Raises:
        DataError: the problems differ, or none was judged for both.
    """
    (a, b), left_out = _credits([answers_a, answers_b])
    interval = stats.paired_bootstrap(a, b, seed, confidence=confidence)
    both, only_a, only_b = int((a * b).sum()), int((a * (1 - b)).sum()), int((b * (1 - a)).sum())
    return Comparison(
        n=len(a),
        left_out=left_out,
        both_right=both,
        only_a=only_a,
        only_b=only_b,
        neither=len(a) - both - only_a - only_b,
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        confidence=confidence,
        p_value=stats.mcnemar_exact(only_a, only_b),
    )


def compare_seeds(
    runs_a: Sequence[Sequence[Answer]], runs_b: Sequence[Sequence[Answer]], seed: int = 0, confidence: float = 0.95
) -> SeedComparison:
    """Comparison of two methods trained with several seeds: seeds and problems are both resampled.

    Raises:
        DataError: there is no run, the problems differ, or none was judged in every run.
    """
    if not runs_a or not runs_b:
        raise DataError(f"{len(runs_a)} runs of A and {len(runs_b)} of B cannot be compared; give at least one each")
    table, left_out = _credits([*runs_a, *runs_b])
    a, b = table[: len(runs_a)], table[len(runs_a) :]
    interval = stats.seed_bootstrap(a, b, seed, confidence=confidence)
    return SeedComparison(
        n=table.shape[1],
        left_out=left_out,
        accuracies_a=tuple(map(float, a.mean(axis=1))),
        accuracies_b=tuple(map(float, b.mean(axis=1))),
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        confidence=confidence,
    )


def right_overlap(answers_a: Sequence[Answer], answers_b: Sequence[Answer]) -> stats.Overlap:
    """How far two solvers are right on the same problems, beside its chance level.

    Raises:
        DataError: the problems differ, or none was judged for both.
    """
    (a, b), _ = _credits([answers_a, answers_b])
    return stats.overlap((a > 0).tolist(), (b > 0).tolist())


def _credits(runs: Sequence[Sequence[Answer]]) -> tuple[stats.Floats, int]:
    """Credits [runs, problems] of the problems judged in every run, and how many were not."""
    order = [answer.problem_id for answer in runs[0]]
    rows = []
    for run in runs:
        found = {answer.problem_id: answer.judgement for answer in run}
        if len(found) != len(run) or found.keys() != set(order):
            other = sorted(found.keys() ^ set(order))
            raise DataError(
                f"the solvers did not answer the same problems: {len(run)} answers against {len(order)}, "
                f"{len(other)} problems in one of them only ({', '.join(other[:3])}); examine both on one set"
            )
        rows.append([found[problem] for problem in order])
    judged = [index for index in range(len(order)) if all(row[index] is not Judgement.NOT_CHECKED for row in rows)]
    if not judged:
        raise DataError(f"none of {len(order)} problems was judged in every run, so nothing can be compared")
    table = np.array([[float(row[index] is Judgement.CORRECT) for index in judged] for row in rows])
    return table, len(order) - len(judged)


def _require_aligned(order: Sequence[str], answers: Sequence[Answer], name: str) -> None:
    """Refuse answers that are not one per problem, in order."""
    got = [answer.problem_id for answer in answers]
    if got == list(order):
        return
    missing, surplus = sorted(set(order) - set(got)), sorted(set(got) - set(order))
    parts = [f"{len(got)} answers to {len(order)} problems"]
    parts += [f"no answer to {', '.join(missing[:5])}"] if missing else []
    parts += [f"answers to {', '.join(surplus[:5])}, which was not asked"] if surplus else []
    parts += [] if missing or surplus else ["another order, or one answered twice"]
    raise DataError(f"{name} gave {'; '.join(parts)}; a solver must give one answer per problem, in order")
