"""What sampling will take, before anything is spent: requests, tokens, money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from feints.generate.budget import Amount, Price, upper_bound
from feints.generate.ledger import Ledger
from feints.generate.settings import BudgetSettings
from feints.generate.source import Request, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a list of requests will take."""

    requests: int
    """Different requests in the list."""
    stored: int
    """Of these, answered by the ledger for nothing."""
    to_send: int
    """Of these, to be sent."""
    prompt_tokens: int
    """Estimated at four characters per token, corrected by what the source stated before."""
    most_completion_tokens: int
    """If every completion runs to its limit."""
    expected_completion_tokens: int
    """By the mean of the source's earlier replies; the limit where there are none."""
    replies_known: int
    """Earlier replies the estimates rest on."""
    most_money: float | None
    """Upper bound; None without a price."""
    expected_money: float | None
    """Expected; None without a price."""
    currency: str
    """Of both."""

    def lines(self) -> list[str]:
        """The plan in words, one fact per line."""
        rest = (
            f"expected {self.expected_completion_tokens:,}" if self.replies_known else "no earlier replies to judge by"
        )
        words = [
            f"requests: {self.to_send:,} to send, {self.stored:,} of {self.requests:,} stored",
            f"prompt tokens: about {self.prompt_tokens:,}",
            f"completion tokens: at most {self.most_completion_tokens:,}, {rest}",
        ]
        if self.most_money is None or self.expected_money is None:
            return [*words, "money: unknown, the recipe's price table does not name the model"]
        expected = f", expected {self.expected_money:,.2f}" if self.replies_known else ""
        return [*words, f"money: at most {self.most_money:,.2f} {self.currency}{expected}"]

    def beyond(self, budget: BudgetSettings) -> list[str]:
        """Word of what the budget may not bear, in lines."""
        tokens = self.prompt_tokens + self.most_completion_tokens
        limits = (
            ("requests", budget.requests, self.to_send),
            ("tokens", budget.tokens, tokens),
            ("money", budget.money, self.most_money or 0.0),
        )
        over = [f"{name} {limit:,}" for name, limit, need in limits if limit is not None and need > limit]
        return [f"the budget may end this sooner ({', '.join(over)})"] if over else []


def most_of_replies(requests: int, limit: int, price: Price | None = None) -> str:
    """In words, what the replies to requests that are not written yet take if each runs to its `limit` of tokens."""
    tokens = requests * limit
    money = "" if price is None else f", {price.cost(Usage(completion_tokens=tokens)):,.2f} {price.currency}"
    return f"replies of at most {tokens:,} tokens{money}"


def plan(
    requests: Sequence[Request],
    identity: str,
    ledger: Ledger | None = None,
    price: Price | None = None,
    most_tokens: int | None = None,
) -> Plan:
    """Count what `requests` to the source called `identity` will take; sends nothing and writes nothing.

    `most_tokens` is the limit on new tokens where the source sends another than each request's.
    """
    by_key = {request.key(identity): request for request in requests}
    stored = ledger.finished(by_key) if ledger else set()
    to_send = [request for key, request in by_key.items() if key not in stored]
    history = ledger.history(identity) if ledger else None
    scale = history.prompt_scale if history else 1.0
    most = sum((upper_bound(request, price, scale, most_tokens) for request in to_send), Amount())
    limits = [request.sampling.max_tokens if most_tokens is None else most_tokens for request in to_send]
    most_completion = sum(limits)
    known = history.replies if history else 0
    expected = sum(min(history.completion_tokens, limit) for limit in limits) if history and known else None
    expected_completion = most_completion if expected is None else round(expected)
    usage = Usage(prompt_tokens=most.tokens - most_completion, completion_tokens=expected_completion)
    return Plan(
        requests=len(by_key),
        stored=len(stored),
        to_send=len(to_send),
        prompt_tokens=usage.prompt_tokens,
        most_completion_tokens=most_completion,
        expected_completion_tokens=expected_completion,
        replies_known=known,
        most_money=most.money if price else None,
        expected_money=price.cost(usage) if price else None,
        currency=price.currency if price else "",
    )
