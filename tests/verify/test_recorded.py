"""The labelled public triples: agreement, and no wrong answer called right. Skipped where the data is absent."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feints.records import AnswerKind, Choice, Finish, Problem, Verdict
from feints.verify.pool import CheckerPool
from feints.verify.rows import infer_kind

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "answer_check"
KINDS = {
    "number": AnswerKind.NUMBER,
    "option": AnswerKind.CHOICE,
    "yesno": AnswerKind.BOOLEAN,
    "text": AnswerKind.TEXT,
    "latex": AnswerKind.LATEX,
}
FILES = ("unit_pairs.jsonl", "math_pairs.jsonl", "responses.jsonl.gz")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the labelled answers are not at {FOLDER}"),
]


def counted(row: dict[str, Any]) -> bool:
    return row.get("review") != "convention" and row["correct"] is not None and row["kind"] != "other form"


def load(name: str) -> list[dict[str, Any]]:
    opener: Callable[..., Any] = gzip.open if name.endswith(".gz") else open
    with opener(FOLDER / name, "rt", encoding="utf-8") as file:
        return [row for row in map(json.loads, file) if counted(row)]


def problem(row: dict[str, Any], stated: bool) -> Problem:
    options = tuple(Choice(label=o["label"], text=o["text"]) for o in row.get("options") or ())
    question = row.get("question") or ""
    kind = KINDS[row.get("answer_type", "latex")] if stated else infer_kind(row["gold"], options, question)
    return Problem(
        id=row["id"], question=question, answer=row["gold"], answer_kind=kind, task="t", split="test", choices=options
    )


def agrees(row: dict[str, Any], verdict: Verdict) -> bool:
    return verdict.value.value != "not_checked" and (verdict.value.value == "correct") == row["correct"]


@pytest.mark.parametrize("stated", [True, False], ids=["kind stated", "kind inferred"])
@pytest.mark.parametrize("name", FILES)
def test_agreement_with_the_labels(name: str, stated: bool) -> None:
    rows = load(name)
    with CheckerPool(deadline=20) as pool:
        verdicts = pool.check_all([(problem(row, stated), row["response"], "", Finish.UNKNOWN) for row in rows])
    other = [(row, verdict) for row, verdict in zip(rows, verdicts, strict=True) if not agrees(row, verdict)]
    listed = [
        f"{row['id']} label {row['correct']}, verdict {verdict.value}: {verdict.reason}" for row, verdict in other
    ]
    assert len(other) <= 0.01 * len(rows), listed
    if not name.startswith("responses"):
        assert [row["id"] for row, verdict in other if verdict.value.value == "correct"] == []
