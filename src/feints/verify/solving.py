"""The killable process that solves equations by SymPy and constraints by Z3; it is sent trees, never text."""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
from collections.abc import Callable
from functools import reduce
from typing import Any

from feints.verify.execution import Failure
from feints.verify.known_values import MAX_BITS, MAX_EXPONENT, known_values, raised, value_of
from feints.verify.left_open import left_open
from feints.verify.terms import Tree, names
from feints.verify.worker import limit_memory

_SIGNS = ("+", "-", "*", "/", "^")
_MAX_PRODUCT = 8
"""Most factors of a power of what is not known: more are beyond Z3."""


class SolvingError(Exception):
    """The system is at fault: the failure and why."""


def main() -> None:
    """Serve systems until the input ends; everything else that prints goes nowhere."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    limit_memory()
    for line in sys.stdin:
        message = json.loads(line)
        solve = {"equations": equations, "constraints": constraints}.get(message.get("solve", ""))
        if "load" in message:
            importlib.import_module(message["load"])
        reply = {} if solve is None else _total(solve, message)
        out.write(json.dumps({"number": message["number"], **reply}) + "\n")
        out.flush()


def _total(solve: Callable[[dict[str, Any]], dict[str, str]], message: dict[str, Any]) -> dict[str, str]:
    """What came of one system; whatever the solvers raise is this system's, never the run's."""
    try:
        return solve(message)
    except SolvingError as error:
        return {"failure": str(error.args[0]), "detail": str(error.args[1])}
    except RecursionError:
        return {"failure": Failure.MEMORY, "detail": "it is nested too deeply"}
    except MemoryError:
        return {"failure": Failure.MEMORY, "detail": "it needs too much memory"}
    except Exception as error:
        return {"failure": Failure.NOT_RUN, "detail": f"the solver failed: {type(error).__name__}: {error}"[:300]}


# --------------------------------------------------------------------------------------------- equations, by SymPy


def equations(message: dict[str, Any]) -> dict[str, str]:
    """The one real value that the target has in every solution of the system.

    What follows step by step from numbers alone is put in first, since models mostly write chains of definitions.
    """
    sympy = importlib.import_module("sympy")
    target = sympy.Symbol(message["target"], real=True)
    left = [_expression(side, sympy) - _expression(other, sympy) for _, side, other in message["relations"]]
    if any(term.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo) for term in left):
        raise SolvingError(Failure.RUNTIME, "it divides by zero")
    left, known = _follow(left, sympy)
    if not left:
        values = {known[target]} if target in known else {target}
    else:
        solutions = _solutions(left, sympy)
        if not solutions:
            raise SolvingError(Failure.UNSATISFIABLE, "no real numbers satisfy all equations")
        values = {known[target]} if target in known else {found.get(target, target) for found in solutions}
    if any(value.free_symbols for value in values):
        raise SolvingError(Failure.AMBIGUOUS, f"the equations leave {message['target']} open")
    if len(values) > 1:
        shown = ", ".join(sorted(map(str, values))[:4])
        raise SolvingError(Failure.AMBIGUOUS, f"{message['target']} may be {shown}")
    return {"value": _figures(values.pop(), sympy)}


def _follow(left: list[Any], sympy: Any) -> tuple[list[Any], dict[Any, Any]]:
    """Put in every unknown that some equation determines alone and linearly; what is left, and what is known."""
    known: dict[Any, Any] = {}
    moved = True
    while moved:
        moved, rest = False, []
        for term in left:
            now = sympy.sympify(_bounded(term, known, sympy).subs(known)) if known else term
            if now.has(sympy.zoo, sympy.nan):
                raise SolvingError(Failure.RUNTIME, "it divides by zero")
            free = now.free_symbols
            if not free:
                if sympy.simplify(now) != 0:
                    raise SolvingError(Failure.UNSATISFIABLE, f"the equations contradict each other by {now}"[:200])
                moved = True
                continue
            (name, *others) = sorted(free, key=str)
            value = None if others else _linear(now, name, sympy)
            if value is None:
                rest.append(now)
            else:
                known[name], moved = _short(value, sympy), True
        left = rest
    return left, known


def _bounded(term: Any, known: dict[Any, Any], sympy: Any) -> Any:
    """The term, unless putting in what is known would make a power too large; inner powers are looked at first."""
    for power in sorted(term.atoms(sympy.Pow), key=lambda one: one.count_ops()):
        _refuse_large(power.base, power.exp.subs(known))
    return term


def _refuse_large(base: Any, exponent: Any) -> None:
    if exponent.is_Rational and abs(exponent) > MAX_EXPONENT and base not in (-1, 0, 1):
        raise SolvingError(Failure.MEMORY, "a power is too large to be worked out")


def _short(value: Any, sympy: Any) -> Any:
    if any(max(abs(one.p), one.q).bit_length() > MAX_BITS for one in value.atoms(sympy.Rational)):
        raise SolvingError(Failure.MEMORY, "a number is too long to be worked out")
    return value


def _linear(term: Any, name: Any, sympy: Any) -> Any:
    """The root of a term that is linear in its one unknown; None where it is not linear."""
    slope = sympy.diff(term, name)
    if slope.free_symbols or slope == 0:
        return None
    root = -term.subs(name, 0) / slope
    return None if root.has(sympy.zoo, sympy.nan) else root


def _solutions(left: list[Any], sympy: Any) -> list[dict[Any, Any]]:
    unknown = sorted(set[Any]().union(*(term.free_symbols for term in left)), key=str)
    try:
        found: list[dict[Any, Any]] = sympy.solve(left, unknown, dict=True)
    except NotImplementedError:
        raise SolvingError(Failure.NOT_RUN, "SymPy has no method for this system") from None
    return [one for one in found if all(_is_real(value, sympy) for value in one.values())]


def _is_real(value: Any, sympy: Any) -> bool:
    """Whether a root is real; by figures where its form does not tell."""
    if value.is_real is not None or value.free_symbols:
        return value.is_real is not False
    return bool(abs(sympy.im(sympy.N(value, 30))) < sympy.Float(10) ** -20)


def _expression(tree: Tree, sympy: Any) -> Any:
    """A SymPy object, built node by node out of numbers, symbols and arithmetic alone."""
    head, *rest = tree
    if head == "num":
        return sympy.Rational(rest[0])
    if head == "name":
        return sympy.Symbol(str(rest[0]), real=True)
    parts = [_expression(part, sympy) for part in rest if isinstance(part, list)]
    if head == "/" and parts[1] == 0:
        raise SolvingError(Failure.RUNTIME, "it divides by zero")
    if head in _SIGNS:
        if head == "^":
            _refuse_large(parts[0], parts[1])
        return _short(_apply(str(head), parts[0], parts[1]), sympy)
    return {"neg": lambda *p: -p[0], "abs": sympy.Abs, "min": sympy.Min, "max": sympy.Max, "sqrt": sympy.sqrt}[
        str(head)
    ](*parts)


def _apply(sign: str, one: Any, other: Any) -> Any:
    if sign == "+":
        return one + other
    if sign == "-":
        return one - other
    if sign == "*":
        return one * other
    return one / other if sign == "/" else one**other


def _figures(value: Any, sympy: Any) -> str:
    if value.is_Rational:
        return str(value.p) if value.q == 1 else f"{value.p}/{value.q}"
    number = float(sympy.N(value, 20))
    if not math.isfinite(number):
        raise SolvingError(Failure.NO_ANSWER, "the answer is no finite number")
    return repr(number)


# --------------------------------------------------------------------------------------------- constraints, by Z3


def constraints(message: dict[str, Any]) -> dict[str, str]:
    """The one value the target can have: found, forbidden, and looked for once more (SatLM).

    A constraint that Z3 cannot be given is left out where no name connects it with the target, however indirectly:
    it cannot make a target known that the rest leave open, but the answer of the rest alone is none either.
    """
    z3 = importlib.import_module("z3")
    solver = z3.Solver()
    solver.set("timeout", int(1000 * message["seconds"]))
    build = _Constraints(z3, message, solver)
    refused: list[SolvingError] = []
    for relation in message["relations"]:
        try:
            solver.add(build.condition(relation))
        except SolvingError as error:
            if names(relation) & _concerned(message):
                _refuse_open(message)
                raise
            refused.append(error)
    target = build.term(message["target"])
    _require(z3, solver, solver.check(), Failure.UNSATISFIABLE, "no numbers satisfy all constraints")
    value = solver.model().eval(target, model_completion=True)
    solver.add(target != value)
    found = solver.check()
    if found == z3.sat:
        other = solver.model().eval(target, model_completion=True)
        raise SolvingError(Failure.AMBIGUOUS, f"the target may be {_shown(value)} or {_shown(other)}")
    if found == z3.unknown:
        _require(z3, solver, found, Failure.AMBIGUOUS, "")
    if refused:
        raise refused[0]
    return {"value": _shown(value)}


def _refuse_open(message: dict[str, Any]) -> None:
    undefined = left_open(message["relations"], message["target"])
    if undefined and not message["integers"]:  # whole numbers may leave one value of many
        raise SolvingError(Failure.AMBIGUOUS, f"nothing is said of {', '.join(sorted(undefined))}") from None


def _concerned(message: dict[str, Any]) -> set[str]:
    """Names that the target depends on, as far as constraints connect them."""
    found: set[str] = names(message["target"])
    groups = [names(relation) for relation in message["relations"]]
    while any(group & found and not group <= found for group in groups):
        found = found.union(*(group for group in groups if group & found))
    return found


def _require(z3: Any, solver: Any, found: Any, failure: Failure, detail: str) -> None:
    if found == z3.unknown:
        why = solver.reason_unknown()
        late = "timeout" in why or "canceled" in why
        raise SolvingError(Failure.TIME if late else Failure.NOT_RUN, f"Z3 cannot decide: {why}")
    if found != z3.sat:
        raise SolvingError(failure, detail)


def _shown(value: Any) -> str:
    if hasattr(value, "numerator_as_long"):
        top, bottom = value.numerator_as_long(), value.denominator_as_long()
        return str(top) if bottom == 1 else f"{top}/{bottom}"
    if hasattr(value, "as_long"):
        return str(value.as_long())
    return str(value.approx(20).as_decimal(15)).rstrip("?") if hasattr(value, "approx") else str(value)[:100]


class _Constraints:
    """Z3 objects, built node by node; a division adds that its divisor is not zero, a root that it is one."""

    def __init__(self, z3: Any, message: dict[str, Any], solver: Any) -> None:
        self._z3, self._solver, self._roots = z3, solver, 0
        self._integers, self._known = set(message["integers"]), known_values(message["relations"])

    def condition(self, tree: Tree) -> Any:
        z3, (head, *rest) = self._z3, tree
        parts = [part for part in rest if isinstance(part, list)]
        if head in ("and", "or", "not", "implies"):
            build = {"and": z3.And, "or": z3.Or, "not": z3.Not, "implies": z3.Implies}[str(head)]
            return build(*(self.condition(part) for part in parts))
        one, other = (self.term(part) for part in parts)
        return {
            "=": lambda: one == other,
            "!=": lambda: one != other,
            "<": lambda: one < other,
            "<=": lambda: one <= other,
            ">": lambda: one > other,
            ">=": lambda: one >= other,
        }[str(head)]()

    def term(self, tree: Tree) -> Any:
        z3, (head, *rest) = self._z3, tree
        if head == "num":
            return z3.RealVal(rest[0])
        if head == "name":
            name = str(rest[0])
            return z3.ToReal(z3.Int(name)) if name in self._integers else z3.Real(name)
        trees = [part for part in rest if isinstance(part, list)]
        if head == "^":
            return self._power(*trees)
        parts = [self.term(part) for part in trees]
        if head in _SIGNS:
            if head == "/":
                self._solver.add(parts[1] != 0)
            return _apply(str(head), parts[0], parts[1])
        if head == "neg":
            return -parts[0]
        if head == "abs":
            return z3.If(parts[0] >= 0, parts[0], -parts[0])
        if head == "sqrt":
            return self._root(parts[0])
        smaller = head == "min"
        return reduce(lambda a, b: z3.If((a <= b) if smaller else (a >= b), a, b), parts)

    def _power(self, base: Tree, exponent: Tree) -> Any:
        """A product where the exponent is known and small, a number where the base is known too."""
        times, value = value_of(exponent, self._known), value_of(base, self._known)
        if times is not None and value is not None:
            found = raised(value, times)
            if found is not None:
                return self._z3.RealVal(str(found))
        if times is None or times.denominator != 1 or not 0 <= times <= _MAX_PRODUCT:
            raise SolvingError(Failure.NOT_RUN, f"only powers from 0 to {_MAX_PRODUCT} can be put to Z3")
        return reduce(lambda a, b: a * b, [self.term(base)] * times.numerator, self._z3.RealVal(1))

    def _root(self, inner: Any) -> Any:
        self._roots += 1
        root = self._z3.Real(f"root {self._roots}")
        self._solver.add(root >= 0, root * root == inner)
        return root


if __name__ == "__main__":
    main()
