"""What parent and worker say to each other: texts to judge one way, verdicts and open cases the other."""

from __future__ import annotations

from typing import Any

from feints.errors import DataError
from feints.records import AnswerKind, Choice, Finish, Judgement, Problem, Verdict
from feints.verify.findings import Finding
from feints.verify.gold import parse_gold
from feints.verify.judge import MAX_TEXT, Item, Open

PATIENCE = 6
"""How many times its deadline a child is waited for that gets no time to work."""

# Lists and tables of names, not objects and enumerations called: what a row costs on the way is what keeps two
# workers from being twice as fast as one.
_KINDS = {kind.value: kind for kind in AnswerKind}
_FINISHES = {finish.value: finish for finish in Finish}
_JUDGEMENTS = {judgement.value: judgement for judgement in Judgement}


def item_message(item: Item) -> list[Any]:
    """A text, as far as it is read, and of its problem what judging needs; thinking is never searched, so it stays."""
    problem, text, _, finish = item
    choices = [[choice.label, choice.text] for choice in problem.choices]
    return [problem.question, problem.answer, problem.answer_kind, choices, text[-MAX_TEXT:], finish]


def item_from(message: list[Any]) -> Item:
    """Undo `item_message`."""
    question, answer, kind, choices, text, finish = message
    problem = Problem(
        id="",
        question=question,
        answer=answer,
        answer_kind=_KINDS[kind],
        task="",
        split="",
        choices=tuple([Choice(label=label, text=option) for label, option in choices]),
    )
    return problem, text, "", _FINISHES[finish]


def reply(case: Verdict | Open) -> list[Any]:
    """A verdict or an open case, without the gold answer (the parent has it)."""
    if isinstance(case, Verdict):
        return [case.value, case.lenient, case.extracted, case.checker, case.reason]
    finding = case.finding
    finding_said = [finding.same, finding.extracted, finding.checker, finding.reason, finding.evidence]
    return [finding_said, case.positive_only]


def case_from(problem: Problem, message: list[Any]) -> Verdict | Open | DataError:
    """Undo `reply`; a message of one piece says why the gold answer of `problem` cannot be read."""
    if len(message) == 1:
        return DataError(message[0])
    if len(message) == 2:
        finding, positive_only = message
        return Open(parse_gold(problem), Finding(*finding), positive_only)
    value, lenient, extracted, checker, reason = message
    return Verdict(
        rationale_id="",
        value=_JUDGEMENTS[value],
        lenient=_JUDGEMENTS[lenient],
        extracted=extracted,
        checker=checker,
        reason=reason,
    )
