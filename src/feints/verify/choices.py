"""A problem's options in the several shapes in which data sets write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from feints.records import Choice

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OPTION = re.compile(r"\s*\(?([A-Za-z0-9])[).:]\s*(.*)", re.DOTALL)


def options_of(found: Any) -> tuple[Choice, ...]:
    """Options of a problem in one of the shapes in which they are written.

    These are a list of {label, text} objects, {label: [...], text: [...]}, {label: text}, and a list of texts such as
    "A)21" or "(B) 7".

    Raises:
        ValueError: they are written otherwise, one of them is null or nested, or there are too many to be lettered.
    """
    if not found:
        return ()
    if isinstance(found, Mapping):
        listed = all(isinstance(found.get(part), list | tuple) for part in ("label", "text"))
        if listed and len(found["label"]) != len(found["text"]):
            raise ValueError(f"the options have {len(found['label'])} labels and {len(found['text'])} texts")
        # A table has the same columns in every row: an option a problem does not have is null there.
        own = {label: text for label, text in found.items() if text is not None}
        pairs = list(zip(found["label"], found["text"], strict=True)) if listed else list(own.items())
    elif not isinstance(found, list | tuple):
        raise ValueError(
            f"the options hold {str(found)[:60]!r}; give a list of texts, a list of {{label, text}}, or {{label: text}}"
        )
    elif all(isinstance(option, Mapping) for option in found):
        if incomplete := [option for option in found if not {"label", "text"} <= set(option)]:
            raise ValueError(f"an option holds {', '.join(map(str, incomplete[0]))}; it needs label and text")
        pairs = [(option["label"], option["text"]) for option in found]
    else:
        refuse_too_many(found)
        pairs = [_split_option(_written(option), number) for number, option in enumerate(found)]
    return tuple(Choice(label=_written(label), text=_written(text)) for label, text in pairs)


def _written(part: Any) -> str:
    """A label or the text of an option as text."""
    if part is None:
        raise ValueError("an option is null; fill it in or remove it")
    return str(single(part, "an option")).strip()


def refuse_too_many(options: Sequence[Any]) -> None:
    """Raise ValueError where letters do not suffice."""
    if len(options) > len(LETTERS):
        raise ValueError(
            f"{len(options)} options cannot be lettered A to Z; give each a label of its own ({{label, text}})"
        )


def _split_option(text: str, number: int) -> tuple[str, str]:
    match = _OPTION.fullmatch(text)
    # "1.5" or "a.m." is an option's text, not a label: only the letter that is due counts as one.
    if match and match.group(1).upper() == LETTERS[number]:
        return LETTERS[number], match.group(2)
    return LETTERS[number], text


def single(value: Any, name: str) -> Any:
    """`value`, which must be one text, number or truth value, or null: a list's Python text would pass for an answer.

    Raises:
        ValueError: it is nested or raw bytes.
    """
    kinds: dict[type[Any], str] = {list: "a list", tuple: "a list", dict: "an object", bytes: "raw bytes"}
    if type(value) in kinds:
        shown = repr(value)[:60]
        raise ValueError(f"{name} holds {kinds[type(value)]} ({shown}); give one text or number there")
    return value
