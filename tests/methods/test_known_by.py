"""What the tables of a bench are known by: whatever else was asked or learnt is another table, and the same is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from feints.generate.budget import Budget
from feints.generate.prompt import STUDENT, TEACHER
from feints.generate.rationales import Asking
from feints.generate.scripted import ScriptedSource
from feints.lab.teacher import LabTeacher
from feints.methods import plain_cot
from feints.records import Form, Origin


def test_rationales_are_known_by_who_was_asked_what_and_how(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        few = bench.problems.rows[:2]
        lab = LabTeacher()
        asked: list[tuple[Any, ...]] = [
            (TEACHER, few, {}),
            (STUDENT, few, {}),
            (TEACHER, few[:1], {}),
            (TEACHER, [Asking(problem=problem, sample=1) for problem in few], {}),
            (TEACHER, [Asking(problem=problem, parent="another") for problem in few], {}),
            (TEACHER, few, {"sampling": bench.sampling.model_copy(update={"n": 1})}),
            (TEACHER, few, {"origin": Origin.RECTIFIED}),
            (TEACHER, few, {"form": Form.POT}),
            (TEACHER, few, {"round": 1}),
            (TEACHER, few, {"source": ScriptedSource.from_responder(lab.respond, "another teacher")}),
        ]
        addresses = [bench.ask("asked", prompt, problems, **how).address for prompt, problems, how in asked]
        again = [bench.ask("asked", prompt, problems, **how).address for prompt, problems, how in asked]
    assert again == addresses and len({*addresses}) == len(asked)


def test_the_budget_is_the_teachers_alone(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker, budget=Budget(requests=8)) as bench:
        few = bench.problems.rows[:2]
        other = ScriptedSource.from_responder(LabTeacher().respond, "another teacher")
        own = bench.ask("own", TEACHER, bench.problems.rows[:6], source=other)
        taught = bench.ask("teacher", TEACHER, few)
        assert (len(own), len(taught), bench.notices) == (24, 8, [])


def test_attempts_are_known_by_their_problems_and_their_gold_answer_is_none(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        made = [replace(problem, answer="0") for problem in bench.problems.rows[:2]]
        attempts = bench.ask("attempts", TEACHER, made)
        read = bench.read_attempts("attempts", attempts, made)
        assert bench.read_attempts("attempts", attempts, made).address == read.address
        others = [replace(problem, question=f"{problem.question} Why?") for problem in made]
        assert bench.read_attempts("attempts", attempts, others).address != read.address
        entries = [entry for path, entry in bench.run.outputs("2_verdicts") if path == read.path]
    assert [entry["gold"] for entry in entries] == ["unknown"]


@pytest.mark.slow
def test_examples_are_known_by_what_of_a_rationale_is_learnt(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        for changed in ({}, {"thinking": "keep"}, {"max_tokens": 400}, {}):
            curate = bench.curate.model_copy(update=changed)
            plain_cot.distil(replace(bench, curate=curate), plain_cot.Config())
        addresses = [fitted.lesson.train.address for fitted in bench.fits]
    assert addresses[0] == addresses[3] and len({*addresses}) == 3
