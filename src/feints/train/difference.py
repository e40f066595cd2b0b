"""The difference between a trained student and its base as one LoRA adapter, however it was trained. Torch-side."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from feints.errors import SettingsError
from feints.train.checkpoint import storage_errors

_EXACT = 1e-5
"""Share of a difference that is rounding in any case."""
_DROWNED = 0.1
"""Share from which rounding of merged weights counts as too much."""
_SPARE = 8
_LARGE = 512


def write_difference(base: Path, student: Path, folder: Path, *, max_rank: int) -> int:
    """Write the adapter that makes `base` answer as `student`, in peft's format, and return its rank.

    Students are kept merged, and a round goes on from the last one, so the additions of several trainings have
    summed up; the sum of adapters is one of higher rank, found here by a decomposition of each layer's difference.

    Raises:
        SettingsError: something other than linear layers differs, or by more than `max_rank` holds.
    """
    halves: dict[str, tuple[Tensor, Tensor]] = {}
    linear = _linear_layers(base)
    for name, before, after in _tensors(base, student):
        delta = after.float() - before.float()
        if not delta.any():
            continue
        path = name.removesuffix(".weight")
        if path not in linear:
            raise SettingsError(
                f"{student} differs from {base} in {name}, which no adapter holds; an endpoint serves adapters, so "
                "set student.adapter.kind: lora"
            )
        noise = torch.finfo(after.dtype).eps * float(after.float().norm())
        halves[path] = _halves(delta.T if linear[path] else delta, path, noise, max_rank)
    if not halves:
        raise SettingsError(f"{student} does not differ from {base}; ask the endpoint for the base itself")
    rank = max(a.shape[0] for a, _ in halves.values())
    tensors = {}
    for path, (a, b) in halves.items():
        tensors[f"base_model.model.{path}.lora_A.weight"] = _padded(a, rank, 0)
        tensors[f"base_model.model.{path}.lora_B.weight"] = _padded(b, rank, 1)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": _named(halves, linear),
        "fan_in_fan_out": any(linear[path] for path in halves),
        "base_model_name_or_path": None,
        "inference_mode": True,
    }
    with storage_errors("the adapter", folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return rank


def _named(changed: Collection[str], linear: Collection[str]) -> list[str]:
    """Layers by the last part of their paths, as servers know them, where that means exactly these."""
    short = {path.rpartition(".")[2] for path in changed}
    exact = all(path in changed for path in linear if path.rpartition(".")[2] in short)
    return sorted(short if exact else changed)


def _linear_layers(folder: Path) -> dict[str, bool]:
    """Paths of the layers an adapter may change; whether their weights are stored transposed. No weights are read."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if config.is_encoder_decoder:
        raise SettingsError("an endpoint serves causal students; leave student_endpoint out for an encoder-decoder")
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config)
    kinds = {path: type(module).__name__ for path, module in model.named_modules()}
    return {
        path: kind == "Conv1D" for path, kind in kinds.items() if kind in ("Linear", "Conv1D") and path != "lm_head"
    }


def _tensors(base: Path, student: Path) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Every weight before and after, one at a time."""
    before, after = tensor_places(base), tensor_places(student)
    if set(before) != set(after):
        other = sorted(set(before) ^ set(after))
        raise SettingsError(
            f"{student} and {base} do not hold the same weights ({other[0]} is in one only); an endpoint that serves "
            f"{base.name} cannot serve it"
        )
    for name, file in before.items():
        with safe_open(file, framework="pt") as one, safe_open(after[name], framework="pt") as other_:
            yield name, one.get_tensor(name), other_.get_tensor(name)


def tensor_places(folder: Path) -> dict[str, Path]:
    """The file of each tensor of a student's folder, by name."""
    found: dict[str, Path] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            found |= dict.fromkeys(tensors.keys(), file)
    return found


def _halves(delta: Tensor, path: str, noise: float, max_rank: int) -> tuple[Tensor, Tensor]:
    """A [rank, in] and B [out, rank] with B A = delta, of the least rank that loses rounding alone."""
    most, allowed = min(max_rank, *delta.shape), max(_EXACT, noise / float(delta.norm()))
    if allowed > _DROWNED:
        raise SettingsError(
            f"what was learnt in {path} is hardly more than the rounding of its merged weights; an endpoint is given "
            "the difference, so set student.dtype: float32"
        )
    left, values, right = _decomposed(delta, most)
    rest = (delta - (left * values) @ right.T).double().square().sum()
    squares = values.double().square()
    lost = (rest + squares.sum() - squares.cumsum(0)).clamp(min=0).sqrt() / delta.double().norm()
    enough = (lost[:most] <= allowed).nonzero()
    if not len(enough):
        raise SettingsError(
            f"what was learnt in {path} is of a rank above {most}: {lost[most - 1]:.1%} of it would be lost; an "
            "endpoint serves adapters, so set student.adapter.kind: lora, or raise student_endpoint.max_rank"
        )
    rank = int(enough[0]) + 1
    root = values[:rank].sqrt()
    return (right[:, :rank] * root).T.contiguous(), (left[:, :rank] * root).contiguous()


def _decomposed(delta: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Left vectors, values and right vectors: all of a small layer, the first of a large one."""
    if min(delta.shape) <= _LARGE:
        left, values, right = torch.linalg.svd(delta, full_matrices=False)
        return left, values, right.T
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found: tuple[Tensor, Tensor, Tensor] = torch.svd_lowrank(delta, q=min(most + _SPARE, *delta.shape), niter=4)
    return found


def _padded(half: Tensor, rank: int, side: int) -> Tensor:
    missing = list(half.shape)
    missing[side] = rank - half.shape[side]
    return torch.cat([half, half.new_zeros(missing)], dim=side).contiguous()
