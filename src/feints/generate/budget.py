"""Budgets in requests, tokens and money, reserved for calls in flight."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from feints.generate.reply import CHARACTERS_PER_TOKEN, prompt_characters
from feints.generate.source import Request, Usage


class Price(BaseModel):
    """What a model charges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0, description="Money per million prompt tokens.")
    output: float = Field(ge=0, description="Money per million completion tokens, thinking included.")
    currency: str = Field(default="USD", description="Currency of both.")

    def cost(self, usage: Usage) -> float:
        """Money for `usage`."""
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What one call takes, or a set of calls together."""

    requests: int = 0
    tokens: int = 0
    """Prompt and completion together."""
    money: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            requests=self.requests + other.requests,
            tokens=self.tokens + other.tokens,
            money=self.money + other.money,
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            requests=self.requests - other.requests,
            tokens=self.tokens - other.tokens,
            money=self.money - other.money,
        )


def upper_bound(
    request: Request, price: Price | None, prompt_scale: float = 1.0, most_tokens: int | None = None
) -> Amount:
    """The most `request` is expected to take: characters / 4 of prompt, and every token it may write.

    `prompt_scale` corrects the first by what the server stated for earlier prompts; `most_tokens` is the limit on
    new tokens where the source sends another than the request's.
    """
    usage = Usage(
        prompt_tokens=math.ceil(prompt_characters(request) / CHARACTERS_PER_TOKEN * prompt_scale),
        completion_tokens=request.sampling.max_tokens if most_tokens is None else most_tokens,
    )
    tokens = usage.prompt_tokens + usage.completion_tokens
    return Amount(requests=1, tokens=tokens, money=price.cost(usage) if price else 0.0)


class Budget:
    """A ceiling on requests, tokens and money; None leaves a side open. Usable from any thread.

    What was paid for the same requests in an earlier run counts too, so that a run that is killed and started
    again spends no more than one that is not. A call of unknown fate keeps what was reserved for it.
    """

    def __init__(
        self,
        requests: int | None = None,
        tokens: int | None = None,
        money: float | None = None,
        currency: str = "USD",
    ) -> None:
        self.requests, self.tokens, self.money, self.currency = requests, tokens, money, currency
        self._lock = threading.Lock()
        self._reserved: dict[str, list[Amount]] = {}  # two samplings may ask the same at once, until one gives way
        self._counted: set[str] = set()
        self._spent = Amount()
        self._held = Amount()

    @property
    def spent(self) -> Amount:
        """Charged so far, reservations left out."""
        return self._spent

    @property
    def in_flight(self) -> int:
        """Calls that hold a reservation."""
        return sum(map(len, self._reserved.values()))

    def _allows(self, amount: Amount) -> bool:
        total = self._spent + self._held + amount
        limits = (
            (self.requests, total.requests),
            (self.tokens, total.tokens),
            (self.money, total.money - 1e-12),
        )
        return all(limit is None or value <= limit for limit, value in limits)

    def reserve(self, key: str, amount: Amount) -> bool:
        """Set `amount` aside for the call `key`; False when that would pass the ceiling."""
        with self._lock:
            if not self._allows(amount):
                return False
            self._reserved.setdefault(key, []).append(amount)
            self._held += amount
            return True

    def release(self, key: str) -> None:
        """The call cost nothing."""
        with self._lock:
            self._unreserve(key)

    def settle(self, key: str, amount: Amount | None = None) -> None:
        """The call cost `amount`; None charges what was reserved, since nobody knows."""
        with self._lock:
            reserved = self._unreserve(key)
            self._spent += reserved if amount is None else amount
            self._counted.add(key)

    def _unreserve(self, key: str) -> Amount:
        """End one reservation of a call; what it was, nothing where there is none."""
        held = self._reserved.get(key)
        amount = held.pop() if held else Amount()
        if not held:
            self._reserved.pop(key, None)
        self._held -= amount
        return amount

    def count_stored(self, keys: set[str], amount: Amount) -> None:
        """Charge what an earlier run paid for `keys`, which must be new to this budget (see `uncounted`)."""
        with self._lock:
            self._counted |= keys
            self._spent += amount

    def uncounted(self, keys: set[str]) -> set[str]:
        """Those of `keys` that this budget has not charged yet."""
        return keys - self._counted

    def __str__(self) -> str:
        sides = (
            (self.requests, self._spent.requests, "requests"),
            (self.tokens, self._spent.tokens, "tokens"),
            (self.money, round(self._spent.money, 4), self.currency),
        )
        return ", ".join(f"{spent:,} of {limit:,} {unit}" for limit, spent, unit in sides if limit is not None)
