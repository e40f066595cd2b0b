"""The difference of a student from its base as one adapter: exact over trainings, refused where none holds it."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from peft import PeftModel

from feints.errors import SettingsError
from feints.generate.weights import load_weights, quiet_transformers
from feints.train.difference import write_difference
from feints.train.settings import AdapterSettings, StudentSettings
from feints.train.student import Student

IDS = torch.tensor([[3, 7, 9, 30, 12, 5]])


def trained(base, folder, rank, *, seed, modules="linear"):
    """The student in `base` with a random addition of some rank, saved merged."""
    settings = StudentSettings(model=str(base), adapter=AdapterSettings(kind="lora", rank=rank, modules=modules))
    student = Student.load(settings, seed=seed)
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=noise))
    student.save(folder)
    return folder


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_two_trainings_are_one_adapter_of_the_summed_rank(family, student_folder, tmp_path):
    base = student_folder(family)
    first = trained(base, tmp_path / "first", 2, seed=1)
    second = trained(first, tmp_path / "second", 3, seed=2)
    for student, rank in ((first, 2), (second, 5)):
        adapter = tmp_path / f"adapter-{rank}"
        assert write_difference(base, student, adapter, max_rank=16) == rank
        with quiet_transformers():
            model = PeftModel.from_pretrained(copy.deepcopy(load_weights(base).model), adapter)
        with torch.no_grad():
            found, wanted = model(IDS).logits, load_weights(student).model(IDS).logits
            plain = load_weights(base).model(IDS).logits
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
        assert (plain - wanted).abs().max() > 0.05
    again = tmp_path / "again"
    write_difference(base, second, again, max_rank=16)
    files = [(folder / "adapter_model.safetensors").read_bytes() for folder in (again, tmp_path / "adapter-5")]
    assert files[0] == files[1]


def test_layers_left_alone_are_not_in_the_adapter(student_folder, tmp_path):
    student = trained(student_folder("llama"), tmp_path / "student", 2, seed=1, modules=("q_proj",))
    write_difference(student_folder("llama"), student, tmp_path / "adapter", max_rank=16)
    named = json.loads((tmp_path / "adapter/adapter_config.json").read_text())["target_modules"]
    assert named and all(name.endswith("q_proj") for name in named)


def test_what_no_adapter_holds_is_refused(student_folder, tmp_path):
    base = student_folder("llama")
    student = trained(base, tmp_path / "student", 4, seed=1)
    with pytest.raises(SettingsError, match="rank above 3.*max_rank"):
        write_difference(base, student, tmp_path / "adapter", max_rank=3)
    whole = load_weights(base)
    with torch.no_grad():
        whole.model.get_input_embeddings().weight[5] += 1
    whole.model.save_pretrained(tmp_path / "whole")
    with pytest.raises(SettingsError, match="kind: lora"):
        write_difference(base, tmp_path / "whole", tmp_path / "adapter", max_rank=16)
    with pytest.raises(SettingsError, match="does not differ"):
        write_difference(base, base, tmp_path / "adapter", max_rank=16)
    assert not (tmp_path / "adapter").exists()
