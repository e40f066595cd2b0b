"""Choice answers: the label in its many dresses, "(B)", "B.", "option B", or the option's text in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from feints.records import Choice
from feints.verify.findings import Finding
from feints.verify.quantities import plain, read_numbers
from feints.verify.stated import conclusion, last_side
from feints.verify.wording import normal

CHECKER = "choice"
_DRESSED = re.compile(r"\(\s*([A-Za-z]|\d{1,2})\s*\)|\[\s*([A-Z])\s*\]|(?<![\w(])([A-Z])\)")
_LEADING = re.compile(
    r"[\s\"'*_:(\[]*(?:(?:most\s+likely|probably|likely|definitely|clearly|to\s+be|either|the)\s+)*"
    r"(?:(?:option|choice|answer|letter|statement)\s*)?[\s\"'*_(\[]*([A-Za-z]|\d{1,2})(?![\w'’])",
    re.IGNORECASE,
)
_STANDALONE = re.compile(
    r"(?<![\w'’.$\\])([B-HJ-Z])(?![\w'’$^])"
    r"|\b(?:option|choice|letter|answer)\s+(A)(?![\w'’$^])"
    r"|(?<![\w'’.$\\])(A)(?=[.,;:!?)\"'*`\]]|\s*\Z|\s+(?:it\s+is|is|was|fits|seems|makes)\b)"
)
"""A letter by itself; A only where no noun follows, so that it cannot be the article."""
_DENIAL = (
    r"\b(?:not|never|cannot|neither|nor|(?:is|was|are|were|can|could|would|should|do|does|did)n['’]t|can['’]t)\b(?!\s+only\b)"
    r"(?:\s+(?:be|think|believe|that|it|is|it['’]s|the|an|a(?=\s)|to|either|equal|option|choice|answer))*\s*[\"'*(\[]*\s*"
)
"""What says that the option named next is not the answer."""
_DENIES = re.compile(_DENIAL, re.IGNORECASE)
_NO_NOUN = re.compile(
    r"\s+(?:is|was|because|since|as|by|due|from|if|when|where|which|so|but|and|or|nor|not|rather|instead|among|than|here"
    r"|while|with|for|over|only|based|given(?=\s+(?:the|that|this|these|our)\b))\b(?!-)"
)
"""What may follow a label, and never the article: "A by elimination"."""
_LISTED = re.compile(
    r"[)\]]?\s*(?:and|or|&|/|,(?!\s*(?:option\s*)?[(\[]?[A-Z][)\]]?\s+(?:is|was)\b))\s*(?:option\s*)?[(\[]?\s*([A-Z])(?=[)\].,]|$|\s)"
)
"""Another label beside the first; "A, B is wrong" tells of it apart."""
_JOINED = re.compile(r"\W*(?:,|/|&|\b(?:and|or)\b)\s*(?:an?\s+|the\s+)?")
_BECAUSE = re.compile(r",?\s+(?:because|since)\b")
_ARTICLE = re.compile(r"(?:an?|the)?\s*")
_DRESS = re.compile(r"\band\b|[\s$]|(?<!\d)\.|\.(?!\d)|(?<![\d.])0(?=\d)")
"""What two writings of one option may differ in: blanks, "a.m.", "2 hours and 30 minutes", 09/14."""


def read_label(text: str, choices: Sequence[Choice]) -> tuple[str | None, str]:
    """Label stated by `text`, and how it was read; None where no option, or more than one, is named.

    Without `choices` any single letter counts as a label.
    """
    text = plain(text).replace("$", "").strip()
    known = {choice.label.strip("() ").casefold(): choice.label for choice in choices}
    whole = _by_text(text, choices)
    if whole is not None:
        return whole, "the option's text stands for its letter"
    affirmed = _without_denied(text, choices)
    if affirmed != text and not re.search(r"\w", affirmed):
        return None, "only what the answer is not is told"
    text = affirmed
    leading = _LEADING.match(text)
    first = None
    if leading and _is_label(leading, text, known):
        first = leading[1]
        other = _other_label(first, text, leading.end(), known)
        if other and not _is_text_of(first, text, leading.end(), choices):
            return None, "several options are named"
        if _is_listed(first, text, leading.end(), choices, known):
            return None, "several options are named"
    dressed = {(match[1] or match[2] or match[3]).upper() for match in _DRESSED.finditer(text)}
    dressed = {label for label in dressed if not known or label.casefold() in known}
    if first is None and len(dressed) == 1:
        first = dressed.pop()
    if first is None and len(dressed) > 1:
        return None, "several options are named"
    if first is None:
        told = (match[1] or match[2] or match[3] for match in _STANDALONE.finditer(text))
        alone = {label for label in told if not known or label.casefold() in known}
        first = alone.pop() if len(alone) == 1 else None
    if first is None:
        label = _by_value(text, choices) or _by_mention(text, choices)
        return (label, "the option's text stands for its letter") if label else (None, "no option is named")
    return known.get(first.casefold(), first.upper()), "label"


def _without_denied(text: str, choices: Sequence[Choice]) -> str:
    """`text` without the options it says are not the answer: "not A but B" names B, "neither A nor B" none."""
    if not _DENIES.search(text):
        return text
    texts = sorted({choice.text.strip() for choice in choices if normal(choice.text)}, key=len, reverse=True)
    told = "".join(rf"{re.escape(one)}(?!\w)|" for one in texts)
    pattern = re.compile(
        rf"{_DENIAL}(?:{told}(?-i:[B-HJ-Z]|[AI](?!\s+(?!n?or\b|and\b|but\b)[a-z]))(?![\w'’])|[$€£]?\d[\d,.]*\d|\d)[)\]\"'*]*",
        re.IGNORECASE,
    )
    wordings = [normal(one) for one in texts]
    return pattern.sub(lambda m: m[0] if any(normal(m[0]) in one for one in wordings) else " ", text)


def _is_label(match: re.Match[str], text: str, known: dict[str, str]) -> bool:
    """Whether the leading letter is a label and not the article "a", the pronoun "I" or a variable."""
    letter, rest = match[1], text[match.end() :]
    if known and letter.casefold() not in known:
        return False
    if letter.isdigit():
        return letter.casefold() in known
    if rest[:1] in (")", "]") or (letter.isupper() and _other_label(letter, text, match.end(), known)):
        return True
    if letter.islower():
        return not rest.strip(" .\"'*")
    return not (letter in "AI" and re.match(r"\s+[a-z]", rest) and not _NO_NOUN.match(rest))


def _other_label(first: str, text: str, at: int, known: Mapping[str, str]) -> bool:
    """Whether another label follows at `at` ("A or B"); the pronoun is none ("A, I think")."""
    other = _LISTED.match(text, at)
    if other is None or other[1].casefold() == first.casefold():
        return False
    return other[1].casefold() in known if known else other[1] != "I"


def _is_listed(first: str, text: str, at: int, choices: Sequence[Choice], known: Mapping[str, str]) -> bool:
    """Whether another option follows the first one's text, "(A) bank or (D) mall", and no later sentence decides."""
    own = next((choice.text.strip() for choice in choices if choice.label.strip("() ") == first), "")
    rest = text[at:].lstrip(")].: ")
    if not own or rest[: len(own)].casefold() != own.casefold():
        return False
    end = len(text) - len(rest) + len(own)
    if not _other_label(first, text, end, known):
        return False
    later = text[end:].partition(". ")[2]
    return read_label(later, choices)[0] != known[first.casefold()]


def _is_text_of(label: str, text: str, at: int, choices: Sequence[Choice]) -> bool:
    rest = normal(text[at:])
    return any(c.label.casefold() == label.casefold() and normal(c.text) in rest for c in choices if normal(c.text))


def _by_text(text: str, choices: Sequence[Choice]) -> str | None:
    wanted = normal(text)
    same = [choice.label for choice in choices if normal(choice.text) == wanted]
    if not same and (wanted := _DRESS.sub("", wanted)):
        same = [choice.label for choice in choices if _DRESS.sub("", normal(choice.text)) == wanted]
    return same[0] if wanted and len(same) == 1 else None


def _by_value(text: str, choices: Sequence[Choice]) -> str | None:
    """The one option whose number the text states."""
    said = read_numbers(last_side(conclusion(text)))
    if len(said) != 1:
        return None
    values = [(choice.label, read_numbers(plain(choice.text))) for choice in choices]
    same = [label for label, numbers in values if len(numbers) == 1 and numbers[0].value == said[0].value]
    return same[0] if len(same) == 1 else None


def _by_mention(text: str, choices: Sequence[Choice]) -> str | None:
    """The option whose text (a word or more) the answer begins with, or else the one that occurs in it.

    A longer option hides a shorter; reasons behind the answer name options that are not meant.
    """
    said = _BECAUSE.split(normal(text), maxsplit=1)[0]
    at = {choice.label: place for choice in choices if (place := _mentioned(normal(choice.text), said)) is not None}
    named = [choice for choice in choices if choice.label in at]
    longest = [c for c in named if not any(c is not d and normal(c.text) in normal(d.text) for d in named)]
    first = [choice for choice in longest if _ARTICLE.fullmatch(said, 0, at[choice.label])]
    if len(first) == 1 and len(longest) > 1:
        end = at[first[0].label] + len(normal(first[0].text))
        joined = _JOINED.match(said, end)
        return None if joined and any(at[c.label] == joined.end() for c in longest) else first[0].label
    return longest[0].label if len(longest) == 1 else None


def _mentioned(wanted: str, said: str) -> int | None:
    """Where `wanted` first occurs in `said` as words of its own; a word of two letters is too short to tell."""
    start = said.find(wanted) if len(wanted) > 2 else -1
    while start >= 0:
        end = start + len(wanted)
        if not ((start and _is_word(said[start - 1])) or (end < len(said) and _is_word(said[end]))):
            return start
        start = said.find(wanted, start + 1)
    return None


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def compare(label: str, choices: Sequence[Choice], span: str) -> Finding:
    """Compare a stated answer with the gold `label`."""
    said, how = read_label(span, choices)
    if said is None:
        if how == "several options are named":
            return Finding(False, span.strip()[:200], CHECKER, how)
        return Finding(None, None, CHECKER, f"{how} in {span.strip()[:60]!r}")
    if said.strip("() ").casefold() == label.strip("() ").casefold():
        return Finding(True, said, CHECKER, f"option {said} ({how})" if how != "label" else f"option {said}")
    return Finding(False, said, CHECKER, f"option {said}, not {label}")
