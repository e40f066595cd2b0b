"""GSM8K: grade-school word problems with human solutions and whole-number answers."""

from __future__ import annotations

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place, clean_solution, number_text
from feints.tasks.loading.problems import About, Problems, TaskConfig

ABOUT = About(
    source="openai/grade-school-math",
    licence="MIT",
    citation="Cobbe et al., Training Verifiers to Solve Math Word Problems, 2021, arXiv:2110.14168",
)


class Config(TaskConfig):
    """Settings of GSM8K."""


def load(config: Config) -> Problems:
    """GSM8K from `openai/gsm8k` or a local file; 7,473 train, 1,319 test, no validation split."""
    tables = [HubTable(repository="openai/gsm8k", name="main", splits={"train": "train", "test": "test"})]
    layout = Layout(name="gsm8k", about=ABOUT, tables=tables, columns=[("question", "answer")], read=problem_of)
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """The gold answer stands behind "####" at the end of the solution."""
    solution, mark, answer = str(row["answer"]).rpartition("####")
    if not mark:
        raise ValueError(f"answer {row['answer']!r} has no '####' before the result")
    return Problem(
        id=f"gsm8k/{place.split}/{place.index}",
        question=str(row["question"]).strip(),
        answer=number_text(answer),
        answer_kind=AnswerKind.NUMBER,
        task=place.task,
        split=place.split,
        solution=clean_solution(solution),
    )
