"""The optimiser over what learns: AdamW, or Muon for the hidden matrices of a student trained whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from feints.errors import SettingsError, StudentError
from feints.train.muon import Muon
from feints.train.settings import TrainSettings


def make_optimizer(model: torch.nn.Module, settings: TrainSettings, *, sharded: bool) -> torch.optim.Optimizer:
    """The optimiser of the settings over what learns; biases and norms, being vectors, are not decayed.

    Raises:
        StudentError: nothing learns.
        SettingsError: Muon is asked for weights that are spread over ranks.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not learning:
        raise StudentError("the student has no trainable weights; add an adapter or choose adapter kind: full")
    if settings.optimizer == "muon":
        if sharded:
            raise SettingsError("muon needs whole matrices, and FSDP spreads them over ranks; set optimizer: adamw")
        return _muon(model, learning, settings)
    groups = _decayed_and_not(learning, settings.weight_decay)
    return torch.optim.AdamW(
        groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon, fused=not sharded
    )


def hold_in_full(model: torch.nn.Module) -> dict[str, torch.dtype]:
    """Put what learns into float32, where steps smaller than a digit of bfloat16 add up; what it was in, by name."""
    before = {
        name: parameter.dtype
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16)
    }
    hold_as_before(model, dict.fromkeys(before, torch.float32))
    return before


def hold_as_before(model: torch.nn.Module, dtypes: Mapping[str, torch.dtype]) -> None:
    """Put the parameters of these names into these precisions; those that are shared stay shared."""
    for name, parameter in model.named_parameters():
        if name in dtypes:
            parameter.data = parameter.data.to(dtypes[name])


def _decayed_and_not(learning: list[torch.nn.Parameter], decay: float) -> list[dict[str, object]]:
    groups: list[dict[str, object]] = [
        {"params": [p for p in learning if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _muon(model: torch.nn.Module, learning: list[torch.nn.Parameter], settings: TrainSettings) -> Muon:
    tables = {id(table) for table in _tables(model)}
    matrices = [p for p in learning if p.ndim == 2 and id(p) not in tables]
    hidden = {id(matrix) for matrix in matrices}
    others = [p for p in learning if id(p) not in hidden]
    return Muon(
        matrices,
        _decayed_and_not(others, settings.weight_decay),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=settings.betas,
        eps=settings.epsilon,
    )


def _tables(model: torch.nn.Module) -> Iterator[torch.nn.Parameter]:
    """Weights with a row per word: every embedding, and the head."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Embedding) or name.endswith(("lm_head", "embed_out")):
            yield from module.parameters(recurse=False)
