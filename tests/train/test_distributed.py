"""Two gloo ranks, DDP and FSDP2, end where one process ends; killed and resumed too."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from feints.train.loop import fit
from feints.train.losses import weighted_nll
from feints.train.settings import StudentSettings, TrainSettings
from feints.train.student import Student

pytestmark = pytest.mark.slow
WORKER = Path(__file__).with_name("distributed_worker.py")
SETTINGS = TrainSettings(
    epochs=2, batch_examples=7, micro_tokens=60, learning_rate=3e-3, clip_norm=9.0, checkpoint_steps=1, log_steps=1
)
KINDS = {
    "ddp": {},
    "fsdp2": {
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
        "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
        "FSDP_RESHARD_AFTER_FORWARD": "true",
        "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
    },
}


def _ranks(folder, kind, stop):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        **KINDS[kind],
    }
    started = []
    for rank in range(2):
        environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        command = [sys.executable, str(WORKER), str(folder), kind, str(stop)]
        started.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=300)[1] for process in started]
    return [process.returncode for process in started], "\n".join(said)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lora", [False, True])
def test_two_ranks_equal_one_process(kind, lora, load_beside, student_folder, make_student, make_examples, tmp_path):
    examples = make_examples(make_student("qwen2"), 15, signed=True)
    adapter = {"kind": "lora", "rank": 4} if lora else {}
    model = {"model": str(student_folder("qwen2")), "adapter": adapter}
    (tmp_path / "data").write_bytes(pickle.dumps((model, examples, SETTINGS.model_dump())))
    student = Student.load(StudentSettings.model_validate(model))
    expected_gradients = load_beside("train/distributed_worker").record_first_gradients()
    single = fit(student, examples, weighted_nll(), SETTINGS, tmp_path / "one", validation=examples[:3])
    if not lora:
        codes, said = _ranks(tmp_path, kind, 3)
        assert codes == [3, 3], said
    codes, said = _ranks(tmp_path, kind, 0)
    assert codes == [0, 0], said
    found = torch.load(tmp_path / f"{kind}.pt", weights_only=True)
    assert max(float(gradient.abs().max()) for gradient in expected_gradients) > 1e-3
    gradients = torch.load(tmp_path / f"{kind}-gradients.pt", weights_only=True)
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-4, atol=1e-6)
    norms = [
        [row["gradient_norm"] for row in map(json.loads, path.read_text().splitlines()) if row["kind"] == "train"]
        for path in (single.metrics, tmp_path / kind / "metrics.jsonl")
    ]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    expected = student.model.state_dict()
    assert found["state"].keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found["state"][name], tensor, rtol=1e-3, atol=2e-5, msg=lambda text, n=name: n + text
        )
    assert found["loss"] == pytest.approx(single.loss, rel=1e-4)
    for mine, theirs in zip(single.validation, found["validation"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-4)
    again = Student.load(StudentSettings(model=str(tmp_path / f"{kind}-student")))
    student.model.eval()
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        torch.testing.assert_close(again.model(ids).logits, student.model(ids).logits, rtol=1e-3, atol=1e-4)
