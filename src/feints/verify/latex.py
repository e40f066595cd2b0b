"""LaTeX answers: our own exact and numeric checkers in this process; what they cannot settle is left to the pool."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from feints.verify.equality import Outcome
from feints.verify.equality import compare as compare_forms
from feints.verify.factored import as_factored
from feints.verify.findings import Finding
from feints.verify.forms import is_assignment, is_time, read, values
from feints.verify.nodes import Node, UnboundedError, UnreadableError
from feints.verify.pieces import differ
from feints.verify.polynomials import exact
from feints.verify.quantities import plain, read_numbers
from feints.verify.tex import TEXT_BOX, clean, has_thousands, is_words, without_units, words
from feints.verify.wording import compare as compare_words
from feints.verify.wording import normal
from feints.verify.words import read_words

CHECKER = "latex"
_MAX_BITS = 10_000
"""Of a number that is told exactly; a larger one Python refuses to write out."""
SHORT = 400
"""Characters; a longer text is a solution that states an answer, not an answer."""
_MATH = re.compile(r"\$\$(.+?)\$\$|\$(.+?)(?<!\\)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[\w})\]%$!\"])(?<!\b[A-Z])\.\s+(?=[A-Z\\\"])|\n\s*\n")
_VERB = re.compile(r"\b(?:is|are|equals|was|be)\b\s*:?(?=.*[\d$\\])", re.DOTALL)
_AFTERWARDS = re.compile(r"\s*(?:[.,;]\s*|[A-Z][a-z]+\s)(?!\s*(?:or|and|but)\b)[^\d\\]*\Z")
"""Words behind a formula that begin anew and state nothing."""
_NUMBER_FIRST = re.compile(r"\s*([-+]?\d(?:[\d,./]*\d)?)(?=[.!]\s+[A-Z]|,?\s+(?:since|because|when|where|if|for)\b)")
"""A number in plain type that ends its sentence, or that reasons follow, whatever mathematics they hold."""
_CONNECTORS = re.compile(r"\s*(?:,|;|and|or|\s|\.)*\s*")
_PROSE = re.compile(r"(?<![\\A-Za-z{])[A-Za-z]{3,}")
_WORDS_WITHIN = re.compile(rf"{TEXT_BOX.pattern}(?:\s*\^\s*\{{?\d\}}?)?\s*[^\s.,}}$\\]")
"""Words that are no unit behind a number, since something follows them."""
_LABEL = re.compile(r"\(?\s*(?:\\text\s*\{|\\textbf\s*\{|\\mathrm\s*\{)?\s*\(?([A-Z])\)?\s*\}?\s*\)?")
_SAID_LABEL = re.compile(
    r"[\s\"'(\[]*(?:(?:option|choice|graph|statement)\s+)?\(?([A-Za-z])(?=\)|[.:,\"']|\s*$|\s+for\b|\s*\\|\s+\()"
)
_OPTION = re.compile(
    r"^\s*(?:\\(?:text|textbf|mathrm|mathbf|bf|rm)\s*(?:\{\s*\(?\s*[A-H]\s*[).:]?\s*[).:]?\s*\}|\s*[A-H]\s*\.)|\(\s*[A-H]\s*\)|[A-H][).:])"
    r"[\s\\.:~]*(?=[^\s)])"
)
_OPTION_AFTER = re.compile(r"[\s\\]*(?:\\(?:text|textbf|mathrm)\s*\{\s*\(?[A-H]\)?[.:]?\s*\}|\([A-H]\))\s*$")


_PHRASES = {
    **dict.fromkeys(("all real numbers", "all reals", "the real numbers", "any real number"), "\\mathbb{R}"),
    **dict.fromkeys(("empty set", "the empty set", "no solution", "no solutions", "no real solutions"), "\\emptyset"),
    **dict.fromkeys(("infinity", "infinite"), "\\infty"),
}
"""Words that are mathematics."""
_CONGRUENCE = re.compile(r"\\equiv\s*(-?\d+)\s*(?:\\[pb]?mod|\(\s*\\?mod)")
"""With the remainder it states."""
_LETTERS = re.compile(r"[A-Za-z]|[A-Z]{2,4}")

_ESCAPED = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f]|[\t\r](?=imes|ext|frac|heta|an\b|au\b|riangle|ight|ho\b)|\n(?=eq\b|u\b|abla|ot\b)"
)
"""What JSON makes of a command whose backslash is not doubled: form feed + rac, tab + imes."""


@dataclass(frozen=True, slots=True)
class Target:
    """A gold answer, read once."""

    text: str
    """Cleaned."""
    bare: str
    """Cleaned, without units."""
    label: str
    """The letter, where it is nothing but an option's letter."""
    wordy: bool
    """Whether it is words."""
    forms: tuple[Node, ...]
    """Its readings; empty where our grammar cannot read it."""


@lru_cache(maxsize=1 << 13)
def target(gold: str) -> Target:
    """Read a gold answer."""
    text = clean(statement(gold, conclusion=False) if "$" in gold or "\\(" in gold else gold)
    bare_text = words(text) if is_time(words(text)) else without_units(text, "") or text
    label = _LABEL.fullmatch(text)
    return Target(text, bare_text, label[1] if label else "", is_words(text), tuple(_forms(bare_text)))


def gold_problem(text: str) -> str | None:
    """Why `text` cannot be a gold answer, or None."""
    if len(text) > 4 * SHORT:
        return f"it is {len(text)} characters long and states no answer"
    if not re.search(r"[\w\\]", clean(text)):
        return "it holds nothing to compare with"
    if _ESCAPED.search(text):
        return r"it holds a control character, such as JSON makes of the \f of \frac; write \\frac there"
    if text.count("{") != text.count("}") and "\\{" not in text and "\\}" not in text:
        return "its braces do not match"
    return None


def bare(text: str, *, prose: int = 10) -> bool:
    """Whether `text` is an answer without a sentence around it, with at most `prose` words beside it."""
    outside = re.sub(r"\\(?:text|textbf|mbox)\s*\{[^{}]*\}", "", text)
    if len(text) > SHORT or (_MATH.search(text) and len(_PROSE.findall(_MATH.sub("", outside))) > 1):
        return False
    return len(_PROSE.findall(outside)) <= prose


def statement(text: str, *, conclusion: bool) -> str:
    """The mathematics a stretch of prose states, or its first sentence where nothing is set as mathematics.

    conclusion: whether the last formula counts (a closing sentence) and not the first.
    """
    if not conclusion and (number := _NUMBER_FIRST.match(text)):
        return number[1]
    runs: list[tuple[int, int]] = []
    for match in _MATH.finditer(text):
        if runs and _CONNECTORS.fullmatch(text[runs[-1][1] : match.start()]):
            runs[-1] = (runs[-1][0], match.end())
        else:
            runs.append((match.start(), match.end()))
    if not runs:
        return _SENTENCE.split(text.strip(), maxsplit=1)[0]
    outside = text[: runs[0][0]] + " " + text[runs[-1][1] :]
    verbs = [m.end() for m in _VERB.finditer(text) if not any(start < m.start() < end for start, end in runs)]
    if verbs and _PROSE.search(text[: verbs[-1]]):
        return statement(text[verbs[-1] :].strip(), conclusion=conclusion)
    alone = len(runs) == 1 and not _PROSE.search(text[: runs[0][0]])
    if alone and _AFTERWARDS.match(text, runs[0][1]):
        return text[: runs[0][1]]
    if alone and len(_PROSE.findall(outside)) <= 3:
        return _SENTENCE.split(text.strip(), maxsplit=1)[0]
    start, end = runs[-1] if conclusion else runs[0]
    return text[start:end]


def compare(gold: str, answer: str, question: str, *, conclusion: bool) -> Finding:
    """Compare a stated answer with the gold answer.

    question: what was asked; "factor" asks for a form.
    conclusion: whether `answer` is a closing sentence, of which only what is set as mathematics counts.
    """
    if conclusion and not _MATH.search(answer):
        return _closing_words(gold, answer)
    said = statement(answer, conclusion=conclusion)
    wanted, text = target(gold), clean(said)
    if not text:
        return Finding(None, None, CHECKER, "nothing is stated")
    if _squeezed(wanted.text) == _squeezed(text):
        return Finding(True, said, CHECKER, "the same text")
    if wanted.label:
        finding = _label(wanted.label, text, said)
        if finding is not None:
            return finding
    if wanted.wordy:
        return _worded(wanted, text, said)
    return _mathematics(wanted, text, said, question)


def readings(gold: str, said: str) -> list[str]:
    """What a cleaned answer may mean: without units, and without the letter of an option before or after it."""
    plain_words = words(said)
    times = [one for one in (plain_words, _OPTION.sub("", plain_words)) if is_time(one)]
    if times and is_time(gold):
        return times[:1]
    found = [plain_words] if _LETTERS.fullmatch(plain_words) else []
    found.append(without_units(said, gold))
    for pattern in (_OPTION, _OPTION_AFTER):
        rest = pattern.sub("", said)
        if rest != said and rest.strip():
            found.append(without_units(rest, gold))
    return [reading for reading in dict.fromkeys(found) if reading]


def _mathematics(wanted: Target, text: str, said: str, question: str) -> Finding:
    unworded = _without_words(wanted, text, said)
    if isinstance(unworded, Finding):
        return unworded
    text, best, form = unworded, None, None
    read_as = readings(wanted.bare, text)
    for reading in read_as:
        if _squeezed(reading) == _squeezed(wanted.bare):
            return Finding(True, said, CHECKER, "the same but for units")
        for candidate in _forms(reading):
            for gold_form in wanted.forms:
                outcome = _outcome(gold_form, candidate)
                if best is None or outcome < best:
                    best, form = outcome, (gold_form, candidate)
    if best is Outcome.EQUAL and form is not None:
        if not as_factored(question, *form):
            return Finding(False, said, CHECKER, "equal in value, but not factored as asked")
        return Finding(True, said, CHECKER, "equal")
    if best is Outcome.DIFFERENT:
        return Finding(False, said, CHECKER, "different by exact arithmetic")
    if best is Outcome.UNLIKE:
        return _unlike(wanted, text, said)
    apart = bool(wanted.forms and read_as) and "%" not in wanted.text
    if apart and all(differ(form, reading) for form in wanted.forms for reading in read_as):
        return Finding(False, said, CHECKER, "one of its parts is different by exact arithmetic")
    return Finding(None, said, CHECKER, "not in our grammar", "unread")


def _unlike(wanted: Target, text: str, said: str) -> Finding:
    """What differs to sixty digits: without proof, unless it is a congruence that states the number as a remainder."""
    if _CONGRUENCE.findall(text)[-1:] == [wanted.bare]:
        return Finding(True, said, CHECKER, "the remainder of a congruence")
    return Finding(None, said, CHECKER, "different to sixty digits", "different")


def _without_words(wanted: Target, text: str, said: str) -> str | Finding:
    """`text` with a number or a phrase in words as mathematics; the finding where other words settle it."""
    plain_words = words(text)
    number = read_words(plain_words) if re.fullmatch(r"[A-Za-z][A-Za-z -]{2,}", plain_words) else None
    phrase = _PHRASES.get(normal(plain_words))
    if number is not None:
        return phrase or str(number)
    if phrase is None:
        bare_words = is_words(text) and not _LETTERS.fullmatch(plain_words)
        return _words_for_mathematics(wanted, said) if bare_words else text
    finding = _words_for_mathematics(wanted, said)
    return finding if phrase == "\\emptyset" and finding.same is False else phrase


def _words_for_mathematics(wanted: Target, said: str) -> Finding:
    """The word none is not 19; but it may be the empty set or zero."""
    forms = {form.op if form.op != "num" else str(form.value) for form in wanted.forms}
    names = {form.name for form in wanted.forms}
    if not forms or forms & {"0", "set"} or names & {"oo"} or "\\mathbb" in wanted.text:
        return Finding(None, said, "text", "words where mathematics was expected", "unread")
    return Finding(False, said, "text", "words where mathematics was expected")


@lru_cache(maxsize=1 << 13)
def exact_value(text: str) -> Fraction | None:
    """The number an answer comes to by exact arithmetic, of an equation the last side; None where it is not one number.

    A time, a ratio and a numeral of another base are none: what they are worth depends on what was asked.
    """
    if len(text) > SHORT or re.search(r"[:_]", text):
        return None
    text = clean(statement(text, conclusion=False))
    if _WORDS_WITHIN.search(text.rpartition("=")[2]):
        return None
    for form in _forms(without_units(text, "")):
        try:
            ratio = exact(values(form)[0] if is_assignment(form) else form)
        except RecursionError:
            continue
        number = None if ratio is None else ratio.constant
        if number is not None and max(number.numerator.bit_length(), number.denominator.bit_length()) <= _MAX_BITS:
            return number
    return None


def _outcome(gold: Node, said: Node) -> Outcome:
    try:
        return compare_forms(gold, said)
    except (UnboundedError, RecursionError):
        return Outcome.UNKNOWN


def _forms(text: str) -> list[Node]:
    found: list[Node] = []
    for thousands in (True, False) if has_thousands(text) else (False,):
        try:
            found.append(read(text, thousands=thousands))
        except (UnreadableError, RecursionError):
            continue
    return found


def _squeezed(text: str) -> str:
    whole = re.fullmatch(r"\{([^{}]*\{[^{}]*\})\}", text)
    return (
        re.sub(r"\\(?:text|textbf|mbox)\s*\{([^{}]*)\}", r"\1", whole[1] if whole else text)
        .replace(" ", "")
        .replace("\\degree", "")
        .strip(".,")
    )


def _label(label: str, text: str, said: str) -> Finding | None:
    """An option's letter, with or without the option's text; None where the answer shows no letter."""
    match = _SAID_LABEL.match(words(text))
    if match is None:
        return Finding(False, said, "text", f"words, not option {label}") if is_words(text) else None
    same = match[1] == label
    if not same and match[1].islower():
        return None
    return Finding(same, said, "choice", f"option {match[1]}" if same else f"option {match[1]}, not {label}")


def _worded(wanted: Target, text: str, said: str) -> Finding:
    gold, answer = normal(words(wanted.text)), normal(words(text))
    gold, answer = (re.sub(r"\s*,\s*", ",", value).strip("() ") for value in (gold, answer))
    if gold == answer or gold.replace(" ", "") == answer.replace(" ", ""):
        return Finding(True, said, "text", "the same words")
    if compare_words(words(wanted.text), words(text)).same:
        return Finding(True, said, "text", "the same words before an explanation")
    if f" {gold} " in f" {answer} " and len(answer.split()) <= len(gold.split()) + 4 and " not " not in f" {answer} ":
        return Finding(None, said, "text", "the words of the answer among others", "unread")
    return Finding(False, said, "text", "other words")


def _closing_words(gold: str, sentence: str) -> Finding:
    """A closing sentence without mathematics: its last number, or the last words."""
    wanted = target(gold)
    if wanted.wordy:
        sentence = sentence.rstrip(" .")
        gold_words = normal(words(wanted.text))
        same = normal(sentence).endswith(f" {gold_words}")
        return Finding(same, gold_words if same else sentence[-60:], "text", "the last words")
    numbers = read_numbers(plain(sentence))
    numbers = [number for number in numbers if re.search(r"\d", number.text)] or numbers
    if not numbers:
        return Finding(None, None, CHECKER, "no answer is marked")
    said = numbers[-1]
    forms = _forms(clean(said.text.rstrip("%")))
    outcome = min((_outcome(g, f) for g in wanted.forms for f in forms), default=Outcome.UNKNOWN)
    return Finding(outcome is Outcome.EQUAL, said.text, CHECKER, "the last number")
