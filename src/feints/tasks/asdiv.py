"""ASDiv: word problems of six school grades; answers are numbers with units, times, ratios or names."""

from __future__ import annotations

import re

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import LeftOut, Place, level_of, number_text
from feints.tasks.loading.problems import About, Problems, TaskConfig

ABOUT = About(
    source="chaochun/nlu-asdiv-dataset",
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Miao et al., A Diverse Corpus for Evaluating and Developing English Math Word Problem Solvers, ACL 2020",
)
_UNIT = re.compile(r"\s*\([^()]*\)\s*$")
_NUMBER = re.compile(r"-?[\d,]*\.?\d+(/\d+)?")


class Config(TaskConfig):
    """Settings of ASDiv. It has no split of its own: all of it is a test set unless `test_share` is given."""


def load(config: Config) -> Problems:
    """ASDiv from `EleutherAI/asdiv` (2,305 problems in one piece) or a local file."""
    tables = [HubTable(repository="EleutherAI/asdiv", splits={"validation": "test"})]
    layout = Layout(
        name="asdiv",
        about=ABOUT,
        tables=tables,
        columns=[("body", "question", "answer")],
        read=problem_of,
        default_split="test",
    )
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem | LeftOut:
    """The unit goes: "9 (apples)" is 9. Several answers in one ("3 (dogs); 2 (cats)") are left out."""
    written = str(row["answer"]).strip()
    if ";" in written:
        return LeftOut("several answers in one")
    answer = _UNIT.sub("", written) or written
    is_number = _NUMBER.fullmatch(answer) is not None
    return Problem(
        id=place.id,
        question=f"{str(row['body']).strip()} {str(row['question']).strip()}".strip(),
        answer=number_text(answer) if is_number else answer,
        answer_kind=AnswerKind.NUMBER if is_number else AnswerKind.TEXT,
        task=place.task,
        split=place.split,
        topic=str(row.get("solution_type") or ""),
        level=level_of(row.get("grade")),
    )
