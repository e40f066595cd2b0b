"""A rationale in two: its reasoning, and the statement of its answer at the end, in words, in a box or behind ####."""

from __future__ import annotations

import re

from feints.verify.spans import marked

_TRIGGER = re.compile(r"(?:\b(?:therefore|thus|hence|so)\b,?\s*)?\bthe (?:final |correct )?answer is\b", re.I)
_SENTENCE = re.compile(r"[.!?][)\]}$\"']*\s+|\n+")
_DISPLAYS = (re.compile(r"(?<!\\)\\\["), re.compile(r"(?<!\\)\\\]")), (re.compile(r"\\begin\{"), re.compile(r"\\end\{"))
"""What opens and closes mathematics over several lines; a line break with a space, as in `\\\\[2pt]`, opens nothing."""


def cut(text: str) -> tuple[str, str]:
    """A rationale up to the last statement of its answer, and that statement; the second is "" where there is none.

    A phrase ("so the answer is ...") is cut from where it begins, any other mark, such as a box, from the beginning of
    the sentence or the displayed formula that holds it. Statements right before the last one go with it.
    """
    body = text.strip()
    start = _statement(body)
    if start is None:
        return body, ""
    head = body[:start].rstrip()
    while (again := _statement(head)) is not None and again >= _begin(head, len(head)):
        head = head[:again].rstrip()
    return head, body[len(head) :].strip()


def _statement(text: str) -> int | None:
    """Where the last statement of an answer begins."""
    phrases = [match.start() for match in _TRIGGER.finditer(text)]
    span = marked(text, line_answers=False)
    places = [*phrases[-1:], *([] if span is None else [_begin(text, span.start)])]
    return max(places, default=None)


def _begin(text: str, place: int) -> int:
    """Where the sentence of `place` begins, or the displayed formula it stands in."""
    before = text[:place]
    begins = [match.end() for match in _SENTENCE.finditer(before)]
    opened = [before.rfind("$$")] if before.count("$$") % 2 else []
    for opening, closing in _DISPLAYS:
        last = max((match.start() for match in opening.finditer(before)), default=-1)
        if last > max((match.start() for match in closing.finditer(before)), default=-1):
            opened.append(last)
    return min([*begins[-1:], *opened], default=0)
