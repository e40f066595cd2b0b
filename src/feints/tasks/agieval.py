"""AGIEval (English): questions of real examinations with options, and optionally its MATH part."""

from __future__ import annotations

import re
from typing import Any, Literal

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place
from feints.tasks.loading.problems import About, Problems, TaskConfig
from feints.verify.choices import LETTERS, options_of

ABOUT = About(
    source="ruixiangcui/AGIEval",
    licence="MIT; LogiQA part CC BY-NC-SA 4.0 (non-commercial)",
    citation="Zhong et al., AGIEval: A Human-Centric Benchmark, 2023, arXiv:2304.06364",
)
Part = Literal[
    "aqua-rat", "logiqa-en", "lsat-ar", "lsat-lr", "lsat-rc", "sat-math", "sat-en", "sat-en-without-passage", "math"
]
MULTIPLE_CHOICE: tuple[Part, ...] = (
    "aqua-rat",
    "logiqa-en",
    "lsat-ar",
    "lsat-lr",
    "lsat-rc",
    "sat-math",
    "sat-en",
    "sat-en-without-passage",
)
_CUE = re.compile(r"\s*A: (?:Among A through [A-Z], the answer is|The answer is)\s*$")
_OPTIONS = re.compile(r"\s*Answer Choices:.*$", re.DOTALL)


class Config(TaskConfig):
    """Settings of AGIEval. aqua-rat and math repeat problems of AQuA and MATH."""

    parts: tuple[Part, ...] = MULTIPLE_CHOICE
    """Which examinations; the eight multiple-choice ones are those EDIT examines on."""


def load(config: Config) -> Problems:
    """AGIEval from `hails/agieval-*` or local files (the original layout, or the shared one); test only."""
    wanted = {f"agieval_{part}" for part in config.parts}
    layout = Layout(
        name="agieval",
        about=ABOUT,
        tables=[
            HubTable(repository=f"hails/agieval-{part}", splits={"test": "test"}, topic=part) for part in config.parts
        ],
        columns=[("query",), ("question", "options", "label")],
        default_split="test",
        read=problem_of,
        wanted=lambda row, place: row.get("dataset") is None or row["dataset"] in wanted,
    )
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """Either the hub's layout (query, choices, gold) or the original one (passage, question, options, label)."""
    if "query" in row:
        question = _CUE.sub("", str(row["query"]))
        options: Any = row.get("choices") or ()
        if options:
            question = _OPTIONS.sub("", question)
        gold = row["gold"] if "gold" in row else row["answer"]
        answer = LETTERS[gold[0]] if isinstance(gold, list) else str(gold)
        question = re.sub(r"(^|\s)Q: ", r"\1", question, count=1)
    else:
        passage = str(row.get("passage") or "").strip()
        question = f"{passage}\n{row['question']}" if passage else str(row["question"])
        options = row.get("options") or ()
        answer = str(row["label"] if options else row["answer"])
    return Problem(
        id=place.id,
        question=question.strip(),
        answer=answer.strip(),
        answer_kind=AnswerKind.CHOICE if options else AnswerKind.LATEX,
        task=place.task,
        split=place.split,
        choices=options_of(options),
        solution=_solution(row),
        topic=place.topic,
    )


def _solution(row: Row) -> str | None:
    other = row.get("other") or {}
    return str(other.get("solution") or "").strip() or None
