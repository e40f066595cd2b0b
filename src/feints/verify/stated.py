"""Which number a stated answer states: its explanation left out, as one number, an amount in two units or a formula."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from feints.verify import latex
from feints.verify.quantities import GROUPED, SCIENTIFIC, Quantity, plain, read_numbers, same

_TEX = re.compile(r"\\(?!boxed|quad|qquad)|[\^√π]")
"""What is left of mathematics once `plain` has read the numbers in it."""
_EXPRESSION = re.compile(
    r"\d\s*(?:[-+*^÷]|\\cdot|\\times|×|·)\s*(?:[\d(\\]|[a-z](?![a-z]))(?!\s*(?:\^|\*\*))|\d!|\d\(\d+\)"
    r"|\d\s?[xyz](?![\w-]|['’]s)|\d[nab](?![\w'’-])|\d[a-z]\s*[-+*/^]|[-+*/^]\s*\d*[a-z](?![\w'])|(?<![\w'])[a-z]\s*[-+*/^]\s*\d"
    r"|\b(?:sqrt|log|ln|sin|cos|tan|exp)\s*\(?\s*\d|\d\s?pi\b|\di(?!\w|\.e)"
)
"""A sum, product, power, function or variable: more than a number, so the LaTeX checker reads it."""
_EXPLAINED = re.compile(
    r"(?<!\w)(?:since|because|i\.e\.|as(?=\s+[$]?\d[^=\n]*=)|(?:where|when|if|with|for)(?=\s+[$(\\]*[A-Za-z]\w*[$)]*\s*=)"
    r"|leaving(?=\s+[$]?\d))(?!\w)|\s[-–—]\s+(?=(?:that|this|it|which|a|an|the|so|as)\s+\w{2})|\s?-(?=a-\w)",
    re.IGNORECASE,
)
"""Where an explanation of the number before it begins."""
_SENTENCE = re.compile(r"(?<=[\w%)\]$])[.!]\**\s+(?=\**[A-Z])")
_STORY = re.compile(r"[\s\"'(]*[A-Z][a-z']*(?:\s+\S+){2,}?[.!?]\s+[A-Z]")
_BOLD = re.compile(r"\*\*([^*\n]*\d[^*\n]*)\*\*")
_COPULA_BEFORE = re.compile(r"(?:\b(?:is|are|was|were|equals?|costs?|totals?)|=)\s*[$€£]?\s*\Z")
_ANOTHER_CLAUSE = re.compile(r"[,;(]|\b(?:which|that|who|so|because|since|as|and|but)\b")
_OPENING = re.compile(r"[\s\"'(]*(?:In|After|For|With|At|Over|From|On|Of|By|During|Within)\s+(?:\w+\s+){0,2}[$€£]?\Z")
"""Before a number that tells of when or for what the answer is."""
_ASIDE = re.compile(r"(?<=[\w%*])[.,]?\s+\((?P<inside>[^()]*(?:\([^()]*\)[^()]*)*)\)(?=[^=]*\Z)")
"""Brackets behind a number: an explanation, where they hold words, an equation or the same number again."""
_OPERATORS = (
    (re.compile(r"(?<=\d)\s+plus\s+(?=[$(]?\d)"), " + "),
    (re.compile(r"(?<=\d)\s+minus\s+(?=[$(]?\d)"), " - "),
    (re.compile(r"(?<=\d)\s+(?:times|multiplied\s+by|x(?!\s+10\s*[\^*⁻⁰¹²³⁴-⁹]))\s+(?=[$(]?\d)|(?<=\d)x(?=\d)"), " * "),
    (re.compile(r"(?<=\d)\s+divided\s+by\s+(?=[$(]?\d)"), " / "),
    (re.compile(r"(?<=\d)(?:\s+squared(?=\W*\Z)|²)"), "^2"),
    (re.compile(r"(?<=\d)(?:\s+cubed(?=\W*\Z)|³)"), "^3"),
    (re.compile(r"(?<=\d)(?:\*\*|\s\*\*\s)(?=[-+]?\d)"), "^"),
    (re.compile(r"\b(?:the\s+)?square\s+root\s+of\s+(\d+(?:\.\d+)?)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![\\\w])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<=\d)\s?x(?=\s+(?:faster|slower|more|less|fewer|larger|bigger|smaller|higher|greater|as)\b)"), ""),
)
"""Operators in words, as signs."""
_WHICH = re.compile(
    r"(\b(?:times|plus|minus|divided\s+by|multiplied\s+by|added\s+to)\b[^=.\n]{1,60}?),?\s+which\s+(?:equals|is|gives|makes)\s+(?=[$]?-?\d)"
)
_COPULA = re.compile(r"(\d\s*(?:[+*×·]|\s-\s|/|\^)\s*[$(]?\d[^=]{0,60}?)\s(?:is|equals|makes|gives)\s(?=[$]?-?\d)")
_ARROW = re.compile(r"[-=]*(?P<leads>[-=])>")
_HEDGE = re.compile(
    r"(?:(?<!\bno\s)(?<!\bnot\s)\b(?:more|less|fewer|greater|higher|lower|larger|smaller)\s+than|[<>≤≥≠±]|\+/-)\s*[$]?\s*\Z",
    re.IGNORECASE,
)
"""What before a number keeps it from being the answer itself."""
_BETWEEN = re.compile(r"\bbetween\s*[$]?\s*\Z", re.IGNORECASE)
_TWO = re.compile(r"\s*(?:or|to|-)\s*(?:else\s*)?[$]?", re.IGNORECASE)
_EITHER = re.compile(r"\s*(?:[A-Za-z]+\s*)?,?\s*or\s*(?:else|possibly|perhaps|maybe)?\s*[$]?", re.IGNORECASE)
"""Between two numbers that are offered, if they are of one unit."""
_LISTED = re.compile(r"[\s$]*(?:,|;|:|&|,?\s*(?:and|or))[\s$]*", re.IGNORECASE)
_BOXES = re.compile(rf"{_LISTED.pattern}|[^\d,]* , [^\d,]*", re.IGNORECASE)
"""Between two numbers of a box, or of two boxes, which are joined by a comma with a blank on both sides."""
_LIST_END = re.compile(
    r"(?:\s*[ap]\.?m\b\.?)?(?:\s+respectively)?[\s)\]}\"'*$]*(?:[.!?](?:\s.*)?)?\Z", re.IGNORECASE | re.DOTALL
)
_EXCLAIMED = re.compile(r"(?<=\d)!(?=[\"'*)]*(?:\s*\Z|\s+[A-Z]))")
"""An exclamation mark that ends a sentence, and may be a factorial all the same."""
_UNIT_PAIRS = {
    ("hour", "minute"): 60,
    ("minute", "second"): 60,
    ("day", "hour"): 24,
    ("week", "day"): 7,
    ("year", "month"): 12,
    ("foot", "inch"): 12,
    ("pound", "ounce"): 16,
    ("dollar", "cent"): 100,
    ("metre", "centimetre"): 100,
    ("kilogram", "gram"): 1000,
    ("kilometre", "metre"): 1000,
}
"""How many of the smaller unit make one of the greater."""
_SPELLINGS = {
    **{"feet": "foot", "ft": "foot", "inches": "inch", "in": "inch", "hrs": "hour", "hr": "hour", "h": "hour"},
    **{
        "mins": "minute",
        "min": "minute",
        "secs": "second",
        "sec": "second",
        "s": "second",
        "yrs": "year",
        "yr": "year",
    },
    **{"lbs": "pound", "lb": "pound", "oz": "ounce", "m": "metre", "meter": "metre", "cm": "centimetre"},
    **{"centimeter": "centimetre", "kg": "kilogram", "g": "gram", "km": "kilometre", "kilometer": "kilometre"},
}
_UNIT = re.compile(r"\s*([A-Za-z]+)\.?")
_UNIT_GAP = re.compile(rf"(?:{_UNIT.pattern})?\s*,?\s*(?:and\s+)?[$]?")
"""A unit, unless a sign told it, and what joins an amount in it to one in the next smaller."""
_FULL_HOUR = re.compile(":00")
_RELATIONS = {"<=": "≤", ">=": "≥", "!=": "≠"}


@dataclass(frozen=True, slots=True)
class Stated:
    """What a stated answer says, where a number is asked for."""

    text: str
    """As it stands there."""
    quantity: Quantity | None = None
    """The one number."""
    formula: str = ""
    """Mathematics that is more than a number, for the LaTeX checker."""
    measure: tuple[Fraction, Fraction] | None = None
    """An amount in two units ("2 hours 30 minutes"), in the greater and in the smaller unit."""
    unit: str = ""
    """The smaller of them."""
    trouble: str = ""
    """Why it states no single number."""
    exclaimed: bool = False
    """Whether an exclamation mark follows the number."""
    certain: bool = True
    """Whether no other number may be meant: it is the only one, begins the answer or follows a verb."""


def read(span: str, *, boxed: bool = False) -> Stated | None:
    """What a marked answer states: of several numbers in prose mostly the first; None where there is none.

    boxed: whether it stands in a box, where an exclamation mark is a factorial.
    """
    core = conclusion(span)
    ended = core if boxed else without_exclamation(core)
    exclaimed, signed = ended != core, _signs(ended)
    number_only = SCIENTIFIC.sub("0", signed)
    left = plain(number_only) if "\\" in number_only else number_only
    if _TEX.search(left) or _EXPRESSION.search(number_only.rpartition("=")[2]):
        return Stated(core, formula=SCIENTIFIC.sub(_exponent, signed), exclaimed=exclaimed)
    text = last_side(plain(signed))
    numbers = read_numbers(text)
    if not numbers:
        return None
    said = numbers[0] if boxed else _said(text, numbers)
    before = text[: said.start]
    certain = len(numbers) < 2 or not re.search(r"\w", before) or _COPULA_BEFORE.search(before) is not None
    numbers = numbers[numbers.index(said) :]
    grouped = GROUPED.match(text, said.start)
    if grouped:
        said = replace(said, value=Fraction(grouped[0].replace(" ", "")), text=grouped[0], end=grouped.end())
    trouble, start, end = _trouble(text, numbers, said, boxed)
    if trouble:
        return Stated(text[start:end].strip(), trouble=trouble)
    found = _measure(text, numbers) or Stated(said.text, quantity=said, exclaimed=exclaimed)
    return replace(found, certain=certain)


def read_last(sentence: str) -> Stated | None:
    """What an unmarked sentence states: the amount in two units it ends in, or else its last number."""
    text = plain(sentence)
    numbers = read_numbers(text)
    if not numbers:
        return None
    first = len(numbers) - 1
    while first and _UNIT_GAP.fullmatch(text[numbers[first - 1].end : numbers[first].start]):
        first -= 1
    return _measure(text, numbers[first:]) or Stated(numbers[-1].text, quantity=numbers[-1])


@lru_cache(maxsize=1 << 13)
def value(text: str) -> str | None:
    """The number a stated answer comes to, exactly, as text; None where it is none our own grammar can tell.

    An amount in two units is given in the smaller one, which is named, since no number alone says the same.
    """
    said = read(text, boxed=True)
    if said is None or said.trouble:
        return None
    if said.measure is not None:
        return f"{said.measure[1]} {said.unit}"
    number = said.quantity.value if said.quantity is not None else latex.exact_value(said.formula)
    return None if number is None else str(number)


def is_story(span: str) -> bool:
    """Whether what follows "Answer:" is a solution of several sentences and numbers, whose end tells."""
    if not _STORY.match(span):
        return False
    return len({number.value for number in read_numbers(plain(span))}) > 1


def conclusion(span: str) -> str:
    """A stated answer without the explanation behind it: "15 since 30/15=2", "12 (3 x 4)", "15. Check: 15 x 2 = 30"."""
    bold = _BOLD.findall(span) if re.match(r"\s*[A-Z]", span) else []
    if len(bold) == 1 and len(read_numbers(plain(bold[0]))) == 1:
        return str(bold[0])
    end = next((stop for stop in _SENTENCE.finditer(span) if re.search(r"\d", span[: stop.start()])), None)
    span = span[: end.start()] if end else span
    for match in _EXPLAINED.finditer(span):
        if re.search(r"\d", span[: match.start()]):
            span = span[: match.start()].rstrip(" ,;(-")
            break
    aside = _ASIDE.search(span)
    if aside and re.search(r"\d", span[: aside.start()]) and "\\" not in span and _explains(span, aside):
        return f"{span[: aside.start()]} {span[aside.end() :]}".rstrip()
    return span


def _said(text: str, numbers: list[Quantity]) -> Quantity:
    """The number that a sentence states: the first, but in a whole sentence one behind its verb, and no setting."""
    first = numbers[0]
    if not re.match(r"[\s\"'(]*[A-Z][a-z]*\b", text):
        return first
    end = _ANOTHER_CLAUSE.search(text, first.end)
    clause = [number for number in numbers if end is None or number.start < end.start()]
    is_setting = _OPENING.match(text[: first.start])
    for number in numbers if is_setting else clause:
        if _COPULA_BEFORE.search(text[max(0, number.start - 12) : number.start]):
            return number
    return numbers[min(len(clause), len(numbers) - 1)] if is_setting else first


def without_exclamation(text: str) -> str:
    """`text` without an exclamation mark that ends a sentence behind a number."""
    return _EXCLAIMED.sub(" ", text) if "!" in text else text


def last_side(text: str) -> str:
    """What follows the last sign of equality, if there is a number in it; else all of `text`."""
    tail = re.sub(r"<=|>=|!=", lambda m: _RELATIONS[m[0]], text).rpartition("=")[2]
    return tail if re.search(r"\d", tail) else text


def _explains(span: str, aside: re.Match[str]) -> bool:
    """Whether brackets explain the number before them, and are no factor: 12 (3 x 4), but not 2 (3 + 4)."""
    inside = aside["inside"]
    if "=" in inside or "≈" in inside or re.search(r"[A-Za-z]{2}", inside):
        return True
    before = read_numbers(plain(span[: aside.start()]))
    return bool(before) and latex.exact_value(_signs(inside)) == before[-1].value


def _signs(text: str) -> str:
    """`text` with operators in words as signs, where they stand between numbers."""
    text = _ARROW.sub(lambda m: " = " if m["leads"] == "=" else " ", text) if ">" in text else text
    for pattern, sign in _OPERATORS:
        text = pattern.sub(sign, text)
    text = _WHICH.sub(r"\1 = ", text)
    return _COPULA.sub(r"\1 = ", text, count=1)


def _exponent(match: re.Match[str]) -> str:
    """3 x 10^5 as 3e5, which no reader takes for a product with x."""
    power = unicodedata.normalize("NFKC", match["raised"] or match["braced"] or match["power"]).replace("−", "-")
    return f"{match['digits']}e{power}"


def _trouble(text: str, numbers: list[Quantity], said: Quantity, boxed: bool) -> tuple[str, int, int]:
    """Why the first number is not the answer, and from where to where what is offered in its place stands."""
    none = ("", said.start, said.end)
    before = text[: said.start]
    hedge = _HEDGE.search(before)
    if hedge and not (hedge[0].startswith("<") and text[said.end :].startswith(">")):
        return "not one number but a range is stated", hedge.start(), said.end
    if len(numbers) < 2:
        return none
    gap = text[said.end : numbers[1].start]
    two = _TWO.fullmatch(gap) or (_BETWEEN.search(before) and _LISTED.fullmatch(gap))
    either = _EITHER.fullmatch(gap) and _unit(text, said) == _unit(text, numbers[1])
    if (two or either) and not _alike(said, numbers[1]):
        return "two numbers are offered", said.start, numbers[1].end
    last, joint = 0, _BOXES if boxed else _LISTED
    while last + 1 < len(numbers) and joint.fullmatch(text[numbers[last].end : numbers[last + 1].start]):
        last += 1
    if all(_alike(said, number) for number in numbers[1 : last + 1]) or _FULL_HOUR.match(text, said.end):
        return none
    if not boxed and not _LIST_END.match(text, numbers[last].end):
        return none
    return "several numbers are offered", said.start, numbers[last].end


def _alike(one: Quantity, other: Quantity) -> bool:
    """Whether two numbers beside each other are one in two dresses: 1/6 or 0.1666667, 0.75 or 75%."""
    return same(one, other) or same(other, one)


def _measure(text: str, numbers: list[Quantity]) -> Stated | None:
    """The amount in two units or more that begins with the first number."""
    units = [_unit(text, number) for number in numbers]
    total, scale, last = numbers[0].value, 1, 0
    for at in range(1, len(numbers)):
        ratio = _UNIT_PAIRS.get((units[at - 1], units[at]))
        if ratio is None or not _UNIT_GAP.fullmatch(text[numbers[at - 1].end : numbers[at].start]):
            break
        total, scale, last = total * ratio + numbers[at].value, scale * ratio, at
    unit = _UNIT.match(text, numbers[last].end)
    if not last or unit is None:
        return None
    return Stated(text[numbers[0].start : unit.end(1)].strip(), measure=(total / scale, total), unit=units[last])


def _unit(text: str, number: Quantity) -> str:
    """The unit that follows a number, by one name; an unknown one is any word."""
    if text.startswith("$", number.start):
        return "dollar"
    word = _UNIT.match(text, number.end)
    if word is None:
        return ""
    name = word[1].lower()
    single = name.removesuffix("s") if len(name) > 1 else name
    return _SPELLINGS.get(name) or _SPELLINGS.get(single) or single
