"""What a chat asks of the lab teacher: which problem, what kind of reply, which hint; by keyword rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from feints.records import Form

Reads = Callable[[str], bool]
"""Whether a text is a problem of the lab's grammar."""


class Ask(StrEnum):
    """What is wanted."""

    SOLVE = "solve"
    KEYPOINTS = "keypoints"
    """Core question, useful information, solution: all fields or only those in `fields`."""
    WRONG = "wrong"
    """A plausible wrong response."""
    TAILORED = "tailored"
    """An answer to one wrong rationale."""
    NEW_PROBLEM = "new_problem"
    LABEL = "label"
    """Which mistake pattern a wrong response shows."""
    KIND = "kind"
    """Why a wrong response is wrong, in the words of KPDD's analysis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One chat, understood."""

    question: str
    """The problem, as it stands in the chat."""
    ask: Ask
    form: Form = Form.COT
    """How a solution is to be written."""
    fields: tuple[str, ...] = ()
    """Of core, information, solution: those wanted (key points only)."""
    hint: int | None = None
    """The gold answer, where the chat states it."""
    shown: str = ""
    """The wrong response (tailored, label, kind) or the right one (wrong) that the chat shows."""
    context: str = ""
    """All that stands below the problem, answers in earlier turns included."""
    alone: bool = False
    """Whether an answer to a wrong rationale must not mention it."""
    harder: bool = False
    """Whether a new problem is to be harder."""


_NEGATED = re.compile(r"\b(?:do not|don't|never|without|instead of|rather than|no need to)\b[^.;,:\n]*", re.I)
_LABEL = re.compile(r"^\W*(?:[A-Za-z][A-Za-z #'\d]{0,30}:|[A-Z]?\d+[.)])\s+")
_NUMBER = r"[$]?(-?\d[\d,]*)"
_HINTS = (
    re.compile(
        rf"\b(?:hint|correct|right|gold|true|reference|actual|known|given)\s+answer\b[^\n\d?]{{0,30}}{_NUMBER}", re.I
    ),
    re.compile(rf"\bhint\b[^\n?]{{0,80}}?\banswer\b[^\n\d?]{{0,30}}{_NUMBER}", re.I),
    re.compile(rf"\banswer\s+(?:must|should|has to)\b[^\n\d?]{{0,30}}{_NUMBER}", re.I),
)
_ANSWER = re.compile(rf"\banswer is\W{{0,3}}{_NUMBER}", re.I)
_WRONG_HEADS = re.compile(
    r"^\W*[^\n:.]{0,40}\b(?:wrong|incorrect|mistaken|student(?:'s)?)\b[^\n:.]{0,40}:", re.I | re.M
)
_RIGHT_HEADS = re.compile(r"^\W*[^\n:.]{0,40}\b(?:right|correct)\b[^\n:.]{0,40}:", re.I | re.M)
_ANY_HEAD = re.compile(r"\n\W*[A-Z][A-Za-z' ]{0,60}:")

_MAKES = re.compile(r"\b(?:make|create|write|generate|compose|produce|design|invent|rewrite|give|propose)\b", re.I)
_NEW = re.compile(
    r"\b(?:new|another|similar|harder|tougher|different|more (?:difficult|challenging|complex))\s+"
    r"(?:(?!solution|rationale|answer|response|explanation|program|way)[\w'-]+[\s,]+){0,5}?"
    r"(?:problems?|questions?|variants?|one)\b"
    r"|\b(?:variants? of|(?:problems?|questions?)\s+(?:similar to|like)\b)",
    re.I,
)
_HARDER = re.compile(r"\b(?:harder|tougher|more (?:difficult|challenging|complex|steps))\b", re.I)
_LABELS = re.compile(r"\b(?:classify|label|labels|pattern|patterns|categor(?:y|ies|ise|ize))\b", re.I)
_ALONE = re.compile(r"\bstands? (?:alone|on its own)\b", re.I)
_KINDS = re.compile(r"\bmisunderst\w+\b.*\bmissing step\b", re.I | re.S)
_STUDENT = re.compile(r"\bstudent|\bfeedback|\btailored?|\bcomment on\b|\bmistakes?\b", re.I)
_WRONG = re.compile(
    r"\b(?:wrong|incorrect|mistaken|erroneous)\s+(?:response|answer|solution|rationale|reasoning)", re.I
)
_CORE = re.compile(r"\bcore question", re.I)
_INFORMATION = re.compile(
    r"\b(?:useful|relevant|important|key|problem[- ]solving|needed)\s+(?:information|facts?|conditions?)\b"
    r"|\bkey points?\b|\b(?:extract|list|give|find|state|write)\b[^.\n]{0,40}\binformation\b|^\W*information\s*:",
    re.I | re.M,
)
_SOLVES = re.compile(r"\b(?:solv\w*|solution|answer (?:it|the|in)|step by step|reason\w*)\b", re.I)
_FORMS = (
    (Form.SAT, re.compile(r"\bconstraints?\b|\bdeclarative|\bsatisf\w+|\bz3\b", re.I)),
    (Form.EOT, re.compile(r"\bequations?\b|\blinear system", re.I)),
    (Form.POT, re.compile(r"\bpython\b|\bprograms?\b|\bcode\b", re.I)),
)


def stated_answer(text: str) -> int | None:
    """The last answer a rationale states, None where there is none."""
    found = _ANSWER.findall(text)
    return int(found[-1].replace(",", "")) if found else None


@lru_cache(maxsize=4096)
def _pieces(text: str) -> tuple[str, ...]:
    return tuple(re.split(r"(?<=[.?!])\s+", text.strip()))


def _candidates(line: str) -> Iterator[str]:
    """Stretches of a line that end in a question mark, the longest first from its last question mark back."""
    for end in reversed([match.end() for match in re.finditer(r"\?", line)]):
        head = line[:end].strip()
        label = _LABEL.match(head)
        if label:
            yield head[label.end() :]
        pieces = _pieces(head)
        for start in range(len(pieces)):
            yield " ".join(pieces[start:])


def find_problem(text: str, reads: Reads) -> tuple[str, int, int] | None:
    """The last problem in a text and where its line begins and it ends; None where nothing can be read."""
    spans = [(match.start(), match.group()) for match in re.finditer(r"[^\n]+", text) if "?" in match.group()]
    for start, line in reversed(spans):
        for candidate in _candidates(line):
            if reads(candidate):
                end = start + line.rindex(candidate[-20:]) + len(candidate[-20:])
                return candidate, start, end
    for match in reversed(list(re.finditer(r"(?:[^\n]+\n?)+", text))):
        joined = " ".join(match.group().split())
        for candidate in _candidates(joined) if "?" in joined and "\n" in match.group().strip() else ():
            if reads(candidate):
                return candidate, match.start(), match.start() + match.group().rindex("?") + 1
    return None


def _after_head(tail: str, heads: re.Pattern[str]) -> str:
    """The text below the last head of this kind that is followed by any, up to the next head."""
    for match in reversed(list(heads.finditer(tail))):
        rest = tail[match.end() :]
        stop = _ANY_HEAD.search(rest)
        body = rest[: stop.start()] if stop else rest
        answered = _ANSWER.search(body)
        if answered:
            # What follows the line with the answer belongs to the request again.
            body = body[: answered.end()] + body[answered.end() :].split("\n", 1)[0]
        if re.search(r"\d", body):
            return body.strip()
    return ""


def _hint(text: str) -> int | None:
    for pattern in _HINTS:
        found = pattern.findall(text)
        if found:
            return int(found[-1].replace(",", ""))
    return None


def _instructions(text: str, reads: Reads) -> str:
    """What stands before the first problem of a message: the instructions above any demonstrations."""
    kept = []
    for line in text.split("\n"):
        if "?" in line and any(reads(candidate) for candidate in _candidates(line)):
            break
        kept.append(line)
    return "\n".join(kept)


def understand(
    turns: list[tuple[str, str]], reads: Reads, given: Callable[[str, str], tuple[bool, bool]]
) -> Wanted | None:
    """Find the problem and what is asked about it.

    Args:
        turns: (role, text) in order; a raw prompt is one user turn.
        reads: whether a text is a problem.
        given: (question, text) -> whether the text states its core question, and any of its useful facts.

    Returns:
        None where no turn of the user holds a problem.
    """
    system = "\n".join(text for role, text in turns if role == "system")
    users = [index for index, (role, _) in enumerate(turns) if role == "user"]
    for index in reversed(users):
        found = find_problem(turns[index][1], reads)
        if found is None:
            continue
        question, start, end = found
        text = turns[index][1]
        later = "\n".join(said for _, said in turns[index + 1 :])
        tail = text[end:] + "\n" + later
        if index != users[-1]:
            request = turns[users[-1]][1]
        else:
            request = "\n".join((system, _instructions(text[:start], reads), text[end:]))
        return replace(_classify(question, request, tail, given(question, tail)), context=tail)
    return None


def _classify(question: str, request: str, tail: str, stated: tuple[bool, bool]) -> Wanted:
    plain = _NEGATED.sub(" ", request)
    form = next((form for form, pattern in _FORMS if pattern.search(plain)), Form.COT)
    hint = _hint(tail)
    hint = _hint(request) if hint is None else hint
    wrong_text = _after_head(tail, _WRONG_HEADS)
    if _LABELS.search(plain) and wrong_text:
        ask = Ask.KIND if _KINDS.search(plain) else Ask.LABEL
        return Wanted(question=question, ask=ask, form=form, shown=wrong_text, hint=hint)
    if _STUDENT.search(plain) and wrong_text:
        alone = bool(_ALONE.search(plain))
        return Wanted(question=question, ask=Ask.TAILORED, form=form, shown=wrong_text, hint=hint, alone=alone)
    if _WRONG.search(plain):
        right = _after_head(tail, _RIGHT_HEADS)
        return Wanted(question=question, ask=Ask.WRONG, form=form, shown=right, hint=hint)
    if any(_MAKES.search(piece) and _NEW.search(piece) for piece in re.split(r"[.\n]", plain)):
        return Wanted(question=question, ask=Ask.NEW_PROBLEM, harder=bool(_HARDER.search(plain)))
    core, information = bool(_CORE.search(plain)), bool(_INFORMATION.search(plain))
    if core or information:
        solution = bool(_SOLVES.search(re.sub(r"(?i)problem[- ]solving", "", plain)))
        wanted = {"core": core and not stated[0], "information": information and not stated[1], "solution": solution}
        fields = tuple(name for name, is_wanted in wanted.items() if is_wanted)
        if fields and fields != ("solution",):
            return Wanted(question=question, ask=Ask.KEYPOINTS, form=form, fields=fields, hint=hint)
    return Wanted(question=question, ask=Ask.SOLVE, form=form, hint=hint)
