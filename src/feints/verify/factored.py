"""Where a question asks to factor, an expanded or half-factored answer is not the answer."""

from __future__ import annotations

import re

from feints.verify.nodes import Node, symbols
from feints.verify.polynomials import content, exact

_ASKED = re.compile(r"\bfactor(?:i[sz]e)?\b(?!\s+of)|\bfactored\b|\bfactori[sz]ation\b", re.IGNORECASE)


def as_factored(question: str, gold: Node, said: Node) -> bool:
    """Whether `said`, equal to `gold` in value, has as many factors as `gold` where `question` asks to factor."""
    if not question or not _ASKED.search(question):
        return True
    wanted, found = _factors(gold), _factors(said)
    if _many(wanted) < 2:
        return True
    return _many(found) >= _many(wanted) and (not _all_primitive(wanted) or _all_primitive(found))


def _factors(node: Node) -> list[tuple[Node, int]]:
    """Factors with a symbol in them, each with how many times it stands there."""
    if node.op == "mul":
        return _factors(node.args[0]) + _factors(node.args[1])
    if node.op == "pow" and node.args[1].op == "num" and 1 < node.args[1].value <= 60:
        power = int(node.args[1].value)
        return [(factor, times * power) for factor, times in _factors(node.args[0])]
    return [(node, 1)] if symbols(node) else []


def _many(factors: list[tuple[Node, int]]) -> int:
    return sum(times for _, times in factors)


def _all_primitive(factors: list[tuple[Node, int]]) -> bool:
    """Whether no factor has a number left to take out."""
    for factor, _ in factors:
        ratio = exact(factor)
        if ratio is not None and ratio.top and content(ratio.top) != 1:
            return False
    return True
