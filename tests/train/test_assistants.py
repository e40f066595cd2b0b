"""NEG and NAT as students: what stays frozen, what is saved, what is shared, and the gradient of a whole NAT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.test_integrate import IDS, folders, logits, noisy, plan
from torch import Tensor

from feints.errors import StudentError
from feints.train.assistants import NatStudent, load_nat, neg_student, teacher_beside
from feints.train.batch import Batcher
from feints.train.integrate import add_units, added_tensors, layers, set_mode
from feints.train.integrate_files import read_plan
from feints.train.loop import fit
from feints.train.losses import weighted_nll
from feints.train.rows import Layout
from feints.train.settings import AdapterSettings, StudentSettings, TrainSettings
from feints.train.student import Student

__all__ = ["folders"]  # a fixture

FEW = TrainSettings(max_steps=3, batch_examples=6, learning_rate=1e-2, rows="padded", log_steps=1)


@pytest.fixture(scope="module")
def trained(folders: Any, make_examples: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """NEG and NAT of a family after three steps each, and the folders they were saved to."""
    made: dict[str, Any] = {}

    def run(name: str) -> Any:
        if name not in made:
            settings, here = StudentSettings(model=str(folders(name))), tmp_path_factory.mktemp("trained")
            neg = neg_student(settings, seed=1)
            fit(neg, make_examples(neg, seed=1), weighted_nll(), FEW, here / "a", show_progress=False)
            neg.save(here / "neg", merge=False)
            nat = NatStudent.beside(settings, here / "neg", width=5, seed=1)
            fit(nat, make_examples(nat, seed=2), weighted_nll(), FEW, here / "b", show_progress=False)
            nat.save(here / "nat")
            made[name] = (settings, neg, nat, here)
        return made[name]

    return run


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_tdg_p5_neg_and_base_are_bit_identical_after_training(name: str, trained: Any) -> None:
    """TDG-P5: after three steps of NAT."""
    settings, _, nat, here = trained(name)
    adapter = load_file(here / "neg" / "adapter" / "adapter_model.safetensors")
    own = added_tensors(nat.model)
    assert len(adapter) == 2 * len(list(layers(nat.model)))
    for key, value in adapter.items():
        path, _, side = key.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        assert torch.equal(own[f"{path}.neg.{side[-1].lower()}"], value)
        assert value.abs().max() > 0
    fresh = Student.load(settings).model.state_dict()
    trained_base = {key.replace(".base.", "."): value for key, value in nat.model.state_dict().items()}
    assert fresh and all(torch.equal(trained_base[key], value) for key, value in fresh.items())
    assert any(layer.unit.outer.weight.abs().max() > 0 for _, layer in layers(nat.model))


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_neg_mode_is_the_lora_that_was_trained(name: str, trained: Any) -> None:
    _, neg, nat, _ = trained(name)
    set_mode(nat.model, "neg")
    try:
        torch.testing.assert_close(logits(nat.model, IDS), logits(neg.model, IDS), rtol=1e-4, atol=1e-5)
    finally:
        set_mode(nat.model, "nat")


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_saved_and_loaded_it_answers_alike(name: str, trained: Any) -> None:
    _, _, nat, here = trained(name)
    loaded = load_nat(here / "nat")
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert read_plan(here / "nat") == nat.plan
    assert torch.equal(logits(loaded, IDS), logits(nat.model.eval(), IDS))


@pytest.mark.parametrize("lora", [True, False])
def test_a_teacher_shares_the_base_only_where_that_stays_frozen(lora: bool, trained: Any) -> None:
    settings, _, nat, here = trained("llama")
    student = neg_student(settings, seed=3) if lora else Student.load(settings)
    teacher = teacher_beside(student, here / "nat")
    assert torch.equal(logits(teacher, IDS), logits(nat.model.eval(), IDS))
    shared = {id(p) for p in student.model.parameters()} & {id(p) for p in teacher.parameters()}
    assert bool(shared) is lora
    new = sum(p.numel() for p in teacher.parameters() if id(p) not in shared)
    if lora:
        assert new == sum(value.numel() for value in added_tensors(nat.model).values())
        assert all(p.requires_grad is ("lora" in name) for name, p in student.model.named_parameters())
    else:
        assert all(p.requires_grad for p in student.model.parameters())


def test_damaged_or_foreign_files_are_refused(trained: Any, folders: Any, tmp_path: Path) -> None:
    _, _, _, here = trained("llama")
    with pytest.raises(StudentError, match="train NAT again"):
        read_plan(tmp_path)
    with pytest.raises(StudentError, match="no adapter that can be read"):
        NatStudent.beside(StudentSettings(model=str(folders("llama"))), tmp_path, width=5, seed=0)
    with pytest.raises(StudentError, match="other projections"):
        NatStudent.beside(StudentSettings(model=str(folders("gpt2"))), here / "neg", width=5, seed=0)


def test_tdg_d2_d3_the_starts_of_both_profiles(folders: Any) -> None:
    settings = StudentSettings(model=str(folders("llama")))
    clean, released = neg_student(settings, seed=0), neg_student(settings, seed=0, released=True)
    for student, zero in ((clean, True), (released, False)):
        starts = [p for name, p in student.model.named_parameters() if "lora_B" in name]
        assert starts and all((not p.any()) is zero for p in starts)
    for asked in (False, True):
        nat = NatStudent.beside(settings, None, width=5, seed=0, released=asked)
        assert all(bool(layer.unit.outer.weight.any()) is asked for _, layer in layers(nat.model))
        assert nat.plan.stop_at_pad is asked


def gradient(student: Student, examples: Any, precision: str = "fp32") -> dict[str, Tensor]:
    """Of the plain loss over all examples, POS and units moved off their start."""
    noisy(student.model)
    batcher = Batcher(examples, Layout(rows="padded", micro_tokens=10_000, seq2seq=False, pad_id=0))
    step = batcher.whole()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        loss = weighted_nll()(student.model.train(), batcher.batch(step.micro[0]), step.counts)["nll"]
    loss.backward()
    return {name: p.grad for name, p in student.model.named_parameters() if p.grad is not None}


def test_recomputed_activations_and_half_precision_leave_the_gradient(folders: Any, make_examples: Any) -> None:
    settings = StudentSettings(model=str(folders("llama")), adapter=AdapterSettings(kind="lora", rank=3))
    plain = NatStudent.beside(settings, None, width=5, seed=0)
    examples = make_examples(plain, count=4)
    expected = gradient(plain, examples)
    assert {name.rpartition(".base.")[1] for name in expected} == {""}, "the base learns nothing"
    recomputed = settings.model_copy(update={"gradient_checkpointing": True})
    found = gradient(NatStudent.beside(recomputed, None, width=5, seed=0), examples)
    half = gradient(NatStudent.beside(settings, None, width=5, seed=0), examples, "bf16")
    whole, rough = (torch.cat([g[name].flatten() for name in expected]) for g in (expected, half))
    assert torch.nn.functional.cosine_similarity(whole, rough, dim=0) > 0.98
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_the_gradient_of_nat_is_that_of_a_naive_loop_however_a_step_is_cut(
    name: str, folders: Any, make_examples: Any, step_gradients: Any, naive_gradients: Any, assert_same: Any
) -> None:
    student = Student.load(StudentSettings(model=str(folders(name))))
    add_units(student.model, plan(student.model), seed=0)
    noisy(student.model, 0.2)
    examples = make_examples(student, count=6)

    def mean(texts: Any) -> Tensor:
        return -torch.cat([logps[-len(e.target_ids) :] for logps, _, e in texts]).mean()

    expected = naive_gradients(student, examples, mean)
    assert all(".unit." in key or ".pos." in key for key in expected[1])
    ways = [("padded", 30), ("padded", 9999)] + ([] if name == "t5" else [("packed", 30), ("packed", 9999)])
    for rows, micro in ways:
        assert_same(step_gradients(student, examples[::-1], weighted_nll(), rows=rows, micro=micro), expected)
