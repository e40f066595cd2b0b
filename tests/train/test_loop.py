"""The loop: it learns, resumes exactly, keeps the best epoch."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.loop_parts import SETTINGS, assert_equal, metrics_of, weights_of

from feints.errors import StudentError
from feints.train.loop import fit
from feints.train.losses import token_nll, weighted_nll
from feints.train.settings import TrainSettings
from feints.train.student import Student, StudentSettings


@pytest.mark.parametrize(("family", "lora"), [("llama", False), ("qwen2", True), ("t5", False), ("gpt2", True)])
def test_it_learns_and_reports(family, lora, make_student, make_examples, tmp_path):
    student = make_student(family, lora=lora)
    examples = make_examples(student, 10)
    settings = SETTINGS.model_copy(update={"epochs": 12, "learning_rate": 2e-2})
    result = fit(student, examples, weighted_nll(), settings, tmp_path, validation=examples[:2], show_progress=False)
    rows = metrics_of(result.metrics)
    train = [row for row in rows if row["kind"] == "train"]
    assert result.steps == 36 == train[-1]["step"]
    assert train[-1]["loss"] < (0.97 if lora else 0.8) * train[0]["loss"]
    assert train[-1]["logprob_right"] > train[0]["logprob_right"]
    assert result.tokens == 12 * sum(
        max(len(e.prompt_ids), len(e.target_ids) + 1) if family == "t5" else len(e.prompt_ids) + len(e.target_ids)
        for e in examples
    )
    assert [row["epoch"] for row in result.validation] == list(range(1, 13))
    assert all(parameter.grad is None for parameter in student.model.parameters())


def test_dropout_is_on_and_seeded(make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 8)

    def trained(dropout, seed, name):
        student = make_student("llama", dropout=dropout)
        settings = SETTINGS.model_copy(update={"epochs": 1, "seed": seed, "batch_examples": 8})
        fit(student, examples, weighted_nll(), settings, tmp_path / name, show_progress=False)
        return weights_of(student)["model.layers.0.self_attn.q_proj.weight"]

    first = trained(0.3, 1, "a")
    assert torch.equal(first, trained(0.3, 1, "b"))
    assert not torch.equal(first, trained(0.3, 2, "c"))
    assert torch.allclose(trained(0.0, 1, "d"), trained(0.0, 2, "e"), atol=1e-6)


def test_the_best_epoch_is_kept(make_student, make_examples, tmp_path):
    student = make_student()
    examples = make_examples(student, 12)
    settings = SETTINGS.model_copy(update={"epochs": 6, "learning_rate": 5e-2, "schedule": "constant"})
    result = fit(
        student, examples[:8], weighted_nll(), settings, tmp_path, validation=examples[8:], show_progress=False
    )
    losses = [row["loss"] for row in result.validation]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert result.best_epoch < 6, "the learning rate is meant to overfit"
    rest = fit(
        student,
        examples[8:],
        weighted_nll(),
        settings.model_copy(update={"learning_rate": 1e-12, "epochs": 1, "warmup_steps": 0}),
        tmp_path / "again",
        validation=examples[8:],
        show_progress=False,
    )
    assert rest.validation[0]["loss"] == pytest.approx(min(losses), rel=1e-4)


@pytest.mark.parametrize(("best", "score"), [("last", "epoch"), ("right", "logprob_right")])
def test_the_epoch_kept_is_the_one_asked_for(best, score, make_student, make_examples, tmp_path):
    student = make_student()
    examples = make_examples(student, 12, signed=True)
    settings = SETTINGS.model_copy(update={"epochs": 6, "learning_rate": 5e-2, "schedule": "constant", "best": best})
    args = (student, examples[:8], weighted_nll(), settings, tmp_path)
    result = fit(*args, validation=examples[8:], show_progress=False)
    assert result.best_epoch == 1 + int(np.argmax([row[score] for row in result.validation]))
    assert result.best_epoch != 1 + int(np.argmin([row["loss"] for row in result.validation]))


def test_passes_count_every_model_that_reads_a_text(make_student, make_examples, tmp_path):
    student, reference, plain = make_student(), make_student().model, weighted_nll()

    def beside(model, batch, counts):
        terms = plain(model, batch, counts)
        with torch.no_grad():
            token_nll(reference, batch)
        return terms

    examples = make_examples(student, 8)
    for place, (loss, models) in enumerate(((plain, 1), (beside, 2))):
        result = fit(student, examples, loss, SETTINGS, tmp_path / str(place), show_progress=False)
        assert metrics_of(result.metrics)[-1]["passes"] == models * SETTINGS.epochs * len(examples)


def test_max_steps_runs_over_epochs_and_sets_the_schedule(make_student, make_examples, tmp_path):
    student = make_student()
    settings = SETTINGS.model_copy(update={"max_steps": 7, "log_steps": 1})
    result = fit(student, make_examples(student, 10), weighted_nll(), settings, tmp_path, show_progress=False)
    rates = [row["learning_rate"] for row in metrics_of(result.metrics)]
    assert (result.steps, result.epochs) == (7, 3)
    assert rates == pytest.approx([settings.rate(step, 7, step // 3) for step in range(7)])


def test_the_callers_random_numbers_go_on(make_student, make_examples, tmp_path):
    student = make_student("llama", dropout=0.1)
    examples = make_examples(student, 4)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(student, examples, weighted_nll(), SETTINGS, tmp_path, show_progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_bf16_arithmetic_keeps_float32_weights(make_student, make_examples, tmp_path):
    student = make_student()
    examples = make_examples(student, 8)
    settings = SETTINGS.model_copy(update={"precision": "bf16", "epochs": 8, "learning_rate": 1e-2})
    result = fit(student, examples, weighted_nll(), settings, tmp_path, show_progress=False)
    rows = metrics_of(result.metrics)
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert {parameter.dtype for parameter in student.model.parameters()} == {torch.float32}
    full = make_student()
    again = fit(
        full,
        examples,
        weighted_nll(),
        settings.model_copy(update={"precision": "fp32"}),
        tmp_path / "b",
        show_progress=False,
    )
    assert result.loss == pytest.approx(again.loss, rel=0.05)


def test_a_model_of_several_kinds_of_input_learns_texts(make_student, make_examples, tmp_path):
    student = make_student("gemma3")
    examples = make_examples(student, 8)
    fit(student, examples, weighted_nll(), SETTINGS, tmp_path, show_progress=False)
    rows = metrics_of(tmp_path / "metrics.jsonl")
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_a_half_precision_student_learns_steps_smaller_than_its_digits(make_student, make_examples, tmp_path):
    """Beside the same weights in float32: equal losses, and the weights come back in the precision they came in."""
    losses = {}
    for dtype in ("bfloat16", "float32"):
        student = make_student("qwen2", dtype="bfloat16")
        if dtype == "float32":
            student.model.float()
        before = {name: value.detach().clone() for name, value in student.model.named_parameters()}
        examples = make_examples(student, 8)
        settings = SETTINGS.model_copy(update={"epochs": 20, "learning_rate": 1e-4, "checkpoint_steps": 7})
        fit(student, examples, weighted_nll(), settings, tmp_path / dtype, show_progress=False)
        losses[dtype] = [row["loss"] for row in metrics_of(tmp_path / dtype / "metrics.jsonl")]
        after = dict(student.model.named_parameters())
        assert {value.dtype for value in after.values()} == {getattr(torch, dtype)}
        assert not all(torch.equal(value, after[name]) for name, value in before.items())
        assert student.model.get_output_embeddings().weight is student.model.get_input_embeddings().weight
    assert losses["bfloat16"] == losses["float32"]


def test_a_run_goes_on_in_smaller_passes_after_running_out_of_memory(make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 8)
    large = SETTINGS.model_copy(update={"checkpoint_steps": 1, "log_steps": 1})
    losses = {}
    for name, micro in (("small", 32), ("large", large.micro_tokens)):
        told = losses.setdefault(name, [])

        def note(step, told=told, name=name):
            told.append(step.loss)
            if name == "large" and step.step == 2:
                raise torch.OutOfMemoryError

        settings = large.model_copy(update={"micro_tokens": micro, "log_steps": 3})
        with contextlib.suppress(torch.OutOfMemoryError):
            fit(make_student(), examples, weighted_nll(), settings, tmp_path / name, on_step=note, show_progress=False)
    small = large.model_copy(update={"micro_tokens": 32})
    again = fit(make_student(), examples, weighted_nll(), small, tmp_path / "large", show_progress=False)
    assert len(losses["large"]) == 2 and again.steps == len(losses["small"])
    assert again.loss == pytest.approx(losses["small"][-1], rel=1e-4)


def test_gradient_checkpointing_changes_nothing(make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 8)

    def trained(checkpointing, lora):
        student = make_student(lora=lora, gradient_checkpointing=checkpointing)
        folder = tmp_path / f"{checkpointing}{lora}"
        fit(student, examples, weighted_nll(), SETTINGS, folder, show_progress=False)
        return weights_of(student)

    for lora in (False, True):
        plain, spared = trained(False, lora), trained(True, lora)
        for name, tensor in plain.items():
            torch.testing.assert_close(tensor, spared[name], rtol=1e-4, atol=1e-5)


def test_gauges_separate_right_from_wrong(make_student, make_examples, tmp_path):
    student = make_student()
    examples = make_examples(student, 8, pairs=True)
    examples = [replace(e, weights=tuple(-0.2 * w for w in e.weights)) if e.role == "wrong" else e for e in examples]
    for place in (0, 1):  # one target of each role has key tokens: every other one
        prompt = len(examples[place].prompt_ids)
        marked = [w * (at % 2) if at >= prompt else w for at, w in enumerate(examples[place].weights)]
        examples[place] = replace(examples[place], weights=tuple(marked))
    assert {e.role for e in examples[:2]} == {"right", "wrong"}
    student.model.eval()
    expected = {"right": [0.0, 0], "wrong": [0.0, 0], "right_key": [0.0, 0], "wrong_key": [0.0, 0]}
    for example in examples:
        ids = torch.tensor([example.prompt_ids + example.target_ids])
        with torch.no_grad():
            logps = student.model(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[:, 1:].T)[:, 0]
        expected[example.role][0] += logps[len(example.prompt_ids) - 1 :].sum().item()
        expected[example.role][1] += len(example.target_ids)
        key = torch.tensor(example.weights)[1:] != 0
        if not key[len(example.prompt_ids) - 1 :].all():
            expected[f"{example.role}_key"][0] += logps[key].sum().item()
            expected[f"{example.role}_key"][1] += int(key.sum())
    settings = TrainSettings(batch_examples=8, max_steps=1, learning_rate=1e-9)
    result = fit(student, examples, weighted_nll(), settings, tmp_path, validation=examples, show_progress=False)
    for row in metrics_of(result.metrics):
        for role, (total, count) in expected.items():
            assert row[f"logprob_{role}"] == pytest.approx(total / count, rel=1e-4)


def test_plain_lines_when_nobody_watches(make_student, make_examples, tmp_path, capsys):
    student = make_student()
    fit(student, make_examples(student, 4), weighted_nll(), SETTINGS, tmp_path)
    said = capsys.readouterr()
    assert "training: step 3 of 3" in said.err
    assert said.out == ""


def test_a_trained_student_is_saved_and_loaded(make_student, make_examples, tmp_path):
    student = make_student(lora=True)
    attention = student.model.config._attn_implementation
    fit(student, make_examples(student, 8), weighted_nll(), SETTINGS, tmp_path / "run", show_progress=False)
    assert student.model.config._attn_implementation == attention, "it was packed in training alone"
    assert not student.model.training, "no dropout in what is asked of it next"
    student.save(tmp_path / "student")
    loaded = Student.load(StudentSettings(model=str(tmp_path / "student")))
    ids = torch.tensor([[5, 6, 7, 8]])
    student.model.eval()
    with torch.no_grad():
        torch.testing.assert_close(student.model(ids).logits, loaded.model(ids).logits, rtol=1e-4, atol=1e-5)
    assert Path(tmp_path / "student" / "model.safetensors").is_file()


def test_a_loss_that_is_not_finite_leaves_the_weights(make_student, make_examples, tmp_path):
    student = make_student()
    examples = make_examples(student, 8)
    before = weights_of(student)

    def broken(model, batch, counts):
        return {"good": token_nll(model, batch).sum(), "bad": token_nll(model, batch).sum() * float("nan")}

    with pytest.raises(StudentError, match=r"loss of step 1 is not a finite number \(good [\d.e+]+, bad nan\)"):
        fit(student, examples, broken, SETTINGS, tmp_path, show_progress=False)
    assert_equal(before, weights_of(student))
