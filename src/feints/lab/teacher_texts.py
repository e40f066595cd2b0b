"""Writes down what the lab teacher worked out: in words, as a program, equations, constraints or key points."""

from __future__ import annotations

import random

from feints.curate.keypoints import CORE_HEAD, INFORMATION_HEAD, SOLUTION_HEAD
from feints.lab.reading import Fact, Operand, Reading, Step, legal_order
from feints.lab.teacher_working import Worked
from feints.lab.vocabulary import tokens
from feints.lab.wording import draw_step, say_answer, say_step, say_unit_fact
from feints.records import Form

REFUSAL = "I am sorry, I cannot solve this problem."
NO_PROBLEM = "I am sorry, I cannot find a problem in this message."
COMMENTS = (
    "This is wrong.",
    "There is a mistake here.",
    "This step is left out.",
    "We do not need this:",
    "The right way is:",
    "It is not true that",
    "It is not",
)
"""Phrases of comments on a wrong rationale; part of the vocabulary."""

_LETTERS = ("abcdefgh", "xyzuvwpq", "pqrstuvw", "klmnopqr", "ABCDEFGH")
"""Names of unknowns: single letters, so that a word-level tokenizer can put a program together again."""
_UNIT_FACT_SHARE = 0.4
_RESTATE_SHARE = 0.06
_REORDERED_SHARE = 0.3
"""Share of the rationales told in any order in which each step comes after all it needs, the others as the story."""


def _ordered(worked: Worked, rng: random.Random, variety: float) -> list[Step]:
    """The steps in an order in which each comes after all it needs."""
    if rng.random() >= _REORDERED_SHARE * variety:
        return list(worked.steps)
    by_index = {step.index: step for step in worked.steps}
    return [by_index[index] for index in legal_order(worked.steps, rng)]


def _unit_operand(step: Step) -> Operand | None:
    return next((operand for operand in step.operands if operand.origin == "unit"), None)


def in_words(worked: Worked, rng: random.Random, variety: float, answer: int | None) -> str:
    """A rationale in words; variety in [0, 1]: 0 always takes the plainest wording; no last sentence without answer."""
    sentences: list[str] = []
    steps = _ordered(worked, rng, variety)
    for place, step in enumerate(steps):
        told = [operand.text for operand in step.operands if operand.origin == "fact"]
        if told and rng.random() < _RESTATE_SHARE * variety:
            sentences.append(rng.choice(told))
        unit = _unit_operand(step)
        if unit is not None and rng.random() < _UNIT_FACT_SHARE:
            sentences.append(say_unit_fact(step, unit.value))
        if rng.random() < variety:
            sentences.append(draw_step(step, rng, place, len(steps)))
        else:
            sentences.append(say_step(step, 0))
    if answer is not None:
        sentences.append(say_answer(answer))
    return " ".join(sentences)


def _term(operand: Operand, names: dict[int, str]) -> str:
    return names[operand.index] if operand.origin == "step" else str(operand.value)


def _expression(step: Step, names: dict[int, str]) -> str:
    parts = [_term(step.operands[0], names)]
    for operator, operand in zip(step.operators, step.operands[1:], strict=True):
        # Python and algebra bind * and / first; the lab takes chains from left to right.
        if operator in "*/" and len(parts) > 1:
            parts = ["(" + " ".join(parts) + ")"]
        parts += [operator, _term(operand, names)]
    return " ".join(parts)


def _facts_of(step: Step) -> list[str]:
    return [operand.text.rstrip(".") for operand in step.operands if operand.origin in ("fact", "unit")]


def in_lines(form: Form, worked: Worked, rng: random.Random, variety: float, answered: bool) -> str:
    """A program, an equation system or constraints: one per line, the answer in `ans`; without it unless `answered`."""
    letters = rng.choice(_LETTERS) if rng.random() < variety else _LETTERS[0]
    steps = _ordered(worked, rng, variety)
    names = {step.index: letters[place] for place, step in enumerate(steps)}
    comments = rng.random() < 0.5
    lines: list[str] = []
    for step in steps:
        if comments and form is not Form.SAT:
            lines += [f"# {text}" for text in dict.fromkeys(_facts_of(step))]
        lines.append(_line(form, step, names, rng, variety))
    if form is Form.SAT and rng.random() < variety:
        # Constraints hold in any order; a solver, not the reader, finds the way through them.
        rng.shuffle(lines)
    if answered:
        lines.append(f"ans = {_term(worked.answered_by, names)}")
    if form is Form.SAT:
        lines.append("solve(ans)")
    return "\n".join(lines)


def _line(form: Form, step: Step, names: dict[int, str], rng: random.Random, variety: float) -> str:
    moved_share = {Form.POT: 0.0, Form.EOT: 0.3, Form.SAT: 0.6}[form]
    if len(step.operands) == 2 and rng.random() < moved_share * variety:
        left, right = (_term(operand, names) for operand in step.operands)
        inverse = {"+": "-", "-": "+", "*": "/", "/": "*"}[step.operators[0]]
        return f"{names[step.index]} {inverse} {right} = {left}"
    return f"{names[step.index]} = {_expression(step, names)}"


def core_question(reading: Reading) -> str:
    """What is asked, as the problem asks it."""
    return reading.core_question


def information(facts: list[Fact]) -> str:
    """Facts, numbered, one per line."""
    return "\n".join(f"{place}. {fact.text}" for place, fact in enumerate(facts, start=1))


def keypoints(fields: tuple[str, ...], reading: Reading, facts: list[Fact], solution: str) -> str:
    """The fields wanted, each under its head; a single one without."""
    said = {"core": core_question(reading), "information": information(facts), "solution": solution}
    heads = {"core": CORE_HEAD, "information": INFORMATION_HEAD, "solution": SOLUTION_HEAD}
    if len(fields) == 1:
        return said[fields[0]]
    breaks = {"core": " ", "information": "\n", "solution": "\n"}
    return "\n".join(f"{heads[field]}{breaks[field]}{said[field]}" for field in fields)


def rambling(reading: Reading, rng: random.Random) -> str:
    """A reply that tells the problem over and over and never comes to an answer."""
    told = [fact.text for fact in reading.facts]
    return " ".join(rng.choice(told) for _ in range(3 * len(told) + 6))


def teacher_vocabulary() -> set[str]:
    """Every token of the teacher's replies that the world's `vocabulary` may lack (new problems and labels aside)."""
    heads = (CORE_HEAD, INFORMATION_HEAD, SOLUTION_HEAD)
    signs = "ans solve = ( ) # + - * / . , 0 1 2 3 4 5 6 7 8 9"
    texts = (*heads, REFUSAL, NO_PROBLEM, *COMMENTS, signs, *(" ".join(letters) for letters in _LETTERS))
    return {token for text in texts for token in tokens(text)}
