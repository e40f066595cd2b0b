"""EDIT on a tiny bench: what each stage learns and starts from, its control and baselines, the released profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_letters, digits
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests.methods.edit_bench import Edited, stage, table

from feints.bench import dual as bench_dual
from feints.curate import dual as curate_dual
from feints.curate.keysteps import key_steps
from feints.curate.settings import CurateSettings
from feints.errors import SettingsError
from feints.evaluate.raw_vote import RawVote
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import OneShot, load_solver
from feints.generate.prompt import STUDENT
from feints.generate.replay import ReplaySource
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Sampling
from feints.generate.weights import load_weights
from feints.lab.mistakes import MistakeSettings
from feints.lab.teacher import LabTeacher
from feints.lab.teacher_settings import LabTeacherSettings
from feints.methods import edit
from feints.records import Example, Origin, Rationale, Role
from feints.train import loop
from feints.train.batch import Batcher
from feints.train.rows import Layout

pytestmark = pytest.mark.slow
LAYOUT = Layout(rows="padded", micro_tokens=4096, seq2seq=False, pad_id=0)


def logits(model: Any, ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([list(ids)])).logits[0]


@pytest.fixture(scope="module")
def usual(edited: Edited) -> Any:
    return edited(lora=True)


# ---------------------------------------------------------------------------------------------------------- stages


def test_recorded_texts_are_not_taken_for_mended_ones(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        bench.run.start()
        recorded = {row.question: ["the answer is 1"] * 9 for row in bench.problems}
        replayed = replace(bench, teacher=ReplaySource(recorded))
        with pytest.raises(SettingsError, match="is to read hint beside the question"):
            edit.distil(replayed, edit.Config())


def test_the_first_stage_learns_right_and_rectified_rationales_whole(usual: Any) -> None:
    origins = {row.id: row.origin for name in ("teacher", "rectified")
               for row in table(usual, "1_rationales", name, Rationale)}  # fmt: skip
    examples = stage(usual, "stage1")
    assert {origins[e.rationale_id] for e in examples} == {Origin.SAMPLED, Origin.RECTIFIED}
    assert all(e.weights == (0.0,) * len(e.prompt_ids) + (1.0,) * len(e.target_ids) for e in examples)


def test_edit_p5_only_key_tokens_of_a_target_are_weighted(usual: Any) -> None:
    """EDIT-P5."""
    pairs: dict[str, dict[Role, Example]] = {}
    for example in stage(usual, "stage2"):
        pairs.setdefault(example.group, {})[example.role] = example
    assert pairs
    for pair in pairs.values():
        right, wrong = pair[Role.RIGHT], pair[Role.WRONG]
        assert right.prompt_ids == wrong.prompt_ids
        masks = key_steps(right.target_ids, wrong.target_ids)
        for side, mask, weight in ((right, masks[0], 1.0), (wrong, masks[1], -0.025)):
            assert side.weights == (*[0.0] * len(side.prompt_ids), *(weight if key else 0.0 for key in mask))


def test_edit_a7_the_answer_in_which_a_pair_differs_is_key(usual: Any) -> None:
    names = ("teacher", "rectified", "corrupted")
    said = {row.id: row.text for name in names for row in table(usual, "1_rationales", name, Rationale)}
    tokenizer = load_weights(usual.student.model).tokenizer
    pairs: dict[str, list[Example]] = {}
    for example in stage(usual, "stage2"):
        pairs.setdefault(example.group, []).append(example)
    for sides in pairs.values():
        assert len({said[side.rationale_id].rpartition("The answer is")[2] for side in sides}) == 2
        assert any(weight for side in sides for weight in side.weights[-_answer_tokens(side, tokenizer) :])


def _answer_tokens(example: Example, tokenizer: Any) -> int:
    """Tokens from the last "answer" of a text to its end."""
    for size in range(1, len(example.target_ids)):
        if "answer is" in tokenizer.decode(example.target_ids[-size:]):
            return size
    raise AssertionError("no answer sentence")


def test_the_alignment_asked_for_marks_the_key_tokens(edited: Edited, monkeypatch: pytest.MonkeyPatch) -> None:
    """The masks of each are told apart in tests/curate/test_dual.py; the tiny bench's texts hardly tell them apart."""
    asked: list[str] = []
    marks = edit.key_step_examples

    def watched(sides: Any, pairs: Any, how: Any) -> Any:
        asked.append(how.alignment)
        return marks(sides, pairs, how)

    monkeypatch.setattr(edit, "key_step_examples", watched)
    for alignment in ("symmetric", "padded"):
        edited(edit.Config(alignment=alignment), lora=True)
    assert set(asked) == {"symmetric", "padded"}
    assert edit.Config().alignment == "one_way", "EDIT-P4: the default pads nothing"


def test_edit_p11_the_second_stage_starts_at_the_merged_first_with_a_fresh_adapter(usual: Any) -> None:
    """EDIT-P11."""
    (first,) = [path for path, entry in usual.run.outputs("4_student") if entry.get("name") == "stage1"]
    ids = usual.fits[1].lesson.train.rows[0].prompt_ids
    started = usual.fits[1].learner().model.eval()
    assert torch.equal(logits(started, ids), logits(load_weights(first / "student").model, ids))
    assert not torch.equal(logits(started, ids), logits(load_weights(usual.student.model).model, ids))
    assert {name.split(".")[-3] for name, p in started.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}


def test_edit_p11_at_the_door_of_the_second_training_stands_the_merged_first_student(
    tiny: ModuleType, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EDIT-P11."""
    entered: list[tuple[Sequence[int], torch.Tensor]] = []
    train = loop.fit

    def watched(student: Any, rows: Any, *others: Any, **how: Any) -> Any:
        entered.append((rows[0].prompt_ids, logits(student.model.eval(), rows[0].prompt_ids)))
        return train(student, rows, *others, **how)

    monkeypatch.setattr(loop, "fit", watched)
    with tiny.tiny_bench(tmp_path, talker, lora=True) as bench:
        edit.distil(bench, edit.Config())
    _, (ids, before) = entered
    assert torch.equal(before, logits(load_weights(bench.fits[0].folder).model, ids))


def test_the_control_sees_the_same_examples_and_steps(edited: Edited, usual: Any) -> None:
    control = edit.control(edit.Config())
    assert control is not None
    bench = edited(control, lora=True)
    assert bench.fits[1].lesson.train.address == usual.fits[1].lesson.train.address
    steps = [read.read_text().count("train") for b in (bench, usual) for read in _metrics(b)]
    assert len(set(steps)) == 1
    assert edit.control(control) is None
    assert edit.control(edit.Config(second="none")) is None


@pytest.mark.parametrize("zero", [{"alpha": 0.0}, {"beta": 0.0}])
def test_a_side_that_weighs_nothing_changes_no_step(edited: Edited, usual: Any, zero: dict[str, float]) -> None:
    bench = edited(edit.Config(**zero), lora=True)
    steps = [
        [len(units) for units in Batcher(b.fits[1].lesson.train.rows, LAYOUT).epoch(0, seed=0, batch_examples=8)]
        for b in (bench, usual)
    ]
    assert steps[0] == steps[1] and max(steps[0]) == 4, "a step of 8 examples is 4 pairs"
    fitted = bench.fits[1]
    batcher = Batcher(fitted.lesson.train.rows, LAYOUT)
    step = batcher.whole()
    terms = fitted.loss(fitted.learner().model, batcher.batch(step.micro[0]), step.counts)
    assert set(terms) == ({"wrong"} if "alpha" in zero else {"right"})


def test_a_push_alone_is_held_against_the_first_stage_alone() -> None:
    control = edit.control(edit.Config(alpha=0.0))
    assert control == edit.Config(alpha=0.0, second="none")
    assert edit.control(control) is None
    assert edit.arm(control)[0] != edit.arm(edit.Config(second="none"))[0]
    pulls = edit.control(edit.Config(alpha=0.0, gamma=0.5))
    assert pulls == edit.Config(alpha=0.0, gamma=0.5, push=False), "what is left to pull is a control as ever"
    for config in (edit.Config(alpha=alpha, second=second) for alpha in (0.0, 1.0) for second in ("krsl", "dpo")):
        own = edit.control(config)
        assert edit.Config(**own.model_dump()) == own, "a control is a setting that could be asked for"


def test_settings_that_leave_nothing_to_learn_are_refused() -> None:
    for nothing in ({"alpha": 0.0, "beta": 0.0}, {"alpha": 0.0, "push": False}):
        with pytest.raises(ValidationError, match="nothing to learn"):
            edit.Config(**nothing)
        edit.Config(**nothing, second="none")


def _metrics(bench: Any) -> list[Path]:
    return [path / "training" / "metrics.jsonl" for path, entry in bench.run.outputs("4_student")
            if entry.get("name") == "stage2"]  # fmt: skip


def test_the_baseline_with_rectified_chains_is_the_first_stage_itself(edited: Edited, usual: Any) -> None:
    bench = edited(edit.Config(second="none"), lora=True)
    students = {str(path) for path, entry in bench.run.outputs("4_student")}
    assert students == {str(path) for path, e in usual.run.outputs("4_student") if e.get("name") == "stage1"}


def test_dpo_reads_whole_texts_and_starts_from_the_first_student(edited: Edited) -> None:
    bench = edited(edit.Config(second="dpo"))
    examples = bench.fits[1].lesson.train.rows
    assert {weight for e in examples for weight in e.weights[len(e.prompt_ids) :]} == {1.0, -1.0, 0.0}
    control = edit.control(edit.Config(second="dpo"))
    assert control is not None
    assert (control.gamma, control.push, control.second) == (1.0, False, "krsl")
    assert edit.control(edit.Config(second="dpo", alpha=0.0)) == control, "DPO reads no alpha"
    assert edit.arm(control)[0] != edit.arm(edit.Config(second="dpo"))[0]


def test_the_second_stage_is_gentler_by_a_ratio(edited: Edited) -> None:
    bench = edited(edit.Config(second_rate=0.5, second_length=2.0))
    first, second = (
        [entry["depends"][5] for _, entry in bench.run.outputs("4_student") if entry.get("name") == name][0]
        for name in ("stage1", "stage2")
    )
    assert second["learning_rate"] == pytest.approx(0.5 * first["learning_rate"])
    assert second["max_steps"] == 2 * first["max_steps"]


# -------------------------------------------------------------------------------------------------------- profiles


def test_the_released_profile_pads_keeps_and_votes_on_raw_text(
    edited: Edited, tiny: ModuleType, tmp_path: Path, talker: Path
) -> None:
    config = edit.Config(profile="as_released")
    exam = ExamSettings(max_tokens=24, votes=3, temperature=1.0)
    with tiny.tiny_bench(tmp_path, talker, exam=exam) as bench:
        solver = edit.distil(bench, config)
    assert isinstance(solver, RawVote)
    for example in bench.fits[1].lesson.train.rows:
        other = next(e for e in bench.fits[1].lesson.train.rows if e.group == example.group and e.role != example.role)
        texts = [(*e.prompt_ids, *e.target_ids) for e in (example, other)]
        mask = key_steps(*texts, padded_to=1024)[0]
        assert [weight != 0 for weight in example.weights] == mask.tolist()
    (second,) = [entry for _, entry in bench.run.outputs("4_student") if entry.get("name") == "stage2"]
    assert second["depends"][-1][-1] == "unshifted"
    assert edit._loss(bench, edit.Config(), tmp_path)[1][-1] == "shifted"
    answers = solver.solve(tiny.exam_problems(3), seed=0)
    solver.save(tmp_path / "solver")
    assert type(load_solver(tmp_path / "solver")) is RawVote
    assert load_solver(tmp_path / "solver").solve(tiny.exam_problems(3), seed=0) == answers


@pytest.fixture
def spanning(talker: Path, tmp_path: Path) -> Path:
    """A student for whom a line break and the character behind it are one token."""
    weights = load_weights(talker)
    weights.tokenizer.add_tokens([f"\n{character}" for character in ascii_letters + digits])
    weights.model.resize_token_embeddings(len(weights.tokenizer), mean_resizing=False)
    weights.model.save_pretrained(tmp_path / "spanning")
    weights.tokenizer.save_pretrained(tmp_path / "spanning")
    return tmp_path / "spanning"


@pytest.mark.parametrize("profile", ["clean", "as_released"])
def test_edit_a6_as_released_prompt_and_target_are_one_tokenisation(
    profile: Any, tiny: ModuleType, spanning: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, spanning) as bench:
        edit.distil(bench, edit.Config(profile=profile))
        renderer = bench.fresh_student().renderer
    names = ("teacher", "rectified", "corrupted")
    said = {row.id: row for name in names for row in table(bench, "1_rationales", name, Rationale)}
    assert len(bench.fits) == 2
    for example in (e for fitted in bench.fits for e in fitted.lesson.train):
        messages, text = STUDENT.messages(bench.by_id[example.problem_id]), said[example.rationale_id].text
        before = renderer.prompt_ids(messages)
        apart = (*before, *renderer.target_ids(text))
        joint = (*renderer.raw_ids(renderer.prompt_text(messages) + text.strip()), renderer.end_id)
        assert apart != joint, "else nothing is shown here"
        assert example.prompt_ids + example.target_ids == (joint if profile == "as_released" else apart)
        assert len(example.prompt_ids) == len(before)


def test_as_released_hidden_reasoning_that_is_kept_is_learnt_and_long_pairs_are_told_of(
    tiny: ModuleType, tmp_path: Path, talker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (curate_dual, bench_dual):
        monkeypatch.setattr(module, "RELEASED_LENGTH", 200)  # the tiny student reads 512 tokens
    teacher = LabTeacher(LabTeacherSettings(mistakes=MistakeSettings(regime="slips")))

    def thinks(body: Any) -> dict[str, Any]:
        reply = teacher.respond(body)
        message = reply["choices"][0]["message"]
        message["content"] = f"<think>{'it ' * (200 if len(str(body)) % 5 == 0 else 3)}</think>{message['content']}"
        return reply

    curate = CurateSettings(validation=0.15, near_duplicate=None, thinking="keep")
    source = ScriptedSource.from_responder(thinks, "thinks")
    with tiny.tiny_bench(tmp_path, talker, curate=curate, teacher=source) as bench:
        edit.distil(bench, edit.Config(profile="as_released"))
        learnt = bench.fresh_student().renderer.target_ids
    names = ("teacher", "rectified", "corrupted")
    said = {row.id: row for name in names for row in table(bench, "1_rationales", name, Rationale)}
    for e in (e for fitted in bench.fits for e in fitted.lesson.train):
        # Words are tokens here, so that one tokenisation of prompt and target cuts where two do.
        row = said[e.rationale_id]
        assert row.thinking and e.target_ids == learnt(row.text, row.thinking)
    long = {e.group for part in (bench.fits[1].lesson.train, bench.fits[1].lesson.validation) for e in part
            if len(e.prompt_ids) + len(e.target_ids) > 200}  # fmt: skip
    told = [notice for notice in bench.notices if "unpadded" in notice]
    assert long and told == [f"tiny: {len(long)} pairs with a text of over 200 tokens are aligned unpadded"]


def test_a_raw_vote_counts_18_and_18_0_as_two_answers(tiny: ModuleType) -> None:
    said = iter(["It is 3. The answer is 3.", "The answer is 18.0", "The answer is 3.00", "The answer is 18.0"])
    source = ScriptedSource(lambda _: next(said), "four")
    shot = OneShot(source, sampling=Sampling(temperature=1.0))
    (problem,) = tiny.exam_problems(1)
    (answer,) = RawVote(shot, 4).solve([problem], seed=0)
    assert answer.text == "The answer is 18.0"


# ----------------------------------------------------------------------------------------------------------- names


def test_arms_of_different_settings_have_different_names() -> None:
    configs = [
        edit.Config(), edit.Config(push=False), edit.Config(second="dpo"), edit.Config(sources="sampled"),
        edit.Config(beta=0.05), edit.Config(profile="as_released"), edit.Config(pattern="logical"),
        *(edit.Config(first=first, second="none") for first in ("rectified", "right", "marked", "repeated")),
    ]  # fmt: skip
    names = [edit.arm(config)[0] for config in configs]
    assert len(set(names)) == len(configs)
    assert names[:6] == ["edit", "edit_no_push", "edit_dpo", "edit_sampled", "edit_beta_0_05", "edit_as_released"]
    assert edit.arm(edit.Config(first="right", drop_disjoint=True))[0] == "edit_right_drop_disjoint"
    assert all(name.replace("_", "").isalnum() for name in names)
