"""StrategyQA: yes-or-no questions whose reasoning steps must be found."""

from __future__ import annotations

from feints.records import AnswerKind, Problem
from feints.tasks.loading.assemble import Layout, load_task
from feints.tasks.loading.files import Row
from feints.tasks.loading.hub import HubTable
from feints.tasks.loading.layouts import Place
from feints.tasks.loading.problems import About, Problems, TaskConfig

ABOUT = About(
    source="eladsegal/strategyqa, also a BIG-bench task",
    licence="MIT (BIG-bench copy: Apache-2.0)",
    citation="Geva et al., Did Aristotle Use a Laptop?, TACL 2021, arXiv:2101.02235",
    canary="part of BIG-bench: keep it out of anything published, train on its train split only",
)


class Config(TaskConfig):
    """Settings of StrategyQA. A file in one piece is all train; `test_share: 0.3` holds some back."""


def load(config: Config) -> Problems:
    """StrategyQA from `ChilleD/StrategyQA` (1,603 train, 687 test) or a local file."""
    tables = [HubTable(repository="ChilleD/StrategyQA", splits={"train": "train", "test": "test"})]
    layout = Layout(
        name="strategy_qa", about=ABOUT, tables=tables, columns=[("qid", "question", "answer")], read=problem_of
    )
    return load_task(layout, config)


def problem_of(row: Row, place: Place) -> Problem:
    """The answer is true or false; the facts serve as the worked solution."""
    if not isinstance(row["answer"], bool):
        raise ValueError(f"answer {row['answer']!r} is neither true nor false")
    facts = row.get("facts") or ""
    return Problem(
        id=str(row["qid"]),
        question=str(row["question"]).strip(),
        answer="yes" if row["answer"] else "no",
        answer_kind=AnswerKind.BOOLEAN,
        task=place.task,
        split=place.split,
        solution=(facts if isinstance(facts, str) else " ".join(facts)).strip() or None,
    )
