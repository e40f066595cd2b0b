"""AQuA-RAT: algebra questions with five options and human rationales."""

from __future__ import annotations

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place
from feints.tasks.loading.problems import About, Problems, TaskConfig
from feints.verify.choices import options_of

ABOUT = About(
    source="google-deepmind/AQuA",
    licence="Apache-2.0",
    citation="Ling et al., Program Induction by Rationale Generation, ACL 2017, arXiv:1705.04146",
)


class Config(TaskConfig):
    """Settings of AQuA-RAT. Its answer keys are known to be noisy."""


def load(config: Config) -> Problems:
    """AQuA-RAT from `deepmind/aqua_rat` (97,467 train, 254 validation, 254 test) or a local file."""
    tables = [HubTable(repository="deepmind/aqua_rat", name="raw")]
    layout = Layout(
        name="aqua", about=ABOUT, tables=tables, columns=[("question", "options", "correct")], read=problem_of
    )
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """Options are texts such as "A)21"; the key is a letter."""
    return Problem(
        id=place.id,
        question=str(row["question"]).strip(),
        answer=str(row["correct"]).strip(),
        answer_kind=AnswerKind.CHOICE,
        task=place.task,
        split=place.split,
        choices=options_of(row["options"]),
        solution=str(row.get("rationale") or "").strip() or None,
    )
