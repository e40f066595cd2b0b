"""What reading a lab problem yields: facts, the question, and the steps that answer it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from feints.errors import DataError
from feints.lab.lexicon import UnitFact

Operator = Literal["+", "-", "*", "/"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """One number of a step and where it comes from."""

    value: int
    origin: Literal["fact", "question", "step", "unit"]
    """Told in a fact, told in the question, result of an earlier step, or known (a unit fact)."""
    index: int
    """Which fact or which step; -1 for the question and for a unit fact."""
    text: str
    """The fact, the question, the earlier step's phrase or the unit fact, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One piece of arithmetic. To bend it, use `dataclasses.replace`; it is rendered by `lab.wording`."""

    index: int
    """Its place in `Reading.steps`."""
    kind: str
    """Kind of event, one of `questions.KINDS`."""
    operators: tuple[Operator, ...]
    """One fewer than operands; taken from left to right."""
    operands: tuple[Operand, ...]
    """At least two."""
    result: int
    """What it comes to."""
    phrase: str
    """What the result is, as a noun phrase: "apples Tom has now"."""
    claim: str
    """The same as a clause with {value} for the number: "Tom has {value} apples now"."""
    unit: str
    """What is counted: "apples", "dollars", "bags" ..."""
    name: str
    """A variable name, unique within the reading: "apples_of_tom_2"."""
    fact: int
    """The fact that causes it, -1 when the question does."""
    unit_fact: UnitFact | None = None
    """The unit fact it rests on, if any; its value is then the operand whose origin is unit."""

    @property
    def needs(self) -> tuple[int, ...]:
        """Indices of the steps whose results it uses."""
        return tuple(operand.index for operand in self.operands if operand.origin == "step")

    @property
    def expression(self) -> str:
        """The left-hand side: "12 + 7"."""
        parts = [str(self.operands[0].value)]
        for operator, operand in zip(self.operators, self.operands[1:], strict=True):
            parts += [operator, str(operand.value)]
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One sentence of the problem that is not the question."""

    index: int
    """Its place in the text, from 0."""
    text: str
    """The sentence."""
    kind: str
    """Kind of event; "" for a plain number or noise."""
    form: str
    """Name of the grammar form."""
    numbers: tuple[int, ...]
    """The numbers written as digits in it, in order."""
    persons: tuple[str, ...]
    """Who is named, in order."""
    unit: str
    """What is counted: "apples" ...; "" for noise."""
    relevant: bool
    """Whether the answer depends on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A problem understood."""

    facts: tuple[Fact, ...]
    """Every sentence but the question, in the order told."""
    core_question: str
    """The sentence that asks."""
    question_form: str
    """Name of its grammar form."""
    steps: tuple[Step, ...]
    """What must be computed, in the order of the story; the last one gives the answer."""
    answer: int
    """The result of the last step."""
    answer_unit: str
    """What the answer counts."""

    @property
    def irrelevant(self) -> tuple[Fact, ...]:
        """The facts on which the answer does not depend."""
        return tuple(fact for fact in self.facts if not fact.relevant)

    @property
    def useful(self) -> tuple[str, ...]:
        """The relevant facts as short texts, in the order told."""
        return tuple(fact.text for fact in self.facts if fact.relevant)

    @property
    def pairs(self) -> frozenset[frozenset[str]]:
        """Kinds of steps of which one feeds the other (one kind alone where both are the same)."""
        return frozenset(frozenset((self.steps[need].kind, step.kind)) for step in self.steps for need in step.needs)


def evaluate(values: tuple[int, ...], operators: tuple[Operator, ...]) -> int:
    """Value of a chain, from left to right.

    Raises:
        DataError: a division leaves a remainder.
    """
    total = values[0]
    for operator, value in zip(operators, values[1:], strict=True):
        if operator == "+":
            total += value
        elif operator == "-":
            total -= value
        elif operator == "*":
            total *= value
        else:
            if value == 0 or total % value:
                raise DataError(
                    f"{total} / {value} is not a whole number; a lab problem needs whole numbers throughout"
                )
            total //= value
    return total


def legal_order(steps: tuple[Step, ...], rng: random.Random) -> tuple[int, ...]:
    """Indices of `steps` in a random order in which each comes after all it needs."""
    waiting = {step.index: set(step.needs) for step in steps}
    order: list[int] = []
    while waiting:
        ready = [index for index, needs in waiting.items() if not needs]
        chosen = rng.choice(ready)
        del waiting[chosen]
        for needs in waiting.values():
            needs.discard(chosen)
        order.append(chosen)
    return tuple(order)
