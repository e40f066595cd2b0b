"""Targets that rest on a power of names nothing else is said of: open, whatever the solver makes of the power."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from feints.verify.known_values import known_values, value_of
from feints.verify.terms import Tree, names


def left_open(relations: Sequence[Tree], target: Tree) -> set[str]:
    """Names that keep the target from being one value; none where this reading does not tell.

    The target must be a name that one equation gives as a sum in which the power stands, and that occurs nowhere else.
    Such a power takes many values, and with it the target, unless no numbers satisfy the constraints at all.
    """
    told = [relation for relation in relations if names(target) & names(relation)]
    if target[0] != "name" or len(told) != 1 or told[0][0] != "=":
        return set()
    sides = [side for side in told[0][1:] if isinstance(side, list)]
    given = [side for side in sides if side != target]
    if len(given) != 1 or names(target) & names(given[0]):
        return set()
    counts = Counter(name for relation in relations for name in _named(relation))
    known = known_values(relations)
    for power in _summands(given[0], known):
        alone = names(power)
        if power[0] == "^" and alone and all(counts[name] == 1 for name in alone) and not _flat(power, known):
            return alone
    return set()


def _named(tree: Tree) -> Iterator[str]:
    """Every name, as often as it stands there."""
    if tree[0] == "name":
        yield str(tree[1])
    for part in tree[1:]:
        if isinstance(part, list):
            yield from _named(part)


def _summands(tree: Tree, known: Mapping[str, Fraction]) -> Iterator[Tree]:
    """What is added up in a term, each maybe times or over a known number that is not 0."""
    parts = [part for part in tree[1:] if isinstance(part, list)]
    if tree[0] in ("+", "-", "neg"):
        for part in parts:
            yield from _summands(part, known)
    elif tree[0] == "*" and (value_of(parts[0], known) or value_of(parts[1], known)):
        yield from _summands(parts[1] if value_of(parts[0], known) else parts[0], known)
    elif tree[0] == "/" and value_of(parts[1], known):
        yield from _summands(parts[0], known)
    else:
        yield tree


def _flat(power: Tree, known: Mapping[str, Fraction]) -> bool:
    """Whether a power may have one value for all of its names: of 0, 1 or -1, to the 0th, or with a zero inside."""
    base, exponent = (part for part in power[1:] if isinstance(part, list))
    if value_of(base, known) in (-1, 0, 1) or value_of(exponent, known) == 0:
        return True
    return any(_zero(part) for part in (base, exponent))


def _zero(tree: Tree) -> bool:
    if tree[0] == "num":
        return value_of(tree, {}) == 0
    return any(_zero(part) for part in tree[1:] if isinstance(part, list))
