"""KPDD-P1 to KPDD-P9, and what the neighbours share with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from feints.bench import Bench
from feints.curate.choice import choose
from feints.curate.examples import answer_text, build_examples
from feints.curate.keypoints import KeyPoints, accept, accept_all, one_text, read_fields
from feints.curate.settings import CurateSettings
from feints.curate.stages import filling, stage_examples
from feints.evaluate.chained import Chain, Link
from feints.evaluate.solver import OneShot, load_solver
from feints.generate.prompt import STUDENT
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.methods import kpdd, potd
from feints.records import AnswerKind, Example, Finish, Form, Judgement, Problem, Rationale, Role
from feints.train.batch import Batcher
from feints.train.losses import token_nll
from feints.train.rows import Layout
from feints.verify.executed import close, conclude
from feints.verify.execution import Execution, Failure, failure_of, to_number
from feints.verify.pool import CheckerPool

QUESTION = "Tom has 12 apples and buys three more. How many apples has Tom?"
PROBLEM = Problem(id="p", question=QUESTION, answer="15", answer_kind=AnswerKind.NUMBER, task="t", split="train")
FIELDS = {
    "core": "How many apples has Tom?",
    "information": "1. Tom has 12 apples.\n2. He buys three more.",
    "solution": "12 + 3 = 15. The answer is 15.",
}
FORMS = ("cot", "pot", "eot", "sat")


@pytest.fixture
def bench(tiny: ModuleType, talker: Path, tmp_path: Path) -> Iterator[Bench]:
    with tiny.tiny_bench(tmp_path, talker) as found:
        yield found


def points(fields: Mapping[str, str] = FIELDS) -> KeyPoints:
    return KeyPoints(rationale_id="r", problem_id="p", **fields)


# ------------------------------------------------------------------------------------------------ properties


@pytest.mark.slow
@pytest.mark.parametrize("calls", ["one", "chained"])
@pytest.mark.parametrize("form", FORMS)
def test_kpdd_p1_every_accepted_record_passes_its_filter_again(bench: Bench, form: str, calls: Any) -> None:
    """KPDD-P1."""
    chosen, found = kpdd.accepted(bench, kpdd.Config(form=form, calls=calls))
    assert len(found) == len(chosen.piles.right) > 10
    for row in chosen.piles.right:
        own, problem = found[row.id], bench.by_id[row.problem_id]
        verdict = bench.pool.check(problem, own.solution, form=Form(form))
        assert verdict.value is Judgement.CORRECT
        assert accept(problem, row, own.fields, grounding=True) == own


@pytest.mark.slow
@pytest.mark.parametrize("form", ["cot", "pot"])
def test_kpdd_p2_one_corrupted_answer_keeps_one_less(bench: Bench, form: str) -> None:
    """KPDD-P2."""
    assert bench.curate.near_duplicate is None, "else another of equal replies takes its place"
    said, kept = bench.ask("probe", kpdd.IN_ONE, _askings(bench, form), form=_labelled(form)), {}
    for corrupted in (False, True):
        rows = list(said)
        if corrupted:
            victim = next(row for row in rows if row.id in kept[False])
            answer = bench.by_id[victim.problem_id].answer
            wrong = replace(victim, text=victim.text + f"\nans = {int(answer) + 1}")
            if form == "cot":
                wrong = replace(victim, text=victim.text.replace(f"answer is {answer}", f"answer is {int(answer) + 1}"))
            assert wrong != victim
            rows[rows.index(victim)] = wrong
        items = [(bench.by_id[row.problem_id], row.text, "", row.finish) for row in rows]
        judged = bench.pool.check_all(items, _labelled(form))
        verdicts = [replace(verdict, rationale_id=row.id) for row, verdict in zip(rows, judged, strict=True)]
        chosen = choose(bench.by_id, rows, verdicts, bench.curate, bench.funnel, pile="right", unit="rationales")
        _, kept[corrupted] = accept_all(
            bench.by_id, chosen, {row.id: read_fields(row.text) for row in rows}, grounding=True
        )
    assert len(kept[True]) == len(kept[False]) - 1


def _askings(bench: Bench, form: str) -> list[Any]:
    return [kpdd.Asking(problem=problem, filled={"how": kpdd.HOW[Form(form)]}) for problem in bench.problems]


def _labelled(form: str) -> Form:
    return Form.KEYPOINTS if form == "cot" else Form(form)


def test_each_stage_has_the_weight_of_its_lambda(bench: Bench) -> None:
    config = kpdd.Config(sharing="single", core_weight=2, information_weight=3, solution_weight=5)
    assert [stage.weight for stage in kpdd.stages_of(bench, config)] == [2, 3, 5]


@pytest.mark.parametrize("stages", [3, 2])
@pytest.mark.parametrize("form", ["cot", "pot"])
def test_kpdd_p3_inputs_are_nested_and_hold_no_answer(bench: Bench, stages: Any, form: str) -> None:
    """KPDD-P3: what is asked, which is what examples are made of."""
    told, renderer = [], bench.fresh_student().renderer
    row, by_id = Rationale(id="r", problem_id="p", text=""), {"p": PROBLEM}
    for stage in kpdd.stages_of(bench, kpdd.Config(stages=stages, form=form)):
        (message,) = stage.prompt.messages(PROBLEM, **filling(stage.prompt, FIELDS))
        told.append(message.content)
        built = stage_examples(renderer, [stage], by_id, [row], {"r": FIELDS}, {"r": points()}, None)
        assert built.examples[0].prompt_ids == renderer.prompt_ids([message])
    assert all(QUESTION in text for text in told)
    assert all(FIELDS["core"] in text for text in told[1:])
    assert FIELDS["information"] in told[-1]
    assert FIELDS["information"] not in told[0]
    assert not any(answer_text(PROBLEM) in text or FIELDS["solution"] in text for text in told)


def test_key_points_that_the_student_wrote_are_read_as_they_stand(bench: Bench) -> None:
    solution = kpdd.stages_of(bench, kpdd.Config(stages=2))[-1]
    own = {"key_points": "Core question: how many?"}
    assert filling(solution.prompt, own) == own


def test_kpdd_p4_one_pass_is_the_sum_of_the_three_conditionals(make_student: Any) -> None:
    """KPDD-P4: for a causal model, one template and order of fields: each field given all before it."""
    student = make_student("llama")
    prompt = student.renderer.prompt_ids(kpdd.SOLVES[1].messages(PROBLEM))
    short = {"core": "What?", "information": "Tom has 12.", "solution": "12 + 3 = 15."}
    parts = [
        one_text(short, ("core",)),
        "\n" + one_text(short, ("information",)),
        "\n" + one_text(short, ("solution",)),
    ]
    ids = [student.renderer.target_ids("x" + part + "x")[1:-2] for part in parts]
    ids[2] = (*ids[2], student.renderer.end_id)
    assert "".join(parts) == one_text(short, ("core", "information", "solution"))
    whole = _summed_nll(student, [_example(student, prompt, (*ids[0], *ids[1], *ids[2]))])
    before, stages = prompt, []
    for part in ids:
        stages.append(_example(student, before, part))
        before = (*before, *part)
    assert _summed_nll(student, stages) == pytest.approx(whole, rel=1e-5)
    assert _summed_nll(student, stages[:2]) < whole


def test_kpdd_p4_the_one_pass_example_is_all_fields_in_their_order(bench: Bench) -> None:
    """KPDD-P4."""
    (stage,) = kpdd.stages_of(bench, kpdd.Config(stages=1))
    student, row = bench.fresh_student(), next(iter(bench.ask("probe", STUDENT)))
    row, by_id = replace(row, id="r", problem_id="p", text=FIELDS["solution"]), {"p": PROBLEM}
    built = stage_examples(student.renderer, [stage], by_id, [row], {"r": FIELDS}, {"r": points()}, None)
    (whole,) = built.examples
    ids = student.renderer.target_ids(f"Core question: {FIELDS['core']}\nUseful information:\n{FIELDS['information']}\n"
                                      f"Solution:\n{FIELDS['solution']}")  # fmt: skip
    assert whole.target_ids == tuple(ids)
    cuts = [0, 5, len(ids) // 2, len(ids)]
    parts = [_example(student, (*whole.prompt_ids, *ids[:a]), ids[a:b]) for a, b in pairwise(cuts)]
    assert _summed_nll(student, [replace(whole, id="w")]) == pytest.approx(_summed_nll(student, parts), rel=1e-5)


def _example(student: Any, prompt: tuple[int, ...], target: tuple[int, ...]) -> Example:
    return Example(
        id=str(len(prompt)),
        problem_id="p",
        rationale_id="",
        prompt_ids=tuple(prompt),
        target_ids=tuple(target),
        weights=(*([0.0] * len(prompt)), *([1.0] * len(target))),
        tokenizer_hash=student.renderer.tokenizer_hash,
    )


def _summed_nll(student: Any, examples: list[Example]) -> float:
    batcher = Batcher(examples, Layout(rows="packed", micro_tokens=10**6, seq2seq=False, pad_id=0))
    step = batcher.whole()
    with torch.no_grad():
        batches = [batcher.batch(numbers) for numbers in step.micro]
        return float(sum((token_nll(student.model, batch) * batch.weights).sum() for batch in batches))


@pytest.mark.parametrize("form", FORMS)
def test_kpdd_p5_emptied_key_points_give_the_examples_of_cotd(bench: Bench, form: str) -> None:
    """KPDD-P5: of the control too, which has none to empty."""
    empty = {**FIELDS, "core": "", "information": ""}
    student = bench.fresh_student()
    row = next(iter(bench.ask("probe", STUDENT)))
    row, by_id = replace(row, id="r", problem_id="p", text=FIELDS["solution"]), {"p": PROBLEM}
    plain = build_examples(student.renderer, potd.STUDENTS[Form(form)], by_id, [row], role=Role.RIGHT)
    for how in ({"stages": 3}, {"stages": 2}, {"key_points": False}):
        solution = kpdd.stages_of(bench, kpdd.Config(form=form, **how))[-1]
        ours = stage_examples(student.renderer, [solution], by_id, [row], {"r": empty}, {"r": points(empty)}, None)
        (mine,), (theirs,) = ours.examples, plain.examples
        assert replace(mine, id="") == replace(theirs, id="")
        asked = solution.prompt.messages(PROBLEM, **filling(solution.prompt, empty))
        assert asked == potd.STUDENTS[Form(form)].messages(PROBLEM)


def test_kpdd_p6_oracle_mode_asks_no_extraction_model() -> None:
    """KPDD-P6."""
    problems = [replace(PROBLEM, id=f"p{at}", question=f"What is {at} plus 1?", answer=str(at + 1)) for at in range(6)]

    def solves(request: Request) -> str:
        """Right where the prompt holds the right figures."""
        text = request.messages[-1].content
        told = [line for line in text.splitlines() if line.startswith("1. ")]
        return f"The answer is {int(told[0].split()[1]) + 1}." if told else "I do not know."

    def reads(request: Request) -> str:
        at = int(request.messages[-1].content.split()[2])
        return "What is asked?" if "Useful" not in request.messages[-1].content else f"1. {at if at < 3 else 99} and 1"

    chain = _chain(ScriptedSource(reads, "reads"), ScriptedSource(solves, "solves"))
    predicted = chain.solve(problems, seed=0)
    assert [answer.judgement is Judgement.CORRECT for answer in predicted] == [True] * 3 + [False] * 3

    def refuses(request: Request) -> str:
        raise AssertionError(f"an extraction model was asked {request.messages[-1].content!r}")

    given = [{"core": "What is asked?", "information": f"1. {at} and 1"} for at in range(6)]
    oracle = _chain(ScriptedSource(refuses, "refuses"), ScriptedSource(solves, "solves"))
    told = oracle.solve_given(problems, given, seed=0)
    right = [sum(answer.judgement is Judgement.CORRECT for answer in answers) for answers in (predicted, told)]
    assert right == [3, 6]


def _chain(reader: ScriptedSource, solver: ScriptedSource) -> Chain:
    links = [
        Link("core", "Core question: ", OneShot(reader, kpdd.CORE)),
        Link("information", "Useful information:\n", OneShot(reader, kpdd.INFORMATION)),
    ]
    return Chain(links, OneShot(solver, replace(kpdd.SOLVES[3], cue="Go.")))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("while True:\n  pass", None),
        ("answer = 15", Failure.NO_ANSWER),
        ("ans = 15 / 0", Failure.RUNTIME),
        ("ans = float('nan')", Failure.NO_ANSWER),
        ("ans = float('inf')", Failure.NO_ANSWER),
        ("ans = None", Failure.NO_ANSWER),
        ("ans = open('/etc/hostname').read()", Failure.RUNTIME),
        ("import socket\ns = socket.create_connection(('127.0.0.1', 9))\nans = 15", Failure.RUNTIME),
        ("ans = (15", Failure.SYNTAX),
    ],
)
def test_kpdd_p7_what_does_not_run_counts_wrong(program: str, failure: Failure | None) -> None:
    """KPDD-P7: what is reached for without leave is in tests/verify/test_executed.py and test_escapes.py."""
    with CheckerPool(workers=1) as pool:
        assert pool.check(PROBLEM, "ans = 15", form=Form.POT).value is Judgement.CORRECT
        began = time.monotonic()
        verdict = pool.check(PROBLEM, program if failure else f"ans = 0\n{program}", form=Form.POT)
        assert time.monotonic() - began < 6.0
    assert verdict.value is Judgement.WRONG
    assert failure_of(verdict) is (failure or Failure.TIME)


def test_kpdd_p8_figures_that_agree_and_figures_that_do_not() -> None:
    """KPDD-P8."""
    assert to_number("1,234.0") == to_number("$1234") == to_number("1234")
    assert not close(to_number("12") or 0, to_number("12.5") or 0)
    gold = replace(PROBLEM, answer="1234")
    for said in ("1,234.0", "$1234", "1234"):
        executed = conclude(gold, Execution(value=said), Form.POT, Finish.STOP)
        assert executed.value is Judgement.CORRECT
        with CheckerPool(workers=1) as pool:
            assert pool.check(gold, f"The answer is {said}.").value is Judgement.CORRECT
            assert pool.check(replace(gold, answer=said), "ans = 1234", form=Form.POT).value is Judgement.CORRECT
    assert (
        conclude(replace(PROBLEM, answer="12"), Execution(value="12.5"), Form.POT, Finish.STOP).value is Judgement.WRONG
    )
    assert close(to_number("2.5") or 0, to_number("2.5009") or 0)
    assert not close(to_number("2.5") or 0, to_number("2.501") or 0)


@pytest.mark.slow
def test_kpdd_p9_single_at_weights_0_0_1_is_stage_3_of_separate(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    """KPDD-P9."""
    gradients = []
    for config in (
        kpdd.Config(sharing="separate"),
        kpdd.Config(sharing="single", core_weight=0.0, information_weight=0.0),
    ):
        with tiny.tiny_bench(tmp_path / config.sharing, talker) as bench:
            kpdd.distil(bench, config)
            last = bench.fits[-1]
            gradients.append(tiny.gradient_of(last, last.lesson.train.rows, "packed", 10**6))
    assert gradients[0].abs().max() > 0
    assert torch.equal(gradients[0], gradients[1])


# ------------------------------------------------------------------------------------------------ the rest


def test_settings_that_contradict_each_other_are_refused() -> None:
    for wrong in ({"core_weight": 0}, {"sharing": "single", "predicted": 0.5}, {"stages": 1, "predicted": 0.5}):
        with pytest.raises(ValidationError):
            kpdd.Config(**wrong)
    assert kpdd.Config(stages=1, information_weight=0).stages == 1


@pytest.mark.slow
@pytest.mark.parametrize("stages", [3, 2, 1])
@pytest.mark.parametrize("sharing", ["separate", "single"])
def test_a_form_that_is_executed_goes_the_whole_way(
    tiny: ModuleType, talker: Path, tmp_path: Path, stages: Any, sharing: Any
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        config = kpdd.Config(form="pot", stages=stages, sharing=sharing)
        solver = kpdd.distil(bench, config)
        assert len(bench.fits) == (stages if sharing == "separate" else 1)
        answers = solver.solve(tiny.exam_problems(), seed=0)
        assert len(answers) == len(tiny.exam_problems())
        solver.save(tmp_path / "solver")
        assert load_solver(tmp_path / "solver").solve(tiny.exam_problems(), seed=0) == answers
        weights = list((tmp_path / "solver").rglob("*.safetensors"))
        assert len(weights) == len(bench.fits)


@pytest.mark.slow
def test_an_encoder_decoder_learns_every_stage(tiny: ModuleType, student_folder: Any, tmp_path: Path) -> None:
    few = tiny.FEW.model_copy(update={"rows": "padded", "max_steps": 2})
    with tiny.tiny_bench(tmp_path, student_folder("t5"), training=few) as bench:
        answers = kpdd.distil(bench, kpdd.Config(stages=2)).solve(tiny.exam_problems(3), seed=0)
    assert [answer.problem_id for answer in answers] == [problem.id for problem in tiny.exam_problems(3)]
    assert len(bench.fits) == 2


@pytest.mark.slow
def test_a_run_that_keeps_hidden_reasoning_is_told_that_no_stage_learns_it(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    for thinking in ("drop", "keep"):
        curate = CurateSettings(validation=0.15, thinking=thinking)
        with tiny.tiny_bench(tmp_path, talker, curate=curate) as bench:
            kpdd.distil(bench, kpdd.Config(stages=1))
        assert any("curate.thinking" in notice for notice in bench.notices) is (thinking == "keep")


def test_the_control_takes_the_steps_of_the_student_that_solves(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    without: dict[str, Any] = {"sharing": "single", "core_weight": 0}
    bare = without | {"information_weight": 0}
    each = [({"sharing": "separate"}, 1), ({"sharing": "single"}, 3), (without, 2), (bare, 1)]
    for number, (settings, factor) in enumerate(each):
        config = kpdd.Config(**settings)
        with tiny.tiny_bench(tmp_path / str(number), talker) as bench:
            kpdd.distil(bench, config)
            kpdd.distil(replace(bench, arm="control"), kpdd.control(config))
            theirs, control = bench.fits[-2].lesson.train.rows, bench.fits[-1].lesson.train.rows
        assert len(control) == len(theirs)
        assert len({example.rationale_id for example in control}) * factor == len(control)


@pytest.mark.slow
def test_predicted_key_points_stand_in_for_the_teachers(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        kpdd.distil(bench, kpdd.Config())
        teachers = {example.rationale_id: example for example in bench.fits[-1].lesson.train.rows}
        kpdd.distil(replace(bench, arm="half"), kpdd.Config(predicted=0.5))
        half = {example.rationale_id: example for example in bench.fits[-1].lesson.train.rows}
    assert teachers.keys() == half.keys()
    changed = {own.problem_id for name, own in half.items() if own.prompt_ids != teachers[name].prompt_ids}
    problems = {own.problem_id for own in half.values()}
    assert 0.3 < len(changed) / len(problems) < 0.7
    assert all(half[name].target_ids == teachers[name].target_ids for name in half)


def test_every_setting_stands_in_tables_under_a_name_of_its_own() -> None:
    names = {
        kpdd.arm(kpdd.Config(form=form, stages=stages, sharing=sharing))[0]
        for form in FORMS
        for stages in (3, 2, 1)
        for sharing in ("separate", "single")
    }
    assert len(names) == len(FORMS) * 6
