"""MATH-500: the 500 test problems of MATH most reports examine on; there is nothing to train on."""

from __future__ import annotations

from dataclasses import replace

from feints.records import Problem
from feints.tasks import math
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place
from feints.tasks.loading.problems import Problems, TaskConfig

ABOUT = replace(
    math.ABOUT,
    source="HuggingFaceH4/MATH-500, a sample of hendrycks/math",
    citation=f"Lightman et al., Let's Verify Step by Step, 2023, arXiv:2305.20050; {math.ABOUT.citation}",
)


class Config(TaskConfig):
    """Settings of MATH-500."""


def load(config: Config) -> Problems:
    """MATH-500 from `HuggingFaceH4/MATH-500` or a local file. To train on MATH use task math with test: math500."""
    tables = [HubTable(repository="HuggingFaceH4/MATH-500", splits={"test": "test"})]
    layout = Layout(
        name="math500",
        about=ABOUT,
        tables=tables,
        columns=[("problem", "solution")],
        read=problem_of,
        default_split="test",
    )
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """As in MATH; the answer has a column of its own."""
    return math.problem_of(row, place)
