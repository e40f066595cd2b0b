"""BIG-Bench Hard: 27 sub-tasks, split 4:1 per sub-task as in EDIT."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from math import floor

from pydantic import Field

from feints.curate.split import unit_interval
from feints.errors import SettingsError
from feints.records import AnswerKind, Choice, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place
from feints.tasks.loading.problems import About, Problems, TaskConfig

ABOUT = About(
    source="suzgunmirac/BIG-Bench-Hard",
    licence="MIT",
    citation="Suzgun et al., Challenging BIG-Bench Tasks and Whether Chain-of-Thought Can Solve Them, 2022, "
    "arXiv:2210.09261; split as in Dai et al., Capture the Key in Reasoning, ACL 2025",
    canary="BIG-bench canary: evaluation only, except to follow EDIT on its train split",
)
SUB_TASKS = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)
NUMBERS = ("multistep_arithmetic_two", "object_counting")
_OPTION = re.compile(r"^\(([A-Z])\)(.*?)(?=^\([A-Z]\)|\Z)", re.DOTALL | re.MULTILINE)


class Config(TaskConfig):
    """Settings of BIG-Bench Hard."""

    train_share: float = Field(default=0.8, ge=0.0, lt=1.0)
    """floor(share x n) of each sub-task, drawn by `seed`, is train and the rest test: at 0.8, 5,207 / 1,304 of all
    6,511. 0 keeps everything for examination. Files given by role (`path: {train: ..., test: ...}`) are not split."""
    sub_tasks: tuple[str, ...] = ()
    """Only these; empty takes all 27."""


def load(config: Config) -> Problems:
    """BBH from `SaylorTwift/bbh` or local files (one per sub-task in the original layout, named after it).

    Raises:
        SettingsError: an unknown sub-task.
    """
    unknown = sorted(set(config.sub_tasks) - set(SUB_TASKS))
    if unknown:
        raise SettingsError(f"task bbh: no sub-task is called {', '.join(unknown)}; known: {', '.join(SUB_TASKS)}")
    names = config.sub_tasks or SUB_TASKS
    layout = Layout(
        name="bbh",
        about=ABOUT,
        tables=[
            HubTable(repository="SaylorTwift/bbh", name=name, splits={"test": "test"}, topic=name) for name in names
        ],
        columns=[("input", "target")],
        read=problem_of,
        default_split="test",
        wanted=lambda row, place: (
            place.split not in ("train", "test")  # a further test set of the recipe's, from elsewhere
            or (place.topic or str(row.get("dataset", "")).removeprefix("bbh_")) in names
        ),
        resplit=lambda problems: split_each_topic(problems, config.train_share, config.seed),
    )
    return load_task(layout, config)


def split_each_topic(problems: list[Problem], train_share: float, seed: int) -> list[Problem]:
    """floor(share x n) of each topic's problems become train, chosen by a hash of seed and id; the rest test."""
    ranked: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for problem in problems:
        ranked[problem.topic].append((unit_interval("bbh", seed, problem.id), problem.id))
    train: set[str] = set()
    for drawn in ranked.values():
        # The tiny term keeps 0.8 x 250 from being 199.999...
        train.update(name for _, name in sorted(drawn)[: floor(train_share * len(drawn) + 1e-9)])
    return [replace(problem, split="train" if problem.id in train else "test") for problem in problems]


def problem_of(row: Row, place: Place) -> Problem:
    """Options stand in the text under "Options:"; what kind of answer it is shows in the target.

    Three rows are spoilt at the source: their target is a text that names none of their options. They stay, with all
    of their question, so that the split has the sizes of the paper.
    """
    question, _, listed = str(row["input"]).partition("\nOptions:\n")
    target = str(row["target"]).strip()
    choices = tuple(Choice(label=label, text=text.strip()) for label, text in _OPTION.findall(listed))
    kind = _kind(target, place.topic, choices)
    is_spoilt = bool(choices) and kind is AnswerKind.TEXT
    return Problem(
        id=f"bbh/{place.topic}/{place.index}",
        question=(str(row["input"]) if is_spoilt else question).strip(),
        answer=target.strip("()") if kind is AnswerKind.CHOICE else target,
        answer_kind=kind,
        task=place.task,
        split=place.split,
        choices=choices if kind is AnswerKind.CHOICE else (),
        topic=place.topic,
    )


def _kind(target: str, topic: str, choices: tuple[Choice, ...]) -> AnswerKind:
    if choices and re.fullmatch(r"\([A-Z]\)", target):
        return AnswerKind.CHOICE
    if target.lower() in ("yes", "no", "true", "false"):
        return AnswerKind.BOOLEAN
    return AnswerKind.NUMBER if topic in NUMBERS else AnswerKind.TEXT
