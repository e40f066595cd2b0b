"""The mean of students: every weight, in float32, and what has none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from feints.errors import SettingsError, StorageError
from feints.train.mean import write_mean

Tensors = dict[str, torch.Tensor]


def student(folder: Path, *files: Tensors) -> Path:
    folder.mkdir()
    for place, tensors in enumerate(files):
        save_file(tensors, folder / f"model-{place}.safetensors")
    (folder / "config.json").write_text(json.dumps({"from": folder.name}))
    return folder


def test_weights_are_meant_in_float32_and_the_rest_is_the_last_ones(tmp_path: Path) -> None:
    """Summed in bfloat16, 256 + 1 + 1 would stay 256."""
    half = [torch.tensor([256.0, 1.0]), torch.tensor([1.0, 1.0]), torch.tensor([1.0, 4.0])]
    students = [
        student(tmp_path / str(place), {"a": one.bfloat16()}, {"b": torch.full((2, 2), float(place))})
        for place, one in enumerate(half)
    ]
    write_mean(students, tmp_path / "mean")
    a, b = (load_file(tmp_path / "mean" / f"model-{place}.safetensors") for place in (0, 1))
    assert torch.equal(a["a"], torch.tensor([86.0, 2.0]).bfloat16()) and torch.equal(b["b"], torch.ones(2, 2))
    assert a["a"].dtype == torch.bfloat16, "in the precision they came in"
    assert json.loads((tmp_path / "mean" / "config.json").read_text()) == {"from": "2"}
    assert torch.equal(load_file(students[2] / "model-0.safetensors")["a"], half[2].bfloat16()), "the last one changed"


def test_files_may_be_cut_otherwise(tmp_path: Path) -> None:
    one = student(tmp_path / "one", {"a": torch.zeros(2), "b": torch.zeros(1)})
    two = student(tmp_path / "two", {"a": torch.ones(2)}, {"b": torch.ones(1)})
    write_mean([one, two], tmp_path / "mean")
    assert torch.equal(load_file(tmp_path / "mean" / "model-1.safetensors")["b"], torch.tensor([0.5]))


def test_what_a_killed_run_left_half_done_is_replaced(tmp_path: Path) -> None:
    one, two = student(tmp_path / "one", {"a": torch.zeros(2)}), student(tmp_path / "two", {"a": torch.ones(2)})
    shutil.copytree(two, tmp_path / "mean")
    (tmp_path / "mean" / "left.safetensors").write_bytes(b"half")
    write_mean([one, two], tmp_path / "mean")
    assert torch.equal(load_file(tmp_path / "mean" / "model-0.safetensors")["a"], torch.tensor([0.5, 0.5]))
    assert not (tmp_path / "mean" / "left.safetensors").exists()


@pytest.mark.parametrize(
    "other", [{"a": torch.ones(3)}, {"c": torch.ones(2)}, {"a": torch.ones(2), "c": torch.ones(1)}]
)
def test_students_of_another_kind_have_no_mean(tmp_path: Path, other: Tensors) -> None:
    one, two = student(tmp_path / "one", {"a": torch.ones(2)}), student(tmp_path / "two", other)
    with pytest.raises(SettingsError, match="have no mean: [ac] is"):
        write_mean([one, two], tmp_path / "mean")


def test_a_disk_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = student(tmp_path / "one", {"a": torch.ones(2)})

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(StorageError, match="No space left"):
        write_mean([one, one], tmp_path / "mean")
