"""Recursive descent over cleaned LaTeX: one expression, implicit products and mixed numbers included."""

from __future__ import annotations

import re
from fractions import Fraction

from feints.verify.nodes import Node, UnreadableError, negative, number

MAX_LENGTH = 1500
"""Characters; a longer answer is left to nobody: it is not an answer."""
MAX_DEPTH = 40
"""Nested groups."""

_TOKEN = re.compile(
    r"\\begin\s*\{\w+\*?\}|\\end\s*\{\w+\*?\}|\\[A-Za-z]+|\\\\|\\[{}|]|\d+\.\d+|\.\d+|\d+(?:\.(?=\s*[/*^)}+-]))?|[A-Za-z]'*|\S"
)
_FUNCTIONS = {
    f"\\{name}": name
    for name in (
        "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "ln", "log",
        "exp",
    )
}  # fmt: skip
_LETTERS = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "vartheta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega", "Gamma"),
    *("Delta", "Theta", "Lambda", "Xi", "Sigma", "Phi", "Psi", "Omega", "ell", "hbar", "triangle", "aleph"),
)
_GREEK = frozenset(f"\\{name}" for name in _LETTERS)
_CLOSING = {"(": ")", "[": "]", "\\{": "\\}", "\\langle": "\\rangle", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
_STOP = {")", "]", "\\}", "}", ",", ";", "|", "&", "\\\\", "\\rangle", "\\rfloor", "\\rceil", "\\cup", "\\cap"}
_ADDITIVE = ("+", "-", "\\pm", "\\mp")


def parse(text: str) -> Node:
    """The tree of one expression, collection or matrix (no relation signs).

    Raises:
        UnreadableError: it is not one, or too long or deep to be worth reading.
    """
    if len(text) > MAX_LENGTH:
        raise UnreadableError("too long")
    reader = _Reader(_TOKEN.findall(text))
    node = reader.union()
    if reader.peek():
        raise UnreadableError(f"unexpected {reader.peek()!r}")
    return node


class _Reader:
    """Position in the tokens, and a method per level of the grammar."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expect(self, token: str) -> None:
        if self.take() != token:
            raise UnreadableError(f"{token!r} is missing")

    def union(self) -> Node:
        parts = [self.sum()]
        while self.peek() == "\\cup":
            self.take()
            parts.append(self.sum())
        return parts[0] if len(parts) == 1 else Node("union", tuple(parts))

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("nested too deeply")
        sign = self.take() if self.peek() in _ADDITIVE else "+"
        total = _signed(sign, None, self.signed_product())
        while self.peek() in _ADDITIVE:
            sign = self.take()
            total = _signed(sign, total, self.signed_product())
        self.depth -= 1
        return total

    def signed_product(self) -> Node:
        """A product behind a sign, which may have one of its own: 2 + -3."""
        if self.peek() in ("+", "-"):
            return _signed(self.take(), None, self.product())
        return self.product()

    def product(self) -> Node:
        result = self.factor()
        while True:
            token = self.peek()
            if token in ("\\cdot", "*"):
                self.take()
                result = Node("mul", (result, self.signed_factor()))
            elif token == "/" or (token == ":" and _plain(result)):
                self.take()
                result = Node("div", (result, self.signed_factor()))
            elif _ends(token) or token in _ADDITIVE or (token in ("|", "\\|") and self.bars):
                return result
            else:
                result = self.juxtaposed(result)

    def juxtaposed(self, left: Node) -> Node:
        """An implicit product, or a mixed number."""
        mixed = left.op == "num" and left.value.denominator == 1 and not left.decimals and self.peek() == "\\frac"
        right = self.factor()
        if mixed and right.op == "div" and all(a.op == "num" and a.value.denominator == 1 for a in right.args):
            top, bottom = right.args[0].value, right.args[1].value
            if 0 < top < bottom:
                return number(left.value + top / bottom)
        return Node("mul", (left, right))

    def signed_factor(self) -> Node:
        if self.peek() in ("+", "-"):
            sign = self.take()
            return _signed(sign, None, self.signed_factor())
        return self.factor()

    def factor(self) -> Node:
        return self.postfix(self.primary())

    def postfix(self, node: Node) -> Node:
        while True:
            token = self.peek()
            if token == "^":
                self.take()
                node = Node("pow", (node, self.exponent()))
            elif token == "!":
                self.take()
                twice = self.peek() == "!" and bool(self.take())
                node = Node("fact", (node,), name="!!" if twice else "!")
            elif token == "\\degree":
                self.take()
                node = Node("degree", (node,))
            elif token == "%":
                self.take()
            elif token == "_":
                self.take()
                node = _subscripted(node, self.script())
            else:
                return node

    def exponent(self) -> Node:
        if self.peek() in ("+", "-"):
            return _signed(self.take(), None, self.exponent())
        if self.peek() == "{":
            return self.group()
        return self.primary()

    def script(self) -> str:
        """A subscript as it stands, for names and bases."""
        if self.peek() != "{":
            return self.take()
        start = self.at
        self.group_tokens()
        return "".join(self.tokens[start + 1 : self.at - 1])

    def group_tokens(self) -> None:
        depth = 0
        while self.peek():
            token = self.take()
            depth += (token == "{") - (token == "}")
            if not depth:
                return
        raise UnreadableError("a brace is not closed")

    def group(self) -> Node:
        """`{ ... }`; several items in it are a collection without brackets."""
        self.expect("{")
        items = self.items("}")
        self.expect("}")
        return items[0] if len(items) == 1 else Node("set", tuple(items))

    def items(self, closing: str) -> list[Node]:
        items = [self.union()]
        while self.peek() in (",", ";"):
            self.take()
            if self.peek() == closing:
                break
            items.append(self.union())
        return items

    def argument(self) -> Node:
        """Of a fraction: a group or one character, as TeX reads it."""
        if self.peek() == "{":
            inner = self.group()
            if inner.op == "set":
                raise UnreadableError("several values where one belongs")
            return inner
        token = self.peek()
        if re.fullmatch(r"\d{2,}", token):
            self.tokens[self.at : self.at + 1] = [token[0], token[1:]]
        return self.primary()

    def primary(self) -> Node:
        token = self.take()
        if not token:
            raise UnreadableError("an operand is missing")
        if token[0].isdecimal() or (token[0] == "." and len(token) > 1):
            return self.numeral(token)
        if token[0].isalpha():
            return Node("const", name=token) if token in ("i", "e") else Node("sym", name=token)
        if token in _CLOSING:
            return self.bracketed(token)
        if token == "{":
            self.at -= 1
            return self.group()
        if token in ("|", "\\|"):
            return self.absolute(token)
        if token.startswith("\\begin"):
            return self.matrix()
        return self.command(token)

    def numeral(self, token: str) -> Node:
        whole, _, digits = token.partition(".")
        if len(token) > 400:
            raise UnreadableError("a number of more than 400 digits")
        if self.peek() == "\\overline" or (self.peek() == "." and self.peek(1) == "\\overline"):
            return self.repeating(token)
        value = Fraction(int((whole + digits) or 0), 10 ** len(digits))
        return Node("num", value=value, decimals=len(digits), name=token.rstrip("."))

    def repeating(self, token: str) -> Node:
        """A decimal with a period, 0.1 and a line over 6."""
        if self.peek() == ".":
            self.take()
        elif "." not in token:
            raise UnreadableError("a line over digits without a point")
        self.take()
        period = self.script()
        if not period.isdecimal() or len(period) > 60:
            raise UnreadableError("a line over something that is not digits")
        whole, _, digits = token.partition(".")
        head = Fraction(int(whole + digits or 0), 10 ** len(digits))
        return number(head + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(digits)))

    def bracketed(self, opening: str) -> Node:
        if self.peek() in (")", "]", "\\}"):
            if opening == "\\{" and self.take() == "\\}":
                return Node("set")
            raise UnreadableError("nothing in brackets")
        bars, self.bars = self.bars, 0
        closing = _CLOSING[opening]
        items = self.items(closing)
        self.bars = bars
        end = self.take()
        if opening in ("\\lfloor", "\\lceil"):
            if end != closing or len(items) != 1:
                raise UnreadableError("rounding brackets do not match")
            return Node("fn", (items[0],), name="floor" if opening == "\\lfloor" else "ceil")
        if opening in "([" and end in (")", "]") and len(items) == 2 and opening + end != "()":
            return Node("interval", tuple(items), name=opening + end)
        if end != closing:
            raise UnreadableError("brackets do not match")
        if opening == "\\{":
            return Node("set", tuple(items))
        return items[0] if len(items) == 1 else Node("tuple", tuple(items))

    def absolute(self, token: str) -> Node:
        if self.bars > 3:
            raise UnreadableError("bars in bars")
        self.bars += 1
        inner = self.union()
        self.bars -= 1
        self.expect(token)
        return Node("fn", (inner,), name="abs")

    def matrix(self) -> Node:
        if self.peek() == "{":  # the column letters of an array
            self.group_tokens()
        rows: list[Node] = []
        row: list[Node] = []
        bars, self.bars = self.bars, 0
        while True:
            if self.peek() == "\\hline":
                self.take()
            if not self.peek().startswith(("\\end", "\\\\", "&")):
                row.append(self.union())
            token = self.take()
            if token == "&":
                continue
            if row:
                rows.append(Node("tuple", tuple(row)))
            row = []
            if token.startswith("\\end"):
                break
            if token != "\\\\":
                raise UnreadableError("a matrix is not closed")
        self.bars = bars
        if not rows or len({len(r.args) for r in rows}) != 1:
            raise UnreadableError("the rows of a matrix differ in length")
        return Node("matrix", tuple(rows))

    def command(self, token: str) -> Node:
        if token == "\\frac":
            return Node("div", (self.argument(), self.argument()))
        if token == "\\binom":
            return Node("fn", (self.argument(), self.argument()), name="binom")
        if token == "\\sqrt":
            return self.root()
        if token == "\\pi":
            return Node("const", name="pi")
        if token == "\\infty":
            return Node("const", name="oo")
        if token in _FUNCTIONS:
            return self.function(_FUNCTIONS[token])
        if token in _GREEK:
            return Node("sym", name=token)
        if token in ("\\angle", "\\overleftrightarrow", "\\overarc", "\\widehat"):
            return Node("sym", name=token + self.capitals())
        if token == "\\emptyset":
            return Node("set")
        if token in ("\\bar", "\\overline", "\\hat", "\\mathbb"):
            return Node("sym", name=token + self.script())
        raise UnreadableError(f"{token!r}")

    def capitals(self) -> str:
        """The letters of an angle or an arc."""
        if self.peek() == "{":
            return self.script()
        start = self.at
        while re.fullmatch(r"[A-Z]'*", self.peek()) and self.at - start < 3:
            self.take()
        return "".join(self.tokens[start : self.at])

    def root(self) -> Node:
        index = number(2)
        if self.peek() == "[":
            self.take()
            index = self.sum()
            self.expect("]")
        inner = self.group() if self.peek() == "{" else self.primary()
        return Node("fn", (inner, index), name="root")

    def base(self) -> Node:
        """Of a logarithm: a group, ten, or one character, as TeX reads it."""
        if self.peek() == "{":
            return self.group()
        return self.primary() if self.peek() == "10" else self.argument()

    def function(self, name: str) -> Node:
        """A function and its argument; without brackets the argument is the product that follows, up to a sign."""
        power, base = None, None
        while self.peek() in ("^", "_"):
            if self.take() == "^":
                power = self.exponent()
            else:
                base = self.base()
        if self.peek() in ("(", "{", "["):
            inner = self.primary()
            if self.peek() in ("!", "\\degree"):
                inner = self.postfix(inner)
        else:
            inner = self.signed_factor()
            while not _ends(self.peek()) and self.peek() not in (*_ADDITIVE, "\\cdot", "*"):
                if self.peek() in _FUNCTIONS or self.peek() in ("(", "|"):
                    break
                if self.peek() == "/":
                    self.take()
                    inner = Node("div", (inner, self.factor()))
                else:
                    inner = self.juxtaposed(inner)
        args = (inner,) if base is None else (inner, base)
        result = Node("fn", args, name=name)
        return result if power is None else Node("pow", (result, power))


def _signed(sign: str, total: Node | None, term: Node) -> Node:
    if sign in ("\\pm", "\\mp"):
        return Node("pm", (total or number(0), term))
    term = negative(term) if sign == "-" else term
    return term if total is None else Node("add", (total, term))


def _ends(token: str) -> bool:
    return not token or token in _STOP or token.startswith("\\end")


def _plain(node: Node) -> bool:
    return node.op in ("num", "sym", "mul", "div", "fn")


def _subscripted(node: Node, script: str) -> Node:
    if node.op in ("sym", "const"):
        return Node("sym", name=f"{node.name}_{script}")
    if node.op == "num" and script.isdecimal():
        return Node("base", (number(int(script)),), value=node.value, name=node.name)
    raise UnreadableError("a subscript on something else than a name")
