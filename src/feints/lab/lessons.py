"""What the nano student reads before its first distillation: language and arithmetic of one step, never more."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from feints.lab import grammar
from feints.lab.lexicon import COUNTED, NAMES
from feints.lab.questions import FORMS
from feints.lab.reader import read
from feints.lab.reading import Reading, Step
from feints.lab.vocabulary import tokens
from feints.lab.wording import STEP_SENTENCES, capital, say_answer, say_step, say_unit_fact
from feints.lab.world import generate

_STYLE_WEIGHTS = tuple(1 / len(tokens(template)) ** 2 for template in STEP_SENTENCES)
"""Short wordings are likelier, as with the teacher."""
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


def stated_step(index: int, seed: int) -> Lesson | None:
    """One step of a longer story in which every value the step rests on is told, and only that step.

    None where the step drawn rests on no other: such problems belong to the split of one-step problems.
    """
    rng = random.Random(f"lesson stated step {seed} {index}")
    question = generate("language", index, seed).question
    reading = read(question)
    step = rng.choice(reading.steps)
    if not step.needs:
        return None
    return Lesson(f"stated_step/{index}", _told(reading, step), _solved(step, rng))


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


def _told(reading: Reading, step: Step) -> str:
    """The story up to a step, the values it rests on told where they came about, and the question for its result."""
    texts = [fact.text for fact in reading.facts]
    last = step.index == len(reading.steps) - 1
    end = len(texts) if last or step.fact < 0 else max([step.fact, *_own_facts(reading, step)]) + 1
    for needed in step.needs:
        before = reading.steps[needed]
        # A value stands right before the event that changes it, or where nothing does, before the question.
        place = step.fact if 0 <= step.fact < end and before.fact != step.fact else end
        texts.insert(place, capital(before.claim.format(value=before.result)) + ".")
        end += 1
    asked = reading.core_question if last else f"What is the number of {step.phrase}?"
    return " ".join([*texts[:end], asked])


def _own_facts(reading: Reading, step: Step) -> list[int]:
    """Places of every fact that a step or one it rests on reads a number from."""
    steps = [step, *(reading.steps[needed] for needed in step.needs)]
    return [operand.index for each in steps for operand in each.operands if operand.origin == "fact"]


def _solved(step: Step, rng: random.Random, answered: bool = True) -> tuple[tuple[str, float], ...]:
    """The unit fact a step rests on, now and then; the step; the answer, or a silence of no weight."""
    style = rng.choices(range(len(STEP_SENTENCES)), _STYLE_WEIGHTS)[0]
    fact = say_unit_fact(step) if rng.random() < 0.5 else ""
    answer = say_answer(step.result) if answered else ""
    said = (" ".join(text for text in (fact, say_step(step, style), answer) if text), 1.0)
    return (said,) if answered else (said, ("", 0.0))


def reading_back(index: int, seed: int) -> Lesson | None:
    """A story, and questions for numbers that are told in it; None where it tells fewer than two."""
    rng = random.Random(f"lesson reading back {seed} {index}")
    question = generate("language", index, seed).question
    matches = [match for text in grammar.sentences(question) if (match := grammar.match(text)) is not None]
    held = [match.slots for match in matches if match.form.name == "has"]
    if len(held) < 2:
        return None
    rng.shuffle(held)
    parts: list[tuple[str, float]] = []
    for slots in held:
        parts.append((f"{slots['a']} has", 0.1))
        parts.append((f"{slots['n']} {slots['o']}.", 1.0))
    return Lesson(f"reading_back/{index}", question, tuple(parts))


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
    return _equations(f"equations/{index}", random.Random(f"lesson equations {seed} {index}"), _equation)


def harder_equations(index: int, seed: int) -> Lesson:
    """As `equations`, with sums of three numbers and larger factors."""
    return _equations(f"harder/{index}", random.Random(f"lesson harder equations {seed} {index}"), _harder_equation)


def _equations(name: str, rng: random.Random, draw: Callable[[random.Random], tuple[str, int]]) -> Lesson:
    parts: list[tuple[str, float]] = []
    for _ in range(8):
        left, result = draw(rng)
        parts += [(f"{left} =", 0.0), (f"{result}.", 1.0)]
    return Lesson(name, "", tuple(parts))


def _number(rng: random.Random) -> int:
    draw = rng.random()
    return rng.randint(2, 100) if draw < 0.8 else rng.randint(2, 20) if draw < 0.9 else rng.randint(100, 400)


def _equation(rng: random.Random) -> tuple[str, int]:
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


def _harder_equation(rng: random.Random) -> tuple[str, int]:
    draw = rng.random()
    if draw < 0.5:
        return _equation(rng)
    if draw < 0.75:
        first, second, third = (rng.randint(2, 100) for _ in range(3))
        return f"{first} + {second} + {third}", first + second + third
    factor, other = rng.randint(2, 12), rng.randint(2, 100)
    if draw < 0.88:
        return f"{factor * other} / {factor}", other
    first, second = (factor, other) if rng.random() < 0.5 else (other, factor)
    return f"{first} * {second}", factor * other
