"""Works a lab problem through, rightly or with mistakes that are carried to the end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from feints.errors import DataError
from feints.lab.mistakes import (
    Bent,
    Mistake,
    MistakeKind,
    MistakeSettings,
    as_bent,
    calculation_ways,
    trigger,
    triggered,
    ways_of,
)
from feints.lab.reading import Fact, Operand, Reading, Step, evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class Worked:
    """A problem worked through, rightly or not."""

    steps: tuple[Step, ...]
    """As written down: numbered as in the reading, steps left out are missing, wrong values carried through."""
    answer: int
    """What the steps come to."""
    answered_by: Operand
    """Where the answer stands: the last step, or what takes its place when it is left out."""
    mistakes: tuple[Mistake, ...] = ()
    """In the order of the story."""
    chances: tuple[Mistake, ...] = ()
    """Every (kind, step) that could have gone wrong when its turn came: the denominator of the rates."""
    compensated: bool = False
    """Whether mistakes were made so that the answer comes out right all the same."""


@dataclass(slots=True)
class _Ledger:
    """What each step's result is taken to be while a problem is worked through."""

    current: dict[int, Operand] = field(default_factory=dict)

    def insert(self, step: Step) -> Step:
        """The step with the values at hand, reckoned correctly.

        Raises:
            DataError: a division leaves a remainder.
        """
        operands = tuple(self.current.get(o.index, o) if o.origin == "step" else o for o in step.operands)
        values = tuple(operand.value for operand in operands)
        return replace(step, operands=operands, result=evaluate(values, step.operators))

    def enter(self, step: Step) -> None:
        self.current[step.index] = Operand(value=step.result, origin="step", index=step.index, text=step.phrase)


def _fits(reading: Reading, ledger: _Ledger, after: int, bent: Bent) -> bool:
    """Whether the rest can be worked through in whole positive numbers, correctly from here on."""
    values = {index: operand.value for index, operand in ledger.current.items()}
    values[after] = bent.stands_in.value
    if values[after] < 1:
        return False
    for step in reading.steps[after + 1 :]:
        numbers = tuple(values.get(o.index, o.value) if o.origin == "step" else o.value for o in step.operands)
        try:
            values[step.index] = evaluate(numbers, step.operators)
        except DataError:
            return False
        if values[step.index] < 1:
            return False
    return True


@dataclass(slots=True)
class _Attempt:
    """One sample in the making."""

    settings: MistakeSettings
    reading: Reading
    seen: tuple[Fact, ...]
    kinds: tuple[MistakeKind, ...]
    scale: float
    counting: bool
    ledger: _Ledger = field(default_factory=_Ledger)
    written: list[Step] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    chances: list[Mistake] = field(default_factory=list)

    def bend(self, step: Step, rng: random.Random) -> Bent | None:
        """How this step goes wrong in this sample, None where it goes right."""
        for kind in self.kinds:
            place = self._strike(step, kind, rng)
            if place is None and not self.counting:
                continue
            possible = ways_of(self.reading, step, kind, self.seen)
            ways = (way for way in possible if _fits(self.reading, self.ledger, step.index, way))
            if place is None:
                self.chances += [Mistake(kind, step.index)] if next(ways, None) else []
                continue
            fitting = list(ways)
            if fitting:
                self.mistakes.append(Mistake(kind, step.index))
                self.chances.append(Mistake(kind, step.index))
                # The likelier ways stand first; squaring leans towards them.
                return fitting[int(place * place * len(fitting))]
        return None

    def _strike(self, step: Step, kind: MistakeKind, rng: random.Random) -> float | None:
        """Which way (in [0, 1)) this step goes wrong now, None where it goes right; always two draws."""
        draw, pick = rng.random(), rng.random()
        rate, strength = self.settings.rate(kind), self.settings.strength
        if self.settings.regime == "slips":
            return pick if draw < rate * self.scale else None
        if rate == 0 or draw >= strength * self.scale:
            return None
        return triggered(kind, trigger(self.reading, step, kind, self.seen), rate / strength)


class Bungler:
    """Works problems through as its settings say, mistakes included."""

    def __init__(self, settings: MistakeSettings) -> None:
        self.settings = settings

    def work(
        self,
        reading: Reading,
        rng: random.Random,
        *,
        scale: float = 1.0,
        exact_arithmetic: bool = False,
        distractors: tuple[Fact, ...] | None = None,
        counting: bool = False,
    ) -> Worked:
        """Work a problem through.

        Args:
            reading: the problem, understood.
            rng: of this sample.
            scale: factor on every rate.
            exact_arithmetic: whether somebody else reckons (programs, equations).
            distractors: irrelevant facts in sight; all of the problem's when None.
            counting: whether to fill in `chances`, which takes time and changes nothing else.
        """
        seen = tuple(f for f in reading.irrelevant if f.numbers) if distractors is None else distractors
        kinds = tuple(kind for kind in MistakeKind if not (exact_arithmetic and kind is MistakeKind.CALCULATION))
        attempt = _Attempt(self.settings, reading, seen, kinds, scale, counting)
        for step in reading.steps:
            inserted = attempt.ledger.insert(step)
            bent = attempt.bend(inserted, rng) or as_bent(inserted)
            attempt.ledger.current[step.index] = bent.stands_in
            if bent.step is not None:
                attempt.written.append(bent.step)
        final = attempt.ledger.current[len(reading.steps) - 1]
        return Worked(
            steps=tuple(attempt.written),
            answer=final.value,
            answered_by=final,
            mistakes=tuple(attempt.mistakes),
            chances=tuple(attempt.chances),
        )

    def work_wrongly(
        self, reading: Reading, rng: random.Random, right: frozenset[int], *, exact_arithmetic: bool = False
    ) -> Worked | None:
        """Work a problem through so that the answer is none of `right`; None when no single mistake does it."""
        distractors = tuple(fact for fact in reading.irrelevant if fact.numbers)
        rates = {kind: self.settings.rate(kind) for kind in MistakeKind}
        if exact_arithmetic:
            rates[MistakeKind.CALCULATION] = 0.0
        choices = list[tuple[float, Mistake, Bent]]()
        for step in reading.steps:
            truth = _truth(reading, step.index)
            for kind, rate in rates.items():
                ways = [w for w in ways_of(reading, step, kind, distractors) if _fits(reading, truth, step.index, w)]
                # Early ways are the likely ones; three of each kind keep the kinds in proportion to their rates.
                choices += [(max(rate, 1e-3) if rate else 0.0, Mistake(kind, step.index), way) for way in ways[:3]]
        order = sorted((c for c in choices if c[0]), key=lambda c: rng.random() ** (1 / c[0]), reverse=True)
        for _, mistake, way in order:
            worked = _carry(reading, {mistake.step: way}, (mistake,))
            if worked.answer not in right:
                return worked
        return None

    def compensate(self, reading: Reading, rng: random.Random) -> Worked | None:
        """A right answer on a wrong result that a second one undoes or that does not matter; None where none can be."""
        pairs = [(need, step.index) for step in reading.steps for need in step.needs]
        rng.shuffle(pairs)
        for first, second in pairs:
            truth = _truth(reading, first)
            ways = [w for w in calculation_ways(reading.steps[first]) if _fits(reading, truth, first, w)]
            for way in ways[:6]:
                try:
                    forced = _carry(reading, {first: way}, (), {second: reading.steps[second].result})
                except DataError:
                    # Another branch still carries the first mistake into a division.
                    continue
                if forced.answer == reading.answer:
                    wrong = tuple(Mistake(MistakeKind.CALCULATION, s.index) for s in forced.steps if _misreckoned(s))
                    return replace(forced, mistakes=wrong, compensated=True)
        return None


def _misreckoned(step: Step) -> bool:
    return evaluate(tuple(operand.value for operand in step.operands), step.operators) != step.result


def _truth(reading: Reading, before: int) -> _Ledger:
    ledger = _Ledger()
    for step in reading.steps[:before]:
        ledger.enter(step)
    return ledger


def _carry(
    reading: Reading, bent: dict[int, Bent], mistakes: tuple[Mistake, ...], results: dict[int, int] | None = None
) -> Worked:
    """Work through with these steps bent and these results put in by force, everything else correct."""
    ledger, written = _Ledger(), list[Step]()
    for step in reading.steps:
        way = bent.get(step.index) or as_bent(ledger.insert(step))
        if way.step is not None and step.index in (results or {}):
            way = as_bent(replace(way.step, result=(results or {})[step.index]))
        ledger.current[step.index] = way.stands_in
        if way.step is not None:
            written.append(way.step)
    final = ledger.current[len(reading.steps) - 1]
    return Worked(steps=tuple(written), answer=final.value, answered_by=final, mistakes=mistakes)


def work_rightly(reading: Reading, answer: int | None = None) -> Worked:
    """Work a problem through correctly; with `answer`, write this as the last result whatever the steps say."""
    forced = {} if answer is None else {len(reading.steps) - 1: answer}
    wrong = answer is not None and answer != reading.answer
    mistakes = (Mistake(MistakeKind.CALCULATION, len(reading.steps) - 1),) if wrong else ()
    return _carry(reading, {}, mistakes, forced)
