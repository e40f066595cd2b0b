"""Where a text states its answer: after a trigger phrase, in a box, after ####; never inside its thinking."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

_MARKS = (
    r"=|:|(?<![A-Za-z])(?:is|are|was|equals|would\s+be|should\s+be|will\s+be|must\s+be|has\s+to\s+be|could\s+be"
    r"|comes\s+(?:out\s+)?to)"
)
_COUNTED = "".join(rf"(?<!\b{kind}\s)" for kind in ("correct", "right", "wrong", "incorrect", "of"))
"""Before "answers" that are counted, as in a quiz, and stated by nobody."""
_TRIGGER = re.compile(
    rf"(?:\banswer|{_COUNTED}\banswers|\banswers(?=\s+are\b))\b(?:\s*\([^()\n]{{0,60}}\))?"
    r"(?:\s+(?:to|for|of|in)\s+[^.:\n]{1,80}?)?\s*(?:\*\*|__)?\s*"
    rf"(?:\b(?:therefore|then|thus)\s+)?(?:{_MARKS})(?![A-Za-z])(?:\s*:|>)?\s*(?:\*\*|__)?\s*"
    r"|\banswer(?:\s*(?:\*\*|__))?\s+[-–—]\s+(?=[-$\\(\d]|(?-i:[A-Z])\b|(?:yes|no|true|false)\b)"
    r"|\b(?-i:Answer)\s+(?=\$|\\[\[(]|[-\d])"
    r"|\b(?:correct|right|best)\s+(?:option|choice)\s*(?:is|would\s+be|:)\s*(?:\*\*)?\s*"
    r"|####[ \t]*(?=[^\n]*\s*\Z|[-+$€£]?\d[\d,.]*%?[ \t]*\n)",
    re.IGNORECASE,
)
_LINE_ANSWER = re.compile(r"(?:^|\n)[ \t]*A[ \t]*:[ \t]*(?=\S)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{|[^\s{])")
_NEXT_PROBLEM = re.compile(r"\n\s*(?:Q|Question|Problem)\s*\d*\s*[:.]", re.IGNORECASE)
_SPECIAL = re.compile(r"<\|[a-z_]+\|>|</s>")
_COURTESY = re.compile(
    r"\s*\b(?:(?:I hope|Hope) (?:it|this|that) (?:is correct|helps)"
    r"|(?:Please )?(?:let me know|feel free to ask) if [^.!?\n]*)[.!]*\s*\Z"
    r"|\s*(?:\n[ \t]*(?:[-*_]{3,}|```)|[\U0001F300-\U0001FAFF\u2600-\u27BF\uFE0F]+)\s*\Z",
    re.IGNORECASE,
)
"""What stands behind an answer and says nothing of it."""
_MOST_COURTESIES, _LONGEST_COURTESY, _LONGEST_CORRECTION = 4, 300, 200
_DISPLAYED = re.compile(r"\\\[.*?\\\]|\$\$.*?\$\$", re.DOTALL)
_MINUS = re.compile(r"(?:=|\bis|\$|\\\(|\\\[)\s*-\s*\Z")
_TRIGGER_WORDS = ("answer", "####", "correct", "right", "best")
_BLANK = re.compile(r"[\s*_]*")
_BULLET = re.compile(r"(?:[-•–]|1[.)])\s+(?=\S)")
"""Of a list that begins on the line below; not a sign."""
_HEADED = re.compile(
    r"[A-Z][a-z']*(?:[ \t]+\S+){3,60}[.,:;][ \t]*\n(?=[ \t]*[A-Z][a-z']*[ \t]+\S+[ \t]+\S)"
    r"(?![ \t]*(?:Explanation|Because|Since|Note|This)\b)"
)
"""A solution of several sentences, a line each, behind a heading."""
_COMMENT = re.compile(
    r"\s*(?:an?\s+(?:whole|positive|negative|natural|prime|even|odd|rational|real)?\s*(?:number|integer)\b(?!\D{0,12}\d)|reasonable|consistent|verified|worth\b"
    r"|(?:given|expressed|written|rounded)\s+(?:off\s+)?(?:in|as|to)\s+(?:the\s+nearest|(?:\d+|one|two|three|four)\s+(?:decimal|significant)|(?:its\s+)?(?:simplest|lowest)))",
    re.IGNORECASE,
)
"""What tells of an answer and states none."""
_THAT = re.compile(r"\b(?:this|that)\s+(?:final\s+)?\Z", re.IGNORECASE)
_NONE = re.compile(r"\bno\s+(?:\w+\s+)?\Z", re.IGNORECASE)
"""Before "answer": there is none."""
_APPROVED = re.compile(r"\s*(?:\w+\s+)?(?:correct|right|wrong|incorrect|valid|true)\b", re.IGNORECASE)
"""Behind "this answer is": the author looks back on what was stated."""
_CONDITION = re.compile(r"\bif\b[^.!?\n]*[.!?]?\Z", re.IGNORECASE)
_CORRECTED = re.compile(
    r"[\s,.;!?…–—-]+(?:oh|hmm|wait|hold\s+on|oops|sorry|no(?=[,.…–—])|actually|correction|scratch\s+that|I\s+meant?|make\s+that|or\s+rather)"
    r"(?:[\s,.:;!…–—*-]|\b(?:no|not|wait|sorry|actually|that|this|it|I|made|an?|was|is|the|final|correct|right|wrong|incorrect|mistake"
    r"|error|answer|should|must|be)\b|['’]s\b)*\s"
    r"(?P<said>(?:[-−]?[$€£]?\d[\d,]*(?:[./]\d+)?%?(?:\s+[A-Za-z]+){0,3}|\(?(?-i:[A-Z])\)?))(?P<ended>[.!]?)\**\s*\Z",
    re.IGNORECASE,
)
"""A correction that a text ends in ("... wait, no, 42"), behind what it had stated."""
_FINAL = re.compile(r"\bfinal\s+\Z", re.IGNORECASE)
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")
_TAGGED = re.compile(
    r"<((?:final_?)?(?:answer|result)|final)(?:\s[^<>]*)?>\s*(?=\S)(?!</\1>)((?:(?!<\1).)*?)\s*(?:</\1>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_THINKING, _THOUGHT = (
    re.compile(rf"<{slash}(?:think(?:ing)?|thoughts?|scratchpad)>", re.IGNORECASE) for slash in ("", "/")
)
_LONG_BLANK = re.compile(r"\s{64,}")
"""Patterns with several runs of blanks in a row try every way to share one out, so none may be long."""
_EMPHASIS = re.compile(r"<(b|strong|i|em|u|code)>([^<>]*)</\1>", re.IGNORECASE)
_NEGATION = re.compile(r"\s*(?:not|never|n't)\b(?!\s+(?:equal|valid|true|plausible|sarcastic))", re.IGNORECASE)
_JOINS = re.compile(r"[\s,;.$]*(?:(?:\\text\{)?\s*(?:and|or)\s*\}?|\\quad|\\qquad|\\[,; ()\[\]]|[\s,;$])*[\s,;.$]*")
_NAME = re.compile(r"(?<![A-Za-z\\])([A-Za-z])(?:_\{?\w\}?)?\s*=\s*\Z")
"""A variable, with its index, that a box gives the value of."""
_MAX_BOXES, _MAX_BOX, _MOST_TRIGGERS = 30, 5000, 1000
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
    begins: int
    """Where what marks it begins."""
    ends: bool
    """Whether something follows it, so that a cut text cannot have cut it."""


def spoken(text: str) -> tuple[str, bool]:
    """The text outside <think> ... </think> or a tag like it, and whether it ends inside its thinking.

    A closing tag without an opening one ends thinking that began in the prompt.
    """
    if "<" not in text:
        return text, False
    closed = deque(_THOUGHT.finditer(text), maxlen=1)
    text = text[closed[0].end() :] if closed else text
    opened = _THINKING.search(text)
    return (text[: opened.start()], True) if opened else (text, False)


def tidy(text: str) -> str:
    """`text` up to the first special token of a chat template, its answer's tags in words, without notes and emphasis.

    Notes are those of a calculator (<<48/2=24>>); tags are <answer> ... </answer>, the closing one often a stop string.
    """
    special = _SPECIAL.search(text, 1)
    text = text[: special.start()] if special else text
    text = _LONG_BLANK.sub(lambda blank: "\n\n" if "\n" in blank[0] else " ", text)
    if "<" not in text:
        return text
    return _TAGGED.sub(_in_words, _EMPHASIS.sub(r"\2", _CALCULATOR.sub("", text)))


def _in_words(tagged: re.Match[str]) -> str:
    """The content of an answer's tags as a sentence: of a solution in them the last line."""
    content = tagged[2]
    if not any(opening in content for opening in ("\\[", "$$", "\\begin")):
        content = content.rpartition("\n")[2].strip()
    return f"\nFinal answer: {content}\n"


def marked(text: str, *, line_answers: bool) -> Span | None:
    """The last stated answer of `text`, or None. A box outranks a phrase, but for a later "final answer".

    line_answers: whether a line "A: 22" states an answer (not where A may be an option).
    """
    text = _first_problem(text)
    box = _last_box(text)
    phrase = _last_phrase(text, line_answers)
    if box is None or phrase is None:
        stated = box or phrase
    else:
        last_word = phrase.mark == "final" and phrase.start > box.start and not _BOX.search(phrase.text)
        stated = phrase if last_word else box
    corrected = stated and _CORRECTED.search(text, max(stated.start, len(text) - _LONGEST_CORRECTION))
    if stated and corrected:
        return replace(stated, text=corrected["said"], start=corrected.start("said"), ends=bool(corrected["ended"]))
    return stated


def _first_problem(text: str) -> str:
    """Cut where the author goes on with a problem of its own, if an answer was stated before."""
    match = _NEXT_PROBLEM.search(text) if "\n" in text else None
    if match and (_TRIGGER.search(text, 0, match.start()) or _BOX.search(text, 0, match.start())):
        return text[: match.start()]
    return text


def _last_phrase(text: str, line_answers: bool) -> Span | None:
    best = _last_stated(text, options=not line_answers)
    if line_answers and "A" in text:
        for match in _LINE_ANSWER.finditer(text):
            span = _span_after(text, match.end())
            if span is None or _HEADED.match(text, span.start):
                continue
            if best is None or span.start > best.start:
                best = replace(span, mark="line", begins=match.start())
    return best


def _last_stated(text: str, *, options: bool) -> Span | None:
    """What the last trigger phrase states that does state something; what would be so under a condition comes last."""
    conditional: Span | None = None
    for start in islice(_trigger_places(text), _MOST_TRIGGERS):
        match = _TRIGGER.match(text, start)
        span = _span_after(text, match.end()) if match else None
        if match is None or span is None or (text[start] in "bB" and not options) or _states_nothing(text, start, span):
            continue
        final = _FINAL.search(text[max(0, start - 8) : start])
        span = replace(span, mark="final" if final else "phrase", begins=start)
        if "would" not in match[0] or not _CONDITION.search(f"{text[max(0, start - 120) : start]} {span.text}"):
            return span
        conditional = conditional or span
    return conditional


def _states_nothing(text: str, start: int, span: Span) -> bool:
    """Whether a phrase tells what the answer is not, or something about it, or heads a solution."""
    told = _NEGATION.match(span.text) or _COMMENT.match(span.text)
    before = text[max(0, start - 24) : start]
    looks_back = _APPROVED.match(span.text) and _THAT.search(before)
    return bool(told or looks_back or _NONE.search(before) or _HEADED.match(text, span.start))


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
    begins_line = not text[text.rfind("\n", 0, start) + 1 : start].strip("*_ \t")
    if begins_line and (bullet := _BULLET.match(text, start)):
        start = bullet.end()
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
    return Span(span, "phrase", start, start, end < len(text) or span.endswith((".", "}", "$", ")", "!")))


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
        gap = _without_name(text[max(0, box[0] - 12) : box[0]], text[box[1] : group[0][0]])
        if len(gap) > 40 or not gap.strip(" $\n") or not _JOINS.fullmatch(gap) or "\n\n" in gap:
            break
        group.insert(0, box)
    contents = list(dict.fromkeys(content for _, _, content in group)) if len(group) > 1 else [group[0][2]]
    if len(group) == 1 and _MINUS.search(text[max(0, group[0][0] - 12) : group[0][0]]):
        contents = [f"-{contents[0]}"]
    return Span(
        " , ".join(contents),
        "box",
        group[-1][0],
        group[0][0],
        group[-1][1] <= len(text) and text[group[-1][1] - 1] == "}",
    )


def _without_name(before: str, gap: str) -> str:
    """What stands between two boxes, without the name of the second where the first has it too: x = 1 and x = 2."""
    own, named = _NAME.search(before), _NAME.search(gap)
    return gap[: named.start()] if own and named and own[1] == named[1] else gap


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
    """The last sentence of `text`, decimals, abbreviations of one letter and displayed mathematics left whole."""
    text = _DISPLAYED.sub(lambda shown: shown[0].replace("\n", " "), _without_courtesy(text))
    return re.split(r"(?<=[a-z0-9)\]}$%][.!?])\s+(?=[A-Z\"($\\])|\n+", text)[-1]


def complete(text: str) -> bool:
    """Whether `text` ends as a finished text does, or is a bare answer of a few words."""
    text = _without_courtesy(text)
    ended = text.endswith((".", "!", "?", "}", "$", ")", "]", '"', "'", "*", "%"))
    return ended or len(text.rpartition("\n")[2].split()) <= 4


def _without_courtesy(text: str) -> str:
    text = text.strip()
    for _ in range(_MOST_COURTESIES):
        found = _COURTESY.search(text, max(0, len(text) - _LONGEST_COURTESY))
        if not found or not found.start():
            break
        text = text[: found.start()].rstrip()
    return text
