"""Solves any problem of the lab from its text alone."""

from __future__ import annotations

import re
from dataclasses import replace

from feints.errors import DataError
from feints.lab import grammar
from feints.lab.asking import ASKED
from feints.lab.events import RELATIONS
from feints.lab.lexicon import NAMES
from feints.lab.meaning import EFFECTS
from feints.lab.reading import Fact, Reading, Step
from feints.lab.story import Story, Told

_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"\b(?:" + "|".join(NAMES) + r")\b")


def _parse(question: str) -> tuple[list[Told], Told]:
    """Facts and question of a text."""
    told: list[Told] = []
    for place, text in enumerate(grammar.sentences(question)):
        match = grammar.match(text)
        if match is None:
            raise DataError(f"sentence {place + 1} is not in the lab's grammar: {text!r}; see feints.lab.events")
        told.append(Told(place, text, match.form, match.slots, match.now))
    if [item.form.block == "question" for item in told] != [False] * (len(told) - 1) + [True]:
        raise DataError(f"a lab problem ends with its one question; found otherwise in {question!r}")
    return told[:-1], told[-1]._replace(place=-1)


def _begin(story: Story, facts: list[Told]) -> None:
    """Settle what holds at the start: plain facts, then comparisons until none can be resolved."""
    starts = [told for told in facts if told.form.block == "start" and not told.now]
    for told in starts:
        if told.form.name not in RELATIONS:
            EFFECTS[told.form.name](story, told)
    waiting = [told for told in starts if told.form.name in RELATIONS]
    while waiting:
        ready = [
            told
            for told in waiting
            if story.known(told.slots["a"], told.thing) or story.known(told.slots["b"], told.thing)
        ]
        for told in ready:
            EFFECTS[told.form.name](story, told)
        if not ready:
            return
        waiting = [told for told in waiting if told not in ready]


def _distinct(names: list[str]) -> list[str]:
    """The names, the second "x" as "x_2" and so on."""
    return [name if (n := names[: place + 1].count(name)) == 1 else f"{name}_{n}" for place, name in enumerate(names)]


def _select(steps: list[Step], last: int) -> tuple[Step, ...]:
    """The steps that `last` depends on, itself included, numbered anew in the order of the story."""
    needed, todo = set[int](), [last]
    while todo:
        index = todo.pop()
        if index not in needed:
            needed.add(index)
            todo.extend(steps[index].needs)
    place = {old: new for new, old in enumerate(sorted(needed))}
    names = _distinct([steps[old].name for old in place])
    return tuple(
        replace(
            steps[old],
            index=new,
            name=names[new],
            operands=tuple(
                replace(operand, index=place[operand.index]) if operand.origin == "step" else operand
                for operand in steps[old].operands
            ),
        )
        for old, new in place.items()
    )


def read(question: str) -> Reading:
    """Read and solve a problem from its text alone.

    Raises:
        DataError: a sentence is not in the grammar, or the text does not determine the answer.
    """
    facts, asked = _parse(question)
    story = Story()
    _begin(story, facts)
    for told in facts:
        if told.form.name == "price":
            story.prices[told.thing] = told.number("n")
    for told in facts:
        if told.form.block == "event" or told.now:
            EFFECTS[told.form.name](story, told)
    answer = ASKED[asked.form.name](story, asked)
    if answer.origin != "step":
        raise DataError(f"the question needs no arithmetic: {asked.text!r}; a lab problem has at least one step")
    steps = _select(story.steps, answer.index)
    used = {step.fact for step in steps}
    used |= {operand.index for step in steps for operand in step.operands if operand.origin == "fact"}
    return Reading(
        facts=tuple(
            Fact(
                index=told.place,
                text=told.text,
                kind=told.form.kind,
                form=told.form.name,
                numbers=tuple(int(number) for number in _NUMBER.findall(told.text)),
                persons=tuple(dict.fromkeys(_NAME.findall(told.text))),
                unit=told.thing,
                relevant=told.place in used,
            )
            for told in facts
        ),
        core_question=asked.text,
        question_form=asked.form.name,
        steps=steps,
        answer=steps[-1].result,
        answer_unit=steps[-1].unit,
    )
