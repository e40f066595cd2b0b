"""New problems made from known ones: read out of a reply, unlike all others, answered as most attempts agree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from feints.curate.words import marks
from feints.records import AnswerKind, AnswerSource, Choice, Dropped, Finish, Problem, Rationale, content_hash

STEP = "new problems"
_HEAD = re.compile(
    r"^\W*(?:(?:the|a|new|harder|similar|rewritten)\s+)*(?:problem|question|variant)\b[^\n:]{0,20}:[\s*]*", re.I
)
_OPTION = re.compile(r"^\(([A-Z])\)\s*(.+)$")
_LONGEST = 4000


def read_variant(reply: Rationale, parent: Problem) -> Problem | str:
    """The new problem a reply holds, or why it holds none.

    A label in front ("New problem:") is left out; the last lines of the form "(A) ..." are its options where the
    parent has any. Its answer is not known yet; `parent` is the problem of the data set it goes back to, so that all
    variants of one problem stay on one side of any split.
    """
    if reply.finish in (Finish.REFUSAL, Finish.MALFORMED, Finish.LENGTH):
        return f"the reply was no problem ({reply.finish.value})"
    lines = [line.strip() for line in _HEAD.sub("", reply.text.strip().strip("*").strip()).splitlines()]
    options = [match for line in lines if (match := _OPTION.match(line))] if parent.choices else []
    question = "\n".join(line for line in lines if not (parent.choices and _OPTION.match(line))).strip()
    if not question or len(question) > _LONGEST:
        return "the reply was no problem (empty or endless)"
    choices = tuple(Choice(label=match.group(1), text=match.group(2).strip()) for match in options)
    if parent.choices and len({choice.label for choice in choices}) < max(2, len(choices)):
        return "the reply holds no options to choose from"
    root = parent.parent or parent.id
    return replace(
        parent,
        id=f"{root}/variant-{content_hash('variant', question, [choice.text for choice in choices], digits=12)}",
        question=question,
        choices=choices,
        answer=_any_answer(parent, choices),
        answer_source=AnswerSource.AGREEMENT,
        parent=root,
        solution=None,
    )


def _any_answer(parent: Problem, choices: Sequence[Choice]) -> str:
    """An answer of the right kind, for as long as none is known: checkers refuse a problem without."""
    if choices:
        return choices[0].label
    return {AnswerKind.BOOLEAN: "yes", AnswerKind.TEXT: "unknown"}.get(parent.answer_kind, "0")


def unlike(new: Iterable[Problem], known: Iterable[Problem]) -> tuple[list[Problem], list[Dropped]]:
    """Those whose text is that of no known problem and of no earlier new one, spacing and sentence marks aside."""
    seen = {marks(problem.question) for problem in known}
    kept: list[Problem] = []
    dropped: list[Dropped] = []
    for problem in new:
        text = marks(problem.question)
        if text in seen:
            dropped.append(Dropped(item_id=problem.id, step=STEP, reason="equal to a training problem"))
            continue
        seen.add(text)
        kept.append(problem)
    return kept, dropped


def agreed(keys: Sequence[str | None], attempts: int) -> int | None:
    """Index of the first attempt that gave the answer more than half of `attempts` gave; None where there is none.

    Attempts that gave no answer count in the whole: silence is no agreement.
    """
    given = Counter(key for key in keys if key is not None)
    if not given:
        return None
    winner, votes = min(given.items(), key=lambda item: (-item[1], list(keys).index(item[0])))
    return list(keys).index(winner) if 2 * votes > attempts else None
