"""Muon: its updates equal torch's for matrices and AdamW's for the rest; which weights are which."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.train.conftest import make_model
from torch import Tensor

from feints.errors import SettingsError
from feints.train.muon import Muon, orthogonal
from feints.train.optimizer import make_optimizer
from feints.train.settings import TrainSettings

SHAPES = ((12, 8), (8, 12), (8, 12), (5, 5))


def copies(seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    matrices = [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]
    vectors = [torch.randn(7, generator=generator).requires_grad_(), torch.randn(3, 2, generator=generator)]
    return matrices, [vector.requires_grad_() for vector in vectors]


def pull(tensors: list[Tensor], step: int) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for tensor in tensors:
        tensor.grad = torch.randn(tensor.shape, generator=generator)


def test_matrices_move_as_torchs_own_muon_moves_them() -> None:
    ours, rest = copies()
    theirs, _ = copies()
    mine = Muon(ours, [{"params": rest}], lr=0.01, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        pull(ours, step)
        pull(theirs, step)
        mine.step()
        reference.step()
    for moved, expected, start in zip(ours, theirs, copies()[0], strict=True):
        assert (moved - start).abs().max() > 0.01
        # Both iterate in bfloat16; ours takes matrices of one shape together, which rounds otherwise.
        assert torch.allclose(moved, expected, atol=2e-3)


def test_all_else_moves_as_adamw_moves_it() -> None:
    matrices, ours = copies()
    _, theirs = copies()
    mine = Muon(matrices, [{"params": ours, "weight_decay": 0.1}], lr=0.01, betas=(0.9, 0.99))
    reference = torch.optim.AdamW(theirs, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    for step in range(4):
        pull(ours, step)
        pull(theirs, step)
        mine.step()
        reference.step()
    for moved, expected in zip(ours, theirs, strict=True):
        assert torch.equal(moved, expected)


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 24), (2, 24, 8)])
def test_an_update_is_nearly_orthogonal(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, s, v = torch.linalg.svd(matrices, full_matrices=False)
    found = orthogonal(matrices)
    values = torch.linalg.svdvals(found)
    # The quintic leaves the smallest values of a square matrix below one; none may grow.
    assert values.max() < 1.35
    assert (found * (u @ v)).sum() > 0.8 * min(shape[-2:]) * shape[0]


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
def test_embeddings_heads_and_vectors_are_left_to_adamw(family: str) -> None:
    model = make_model(family)
    optimizer = make_optimizer(model, TrainSettings(optimizer="muon"), sharded=False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden = {names[id(p)] for group in optimizer.param_groups if group["orthogonal"] for p in group["params"]}
    rest = {names[id(p)] for group in optimizer.param_groups if not group["orthogonal"] for p in group["params"]}
    assert hidden | rest == set(names.values()) and not hidden & rest
    words = ("embed", "wte", "wpe", "shared", "lm_head", "norm", "ln_", "bias")
    assert hidden and not any(word in name for name in hidden for word in words)


def test_spread_weights_are_refused() -> None:
    model: Any = make_model("llama")
    with pytest.raises(SettingsError, match="adamw"):
        make_optimizer(model, TrainSettings(optimizer="muon"), sharded=True)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_settings_reach_the_optimizer_and_vectors_are_not_decayed(kind: Any) -> None:
    settings = TrainSettings(optimizer=kind, learning_rate=0.5, weight_decay=0.1, betas=(0.8, 0.9), epsilon=1e-3)
    groups = make_optimizer(make_model("gpt2"), settings, sharded=False).param_groups
    for group in groups:
        assert (group["lr"], tuple(group["betas"]), group["eps"]) == (0.5, (0.8, 0.9), 1e-3)
        decays = {0.1 if parameter.ndim >= 2 else 0.0 for parameter in group["params"]}
        assert decays == {group["weight_decay"]}
    assert {group["weight_decay"] for group in groups} == {0.0, 0.1}
