"""Budgets of one round of sampling: what is reserved, and what waits its turn where a source takes lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from feints.generate.budget import Budget
from feints.generate.sample import sample_all
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Completion, Message, Request, Sampling, Usage


class Listed:
    """A source that takes lists, and what it was asked."""

    identity = "takes lists"

    def __init__(self) -> None:
        self.seen: list[Request] = []

    async def complete(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
        for request in requests:
            self.seen.append(request)
            usage = Usage(prompt_tokens=3, completion_tokens=1)
            yield request, Completion(key=request.key(self.identity), text="4", usage=usage)


def questions(count: int) -> list[Request]:
    turns = [(Message(role="user", content=f"question {n}"),) for n in range(count)]
    return [Request(messages=turn, sampling=Sampling(max_tokens=10)) for turn in turns]


def test_prompts_that_take_more_tokens_than_estimated_do_not_pass_the_budget() -> None:
    def reply(request: Request) -> dict[str, Any]:
        choice = {"index": 0, "message": {"content": "four"}, "finish_reason": "stop"}
        return {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}

    budget = Budget(tokens=500)
    sampled = sample_all(ScriptedSource(reply), questions(9), budget=budget)
    assert (len(sampled.answered), budget.spent.tokens) == (4, 440)


def test_a_budget_with_room_for_one_call_lets_one_go_out() -> None:
    listed, asked = Listed(), questions(3)
    assert len(sample_all(listed, asked, budget=Budget(requests=1)).answered) == 1
    assert listed.seen == asked[:1]


def test_what_a_budget_holds_back_for_a_while_keeps_its_order() -> None:
    listed, asked = Listed(), questions(20)
    sample_all(listed, asked, budget=Budget(tokens=60))
    assert 6 < len(listed.seen) < 20 and listed.seen == asked[: len(listed.seen)]
