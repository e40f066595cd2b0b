"""Neighbours of KPDD: forms that fall back on one another, ETD, Sci-CoT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from feints.evaluate.chained import Chain, Fallback
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import Majority, OneShot
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.methods import etd, kpdd, sci_cot
from feints.records import AnswerKind, Form, Judgement, Problem

QUESTION = "Tom has 12 apples and buys three more. How many apples has Tom?"
PROBLEM = Problem(id="p", question=QUESTION, answer="15", answer_kind=AnswerKind.NUMBER, task="t", split="train")


def test_a_fallback_tries_the_next_form_only_where_there_is_no_value() -> None:
    asked: list[tuple[str, str]] = []

    def author(name: str, texts: Mapping[str, str]) -> ScriptedSource:
        def write(request: Request) -> str:
            question = request.messages[-1].content.splitlines()[0]
            asked.append((name, question))
            return texts[question]

        return ScriptedSource(write, name)

    problems = [replace(PROBLEM, id=question, question=question) for question in ("a", "b", "c")]
    programs = author("pot", {"a": "ans = 15", "b": "ans = 16", "c": "ans = 1 / 0"})
    words = author("cot", {"c": "The answer is 15."})
    solver = Fallback([OneShot(programs, form=Form.POT), OneShot(words)])
    answers = solver.solve(problems, seed=0)
    assert [answer.judgement for answer in answers] == [Judgement.CORRECT, Judgement.WRONG, Judgement.CORRECT]
    assert [name for name, _ in asked] == ["pot", "pot", "pot", "cot"]
    assert answers[2].tokens > OneShot(words).solve(problems[2:], seed=0)[0].tokens


@pytest.mark.slow
def test_etd_pools_three_forms_under_three_cues(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        solver = etd.distil(bench, etd.Config())
        rows = bench.fits[-1].lesson.train.rows
        etd.distil(replace(bench, arm="control"), etd.Config(mixture=False))
        control = bench.fits[-1].lesson.train.rows
        renderer = bench.fresh_student().renderer
    decoded = {example.id: renderer.decode(example.prompt_ids)[0] for example in rows}
    cues = [prompt.cue for prompt in etd.STUDENTS.values()]
    counts = {cue: sum(text.endswith(cue.rstrip(".") + ".") for text in decoded.values()) for cue in cues}
    assert all(counts.values())
    assert sum(counts.values()) == len(rows)
    assert len(control) == len(rows)
    assert isinstance(solver, Fallback)
    assert [shot.form for shot in solver.shots] == [Form.POT, Form.EOT, Form.COT]


@pytest.mark.slow
def test_sci_cot_cuts_a_boxed_answer_off_what_the_first_student_learns(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        said = {problem.question: f"It is so.\n\\boxed{{{problem.answer}}}" for problem in bench.problems}

        def boxes(request: Request) -> str:
            return next(text for question, text in said.items() if question in request.messages[-1].content)

        sci_cot.distil(replace(bench, teacher=ScriptedSource(boxes, "boxes")), sci_cot.Config())
        renderer = bench.fresh_student().renderer
        writes, solves = (fitted.lesson.train for fitted in bench.fits)
    assert {renderer.decode(e.target_ids)[0].strip() for e in writes} == {"It is so."}
    assert not any("boxed" in renderer.decode(e.prompt_ids)[0] for e in solves)


@pytest.mark.slow
@pytest.mark.parametrize("method", [kpdd, sci_cot])
def test_where_answers_vote_what_stands_before_them_is_one_greedy_text(
    method: ModuleType, tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    exam = ExamSettings(max_tokens=24, votes=3, temperature=1.0)
    with tiny.tiny_bench(tmp_path, talker, exam=exam) as bench:
        solver = method.distil(bench, method.Config())
    assert isinstance(solver, Majority) and isinstance(solver.inner, Chain)
    assert solver.inner.sampling == exam.sampling and exam.sampling.temperature == 1.0
    first, second = (solver.inner.key_points(tiny.exam_problems(), seed)[0] for seed in (0, 1))
    assert first == second and any(text for own in first for text in own.values())
