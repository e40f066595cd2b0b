"""SVAMP: one-step word problems varied so that shallow cues mislead."""

from __future__ import annotations

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place, number_text
from feints.tasks.loading.problems import About, Problems, TaskConfig

ABOUT = About(
    source="arkilpatel/SVAMP",
    licence="MIT",
    citation="Patel et al., Are NLP Models really able to Solve Simple Math Word Problems?, NAACL 2021",
)


class Config(TaskConfig):
    """Settings of SVAMP. A file in one piece can be split by `test_share: 0.3`, as the hub's copy is."""


def load(config: Config) -> Problems:
    """SVAMP from `ChilleD/SVAMP` (700 train, 300 test) or a local file."""
    tables = [HubTable(repository="ChilleD/SVAMP", splits={"train": "train", "test": "test"})]
    layout = Layout(
        name="svamp", about=ABOUT, tables=tables, columns=[("ID", "Body", "Question", "Answer")], read=problem_of
    )
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """Story and question are joined; some stories lack their full stop."""
    body = str(row["Body"]).strip()
    joined = f"{body}{'' if body.endswith(('.', '!', '?', ',')) else '.'} {str(row['Question']).strip()}"
    return Problem(
        id=f"svamp/{row['ID']}",
        question=joined,
        answer=number_text(row["Answer"]),
        answer_kind=AnswerKind.NUMBER,
        task=place.task,
        split=place.split,
        topic=str(row.get("Type") or ""),
    )
