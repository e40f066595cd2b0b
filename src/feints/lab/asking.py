"""What each question of the lab's grammar asks of the story."""

from __future__ import annotations

from collections.abc import Callable

from feints.errors import DataError
from feints.lab.meaning import MONEY, fraction_of, percent_of
from feints.lab.reading import Operand
from feints.lab.story import Story, Told


def _listed(persons: tuple[str, ...]) -> str:
    return f"{', '.join(persons[:-1])} and {persons[-1]}"


def _together(story: Story, told: Told, count: int) -> Operand:
    persons = tuple(told.slots[slot] for slot in "abc"[:count])
    thing = told.thing
    return story.step(
        told,
        "+" * (count - 1),
        tuple(story.get(person, thing) for person in persons),
        claim=f"{_listed(persons)} have {{value}} {thing} together",
        unit=thing,
        name=f"total {thing}",
        phrase=f"{thing} {_listed(persons)} have together",
    )


def _count(story: Story, told: Told) -> Operand:
    return story.get(told.slots["a"], told.thing)


def _total2(story: Story, told: Told) -> Operand:
    return _together(story, told, 2)


def _total3(story: Story, told: Told) -> Operand:
    return _together(story, told, 3)


def _average(story: Story, told: Told, count: int) -> Operand:
    total = _together(story, told, count)
    return story.step(
        told,
        "/",
        (total, told.operand(count)),
        claim=f"the average is {{value}} {told.thing}",
        unit=told.thing,
        name=f"average {told.thing}",
        phrase=f"{told.thing} on average",
    )


def _average2(story: Story, told: Told) -> Operand:
    return _average(story, told, 2)


def _average3(story: Story, told: Told) -> Operand:
    return _average(story, told, 3)


def _difference(story: Story, told: Told, word: str) -> Operand:
    high, low, thing = told.slots["a"], told.slots["b"], told.thing
    one, other = (high, low) if word == "more" else (low, high)
    return story.step(
        told,
        "-",
        (story.get(high, thing), story.get(low, thing)),
        claim=f"{one} has {{value}} {word} {thing} than {other}",
        unit=thing,
        name=f"difference in {thing}",
        phrase=f"{thing} {one} has {word} than {other}",
    )


def _how_many_more(story: Story, told: Told) -> Operand:
    return _difference(story, told, "more")


def _how_many_fewer(story: Story, told: Told) -> Operand:
    return _difference(story, told, "fewer")


def _groups(story: Story, told: Told) -> Operand:
    person, thing, containers = told.slots["a"], told.thing, told.slots["k"]
    return story.step(
        told,
        "/",
        (story.get(person, thing), told.number("n")),
        claim=f"{person} fills {{value}} {containers}",
        unit=containers,
        name=f"{containers} of {person}",
        phrase=f"{containers} {person} fills",
    )


def _share_out(story: Story, told: Told) -> Operand:
    person, thing = told.slots["a"], told.thing
    return story.step(
        told,
        "/",
        (story.get(person, thing), told.number("n")),
        claim=f"each friend gets {{value}} {thing}",
        unit=thing,
        name=f"{thing} per friend",
        phrase=f"{thing} each friend gets",
    )


def _cost(story: Story, told: Told) -> Operand:
    person, thing = told.slots["a"], told.thing
    if thing not in story.prices:
        raise DataError(f"the text tells no price of {thing}, which {told.text!r} needs")
    return story.step(
        told,
        "*",
        (story.get(person, thing), story.prices[thing]),
        claim=f"the {thing} of {person} cost {{value}} {MONEY}",
        unit=MONEY,
        name=f"cost of {thing}",
        phrase=f"{MONEY} the {thing} of {person} cost",
        kind="price",
    )


def _change(story: Story, told: Told) -> Operand:
    cost = _cost(story, told)
    return story.step(
        told,
        "-",
        (told.number("n"), cost),
        claim=f"{told.slots['a']} gets back {{value}} {MONEY}",
        unit=MONEY,
        name="change",
        phrase=f"{MONEY} {told.slots['a']} gets back",
    )


def _days(story: Story, told: Told) -> Operand:
    person, thing, periods = told.slots["a"], told.thing, told.slots["v"]
    return story.step(
        told,
        "/",
        (story.get(person, thing), told.number("n")),
        claim=f"the {thing} of {person} last {{value}} {periods}",
        unit=periods,
        name=periods,
        phrase=f"{periods} the {thing} of {person} last",
    )


ASKED: dict[str, Callable[[Story, Told], Operand]] = {
    "count": _count,
    "total2": _total2,
    "total3": _total3,
    "how_many_more": _how_many_more,
    "how_many_fewer": _how_many_fewer,
    "average2": _average2,
    "average3": _average3,
    "groups": _groups,
    "share_out": _share_out,
    "cost": _cost,
    "change": _change,
    "days": _days,
    "fraction_of": fraction_of,
    "percent_of": percent_of,
}
"""Form of a question -> its answer."""
