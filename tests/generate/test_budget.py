"""Budgets of one round of sampling: what is reserved follows what the server states."""

from __future__ import annotations

from typing import Any

from feints.generate.budget import Budget
from feints.generate.sample import sample_all
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Message, Request, Sampling


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
