"""What the nano student reads before its first distillation: language and arithmetic of one step, never more."""

from __future__ import annotations

import random
from dataclasses import dataclass

from feints.lab import grammar
from feints.lab.lexicon import COUNTED, NAMES
from feints.lab.questions import FORMS
from feints.lab.reader import read
from feints.lab.reading import Step
from feints.lab.wording import capital, draw_style, say_answer, say_step, say_unit_fact
from feints.lab.world import generate

_THINGS = [thing.many for thing in COUNTED]
_FACTORS = (2, 2, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 12, 12)
"""Second numbers of multiplications and divisions about as often as stories have them."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One text to learn from."""

    name: str
    """Unique among all lessons."""
    question: str
    """What is asked, put through the student's prompt; "" for an empty prompt."""
    parts: tuple[tuple[str, float], ...]
    """What is learnt, piece by piece, each with the weight of its tokens."""


def one_step(index: int, seed: int) -> Lesson:
    """A problem of one step, and that step."""
    question = generate("one_step", index, seed).question
    (step,) = read(question).steps
    return Lesson(f"one_step/{index}", question, _solved(step, random.Random(f"lesson one step {seed} {index}")))


def next_step(index: int, seed: int) -> Lesson:
    """A story of several steps, the values known so far told behind its question, and the one step that comes next.

    Where that step is not the last, the lesson stops after it and its end is not learnt.
    """
    rng = random.Random(f"lesson next step {seed} {index}")
    question = generate("language", index, seed).question
    reading = read(question)
    step = rng.choice(reading.steps)
    known = [capital(before.claim.format(value=before.result)) + "." for before in reading.steps[: step.index]]
    solved = _solved(step, rng, answered=step.index == len(reading.steps) - 1)
    return Lesson(f"next_step/{index}", " ".join([question, *known]), solved)


def _solved(step: Step, rng: random.Random, answered: bool = True) -> tuple[tuple[str, float], ...]:
    """The unit fact a step rests on, now and then; the step; the answer, or a silence of no weight."""
    style = draw_style(rng)
    fact = say_unit_fact(step) if rng.random() < 0.5 else ""
    answer = say_answer(step.result) if answered else ""
    said = (" ".join(text for text in (fact, say_step(step, style), answer) if text), 1.0)
    return (said,) if answered else (said, ("", 0.0))


def retelling(index: int, seed: int) -> Lesson:
    """The facts of a story, and the same facts in another order; what is learnt begins after the first name."""
    rng = random.Random(f"lesson retelling {seed} {index}")
    facts = grammar.sentences(generate("language", index, seed).question)[:-1]
    told = " ".join(facts)
    rng.shuffle(facts)
    parts: list[tuple[str, float]] = []
    for text in facts:
        words = text.split(" ")
        known = next((place for place, word in enumerate(words) if word in NAMES), 1) + 1
        parts += [(" ".join(words[:known]), 0.0), (" ".join(words[known:]), 1.0)]
    return Lesson(f"retelling/{index}", told, tuple(part for part in parts if part[0]))


def looking_up(index: int, seed: int) -> Lesson:
    """Two to five plain facts, then each number looked up by thing and person; mostly of one thing."""
    rng = random.Random(f"lesson looking up {seed} {index}")
    things = rng.sample(_THINGS, 1 if rng.random() < 0.6 else 2)
    held: dict[tuple[str, str], int] = {}
    while len(held) < rng.randint(2, 5):
        held[rng.choice(things), rng.choice(NAMES)] = rng.randint(2, 100)
    keys = list(held)
    facts = [
        rng.choice(FORMS["has"].trained).format(a=person, n=held[thing, person], o=thing) for thing, person in keys
    ]
    rng.shuffle(keys)
    parts: list[tuple[str, float]] = []
    for thing, person in keys:
        parts += [(f"The number of {thing} of {person} is", 0.0), (f"{held[thing, person]}.", 1.0)]
    return Lesson(f"looking_up/{index}", " ".join(facts), tuple(parts))


def looking_up_in_stories(index: int, seed: int) -> Lesson | None:
    """A whole story, and the numbers of its plain facts looked up by thing and person; None where it has none."""
    rng = random.Random(f"lesson looking up in stories {seed} {index}")
    question = generate("language", index, seed).question
    matches = [match for text in grammar.sentences(question) if (match := grammar.match(text)) is not None]
    held = [match.slots for match in matches if match.form.name == "has"]
    if not held:
        return None
    rng.shuffle(held)
    parts: list[tuple[str, float]] = []
    for slots in held:
        parts += [(f"The number of {slots['o']} of {slots['a']} is", 0.0), (f"{slots['n']}.", 1.0)]
    return Lesson(f"looking_up_in_stories/{index}", question, tuple(parts))


def equations(index: int, seed: int) -> Lesson:
    """True equations of the kinds and sizes that stories need; only results are learnt, since the rest is chance."""
    rng = random.Random(f"lesson equations {seed} {index}")
    parts: list[tuple[str, float]] = []
    for _ in range(8):
        left, result = _equation(rng)
        parts += [(f"{left} =", 0.0), (f"{result}.", 1.0)]
    return Lesson(f"equations/{index}", "", tuple(parts))


def _number(rng: random.Random) -> int:
    draw = rng.random()
    return rng.randint(2, 100) if draw < 0.8 else rng.randint(2, 20) if draw < 0.9 else rng.randint(100, 400)


def _usual(rng: random.Random) -> tuple[str, int]:
    operator = rng.choice("++--*/")
    if operator in "+-":
        first, second = _number(rng), _number(rng)
        if operator == "+":
            return f"{first} + {second}", first + second
        return f"{max(first, second)} - {min(first, second)}", abs(first - second)
    factor = rng.choice(_FACTORS)
    other = rng.randint(2, 15) if rng.random() < 0.5 else rng.randint(2, 60)
    if operator == "/":
        return f"{factor * other} / {factor}", other
    first, second = (factor, other) if rng.random() < 0.5 else (other, factor)
    return f"{first} * {second}", factor * other


def _equation(rng: random.Random) -> tuple[str, int]:
    draw = rng.random()
    if draw < 0.5:
        return _usual(rng)
    if draw < 0.75:
        first, second, third = (rng.randint(2, 100) for _ in range(3))
        return f"{first} + {second} + {third}", first + second + third
    factor, other = rng.randint(2, 12), rng.randint(2, 100)
    if draw < 0.88:
        return f"{factor * other} / {factor}", other
    first, second = (factor, other) if rng.random() < 0.5 else (other, factor)
    return f"{first} * {second}", factor * other
