"""From a cleaned answer to its form: a value, a list, an equation, an inequality, by the signs outside all brackets."""

from __future__ import annotations

import re
from dataclasses import replace

from feints.verify.grammar import parse
from feints.verify.nodes import Node, UnreadableError, number, symbols
from feints.verify.tex import RELATIONS, join_thousands, split

MAX_ITEMS = 40
"""Items of a list; a longer one is no answer."""
_ALTERNATIVES = (",", "and", "or", "\\text{and}", "\\text{or}")
_BASE = re.compile(r"\(?([0-9A-Z]*\d[0-9A-Z]*(?:\.[0-9A-Z]+)?|[A-Z]\d*)\)?\s*_\s*\{?\s*(\d{1,2})\s*\}?")
_NUMERAL = re.compile(r"(?=.*\d)[0-9A-Z]*[A-Z][0-9A-Z]*")
"""A numeral of a base above ten, its base left out: a product of letters and numbers to whoever does not know."""
_BUILT = re.compile(r"\\\{\s*[A-Za-z]\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?[|:]\s*(.+?)\s*\\\}")
_TIME = re.compile(r"(\d{1,2}):(\d{2})(?:\s*([ap])\.?\s*m\.?)?", re.IGNORECASE)
_NAME = re.compile(
    r"(?:[A-Za-z]|\\[a-z]{2,9})(?:_\s*\{?\w+\}?)?'*"
    r"|(?:[A-Za-z]|\\[a-z]{2,9})(?:_\s*\{?\w+\}?)?(?:\^\{-1\})?'*\s*\([^()=]{0,30}\)"
    r"|\([A-Za-z](?:_\w)?(?:,\s*[A-Za-z](?:_\w)?)*\)|[A-Z]{2,4}|\[[A-Z]{3,5}\]|\|[A-Z]{1,2}\||\\\|[^|=]{1,40}\\\||m?\s*\\angle\s*[A-Z]{1,3}"
    r"|\\(?:bar|hat|overline)\s*\{?\s*\w+\s*\}?|\\(?:sin|cos|tan)\s*\(?\s*(?:[A-Za-z]|\\[a-z]+)\s*\)?"
)


def is_time(text: str) -> bool:
    """Whether a text is a time of day with its half."""
    match = _TIME.fullmatch(text)
    return match is not None and match[3] is not None


def read(text: str, *, thousands: bool) -> Node:
    """The form of a cleaned answer.

    thousands: whether 1,234 is one number.

    Raises:
        UnreadableError: it is not mathematics our grammar knows.
    """
    if thousands:
        text = join_thousands(text)
    groups = [part for _, part in split(text, (";",)) if part]
    if len(groups) > MAX_ITEMS:
        raise UnreadableError("too many items")
    if len(groups) > 1:
        return Node("list", tuple(_as_point(_items(group)) for group in groups), name=",")
    return _items(text)


def _items(text: str) -> Node:
    pieces = [(sign, part) for sign, part in split(text, _ALTERNATIVES) if part]
    if not pieces:
        raise UnreadableError("nothing is left")
    if len(pieces) == 1:
        return _single(pieces[0][1])
    if len(pieces) > MAX_ITEMS:
        raise UnreadableError("too many items")
    joiner = "or" if any("or" in sign for sign, _ in pieces) else "and" if any("and" in s for s, _ in pieces) else ","
    return Node("list", tuple(_single(part) for _, part in pieces), name=joiner)


def _as_point(node: Node) -> Node:
    """A group "p=5, q=2" between semicolons is a point."""
    if node.op == "list" and all(is_assignment(item) for item in node.args):
        return Node("tuple", tuple(item.args[-1] for item in node.args))
    return node


def _single(text: str) -> Node:
    based = _BASE.fullmatch(text)
    if based and 2 <= int(based[2]) <= 36:
        return Node("base", (number(int(based[2])),), name=based[1])
    time = _TIME.fullmatch(text)
    if time and (time[3] or (len(time[2]) == 2 and int(time[2]) == 0)):
        return Node("text", name=f"{int(time[1])}:{time[2]}{(time[3] or '').lower()}")
    built = _BUILT.fullmatch(text)
    if built:
        return _items(built[1])
    pieces = split(text, RELATIONS)
    if len(pieces) == 1:
        return replace(parse(text), name=text) if _NUMERAL.fullmatch(text) else parse(text)
    sides = [_side(part, last=at == len(pieces) - 1) for at, (_, part) in enumerate(pieces)]
    return Node("rel", tuple(sides), name=" ".join(sign for sign, _ in pieces[1:]))


def _side(text: str, *, last: bool) -> Node:
    """One side of a relation; what only names a quantity (an angle, f(x)) need not be mathematics."""
    if not last and _NAME.fullmatch(text):
        return Node("sym", name=text.replace(" ", ""))
    try:
        return parse(text)
    except UnreadableError:
        if last or not text or len(text) > 60:
            raise
        return Node("sym", name=f"?{text}")


def is_assignment(node: Node) -> bool:
    """Whether a relation merely says what something is: x = 3, f(x) = 3, (a, b) = (1, 2), 9 + 9 = 18."""
    if node.op != "rel" or not set(node.name.split()) <= {"=", "\\approx"}:
        return False
    left = node.args[0]
    return left.op == "sym" or _letters(left) or not (symbols(left) or symbols(node.args[-1]))


def _letters(node: Node) -> bool:
    """A product of letters alone, such as the side AB, or a point of letters."""
    if node.op in ("mul", "tuple"):
        return all(child.op == "sym" or _letters(child) for child in node.args)
    return False


def values(node: Node) -> list[Node]:
    """What an assignment may be taken to say: its last side; with an approximation, each side after the first name."""
    signs = node.name.split()
    if "\\approx" not in signs:
        return [node.args[-1]]
    sides = [side for side in node.args if side.op != "sym"]
    return sides or [node.args[-1]]
