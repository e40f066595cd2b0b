"""NEG and NAT on disk: a LoRA addition as peft saves it, and the adapter file of NEG, POS and units. Torch-side."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from feints.errors import StudentError
from feints.train.checkpoint import storage_errors
from feints.train.integrate import NatPlan, add_units, added_tensors, attention_projections, layers
from feints.train.settings import AdapterSettings

UNIT_FILE = "nat.safetensors"
UNIT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A saved LoRA addition in peft's format."""

    tensors: Mapping[str, Tensor]
    """By path and `lora_A` or `lora_B`."""
    rank: int
    """Its rank."""
    scale: float
    """What its product is multiplied by."""


def read_adapter(folder: Path) -> Adapter:
    """A LoRA addition saved by peft in `folder`.

    Raises:
        StudentError: it is no plain LoRA addition, or cannot be read.
    """
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        found = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise StudentError(f"{folder} holds no adapter that can be read ({error}); train NEG again") from error
    if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("rank_pattern"):
        raise StudentError(f"the adapter in {folder} is not a plain LoRA addition; NEG must be one")
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
    tensors = {name.removeprefix("base_model.model.").removesuffix(".weight"): t for name, t in found.items()}
    return Adapter(tensors=tensors, rank=rank, scale=scale)


def take_negative(model: Any, adapter: Adapter) -> None:
    """Copy a saved LoRA addition into the place of NEG.

    Raises:
        StudentError: it was trained on other projections.
    """
    placed = dict(layers(model))
    wanted = {f"{path}.{side}" for path in placed for side in ("lora_A", "lora_B")}
    if wanted != set(adapter.tensors):
        other = sorted(wanted ^ set(adapter.tensors))
        raise StudentError(
            f"NEG was trained on other projections than NAT integrates; {len(other)} tensors are on one side only, "
            f"{other[0]} first; train both with the same student.adapter.modules"
        )
    with torch.no_grad():
        for name, tensor in adapter.tensors.items():
            path, _, side = name.rpartition(".")
            neg = placed[path].neg
            assert neg is not None
            (neg.a if side == "lora_A" else neg.b).copy_(tensor)


def plan_of(
    model: Any, adapter: AdapterSettings, negative: Adapter | None, *, width: int, weigh: bool, released: bool = False
) -> NatPlan:
    """The plan for a model: POS as `adapter` says, NEG as it was saved (None for zeros)."""
    return NatPlan(
        modules=attention_projections(model) if adapter.modules == "linear" else tuple(adapter.modules),
        rank=adapter.rank,
        scale=adapter.alpha / adapter.rank,
        dropout=adapter.dropout,
        neg_rank=negative.rank if negative else 0,
        neg_scale=negative.scale if negative else 0.0,
        width=width,
        weigh=weigh,
        stop_at_pad=released,
    )


def save_units(model: Any, plan: NatPlan, folder: Path) -> None:
    """Write POS, NEG and the units beside the base weights in `folder`, as one adapter file.

    Raises:
        StorageError: it cannot be written.
    """
    head = {"version": UNIT_VERSION, **asdict(plan)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in added_tensors(model).items()}
    with storage_errors("the adapter", folder):
        save_file(tensors, folder / UNIT_FILE, metadata={"nat": json.dumps(head)})


def read_plan(folder: Path) -> NatPlan:
    """What the adapter file in `folder` says of itself.

    Raises:
        StudentError: there is none, or one that cannot be read.
    """
    try:
        with safe_open(folder / UNIT_FILE, framework="pt") as opened:
            head = json.loads((opened.metadata() or {})["nat"])
        if head.pop("version") != UNIT_VERSION:
            raise ValueError("another version")
        return NatPlan(**{**head, "modules": tuple(head["modules"])})
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise StudentError(f"{folder / UNIT_FILE} cannot be read ({error}); train NAT again") from error


def take_units(model: Any, folder: Path) -> NatPlan:
    """Add the layers saved in `folder` to the base model they were trained on, frozen, in the model's precision.

    Raises:
        StudentError: the file cannot be read or belongs to another model.
    """
    plan = read_plan(folder)
    add_units(model, plan, seed=0)
    own, saved = added_tensors(model), load_file(folder / UNIT_FILE)
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in saved.items()}:
        raise StudentError(f"{folder / UNIT_FILE} belongs to another model than the weights beside it")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(saved[name])
    for _, layer in layers(model):
        layer.requires_grad_(False)
        for part in (layer.pos, layer.neg, layer.unit):
            if part is not None:
                part.to(model.dtype)
    return plan
