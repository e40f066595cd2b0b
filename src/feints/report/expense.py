"""What each arm of a run took: teacher tokens, optimiser steps, target tokens, forward passes and wall time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from feints.records import Rationale
from feints.report.contents import Expense
from feints.runs import RunFolder, read_table

STAGES = ("1_rationales", "2_verdicts", "3_examples", "4_student", "5_answers")


def expenses(run: RunFolder) -> tuple[Expense, ...]:
    """One row per arm and training seed, in the order they were made.

    What several arms share (the teacher's first answers, a first stage) counts for each of them in full: a row says
    what the arm would have taken alone.
    """
    teacher = str(run.manifest["teacher"])
    written: dict[Path, tuple[int, int, int, int]] = {}
    found: dict[tuple[str, int], dict[str, float]] = {}
    for stage in STAGES:
        for path, entry in run.outputs(stage):
            for arm, seed in entry.get("used_by", ()):
                row = found.setdefault((arm, seed), dict.fromkeys(_FIELDS, 0))
                row["seconds"] += entry.get("seconds", 0.0)
                for name, amount in _amounts(stage, path, teacher, written):
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


def _amounts(
    stage: str, path: Path, teacher: str, written: dict[Path, tuple[int, int, int, int]]
) -> Iterator[tuple[str, float]]:
    """What one output adds to the row of an arm that used it."""
    if stage == "1_rationales":
        if path not in written:
            written[path] = _written(path, teacher)
        yield from zip(("requests", "prompt_tokens", "completion_tokens", "own_tokens"), written[path], strict=True)
    elif stage == "4_student" and (last := _last_line(path / "training" / "metrics.jsonl")):
        yield "steps", last["step"]
        yield "target_tokens", last.get("target_tokens", 0)
        yield "passes", last.get("passes", 0)
        yield "training_seconds", last["seconds"]


def _written(path: Path, teacher: str) -> tuple[int, int, int, int]:
    """Requests, tokens sent and received of the teacher; tokens students wrote."""
    rows = read_table(path, Rationale)
    paid = [row for row in rows if row.author == teacher]
    own = sum(row.completion_tokens for row in rows if row.author != teacher)
    return len(paid), sum(r.prompt_tokens for r in paid), sum(r.completion_tokens for r in paid), own


def _last_line(metrics: Path) -> dict[str, Any] | None:
    """The last line of training, whose counts are totals; None where nothing was trained."""
    if not metrics.is_file():
        return None
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return next((line for line in reversed(lines) if line["kind"] == "train"), None)
