"""Anyone's own problems, from a JSONL, JSON, CSV or Parquet file whose columns can be named."""

from __future__ import annotations

from typing import Any

from feints.errors import SettingsError
from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.layouts import (
    ENDS,
    Place,
    clean_solution,
    filled,
    from_question_layout,
    id_of,
    kind_of,
    level_of,
)
from feints.tasks.loading.problems import About, Problems, TaskConfig
from feints.verify.choices import options_of, single


class Config(TaskConfig):
    """Settings of a file of one's own; columns that a row lacks are simply empty, except question and answer."""

    name: str = "file"
    """What the set is called in tables and reports."""
    answer_kind: AnswerKind | None = None
    """Kind of every answer (number, latex, choice, boolean, text, program); None reads the column answer_type."""
    dataset: str | None = None
    """Only rows whose column `dataset` says this; None takes all."""
    id_column: str = "id"
    """Column with an id; rows without one are numbered."""
    question_column: str = "question"
    """Column with the question."""
    answer_column: str = "answer"
    """Column with the gold answer (for a choice: its label)."""
    choices_column: str = "options"
    """Column with the options: a list of {label, text}, {label: text}, or a list of texts to be lettered."""
    solution_column: str = "rationale"
    """Column with a worked solution."""
    topic_column: str = "topic"
    """Column with a sub-task or subject."""
    level_column: str = "level"
    """Column with a difficulty."""
    source: str = "a local file"
    """For the model card."""
    licence: str = "not stated"
    """For the model card."""
    citation: str = ""
    """For the model card."""


def load(config: Config) -> Problems:
    """The problems of `path`.

    Raises:
        SettingsError: no path is given.
    """
    if config.path is None:
        raise SettingsError("task file: give the file as `path`, for example path: {train: my_problems.jsonl}")
    kind_column = () if config.answer_kind else ("answer_type",)
    layout = Layout(
        name=config.name,
        about=About(source=config.source, licence=config.licence, citation=config.citation),
        tables=[],
        columns=[(config.question_column, config.answer_column, *kind_column)],
        read=lambda row, place: problem_of(row, place, config),
        read_shared=lambda row, place: shared_or_own(row, place, config),
        wanted=lambda row, place: config.dataset is None or row.get("dataset") == config.dataset,
    )
    return load_task(layout, config)


def shared_or_own(row: Row, place: Place, config: Config) -> Problem:
    """The shared layout as it is, unless a setting names another column or kind."""
    renamed = any(
        getattr(config, name) != info.default for name, info in Config.model_fields.items() if name.endswith("_column")
    )
    return problem_of(row, place, config) if renamed or config.answer_kind else from_question_layout(row, place)


def problem_of(row: Row, place: Place, config: Config) -> Problem:
    """One row read by the columns named in the settings."""
    kind = config.answer_kind or kind_of(row)
    solution = single(row.get(config.solution_column), config.solution_column)
    answer: Any = filled(row, config.answer_column)
    return Problem(
        id=id_of(row, place, config.id_column),
        question=str(filled(row, config.question_column)).strip(),
        answer=("yes" if answer else "no") if isinstance(answer, bool) else str(answer).strip(ENDS),
        answer_kind=kind,
        task=place.task,
        split=place.split,
        choices=options_of(row.get(config.choices_column)) if kind is AnswerKind.CHOICE else (),
        solution=clean_solution(str(solution)) if solution else None,
        topic=str(single(row.get(config.topic_column), config.topic_column) or ""),
        level=level_of(row.get(config.level_column)),
    )
