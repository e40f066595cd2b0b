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
    if len(wanted) < 2:
        return True
    return len(found) >= len(wanted) and (not _all_primitive(wanted) or _all_primitive(found))


def _factors(node: Node) -> list[Node]:
    """Factors with a symbol in them, powers written out."""
    if node.op == "mul":
        return _factors(node.args[0]) + _factors(node.args[1])
    if node.op == "pow" and node.args[1].op == "num" and 1 < node.args[1].value <= 60:
        times = int(node.args[1].value)
        return _factors(node.args[0]) * times
    return [node] if symbols(node) else []


def _all_primitive(factors: list[Node]) -> bool:
    """Whether no factor has a number left to take out."""
    for factor in factors:
        ratio = exact(factor)
        if ratio is not None and ratio.top and content(ratio.top) != 1:
            return False
    return True
