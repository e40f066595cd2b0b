"""From a row to a Problem: the shared question layout, numbers as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feints.records import AnswerKind, Choice, Problem
from feints.tasks.loading.files import Row
from feints.verify.choices import LETTERS, options_of, refuse_too_many, single

QUESTION_COLUMNS = ("question", "answer", "answer_type")
"""Columns by which the shared layout (id, question, options, answer, answer_type, rationale, meta) is known."""
KINDS = {
    "number": AnswerKind.NUMBER,
    "option": AnswerKind.CHOICE,
    "choice": AnswerKind.CHOICE,
    "yesno": AnswerKind.BOOLEAN,
    "bool": AnswerKind.BOOLEAN,
    "boolean": AnswerKind.BOOLEAN,
    "text": AnswerKind.TEXT,
    "latex": AnswerKind.LATEX,
    "program": AnswerKind.PROGRAM,
}
ENDS = " \n"
"""Stripped off gold answers; a tab or a form feed may be what JSON made of a backslash, and is left to be found."""
_CALCULATOR = re.compile(r"<<[^<>\n]*>>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a row stands; what a problem's id and split are made of."""

    task: str
    """Name of the problem set."""
    split: str
    """train, validation or the name of a test set."""
    index: int
    """Number of the row within its split and topic, from 0."""
    topic: str = ""
    """Sub-task, where the file or table stands for one."""

    @property
    def id(self) -> str:
        """Id of a row that brings none."""
        return "/".join(part for part in (self.task, self.topic, self.split, str(self.index)) if part)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that holds no problem of this set."""

    reason: str


def filled(row: Row, column: str) -> Any:
    """What stands in a column that must hold something.

    Raises:
        KeyError: there is no such column.
        ValueError: it is null, or no single value.
    """
    if row[column] is None:
        raise ValueError(f"{column} is null; fill it in or remove the row")
    return single(row[column], column)


def id_of(row: Row, place: Place, column: str = "id") -> str:
    """The row's own id, which may be 0, or that of its place where it brings none.

    Raises:
        ValueError: it is no single value.
    """
    own = single(row.get(column), column)
    return place.id if own is None or own == "" else str(own)


def kind_of(row: Row) -> AnswerKind:
    """The kind that stands in the column answer_type.

    Raises:
        KeyError: there is no such column.
        ValueError: it names no kind.
    """
    written = single(row["answer_type"], "answer_type")
    if written not in KINDS:
        raise ValueError(f"answer_type {written!r} is none of {', '.join(KINDS)}")
    return KINDS[written]


def from_question_layout(row: Row, place: Place) -> Problem:
    """A row of the shared layout; fields of `meta` may also stand in the row itself."""
    meta: Mapping[str, Any] = row.get("meta") or {}
    if not isinstance(meta, Mapping):
        raise ValueError(f'meta holds {str(meta)[:60]!r}; it must be an object such as {{"level": 3}}')
    kind = kind_of(row)
    solution = single(row.get("rationale") or row.get("gold_rationale"), "rationale")
    return Problem(
        id=id_of(row, place),
        question=str(filled(row, "question")).strip(),
        answer=str(filled(row, "answer")).strip(ENDS),
        answer_kind=kind,
        task=place.task,
        split=place.split,
        choices=options_of(row.get("options")) if kind is AnswerKind.CHOICE else (),
        solution=clean_solution(str(solution)) if solution else None,
        topic=str(row.get("subject") or meta.get("subject") or place.topic or _own_topic(row, place.task)),
        level=level_of(row.get("level") or meta.get("level") or meta.get("grade")),
    )


def _own_topic(row: Row, task: str) -> str:
    """The row's data set where it is a part of the task's: "bbh_snarks" of bbh is snarks."""
    name = str(row.get("dataset") or "")
    return name.removeprefix(f"{task}_") if name != task else ""


def lettered(choices: Sequence[Choice], answer: str) -> tuple[tuple[Choice, ...], str]:
    """Options renamed A, B, C ... in order, and the answer's label with them (ARC has some labelled 1 to 4)."""
    refuse_too_many(choices)
    labels = [choice.label for choice in choices]
    renamed = tuple(Choice(label=LETTERS[n], text=choice.text) for n, choice in enumerate(choices))
    return renamed, LETTERS[labels.index(answer)] if answer in labels else answer


def clean_solution(text: str) -> str:
    """A human solution without calculator marks (<<48/2=24>>) and without its line "#### 72"."""
    return _CALCULATOR.sub("", text).split("\n####")[0].strip()


def number_text(value: Any) -> str:
    """A number as text: 145.0 and "145.0" are 145, thousands separators go; anything else as it stands."""
    text = str(value).strip()
    bare = text.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", text) else text
    return re.sub(r"(?<=\d)\.0+$", "", bare)


def level_of(value: Any) -> int | None:
    """The whole number in "Level 4", 4 or "4"; None where there is none."""
    match = re.search(r"\d+", str(value)) if value is not None else None
    return int(match.group()) if match else None
