"""Exact arithmetic: rational functions over the rationals, bounded in size; equality here is proof."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import comb, factorial, gcd, lcm, prod

from feints.verify.nodes import Node, UnboundedError, positional

MAX_TERMS = 120
"""Terms of a polynomial; larger ones are compared numerically."""
MAX_BITS = 40_000
"""Of an exact number."""
MAX_DEGREE = 64
"""Power to which a sum is multiplied out."""

Monomial = tuple[tuple[str, int], ...]
Polynomial = dict[Monomial, Fraction]


@dataclass(frozen=True, slots=True)
class Ratio:
    """A polynomial over a polynomial that is not zero."""

    top: Polynomial
    bottom: Polynomial

    @property
    def constant(self) -> Fraction | None:
        """The number it is, if both parts are numbers."""
        if set(self.top) <= {()} and set(self.bottom) <= {()}:
            return self.top.get((), Fraction(0)) / self.bottom[()]
        return None


_ONE: Polynomial = {(): Fraction(1)}
_STEEP, _MANY = 12, 24
"""Largest power, and most terms of two polynomials, that are held against each other point by point."""
_GRID = tuple(Fraction(n, 3) for n in (1, 2, 4, 5, 7, 8, 11, 16, 25, 40, 77, 200))
"""Where two inequalities are held against each other; their unknowns may be lengths, so no number below 0 is tried."""


def exact(node: Node) -> Ratio | None:
    """The rational function `node` is, or None where it is none (roots, functions) or too large."""
    try:
        return _ratio(node)
    except (UnboundedError, ZeroDivisionError):
        return None


def equal(one: Ratio, other: Ratio) -> bool:
    """Whether two rational functions are the same."""
    return multiply(one.top, other.bottom) == multiply(other.top, one.bottom)


def proportional(one: Polynomial, other: Polynomial, *, positive: bool = False) -> bool:
    """Whether one polynomial is a constant multiple (a positive one, if asked) of the other."""
    if set(one) != set(other) or not one:
        return not one and not other
    ratios = {other[monomial] / one[monomial] for monomial in one}
    return len(ratios) == 1 and (not positive or ratios.pop() > 0)


def opposed(one: Polynomial, other: Polynomial) -> bool:
    """Whether at some point of a small grid one polynomial is negative and the other positive: a proof that `one < 0`
    and `other < 0` (or `<= 0`) hold for different numbers.
    """
    names, others = ({name for monomial in side for name, _ in monomial} for side in (one, other))
    steep = any(power > _STEEP for monomial in (*one, *other) for _, power in monomial)
    plain = all(len(name) == 1 and name.isalpha() and name not in "ei" for name in names)
    if names != others or not plain or not 0 < len(names) <= 3 or steep or len(one) + len(other) > _MANY:
        return False  # f(x), AB, x_1 and another letter may be the same thing in other words
    points = (dict(zip(names, values, strict=True)) for values in product(_GRID, repeat=len(names)))
    return any(_value(one, point) * _value(other, point) < 0 for point in points)


def _value(polynomial: Polynomial, point: dict[str, Fraction]) -> Fraction:
    return sum((c * prod(point[name] ** power for name, power in m) for m, c in polynomial.items()), Fraction(0))


def multiply(one: Polynomial, other: Polynomial) -> Polynomial:
    """The product, i*i being -1; raises UnboundedError when it grows too large."""
    if len(one) * len(other) > MAX_TERMS**2:
        raise UnboundedError
    result: Polynomial = {}
    for left, a in one.items():
        for right, b in other.items():
            monomial, sign = _times(left, right)
            result[monomial] = result.get(monomial, Fraction(0)) + sign * a * b
    return _bounded({monomial: value for monomial, value in result.items() if value})


def add(one: Polynomial, other: Polynomial) -> Polynomial:
    """The sum."""
    result = dict(one)
    for monomial, value in other.items():
        result[monomial] = result.get(monomial, Fraction(0)) + value
    return _bounded({monomial: value for monomial, value in result.items() if value})


def content(polynomial: Polynomial) -> Fraction:
    """The greatest number that divides every coefficient with whole results, positive."""
    values = list(polynomial.values())
    top, bottom = 0, 1
    for value in values:
        top, bottom = gcd(top, value.numerator), lcm(bottom, value.denominator)
    return Fraction(top, bottom)


def _bounded(polynomial: Polynomial) -> Polynomial:
    if len(polynomial) > MAX_TERMS:
        raise UnboundedError
    if any(v.numerator.bit_length() + v.denominator.bit_length() > MAX_BITS for v in polynomial.values()):
        raise UnboundedError
    return polynomial


def _times(left: Monomial, right: Monomial) -> tuple[Monomial, int]:
    if not left or not right:
        return left or right, 1
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, 0) + power
    sign = 1
    if "i" in powers:
        turns = powers.pop("i") % 4
        sign = -1 if turns >= 2 else 1
        if turns % 2:
            powers["i"] = 1
    return tuple(sorted(powers.items())), sign


def _ratio(node: Node) -> Ratio:
    if node.op == "num":
        return Ratio({(): node.value} if node.value else {}, _ONE)
    if node.op == "sym" or (node.op == "const" and node.name == "i"):
        return Ratio({((node.name if node.op == "sym" else "i", 1),): Fraction(1)}, _ONE)
    if node.op == "const" and node.name in ("pi", "e"):
        return Ratio({((f"\\{node.name}", 1),): Fraction(1)}, _ONE)
    if node.op == "base":
        try:
            value = positional(node.name, int(node.args[0].value))
        except ValueError:
            raise UnboundedError from None
        return Ratio({(): value} if value else {}, _ONE)
    if node.op == "degree":
        return _ratio(node.args[0])
    if node.op in ("add", "mul", "div"):
        return _combined(node.op, _ratio(node.args[0]), _ratio(node.args[1]))
    if node.op == "pow":
        return _power(_ratio(node.args[0]), _ratio(node.args[1]).constant)
    if node.op == "fact":
        whole = _whole(node.args[0], 3000)
        return Ratio({(): Fraction(prod(range(whole, 1, -2)) if node.name == "!!" else factorial(whole))}, _ONE)
    if node.op == "fn":
        return _function(node)
    raise UnboundedError


def _combined(op: str, one: Ratio, other: Ratio) -> Ratio:
    if op == "div":
        if not other.top:
            raise ZeroDivisionError
        return Ratio(multiply(one.top, other.bottom), multiply(one.bottom, other.top))
    if op == "mul":
        return Ratio(multiply(one.top, other.top), multiply(one.bottom, other.bottom))
    if one.bottom == other.bottom:
        return Ratio(add(one.top, other.top), one.bottom)
    top = add(multiply(one.top, other.bottom), multiply(other.top, one.bottom))
    return Ratio(top, multiply(one.bottom, other.bottom))


def _power(base: Ratio, exponent: Fraction | None) -> Ratio:
    if exponent is None:
        raise UnboundedError
    if exponent.denominator != 1:
        root = _rational_power(base.constant, exponent)
        return Ratio({(): root} if root else {}, _ONE)
    times = abs(exponent.numerator)
    if exponent < 0:
        if not base.top:
            raise ZeroDivisionError
        base = Ratio(base.bottom, base.top)
    return Ratio(_to_the(base.top, times), _to_the(base.bottom, times))


def _to_the(polynomial: Polynomial, times: int) -> Polynomial:
    if not times:
        return _ONE
    if not polynomial:
        return {}
    if len(polynomial) == 1:
        ((monomial, value),) = polynomial.items()
        if times * max(value.numerator.bit_length() + value.denominator.bit_length() - 2, 0) > MAX_BITS:
            raise UnboundedError
        if times > 10**6:
            raise UnboundedError
        base = {tuple((name, power * times) for name, power in monomial): value**times}
        return multiply(base, _ONE) if any(name == "i" for name, _ in monomial) else base
    if times > MAX_DEGREE:
        raise UnboundedError
    result = _ONE
    for _ in range(times):
        result = multiply(result, polynomial)
    return result


def _function(node: Node) -> Ratio:
    if node.name == "root":
        inner, index = _ratio(node.args[0]).constant, _ratio(node.args[1]).constant
        if inner is None or not index:
            raise UnboundedError
        value = _rational_power(inner, 1 / index)
        return Ratio({(): value} if value else {}, _ONE)
    if node.name == "binom":
        value = Fraction(comb(_whole(node.args[0], 2000), _whole(node.args[1], 2000)))
        return Ratio({(): value} if value else {}, _ONE)
    if node.name in ("abs", "floor", "ceil"):
        inner = _ratio(node.args[0]).constant
        if inner is None:
            raise UnboundedError
        value = {"abs": abs(inner), "floor": Fraction(inner // 1), "ceil": Fraction(-(-inner // 1))}[node.name]
        return Ratio({(): value} if value else {}, _ONE)
    raise UnboundedError


def _rational_power(base: Fraction | None, exponent: Fraction) -> Fraction:
    """The power where it is rational (4^(1/2)); raises UnboundedError where it is not."""
    index = exponent.denominator
    if base is None or base < 0 or index > 60:
        raise UnboundedError
    top, bottom = _exact_root(base.numerator, index), _exact_root(base.denominator, index)
    times = abs(exponent.numerator)
    if times * (top.bit_length() + bottom.bit_length()) > MAX_BITS:
        raise UnboundedError
    root = Fraction(top, bottom)
    if exponent < 0 and not root:
        raise ZeroDivisionError
    return root**exponent.numerator


def _exact_root(number: int, index: int) -> int:
    if number.bit_length() > 2000:
        raise UnboundedError
    low, high = 0, 1 << (number.bit_length() // index + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**index <= number else (low, middle - 1)
    if low**index != number:
        raise UnboundedError
    return low


def _whole(node: Node, limit: int) -> int:
    value = _ratio(node).constant
    if value is None or value.denominator != 1 or not 0 <= value <= limit:
        raise UnboundedError
    return value.numerator
