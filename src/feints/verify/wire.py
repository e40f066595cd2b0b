"""What parent and worker say to each other: texts to judge one way, verdicts and open cases the other."""

from __future__ import annotations

from typing import Any

from feints.records import AnswerKind, Choice, Finish, Judgement, Problem, Verdict
from feints.verify.findings import Finding
from feints.verify.gold import Gold
from feints.verify.judge import Item, Open


def item_message(item: Item) -> list[Any]:
    """A text and of its problem what judging needs."""
    problem, text, thinking, finish = item
    choices = [[choice.label, choice.text] for choice in problem.choices]
    return [problem.question, problem.answer, problem.answer_kind, choices, text, thinking, finish]


def item_from(message: list[Any]) -> Item:
    """Undo `item_message`."""
    question, answer, kind, choices, text, thinking, finish = message
    problem = Problem(
        id="",
        question=question,
        answer=answer,
        answer_kind=AnswerKind(kind),
        task="",
        split="",
        choices=tuple(Choice(label=label, text=option) for label, option in choices),
    )
    return problem, text, thinking, Finish(finish)


def reply(case: Verdict | Open) -> dict[str, Any]:
    """A verdict or an open case, without the gold answer (the parent has it)."""
    if isinstance(case, Verdict):
        return {
            "value": case.value,
            "lenient": case.lenient,
            "extracted": case.extracted,
            "checker": case.checker,
            "reason": case.reason,
        }
    finding = case.finding
    return {
        "finding": [finding.same, finding.extracted, finding.checker, finding.reason, finding.evidence],
        "lenient": case.lenient,
        "positive_only": case.positive_only,
    }


def verdict_from(message: dict[str, Any]) -> Verdict:
    """Undo `reply` for a verdict."""
    return Verdict(
        rationale_id="",
        value=Judgement(message["value"]),
        lenient=Judgement(message["lenient"]),
        extracted=message["extracted"],
        checker=message["checker"],
        reason=message["reason"],
    )


def open_from(gold: Gold, message: dict[str, Any]) -> Open:
    """Undo `reply` for an open case."""
    lenient = message["lenient"]
    return Open(gold, Finding(*message["finding"]), Judgement(lenient) if lenient else None, message["positive_only"])
