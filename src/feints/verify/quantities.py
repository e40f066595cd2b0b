"""Numbers as people write them: thousands, currency, percent, fractions, mixed, scientific, words; exact values."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from feints.verify.words import PHRASE, SCALES, read_words

MAX_EXPONENT = 400
"""Powers of ten beyond this are no answer to a word problem; larger ones are left unread, so reading is bounded."""

_INT = r"(?:\d{1,3}(?:,\d{3})+(?![\d,]\d)|\d+)"
_DEC = rf"(?:{_INT}(?:\.\d+)?|\.\d+)"
_NUMBER = re.compile(
    r"(?:(?<![\w.\\])|(?<=\bRs\.)|(?<=\bapprox\.))(?P<sign>(?:(?<![\d)\]}%])|(?<=[=:]))\s*[-+]\s?)?(?P<currency>[$€£¥₹]\s?)?(?P<inner>-)?(?:"
    rf"(?P<whole>{_INT})(?:\s+and\s+|\s+|-)(?P<num>\d+)\s*/\s*(?P<den>\d+)"
    rf"|(?P<top>{_DEC})\s*/\s*(?P<bottom>{_DEC})(?!\s*/)"
    rf"|(?P<plain>{_DEC})(?:[eE](?P<exp>[-+]?\d+)|\s*(?:[x×*·])\s*10\s*(?:\^|\*\*)\s*[({{]?(?P<power>[-+]?\d+)[)}}]?)?"
    r")(?P<percent>\s*(?:%|percent(?:age)?\b|pct\b))?"
    rf"(?P<scale>\s+(?:{'|'.join(SCALES)})s?\b|(?<=\d)(?:[kmb]|[mb]n)\b)?",
    re.IGNORECASE,
)
SCIENTIFIC = re.compile(
    rf"(?<![\w.^}}{{*/\\])(?P<digits>{_DEC})\s*[x×*·]\s*10"
    r"(?:\s*(?:\^|\*\*)\s*(?:[({]\s*(?P<braced>[-+−]?\d+)\s*[)}]|(?P<power>[-+−]?\d+))|(?P<raised>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+))(?![\w.^!]*[\w^!])"
)
"""A number times a power of ten, as people type it."""
_RAISED = re.compile(r"(?<=10)[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_SIGN_IN_WORDS = re.compile(
    r"(\A[\s\"'*$(]*|\b(?:is|are|was|be|not|of|to|about|approximately|equals)\s+|[=:]\s*)(?:minus|negative)\s+(?=[$€£]?[\d.]*\d)",
    re.IGNORECASE,
)
_MONEY = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}
"""Letters that multiply an amount of money, as in "$3.5M"; without a currency sign they may be metres or a variable."""
_VARIABLE = re.compile(r"(?:\s?\*\s?)?[xyz](?![A-Za-z])")
_TEX_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|textnormal|bold)\s*\{([^{}]*)\}")
_TEX_FRACTION = re.compile(r"\\[dtc]?frac\s*\{\s*([-\d.,]+)\s*\}\s*\{\s*([-\d.,]+)\s*\}|\\[dtc]?frac\s*(\d)\s*(\d)")
_THOUSANDS_SPACE = re.compile(r"(?<=\d)(?:\\[,; ]|[~\u00a0\u202f\u2009])(?=\d{3}(?!\d))")
"""A narrow or unbreakable space between groups of three digits, as typesetters put it."""
GROUPED = re.compile(r"[1-9]\d{0,2}(?: \d{3})+(?![\w/]|[.,]\d)")
"""Groups of three digits with blanks between them: one number where nothing but an answer is stated."""
_PART = {"half": "1/2", "third": "1/3", "quarter": "1/4"}
_NO_ONE = re.compile(r"\b(?:each|every|any|no|this|that|which|another|other)\s+\Z", re.IGNORECASE)
_ORDINAL = re.compile(r"(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)", re.IGNORECASE)
_MAX_DIGITS = 1000
_FLOAT_DIGITS = 7
"""From this many decimals on, a written decimal is taken for a rounded one (0.3333333 for 1/3)."""
_CLOSE, _NOISE = Fraction(1, 10**6), Fraction(1, 10**12)
"""Shares of a value: what the rounding of a float leaves, and what its arithmetic does."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number read out of a text."""

    value: Fraction
    """Exact value; a percent sign does not divide by 100."""
    percent: bool
    """Whether a percent sign or word follows."""
    decimals: int
    """Digits after the decimal point."""
    text: str
    """As it stands there."""
    start: int
    """Where it begins in the (plain) text."""
    end: int
    """Where it ends."""


def plain(text: str) -> str:
    """`text` with the typography of numbers made plain: TeX thousands and text boxes, Markdown, Unicode minus."""
    text = _THOUSANDS_SPACE.sub("", text)
    if "\\" in text or "{" in text:
        text = text.replace("\\!", "").replace("{,}", ",").replace("\\,", " ").replace("\\ ", " ").replace("\\;", " ")
        text = text.replace("\\$", "$").replace("\\%", "%").replace("\\times", "×").replace("\\cdot", "·")
        text = re.sub(r"\\[()\[\]]|\\(?:left|right)\b", " ", text)
        text = _TEX_FRACTION.sub(lambda m: f" {m[1] or m[3]}/{m[2] or m[4]}", text)
        text = _TEX_TEXT.sub(r" \1", text)
    if not text.isascii():
        text = _ascii(text)
    if "'" in text:
        text = re.sub(r"(?<=\d)'(?=\d{3}(?!\d))", "", text)
    if "minus" in text or "egative" in text or "Minus" in text:
        text = _SIGN_IN_WORDS.sub(r"\1-", text)
    if " and a " in text:
        text = re.sub(r"(?<=\d) and a (half|third|quarter)\b", lambda m: f" {_PART[m[1]]}", text)
    if "10**" in text:
        text = re.sub(r"(?<=10)\*\*(?=[-+]?\d)", "^", text)
    return text.replace("**", "").replace("__", "_")


def _ascii(text: str) -> str:
    text = _RAISED.sub(lambda match: "^" + unicodedata.normalize("NFKC", match[0]), text)
    text = re.sub("[−–—‐‑]", "-", text).replace("\u00a0", " ").replace("\u202f", " ").replace("\u2009", " ")
    text = text.replace("’", "'").replace("“", '"').replace("”", '"').replace("％", "%")
    if any(unicodedata.category(char) == "No" for char in text):
        text = re.sub(
            r"(\d?)\s?([¼½¾⅐-⅞])",
            lambda m: (m[1] + " " if m[1] else "") + unicodedata.normalize("NFKC", m[2]).replace("⁄", "/"),
            text,
        )
    return text


def read_numbers(text: str) -> list[Quantity]:
    """All numbers of `text` (made `plain` first) in order; figures before words where both claim a place."""
    text = _dollars(text)
    found = [quantity for match in _NUMBER.finditer(text) if (quantity := _from_match(match)) is not None]
    for match in PHRASE.finditer(text):
        value = None if _is_no_amount(match) else read_words(match[0])
        if value is not None and not any(q.start < match.end() and match.start() < q.end for q in found):
            found.append(_worded(value, match))
    return sorted(found, key=lambda quantity: quantity.start)


def last_number(text: str) -> Quantity | None:
    """The last of `read_numbers(text)`, without reading those before it."""
    text = _dollars(text)
    matches = list(_NUMBER.finditer(text))
    found = next((quantity for match in reversed(matches) if (quantity := _from_match(match)) is not None), None)
    end = found.end if found is not None else 0
    return _in_words(text, end) or found


def _in_words(text: str, start: int) -> Quantity | None:
    """The last number in words that begins at `start` or later."""
    for match in reversed([match for match in PHRASE.finditer(text) if match.start() >= start]):
        value = None if _is_no_amount(match) else read_words(match[0])
        if value is not None:
            return _worded(value, match)
    return None


def _is_no_amount(match: re.Match[str]) -> bool:
    """Whether number words count nothing: each *one*, the *third* side."""
    before, behind = match.string[max(0, match.start() - 12) : match.start()], match.string[match.end() :][:4]
    if match[0].lower() == "one":
        return _NO_ONE.search(before) is not None
    follows = re.match(r"\s+(?!of\b)[a-z]", behind)
    return bool(follows and _ORDINAL.fullmatch(match[0]) and before.lower().endswith("the "))


def _worded(value: Fraction, match: re.Match[str]) -> Quantity:
    percent = re.match(r"\s*(?:%|percent)", match.string[match.end() : match.end() + 40]) is not None
    return Quantity(value, percent, 0, match[0], match.start(), match.end())


def _dollars(text: str) -> str:
    """Mathematics written as $18$ is not money: drop the closing sign, keep the length."""
    return re.sub(r"(?<=[\d%}])\$", " ", text) if "$" in text else text


def _from_match(match: re.Match[str]) -> Quantity | None:
    decimals = 0
    if match.end() - match.start() > _MAX_DIGITS:
        return None
    if _VARIABLE.match(match.string, match.end()) and not match["percent"]:
        return None
    if match["whole"] is not None:
        if not int(match["den"]):
            return None
        value = _decimal(match["whole"]) + Fraction(int(match["num"]), int(match["den"]))
    elif match["top"] is not None:
        bottom = _decimal(match["bottom"])
        if not bottom:
            return None
        value = _decimal(match["top"]) / bottom
    else:
        written = match["plain"]
        decimals = len(written.partition(".")[2])
        exponent = int(match["exp"] or match["power"] or 0)
        if abs(exponent) > MAX_EXPONENT:
            return None
        value = _decimal(written)
        if exponent:
            value *= Fraction(10) ** exponent
    end = match.end()
    scale = (match["scale"] or "").strip().lower()
    if scale in _MONEY and not match["currency"]:
        scale, end = "", match.start("scale")
    if scale:
        value *= _MONEY.get(scale) or SCALES[scale.removesuffix("s")]
    if "-" in (match["sign"] or "") or match["inner"]:
        value = -value
    text = match.string[match.start() : end].strip()
    return Quantity(value, match["percent"] is not None, decimals, text, match.start(), end)


def _decimal(written: str) -> Fraction:
    whole, point, digits = written.replace(",", "").partition(".")
    return Fraction(int(whole + digits), 10 ** len(digits)) if point else Fraction(int(whole))


def same(gold: Quantity, answer: Quantity) -> bool:
    """Whether two written numbers are one: exactly, up to float noise, or 50 % against 0.5 where gold is a percent."""
    if close(gold, answer.value, answer.decimals):
        return True
    return gold.percent and not answer.percent and answer.value * 100 == gold.value


def close(gold: Quantity, value: Fraction, decimals: int) -> bool:
    """Equality, or one is visibly the other as a rounded float (7 decimals or more)."""
    return gold.value == value or rounded(gold.value, value, gold.decimals, decimals)


def rounded(one: Fraction, other: Fraction, *decimals: int) -> bool:
    """Whether two values agree to the last written digit, for the `decimals` of either that make it visibly a float.

    What is small is held to its size too, so that 0.0000001 is not 0.00000004; beside 0 only float noise passes.
    """
    digits = min((count for count in decimals if count >= _FLOAT_DIGITS), default=0)
    if not digits:
        return False
    size = max(abs(one), abs(other))
    if not one or not other:
        return size <= _NOISE
    return abs(one - other) <= max(min(Fraction(1, 10**digits), size * _CLOSE), size * _NOISE)
