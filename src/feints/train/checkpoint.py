"""Checkpoints that appear whole or not at all, and bring back a run exactly: weights, optimiser, position, chance."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule

from feints.errors import SettingsError, StorageError

CHECKPOINT_VERSION = 1
_PREFIX = "checkpoint-"
_REPLACED = "-replaced"


@dataclass(kw_only=True)
class Progress:
    """Where a run stands; everything that is not a tensor."""

    fingerprint: str
    """Hash of settings, examples and student; a checkpoint of another run is refused."""
    step: int = 0
    """Optimiser steps done."""
    epoch: int = 0
    """Epoch under way, from 0."""
    step_in_epoch: int = 0
    """Steps of it done."""
    tokens: int = 0
    """Tokens read by the model, prompts included."""
    target_tokens: int = 0
    """Of them in targets."""
    passes: int = 0
    """Texts sent forward in training, once for each model that reads them (a reference, NEG beside NAT)."""
    seconds: float = 0.0
    """Time spent."""
    metrics_bytes: int = 0
    """Length of the metrics file; what is longer belongs to work that is done again."""
    best_epoch: int | None = None
    """Epoch whose weights are kept, from 1."""
    best_score: float | None = None
    """Its score, higher is better."""
    validation: list[dict[str, float]] = field(default_factory=list)
    """One record of every validation pass."""
    last_loss: float = float("nan")
    """Mean loss of the last window of steps."""
    window: list[float] = field(default_factory=list)
    """Sums of the window of metrics under way."""


@contextmanager
def storage_errors(what: str, path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one clear error.

    Raises:
        StorageError: the disk is full, read-only or gone.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{what} cannot be written to {path}: {error}; make room or name another folder") from error
    except RuntimeError as error:
        if not any(word in str(error) for word in ("PytorchStreamWriter", "unexpected pos", "write", "open file")):
            raise
        raise StorageError(f"{what} cannot be written to {path}: {error}; make room or name another folder") from error


def is_sharded(model: Any) -> bool:
    """Whether the tensors of `model` are spread over ranks (FSDP2)."""
    return isinstance(model, FSDPModule)


def trainable_state(model: Any) -> dict[str, Tensor]:
    """Trained tensors by name, whole and on the CPU; a collective call when the model is sharded."""
    if is_sharded(model):
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        whole: dict[str, Any] = dict(get_model_state_dict(model, options=options))
        return whole
    return {
        name: parameter.detach().cpu().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_trainable_state(model: Any, state: dict[str, Tensor]) -> None:
    """Put `trainable_state` back in place."""
    if is_sharded(model):
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True, strict=False)
        set_model_state_dict(model, dict(state), options=options)
        return
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in state.items():
            parameters[name].copy_(tensor)


def optimizer_state(model: Any, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """State of the optimiser, whole; a collective call when the model is sharded."""
    if is_sharded(model):
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        return dict(get_optimizer_state_dict(model, optimizer, options=options))
    return optimizer.state_dict()


def load_optimizer_state(model: Any, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Put `optimizer_state` back in place."""
    if is_sharded(model):
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_optimizer_state_dict(model, optimizer, state, options=options)
        return
    optimizer.load_state_dict(state)


def random_state() -> dict[str, Any]:
    """State of every generator of this process, as plain bytes and numbers."""
    legacy: Any = np.random.get_state()
    name, keys, *rest = legacy
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "torch": _bytes(torch.get_rng_state()),
        "cuda": [_bytes(state) for state in devices],
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), *rest),
    }


def load_random_state(state: dict[str, Any]) -> None:
    """Put `random_state` back."""
    torch.set_rng_state(torch.frombuffer(bytearray(state["torch"]), dtype=torch.uint8))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(
            [torch.frombuffer(bytearray(device), dtype=torch.uint8) for device in state["cuda"]]
        )
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))


@contextmanager
def generators_left_alone() -> Iterator[None]:
    """Whatever is drawn inside, the caller's random numbers go on as if it had not been."""
    before = random_state()
    try:
        yield
    finally:
        load_random_state(before)


def _bytes(state: Tensor) -> bytes:
    return state.cpu().numpy().tobytes()


def write_checkpoint(
    folder: Path,
    progress: Progress,
    weights: dict[str, Tensor],
    optimizer: dict[str, Any],
    randoms: list[dict[str, Any]],
) -> None:
    """Write `checkpoint-<step>` under `folder`, whole or not at all, then remove older ones.

    Raises:
        StorageError: the disk refuses; the checkpoint before stays.
    """
    final = folder / f"{_PREFIX}{progress.step:09d}"
    partial = folder / f".partial-{progress.step:09d}"
    with storage_errors("a checkpoint", final):
        for left in folder.glob(".partial-*"):  # of a killed process
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            save_tensors(weights, partial / "weights.safetensors")
            torch.save({"optimizer": optimizer, "randoms": randoms}, partial / "state.pt")
            _write_text(partial / "progress.json", json.dumps({"version": CHECKPOINT_VERSION, **asdict(progress)}))
            for path in partial.iterdir():
                _sync(path)
            if final.exists():  # of the same step: it stays whole until the new one is there
                replaced = final.with_name(final.name + _REPLACED)
                shutil.rmtree(replaced, ignore_errors=True)
                final.rename(replaced)
            partial.rename(final)
            _sync(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    for older in _checkpoints(folder):
        if older != final:
            shutil.rmtree(older, ignore_errors=True)


def read_progress(folder: Path, fingerprint: str) -> tuple[Path, Progress] | None:
    """The newest whole checkpoint under `folder`, or None.

    Raises:
        SettingsError: it belongs to another run.
        StorageError: it is damaged, or of another version.
    """
    found = _checkpoints(folder)
    if not found:
        return None
    try:
        record = json.loads((found[-1] / "progress.json").read_text(encoding="utf-8"))
        version = record.pop("version")
        progress = Progress(**record) if version == CHECKPOINT_VERSION else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"the checkpoint {found[-1]} is damaged ({error}); remove it to start again") from error
    if progress is None:
        raise StorageError(
            f"the checkpoint {found[-1]} is of version {version}, this is {CHECKPOINT_VERSION}; remove it"
        )
    if progress.fingerprint != fingerprint:
        raise SettingsError(
            f"{folder} holds a checkpoint of a run with other settings, examples or weights; "
            "name another folder, or remove it to start again"
        )
    return found[-1], progress


def read_tensors(checkpoint: Path) -> tuple[dict[str, Tensor], dict[str, Any], list[dict[str, Any]]]:
    """Weights, optimiser state and random states of a checkpoint.

    Raises:
        StorageError: a file is damaged.
    """
    try:
        weights = load_file(checkpoint / "weights.safetensors")
        rest = torch.load(checkpoint / "state.pt", map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, LookupError, ValueError, UnpicklingError) as error:
        raise StorageError(f"the checkpoint {checkpoint} is damaged ({error}); remove it to start again") from error
    return weights, rest["optimizer"], rest["randoms"]


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, replacing `path` at once.

    Raises:
        StorageError: the disk refuses.
    """
    with storage_errors("weights", path):
        partial = path.with_name(f".{path.name}.partial")
        try:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial)
            _sync(partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `save_tensors` wrote.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{path} is missing or damaged ({error}); remove its folder to train again") from error


def _checkpoints(folder: Path) -> list[Path]:
    """The last is the newest whole one; one that is being replaced comes before the one that replaces it."""
    found = [path for path in folder.glob(f"{_PREFIX}*") if path.is_dir()]
    return sorted(found, key=lambda path: (path.name.removesuffix(_REPLACED), not path.name.endswith(_REPLACED)))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _sync(path: Path) -> None:
    """Ask the disk to keep what was written (folders too, where the system allows opening them)."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
