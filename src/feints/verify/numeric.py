"""Numeric evaluation to 60 digits, checked at 150 near zero: the first of the two checkers a LaTeX negative needs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from mpmath.ctx_mp import MPContext

from feints.verify.nodes import Node, UnboundedError, symbols

DIGITS, MORE_DIGITS = 60, 150
"""Decimal digits of an evaluation, and of the second look at a value near zero."""
_POINTS = (
    ("2.2360679", "3.1622776", "1.7320508", "2.6457513", "1.4142135", "3.3166247", "1.9364916"),
    ("1.1832159", "1.9493588", "2.7748873", "1.2649110", "3.4205262", "1.6124515", "2.3021728"),
    ("3.8729833", "1.3228756", "1.1401754", "3.6055512", "2.5495097", "1.0954451", "2.8284271"),
    ("0.3162277", "0.7745966", "0.5477225", "0.2236067", "0.8366600", "0.6324555", "0.4472135"),
    ("-1.7029386", "-0.6928203", "2.1213203", "-2.9154759", "-0.3872983", "1.5811388", "-2.0493901"),
    ("-0.4358898", "2.4083189", "-1.3038404", "0.9273618", "-2.7748873", "-1.1224972", "3.0166206"),
)
"""Values for the free symbols: three points with all positive, one below 1, two of mixed sign."""
_local = threading.local()
_DEGREE_FUNCTIONS = ("sin", "cos", "tan", "cot", "sec", "csc")


def _context(digits: int) -> Any:
    """A context of this thread's own: mpmath changes the precision of a shared one under way."""
    contexts: dict[int, Any] = _local.__dict__.setdefault("contexts", {})
    if digits not in contexts:
        contexts[digits] = MPContext()
        contexts[digits].dps = digits
    return contexts[digits]


def same_value(one: Node, other: Node) -> bool | None:
    """Whether two expressions agree at every point where both are defined; None where there are too few such points.

    Symbols stand for positive numbers first, then for negative ones too. Without an i in sight a value that is not
    real says nothing, since roots of negative numbers are read in two ways.
    """
    names = sorted(symbols(one) | symbols(other))
    if len(names) > len(_POINTS[0]):
        return None
    agreed, real = 0, bool(names) and not (_complex(one) or _complex(other))
    for point in _POINTS if names else _POINTS[:1]:
        same = _agree(one, other, dict(zip(names, point, strict=False)), real)
        if same is False:
            return False
        agreed += same is True
    return True if agreed >= (2 if names else 1) else None


def _agree(one: Node, other: Node, values: Mapping[str, str], real: bool) -> bool | None:
    try:
        context = _context(DIGITS)
        a, b = evaluate(one, values, context), evaluate(other, values, context)
        if real and not (_is_real(a, context) and _is_real(b, context)):
            return None
        if _tiny(a, context) or _tiny(b, context):
            context = _context(MORE_DIGITS)
            a = _zeroed(a, evaluate(one, values, context), context)
            b = _zeroed(b, evaluate(other, values, context), context)
        if context.isnan(a) or context.isnan(b):
            return None
        if context.isinf(a) or context.isinf(b):
            return bool(a == b)
        return bool(abs(a - b) <= context.mpf(10) ** -30 * max(abs(a), abs(b)))
    except (ZeroDivisionError, ValueError, OverflowError, UnboundedError):
        return None


def real_value(node: Node, values: Mapping[str, str] | None = None) -> Any:
    """Value of `node` as a real number of 60 digits, infinities included; None where it has none."""
    try:
        context = _context(DIGITS)
        value = evaluate(node, values or {}, context)
        if context.isnan(value) or not (context.isinf(value) or _is_real(value, context)):
            return None
        return value.real if hasattr(value, "real") else value
    except (ZeroDivisionError, ValueError, OverflowError, UnboundedError, KeyError):
        return None


def _complex(node: Node) -> bool:
    return (node.op == "const" and node.name == "i") or any(_complex(child) for child in node.args)


def _is_real(value: Any, context: Any) -> bool:
    return bool(abs(context.im(value)) <= context.mpf(10) ** -40 * max(1, abs(value)))


def _tiny(value: Any, context: Any) -> bool:
    return bool(abs(value) < context.mpf(10) ** -20)


def _zeroed(rough: Any, fine: Any, context: Any) -> Any:
    """Zero where more digits shrink a value, as they do rounding noise; a small number keeps its size."""
    return context.mpf(0) if abs(fine) <= abs(rough) * context.mpf(10) ** -40 else fine


def evaluate(node: Node, values: Mapping[str, str], context: Any, *, degrees: bool = False) -> Any:
    """Value of `node` in `context`, with `values` for its symbols.

    degrees: whether a degree sign turns into radians (inside a trigonometric function) or is a mere unit.

    Raises:
        UnboundedError: evaluation would take too long, or the node is no number.
        ZeroDivisionError, ValueError, OverflowError: it has no value there.
    """
    op = node.op
    if op == "num":
        return context.mpf(node.value.numerator) / node.value.denominator
    if op == "sym":
        return context.mpf(values[node.name])
    if op == "const":
        return {"pi": +context.pi, "e": +context.e, "i": context.mpc(0, 1), "oo": context.inf}[node.name]
    if op == "degree":
        inner = evaluate(node.args[0], values, context, degrees=degrees)
        return inner * context.pi / 180 if degrees else inner
    if op == "fn" and node.name in _DEGREE_FUNCTIONS:
        return _function(node.name, [evaluate(node.args[0], values, context, degrees=True)], context)
    if op not in ("add", "mul", "div", "pow", "fact", "fn"):
        raise UnboundedError
    args = [evaluate(child, values, context, degrees=degrees) for child in node.args]
    if op == "add":
        return args[0] + args[1]
    if op == "mul":
        return args[0] * args[1]
    if op == "div":
        return args[0] / args[1]
    if op == "pow":
        return _power(args[0], args[1], context)
    if op == "fact":
        _bounded(args[0], 30, context)
        return context.fac2(args[0]) if node.name == "!!" else context.factorial(args[0])
    return _function(node.name, args, context)


def _bounded(value: Any, bits: int, context: Any) -> bool:
    """Raises UnboundedError for a value of more than `bits` bits before the point; else True."""
    if context.isinf(value) or (value and context.mag(value) > bits):
        raise UnboundedError
    return True


def _power(base: Any, exponent: Any, context: Any) -> Any:
    _bounded(exponent, 60, context)
    _bounded(base, 10**7, context)
    if not base and context.re(exponent) <= 0:
        return context.mpf(1) if not exponent else base / 0
    return context.power(base, exponent)


def _function(name: str, args: list[Any], context: Any) -> Any:
    value = args[0]
    _bounded(value, 40 if name in (*_DEGREE_FUNCTIONS, "exp", "sinh", "cosh", "tanh", "binom") else 10**7, context)
    if name == "root":
        return _root(value, args[1], context)
    if name == "log":
        return context.log(value) / context.log(args[1] if len(args) > 1 else 10)
    if name == "binom":
        _bounded(args[1], 30, context)
        return context.binomial(value, args[1])
    if name in ("floor", "ceil"):
        return context.floor(value) if name == "floor" else context.ceil(value)
    table = {"abs": abs, "ln": context.log, "arcsin": context.asin, "arccos": context.acos, "arctan": context.atan}
    function = table.get(name) or getattr(context, name)
    return function(value)


def _root(value: Any, index: Any, context: Any) -> Any:
    """The principal root; of a negative number and an odd index, the real one, as schools have it."""
    if _is_real(value, context) and context.re(value) < 0 and index == int(context.re(index)) and int(index) % 2:
        return -context.power(-context.re(value), 1 / index)
    return context.power(value, 1 / index)
