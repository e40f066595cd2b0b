"""The moves of the lab's planner: each tells an event that changes what the person in focus has, or moves the focus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feints.lab.lexicon import (
    CONTAINERS,
    COUNTED,
    DOLLARS,
    FRACTIONS,
    MULTIPLY_VERBS,
    PERCENT,
    PERIOD_FACTS,
    PERIODS,
    TIMES,
)
from feints.lab.plan import LARGEST, USUAL, Amount, InfeasibleError, Plan

RATE_PERIODS = ("minute", "hour", "day", "week", "month")
ROUND = (12, 15, 16, 18, 20, 24, 28, 30, 32, 35, 36, 40, 42, 45, 48, 50, 54, 56, 60, 64, 70, 72, 80, 90, 96, 100)
"""Starting numbers with many divisors, drawn half of the time so that division is often possible."""


def pick_divisor(plan: Plan, value: int, among: range | list[int]) -> int:
    """A divisor of `value` that leaves at least two."""
    fitting = [divisor for divisor in among if value % divisor == 0 and value // divisor >= 2]
    if not fitting:
        raise InfeasibleError
    return plan.rng.choice(fitting)


def start_number(plan: Plan) -> int:
    """A number to begin with."""
    return plan.rng.choice(ROUND) if plan.rng.random() < 0.5 else plan.rng.randint(3, 60)


# -- beginnings: the person in focus gets a first amount --------------------------------------------


def begin_plain(plan: Plan) -> None:
    """A told number; no step."""
    value = start_number(plan)
    bit = plan.tell("has", a=plan.focus, n=value, o=plan.thing.many)
    plan.put(plan.fact(value, bit), changed=False)


def begin_big(plan: Plan) -> None:
    """A number of dozens, feet ...; one step."""
    amount = _big(plan, "has_big")
    plan.put(amount, changed=False)


def begin_packs(plan: Plan) -> None:
    """Containers with some in each; one step."""
    plan.put(_packs(plan, "has_packs"), changed=False)


def begin_rate(plan: Plan) -> None:
    """Somebody starts from nothing and collects; one step, two with a unit fact."""
    plan.put(_rate(plan, "rate_gain", convert=False))


def begin_rate_converted(plan: Plan) -> None:
    """The same with periods to be converted."""
    plan.put(_rate(plan, "rate_gain", convert=True))


def _big(plan: Plan, form: str) -> Amount:
    thing = plan.thing
    if thing.unit_fact is None:
        raise InfeasibleError
    count = plan.rng.randint(2, 5 if thing.unit_fact.value > 16 else 9)
    bit = plan.tell(form, a=plan.focus, n=count, q=thing.big)
    return plan.step("unit", count * thing.unit_fact.value, facts=bit, limit=LARGEST)


def _packs(plan: Plan, form: str) -> Amount:
    if plan.thing.sort not in ("count", "matter"):
        raise InfeasibleError
    count, each = plan.rng.randint(2, 9), plan.rng.randint(2, 12)
    container = plan.rng.choice(list(CONTAINERS))
    bit = plan.tell(form, a=plan.focus, n=count, m=each, k=CONTAINERS[container], o=plan.thing.many)
    return plan.step("packs", count * each, facts=bit)


def _rate(plan: Plan, form: str, convert: bool, most: int = USUAL) -> Amount:
    """So many per period; `most` bounds the product."""
    if plan.thing.sort == "time":
        raise InfeasibleError
    each, count = plan.rng.randint(2, 9), plan.rng.randint(2, 9)
    if not convert:
        period = plan.rng.choice(RATE_PERIODS)
        if each * count > most:
            raise InfeasibleError
        bit = plan.tell(form, a=plan.focus, n=each, w=period, m=count, v=PERIODS[period], o=plan.thing.many)
        return plan.step("rate", each * count, facts=bit)
    (small, large), fact = plan.rng.choice(list(PERIOD_FACTS.items()))
    each, count = plan.rng.randint(2, 5), plan.rng.randint(2, 4)
    if each * count * fact.value > min(most, 2 * USUAL):
        raise InfeasibleError
    bit = plan.tell(form, a=plan.focus, n=each, w=small, m=count, v=PERIODS[large], o=plan.thing.many)
    periods = plan.step("unit", count * fact.value, facts=bit)
    return plan.step("rate", each * periods.value, periods, facts=bit, limit=2 * USUAL)


# -- events on the person in focus -------------------------------------------------------------------


def gain(plan: Plan) -> None:
    """Some more."""
    mine, more = plan.mine(), plan.rng.randint(2, 40)
    bit = plan.tell("gain", a=plan.focus, n=more, o=plan.thing.many)
    plan.put(plan.step("gain", mine.value + more, mine, facts=bit))


def lose(plan: Plan) -> None:
    """Some fewer."""
    mine = plan.mine()
    if mine.value < 5:
        raise InfeasibleError
    less = plan.rng.randint(2, min(mine.value - 2, 40))
    bit = plan.tell("lose", a=plan.focus, n=less, o=plan.thing.many)
    plan.put(plan.step("lose", mine.value - less, mine, facts=bit))


def give(plan: Plan) -> None:
    """Some pass from the person in focus to another one, or the other way about."""
    mine = plan.mine()
    others = plan.others()
    other = plan.rng.choice(others) if others and plan.rng.random() < 0.6 else plan.stranger()
    theirs = plan.has(other)
    giving = plan.rng.random() < 0.5
    giver = mine if giving else theirs
    if giver is not None and giver.value < 5:
        raise InfeasibleError
    count = plan.rng.randint(2, min(giver.value - 2, 40) if giver is not None else 40)
    names = (plan.focus, other) if giving else (other, plan.focus)
    bit = plan.tell("give", a=names[0], b=names[1], n=count, o=plan.thing.many)
    plan.put(plan.step("give", mine.value + (-count if giving else count), mine, facts=bit))
    if theirs is not None:
        plan.put(plan.step("give", theirs.value + (count if giving else -count), theirs, facts=bit), other)
    elif giving:
        plan.put(plan.fact(count, bit), other)
    if theirs is not None and plan.rng.random() < 0.3:
        plan.focus = other


def join(plan: Plan) -> None:
    """Another person hands everything over to the one in focus."""
    mine = plan.mine()
    others = plan.others()
    if others:
        other = plan.rng.choice(others)
        theirs = plan.amounts[other, plan.thing.many]
    else:
        other, value = plan.stranger(), start_number(plan)
        theirs = plan.fact(value, plan.tell("has", a=other, n=value, o=plan.thing.many))
    bit = plan.tell("join", a=other, b=plan.focus, o=plan.thing.many)
    plan.put(plan.step("join", mine.value + theirs.value, mine, theirs, facts=bit))
    plan.drop(other)


def gain_packs(plan: Plan) -> None:
    """Some more, in containers; two steps."""
    mine = plan.mine()
    packs = _packs(plan, "gain_packs")
    plan.put(plan.step("packs", mine.value + packs.value, mine, packs))


def gain_big(plan: Plan) -> None:
    """Some more, in dozens, feet ...; two steps."""
    mine = plan.mine()
    big = _big(plan, "gain_big")
    plan.put(plan.step("unit", mine.value + big.value, mine, big, limit=2 * USUAL))


def rate_gain(plan: Plan) -> None:
    """Some more every hour, day ...; two steps."""
    mine = plan.mine()
    gained = _rate(plan, "rate_gain", convert=False)
    plan.put(plan.step("rate", mine.value + gained.value, mine, gained))


def rate_gain_converted(plan: Plan) -> None:
    """The same with periods to be converted; three steps."""
    mine = plan.mine()
    gained = _rate(plan, "rate_gain", convert=True)
    plan.put(plan.step("rate", mine.value + gained.value, mine, gained, limit=2 * USUAL))


def rate_lose(plan: Plan) -> None:
    """Some fewer every hour, day ...; two steps."""
    mine = plan.mine()
    lost = _rate(plan, "rate_lose", convert=False, most=mine.value - 2)
    plan.put(plan.step("rate", mine.value - lost.value, mine, lost))


def times(plan: Plan) -> None:
    """Twice as many as before, in one of two forms."""
    mine = plan.mine()
    if mine.value > 60:
        raise InfeasibleError
    if plan.rng.random() < 0.4:
        verb = plan.rng.choice(list(MULTIPLY_VERBS))
        factor = MULTIPLY_VERBS[verb]
        bit = plan.tell("times_verb", a=plan.focus, d=verb, o=plan.thing.many)
    else:
        word = plan.rng.choice(list(TIMES))
        factor = TIMES[word]
        bit = plan.tell("times_event", a=plan.focus, t=word, o=plan.thing.many)
    plan.put(plan.step("times", mine.value * factor, mine, facts=bit))


def share(plan: Plan) -> None:
    """Equal parts, one of which is kept."""
    mine = plan.mine()
    parts = pick_divisor(plan, mine.value, range(2, 10))
    bit = plan.tell("share_event", a=plan.focus, n=parts, o=plan.thing.many)
    plan.put(plan.step("share", mine.value // parts, mine, facts=bit))


def fraction_lose(plan: Plan) -> None:
    """A half, a third ... is lost; two steps."""
    mine = plan.mine()
    divisor = pick_divisor(plan, mine.value, range(2, 6))
    word = next(word for word, value in FRACTIONS.items() if value == divisor)
    bit = plan.tell("fraction_lose", a=plan.focus, f=word, o=plan.thing.many)
    part = plan.step("fraction", mine.value // divisor, mine, facts=bit)
    plan.put(plan.step("fraction", mine.value - part.value, mine, part))


def fraction_keep(plan: Plan) -> None:
    """Only a half, a third ... is kept."""
    mine = plan.mine()
    divisor = pick_divisor(plan, mine.value, range(2, 6))
    word = next(word for word, value in FRACTIONS.items() if value == divisor)
    bit = plan.tell("fraction_keep", a=plan.focus, f=word, o=plan.thing.many)
    plan.put(plan.step("fraction", mine.value // divisor, mine, facts=bit))


def percent(plan: Plan) -> None:
    """A percentage is lost, or gained; two steps."""
    mine = plan.mine()
    divisor = pick_divisor(plan, mine.value, [fact.value for fact in PERCENT.values()])
    gained = plan.rng.random() < 0.4
    bit = plan.tell("percent_gain" if gained else "percent_lose", a=plan.focus, n=100 // divisor, o=plan.thing.many)
    part = plan.step("percent", mine.value // divisor, mine, facts=bit)
    plan.put(plan.step("percent", mine.value + (part.value if gained else -part.value), mine, part))


def sell(plan: Plan) -> None:
    """All are sold; from now on the story is about dollars."""
    mine = plan.mine()
    if plan.thing.sort not in ("count", "matter") or mine.value > 60 or plan.has(plan.focus, DOLLARS):
        raise InfeasibleError
    price = plan.rng.randint(2, 9)
    bit = plan.tell("sell", a=plan.focus, n=price, s=plan.thing.one, o=plan.thing.many)
    earned = plan.step("price", mine.value * price, mine, facts=bit, limit=2 * USUAL)
    plan.drop(plan.focus)
    plan.thing = DOLLARS
    plan.put(earned)


def purchase(plan: Plan) -> None:
    """Something is bought with the dollars in focus; two steps."""
    mine = plan.mine()
    if plan.thing is not DOLLARS:
        raise InfeasibleError
    count, price, good = plan.rng.randint(2, 9), plan.rng.randint(2, 9), plan.rng.choice(COUNTED)
    if count * price > mine.value - 2 or plan.has(plan.focus, good):
        raise InfeasibleError
    bit = plan.tell("purchase", a=plan.focus, n=count, m=price, s=good.one, o=good.many)
    cost = plan.step("price", count * price, facts=bit)
    plan.put(plan.fact(count, bit), thing=good)
    plan.put(plan.step("price", mine.value - cost.value, mine, cost, limit=2 * USUAL))


# -- comparisons: the focus moves to another person ---------------------------------------------------


def _relate(plan: Plan, reversible: bool) -> tuple[Amount, str, bool, bool]:
    """Amount in focus, the new person, whether the sentence runs backwards, whether it speaks of now."""
    now = (plan.focus, plan.thing.many) in plan.touched
    backwards = reversible and plan.rng.random() < 0.35
    return plan.mine(), plan.stranger(), backwards, now


def _settle(plan: Plan, amount: Amount, other: str, now: bool) -> None:
    plan.put(amount, other, changed=now)
    plan.focus = other


def compare(plan: Plan) -> None:
    """More or fewer than; backwards the person in focus is the one compared."""
    mine, other, backwards, now = _relate(plan, reversible=True)
    more = plan.rng.random() < 0.5
    grows = more != backwards
    if not grows and mine.value < 5:
        raise InfeasibleError
    count = plan.rng.randint(2, 40 if grows else min(mine.value - 2, 40))
    a, b = (other, plan.focus) if backwards else (plan.focus, other)
    bit = plan.relate("more" if more else "fewer", now, a=a, b=b, n=count, o=plan.thing.many)
    _settle(plan, plan.step("compare", mine.value + (count if grows else -count), mine, facts=bit), other, now)


def compare_times(plan: Plan) -> None:
    """Twice as many as; backwards it divides."""
    mine, other, backwards, now = _relate(plan, reversible=True)
    factor = pick_divisor(plan, mine.value, range(2, 6)) if backwards else plan.rng.randint(2, 5)
    if not backwards and mine.value > 60:
        raise InfeasibleError
    word = next(word for word, value in TIMES.items() if value == factor)
    a, b = (other, plan.focus) if backwards else (plan.focus, other)
    bit = plan.relate("times_as", now, a=a, b=b, t=word, o=plan.thing.many)
    value = mine.value // factor if backwards else mine.value * factor
    _settle(plan, plan.step("times", value, mine, facts=bit), other, now)


def compare_fraction(plan: Plan) -> None:
    """Half as many as; backwards it multiplies."""
    mine, other, backwards, now = _relate(plan, reversible=True)
    divisor = plan.rng.randint(2, 5) if backwards else pick_divisor(plan, mine.value, range(2, 6))
    if backwards and mine.value > 60:
        raise InfeasibleError
    word = next(word for word, value in FRACTIONS.items() if value == divisor)
    a, b = (other, plan.focus) if backwards else (plan.focus, other)
    bit = plan.relate("fraction_as", now, a=a, b=b, f=word, o=plan.thing.many)
    value = mine.value * divisor if backwards else mine.value // divisor
    _settle(plan, plan.step("fraction", value, mine, facts=bit), other, now)


def compare_percent(plan: Plan) -> None:
    """25 percent as many as."""
    mine, other, _, now = _relate(plan, reversible=False)
    divisor = pick_divisor(plan, mine.value, [fact.value for fact in PERCENT.values()])
    bit = plan.relate("percent_as", now, a=plan.focus, b=other, n=100 // divisor, o=plan.thing.many)
    _settle(plan, plan.step("percent", mine.value // divisor, mine, facts=bit), other, now)


@dataclass(frozen=True, slots=True)
class Move:
    """A move, what it costs, how often it is tried."""

    play: Callable[[Plan], None]
    steps: int
    """Steps it adds to what the person in focus has."""
    weight: float
    """Relative frequency."""


BEGINNINGS = (
    Move(begin_plain, 0, 6.0),
    Move(begin_packs, 1, 1.5),
    Move(begin_big, 1, 1.2),
    Move(begin_rate, 1, 0.7),
    Move(begin_rate_converted, 2, 0.8),
)
MOVES = (
    Move(gain, 1, 1.2),
    Move(lose, 1, 1.2),
    Move(give, 1, 1.2),
    Move(times, 1, 1.0),
    Move(share, 1, 1.3),
    Move(fraction_keep, 1, 1.0),
    Move(compare, 1, 1.8),
    Move(compare_times, 1, 1.0),
    Move(compare_fraction, 1, 0.8),
    Move(compare_percent, 1, 0.8),
    Move(join, 1, 1.0),
    Move(sell, 1, 1.0),
    Move(gain_packs, 2, 1.0),
    Move(gain_big, 2, 0.9),
    Move(rate_gain, 2, 0.8),
    Move(rate_lose, 2, 0.8),
    Move(fraction_lose, 2, 0.9),
    Move(percent, 2, 1.2),
    Move(purchase, 2, 1.5),
    Move(rate_gain_converted, 3, 0.7),
)
