"""Plans a lab problem: which events happen to whom with which numbers; it keeps its own count of everything."""

from __future__ import annotations

import random
from dataclasses import dataclass

from feints.lab.lexicon import NAMES, Thing
from feints.lab.questions import FORMS, HELD_OUT_PAIRS

LARGEST = 999
"""No result is above this."""
USUAL = 240
"""Products and sums stay below this, except with a unit fact or money."""


class InfeasibleError(Exception):
    """This event does not suit these numbers; another one is tried. Never leaves the planner."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What the planner knows of one quantity."""

    value: int
    """How many."""
    kind: str
    """Kind of the step it came from, "" for a told number."""
    steps: int
    """Bit mask of the steps it rests on."""
    facts: int
    """Bit mask of the facts it rests on."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One sentence to be told."""

    form: str
    """Name of the form."""
    slots: dict[str, str]
    """What fills it; his, he and containers in the singular are added when it is worded."""
    now: bool
    """Whether it speaks of the moment of telling."""
    block: str
    """start, event, timeless or question."""


class Plan:
    """A problem in the making."""

    def __init__(self, rng: random.Random, thing: Thing, held_out: bool) -> None:
        self.rng = rng
        self.thing = thing
        self.held_out = held_out
        self.names = rng.sample(NAMES, 10)
        self.told: list[Planned] = []
        self.kinds: list[str] = []
        self.novel = 0
        """Bit mask of the steps that make a held-out pair with what feeds them."""
        self.amounts: dict[tuple[str, str], Amount] = {}
        self.touched: set[tuple[str, str]] = set()
        """Quantities that an event has changed, so that start facts no longer speak of their value."""
        self.focus = self.names.pop()

    # -- what the planner knows --------------------------------------------------------------------

    def has(self, person: str, thing: Thing | None = None) -> Amount | None:
        """The amount, None when it was never told or is all gone."""
        return self.amounts.get((person, (thing or self.thing).many))

    def mine(self) -> Amount:
        """What the person in focus has."""
        amount = self.has(self.focus)
        if amount is None:
            raise InfeasibleError
        return amount

    def others(self) -> list[str]:
        """Everybody else known to have some of the thing, in the order met."""
        return [person for person, many in self.amounts if many == self.thing.many and person != self.focus]

    def stranger(self) -> str:
        """Somebody new."""
        if not self.names:
            raise InfeasibleError
        return self.names.pop()

    # -- telling ------------------------------------------------------------------------------------

    def tell(self, form: str, /, **slots: object) -> int:
        """Tell a fact, or ask the question; its bit."""
        return self.relate(form, False, **slots)

    def relate(self, form: str, now: bool, /, **slots: object) -> int:
        """Tell a comparison, of the start or of now; its bit."""
        block = "event" if now else FORMS[form].block
        self.told.append(Planned(form, {slot: str(value) for slot, value in slots.items()}, now, block))
        return 1 << (len(self.told) - 1)

    def fact(self, value: int, facts: int) -> Amount:
        """A number as told."""
        return Amount(value, "", 0, facts)

    def step(self, kind: str, value: int, *inputs: Amount, facts: int = 0, limit: int = USUAL) -> Amount:
        """The result of one step; infeasible when out of bounds or when the pair of kinds is held out."""
        if not 2 <= value <= limit:
            raise InfeasibleError
        bit = 1 << len(self.kinds)
        if any(amount.kind and frozenset((amount.kind, kind)) in HELD_OUT_PAIRS for amount in inputs):
            if not self.held_out:
                raise InfeasibleError
            self.novel |= bit
        self.kinds.append(kind)
        steps = bit
        for amount in inputs:
            steps |= amount.steps
            facts |= amount.facts
        return Amount(value, kind, steps, facts)

    def put(self, amount: Amount, person: str = "", thing: Thing | None = None, changed: bool = True) -> None:
        """Somebody (by default the person in focus) has this now."""
        key = (person or self.focus, (thing or self.thing).many)
        self.amounts[key] = amount
        if changed:
            self.touched.add(key)

    def drop(self, person: str) -> None:
        """Somebody has none left."""
        self.amounts.pop((person, self.thing.many), None)

    # -- going back ---------------------------------------------------------------------------------

    def mark(self) -> tuple[int, int, int, dict[tuple[str, str], Amount], set[tuple[str, str]], str, list[str], Thing]:
        """All that `undo` needs."""
        return (
            len(self.told),
            len(self.kinds),
            self.novel,
            dict(self.amounts),
            set(self.touched),
            self.focus,
            list(self.names),
            self.thing,
        )

    def undo(
        self,
        mark: tuple[int, int, int, dict[tuple[str, str], Amount], set[tuple[str, str]], str, list[str], Thing],
    ) -> None:
        """Forget everything since `mark`."""
        told, kinds, self.novel, self.amounts, self.touched, self.focus, self.names, self.thing = mark
        del self.told[told:], self.kinds[kinds:]
