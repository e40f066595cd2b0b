"""Device and trackers: cpu means cpu; metrics reach every tracker; one that is not there is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker, get_available_trackers

from feints.errors import SettingsError, UnknownNameError
from feints.train.loop import fit
from feints.train.losses import weighted_nll
from feints.train.settings import TrainSettings
from feints.train.trackers import make_accelerator

SETTINGS = TrainSettings(epochs=2, batch_examples=4, log_steps=1, betas=(0.9, 0.95))


class Recorder(GeneralTracker):
    """A tracker that remembers what it was told."""

    name = "recorder"
    requires_logging_directory = True
    made: list[Recorder] = []

    def __init__(self, run_name: str, logging_dir: str, **_: Any) -> None:
        super().__init__()
        self.run_name, self.folder, self.config, self.ended = run_name, logging_dir, {}, False
        self.said: list[tuple[int | None, dict[str, Any]]] = []
        self.made.append(self)

    @property
    def tracker(self) -> Recorder:
        return self

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.config = values

    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        self.said.append((step, values))

    def finish(self) -> None:
        self.ended = True


def test_a_tracker_is_told_every_line_of_metrics(make_student, make_examples, tmp_path, monkeypatch):
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, Recorder.name, Recorder)
    student = make_student()
    examples = make_examples(student, 8)
    settings = SETTINGS.model_copy(update={"trackers": (Recorder.name,)})
    result = fit(student, examples, weighted_nll(), settings, tmp_path, validation=examples[:2], show_progress=False)
    (tracker,) = Recorder.made
    lines = [json.loads(line) for line in result.metrics.read_text().splitlines()]
    assert [line.pop("kind") for line in lines] == ["train", "train", "validation"] * 2
    assert tracker.said == [(line["step"], line) for line in lines]
    assert tracker.ended and tracker.folder == str(tmp_path)
    assert tracker.config["learning_rate"] == settings.learning_rate
    assert {type(value) for value in tracker.config.values()} <= {int, float, str, bool}


def test_a_tracker_that_is_not_there_is_refused(make_student, make_examples, tmp_path):
    student = make_student()
    missing = next(name for name in ("wandb", "aim", "mlflow") if name not in map(str, get_available_trackers()))
    for name, error, says in ((missing, SettingsError, "is not installed"), ("wandbb", UnknownNameError, "mean wandb")):
        settings = SETTINGS.model_copy(update={"trackers": (name,)})
        with pytest.raises(error, match=says):
            fit(student, make_examples(student, 4), weighted_nll(), settings, tmp_path, show_progress=False)
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("asked", "got"), [("cpu", "cpu"), ("meta", "meta"), (None, "meta")])
def test_a_student_asked_onto_the_processor_stays_off_a_gpu_that_is_there(asked, got, tmp_path, monkeypatch):
    """No GPU is needed: what Accelerate takes for one is put in its place."""
    monkeypatch.setattr(PartialState, "default_device", property(lambda _: torch.device("meta")))
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        assert make_accelerator(SETTINGS, tmp_path, asked).device.type == got
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_a_gpu_named_by_its_number_is_the_one_accelerate_takes(monkeypatch, tmp_path):
    taken = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(SettingsError, match="would run on cpu"):  # there is none here
        make_accelerator(SETTINGS, tmp_path, "cuda:1")
    assert taken == ["cuda:1"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match="set cuda"):
        make_accelerator(SETTINGS, tmp_path, "cuda:1")
