"""Numbers written in words: "two hundred four", "twenty-six point one six", "two and a half"."""

from __future__ import annotations

import re
from fractions import Fraction

_TEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_UNITS = {name: value for value, name in enumerate((*_TEN, *_TEENS))}
_DECADES = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS = {name: 10 * value for value, name in enumerate(_DECADES, 2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "thirds": 3,
    "quarter": 4,
    "quarters": 4,
    "fourth": 4,
    "fourths": 4,
    "fifth": 5,
    "fifths": 5,
    "sixth": 6,
    "sixths": 6,
    "seventh": 7,
    "sevenths": 7,
    "eighth": 8,
    "eighths": 8,
    "ninth": 9,
    "ninths": 9,
    "tenth": 10,
    "tenths": 10,
}
_CARDINAL = "|".join([*_UNITS, *_TENS, "hundred", *_SCALES])
_WORD = "|".join(sorted([*_UNITS, *_TENS, "hundred", *_SCALES, *_PARTS, "point"], key=len, reverse=True))
PHRASE = re.compile(
    rf"\b(?:(?:negative|minus)\s+)?(?:a\s+(?=hundred|thousand|million|half|third|quarter))?(?:{_WORD})\b"
    rf"(?:(?:[\s,-]+(?:and\s+)?(?:a\s+)?)(?:{_WORD})\b)*",
    re.IGNORECASE,
)
"""A run of number words; `read_words` decides whether it is a number."""

SCALES = {"hundred": 100, **_SCALES}
"""Words that multiply a number before them, as in "2.5 million"."""


def read_words(phrase: str) -> Fraction | None:
    """Value of a run of number words, or None where the run is no number ("one two three")."""
    words = [word for word in re.split(r"[\s,-]+", phrase.lower()) if word not in ("and", "a", "")]
    sign = 1
    if words and words[0] in ("negative", "minus"):
        sign, words = -1, words[1:]
    if not words or words[0] == "point":
        return None
    if "point" in words:
        at = words.index("point")
        whole, digits = _cardinal(words[:at]), _digits(words[at + 1 :])
        return None if whole is None or digits is None else sign * (whole + digits)
    if words[-1] in _PARTS:
        value = _with_part(words)
        return None if value is None else sign * value
    cardinal = _cardinal(words)
    return None if cardinal is None else Fraction(sign * cardinal)


def _with_part(words: list[str]) -> Fraction | None:
    """Words that end in a part: three quarters, half, two and one half ("two half" is 2 1/2: "and a" was dropped)."""
    part, rest = Fraction(1, _PARTS[words[-1]]), words[:-1]
    if not rest:
        return part
    if len(rest) == 1 and rest[0] in _UNITS:
        plural = words[-1].endswith("s") or words[-1] == "halves" or rest[0] == "one"
        return _UNITS[rest[0]] * part if plural else _UNITS[rest[0]] + part
    whole = _cardinal(rest[:-1])
    if whole is None or rest[-1] not in _UNITS:
        return None
    return whole + _UNITS[rest[-1]] * part


def _cardinal(words: list[str]) -> int | None:
    """Value of cardinal words in English order; None where the order is not that of one number."""
    total, group, last = 0, 0, 10**15
    if not words:
        return None
    room = 1000
    for word in words:
        if word in _SCALES:
            scale = _SCALES[word]
            if scale >= last:
                return None
            total, group, last, room = total + max(group, 1) * scale, 0, scale, 1000
        elif word == "hundred":
            if group > 99:
                return None
            group, room = max(group, 1) * 100, 100
        elif word in _TENS:
            if room < 100:
                return None
            group, room = group + _TENS[word], 10
        elif word in _UNITS:
            value = _UNITS[word]
            if room < 10 or (room == 10 and not 1 <= value <= 9):
                return None
            group, room = group + value, 1
        else:
            return None
    return total + group


def _digits(words: list[str]) -> Fraction | None:
    """Decimals after "point": digit by digit, or as people say money ("point seventy five")."""
    if not words:
        return None
    if all(word in _UNITS and _UNITS[word] < 10 for word in words):
        digits = "".join(str(_UNITS[word]) for word in words)
    else:
        value = _cardinal(words)
        if value is None:
            return None
        digits = str(value)
    return Fraction(int(digits), 10 ** len(digits))
