"""What one right and one wrong rationale cost."""

from __future__ import annotations

from dataclasses import dataclass

from feints.report.contents import Spend


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCost:
    """The whole bill divided by the rationales of one verdict."""

    kind: str
    """"right" or "wrong"."""
    rationales: int
    """How many there are: the divisor."""
    requests: float | None
    """Requests for each; None when there is none of the kind."""
    tokens: float | None
    """Tokens, sent and received, for each."""
    money: float | None
    """Money for each; None also where the recipe has no price."""


def unit_costs(spend: Spend) -> tuple[UnitCost, UnitCost]:
    """Cost per right and per wrong rationale: one bill buys both, so the two do not add up to it."""
    return _unit("right", spend.right, spend), _unit("wrong", spend.wrong, spend)


def money(amount: float | None, currency: str) -> str:
    """An amount with three significant digits or two decimals, whichever says more; "no price" for None."""
    if amount is None:
        return "no price"
    if amount == 0:
        return f"0 {currency}".strip()
    text = f"{amount:,.2f}" if abs(amount) >= 1 else f"{amount:.3g}"
    if "e" in text:
        text = f"{amount:.12f}".rstrip("0")
    return f"{text} {currency}".strip()


def _unit(kind: str, rationales: int, spend: Spend) -> UnitCost:
    if not rationales:
        return UnitCost(kind=kind, rationales=0, requests=None, tokens=None, money=None)
    return UnitCost(
        kind=kind,
        rationales=rationales,
        requests=spend.requests / rationales,
        tokens=spend.tokens / rationales,
        money=None if spend.money is None else spend.money / rationales,
    )
