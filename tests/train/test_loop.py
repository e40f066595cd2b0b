"""The loop: it learns, resumes exactly, keeps the best epoch."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import resource
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from feints.errors import StorageError, StudentError
from feints.train.loop import _Run, fit
from feints.train.losses import token_nll, weighted_nll
from feints.train.settings import TrainSettings
from feints.train.student import Student, StudentSettings

SETTINGS = TrainSettings(
    epochs=3, batch_examples=4, learning_rate=3e-3, warmup_steps=2, log_steps=2, clip_norm=1.0, checkpoint_steps=2
)


def _weights(student):
    return {name: tensor.clone() for name, tensor in student.model.state_dict().items()}


def _assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def _lines(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


class _KilledError(Exception):
    pass


def _kill_at(step):
    def on_step(report):
        if report.step == step:
            raise _KilledError

    return on_step


@pytest.mark.parametrize(("family", "lora"), [("llama", False), ("qwen2", True), ("t5", False), ("gpt2", True)])
def test_it_learns_and_reports(family, lora, make_student, make_examples, tmp_path):
    student = make_student(family, lora=lora)
    examples = make_examples(student, 10)
    settings = SETTINGS.model_copy(update={"epochs": 12, "learning_rate": 2e-2})
    result = fit(student, examples, weighted_nll(), settings, tmp_path, validation=examples[:2], show_progress=False)
    rows = _lines(result.metrics)
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


@pytest.mark.parametrize(("family", "lora"), [("llama", False), ("gpt2", True)])
@pytest.mark.parametrize("at", [3, 6, 7])
def test_resumed_equals_uninterrupted_with_dropout(family, lora, at, make_student, make_examples, tmp_path):
    examples = make_examples(make_student(family), 22)

    def run(folder, on_step=None):
        student = make_student(family, dropout=0.2, lora=lora)
        args = (student, examples, weighted_nll(), SETTINGS, folder)
        return fit(*args, validation=examples[:3], on_step=on_step, show_progress=False), student

    whole, student = run(tmp_path / "whole")
    with pytest.raises(_KilledError):
        run(tmp_path / "cut", _kill_at(at))
    torch.rand(5)
    resumed, again = run(tmp_path / "cut")
    _assert_equal(_weights(student), _weights(again))
    assert _lines(whole.metrics) == _lines(resumed.metrics)
    assert (whole.best_epoch, whole.validation, whole.tokens) == (
        resumed.best_epoch,
        resumed.validation,
        resumed.tokens,
    )
    finished, third = run(tmp_path / "cut", _kill_at(1))
    assert finished.steps == whole.steps
    _assert_equal(_weights(student), _weights(third))


def test_muon_resumed_equals_uninterrupted(make_student, make_examples, tmp_path):
    examples = make_examples(make_student("llama"), 22)
    settings = SETTINGS.model_copy(update={"optimizer": "muon"})

    def run(folder, on_step=None):
        student = make_student("llama", dropout=0.2)
        fit(student, examples, weighted_nll(), settings, folder, on_step=on_step, show_progress=False)
        return student

    whole = run(tmp_path / "whole")
    with pytest.raises(_KilledError):
        run(tmp_path / "cut", _kill_at(5))
    _assert_equal(_weights(whole), _weights(run(tmp_path / "cut")))


def test_dropout_is_on_and_seeded(make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 8)

    def trained(dropout, seed, name):
        student = make_student("llama", dropout=dropout)
        settings = SETTINGS.model_copy(update={"epochs": 1, "seed": seed, "batch_examples": 8})
        fit(student, examples, weighted_nll(), settings, tmp_path / name, show_progress=False)
        return _weights(student)["model.layers.0.self_attn.q_proj.weight"]

    first = trained(0.3, 1, "a")
    assert torch.equal(first, trained(0.3, 1, "b"))
    assert not torch.equal(first, trained(0.3, 2, "c"))
    assert torch.allclose(trained(0.0, 1, "d"), trained(0.0, 2, "e"), atol=1e-6)


SCRIPT = """
    import os, pickle, signal, sys, warnings
    from pathlib import Path
    import torch
    from feints.train.loop import fit
    from feints.train.losses import weighted_nll
    from feints.train.settings import TrainSettings
    from feints.train.student import Student, StudentSettings

    torch.set_num_threads(1)
    model, data, folder, kill = sys.argv[1:]
    student = Student.load(StudentSettings(model=model))
    examples = pickle.loads(Path(data).read_bytes())
    settings = TrainSettings.model_validate_json(os.environ["SETTINGS"])

    def on_step(report):
        if report.step == int(kill):
            os.kill(os.getpid(), signal.SIGKILL)

    fit(student, examples, weighted_nll(), settings, Path(folder), validation=examples[:3], on_step=on_step)
"""


@pytest.mark.slow
def test_kill_9_in_mid_epoch_and_run_again(student_folder, make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 22)
    (tmp_path / "data").write_bytes(pickle.dumps(examples))
    (tmp_path / "run.py").write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "SETTINGS": SETTINGS.model_dump_json(), "OMP_NUM_THREADS": "1"}

    arguments = [str(student_folder("llama", 0.2)), str(tmp_path / "data"), str(tmp_path / "cut"), "5"]
    command = [sys.executable, "-W", "error", str(tmp_path / "run.py"), *arguments]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert [path.name for path in (tmp_path / "cut").glob("checkpoint-*")] == ["checkpoint-000000004"]

    def ended(folder):
        student = make_student("llama", dropout=0.2)
        args = (student, examples, weighted_nll(), SETTINGS, tmp_path / folder)
        result = fit(*args, validation=examples[:3], show_progress=False)
        return _weights(student), _lines(result.metrics)

    (first, first_lines), (second, second_lines) = ended("whole"), ended("cut")
    _assert_equal(first, second)
    assert first_lines == second_lines


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


@pytest.mark.parametrize("lora", [False, True])
def test_the_mean_of_the_last_epochs_is_kept_also_after_a_crash(lora, make_student, make_examples, tmp_path):
    examples = make_examples(make_student("llama"), 10)
    settings = SETTINGS.model_copy(update={"average_epochs": 2})

    def run(folder, settings, on_step=None):
        student = make_student("llama", lora=lora)
        fit(student, examples, weighted_nll(), settings, folder, on_step=on_step, show_progress=False)
        return dict(student.model.named_parameters())

    last, mean = run(tmp_path / "last", SETTINGS), run(tmp_path / "mean", settings)
    second, third = (load_file(tmp_path / "mean" / f"epoch-{n}.safetensors") for n in (2, 3))
    for name, value in third.items():
        assert torch.equal(value, last[name])
        torch.testing.assert_close(mean[name].detach(), (second[name] + value) / 2)
    assert any(not torch.equal(second[name], value) for name, value in third.items())
    with pytest.raises(_KilledError):
        run(tmp_path / "killed", settings, _kill_at(8))
    for again in (run(tmp_path / "killed", settings), run(tmp_path / "mean", settings)):
        _assert_equal(mean, again)


@pytest.mark.parametrize("average_epochs", [1, 2])
def test_killed_behind_the_last_step_the_last_epoch_still_ends(
    average_epochs, make_student, make_examples, tmp_path, monkeypatch
):
    """Its checkpoint is written before the epoch is validated and kept."""
    examples = make_examples(make_student("llama"), 12)
    settings = SETTINGS.model_copy(update={"average_epochs": average_epochs, "checkpoint_steps": 1})

    def run(folder):
        student = make_student("llama")
        result = fit(
            student, examples[:8], weighted_nll(), settings, folder, validation=examples[8:], show_progress=False
        )
        return result, _weights(student)

    def killed(self):
        if self.progress.step == self.steps:
            raise _KilledError
        end(self)

    whole, weights = run(tmp_path / "whole")
    end = _Run._end_epoch
    monkeypatch.setattr(_Run, "_end_epoch", killed)
    with pytest.raises(_KilledError):
        run(tmp_path / "killed")
    monkeypatch.setattr(_Run, "_end_epoch", end)
    again, found = run(tmp_path / "killed")
    assert (again.best_epoch, again.validation) == (whole.best_epoch, whole.validation)
    assert len(again.validation) == 3 and (again.best_epoch is None) is (average_epochs == 2)
    _assert_equal(weights, found)


def test_max_steps_runs_over_epochs_and_sets_the_schedule(make_student, make_examples, tmp_path):
    student = make_student()
    settings = SETTINGS.model_copy(update={"max_steps": 7, "log_steps": 1})
    result = fit(student, make_examples(student, 10), weighted_nll(), settings, tmp_path, show_progress=False)
    rates = [row["learning_rate"] for row in _lines(result.metrics)]
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
    rows = _lines(result.metrics)
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
    rows = _lines(tmp_path / "metrics.jsonl")
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
        losses[dtype] = [row["loss"] for row in _lines(tmp_path / dtype / "metrics.jsonl")]
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
        return _weights(student)

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
    for row in _lines(result.metrics):
        for role, (total, count) in expected.items():
            assert row[f"logprob_{role}"] == pytest.approx(total / count, rel=1e-4)


def test_a_full_disk_costs_no_checkpoint(make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 8)
    with pytest.raises(_KilledError):
        fit(make_student(), examples, weighted_nll(), SETTINGS, tmp_path, on_step=_kill_at(3), show_progress=False)
    before = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(StorageError, match="make room"):
            fit(make_student(), examples, weighted_nll(), SETTINGS, tmp_path, show_progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert before == sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-000000002"]
    assert not list(tmp_path.glob(".partial*"))
    assert fit(make_student(), examples, weighted_nll(), SETTINGS, tmp_path, show_progress=False).steps == 6


@pytest.mark.parametrize("call", [1, 2])
def test_a_kill_while_a_checkpoint_of_the_same_step_is_written_again_costs_nothing(
    make_student, make_examples, tmp_path, monkeypatch, call
):
    examples, rename = make_examples(make_student(), 8), Path.rename
    settings = SETTINGS.model_copy(update={"checkpoint_steps": 1})
    whole = fit(make_student(), examples, weighted_nll(), settings, tmp_path / "whole", show_progress=False)
    calls = []

    def killed(path, target):
        calls.append(path.name)
        if len(calls) == whole.steps + call:  # after one a step, the end writes the last step's again
            raise _KilledError
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    folder = tmp_path / "killed"
    with pytest.raises(_KilledError):
        fit(make_student(), examples, weighted_nll(), settings, folder, show_progress=False)
    assert len(calls) == whole.steps + call, "the old one gives way, then the new one comes"
    monkeypatch.undo()
    seen = []
    again = fit(make_student(), examples, weighted_nll(), settings, folder, on_step=seen.append, show_progress=False)
    assert not seen and again.steps == whole.steps
    assert [path.name for path in folder.glob("checkpoint-*")] == [f"checkpoint-{whole.steps:09d}"]


@pytest.mark.parametrize("average_epochs", [1, 2])
def test_called_again_after_the_end_it_only_loads_the_kept_weights(
    average_epochs, make_student, make_examples, tmp_path
):
    examples = make_examples(make_student(), 12)
    settings = SETTINGS.model_copy(update={"average_epochs": average_epochs})

    def run():
        student = make_student()
        result = fit(
            student, examples[:8], weighted_nll(), settings, tmp_path, validation=examples[8:], show_progress=False
        )
        files = {
            path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.suffix in (".safetensors", ".pt")
        }
        return result, _weights(student), (files, result.metrics.read_text())

    (first, weights, files), (again, found, left) = run(), run()
    assert again == first and left == files
    _assert_equal(weights, found)


def test_plain_lines_when_nobody_watches(make_student, make_examples, tmp_path, capsys):
    student = make_student()
    fit(student, make_examples(student, 4), weighted_nll(), SETTINGS, tmp_path)
    said = capsys.readouterr()
    assert "training: step 3 of 3" in said.err
    assert said.out == ""


def test_a_trained_student_is_saved_and_loaded(make_student, make_examples, tmp_path):
    student = make_student(lora=True)
    fit(student, make_examples(student, 8), weighted_nll(), SETTINGS, tmp_path / "run", show_progress=False)
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
    before = _weights(student)

    def broken(model, batch, counts):
        return {"good": token_nll(model, batch).sum(), "bad": token_nll(model, batch).sum() * float("nan")}

    with pytest.raises(StudentError, match=r"loss of step 1 is not a finite number \(good [\d.e+]+, bad nan\)"):
        fit(student, examples, broken, SETTINGS, tmp_path, show_progress=False)
    _assert_equal(before, _weights(student))
