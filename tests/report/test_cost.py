from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from feints.report.cost import money, unit_costs


def test_unit_costs_times_rationales_give_the_whole_bill(made_up: ModuleType) -> None:
    spend = made_up.run().spend
    for unit in unit_costs(spend):
        assert unit.money * unit.rationales == pytest.approx(spend.money)
        assert unit.tokens * unit.rationales == pytest.approx(spend.prompt_tokens + spend.completion_tokens)
        assert unit.requests * unit.rationales == pytest.approx(spend.requests)


def test_no_rationale_of_a_kind_has_no_cost(made_up: ModuleType) -> None:
    right, wrong = unit_costs(replace(made_up.run().spend, wrong=0))
    assert wrong.money is wrong.tokens is wrong.requests is None
    assert right.money is not None


def test_without_a_price_there_is_no_money_but_there_are_tokens(made_up: ModuleType) -> None:
    for unit in unit_costs(replace(made_up.run().spend, money=None)):
        assert unit.money is None
        assert unit.tokens is not None


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "no price"),
        (0.0, "0 USD"),
        (1234.5, "1,234.50 USD"),
        (0.000144, "0.000144 USD"),
        (1.5e-7, "0.00000015 USD"),
    ],
)
def test_money(amount: float | None, text: str) -> None:
    assert money(amount, "USD") == text
