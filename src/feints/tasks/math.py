"""MATH: competition problems with LaTeX solutions and answers, seven subjects, five levels."""

from __future__ import annotations

from typing import Literal

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place, level_of
from feints.tasks.loading.problems import About, Problems, TaskConfig
from feints.verify.spans import marked

ABOUT = About(
    source="hendrycks/math",
    licence="MIT",
    citation="Hendrycks et al., Measuring Mathematical Problem Solving With the MATH Dataset, 2021, arXiv:2103.03874",
)
SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
MATH_500 = HubTable(repository="HuggingFaceH4/MATH-500", splits={"test": "math500"})


class Config(TaskConfig):
    """Settings of MATH."""

    subjects: tuple[str, ...] = ()
    """Only these subjects, as written in the data ("Algebra" or "algebra"); empty takes all seven."""
    test: Literal["full", "math500"] = "full"
    """From the hub: examine on all 5,000 test problems, or on the 500 of MATH-500."""


def load(config: Config) -> Problems:
    """MATH from `EleutherAI/hendrycks_math` or a local file; 7,500 train, 5,000 test, no validation split.

    A local file may be of the recorded-rationale layout (question, answer, gold_rationale, samples): its problems
    are read, its samples are not.
    """
    splits = {"train": "train", "test": "test"} if config.test == "full" else {"train": "train"}
    tables = [HubTable(repository="EleutherAI/hendrycks_math", name=name, splits=splits) for name in SUBJECTS]
    if config.test == "math500":
        tables.append(MATH_500)
    subjects = {_plain(subject) for subject in config.subjects}
    layout = Layout(
        name="math",
        about=ABOUT,
        tables=tables,
        columns=[("problem", "solution")],
        read=problem_of,
        wanted=lambda row, place: not subjects or _plain(_subject(row)) in subjects,
    )
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """The gold answer is given (MATH-500) or stands in the last box of the solution."""
    solution = str(row["solution"]).strip()
    answer = row.get("answer")
    if answer is None:
        span = marked(solution, line_answers=False)
        if span is None or span.mark != "box":
            raise ValueError("its solution has no \\boxed{} answer")
        answer = span.text
    subject = _subject(row)
    return Problem(
        id=str(row.get("unique_id") or f"{place.task}/{place.split}/{_plain(subject)}/{place.index}"),
        question=str(row["problem"]).strip(),
        answer=str(answer).strip(),
        answer_kind=AnswerKind.LATEX,
        task=place.task,
        split=place.split,
        solution=solution,
        topic=subject,
        level=level_of(row.get("level")),
    )


def _subject(row: Row) -> str:
    return str(row.get("type") or row.get("subject") or (row.get("meta") or {}).get("subject") or "")


def _plain(subject: str) -> str:
    return subject.lower().replace("&", "and").replace(" ", "_")
