"""Every word, digit and punctuation mark that the lab's problems and step sentences are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from feints.lab import wording
from feints.lab.events import NOW, THEN
from feints.lab.lexicon import LEXICON, UNIT_FACTS
from feints.lab.questions import FORMS

TOKEN_PATTERN = re.compile(r"[A-Za-z]+|\d|[^\sA-Za-z\d]")
"""Words, single digits, single punctuation marks: the tokens of all the lab says."""

_CLAIM_WORDS = (
    "The the hold are In in that time gets loses is Half half A a of them for cost have together and , average on"
    " more fewer than fills Each each friend back last has now percent"
)
"""The words of the claims and phrases that `meaning` and `asking` give to steps; a test keeps it true."""
_SLOT = re.compile(r"\{\w+\}")


def tokens(text: str) -> list[str]:
    """The tokens of a text."""
    return TOKEN_PATTERN.findall(text)


def untokenise(parts: Iterable[str]) -> str:
    """The text that these are the tokens of: no space inside a number or before . , : ?, one elsewhere."""
    text = ""
    for part in parts:
        glued = not text or part in ".,:?" or (part.isdigit() and text[-1].isdigit())
        text += part if glued else " " + part
    return text


def _first_small(template: str) -> list[str]:
    """A template, and as it is written after an opener."""
    return [template, template[0].lower() + template[1:]]


@cache
def vocabulary() -> tuple[str, ...]:
    """Every token of problems and of `wording`, sorted; nothing else."""
    texts = [phrase for phrases in LEXICON.values() for phrase in phrases]
    texts += ["0 1 2 3 4 5 6 7 8 9", *THEN, *NOW, *wording.OPENERS, *wording.WORDS, wording.ANSWER_TRIGGER, "."]
    texts += [fact.statement for fact in UNIT_FACTS]
    for form in FORMS.values():
        for template in (*form.trained, *form.held_out):
            texts += _first_small(template) if form.block == "event" else [template]
    for template in wording.STEP_SENTENCES:
        texts += _first_small(template)
    texts += [_CLAIM_WORDS]
    return tuple(sorted({token for text in texts for token in tokens(_SLOT.sub(" ", text))}))
