"""What each arm took: shared outputs count for every arm that used them, rejected replies too."""

import json
from pathlib import Path

from feints.records import Form, Origin, Rationale
from feints.report.expense import expenses, mean_expenses
from feints.runs import RunFolder


def said(name: str, author: str, tokens: int) -> Rationale:
    return Rationale(
        id=name,
        problem_id="p",
        text="",
        form=Form.COT,
        origin=Origin.SAMPLED,
        author=author,
        prompt_tokens=10,
        completion_tokens=tokens,
    )


def trained(place: Path, steps: int) -> None:
    lines = [
        {"kind": "train", "step": 1, "target_tokens": 5, "passes": 2, "seconds": 0.5},
        {"kind": "train", "step": steps, "target_tokens": 50, "passes": 20, "seconds": 4.0},
        {"kind": "validation", "step": steps, "loss": 1.0},
    ]
    (place / "training").mkdir()
    (place / "training" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")


def made(path: Path) -> RunFolder:
    """Arm a asks the teacher and trains; arm b uses the same replies and student, and asks its student too."""
    run = RunFolder(path)
    run.describe(teacher="teacher")
    teacher, own = [said("1", "teacher", 7), said("2", "teacher", 8)], [said("3", "student", 100)]
    for arm in ("a", "b"):
        for seed in (0, 1):
            used = run.used_by(arm, seed)
            used.table("1_rationales", "teacher", Rationale, ["said"], lambda: teacher)
            used.folder("4_student", f"{arm}-{seed}", ["fit", seed], lambda place: trained(place, 10))
            if arm == "b":
                used.within("round_1").table("1_rationales", "own", Rationale, ["own"], lambda: own)
    return run


def test_what_arms_share_counts_for_each_of_them(tmp_path: Path) -> None:
    rows = {(row.arm, row.seed): row for row in expenses(made(tmp_path / "run"))}
    assert set(rows) == {("a", 0), ("a", 1), ("b", 0), ("b", 1)}
    for row in rows.values():
        assert (row.requests, row.prompt_tokens, row.completion_tokens) == (2, 20, 15)
        assert (row.steps, row.target_tokens, row.passes, row.training_seconds) == (10, 50, 20, 4.0)
    assert [rows[arm, 0].own_tokens for arm in "ab"] == [0, 100]


def test_a_text_that_a_later_round_learns_again_was_paid_once(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.describe(teacher="teacher")
    used = run.used_by("a", 0)
    first, own, later = said("1", "teacher", 7), said("2", "student", 100), said("3", "teacher", 9)
    used.within("round_1").table("1_rationales", "teacher", Rationale, ["first"], lambda: [first, own])
    used.within("round_2").table("1_rationales", "round", Rationale, ["again"], lambda: [first, own, later])
    (row,) = expenses(run)
    assert (row.requests, row.prompt_tokens, row.completion_tokens, row.own_tokens) == (2, 20, 16, 100)


def test_attempts_that_brought_nothing_usable_were_paid_too(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.describe(teacher="teacher")
    used, replies = run.used_by("a", 0), [said("1", "teacher", 7), said("2", "teacher", 8)]
    lost = {"1": [3, 40, 0.1], "of another": [9, 900, 9.0]}
    used.table("1_rationales", "teacher", Rationale, ["said"], lambda: replies, unanswered=lost)
    used.within("round_2").table("1_rationales", "teacher", Rationale, ["again"], lambda: replies, unanswered=lost)
    (row,) = expenses(run)
    assert (row.requests, row.prompt_tokens, row.completion_tokens, row.teacher_tokens) == (5, 20, 15, 75)


def test_a_rerun_notes_the_same(tmp_path: Path) -> None:
    first = [(row.arm, row.seed, row.target_tokens) for row in expenses(made(tmp_path / "run"))]
    run = RunFolder(tmp_path / "run")
    run.start()
    assert [(row.arm, row.seed, row.target_tokens) for row in expenses(made(tmp_path / "run"))] == first


def test_means_are_over_seeds(tmp_path: Path) -> None:
    means = mean_expenses(expenses(made(tmp_path / "run")))
    assert [(row.arm, row.seed, row.steps) for row in means] == [("a", 2, 10), ("b", 2, 10)]
