"""When two forms are the same answer: by proof, by proof not, or by sixty digits only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from fractions import Fraction

from feints.verify import regions
from feints.verify.forms import is_assignment, values
from feints.verify.nodes import MINUS_ONE, Node, UnboundedError, negative, number, positional, symbols
from feints.verify.numeric import real_value, same_value
from feints.verify.polynomials import Polynomial, equal, exact, multiply, opposed, proportional
from feints.verify.quantities import rounded


class Outcome(IntEnum):
    """What a comparison knows; the worst of several parts decides."""

    EQUAL = 0
    UNKNOWN = 1
    UNLIKE = 2
    """Different to sixty digits, or of another shape: a second checker must agree."""
    DIFFERENT = 3
    """Different by exact arithmetic."""


EQUAL, UNKNOWN, UNLIKE, DIFFERENT = Outcome.EQUAL, Outcome.UNKNOWN, Outcome.UNLIKE, Outcome.DIFFERENT
_COLLECTIONS = ("list", "set", "tuple")
_ORDERS = {"<", ">", "\\leq", "\\geq", "\\neq"}
_MIRROR = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}


def compare(gold: Node, said: Node) -> Outcome:
    """Whether `said` is the answer `gold`."""
    if gold == said:
        return EQUAL
    if _by_zero(said) and not _by_zero(gold):
        return DIFFERENT
    gold, said = _alternatives(gold), _alternatives(said)
    if gold.op == "rel" and said.op == "rel":
        return _relations(gold, said)
    if gold.op == "rel" or said.op == "rel":
        return _relation_and_value(gold, said)
    if "list" in (gold.op, said.op) and any(item.op == "rel" for item in (*gold.args, *said.args)):
        return _listed_relations(gold, said)
    if regions.is_region(gold) or regions.is_region(said):
        return _regions(gold, said)
    if gold.op == "matrix" or said.op == "matrix" or _has_matrix(gold) or _has_matrix(said):
        return _matrices(gold, said)
    if gold.op in _COLLECTIONS or said.op in _COLLECTIONS:
        return _collections(gold, said)
    return _scalars(gold, said)


def _by_zero(node: Node) -> bool:
    """Whether something in it is divided by what is exactly zero, so that it has no value."""
    if node.op == "div":
        bottom = exact(node.args[1])
        if bottom is not None and not bottom.top:
            return True
    return any(map(_by_zero, node.args))


def _scalars(gold: Node, said: Node) -> Outcome:
    if "text" in (gold.op, said.op):
        return EQUAL if gold == said else DIFFERENT if gold.op == said.op else _timed(gold, said)
    if "base" in (gold.op, said.op):
        return _based(gold, said)
    one, other = exact(gold), exact(said)
    if one is not None and other is not None:
        try:
            if equal(one, other):
                return EQUAL
        except UnboundedError:
            return UNKNOWN
        return EQUAL if _rounded(gold, said, one.constant, other.constant) else DIFFERENT
    same = same_value(gold, said)
    return UNKNOWN if same is None else EQUAL if same else UNLIKE


def _timed(gold: Node, said: Node) -> Outcome:
    """A time of day and something else: a number may be a full hour, a decimal or a ratio a time without its half."""
    time, other = (gold, said) if gold.op == "text" else (said, gold)
    dotted = other.op == "num" and other.name.replace(".", ":") in time.name
    return UNLIKE if other.op == "div" or dotted or (other.op == "num" and ":00" in time.name) else DIFFERENT


def _rounded(gold: Node, said: Node, one: Fraction | None, other: Fraction | None) -> bool:
    return one is not None and other is not None and rounded(one, other, gold.decimals, said.decimals)


def _based(gold: Node, said: Node) -> Outcome:
    """1323_4: with one subscript missing the digits decide, with two bases the values."""
    if gold.op == said.op:
        bases = [int(node.args[0].value) for node in (gold, said)]
        try:
            same = positional(gold.name, bases[0]) == positional(said.name, bases[1])
        except ValueError:
            same = gold.name == said.name and bases[0] == bases[1]
        return EQUAL if same else DIFFERENT
    based, other = (gold, said) if gold.op == "base" else (said, gold)
    if other.op == "num" and other.name:
        return EQUAL if _digits(other.name) == _digits(based.name) else DIFFERENT
    if other.op in ("mul", "sym") and other.name.isalnum() and other.name.isupper():  # A51, its base left out
        return EQUAL if other.name == based.name else DIFFERENT
    plain, value = exact(other), exact(based)
    if plain is None or plain.constant is None or value is None:
        return UNLIKE
    if _has(other, "base"):
        return EQUAL if plain.constant == value.constant else DIFFERENT
    return EQUAL if str(plain.constant) == based.name else DIFFERENT


def _digits(written: str) -> str:
    """A numeral without zeros that say nothing."""
    written = written.lstrip("0")
    return written.rstrip("0").rstrip(".") if "." in written else written


def _alternatives(node: Node) -> Node:
    """A value with a plus-minus sign as the list of its two values; a set of one as its element."""
    if node.op == "set" and len(node.args) == 1 and node.args[0].op not in _COLLECTIONS:
        return _alternatives(node.args[0])
    if node.op in _COLLECTIONS and any(_has(item, "pm") for item in node.args) and node.op != "tuple":
        flat = [value for item in node.args for value in (_split(item) if _has(item, "pm") else [item])]
        return Node(node.op, tuple(flat), name=node.name)
    return Node("list", tuple(_split(node)), name="or") if node.op != "rel" and _has(node, "pm") else node


def _split(node: Node) -> list[Node]:
    return [_signed(node, plus=True), _signed(node, plus=False)]


def _signed(node: Node, *, plus: bool) -> Node:
    args = tuple(_signed(child, plus=plus) for child in node.args)
    if node.op == "pm":
        return Node("add", (args[0], args[1] if plus else negative(args[1])))
    return Node(node.op, args, node.value, node.name, node.decimals)


def _has(node: Node, op: str) -> bool:
    return node.op == op or any(_has(child, op) for child in node.args)


def _collections(gold: Node, said: Node) -> Outcome:
    if gold.op not in _COLLECTIONS or said.op not in _COLLECTIONS:
        alone, items = (said, gold.args) if gold.op in _COLLECTIONS else (gold, said.args)
        if "tuple" in (gold.op, said.op):  # no number is a point, but 0 may be a vector, and a part may have been lost
            if _is_zero(alone) and all(map(_is_zero, items)):
                return UNKNOWN
            return UNLIKE if any(compare(i, alone) is EQUAL for i in items) else DIFFERENT
        none = _is_zero(alone) and not items  # "none" for how many
        return UNKNOWN if none or (items and all(compare(i, alone) is EQUAL for i in items)) else DIFFERENT
    if gold.op == "tuple":
        return UNLIKE if said.op == "set" else _ordered(gold.args, said.args)
    if gold.op == "set" and said.op == "tuple":
        return UNLIKE
    return _unordered(gold.args, said.args)


def _is_zero(node: Node) -> bool:
    return node.op == "num" and not node.value


def _ordered(gold: Sequence[Node], said: Sequence[Node]) -> Outcome:
    if len(gold) != len(said):
        return DIFFERENT
    return max((compare(one, other) for one, other in zip(gold, said, strict=True)), default=EQUAL)


def _unordered(gold: Sequence[Node], said: Sequence[Node]) -> Outcome:
    """Equal as multisets; lists that differ in repetition only are left undecided."""
    left, missing = list(said), []
    for item in gold:
        outcomes = [compare(item, other) for other in left]
        if EQUAL in outcomes:
            left.pop(outcomes.index(EQUAL))
        else:
            missing.append(item)
    worst = EQUAL
    for unmatched, others in ((missing, said), (left, gold)):
        for item in unmatched:
            best = min((compare(item, other) for other in others), default=DIFFERENT)
            worst = max(worst, UNKNOWN if best is EQUAL else best)
    return worst


def _relation_and_value(gold: Node, said: Node) -> Outcome:
    relation, other = (gold, said) if gold.op == "rel" else (said, gold)
    if is_assignment(relation) or _identity(relation):
        candidates = values(relation)
        pairs = [(value, other) if relation is gold else (other, value) for value in candidates]
        return min(compare(one, two) for one, two in pairs)
    if relation is said and not symbols(gold) and _asked_for(relation):
        return compare(gold, relation.args[-1])
    if regions.is_region(relation) and (regions.is_region(other) or other.op in ("tuple", "sym", "list")):
        return _regions(gold, said)
    if set(relation.name.split()) <= _ORDERS and all(compare(other, side) is DIFFERENT for side in relation.args):
        return DIFFERENT  # an inequality that does not even name the value
    return UNLIKE


def _asked_for(relation: Node) -> bool:
    """Whether equations say what a combination of unknowns comes to, as where m + n is asked for: m + n = 2 + 3 = 5."""
    first, last = relation.args[0], relation.args[-1]
    if set(relation.name.split()) != {"="} or first.op not in ("add", "mul", "div") or symbols(last):
        return False
    return _unknowns(first)


def _unknowns(node: Node) -> bool:
    if node.op in ("add", "mul", "div"):
        return all(_unknowns(child) for child in node.args)
    return node.op == "sym" or node == MINUS_ONE


def _identity(relation: Node) -> bool:
    """Whether a chain of equations merely rewrites its last side: 2 + 3 = 5, -ab + ab = 0."""
    if set(relation.name.split()) != {"="} or relation.args[0].op == "rel":
        return False
    return compare(relation.args[0], relation.args[-1]) is EQUAL


def _listed_relations(gold: Node, said: Node) -> Outcome:
    """Lists with assignments in them: x = 1, y = 2 against 1, 2 or (1, 2); or inequalities joined by "or"."""
    if regions.is_region(gold) and regions.is_region(said):
        return _regions(gold, said)
    if all(node.op == "list" and all(is_assignment(i) for i in node.args) for node in (gold, said)):
        return _unordered(gold.args, said.args)
    plain = [
        Node(node.op, tuple(item.args[-1] if is_assignment(item) else item for item in node.args), name=node.name)
        if node.op in _COLLECTIONS
        else node
        for node in (gold, said)
    ]
    if any(item.op == "rel" for node in plain for item in node.args):
        return UNLIKE
    return compare(plain[0], plain[1])


def _relations(gold: Node, said: Node) -> Outcome:
    if is_assignment(gold) and is_assignment(said):
        names = [node.args[0] for node in (gold, said)]
        if all(name.op == "sym" for name in names):
            same = min(compare(one, two) for one in values(gold) for two in values(said))
            return same if names[0] == names[1] or len(names[0].name) > 1 or len(names[1].name) > 1 else DIFFERENT
        if any(name.op != "sym" for name in names) and not all(name.op == "sym" for name in names):
            result = min(compare(one, two) for one in values(gold) for two in values(said))
            if result is EQUAL:
                return EQUAL
    if len(gold.args) == len(said.args) == 2:
        outcome = _two_sided(gold, said)
        if outcome is not UNKNOWN:
            return outcome
    if regions.is_region(gold) and regions.is_region(said):
        return _regions(gold, said)
    if gold.name == said.name and len(gold.args) == len(said.args):
        sides = [compare(one, two) for one, two in zip(gold.args, said.args, strict=True)]
        return EQUAL if max(sides) is EQUAL else UNLIKE
    return UNLIKE


def _two_sided(gold: Node, said: Node) -> Outcome:
    """One equation or inequality against another: left minus right up to a factor (a positive one)."""
    sign, other_sign = gold.name, said.name
    left, right = _difference(gold), _difference(said)
    if other_sign != sign and _MIRROR.get(other_sign) == sign:
        right, other_sign = negative(right), sign
    if sign != other_sign or sign not in ("=", "\\neq", *_MIRROR):
        return UNKNOWN
    positive = sign in _MIRROR
    one, two = _numerator(left), _numerator(right)
    if one is not None and two is not None:
        if proportional(one, two, positive=positive):
            return EQUAL
        if _bottomed(left) or _bottomed(right):
            return UNKNOWN
        return DIFFERENT if not positive or opposed(one, two) else UNKNOWN
    ratio = Node("div", (left, right))
    constant = _constant_ratio(ratio, gold, said)
    return UNKNOWN if constant is None or (positive and constant) else EQUAL if constant else UNLIKE


def _difference(relation: Node) -> Node:
    return Node("add", (relation.args[0], negative(relation.args[1])))


def _numerator(node: Node) -> Polynomial | None:
    ratio = exact(node)
    try:
        return None if ratio is None else multiply(ratio.top, {(): Fraction(1)})
    except UnboundedError:
        return None


def _bottomed(node: Node) -> bool:
    ratio = exact(node)
    return ratio is None or set(ratio.bottom) != {()}


def _constant_ratio(ratio: Node, gold: Node, said: Node) -> bool | None:
    """Whether the quotient of two equations is one number at every point."""
    names = sorted(symbols(gold) | symbols(said))
    found = []
    for shift in ("1.1937", "2.7182", "3.3166"):
        point = {name: f"{float(shift) * (at + 2) / 3 + at:.6f}" for at, name in enumerate(names)}
        value = real_value(ratio, point)
        if value is not None:
            found.append(value)
    if len(found) < 2:
        return None
    return all(abs(value - found[0]) <= abs(found[0]) * 1e-25 for value in found)


def _regions(gold: Node, said: Node) -> Outcome:
    same, proven = regions.same(gold, said)
    if same is None:
        return UNKNOWN if regions.is_region(gold) and regions.is_region(said) else UNLIKE
    return EQUAL if same else DIFFERENT if proven else UNLIKE


def _has_matrix(node: Node) -> bool:
    return node.op in ("add", "mul", "div") and _has(node, "matrix")


def _matrices(gold: Node, said: Node) -> Outcome:
    one, other = _entries(gold), _entries(said)
    if one is None or other is None:
        return UNLIKE
    if len(one) != len(other) or len(one[0]) != len(other[0]):
        flat = [[entry for row in rows for entry in row] for rows in (one, other)]
        vectors = all(1 in (len(rows), len(rows[0])) for rows in (one, other))
        matrices = gold.op == "matrix" and said.op == "matrix"
        if matrices or not vectors or _ordered(flat[0], flat[1]) is not EQUAL:
            return DIFFERENT
        return UNKNOWN  # a point for a vector, or a row for a column: the asker must say
    return _ordered([e for row in one for e in row], [e for row in other for e in row])


def _entries(node: Node) -> list[list[Node]] | None:
    """Rows of a matrix, of sums, products and multiples of matrices, or of a point as one row."""
    if node.op == "matrix":
        return [list(row.args) for row in node.args]
    if node.op == "tuple":
        return [list(node.args)]
    if node.op not in ("add", "mul", "div"):
        return None
    one, other = _entries(node.args[0]), _entries(node.args[1])
    if node.op == "add":
        if one is None or other is None or (len(one), len(one[0])) != (len(other), len(other[0])):
            return None
        return _each(lambda a, b: Node("add", (a, b)), one, other)
    if one is None and other is None:
        return None
    if one is None or other is None:
        factor = node.args[0] if one is None else node.args[1]
        rows = other if one is None else one
        if rows is None or (node.op == "div" and one is None) or factor.op in _COLLECTIONS:
            return None
        return [[Node(node.op, (entry, factor)) for entry in row] for row in rows]
    if node.op == "div" or len(one[0]) != len(other):
        return None
    columns = list(zip(*other, strict=True))
    return [[_dot(row, column) for column in columns] for row in one]


def _each(join: Callable[[Node, Node], Node], one: list[list[Node]], other: list[list[Node]]) -> list[list[Node]]:
    return [[join(a, b) for a, b in zip(row, line, strict=True)] for row, line in zip(one, other, strict=True)]


def _dot(row: Sequence[Node], column: Sequence[Node]) -> Node:
    total = number(0)
    for a, b in zip(row, column, strict=True):
        total = Node("add", (total, Node("mul", (a, b))))
    return total
