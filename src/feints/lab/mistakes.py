"""The lab teacher's mistakes: four kinds, how often, what triggers them, and every way a step can go wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from feints.errors import DataError, SettingsError
from feints.lab.events import NOW, THEN
from feints.lab.lexicon import LEXICON
from feints.lab.reading import Fact, Operand, Operator, Reading, Step, evaluate
from feints.records import content_hash


class MistakeKind(StrEnum):
    """What sort of mistake a step makes."""

    LOGICAL = "logical"
    """The wrong operation, or a step left out."""
    KNOWLEDGE = "knowledge"
    """A wrong unit fact: a dozen is 10."""
    CALCULATION = "calculation"
    """The right expression, the wrong result."""
    MISUNDERSTANDING = "misunderstanding"
    """A number of an irrelevant fact is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MistakeSettings:
    """How often and how mistakes are made. Part of the teacher's identity: a change voids recorded results."""

    regime: Literal["systematic", "slips"] = "systematic"
    """systematic: features of a step decide where, again and again; slips: every sample by itself."""
    logical: float = 0.10
    """Probability per step that can be got wrong in this way, at temperature 0.7."""
    knowledge: float = 0.25
    """The same, per step that rests on a unit fact."""
    calculation: float = 0.07
    """The same; programs, equations and constraints leave the arithmetic to others and never slip here."""
    misunderstanding: float = 0.08
    """The same, per step of a problem with irrelevant numbers."""
    strength: float = 0.6
    """Systematic only: probability of the mistake where its trigger is met, at temperature 0.7."""
    greedy_share: float = 0.6
    """Probabilities at temperature 0 over those at 0.7; between and beyond on the straight line."""

    def __post_init__(self) -> None:
        for name in ("logical", "knowledge", "calculation", "misunderstanding", "strength", "greedy_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"lab teacher: {name} is {getattr(self, name)}; give a share from 0 to 1")
        if self.regime == "systematic" and self.strength < max(self.rate(kind) for kind in MistakeKind):
            raise SettingsError(
                f"lab teacher: strength {self.strength} is below a rate; no trigger can be that frequent"
            )

    def rate(self, kind: MistakeKind) -> float:
        """Probability per step at temperature 0.7."""
        rate: float = getattr(self, kind.value)
        return rate

    def scale(self, temperature: float) -> float:
        """Factor on every probability at this temperature, at most 1.5."""
        return min(1.5, self.greedy_share + (1 - self.greedy_share) * temperature / 0.7)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake that was made."""

    kind: MistakeKind
    step: int
    """Index in `Reading.steps` of the step that went wrong."""


WRONG_UNITS = {
    "dozen": (10, 6, 20),
    "pair": (3, 4),
    "foot": (10, 6, 16),
    "yard": (2, 4, 12),
    "pound": (10, 12, 8),
    "hour": (100, 30, 24),
    "week": (5, 6, 10),
    "year": (10, 6, 52),
    "day": (12, 10, 60),
    "10 percent": (5, 20),
    "20 percent": (2, 4, 10),
    "25 percent": (5, 2, 20),
    "50 percent": (5, 4, 10),
}
"""What a solver who does not know a unit fact takes its number to be, the likeliest first."""

_DELTAS = tuple(sign * size for size in (1, 10, 2, 5, 3, 4, 6, 9, 12, 15, 20, 24, 30, 60) for sign in (1, -1))
_SWAPPED: dict[Operator, tuple[Operator, ...]] = {"+": ("-", "*"), "-": ("+", "*"), "*": ("+", "-"), "/": ("*", "-")}
_PHRASES = re.compile(
    r"\b(?:" + "|".join(sorted((p for ps in LEXICON.values() for p in ps), key=len, reverse=True)) + r")\b|\d+"
)


@dataclass(frozen=True, slots=True)
class Bent:
    """One way a step can go wrong: the step as written, or None where it is left out."""

    step: Step | None
    stands_in: Operand
    """What later steps use."""


def as_bent(step: Step) -> Bent:
    """The step as it is, ready to be entered."""
    return Bent(step, Operand(value=step.result, origin="step", index=step.index, text=step.phrase))


def _recomputed(step: Step, operands: tuple[Operand, ...], operators: tuple[Operator, ...]) -> Iterator[Bent]:
    try:
        result = evaluate(tuple(operand.value for operand in operands), operators)
    except DataError:
        return
    if result != step.result:
        yield as_bent(replace(step, operands=operands, operators=operators, result=result))


def calculation_ways(step: Step) -> Iterator[Bent]:
    """The right expression with wrong results, the likeliest first."""
    deltas = list(_DELTAS)
    if step.operators == ("*",):
        # One row of the table too high or too low is the likeliest slip in a product.
        deltas = [sign * operand.value for operand in step.operands for sign in (1, -1)] + deltas
    for delta in dict.fromkeys(deltas):
        if abs(delta) * 2 <= max(step.result, 4) and delta:
            yield as_bent(replace(step, result=step.result + delta))


def _logical(step: Step, last: bool) -> Iterator[Bent]:
    for place, operator in enumerate(step.operators):
        for other in _SWAPPED[operator]:
            swapped = (*step.operators[:place], other, *step.operators[place + 1 :])
            yield from _recomputed(step, step.operands, swapped)
            if other == "-" and len(step.operands) == 2:
                yield from _recomputed(step, step.operands[::-1], swapped)
    carried = next((operand for operand in step.operands if operand.origin == "step"), None)
    stands_in = carried if last else carried or step.operands[0]
    if stands_in is not None and stands_in.value != step.result and stands_in.origin in ("step", "fact"):
        yield Bent(None, stands_in)


def _knowledge(step: Step) -> Iterator[Bent]:
    if step.unit_fact is None:
        return
    for value in WRONG_UNITS.get(step.unit_fact.name, ()):
        operands = tuple(
            replace(o, value=value, text=step.unit_fact.say(value)) if o.origin == "unit" else o for o in step.operands
        )
        yield from _recomputed(step, operands, step.operators)


def _misunderstanding(step: Step, distractors: tuple[Fact, ...]) -> Iterator[Bent]:
    additive = set(step.operators) == {"+"}
    for fact in distractors:
        for number in fact.numbers:
            taken = Operand(value=number, origin="fact", index=fact.index, text=fact.text)
            if additive:
                yield from _recomputed(step, (*step.operands, taken), (*step.operators, "+"))
            for place, operand in enumerate(step.operands):
                if operand.origin == "fact" and operand.value != number:
                    operands = (*step.operands[:place], taken, *step.operands[place + 1 :])
                    yield from _recomputed(step, operands, step.operators)


def ways_of(reading: Reading, step: Step, kind: MistakeKind, distractors: tuple[Fact, ...]) -> Iterator[Bent]:
    """Every way a step can go wrong by a mistake of this kind, the likeliest first; none where it cannot."""
    if kind is MistakeKind.CALCULATION:
        return calculation_ways(step)
    if kind is MistakeKind.LOGICAL:
        return _logical(step, step.index == len(reading.steps) - 1)
    if kind is MistakeKind.KNOWLEDGE:
        return _knowledge(step)
    return _misunderstanding(step, distractors)


@lru_cache(maxsize=65536)
def share_of(*parts: object) -> float:
    """A number in [0, 1) that depends on nothing but `parts`."""
    return int(content_hash("lab trigger", *parts, digits=12), 16) / 16**12


@lru_cache(maxsize=65536)
def paraphrase(sentence: str) -> str:
    """A sentence without its opener, names, things and numbers: what recurs from problem to problem."""
    opener = next((opener for opener in (*THEN, *NOW) if sentence.startswith(opener)), "")
    text = _PHRASES.sub("_", sentence[len(opener) :])
    return text[:1].upper() + text[1:]


_SALT = {
    MistakeKind.LOGICAL: 9,
    MistakeKind.KNOWLEDGE: 50,
    MistakeKind.CALCULATION: 54,
    MistakeKind.MISUNDERSTANDING: 5,
}
"""Which features trigger is a matter of chance; of some draws, those whose rates on the training split come nearest to
the settings. A change raises TEACHER_VERSION."""


def triggered(kind: MistakeKind, features: tuple[str, ...], share: float) -> float | None:
    """For features that trigger (a `share` of all do): which way it goes wrong, in [0, 1); None for the others."""
    if share_of(_SALT[kind], *features) >= share:
        return None
    return share_of("way", *features)


def _size(value: int) -> str:
    return "small" if value < 20 else "large" if value >= 60 else "middling"


def trigger(reading: Reading, step: Step, kind: MistakeKind, distractors: tuple[Fact, ...]) -> tuple[str, ...]:
    """The features of a step on which a systematic mistake of this kind depends: wording, sizes, last digits."""
    cause = reading.facts[step.fact].text if step.fact >= 0 else reading.core_question
    values = tuple(operand.value for operand in step.operands)
    if kind is MistakeKind.CALCULATION:
        return (kind.value, *step.operators, *(str(value % 10) for value in values))
    if kind is MistakeKind.KNOWLEDGE:
        name = step.unit_fact.name if step.unit_fact else ""
        return (kind.value, name, paraphrase(cause))
    if kind is MistakeKind.LOGICAL:
        return (kind.value, *step.operators, paraphrase(cause), _size(values[0]))
    return (kind.value, step.kind, *(fact.form for fact in distractors[:1]), _size(values[0]))
