"""What each form of the lab's grammar means: what a fact does to the story, what a question asks of it."""

from __future__ import annotations

from collections.abc import Callable

from feints.errors import DataError
from feints.lab.lexicon import DOLLARS, PERCENT, PERIOD_BY_MANY, PERIOD_FACTS, THING_BY_BIG, UnitFact
from feints.lab.reading import Operand
from feints.lab.story import Story, Told, unit_operand

MONEY = DOLLARS.many


def _percent_fact(told: Told) -> UnitFact:
    percent = int(told.slots["n"])
    if percent not in PERCENT:
        raise DataError(f"{percent} percent in {told.text!r} is not in the lab's grammar; use one of {sorted(PERCENT)}")
    return PERCENT[percent]


def _small_units(story: Story, told: Told) -> Operand:
    """So many dozen, feet ... in the small unit."""
    big = told.slots["q"]
    thing = THING_BY_BIG[big]
    if thing.unit_fact is None:
        raise DataError(f"{big} has no small unit")
    count = told.number("n")
    return story.step(
        told,
        "*",
        (count, unit_operand(thing.unit_fact)),
        claim=f"{count.value} {big} are {{value}} {thing.many}",
        unit=thing.many,
        name=f"{thing.many} from {thing.unit_fact.name}",
        phrase=f"{thing.many} in {count.value} {big}",
        unit_fact=thing.unit_fact,
    )


def _packed(story: Story, told: Told) -> Operand:
    """So many containers with so many in each."""
    thing, containers = told.thing, told.slots["k"]
    return story.step(
        told,
        "*",
        (told.number("n"), told.number("m")),
        claim=f"the {containers} hold {{value}} {thing}",
        unit=thing,
        name=f"{thing} in {containers}",
        phrase=f"{thing} in the {containers}",
    )


def _at_a_rate(story: Story, told: Told, verb: str) -> Operand:
    """So many per period for so many periods, converted where the periods differ."""
    person, thing, small, many = told.slots["a"], told.thing, told.slots["w"], told.slots["v"]
    count = told.number("m")
    large = PERIOD_BY_MANY[many]
    if large != small:
        fact = PERIOD_FACTS.get((small, large))
        if fact is None:
            raise DataError(f"the lab knows no number of {small}s in a {large}, as {told.text!r} needs")
        count = story.step(
            told,
            "*",
            (count, unit_operand(fact)),
            claim=f"{count.value} {many} are {{value}} {small}s",
            unit=f"{small}s",
            name=f"{small}s of {person}",
            phrase=f"{small}s in {count.value} {many}",
            unit_fact=fact,
            kind="unit",
        )
    return story.step(
        told,
        "*",
        (told.number("n"), count),
        claim=f"in that time {person} {verb} {{value}} {thing}",
        unit=thing,
        name=f"{thing} in that time",
        phrase=f"{thing} {person} {verb} in that time",
    )


def _has(story: Story, told: Told) -> None:
    story.put(told.slots["a"], told.thing, told.number("n"))


def _has_big(story: Story, told: Told) -> None:
    story.put(told.slots["a"], told.thing, _small_units(story, told))


def _has_packs(story: Story, told: Told) -> None:
    story.put(told.slots["a"], told.thing, _packed(story, told))


def _relation(forward: str, backward: str, slot: str = "n") -> Callable[[Story, Told], None]:
    """`b` stands to `a` as told: from `a` the number of `b` follows, or the other way about."""

    def settle(story: Story, told: Told) -> None:
        first, second, thing = told.slots["a"], told.slots["b"], told.thing
        amount = told.number(slot)
        if story.known(first, thing) and not story.known(second, thing):
            story.hold(told, forward, (story.get(first, thing), amount), second, thing)
        elif story.known(second, thing) and not story.known(first, thing):
            story.hold(told, backward, (story.get(second, thing), amount), first, thing)

    return settle


def _percent_as(story: Story, told: Told) -> None:
    first, second, thing = told.slots["a"], told.slots["b"], told.thing
    fact = _percent_fact(told)
    if story.known(first, thing):
        story.hold(told, "/", (story.get(first, thing), unit_operand(fact)), second, thing, fact)


def _gain(story: Story, told: Told) -> None:
    story.receive(told, told.slots["a"], told.thing, told.number("n"))


def _gain_big(story: Story, told: Told) -> None:
    story.receive(told, told.slots["a"], told.thing, _small_units(story, told))


def _gain_packs(story: Story, told: Told) -> None:
    story.receive(told, told.slots["a"], told.thing, _packed(story, told))


def _lose(story: Story, told: Told) -> None:
    story.part_with(told, told.slots["a"], told.thing, told.number("n"))


def _give(story: Story, told: Told) -> None:
    story.part_with(told, told.slots["a"], told.thing, told.number("n"))
    story.receive(told, told.slots["b"], told.thing, told.number("n"))


def _join(story: Story, told: Told) -> None:
    giver, taker, thing = told.slots["a"], told.slots["b"], told.thing
    if story.known(giver, thing) and story.known(taker, thing):
        story.hold(told, "+", (story.get(taker, thing), story.get(giver, thing)), taker, thing)
    else:
        story.put(taker, thing, None)
    story.put(giver, thing, None)


def _rate_gain(story: Story, told: Told) -> None:
    story.receive(told, told.slots["a"], told.thing, _at_a_rate(story, told, "gets"))


def _rate_lose(story: Story, told: Told) -> None:
    story.part_with(told, told.slots["a"], told.thing, _at_a_rate(story, told, "loses"))


def _scale(operator: str, slot: str) -> Callable[[Story, Told], None]:
    """What `a` has is multiplied or divided."""

    def settle(story: Story, told: Told) -> None:
        person, thing = told.slots["a"], told.thing
        if story.known(person, thing):
            story.hold(told, operator, (story.get(person, thing), told.number(slot)), person, thing)

    return settle


def fraction_of(story: Story, told: Told) -> Operand:
    """A fraction of what `a` has."""
    thing = told.thing
    return story.step(
        told,
        "/",
        (story.get(told.slots["a"], thing), told.number("f")),
        claim=f"{told.slots['f']} of the {thing} is {{value}} {thing}",
        unit=thing,
        name=f"part of {thing}",
        phrase=f"{thing} in {told.slots['f']} of them",
    )


def percent_of(story: Story, told: Told) -> Operand:
    """A percentage of what `a` has."""
    thing, fact = told.thing, _percent_fact(told)
    return story.step(
        told,
        "/",
        (story.get(told.slots["a"], thing), unit_operand(fact)),
        claim=f"{fact.name} of the {thing} is {{value}} {thing}",
        unit=thing,
        name=f"part of {thing}",
        phrase=f"{thing} in {fact.name} of them",
        unit_fact=fact,
    )


def _part(take: Callable[[Story, Told], Operand], gained: bool) -> Callable[[Story, Told], None]:
    """A part of what `a` has is lost, or gained on top."""

    def settle(story: Story, told: Told) -> None:
        person, thing = told.slots["a"], told.thing
        if story.known(person, thing):
            (story.receive if gained else story.part_with)(told, person, thing, take(story, told))

    return settle


def _sell(story: Story, told: Told) -> None:
    person, thing = told.slots["a"], told.thing
    if not story.known(person, thing):
        story.put(person, MONEY, None)
        return
    earned = story.step(
        told,
        "*",
        (story.get(person, thing), told.number("n")),
        claim=f"{person} gets {{value}} {MONEY} for the {thing}",
        unit=MONEY,
        name=f"{MONEY} for {thing}",
        phrase=f"{MONEY} {person} gets for the {thing}",
    )
    story.put(person, thing, None)
    story.receive(told, person, MONEY, earned)


def _purchase(story: Story, told: Told) -> None:
    person, thing = told.slots["a"], told.thing
    paid = story.step(
        told,
        "*",
        (told.number("n"), told.number("m")),
        claim=f"the {thing} cost {{value}} {MONEY}",
        unit=MONEY,
        name=f"cost of {thing}",
        phrase=f"{MONEY} the {thing} cost",
    )
    story.part_with(told, person, MONEY, paid)
    story.receive(told, person, thing, told.number("n"))


EFFECTS: dict[str, Callable[[Story, Told], None]] = {
    "has": _has,
    "has_big": _has_big,
    "has_packs": _has_packs,
    "more": _relation("+", "-"),
    "fewer": _relation("-", "+"),
    "times_as": _relation("*", "/", "t"),
    "fraction_as": _relation("/", "*", "f"),
    "percent_as": _percent_as,
    "gain": _gain,
    "gain_big": _gain_big,
    "gain_packs": _gain_packs,
    "lose": _lose,
    "give": _give,
    "join": _join,
    "rate_gain": _rate_gain,
    "rate_lose": _rate_lose,
    "times_event": _scale("*", "t"),
    "times_verb": _scale("*", "d"),
    "share_event": _scale("/", "n"),
    "fraction_lose": _part(fraction_of, gained=False),
    "fraction_keep": _scale("/", "f"),
    "percent_lose": _part(percent_of, gained=False),
    "percent_gain": _part(percent_of, gained=True),
    "sell": _sell,
    "purchase": _purchase,
}
"""Form of a fact -> what it does to the story (timeless facts do nothing)."""
