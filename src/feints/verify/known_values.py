"""Names that constraints give a number outright, so that a power of them can be worked out before Z3 is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from feints.verify.terms import Tree

MAX_EXPONENT, MAX_BITS = 10_000, 50_000
"""Largest exponent and longest number that is worked out: more would fill the machine first."""


def known_values(relations: Sequence[Tree]) -> dict[str, Fraction]:
    """Values of names that stand alone on one side of an equation whose other side holds known names only.

    relations: all must hold, so that a name with two values has none that counts: the first is taken, and the
    constraints themselves are unsatisfiable.
    """
    known: dict[str, Fraction] = {}
    sides = [[part for part in relation if isinstance(part, list)] for relation in relations if relation[0] == "="]
    while True:
        before = len(known)
        for left, right in sides:
            for name, other in ((left, right), (right, left)):
                if name[0] == "name" and str(name[1]) not in known:
                    value = value_of(other, known)
                    if value is not None:
                        known[str(name[1])] = value
        if len(known) == before:
            return known


def value_of(tree: Tree, known: Mapping[str, Fraction]) -> Fraction | None:
    """The exact value of a term; None where a name is not known, or it is no rational number of moderate length."""
    head, *rest = tree
    if head == "num":
        return Fraction(str(rest[0]))
    if head == "name":
        return known.get(str(rest[0]))
    parts = [value_of(part, known) for part in rest if isinstance(part, list)]
    if any(part is None for part in parts):
        return None
    values = [part for part in parts if part is not None]
    found = _applied(str(head), values)
    return found if found is None or max(abs(found.numerator), found.denominator).bit_length() <= MAX_BITS else None


def _applied(sign: str, values: list[Fraction]) -> Fraction | None:
    if sign == "neg":
        return -values[0]
    if sign not in ("+", "-", "*", "/", "^"):
        return None
    one, other = values
    if sign == "^":
        return raised(one, other)
    if sign == "/":
        return one / other if other else None
    return one + other if sign == "+" else one - other if sign == "-" else one * other


def raised(base: Fraction, exponent: Fraction) -> Fraction | None:
    """`base` to a whole `exponent` where that is of moderate length, and not a power of zero below one."""
    bits = max(abs(base.numerator), base.denominator).bit_length()
    whole = exponent.denominator == 1 and abs(exponent) <= MAX_EXPONENT and bits * abs(exponent) <= MAX_BITS
    return base**exponent.numerator if whole and (base or exponent > 0) else None
