"""Arithmetic as models write it, read by a grammar of our own into plain trees; nothing of a text is ever evaluated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_TOKENS, MAX_DEPTH, MAX_DIGITS = 400, 40, 40
Tree = list[object]
"""["num", "3/4"], ["name", "x"], or an operation: [sign, tree, ...] with the signs of `OPERATIONS` and `RELATIONS`."""
OPERATIONS = ("+", "-", "*", "/", "^", "neg", "abs", "min", "max", "sqrt")
RELATIONS = ("=", "<", "<=", ">", ">=", "!=")
CONNECTIVES = {"And": "and", "Or": "or", "Not": "not", "Implies": "implies"}
_FUNCTIONS = ("abs", "min", "max", "sqrt")
_TOKEN = re.compile(
    r"\s*(?:(?P<num>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,])|\d+\.?\d*(?:[eE][-+]?\d{1,2}(?![\w.]))?|\.\d+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>\*\*|==|!=|<>|<=|>=|//|[-+*/^=<>(),%$]))"
)
_PLAIN = str.maketrans({"−": "-", "–": "-", "×": "*", "·": "*", "÷": "/", "≤": "≤", "²": "²", "\u00a0": " "})
_SAME = {"**": "^", "==": "=", "<>": "!="}


class TermError(Exception):
    """The text is not arithmetic of the grammar."""


@dataclass(frozen=True, slots=True)
class Token:
    """A number, a name or a sign."""

    kind: str
    text: str


def tokens(line: str) -> list[Token]:
    """The tokens of a line.

    Raises:
        TermError: something in it is none.
    """
    line = line.translate(_PLAIN).replace("≤", "<=").replace("≥", ">=").replace("≠", "!=").replace("²", "^2")
    found, place, end = [], 0, len(line.rstrip())
    while place < end:
        match = _TOKEN.match(line, place)
        if match is None:
            raise TermError(f"{line[place : place + 12].strip()!r} is no arithmetic")
        kind = str(match.lastgroup)
        found.append(Token(kind, _SAME.get(match[kind], match[kind])))
        place = match.end()
        if len(found) > MAX_TOKENS:
            raise TermError("the line is too long")
    return found


def read_relation(line: str) -> list[Tree]:
    """The relations a line states; a chain "a = b = c" states two.

    Raises:
        TermError: it states none, or is not of the grammar.
    """
    reader = Reader(tokens(line))
    found = reader.chain()
    reader.end()
    return found


def names(tree: Tree) -> set[str]:
    """The names in a tree."""
    if tree[0] == "name":
        return {str(tree[1])}
    return set[str]().union(*(names(part) for part in tree[1:] if isinstance(part, list)))


def renamed(tree: Tree, new: dict[str, str]) -> Tree:
    """A tree with other names."""
    if tree[0] == "name":
        return ["name", new.get(str(tree[1]), str(tree[1]))]
    return [renamed(part, new) if isinstance(part, list) else part for part in tree]


class Reader:
    """Recursive descent: sums of products of signed powers of atoms, joined by relations and And, Or, Not."""

    def __init__(self, found: list[Token]) -> None:
        self._tokens, self._place, self._depth = found, 0, 0

    def end(self) -> None:
        """Refuse anything left over."""
        if self._place < len(self._tokens):
            raise TermError(f"{self._tokens[self._place].text!r} is not expected there")

    def chain(self) -> list[Tree]:
        """One or several relations, "3 < x <= 7" being two; or a condition of And, Or, Not, Implies."""
        if self._peek() in CONNECTIVES and self._peek(1) == "(":
            return [self._condition()]
        sides, signs = [self.term()], []
        while self._peek() in RELATIONS:
            signs.append(self._next())
            sides.append(self.term())
        if not signs:
            raise TermError("no relation such as = is stated")
        return [[sign, sides[at], sides[at + 1]] for at, sign in enumerate(signs)]

    def _condition(self) -> Tree:
        name = self._next()
        parts = [part for group in self._listed(self.chain) for part in group]
        if len(parts) != {"Not": 1, "Implies": 2}.get(name, len(parts)):
            raise TermError(f"{name} of {len(parts)} conditions")
        return [CONNECTIVES[name], *parts]

    def term(self) -> Tree:
        """A sum of products."""
        tree = self._product()
        while self._peek() in ("+", "-"):
            tree = [self._next(), tree, self._product()]
        return tree

    def _product(self) -> Tree:
        tree = self._signed()
        while True:
            sign = self._peek()
            if sign in ("*", "/"):
                tree = [self._next(), tree, self._signed()]
            elif sign == "(" or (self._kind() == "name" and tree[0] in ("num", "^", "*")):
                tree = ["*", tree, self._power()]
            else:
                return tree

    def _signed(self) -> Tree:
        if self._peek() in ("-", "+"):
            sign = self._next()
            self._deeper()
            tree = self._signed()
            self._depth -= 1
            return ["neg", tree] if sign == "-" else tree
        return self._power()

    def _power(self) -> Tree:
        base = self._atom()
        if self._peek() == "^":
            self._next()
            self._deeper()
            base = ["^", base, self._signed()]
            self._depth -= 1
        return base

    def _atom(self) -> Tree:
        if self._peek() == "$":
            self._next()
        kind, text = self._kind(), self._next()
        if kind == "num":
            return self._number(text)
        if text == "(":
            self._deeper()
            tree = self.term()
            self._depth -= 1
            self._expect(")")
            return self._percent(tree)
        if kind == "name" and text in _FUNCTIONS and self._peek() == "(":
            parts = self._listed(lambda: [self.term()])
            found = [part for group in parts for part in group]
            if text in ("abs", "sqrt") and len(found) != 1:
                raise TermError(f"{text} of {len(found)} values")
            return [text, *found]
        if kind == "name":
            if self._peek() == "(":
                raise TermError(f"{text}(...) is no function of the grammar")
            return ["name", text]
        raise TermError(f"{text!r} is not expected there")

    def _number(self, text: str) -> Tree:
        if len(text) > MAX_DIGITS:
            raise TermError("a number is too long")
        return self._percent(["num", str(Fraction(text.replace(",", "").rstrip(".")))])

    def _percent(self, tree: Tree) -> Tree:
        if self._peek() != "%":
            return tree
        self._next()
        return ["/", tree, ["num", "100"]]

    def _listed(self, item: object) -> list[list[Tree]]:
        assert callable(item)
        self._expect("(")
        self._deeper()
        found = [item()]
        while self._peek() == ",":
            self._next()
            found.append(item())
        self._depth -= 1
        self._expect(")")
        return found

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TermError("it is nested too deeply")

    def _peek(self, ahead: int = 0) -> str:
        place = self._place + ahead
        return self._tokens[place].text if place < len(self._tokens) else ""

    def _kind(self) -> str:
        return self._tokens[self._place].kind if self._place < len(self._tokens) else "end"

    def _next(self) -> str:
        if self._place >= len(self._tokens):
            raise TermError("the line ends in the middle")
        self._place += 1
        return self._tokens[self._place - 1].text

    def _expect(self, sign: str) -> None:
        if self._next() != sign:
            raise TermError(f"{sign!r} is missing")
