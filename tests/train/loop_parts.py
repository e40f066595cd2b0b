"""What tests of the loop share: settings of a short training, its weights and metrics, a kill at a step."""

from __future__ import annotations

import json

import torch

from feints.train.settings import TrainSettings

SETTINGS = TrainSettings(
    epochs=3, batch_examples=4, learning_rate=3e-3, warmup_steps=2, log_steps=2, clip_norm=1.0, checkpoint_steps=2
)


def weights_of(student):
    return {name: tensor.clone() for name, tensor in student.model.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def metrics_of(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


class KilledError(Exception):
    pass


def kill_at(step):
    def on_step(report):
        if report.step == step:
            raise KilledError

    return on_step
