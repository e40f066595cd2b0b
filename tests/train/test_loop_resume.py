"""The loop goes on where it was: killed at any moment, on a full disk, or called again, it ends as undisturbed."""

from __future__ import annotations

import os
import pickle
import random
import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.train.loop_parts import SETTINGS, KilledError, assert_equal, kill_at, metrics_of, weights_of

from feints.errors import StorageError
from feints.train import loop
from feints.train.checkpoint import generators_left_alone, load_random_state, random_state
from feints.train.loop import _Run, fit
from feints.train.losses import weighted_nll


@pytest.mark.parametrize(("family", "lora"), [("llama", False), ("gpt2", True)])
@pytest.mark.parametrize("at", [3, 6, 7])
def test_resumed_equals_uninterrupted_with_dropout(family, lora, at, make_student, make_examples, tmp_path):
    examples = make_examples(make_student(family), 22)

    def run(folder, on_step=None):
        student = make_student(family, dropout=0.2, lora=lora)
        args = (student, examples, weighted_nll(), SETTINGS, folder)
        return fit(*args, validation=examples[:3], on_step=on_step, show_progress=False), student

    whole, student = run(tmp_path / "whole")
    with pytest.raises(KilledError):
        run(tmp_path / "cut", kill_at(at))
    torch.rand(5)
    resumed, again = run(tmp_path / "cut")
    assert_equal(weights_of(student), weights_of(again))
    assert metrics_of(whole.metrics) == metrics_of(resumed.metrics)
    assert (whole.best_epoch, whole.validation, whole.tokens) == (
        resumed.best_epoch,
        resumed.validation,
        resumed.tokens,
    )
    finished, third = run(tmp_path / "cut", kill_at(1))
    assert finished.steps == whole.steps
    assert_equal(weights_of(student), weights_of(third))


def test_muon_resumed_equals_uninterrupted(make_student, make_examples, tmp_path):
    examples = make_examples(make_student("llama"), 22)
    settings = SETTINGS.model_copy(update={"optimizer": "muon"})

    def run(folder, on_step=None):
        student = make_student("llama", dropout=0.2)
        fit(student, examples, weighted_nll(), settings, folder, on_step=on_step, show_progress=False)
        return student

    whole = run(tmp_path / "whole")
    with pytest.raises(KilledError):
        run(tmp_path / "cut", kill_at(5))
    assert_equal(weights_of(whole), weights_of(run(tmp_path / "cut")))


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
        return weights_of(student), metrics_of(result.metrics)

    (first, first_lines), (second, second_lines) = ended("whole"), ended("cut")
    assert_equal(first, second)
    assert first_lines == second_lines


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
    with pytest.raises(KilledError):
        run(tmp_path / "killed", settings, kill_at(8))
    for again in (run(tmp_path / "killed", settings), run(tmp_path / "mean", settings)):
        assert_equal(mean, again)


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
        return result, weights_of(student)

    def killed(self):
        if self.progress.step == self.steps:
            raise KilledError
        end(self)

    whole, weights = run(tmp_path / "whole")
    end = _Run._end_epoch
    monkeypatch.setattr(_Run, "_end_epoch", killed)
    with pytest.raises(KilledError):
        run(tmp_path / "killed")
    monkeypatch.setattr(_Run, "_end_epoch", end)
    again, found = run(tmp_path / "killed")
    assert (again.best_epoch, again.validation) == (whole.best_epoch, whole.validation)
    assert len(again.validation) == 3 and (again.best_epoch is None) is (average_epochs == 2)
    assert_equal(weights, found)


def test_a_full_disk_costs_no_checkpoint(make_student, make_examples, tmp_path):
    examples = make_examples(make_student(), 8)
    with pytest.raises(KilledError):
        fit(make_student(), examples, weighted_nll(), SETTINGS, tmp_path, on_step=kill_at(3), show_progress=False)
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
            raise KilledError
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    folder = tmp_path / "killed"
    with pytest.raises(KilledError):
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
        return result, weights_of(student), (files, result.metrics.read_text())

    (first, weights, files), (again, found, left) = run(), run()
    assert again == first and left == files
    assert_equal(weights, found)


def test_time_between_checkpoints_and_time_before_a_crash_are_counted(
    make_student, make_examples, tmp_path, monkeypatch
):
    """A clock that each step moves by 100 seconds, and six steps."""
    examples, clock, written, write = make_examples(make_student(), 8), [0.0], [], loop.write_checkpoint
    settings = SETTINGS.model_copy(update={"checkpoint_steps": None, "checkpoint_seconds": 150.0})

    def run(last=99):
        def on_step(report):
            clock[0] += 100.0
            if report.step == last:
                raise KilledError

        return fit(make_student(), examples, weighted_nll(), settings, tmp_path, on_step=on_step, show_progress=False)

    def noted(folder, progress, *rest):
        written.append(progress.step)
        write(folder, progress, *rest)

    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(loop, "write_checkpoint", noted)
    with pytest.raises(KilledError):
        run(last=3)
    assert written == [2]
    result = run()
    assert written == [2, 4, 6, 6]
    assert result.seconds == 100.0 + 4 * 100.0, "two steps before the crash, the second of them under way"


def test_every_generator_is_put_back_as_it_was():
    def drawn():
        return float(torch.rand(1)), random.random(), float(np.random.rand())

    with generators_left_alone():
        before = random_state()
        first = drawn()
        load_random_state(before)
        assert drawn() == first
