"""Kinds of errors: shares per problem, execution apart, a fixed sample, labels read strictly."""

from __future__ import annotations

import pytest

from feints.errors import DataError
from feints.evaluate.error_kinds import JUDGE, ErrorKind, error_shares, read_label
from feints.records import Answer, AnswerKind, Judgement, Problem

RIGHT, WRONG, UNCHECKED = Judgement.CORRECT, Judgement.WRONG, Judgement.NOT_CHECKED


def exam(judgements: list[Judgement]) -> tuple[list[Problem], list[Answer]]:
    problems = [
        Problem(id=str(at), question="?", answer="1", answer_kind=AnswerKind.NUMBER, task="t", split="test")
        for at in range(len(judgements))
    ]
    answers = [
        Answer(
            problem_id=str(at),
            text="calculation" if at % 2 else "misread",
            extracted=None if at % 4 == 3 else "2",
            judgement=judgement,
            lenient=judgement,
            truncated=False,
            tokens=1,
        )
        for at, judgement in enumerate(judgements)
    ]
    return problems, answers


def label(problem: Problem, answer: Answer) -> ErrorKind:
    return ErrorKind.CALCULATION if answer.text == "calculation" else ErrorKind.MISUNDERSTANDING


def test_shares_are_of_all_problems_checked() -> None:
    shares = error_shares("s", *exam([WRONG] * 8 + [RIGHT] * 8 + [UNCHECKED] * 4), label, executed=False)
    counted = {one.kind: one.errors for one in shares}
    assert counted[ErrorKind.CALCULATION] == counted[ErrorKind.MISUNDERSTANDING] == 4
    assert sum(counted.values()) == 8
    assert {(one.failures, one.problems) for one in shares} == {(8, 16)}
    assert [one.errors for one in shares] == sorted(counted.values(), reverse=True)
    assert all(one.low <= one.share <= one.high for one in shares)


def test_what_left_no_value_is_an_execution_error_and_not_labelled() -> None:
    problems, answers = exam([WRONG] * 8)

    def strict(problem: Problem, answer: Answer) -> ErrorKind:
        assert answer.extracted is not None
        return label(problem, answer)

    counted = {one.kind: one.errors for one in error_shares("s", problems, answers, strict, executed=True)}
    assert counted[ErrorKind.EXECUTION] == 2
    assert counted[ErrorKind.CALCULATION] == 2


def test_an_answer_that_no_label_came_for_is_of_no_kind() -> None:
    problems, answers = exam([WRONG] * 8 + [RIGHT] * 8)

    def failing(problem: Problem, answer: Answer) -> ErrorKind | None:
        return None if answer.text == "misread" else ErrorKind.CALCULATION

    shares = error_shares("s", problems, answers, failing, executed=False)
    assert {one.kind: one.errors for one in shares if one.errors} == {ErrorKind.CALCULATION: 4}
    assert {(one.unlabelled, one.failures, one.problems) for one in shares} == {(4, 8, 16)}


def test_a_sample_is_the_same_for_every_solver() -> None:
    problems, answers = exam([WRONG] * 40)
    seen: list[set[str]] = []
    for rows in (answers, [*answers]):
        asked: set[str] = set()

        def noting(problem: Problem, answer: Answer, asked: set[str] = asked) -> ErrorKind:
            asked.add(problem.id)
            return ErrorKind.OTHER

        (first, *_) = error_shares("s", problems, rows, noting, executed=False, sample=10)
        assert (first.errors, first.problems) == (10, 10)
        seen.append(asked)
    assert seen[0] == seen[1]


def test_answers_to_other_problems_are_refused() -> None:
    problems, answers = exam([WRONG] * 3)
    with pytest.raises(DataError, match="in order"):
        error_shares("s", problems, answers[::-1], label, executed=False)


def test_a_reply_must_name_one_label() -> None:
    assert read_label("It is a missing step.") is ErrorKind.MISSING_STEP
    assert read_label("Calculation") is ErrorKind.CALCULATION
    assert read_label("calculation or misunderstanding") is ErrorKind.OTHER
    assert read_label("no idea") is ErrorKind.OTHER
    assert set(JUDGE.slots) == {"gold", "response"}
