"""The endings of a lab problem: each asks a question of the plan; and the facts that do not matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feints.lab.lexicon import CONTAINERS, COUNTED, FRACTIONS, PERCENT, PERIODS, Thing
from feints.lab.moves import RATE_PERIODS, pick_divisor, start_number
from feints.lab.plan import LARGEST, USUAL, Amount, InfeasibleError, Plan, Planned


def count(plan: Plan) -> Amount:
    """How many now; no step of its own."""
    mine = plan.mine()
    plan.tell("count", a=plan.focus, o=plan.thing.many)
    return mine


def _company(plan: Plan, size: int) -> list[Amount]:
    """The person in focus and `size` - 1 others, strangers with a plain number if need be; focus first."""
    others = [plan.rng.choice(plan.others())] if plan.others() else []
    while len(others) < size - 1:
        others.append(plan.stranger())
    amounts = [plan.mine()]
    for person in others:
        amount = plan.has(person)
        if amount is None:
            value = start_number(plan)
            amount = plan.fact(value, plan.tell("has", a=person, n=value, o=plan.thing.many))
            plan.put(amount, person, changed=False)
        amounts.append(amount)
    return amounts


def _owners(plan: Plan, amounts: list[Amount]) -> list[str]:
    return [
        next(p for (p, many), held in plan.amounts.items() if held is amount and many == plan.thing.many)
        for amount in amounts
    ]


def _mixed(plan: Plan, amounts: list[Amount]) -> dict[str, str]:
    """Slots for the owners in random order."""
    owners = _owners(plan, amounts)
    plan.rng.shuffle(owners)
    return dict(zip("abc", owners, strict=False))


def total(plan: Plan) -> Amount:
    """How many together, of two or three."""
    size = 2 if plan.rng.random() < 0.7 else 3
    amounts = _company(plan, size)
    plan.tell(f"total{size}", **_mixed(plan, amounts), o=plan.thing.many)
    return plan.step("total", sum(amount.value for amount in amounts), *amounts, limit=2 * USUAL)


def difference(plan: Plan) -> Amount:
    """How many more or fewer."""
    amounts = _company(plan, 2)
    low, high = sorted(amounts, key=lambda amount: amount.value)
    person_low, person_high = _owners(plan, [low, high])
    form = plan.rng.choice(("how_many_more", "how_many_fewer"))
    plan.tell(form, a=person_high, b=person_low, o=plan.thing.many)
    return plan.step("difference", high.value - low.value, high, low)


def average(plan: Plan) -> Amount:
    """The average of two or three; two steps. Strangers bring what makes it whole."""
    size = plan.rng.choice((2, 3))
    others = [plan.rng.choice(plan.others())] if plan.others() else []
    amounts = [plan.mine(), *(amount for person in others if (amount := plan.has(person)))]
    while len(amounts) < size:
        value = start_number(plan)
        if len(amounts) == size - 1:
            value += -(value + sum(amount.value for amount in amounts)) % size
        person = plan.stranger()
        amount = plan.fact(value, plan.tell("has", a=person, n=value, o=plan.thing.many))
        plan.put(amount, person, changed=False)
        amounts.append(amount)
    whole = sum(amount.value for amount in amounts)
    if whole % size:
        raise InfeasibleError
    plan.tell(f"average{size}", **_mixed(plan, amounts), o=plan.thing.many)
    together = plan.step("average", whole, *amounts, limit=2 * USUAL)
    return plan.step("average", whole // size, together)


def groups(plan: Plan) -> Amount:
    """How many containers are filled."""
    mine = plan.mine()
    if plan.thing.sort not in ("count", "matter"):
        raise InfeasibleError
    each = pick_divisor(plan, mine.value, range(2, 10))
    many = CONTAINERS[plan.rng.choice(list(CONTAINERS))]
    plan.tell("groups", a=plan.focus, n=each, k=many, o=plan.thing.many)
    return plan.step("groups", mine.value // each, mine)


def share_out(plan: Plan) -> Amount:
    """How many each friend gets."""
    mine = plan.mine()
    friends = pick_divisor(plan, mine.value, range(2, 10))
    plan.tell("share_out", a=plan.focus, n=friends, o=plan.thing.many)
    return plan.step("share", mine.value // friends, mine)


def _priced(plan: Plan) -> Amount:
    mine = plan.mine()
    if plan.thing.sort not in ("count", "matter") or mine.value > 60:
        raise InfeasibleError
    price = plan.rng.randint(2, 9)
    bit = plan.tell("price", s=plan.thing.one, n=price)
    return plan.step("price", mine.value * price, mine, facts=bit, limit=2 * USUAL)


def cost(plan: Plan) -> Amount:
    """How many dollars all of them cost."""
    priced = _priced(plan)
    plan.tell("cost", a=plan.focus, o=plan.thing.many)
    return priced


def change(plan: Plan) -> Amount:
    """How many dollars come back; two steps."""
    priced = _priced(plan)
    notes = [note for note in (20, 50, 100, 150, 200, 300, 400, 500) if note >= priced.value + 2]
    paid = plan.rng.choice(notes[:2])
    plan.tell("change", a=plan.focus, n=paid, o=plan.thing.many)
    return plan.step("change", paid - priced.value, priced, limit=LARGEST)


def days(plan: Plan) -> Amount:
    """How long they last."""
    mine = plan.mine()
    if plan.thing.sort == "time":
        raise InfeasibleError
    each = pick_divisor(plan, mine.value, range(2, 10))
    period = plan.rng.choice(RATE_PERIODS)
    plan.tell("days", a=plan.focus, n=each, w=period, v=PERIODS[period], o=plan.thing.many)
    return plan.step("rate", mine.value // each, mine)


def fraction_of(plan: Plan) -> Amount:
    """How many are half, a third ..."""
    mine = plan.mine()
    divisor = pick_divisor(plan, mine.value, range(2, 6))
    word = next(word for word, value in FRACTIONS.items() if value == divisor)
    plan.tell("fraction_of", a=plan.focus, f=word, o=plan.thing.many)
    return plan.step("fraction", mine.value // divisor, mine)


def percent_of(plan: Plan) -> Amount:
    """How many are 20 percent ..."""
    mine = plan.mine()
    divisor = pick_divisor(plan, mine.value, [fact.value for fact in PERCENT.values()])
    plan.tell("percent_of", a=plan.focus, n=100 // divisor, o=plan.thing.many)
    return plan.step("percent", mine.value // divisor, mine)


@dataclass(frozen=True, slots=True)
class Ending:
    """A question, what it costs, how often it is tried."""

    ask: Callable[[Plan], Amount]
    steps: int
    """Steps of its own."""
    weight: float
    """Relative frequency."""
    company: bool = False
    """Whether it is about several persons."""


ENDINGS = (
    Ending(count, 0, 5.0),
    Ending(total, 1, 1.7, company=True),
    Ending(difference, 1, 1.7, company=True),
    Ending(groups, 1, 0.8),
    Ending(share_out, 1, 0.7),
    Ending(cost, 1, 0.7),
    Ending(days, 1, 0.7),
    Ending(fraction_of, 1, 0.4),
    Ending(percent_of, 1, 0.6),
    Ending(average, 2, 1.2, company=True),
    Ending(change, 2, 1.0),
)

# -- facts that do not matter ------------------------------------------------------------------------


def other_person(plan: Plan) -> None:
    """A stranger has some of the same thing."""
    plan.tell("has", a=plan.stranger(), n=start_number(plan), o=plan.thing.many)


def other_thing(plan: Plan) -> None:
    """Somebody of the story has something else."""
    plan.tell("has", a=_someone(plan), n=start_number(plan), o=_unused(plan).many)


def other_gain(plan: Plan) -> None:
    """Somebody of the story gets something else."""
    plan.tell("gain", a=_someone(plan), n=plan.rng.randint(2, 40), o=_unused(plan).many)


def other_comparison(plan: Plan) -> None:
    """A stranger has more or fewer than somebody of the story; nobody asks about the stranger."""
    known = [planned.slots for planned in plan.told if _is_plain(plan, planned)]
    if not known:
        raise InfeasibleError
    slots = plan.rng.choice(known)
    most = 12 if (form := plan.rng.choice(("more", "fewer"))) == "more" else min(12, int(slots["n"]) - 2)
    if most < 2:
        raise InfeasibleError
    plan.tell(form, a=slots["a"], b=plan.stranger(), n=plan.rng.randint(2, most), o=plan.thing.many)


def other_packs(plan: Plan) -> None:
    """A stranger has containers with some of the same thing in each."""
    many = CONTAINERS[plan.rng.choice(list(CONTAINERS))]
    plan.tell(
        "has_packs",
        a=plan.stranger(),
        n=plan.rng.randint(2, 9),
        m=plan.rng.randint(2, 12),
        k=many,
        o=_unused(plan).many,
    )


def other_price(plan: Plan) -> None:
    """The price of something that nobody buys."""
    plan.tell("price", s=_unused(plan).one, n=plan.rng.randint(2, 9))


def noise(plan: Plan) -> None:
    """A number about somebody that has nothing to do with things."""
    form = plan.rng.choice(("age", "distance", "visit"))
    plan.tell(form, a=_someone(plan), n=plan.rng.randint(5, 14) if form == "age" else plan.rng.randint(2, 30))


def _is_plain(plan: Plan, planned: Planned) -> bool:
    return planned.form == "has" and planned.slots["o"] == plan.thing.many


def _someone(plan: Plan) -> str:
    return plan.rng.choice(list(dict.fromkeys(person for person, _ in plan.amounts)))


def _unused(plan: Plan) -> Thing:
    """A thing that no sentence has mentioned yet."""
    said = " ".join(phrase for planned in plan.told for phrase in planned.slots.values())
    return plan.rng.choice([thing for thing in COUNTED if thing.one not in said])


DISTRACTIONS: tuple[tuple[Callable[[Plan], None], float], ...] = (
    (other_person, 2.0),
    (other_thing, 1.5),
    (other_gain, 1.5),
    (other_comparison, 1.5),
    (other_packs, 1.0),
    (other_price, 1.0),
    (noise, 1.5),
)
