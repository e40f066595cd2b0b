from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from feints.errors import DataError
from feints.evaluate.exam import (
    by_level,
    by_topic,
    compare,
    compare_seeds,
    examine,
    right_overlap,
    score,
    scores_by_group,
)
from feints.evaluate.stats import mcnemar_exact, wilson
from feints.evaluate.vote import credit, vote
from feints.evaluate.vote_curve import vote_curve
from feints.records import Answer, AnswerKind, Judgement, Problem

PROBLEMS = [
    Problem(
        id=f"p{index}",
        question=f"What is {index}?",
        answer=str(index),
        answer_kind=AnswerKind.NUMBER,
        task="count",
        split="test",
        topic="odd" if index % 2 else "even",
        level=index % 3 or None,
    )
    for index in range(40)
]
LETTERS = {
    "R": Judgement.CORRECT,
    "W": Judgement.WRONG,
    "N": Judgement.NO_ANSWER,
    "X": Judgement.NOT_CHECKED,
}


def answer(problem: Problem, letter: str) -> Answer:
    judgement = LETTERS[letter]
    return Answer(
        problem_id=problem.id,
        text="",
        extracted=None if letter == "N" else "1",
        judgement=judgement,
        lenient=Judgement.CORRECT if letter == "N" else judgement,
        truncated=letter == "N",
        tokens=3,
    )


def answers(letters: str) -> list[Answer]:
    return [answer(problem, letter) for problem, letter in zip(PROBLEMS, letters, strict=False)]


class Recited:
    """A solver that is right where it was told to be."""

    def __init__(self, letters: str) -> None:
        self.letters = letters

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        return [answer(problem, letter) for problem, letter in zip(problems, self.letters, strict=False)]

    def save(self, folder: Path) -> None:
        raise AssertionError("never saved")


@pytest.mark.parametrize("right", [0, 1, 17, 40])
def test_right_k_of_n_times_is_exactly_that_score(right: int) -> None:
    letters = ["R"] * right + ["W"] * (40 - right)
    random.Random(0).shuffle(letters)
    given, found = examine(Recited("".join(letters)), PROBLEMS, "oracle", "count/test", seed=3)
    assert len(given) == 40
    assert (found.right, found.counted, found.total, found.accuracy) == (right, 40, 40, right / 40)
    assert (found.low, found.high) == wilson(right, 40)
    assert (found.solver, found.problem_set, found.seed, found.tokens) == ("oracle", "count/test", 3, 120)


def test_not_checked_shrinks_the_denominator_and_no_answer_does_not() -> None:
    found = score(answers("RRWNXXNR"), "s", "t", 0)
    assert (found.right, found.counted, found.total) == (3, 6, 8)
    assert (found.lenient_right, found.extracted, found.truncated) == (5, 6, 2)
    assert (found.low, found.high) == wilson(3, 6)
    nothing = score(answers("XX"), "s", "t", 0)
    assert np.isnan(nothing.accuracy)
    assert (nothing.low, nothing.high) == (0.0, 1.0)


class Faulty(Recited):
    def __init__(self, fault: str) -> None:
        super().__init__("R" * 40)
        self.fault = fault

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        given = super().solve(problems, seed)
        if self.fault == "drops":
            return given[:4] + given[5:]
        if self.fault == "doubles":
            return [given[0], *given[:-1]]
        if self.fault == "invents":
            return [*given[:-1], replace(given[-1], problem_id="other")]
        return given[::-1]


@pytest.mark.parametrize(
    ("fault", "said"),
    [("drops", "39 answers to 40.*p4"), ("doubles", "no answer to p39"), ("invents", "other"), ("turns", "order")],
)
def test_a_solver_that_does_not_answer_each_problem_once_in_order_is_refused(fault: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        examine(Faulty(fault), PROBLEMS, "faulty", "count/test", seed=0)


def test_a_comparison_counts_the_four_cells() -> None:
    a, b = answers("RRRRWWWXRN"), answers("RRWWRWWRXN")
    found = compare(a, b)
    assert (found.n, found.left_out) == (8, 2)
    assert (found.both_right, found.only_a, found.only_b, found.neither) == (2, 2, 1, 3)
    assert found.difference == pytest.approx(1 / 8)
    assert found.p_value == mcnemar_exact(2, 1)
    assert found.low <= found.difference <= found.high
    mirrored = compare(b, a)
    assert (mirrored.only_a, mirrored.only_b) == (1, 2)
    assert mirrored.difference == -found.difference
    assert compare(a, b[::-1]) == found
    assert compare(a, b) == found


def test_solvers_on_different_problems_are_not_compared() -> None:
    with pytest.raises(DataError, match="same problems.*p9"):
        compare(answers("R" * 10), answers("R" * 9))
    with pytest.raises(DataError, match="none of 2"):
        compare(answers("XR"), answers("RX"))
    with pytest.raises(DataError, match="0 runs of A"):
        compare_seeds([], [answers("R")])


def test_seeds_are_compared_over_problems_judged_in_every_run() -> None:
    a = [answers("RRRRWWWW"), answers("RRRRRWXW"), answers("RRRRRRWW")]
    b = [answers("RWRWWWWW"), answers("WRWRWWWW")]
    found = compare_seeds(a, b, seed=1)
    assert (found.n, found.left_out) == (7, 1)
    assert found.accuracies_a == pytest.approx((4 / 7, 5 / 7, 6 / 7))
    assert found.accuracies_b == pytest.approx((2 / 7, 2 / 7))
    assert found.difference == pytest.approx(3 / 7)
    assert found.low < found.difference < found.high
    assert compare_seeds(a, b, seed=1) == found


def test_groups_share_out_the_score() -> None:
    given = answers("RWNX" * 10)
    whole = score(given, "s", "count", 0)
    for group, names in ((by_topic, ["even", "odd"]), (by_level, ["level  1", "level  2", "no level"])):
        parts = scores_by_group(PROBLEMS, given, group, "s", "count", 0)
        assert list(parts) == names
        for field in ("right", "counted", "total", "lenient_right", "extracted", "truncated", "tokens"):
            assert sum(getattr(part, field) for part in parts.values()) == getattr(whole, field)
    assert parts["no level"].problem_set == "count/no level"


def test_overlap_is_beside_its_chance() -> None:
    found = right_overlap(answers("RRRRWWWWX"), answers("RRWWRRWWR"))
    assert (found.both, found.either) == (2, 6)
    assert found.iou == pytest.approx(1 / 3)
    assert found.chance == pytest.approx(2 / 6)


def sampled(problem: Problem, said: Sequence[int]) -> Answer:
    texts = tuple(f"The answer is {number}." for number in said)
    judged = tuple(Judgement.CORRECT if str(n) == problem.answer else Judgement.WRONG for n in said)
    extracted = tuple(map(str, said))
    return replace(
        answer(problem, "R"),
        samples=texts,
        sample_judgements=judged,
        sample_extracted=extracted,
        sample_tokens=(1,) * len(said),
    )


def test_curves_of_votes_are_means_over_all_choices_of_samples() -> None:
    rng = random.Random(1)
    problems = PROBLEMS[:6]
    said = [[rng.choice([index, index, 77, 78]) for _ in range(5)] for index in range(6)]
    given = [sampled(problem, own) for problem, own in zip(problems, said, strict=True)]
    curve = {(point.vote, point.k): point.accuracy for point in vote_curve(problems, given, [1, 2, 3, 5])}
    for k in (1, 2, 3, 5):
        passed, voted = [], []
        for index, own in enumerate(said):
            for chosen in itertools.combinations(own, k):
                passed.append(index in chosen)
                voted.append(credit(vote([str(n) for n in chosen]), [n == index for n in chosen]))
        assert curve["pass@k", k] == pytest.approx(np.mean(passed))
        assert curve["majority", k] == pytest.approx(np.mean(voted), abs=1e-9 if k == 5 else 0.04)
    with pytest.raises(DataError, match="fewer than 9"):
        vote_curve(problems, given, [9])
