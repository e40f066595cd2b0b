"""CommonsenseQA: five-option questions about everyday knowledge."""

from __future__ import annotations

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import ROLES, Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place, id_of
from feints.tasks.loading.problems import About, Problems, TaskConfig
from feints.verify.choices import options_of

ABOUT = About(
    source="tau/commonsense_qa",
    licence="MIT",
    citation="Talmor et al., CommonsenseQA, NAACL 2019, arXiv:1811.00937",
)


class Config(TaskConfig):
    """Settings of CommonsenseQA."""


def load(config: Config) -> Problems:
    """CommonsenseQA from `tau/commonsense_qa` or a local file; 9,741 train, 1,221 test.

    The answers of the official test set are not public: its development set is the test set here.
    """
    tables = [HubTable(repository="tau/commonsense_qa", splits={"train": "train", "validation": "test"})]
    roles = {**ROLES, "dev": "test", "validation": "test", "valid": "test"}
    columns = [("question", "choices", "answerKey")]
    layout = Layout(name="commonsense_qa", about=ABOUT, tables=tables, columns=columns, read=problem_of, roles=roles)
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """Options as parallel lists of labels and texts."""
    return Problem(
        id=id_of(row, place),
        question=str(row["question"]).strip(),
        answer=str(row["answerKey"]).strip(),
        answer_kind=AnswerKind.CHOICE,
        task=place.task,
        split=place.split,
        choices=options_of(row["choices"]),
        topic=str(row.get("question_concept") or ""),
    )
