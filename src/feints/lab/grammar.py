"""Turns forms into sentences and sentences back into forms, with the same templates for both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from feints.lab.events import NOW, RELATIONS, THEN, Form
from feints.lab.lexicon import LEXICON, SLOT_CLASS
from feints.lab.questions import FORMS

Slots = dict[str, str]
"""Slot name -> the phrase that fills it."""

_CLASS_OF = {phrase: slot_class for slot_class, phrases in LEXICON.items() for phrase in phrases}
_PHRASE = re.compile(r"\b(?:" + "|".join(sorted(_CLASS_OF, key=len, reverse=True)) + r")\b|\b[0-9]{1,9}\b")
_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_END = re.compile(r"(?<=[.?])\s+")
_OPENERS = (*((opener, False) for opener in THEN), *((opener, True) for opener in NOW))


@dataclass(frozen=True, slots=True)
class Match:
    """A sentence understood."""

    form: Form
    slots: Slots
    now: bool
    """Whether the sentence says that it speaks of this moment (see `events.NOW`)."""
    held_out: bool
    """Whether the paraphrase is one of the unseen split."""


@dataclass(frozen=True, slots=True)
class _Pattern:
    form: Form
    held_out: bool
    fields: tuple[tuple[str, str], ...]
    """For each marked phrase in turn ("slot", name) or ("word", the phrase that must stand there)."""


def _abstract(sentence: str) -> tuple[str, list[str]]:
    """The sentence with a class marker for every phrase of the lexicon and every number, and those phrases."""
    found: list[str] = []

    def mark(match: re.Match[str]) -> str:
        phrase = match.group()
        found.append(phrase)
        return f"<{_CLASS_OF.get(phrase, 'N')}>"

    return _PHRASE.sub(mark, sentence), found


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _compile(form: Form, template: str, held_out: bool) -> tuple[str, _Pattern]:
    """Key and pattern of one template."""
    key: list[str] = []
    fields: list[tuple[str, str]] = []
    at = 0
    for slot in _SLOT.finditer(template):
        literal, words = _abstract(template[at : slot.start()])
        key += [literal, f"<{SLOT_CLASS[slot.group(1)]}>"]
        fields += [("word", word) for word in words]
        fields.append(("slot", slot.group(1)))
        at = slot.end()
    literal, words = _abstract(template[at:])
    fields += [("word", word) for word in words]
    return "".join([*key, literal]), _Pattern(form, held_out, tuple(fields))


@cache
def patterns() -> Mapping[str, tuple[_Pattern, ...]]:
    """Abstract sentence -> what it can be; held-out paraphrases included."""
    table: dict[str, tuple[_Pattern, ...]] = {}
    for form in FORMS.values():
        for template in (*form.trained, *form.held_out):
            key, pattern = _compile(form, template, template in form.held_out)
            table[key] = (*table.get(key, ()), pattern)
    return table


def _fill(pattern: _Pattern, phrases: list[str]) -> Slots | None:
    """The slots of a sentence under a pattern, None when a word or a repeated slot disagrees."""
    slots: Slots = {}
    for (sort, name), phrase in zip(pattern.fields, phrases, strict=True):
        if (name if sort == "word" else slots.setdefault(name, phrase)) != phrase:
            return None
    return slots


def match(sentence: str) -> Match | None:
    """Understand one sentence; None when it is not in the grammar."""
    opener, now = next(((o, now) for o, now in _OPENERS if sentence.startswith(o)), ("", False))
    key, phrases = _abstract(_capital(sentence[len(opener) :]) if len(sentence) > len(opener) else "")
    for pattern in patterns().get(key, ()):
        slots = _fill(pattern, phrases)
        if slots is None:
            continue
        if now and pattern.form.name not in RELATIONS:
            return None
        if opener and not now and pattern.form.block != "event":
            return None
        return Match(pattern.form, slots, now, pattern.held_out)
    return None


def sentences(text: str) -> list[str]:
    """The sentences of a problem, in order."""
    return _SENTENCE_END.split(text.strip())


def say(template: str, slots: Mapping[str, str], opener: str = "") -> str:
    """Fill a template; after an opener its first word is written small unless it is a name."""
    if not opener:
        return template.format_map(slots)
    if template[0] != "{":
        template = template[0].lower() + template[1:]
    return opener + template.format_map(slots)
