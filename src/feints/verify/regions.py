"""Sets of real numbers: intervals, unions and inequalities in one unknown, compared end by end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from feints.verify.nodes import Node, symbols
from feints.verify.numeric import real_value
from feints.verify.polynomials import exact

_ORDER = ("<", ">", "\\leq", "\\geq", "\\neq", "\\in")


@dataclass(frozen=True, slots=True)
class Stretch:
    """One interval."""

    low: Any
    high: Any
    low_in: bool
    high_in: bool


def is_region(node: Node) -> bool:
    """Whether a form describes a set of reals by its ends."""
    if node.op in ("interval", "union"):
        return True
    if node.op == "rel":
        return any(sign in _ORDER for sign in node.name.split())
    if node.op == "list":
        return bool(node.args) and all(is_region(item) for item in node.args)
    return node.op == "sym" and node.name.startswith("\\mathbb")


def same(one: Node, other: Node) -> tuple[bool | None, bool]:
    """Whether two regions are one (None where a region cannot be read), and whether all ends are exact."""
    left, right = stretches(one), stretches(other)
    if left is None or right is None:
        if (left is None) != (right is None):
            known, relation = (right, one) if left is None else (left, other)
            return _by_sampling(relation, known or []), False
        return None, False
    left, right = _merged(left), _merged(right)
    proven = _exact_ends(one) and _exact_ends(other)
    if len(left) != len(right):
        return False, proven
    return all(_equal(a, b) for a, b in zip(left, right, strict=True)), proven


def stretches(node: Node) -> list[Stretch] | None:
    """The intervals a form consists of, or None where its ends cannot be read off."""
    if node.op == "interval" or (node.op == "tuple" and len(node.args) == 2):
        low, high = (real_value(end) for end in node.args)
        brackets = node.name or "()"
        if low is None or high is None:
            return None
        return [Stretch(low, high, brackets[0] == "[", brackets[1] == "]")]
    if node.op == "set":
        points = [real_value(item) for item in node.args]
        return None if any(p is None for p in points) else [Stretch(p, p, True, True) for p in points]
    if node.op == "union":
        return _joined([stretches(part) for part in node.args])
    if node.op == "sym" and node.name.startswith("\\mathbb"):
        return [_stretch(None, None, False, False)] if "R" in node.name else None
    if node.op == "list":
        parts = [stretches(item) for item in node.args]
        if node.name == "and" and len(parts) == 2 and all(item.op == "rel" for item in node.args):
            return None if parts[0] is None or parts[1] is None else _common(parts[0], parts[1])
        return _joined(parts)
    return _of_relation(node) if node.op == "rel" else None


def _joined(parts: list[list[Stretch] | None]) -> list[Stretch] | None:
    found: list[Stretch] = []
    for part in parts:
        if part is None:
            return None
        found += part
    return found


def _stretch(low: Any, high: Any, low_in: bool, high_in: bool) -> Stretch:
    infinity = real_value(Node("const", name="oo"))
    return Stretch(-infinity if low is None else low, infinity if high is None else high, low_in, high_in)


def _of_relation(node: Node) -> list[Stretch] | None:
    """As in x > 5, 3 <= r <= 15, 5 >= x, x != 5, x in [1, 2]; the unknown must stand alone."""
    signs = node.name.split()
    if signs == ["\\in"]:
        return stretches(node.args[1])
    unknown = [at for at, side in enumerate(node.args) if side.op == "sym"]
    if len(unknown) != 1 or any(symbols(side) for at, side in enumerate(node.args) if at != unknown[0]):
        return None
    at = unknown[0]
    low = high = None
    low_in = high_in = False
    for index, sign in enumerate(signs):
        if index not in (at - 1, at) or sign not in _ORDER:
            return None
        value = real_value(node.args[index if index == at - 1 else index + 1])
        if value is None:
            return None
        if sign == "\\neq":
            return [_stretch(None, value, False, False), _stretch(value, None, False, False)]
        upward = (sign in (">", "\\geq")) == (index == at)
        closed = sign in ("\\leq", "\\geq")
        if upward:
            low, low_in = value, closed
        else:
            high, high_in = value, closed
    return [_stretch(low, high, low_in, high_in)]


def _common(one: list[Stretch], other: list[Stretch]) -> list[Stretch]:
    found = []
    for a in one:
        for b in other:
            low, low_out = max((a.low, not a.low_in), (b.low, not b.low_in))
            high, high_in = min((a.high, a.high_in), (b.high, b.high_in))
            if low < high or (low == high and not low_out and high_in):
                found.append(Stretch(low, high, not low_out, high_in))
    return found


def _merged(parts: list[Stretch]) -> list[Stretch]:
    """Sorted, touching ones made one."""
    result: list[Stretch] = []
    for part in sorted(parts, key=lambda p: (p.low, not p.low_in)):
        last = result[-1] if result else None
        if last is not None and (
            part.low < last.high or (_near(part.low, last.high) and (part.low_in or last.high_in))
        ):
            high, high_in = max((last.high, last.high_in), (part.high, part.high_in))
            result[-1] = Stretch(last.low, high, last.low_in, high_in)
        else:
            result.append(part)
    return result


def _near(one: Any, other: Any) -> bool:
    if one == other:
        return True
    return bool(abs(one - other) <= 1e-30 * max(1, abs(one))) if abs(one) != abs(real_value(_OO)) else False


_OO = Node("const", name="oo")


def _equal(one: Stretch, other: Stretch) -> bool:
    if not (_near(one.low, other.low) and _near(one.high, other.high)):
        return False
    infinite = real_value(_OO)
    low = one.low_in == other.low_in or abs(one.low) == infinite
    return low and (one.high_in == other.high_in or abs(one.high) == infinite)


def _exact_ends(node: Node) -> bool:
    if node.op in ("interval", "union", "tuple", "set", "rel", "list"):
        return all(_exact_ends(child) for child in node.args)
    if node.op == "sym" or (node.op == "const" and node.name == "oo"):
        return True
    if node.op == "mul" and any(child.op == "const" and child.name == "oo" for child in node.args):
        return True
    ratio = exact(node)
    return ratio is not None and ratio.constant is not None


def _by_sampling(relation: Node, known: list[Stretch]) -> bool | None:
    """Whether a relation whose unknown does not stand alone (1 <= |z|) holds exactly in the known intervals.

    Tried at every number that either mentions, on both sides of each, and between them.
    """
    if relation.op != "rel" or len(symbols(relation)) != 1:
        return None
    name = symbols(relation).pop()
    infinite = real_value(_OO)
    ends = {end for part in known for end in (part.low, part.high) if abs(end) != infinite}
    for value in _constants(relation):
        ends |= {value, -value}
    if not ends or len(ends) > 40:
        return None
    marks = sorted(ends)
    points = marks + [(a + b) / 2 for a, b in zip(marks, marks[1:], strict=False)] + [marks[0] - 1, marks[-1] + 1]
    for point in points:
        held = _holds(relation, name, point)
        if held is None:
            return None
        inside = any(
            (part.low < point or (part.low_in and part.low == point))
            and (point < part.high or (part.high_in and part.high == point))
            for part in known
        )
        if held != inside:
            return False
    return True


def _constants(node: Node) -> list[Any]:
    if not symbols(node) and node.op != "rel":
        value = real_value(node)
        return [] if value is None or abs(value) == real_value(_OO) else [value]
    return [value for child in node.args for value in _constants(child)]


def _holds(relation: Node, name: str, point: Any) -> bool | None:
    sides = [real_value(side, {name: point}) for side in relation.args]
    if any(side is None for side in sides):
        return None
    for sign, left, right in zip(relation.name.split(), sides, sides[1:], strict=False):
        held = {
            "<": left < right,
            ">": left > right,
            "\\leq": left <= right,
            "\\geq": left >= right,
            "\\neq": left != right,
        }.get(sign)
        if held is None:
            return None
        if not held:
            return False
    return True
