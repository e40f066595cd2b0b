r"""The signs of mathematics in order: whether a value stands wherever one is wanted. It knows more than our readers do.

Where a value is missing (`2 +`, `\frac{5}{}`, `(, 3]`) nobody can say what was meant: such a text is no answer. A sign
whose meaning is not known here is let pass.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum, auto

from feints.verify.tex import TEXT_BOX

_TOKEN = re.compile(
    r"\\begin\s*\{\w+\*?\}(?:\s*\{[lcr|\s]*\})?|\\end\s*\{\w+\*?\}|\\(?:[A-Za-z]+|.)|\d+(?:\.\d+)?(?:\.(?!\w))?|\.\d+"
    r"|(?:[A-Za-z]\.){2,}|[^\W\d_]+|[<>=!]=|=[<>]|[-=]>|:=|\.{3,}|\.(?=\s|\Z)\s*|\S",
    re.DOTALL,
)
_SIGNS = {"+", "-", "\\pm", "\\mp"}
_JOINING = {
    *("*", "/", "\\cdot", "\\cup", "\\cap", "\\setminus", "\\wedge", "\\vee", "\\land", "\\lor", "\\oplus", "\\otimes")
}
_RELATIONS = {
    *("=", "<", ">", "<=", ">=", "==", "!=", "=<", "=>", ":="),
    *("\\leq", "\\geq", "\\neq", "\\approx", "\\equiv", "\\in", "\\subset", "\\subseteq", "\\propto", "\\cong"),
}
_FUNCTIONS = {
    *("\\sin", "\\cos", "\\tan", "\\cot", "\\sec", "\\csc", "\\arcsin", "\\arccos", "\\arctan"),
    *("\\sinh", "\\cosh", "\\tanh", "\\ln", "\\log", "\\lg"),
}
_TAKES = {"\\frac": 2, "\\binom": 2, "\\sqrt": 1, "\\overline": 1, "\\bar": 1, "\\hat": 1, "\\mathbb": 1}
"""Commands and how many values belong to them."""
_SIGNED = {"\\infty", "\\pi", *_TAKES}
"""Commands that may follow a sign in a power."""
_MATES = {"(": ")", "[": "]"}
_MATES |= {"\\{": "\\}", "\\langle": "\\rangle", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
_HALF_OPEN = {"(": "]", "[": ")"}
_ROOT_INDEX = re.compile(r"\\sqrt\s*\[[^\[\]]+\]")
_INTERVAL = re.compile(r"(?<![\d})])[(\[\]]([^()\[\];,]*[;,][^()\[\];,]*)[)\[\]]")
"""An interval however its ends are written: [0, 1[ as well as [0, 1)."""
_BETWEEN_BRACKETS = re.compile(r"[^()\[\]]+")
_CLOSE = {")", "]", "}", "\\}", "\\rangle", "\\rfloor", "\\rceil"}
_AFTER = {"!", "%", "\\degree", "\\prime"}
"""What follows a value and leaves one."""
_NOTHING = {
    *("\\circ", "\\to", "\\rightarrow", "\\Rightarrow", "\\implies", "\\therefore"),
    *("'", '"', "`", "?", "|", "\\|", "\\mid", "\\quad", "\\qquad", "\\hline", "\\not", "\\left", "\\right"),
}
"""What may stand anywhere."""
_MARKS = _SIGNS | _AFTER | {"*", "'", "\\circ"}
_NO_ARGUMENT = _CLOSE | _NOTHING | _AFTER | {"and", "or"}
_NO_SCRIPT = _CLOSE | _RELATIONS | (_JOINING - {"*"}) | {"", ",", ";", "^", "_", "&"}
_LETTERS = re.compile(r"\w+\Z")
_NO_POWER = re.compile(r"\\[^A-Za-z{}|,!;: ]?")
_COUNTED = re.compile(r"[A-Z]|\\[A-Za-z]")
_KNOWN_SIGNS = re.compile(
    "[\u00a1-\u00bf\u00d7\u00f7\u2010-\u205e\u2100-\u214f\u2190-\u22ff\u2308-\u230b\u25a0-\u25ff\u27c0-\u27ef\u3000-\u303f\uff01-\uff65]"
)
"""Signs beyond ASCII: operators, arrows, shapes, dashes and quotes, points as wide as a letter."""
_INFIX = re.compile(
    "[\u2208-\u220d\u2215-\u2217\u2224\u2226-\u222a\u2234-\u22a3\u22a6-\u22bd\u22c0-\u22ed\u22f2-\u22ff\u27d0-\u27e5\u2140\u2a00-\u2aff]"
)
"""Those that stand between two values, or before one."""
_ARROW = re.compile("[\u2190-\u21ff\u27f0-\u27ff\u2900-\u297f]")
_MONEY = "¢£¥€₹₽₩₪₫₱₦₺₴₿"
_LONGEST = 4000


class _Here(Enum):
    """What stands before the next sign."""

    NOTHING = auto()
    """The beginning, a bracket that opens, a comma."""
    SIGN = auto()
    """What wants a value after it."""
    VALUE = auto()


NOTHING, SIGN, VALUE = _Here.NOTHING, _Here.SIGN, _Here.VALUE


class _DisorderError(Exception):
    """Where a value is wanted there is none."""


def disorder(text: str) -> str:
    """Where a value is missing in a cleaned answer, or nothing where the signs are in order."""
    boxes = re.sub(r"(?<=\d)\{\s*([.,:])\s*\}(?=\d)", r"\1", TEXT_BOX.sub(_plain_box, text))
    boxes = _INTERVAL.sub(r"(\1)", _ROOT_INDEX.sub(r"\\sqrt", boxes))
    if len(boxes) > _LONGEST:
        return ""
    try:
        parts = _Reader(_TOKEN.findall(boxes)).read("")[1]
    except _DisorderError as error:
        return str(error)
    except RecursionError:
        return "it is nested too deeply"
    return "" if parts or not boxes.strip() else "there is no value in it"


def _plain_box(box: re.Match[str]) -> str:
    """A text box as a value, with the brackets in it; as itself where it joins values."""
    words = (box[1] or box[2] or "").strip()
    return f" {words} " if words.lower() in ("and", "or", ",") else _BETWEEN_BRACKETS.sub(r" \\mbox ", words or "-")


class _Reader:
    """Position in the tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [re.sub(r"\s+", "", token) for token in tokens]
        self.at = 0
        ended = [*tokens[:-1], f"{tokens[-1]} "] if tokens else []
        self.stops = {at for at, token in enumerate(ended) if re.fullmatch(r"\.\s+", token)}
        self.matrices = 0

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def read(self, *ends: str, value: bool = False) -> tuple[str, int]:
        """Read up to one of `ends`; that one, and how many parts stood before it (0 for none).

        value: whether all of it must be one value, without relations.
        """
        here, parts, seen, bars = NOTHING, 0, False, 0
        while True:
            token = self.take()
            bars += token == "|"
            if token in ends:
                if bars % 2 and (value or self.tokens[self.at - 2] == "|"):
                    raise _DisorderError("its bars do not match")
                if here is SIGN:
                    raise _DisorderError(f"nothing stands after {self.tokens[self.at - 2]!r}")
                return token, max(parts + (here is VALUE), int(seen))
            if not token:
                raise _DisorderError("what is opened in it is not closed")
            if value and (token in (*_RELATIONS, "\\\\") or (token == "%" and here is NOTHING)):
                raise _DisorderError(f"{token!r} stands inside of a value")
            if token in (",", ";"):
                parts += 1
            here = self.step(token, here)
            seen = seen or here is VALUE

    def step(self, token: str, here: _Here) -> _Here:
        """What stands there after `token`."""
        if token in _SIGNS:
            if here is SIGN and self.tokens[max(0, self.at - 3) : self.at - 1].count(token) == 2:
                raise _DisorderError(f"{token!r} stands there three times")
            return SIGN
        if token in _RELATIONS and here is NOTHING and self.tokens[max(0, self.at - 2)] == "(":
            return SIGN  # a value in brackets that says what another one is about
        if token in _JOINING or token in _RELATIONS:
            return self.wanted(token, here, SIGN)
        if token in (",", ";"):
            return self.wanted(token, here, NOTHING)
        if token in ("^", "_"):
            after = self.before_letter(token) if here is NOTHING else self.wanted(token, here, self.script())
            if token == "_" == self.peek():
                raise _DisorderError("an index stands behind an index")
            return after
        if token in _AFTER:
            alone = token == "%" and here is NOTHING and self.peek() in ("", ")")
            return VALUE if alone else self.wanted(token, here, VALUE)
        if token in ("&", "\\\\", ":", ".") or token.lower() in ("and", "or"):
            return self.parted(token, here)
        if token in _NOTHING or re.fullmatch(r"\\[^A-Za-z{}|]", token):
            return self.aside(token, here)
        return self.value(token, here)

    def aside(self, token: str, here: _Here) -> _Here:
        """Behind what may stand nearly anywhere."""
        if token == "?" and here is SIGN:
            raise _DisorderError("a question mark stands for a value")
        if token == "\\circ" and here is VALUE and self.tokens[self.at - 2].isalpha():
            return SIGN  # degrees follow numbers, so one function is put into another
        return here

    def wanted(self, token: str, here: _Here, after: _Here) -> _Here:
        """`after`, where a value stands before `token`."""
        if here is not VALUE:
            raise _DisorderError(f"nothing stands before {token!r}")
        return after

    def parted(self, token: str, here: _Here) -> _Here:
        """Behind what ends a cell, a line, a sentence."""
        if token == "&" and not self.matrices:
            raise _DisorderError("& stands outside of a matrix")
        if token == "\\\\" and not self.matrices:
            return NOTHING if here is VALUE else here
        if here is SIGN or (token == "." and here is NOTHING) or (token == ":" and self.at == 1):
            raise _DisorderError(f"nothing stands before {token!r}")
        return SIGN if token == "." and self.at - 1 not in self.stops else NOTHING

    def value(self, token: str, here: _Here) -> _Here:
        """Behind a value, or the beginning of one."""
        if token == "{":
            self.read("}")
        elif token.startswith("\\begin"):
            self.matrix(token)
        elif token in _MATES:
            self.bracket(token)
        elif token in _CLOSE or token.startswith("\\end"):
            raise _DisorderError("its brackets do not match")
        elif token in _FUNCTIONS:
            while self.peek() in ("^", "_"):
                self.take()
                self.script()
            return SIGN
        elif token in _TAKES:
            self.arguments(token)
        elif token == "@":
            raise _DisorderError("'@' is no sign of mathematics")
        elif not (token[0].isascii() or _LETTERS.match(token)):
            return self.foreign(token, here)
        return VALUE

    def foreign(self, token: str, here: _Here) -> _Here:
        """A sign beyond ASCII: quotes and points of other scripts part, signs of mathematics may be anything."""
        kind = unicodedata.category(token)
        if not _KNOWN_SIGNS.match(token) and kind[0] in "SP" and kind != "Sc":
            raise _DisorderError(f"{ascii(token)} is no sign of mathematics")
        if kind[0] == "P":
            return here if here is not VALUE else NOTHING
        if _ARROW.match(token):
            return here if here is not VALUE else SIGN
        if kind == "Sc" and token not in _MONEY:
            raise _DisorderError(f"{ascii(token)} is no sign of mathematics")
        if _INFIX.match(token):
            return SIGN
        return here if kind == "Sc" else VALUE

    def bracket(self, opening: str) -> None:
        ends = (_MATES[opening], *([_HALF_OPEN[opening]] if opening in _HALF_OPEN else []))
        end, parts = self.read(*ends)
        if not parts and opening != "\\{":
            raise _DisorderError(f"nothing stands between {opening!r} and {end!r}")
        if end != _MATES[opening] and parts < 2:
            raise _DisorderError("its brackets do not match")

    def matrix(self, opening: str) -> None:
        name = opening.partition("{")[2].partition("}")[0]
        self.matrices += 1
        if not self.read(f"\\end{{{name}}}")[1]:
            raise _DisorderError("nothing stands in its matrix")
        self.matrices -= 1

    def before_letter(self, sign: str) -> _Here:
        """A power or an index with nothing before it, as in _5C_2: a capital letter must follow."""
        self.script()
        if not _COUNTED.match(self.peek()):
            raise _DisorderError(f"nothing stands before {sign!r}")
        return NOTHING

    def script(self) -> _Here:
        """A power or an index, behind its sign."""
        token = self.take()
        if token == "{":
            self.script_group()
            return VALUE
        if token in _SIGNS:
            following = self.peek()
            if _LETTERS.match(following) or following[:1] in (".", "{") or following in _SIGNED:
                self.step(self.take(), SIGN)
            return VALUE
        if token in _NO_SCRIPT or _NO_POWER.fullmatch(token):
            raise _DisorderError("a power or an index is missing")
        if token not in _AFTER and token not in ("*", "'"):
            after = self.step(token, NOTHING)
            if after is SIGN and token not in _FUNCTIONS:
                raise _DisorderError("a power or an index is missing")
        return VALUE

    def script_group(self) -> None:
        """A group as a power or an index: marks alone, a number with its sign behind it (2+), or values."""
        rest = self.tokens[self.at :]
        if "}" not in rest:
            raise _DisorderError("what is opened in it is not closed")
        group = rest[: rest.index("}")]
        if group and all(token in _MARKS for token in group):
            self.at += len(group) + 1
        elif len(group) == 2 and _LETTERS.match(group[0]) and group[1] in _SIGNS:
            self.at += 3
        elif not self.read("}")[1]:
            raise _DisorderError("a power or an index is empty")

    def arguments(self, name: str) -> None:
        """What belongs to a command: groups, or single signs as TeX reads them."""
        grouped = self.peek() == "{"
        for _ in range(_TAKES[name]):
            token = self.take()
            if token == "{":
                if not self.read("}", value=name == "\\frac")[1]:
                    raise _DisorderError(f"{name} lacks what belongs to it")
                continue
            missing = not token or token in _NO_ARGUMENT or token.startswith("\\end")
            if len(token) > 1 and token.isalnum() and not missing:
                self.at -= 1
                self.tokens[self.at], token = token[1:], token[0]
            missing = missing or (grouped and self.peek() in ("{", ".") and token not in _TAKES)
            if missing or self.step(token, NOTHING) is not VALUE:
                raise _DisorderError(f"{name} lacks what belongs to it")
