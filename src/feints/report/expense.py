"""What each arm of a run took: teacher tokens, optimiser steps, target tokens, forward passes and wall time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from feints.records import Rationale, of_teacher
from feints.report.contents import Expense
from feints.runs import RunFolder
from feints.tables import read_table
from feints.train.history import last_totals

STAGES = ("1_rationales", "2_verdicts", "3_examples", "4_student", "5_answers")


def expenses(run: RunFolder) -> tuple[Expense, ...]:
    """One row per arm and training seed, in the order they were made.

    What several arms share (the teacher's first answers, a first stage) counts for each of them in full: a row says
    what the arm would have taken alone. A text that stands in several tables of an arm, as what is learnt again in a
    later round does, was written once and counts once.
    """
    texts = _Texts(str(run.manifest["teacher"]))
    found: dict[tuple[str, int], dict[str, float]] = {}
    for stage in STAGES:
        for path, entry in run.outputs(stage):
            for arm, seed in entry.get("used_by", ()):
                row = found.setdefault((arm, seed), dict.fromkeys(_FIELDS, 0))
                row["seconds"] += entry.get("seconds", 0.0)
                for name, amount in texts.new(arm, seed, path, entry) if stage == STAGES[0] else _training(stage, path):
                    row[name] += amount
    return tuple(Expense(arm=arm, seed=seed, **_whole(row)) for (arm, seed), row in found.items())


def mean_expenses(rows: Sequence[Expense]) -> list[Expense]:
    """One row per arm, in order: the mean over its training seeds; `seed` is how many there are."""
    by_arm: dict[str, list[Expense]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(row)
    return [
        Expense(arm=arm, seed=len(own), **_whole({name: fmean(getattr(row, name) for row in own) for name in _FIELDS}))
        for arm, own in by_arm.items()
    ]


_FIELDS = tuple(name for name in Expense.__dataclass_fields__ if name not in ("arm", "seed"))


def _whole(row: dict[str, float]) -> dict[str, Any]:
    return {name: value if name.endswith("seconds") else int(value) for name, value in row.items()}


class _Texts:
    """Tables of rationales, each read once, and which of their texts an arm has been counted for."""

    def __init__(self, teacher: str) -> None:
        self._teacher = teacher
        self._read: dict[Path, list[tuple[str, dict[str, int]]]] = {}
        self._counted: dict[tuple[str, int], set[str]] = {}

    def new(self, arm: str, seed: int, path: Path, entry: dict[str, Any]) -> Iterator[tuple[str, float]]:
        """What the texts of this table add that stood in no earlier table of this arm and seed.

        Attempts at them that brought nothing usable are part of it.
        """
        if path not in self._read:
            self._read[path] = [(row.ledger_key or row.id, self._took(row)) for row in read_table(path, Rationale)]
        counted = self._counted.setdefault((arm, seed), set())
        for key, took in self._read[path]:
            if key not in counted:
                counted.add(key)
                yield from took.items()
                attempts, tokens, _ = entry.get("unanswered", {}).get(key, (0, 0, 0.0))
                yield from (("requests", attempts), ("unanswered_tokens", tokens))

    def _took(self, row: Rationale) -> dict[str, int]:
        """A request and its tokens, sent and received; of a student's text the tokens it wrote."""
        if not of_teacher(row, self._teacher):
            return {"own_tokens": row.completion_tokens}
        return {"requests": 1, "prompt_tokens": row.prompt_tokens, "completion_tokens": row.completion_tokens}


def _training(stage: str, path: Path) -> Iterator[tuple[str, float]]:
    """What training one student adds to the row of an arm that used it."""
    if stage == "4_student" and (last := last_totals(path)):
        yield "steps", last["step"]
        yield "target_tokens", last.get("target_tokens", 0)
        yield "passes", last.get("passes", 0)
        yield "training_seconds", last["seconds"]
