"""Key points of a reply: read however they are dressed, and refused where they give the answer away."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from feints.curate.keypoints import KeyPoints, accept, one_text, read_fields, unseen_figures
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.methods import kpdd
from feints.records import AnswerKind, Problem, Rationale

QUESTION = "Tom has 12 apples and buys three more. How many apples has Tom?"
PROBLEM = Problem(id="p", question=QUESTION, answer="15", answer_kind=AnswerKind.NUMBER, task="t", split="train")
ROW = Rationale(id="r", problem_id="p", text="")
FIELDS = {
    "core": "How many apples has Tom?",
    "information": "1. Tom has 12 apples.\n2. He buys three more.",
    "solution": "12 + 3 = 15. The answer is 15.",
}


def test_kpdd_p3_key_points_that_give_the_answer_away_are_not_taken() -> None:
    """KPDD-P3: what prompts of later stages hold states no answer and no solution."""
    stated = (
        "3. The answer is 12.",
        "#### 12",
        "ans = 12",
        "\\boxed{12}",
        "Answer: 15 apples.",
        "**Answer:** 15",
        "answer = 15",
    )
    for field in ("core", "information"):
        for given in (*stated, FIELDS["solution"]):
            told = {**FIELDS, field: f"{FIELDS[field]}\n{given}"}
            assert "away" in str(accept(PROBLEM, ROW, told, grounding=False)), (field, given)
    for asked in ("What is the answer?", "How many apples has Tom who has 12 apples?"):
        assert isinstance(accept(PROBLEM, ROW, {**FIELDS, "core": asked}, grounding=True), KeyPoints)


def test_kpdd_p10_key_points_may_hold_no_unseen_figure() -> None:
    """KPDD-P10."""
    assert accept(PROBLEM, ROW, FIELDS, grounding=True) == KeyPoints(rationale_id="r", problem_id="p", **FIELDS)
    for unseen in ("Tom has 13 apples.", "He pays 4.5 dollars.", "He buys four more.", "12.5 apples", "5x", "A99"):
        for field in ("core", "information"):
            told = {**FIELDS, field: FIELDS[field] + f"\n3. {unseen}"}
            assert "figure" in str(accept(PROBLEM, ROW, told, grounding=True))
            assert isinstance(accept(PROBLEM, ROW, told, grounding=False), KeyPoints)
    assert unseen_figures("1. A day has 24 hours.\n2. three and 12", QUESTION) == []
    assert unseen_figures("44. He has 44.", QUESTION) == ["44"]
    assert unseen_figures("He has 5x apples in box A9.", "Box A9 holds 5x apples.") == []


def test_kpdd_p10_no_stage_learns_from_a_reply_with_an_unseen_figure(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    """KPDD-P10: in the method."""
    with tiny.tiny_bench(tmp_path, talker) as bench:
        unseen = {problem.id for problem in list(bench.problems)[::2]}

        def tells(request: Request) -> str:
            problem = next(one for one in bench.problems if one.question in request.messages[-1].content)
            given = "He has 987 of them." if problem.id in unseen else "He has some of them."
            told = {**FIELDS, "information": given, "solution": f"The answer is {problem.answer}."}
            return one_text(told, tuple(FIELDS))

        chosen, found = kpdd.accepted(replace(bench, teacher=ScriptedSource(tells, "tells")), kpdd.Config())
    assert {own.problem_id for own in found.values()} == bench.by_id.keys() - unseen
    assert {row.id for row in chosen.piles.right} == found.keys()


def test_a_reply_is_read_however_its_labels_are_dressed() -> None:
    plain = one_text(FIELDS, ("core", "information", "solution"))
    dressed = plain.replace("Core question:", "**Core question:**").replace("Solution:", "### Solution:")
    same_line = plain.replace("Solution:\n", "Solution: ")
    assert read_fields(plain) == read_fields(dressed) == read_fields(same_line) == FIELDS
    assert read_fields("Here you are.\n" + plain) == FIELDS
    assert read_fields(plain.replace("Useful information", "Facts")) is None
    began = time.monotonic()
    for filler in (" ", "\n", "core question: x\n", "#\n"):
        for start in ("Core question: ", "Core question: a\nUseful information: b"):
            assert read_fields(start + filler * 20_000) is None
    assert time.monotonic() - began < 10, "however long the blanks, reading takes as long as the text"
    for name in FIELDS:
        told = {**FIELDS, name: " "}
        assert f"empty {name}" in str(accept(PROBLEM, ROW, told, grounding=True))
