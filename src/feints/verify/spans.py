"""Where a text states its answer: after a trigger phrase, in a box, after ####; never inside its thinking."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

_MARKS = (
    r"is|are|was|=|:|equals|would\s+be|should\s+be|will\s+be|must\s+be|has\s+to\s+be|could\s+be|comes\s+(?:out\s+)?to"
)
_TRIGGER = re.compile(
    rf"\banswers?\b(?:\s*\([^()\n]{{0,60}}\))?(?:\s+(?:to|for|of|in)\s+[^.:\n]{{1,80}}?)?\s*(?:\*\*|__)?\s*"
    rf"(?:\b(?:therefore|then|thus)\s+)?(?:{_MARKS})(?![A-Za-z])(?:\s*:)?\s*(?:\*\*|__)?\s*"
    r"|\banswer(?:\s*(?:\*\*|__))?\s+[-–—]\s+(?=[-$\\(\d]|(?-i:[A-Z])\b|(?:yes|no|true|false)\b)"
    r"|\bAnswer\s+(?=\$|\\[\[(]|[-\d])"
    r"|\b(?:correct|right|best)\s+(?:option|choice)\s*(?:is|would\s+be|:)\s*(?:\*\*)?\s*"
    r"|####[ \t]*(?=[^\n]*\s*\Z|[-+$€£]?\d[\d,.]*%?[ \t]*\n)",
    re.IGNORECASE,
)
_LINE_ANSWER = re.compile(r"(?:^|\n)[ \t]*A[ \t]*:[ \t]*(?=\S)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{|[^\s{])")
_NEXT_PROBLEM = re.compile(r"\n\s*(?:Q|Question|Problem)\s*\d*\s*[:.]", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[a-z_]+\|>|</s>")
_COURTESY = re.compile(r"\s*\b(?:I hope (?:it|this) (?:is correct|helps)|Let me know if [^.!?\n]*)[.!]*\s*$")
_MINUS = re.compile(r"(?:=|\bis|\$|\\\(|\\\[)\s*-\s*\Z")
_TRIGGER_WORDS = ("answer", "####", "correct", "right", "best")
_BLANK = re.compile(r"[\s*_]*")
_FINAL = re.compile(r"\bfinal\s+\Z", re.IGNORECASE)
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_TAGGED = re.compile(
    r"<answer>\s*(?=\S)(?!</answer>)((?:(?!<answer>).)*?)\s*(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL
)
_LONG_BLANK = re.compile(r"\s{64,}")
"""Patterns with several runs of blanks in a row try every way to share one out, so none may be long."""
_EMPHASIS = re.compile(r"<(b|strong|i|em|u|code)>([^<>]*)</\1>", re.IGNORECASE)
_NEGATION = re.compile(r"\s*(?:not|never|n't)\b(?!\s+(?:equal|valid|true|plausible|sarcastic))", re.IGNORECASE)
_JOINS = re.compile(r"[\s,;.$]*(?:(?:\\text\{)?\s*(?:and|or)\s*\}?|\\quad|\\qquad|\\[,; ()\[\]]|[\s,;$])*[\s,;.$]*")
_MAX_BOXES, _MAX_BOX = 30, 5000
_OPEN_MATH = {"\\[": "\\]", "$$": "$$", "\\(": "\\)", "$": "$"}


@dataclass(frozen=True, slots=True)
class Span:
    """A stated answer."""

    text: str
    """The answer as it stands there, with what follows it on the line."""
    mark: str
    """What marks it: box, phrase, final (a phrase that says so), line or bare."""
    start: int
    """Where it begins."""
    ends: bool
    """Whether something follows it, so that a cut text cannot have cut it."""


def spoken(text: str) -> tuple[str, bool]:
    """The text outside <think> ... </think>, and whether it ends inside its thinking.

    A closing tag without an opening one ends thinking that began in the prompt.
    """
    close = text.rfind("</think>")
    if close >= 0:
        text = text[close + len("</think>") :]
    before, opened, _ = text.partition("<think>")
    return (before, True) if opened else (text, False)


def tidy(text: str) -> str:
    """`text` up to the first special token of a chat template, its answer's tags in words, without notes and emphasis.

    Notes are those of a calculator (<<48/2=24>>); tags are <answer> ... </answer>, the closing one often a stop string.
    """
    special = _SPECIAL.search(text, 1)
    text = text[: special.start()] if special else text
    text = _LONG_BLANK.sub(lambda blank: "\n\n" if "\n" in blank[0] else " ", text)
    if "<" not in text:
        return text
    return _TAGGED.sub(r"\nFinal answer: \1\n", _EMPHASIS.sub(r"\2", _CALCULATOR.sub("", text)))


def marked(text: str, *, line_answers: bool) -> Span | None:
    """The last stated answer of `text`, or None. A box outranks a phrase, but for a later "final answer".

    line_answers: whether a line "A: 22" states an answer (not where A may be an option).
    """
    text = _first_problem(text)
    box = _last_box(text)
    phrase = _last_phrase(text, line_answers)
    if box is None or phrase is None:
        return box or phrase
    last_word = phrase.mark == "final" and phrase.start > box.start and not _BOX.search(phrase.text)
    return phrase if last_word else box


def _first_problem(text: str) -> str:
    """Cut where the author goes on with a problem of its own, if an answer was stated before."""
    match = _NEXT_PROBLEM.search(text) if "\n" in text else None
    if match and (_TRIGGER.search(text, 0, match.start()) or _BOX.search(text, 0, match.start())):
        return text[: match.start()]
    return text


def _last_phrase(text: str, line_answers: bool) -> Span | None:
    best: Span | None = None
    for start in _trigger_places(text):
        match = _TRIGGER.match(text, start)
        span = _span_after(text, match.end()) if match else None
        if span is not None and not _NEGATION.match(span.text):
            final = _FINAL.search(text[max(0, start - 8) : start])
            best = Span(span.text, "final", span.start, span.ends) if final else span
            break
    if line_answers and "A" in text:
        for match in _LINE_ANSWER.finditer(text):
            span = _span_after(text, match.end())
            if span is not None and (best is None or span.start > best.start):
                best = Span(span.text, "line", span.start, span.ends)
    return best


def _trigger_places(text: str) -> Iterator[int]:
    """Where a trigger phrase may begin, the last first: searching for plain words is much faster than for a pattern."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a few capitals have longer lower-case forms
        yield from sorted((match.start() for match in _TRIGGER.finditer(text)), reverse=True)
        return
    ends = {word: len(text) for word in _TRIGGER_WORDS}
    while ends:
        places = {word: lowered.rfind(word, 0, end) for word, end in ends.items()}
        ends = {word: place for word, place in places.items() if place >= 0}
        if ends:
            word = max(ends, key=lambda word: ends[word])
            yield ends[word]
            ends = {other: ends[other] + len(other) if other != word else ends[word] for other in ends}


def _span_after(text: str, start: int) -> Span | None:
    """From `start` to the end of the first line with content (to the closing mark of displayed mathematics)."""
    blank = _BLANK.match(text, start)
    start = blank.end() if blank else start
    if start >= len(text):
        return None
    end = text.find("\n", start)
    for opening, closing in _OPEN_MATH.items():
        if text.startswith(opening, start):
            close = text.find(closing, start + len(opening))
            end = text.find("\n", close) if close >= 0 else end
            break
    else:
        begin = text.find("\\begin{", start, end if end >= 0 else len(text))
        if begin >= 0:
            close = text.find("\\end{", begin)
            end = text.find("\n", close) if close >= 0 else end
    end = len(text) if end < 0 else end
    span = text[start:end].rstrip()
    if not span.strip("_.: $*"):
        return None
    return Span(span, "phrase", start, end < len(text) or span.endswith((".", "}", "$", ")", "!"))) if span else None


def _last_box(text: str) -> Span | None:
    """The last box; boxes joined by nothing but commas, "and" or "or" are one answer."""
    if "box" not in text:
        return None
    boxes: list[tuple[int, int, str]] = []
    for match in deque(_BOX.finditer(text), maxlen=_MAX_BOXES):
        if boxes and match.start() < boxes[-1][1]:
            continue
        content, end = _braced(text, match.end())
        if content.strip():
            boxes.append((match.start(), end, content))
    if not boxes:
        return None
    group = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        gap = text[box[1] : group[0][0]]
        if len(gap) > 40 or not gap.strip(" $\n") or not _JOINS.fullmatch(gap) or "\n\n" in gap:
            break
        group.insert(0, box)
    contents = list(dict.fromkeys(content for _, _, content in group)) if len(group) > 1 else [group[0][2]]
    if len(group) == 1 and _MINUS.search(text[max(0, group[0][0] - 12) : group[0][0]]):
        contents = [f"-{contents[0]}"]
    return Span(" , ".join(contents), "box", group[-1][0], group[-1][1] <= len(text) and text[group[-1][1] - 1] == "}")


def _braced(text: str, start: int) -> tuple[str, int]:
    """Content of the group at `start` and where it ends; an unclosed group runs to the end of its line."""
    if text[start] != "{":
        return text[start], start + 1
    depth = 0
    limit = min(len(text), start + _MAX_BOX)
    for at in range(start, limit):
        if text[at] == "\\":
            continue
        if text[at] == "{" and text[at - 1] != "\\":
            depth += 1
        elif text[at] == "}" and text[at - 1] != "\\":
            depth -= 1
            if not depth:
                return text[start + 1 : at], at + 1
    end = text.find("\n", start, limit)
    end = limit if end < 0 else end
    return text[start + 1 : end].rstrip("$. "), end


def last_sentence(text: str) -> str:
    """The last sentence of `text`, decimals and abbreviations of one letter left whole."""
    text = _COURTESY.sub("", text.strip())
    return re.split(r"(?<=[a-z0-9)\]}$%][.!?])\s+(?=[A-Z\"($\\])|\n+", text.strip())[-1]


def complete(text: str) -> bool:
    """Whether `text` ends as a finished text does, or is a bare answer of a few words."""
    stripped = text.rstrip()
    ended = stripped.endswith((".", "!", "?", "}", "$", ")", "]", '"', "'", "*", "%"))
    return ended or len(stripped.rpartition("\n")[2].split()) <= 4
