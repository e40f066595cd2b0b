"""Who has how many of what, while the facts of a lab problem are told one after the other."""

from __future__ import annotations

import re
from typing import NamedTuple

from feints.errors import DataError
from feints.lab.events import Form
from feints.lab.grammar import Slots
from feints.lab.lexicon import FRACTIONS, MULTIPLY_VERBS, THING_BY_BIG, THING_BY_ONE, TIMES, UnitFact
from feints.lab.reading import Operand, Operator, Step, evaluate


class Told(NamedTuple):
    """A sentence with its place: a fact, or the question (index -1)."""

    place: int
    text: str
    form: Form
    slots: Slots
    now: bool

    @property
    def thing(self) -> str:
        """What is counted, in the plural and in the small unit; "" for noise."""
        if "o" in self.slots:
            return self.slots["o"]
        if "q" in self.slots:
            return THING_BY_BIG[self.slots["q"]].many
        return THING_BY_ONE[self.slots["s"]].many if "s" in self.slots else ""

    def number(self, slot: str) -> Operand:
        """The number in a slot, or the one its words stand for, as an operand."""
        phrase = self.slots[slot]
        for words in (TIMES, FRACTIONS, MULTIPLY_VERBS):
            if phrase in words:
                return self.operand(words[phrase])
        return self.operand(int(phrase))

    def operand(self, value: int) -> Operand:
        """A number that this sentence tells."""
        return Operand(value=value, origin="question" if self.place < 0 else "fact", index=self.place, text=self.text)


class Story:
    """Who has how many of what while the facts are told one after the other."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.prices: dict[str, Operand] = {}
        self._amounts: dict[tuple[str, str], Operand | None] = {}

    def get(self, person: str, thing: str) -> Operand:
        """What somebody has; DataError when the text does not say."""
        amount = self._amounts.get((person, thing))
        if amount is None:
            raise DataError(f"the text does not say how many {thing} {person} has; tell it before it is used")
        return amount

    def known(self, person: str, thing: str) -> bool:
        """Whether the text says it."""
        return self._amounts.get((person, thing)) is not None

    def put(self, person: str, thing: str, amount: Operand | None) -> None:
        """Somebody has so many from now on; None: nobody can say."""
        self._amounts[person, thing] = amount

    def step(
        self,
        told: Told,
        operators: str,
        operands: tuple[Operand, ...],
        claim: str,
        unit: str,
        name: str,
        phrase: str,
        unit_fact: UnitFact | None = None,
        kind: str = "",
    ) -> Operand:
        """Do one piece of arithmetic and return its result as an operand."""
        signs: tuple[Operator, ...] = tuple(sign for sign in operators)  # type: ignore[misc]
        result = evaluate(tuple(operand.value for operand in operands), signs)
        if result < 0:
            raise DataError(f"{told.text!r} takes away more than there is; check the numbers")
        index = len(self.steps)
        self.steps.append(
            Step(
                index=index,
                kind=kind or told.form.kind,
                operators=signs,
                operands=operands,
                result=result,
                phrase=phrase,
                claim=claim,
                unit=unit,
                name=re.sub(r"\W+", "_", name.lower()),
                fact=told.place,
                unit_fact=unit_fact,
            )
        )
        return Operand(value=result, origin="step", index=index, text=phrase)

    def hold(
        self,
        told: Told,
        operators: str,
        operands: tuple[Operand, ...],
        person: str,
        thing: str,
        unit_fact: UnitFact | None = None,
    ) -> None:
        """A step after which `person` has its result of `thing`."""
        now = " now" if told.form.block == "event" or told.now else ""
        self.put(
            person,
            thing,
            self.step(
                told,
                operators,
                operands,
                claim=f"{person} has {{value}} {thing}{now}",
                unit=thing,
                name=f"{thing} of {person}",
                phrase=f"{thing} {person} has{now}",
                unit_fact=unit_fact,
            ),
        )

    def receive(self, told: Told, person: str, thing: str, amount: Operand) -> None:
        """`person` gets `amount` more; who had none mentioned before has just these."""
        if (person, thing) not in self._amounts:
            self.put(person, thing, amount)
        elif self.known(person, thing):
            self.hold(told, "+", (self.get(person, thing), amount), person, thing)

    def part_with(self, told: Told, person: str, thing: str, amount: Operand) -> None:
        """`person` has `amount` fewer."""
        if not self.known(person, thing):
            self.put(person, thing, None)
        else:
            self.hold(told, "-", (self.get(person, thing), amount), person, thing)


def unit_operand(fact: UnitFact) -> Operand:
    """The number of a unit fact."""
    return Operand(value=fact.value, origin="unit", index=-1, text=fact.say())
