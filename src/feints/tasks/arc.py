"""ARC: grade-school science questions with options, an easy and a challenge set."""

from __future__ import annotations

from typing import Literal

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place, lettered
from feints.tasks.loading.problems import About, Problems, TaskConfig
from feints.verify.choices import options_of

ABOUT = About(
    source="allenai/ai2_arc",
    licence="CC BY-SA 4.0",
    citation="Clark et al., Think you have Solved Question Answering? Try ARC, 2018, arXiv:1803.05457",
)


class Config(TaskConfig):
    """Settings of ARC."""

    part: Literal["challenge", "easy"] = "challenge"
    """Which of the two sets; a local file may hold both."""


def load(config: Config) -> Problems:
    """ARC from `allenai/ai2_arc` or a local file; challenge 1,119 / 299 / 1,172, easy 2,251 / 570 / 2,376."""
    name = f"arc_{config.part}"
    layout = Layout(
        name=name,
        about=ABOUT,
        tables=[HubTable(repository="allenai/ai2_arc", name=f"ARC-{config.part.capitalize()}")],
        columns=[("question", "choices", "answerKey")],
        read=problem_of,
        wanted=lambda row, place: row.get("dataset", name) == name,
    )
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """A few problems label their options 1 to 4; all are lettered here."""
    choices, answer = lettered(options_of(row["choices"]), str(row["answerKey"]).strip())
    return Problem(
        id=f"{place.task}/{row['id']}" if row.get("id") not in (None, "") else place.id,
        question=str(row["question"]).strip(),
        answer=answer,
        answer_kind=AnswerKind.CHOICE,
        task=place.task,
        split=place.split,
        choices=choices,
    )
