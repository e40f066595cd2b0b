from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feints.evaluate.vote import affine_weights, answer_key, credit, vote
from feints.records import AnswerKind, Choice, Problem

CHOICES = (Choice(label="A", text="a red ball"), Choice(label="B", text="a blue ball"))


def make(kind: AnswerKind) -> Problem:
    return Problem(
        id="p",
        question="?",
        answer="B" if kind is AnswerKind.CHOICE else "1",
        answer_kind=kind,
        task="t",
        split="test",
        choices=CHOICES if kind is AnswerKind.CHOICE else (),
    )


@pytest.mark.parametrize(
    ("kind", "same", "other"),
    [
        (AnswerKind.NUMBER, ["18", "$18.00", "36/2", "18 dollars", "eighteen"], "81"),
        (AnswerKind.NUMBER, ["1200", "1,200", "$1,200.00"], "12"),
        (AnswerKind.CHOICE, ["B", "(b)", "B.", "a blue ball"], "A"),
        (AnswerKind.BOOLEAN, ["yes", "Yes.", "true"], "no"),
        (AnswerKind.LATEX, ["\\frac{1}{2}", "\\dfrac12", "0.5", "\\frac 1 2"], "2"),
        (AnswerKind.LATEX, ["5", "x=5", "5\\text{ cm}", "$5$", "5.0", "\\frac{10}{2}", "2 + 3 = 5"], "6"),
        (AnswerKind.LATEX, ["10", "10\\%", "\\$10", "10^\\circ"], "0.1"),
        (AnswerKind.LATEX, ["1000", "1{,}000", "1,000"], "1"),
        (AnswerKind.LATEX, ["-\\frac12", "\\frac{-1}{2}", "-0.5"], "\\frac12"),
        (AnswerKind.LATEX, ["2\\sqrt3", "x=2\\sqrt3"], "2"),
        (AnswerKind.LATEX, ["5, 7", "5,7"], "5"),
        (AnswerKind.LATEX, ["$x + 1$", "x+1", "\\text{x}+1"], "x-1"),
        (AnswerKind.TEXT, ['"Paris".', "paris"], "Rome"),
        (AnswerKind.TEXT, ["Monday", "a Monday", "on Monday.", "it is on a Monday"], "Tuesday"),
        (AnswerKind.TEXT, ["3 p.m.", "3pm", "at 3 pm"], "4 pm"),
    ],
)
def test_one_answer_in_many_dresses_is_one_key(kind: AnswerKind, same: list[str], other: str) -> None:
    problem = make(kind)
    keys = {answer_key(problem, text) for text in same}
    assert len(keys) == 1
    assert answer_key(problem, other) not in keys
    assert answer_key(problem, None) is None
    assert answer_key(problem, "  ") is None


KEYS = st.lists(st.sampled_from(["a", "b", "c", None]), max_size=9)


@given(KEYS)
def test_a_vote_is_the_most_frequent_answer_and_the_first_of_the_tied(keys: list[str | None]) -> None:
    counts: dict[str, int] = defaultdict(int)
    for key in keys:
        if key is not None:
            counts[key] += 1
    found = vote(keys)
    if not counts:
        assert (found.winner, found.tied, found.total) == (None, (), 0.0)
        return
    best = [key for key in keys if key is not None and counts[key] == max(counts.values())]
    assert found.winner == keys.index(best[0])
    assert {keys[index] for index in found.tied} == set(best)
    assert (found.weight, found.total) == (max(counts.values()), sum(counts.values()))


@given(KEYS, st.floats(0.01, 1), st.floats(0, 3), st.floats(-1, 3))
def test_equal_scores_or_no_slope_vote_as_a_plain_majority(
    keys: list[str | None], score: float, offset: float, slope: float
) -> None:
    """TDG-P12: at every weight c0 + c1 s above 0."""
    plain = vote(keys)
    if offset + slope * score > 1e-6:
        assert vote(keys, affine_weights([score] * len(keys), offset, slope)).tied == plain.tied
    assert vote(keys, affine_weights([index / 10 for index in range(len(keys))], 1.0, 0.0)).tied == plain.tied


def test_weights_can_turn_a_majority() -> None:
    keys = ["a", "a", "b"]
    assert vote(keys, affine_weights([0.1, 0.1, 0.9], 0.0, 1.0)).winner == 2
    assert vote(keys, affine_weights([0.1, 0.1, 0.9], 1.0, 1.0)).winner == 0
    assert vote(["b"], affine_weights([0.0], 1.0, 1.0)).winner == 0
    with pytest.raises(ValueError, match="2 weights for 3"):
        vote(keys, [1.0, 2.0])


def test_a_sample_without_a_score_has_the_mean_of_the_others() -> None:
    assert affine_weights([0.2, None, 0.6], 1.0, 2.0) == pytest.approx([1.4, 1.8, 2.2])
    assert affine_weights([None, None], 1.0, 2.0) == [3.0, 3.0]


@given(st.permutations([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
def test_rounding_breaks_no_tie(weights: list[float]) -> None:
    assert len(vote(["a"] * 6 + ["b"] * 6, [*weights, *sorted(weights)]).tied) == 2


def test_credit_of_a_tie_is_shared() -> None:
    keys = ["a", "b", "b", "a", "c"]
    right = [False, True, True, False, False]
    assert credit(vote(keys), right) == 0.5
    assert credit(vote(keys[1:3]), right[1:3]) == 1.0
    assert credit(vote([None]), [False]) == 0.0
