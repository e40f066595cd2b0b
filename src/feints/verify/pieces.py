"""Answers of several parts, one of which cannot be read: another part that is exactly different settles the whole."""

from __future__ import annotations

import re

from feints.verify.equality import Outcome, compare
from feints.verify.forms import read
from feints.verify.nodes import Node, UnboundedError, UnreadableError, symbols
from feints.verify.numeric import real_value
from feints.verify.polynomials import exact
from feints.verify.tex import split

_MATRIX = re.compile(r"\\begin\s*\{([a-zA-Z]?matrix)\}(.*)\\end\s*\{\1\}", re.DOTALL)
_GOING_ON = re.compile(r"(-?\d+\.(\d{1,15}))\s*\\dots\s*")
_BRACKETS = re.compile(r"[(\[](.*)[)\]]", re.DOTALL)


def differ(gold: Node, said: str) -> bool:
    """Whether a cleaned answer that is unreadable as a whole has a part that the gold answer has otherwise.

    A point, an interval and a matrix are compared place by place, where they have as many places, an empty one among
    them; several lines and a list that goes on in dots are no single number, and a decimal that does is compared as far
    as it goes.
    """
    if gold.op == "matrix":
        return _matrix_differs([list(row.args) for row in gold.args], said)
    if gold.op in ("tuple", "interval"):
        inner = _BRACKETS.fullmatch(said)
        return inner is not None and _places_differ(list(gold.args), _parts(inner[1], ","))
    going_on = _GOING_ON.fullmatch(said)
    if going_on:
        value = real_value(gold)
        return value is not None and abs(value - float(going_on[1])) > 2 * 10.0 ** -len(going_on[2])
    value = exact(gold)
    if value is None or value.constant is None:
        return False
    parts, lines = _parts(said, ","), _parts(said, "\\\\")
    if len(lines) > 1 and not any(line.startswith("-") for line in lines[1:]):  # else a sum may go on there
        return all(_differs(gold, line) for line in lines)
    listed = len(parts) > 2 and "\\dots" in parts
    return listed and all(_differs(gold, part) for part in parts if part != "\\dots")


def _matrix_differs(gold: list[list[Node]], said: str) -> bool:
    inner = _MATRIX.fullmatch(said)
    if inner is None:
        return False
    rows = [_parts(row, "&") for row in _parts(inner[2], "\\\\") if row]
    if len(rows) != len(gold):
        return False
    return any(_places_differ(one, other) for one, other in zip(gold, rows, strict=True))


def _parts(text: str, sign: str) -> list[str]:
    return [part for _, part in split(text, (sign,))]


def _places_differ(gold: list[Node], said: list[str]) -> bool:
    pairs = list(zip(gold, said, strict=False))
    return len(gold) == len(said) and any(not other.strip() or _differs(one, other) for one, other in pairs)


def _differs(gold: Node, said: str) -> bool:
    """Whether a part differs, and not by notation: per cent, degrees and units are left undecided."""
    if "%" in said or "\\degree" in said:
        return False
    try:
        found = read(said, thousands=False)
        return symbols(found) <= symbols(gold) and compare(gold, found) is Outcome.DIFFERENT
    except (UnreadableError, UnboundedError, RecursionError):
        return False
