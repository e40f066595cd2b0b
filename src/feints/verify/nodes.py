"""Trees of parsed answers: numbers, symbols, operations, tuples, sets, intervals, matrices."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


class UnreadableError(Exception):
    """The text is not mathematics of the kind our grammar knows; a second checker may know it."""


class UnboundedError(Exception):
    """Evaluation would take more time or memory than a comparison is worth."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation and what it is applied to."""

    op: str
    """num, sym, const, base, text; add, mul, pow, div, fn, fact, degree, pm; tuple, set, list, interval, union, matrix;
    rel."""
    args: tuple[Node, ...] = ()
    """Operands; the items of a collection; the rows of a matrix, each a tuple."""
    value: Fraction = Fraction(0)
    """Of a num."""
    name: str = ""
    """Symbol, function or constant; ! or !! of a fact; the two brackets of an interval; the digits of a base number."""
    decimals: int = 0
    """Digits after the point of a num, as written."""


def number(value: int | Fraction, decimals: int = 0) -> Node:
    """A num."""
    return Node("num", value=Fraction(value), decimals=decimals)


def positional(digits: str, base: int) -> Fraction:
    """Value of `digits`, a point allowed, in a base from 2 to 36.

    Raises:
        ValueError: they are no digits of this base, or there is no such base.
    """
    if not 2 <= base <= 36:
        raise ValueError(f"base {base}")
    whole, _, part = digits.partition(".")
    return Fraction(int(whole + part, base), base ** len(part))


MINUS_ONE = number(-1)


def negative(node: Node) -> Node:
    """The node times -1; a number stays a number."""
    if node.op == "num":
        return number(-node.value, node.decimals)
    return Node("mul", (MINUS_ONE, node))


def symbols(node: Node) -> set[str]:
    """Free symbols of a tree."""
    if node.op == "sym":
        return {node.name}
    found: set[str] = set()
    for child in node.args:
        found |= symbols(child)
    return found
