"""Piles: every rationale in exactly one, and nothing doubtful among the wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feints.curate.piles import sort_piles
from feints.errors import DataError
from feints.records import AnswerKind, Finish, Judgement, Problem, Rationale, Verdict


def problem(name: str) -> Problem:
    return Problem(id=name, question="?", answer="1", answer_kind=AnswerKind.NUMBER, task="t", split="train")


def rationale(name: str, problem_id: str = "p0", text: str = "so it is 1.", **fields: object) -> Rationale:
    return replace(Rationale(id=name, problem_id=problem_id, text=text), **fields)


def verdict(name: str, value: Judgement, extracted: str | None = "1") -> Verdict:
    return Verdict(rationale_id=name, value=value, lenient=value, extracted=extracted, checker="number", reason="")


PROBLEMS = [problem(f"p{number}") for number in range(4)]

ROWS = st.lists(
    st.tuples(
        st.sampled_from([p.id for p in PROBLEMS]),
        st.sampled_from(list(Finish)),
        st.sampled_from(list(Judgement)),
        st.integers(0, 3),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_every_row_is_on_one_pile_whatever_the_order(rows, random):
    rationales = [
        rationale(f"r{i}", problem_id, finish=finish, sample_index=index)
        for i, (problem_id, finish, _, index) in enumerate(rows)
    ]
    verdicts = [verdict(f"r{i}", value) for i, (_, _, value, _) in enumerate(rows)]
    piles = sort_piles(PROBLEMS, rationales, verdicts)
    placed = [row.id for row in piles.right] + [row.id for row in piles.wrong] + [d.item_id for d in piles.rejected]
    assert sorted(placed) == sorted(row.id for row in rationales)
    value_of = {v.rationale_id: v.value for v in verdicts}
    assert all(value_of[row.id] is Judgement.CORRECT for row in piles.right)
    assert all(value_of[row.id] is Judgement.WRONG for row in piles.wrong)
    random.shuffle(rationales)
    random.shuffle(verdicts)
    assert sort_piles(PROBLEMS, rationales, verdicts) == piles


@pytest.mark.parametrize(
    ("fields", "value", "reason"),
    [
        ({}, Judgement.NO_ANSWER, "no answer"),
        ({}, Judgement.NOT_CHECKED, "not checked"),
        ({"finish": Finish.REFUSAL}, Judgement.WRONG, "refused"),
        ({"finish": Finish.MALFORMED}, Judgement.CORRECT, "malformed reply"),
        ({"finish": Finish.LENGTH}, Judgement.NO_ANSWER, "cut before an answer"),
        ({"finish": Finish.LENGTH, "text": "The answer is 1"}, Judgement.WRONG, "cut at its answer"),
        ({"finish": Finish.LENGTH, "text": "The answer is 1"}, Judgement.CORRECT, "cut at its answer"),
    ],
)
def test_doubtful_rows_are_rejected_with_their_reason(fields, value, reason):
    piles = sort_piles(PROBLEMS, [rationale("r", **fields)], [verdict("r", value)])
    assert (piles.right, piles.wrong) == ((), ())
    assert [(d.item_id, d.step, d.reason) for d in piles.rejected] == [("r", "sort", reason)]


def test_a_marked_answer_before_the_cut_counts():
    row = rationale("r", text=r"\boxed{1} because of", finish=Finish.LENGTH)
    assert sort_piles(PROBLEMS, [row], [verdict("r", Judgement.WRONG)]).wrong == (row,)


def test_a_repeated_row_is_counted_once_and_reported():
    piles = sort_piles(PROBLEMS, [rationale("r"), rationale("r")], [verdict("r", Judgement.CORRECT)])
    assert (len(piles.right), [d.reason for d in piles.rejected]) == (1, ["repeated row: same id as another rationale"])


@pytest.mark.parametrize(
    ("rows", "verdicts", "message"),
    [
        ([rationale("r")], [], "has no verdict"),
        ([rationale("r", "elsewhere")], [verdict("r", Judgement.CORRECT)], "answers problem 'elsewhere'"),
        ([rationale("r")], [verdict("r", Judgement.CORRECT), verdict("r", Judgement.WRONG)], "two verdicts"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(rows, verdicts, message):
    with pytest.raises(DataError, match=message):
        sort_piles(PROBLEMS, rows, verdicts)
