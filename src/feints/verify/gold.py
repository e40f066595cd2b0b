"""Gold answers: parsed once per problem; one that cannot be read is the data's fault and says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from feints.errors import DataError
from feints.records import AnswerKind, Choice, Problem
from feints.verify import latex
from feints.verify.quantities import Quantity, plain, read_numbers
from feints.verify.spans import marked
from feints.verify.yesno import gold_truth

_OPTION = re.compile(r"(?<![\w(])\(([A-Z])\)\s*")


@dataclass(frozen=True, slots=True)
class Gold:
    """A gold answer, read by the checker of its kind."""

    kind: AnswerKind
    """Which checker compares with it; a number in LaTeX or as text goes to the checker that can read it."""
    text: str
    """The answer itself, without boxes and delimiters."""
    quantity: Quantity | None = None
    """For a number."""
    label: str = ""
    """For a choice."""
    choices: tuple[Choice, ...] = ()
    """For a choice: the options."""
    truth: bool | None = None
    """For a yes or no."""
    question: str = ""
    """For LaTeX: what was asked, since "factor" asks for a form and not for a value."""


def parse_gold(problem: Problem) -> Gold:
    """Read the gold answer of `problem`.

    Raises:
        DataError: it is empty, no option of the problem, or not readable as its kind.
    """
    return _parse(problem.id, problem.answer, problem.answer_kind, problem.choices, problem.question)


def gold_error(problem: Problem) -> str | None:
    """What is wrong with the gold answer of `problem`, or None."""
    try:
        parse_gold(problem)
    except DataError as error:
        return str(error)
    return None


@lru_cache(maxsize=1 << 14)
def _parse(identity: str, answer: str, kind: AnswerKind, choices: tuple[Choice, ...], question: str) -> Gold:
    where = f"problem {identity!r}"
    if not answer.strip():
        raise DataError(f"{where}: the gold answer is empty; give it or leave the problem out")
    if kind is AnswerKind.CHOICE:
        return _choice(where, answer, choices, question)
    if kind is AnswerKind.BOOLEAN:
        truth = gold_truth(answer)
        if truth is None:
            raise DataError(f"{where}: gold answer {answer!r} is neither yes nor no; correct it or call its kind text")
        return Gold(kind, answer.strip(), truth=truth)
    if kind in (AnswerKind.NUMBER, AnswerKind.PROGRAM):
        return _number(where, answer, kind, question)
    if kind is AnswerKind.TEXT:
        return _text(answer)
    return _latex(where, answer, question)


def _choice(where: str, answer: str, choices: tuple[Choice, ...], question: str) -> Gold:
    wanted = answer.strip().strip("().: ").casefold()
    choices = choices or written_options(question)
    for choice in choices:
        if choice.label.strip("() ").casefold() == wanted:
            return Gold(AnswerKind.CHOICE, answer.strip(), label=choice.label, choices=choices)
    if choices:
        labels = ", ".join(choice.label for choice in choices)
        raise DataError(f"{where}: gold answer {answer!r} is none of its options ({labels}); correct one of them")
    if not re.fullmatch(r"[a-z]|\d{1,2}", wanted):
        raise DataError(f"{where}: gold answer {answer!r} is no option label such as B; give the label, or the choices")
    return Gold(AnswerKind.CHOICE, answer.strip(), label=wanted.upper())


def written_options(question: str) -> tuple[Choice, ...]:
    """Options written into the question as (A) ... (B) ...; empty unless they run on from A."""
    marks = list(_OPTION.finditer(question))
    start = max((at for at, mark in enumerate(marks) if mark[1] == "A"), default=len(marks))
    marks = marks[start:]
    if len(marks) < 2 or [mark[1] for mark in marks] != [chr(ord("A") + at) for at in range(len(marks))]:
        return ()
    ends = [mark.start() for mark in marks[1:]] + [len(question)]
    texts = [question[mark.end() : end].strip(" \n,;") for mark, end in zip(marks, ends, strict=True)]
    return tuple(Choice(label=mark[1], text=text) for mark, text in zip(marks, texts, strict=True))


def whole_number(answer: str) -> Quantity | None:
    """The number `answer` consists of, a unit or currency beside it allowed; None where there is more to it."""
    text = plain(answer).strip().strip("$ ").rstrip(".")
    numbers = read_numbers(text)
    if len(numbers) != 1:
        return None
    rest = text[: numbers[0].start] + text[numbers[0].end :]
    return numbers[0] if re.fullmatch(r"[\s$€£¥₹]*(?:[A-Za-z°/.\s]|\^[23])*", rest) else None


def _number(where: str, answer: str, kind: AnswerKind, question: str) -> Gold:
    answer = answer.rpartition("####")[2]  # a worked solution as GSM8K has it ends in its answer
    quantity = whole_number(answer)
    if quantity is not None:
        return Gold(AnswerKind.NUMBER, answer.strip(), quantity=quantity)
    if kind is AnswerKind.PROGRAM:
        return _text(answer)
    try:
        if re.search(r"\d|\\[a-zA-Z]|[π∞√]", answer):  # words alone are read as products of letters
            return _latex(where, answer, question)
    except DataError:
        pass
    raise DataError(f"{where}: gold answer {answer!r} is no number; correct it or state its kind")


def _text(answer: str) -> Gold:
    text = answer.strip()
    truth = gold_truth(text)
    if truth is not None:
        return Gold(AnswerKind.BOOLEAN, text, truth=truth)
    if re.fullmatch(r"[-+$\d.,/%\s]*\d[\d.,/%\s]*", text):
        quantity = whole_number(text)
        if quantity is not None:
            return Gold(AnswerKind.NUMBER, text, quantity=quantity)
    return Gold(AnswerKind.TEXT, text)


def _latex(where: str, answer: str, question: str) -> Gold:
    span = marked(answer, line_answers=False) if ("boxed" in answer or len(answer) > latex.SHORT) else None
    text = span.text if span is not None else answer
    problem = latex.gold_problem(text)
    if problem:
        raise DataError(f"{where}: gold answer {answer[:200]!r} cannot be read: {problem}; correct it or call it text")
    return Gold(AnswerKind.LATEX, text.strip(), question=question)
