"""What tests of verdicts share: kinds of answers, options, a problem, and the verdict on a text."""

from __future__ import annotations

from feints.records import AnswerKind, Choice, Problem
from feints.verify import check

NUMBER, CHOICE, BOOLEAN, TEXT, LATEX = (
    AnswerKind.NUMBER,
    AnswerKind.CHOICE,
    AnswerKind.BOOLEAN,
    AnswerKind.TEXT,
    AnswerKind.LATEX,
)


OPTIONS = (
    Choice(label="A", text="a red kite"),
    Choice(label="B", text="12 km"),
    Choice(label="C", text="15 km"),
    Choice(label="D", text="none of these"),
)


def problem(answer: str, kind: AnswerKind = NUMBER, choices: tuple[Choice, ...] = (), question: str = "") -> Problem:
    return Problem(id="p", question=question, answer=answer, answer_kind=kind, task="t", split="test", choices=choices)


def value(answer: str, text: str, kind: AnswerKind = NUMBER, choices: tuple[Choice, ...] = ()) -> str:
    return check(problem(answer, kind, choices), text).value.value
