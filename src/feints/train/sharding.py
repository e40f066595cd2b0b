"""Getting an ordinary model back from one whose tensors were spread over ranks (FSDP2; as a library only)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from feints.train.head import inner_model


def skeleton(model: nn.Module) -> Any:
    """A copy of `model` without values: its shape, to be filled by `gathered` after training."""
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        empty = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)
        memo[id(parameter)] = empty
    return copy.deepcopy(model, memo)


def gathered(sharded: nn.Module, shape: Any) -> Any:
    """`shape` filled with the whole tensors of `sharded`, on the CPU of every rank; a collective call."""
    whole = dict(sharded.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        values: dict[int, nn.Parameter] = {}
        for name, _ in list(shape.named_parameters(remove_duplicate=False)):
            source = whole[name]
            if id(source) not in values:
                tensor = source.full_tensor() if isinstance(source, DTensor) else source.detach()
                values[id(source)] = nn.Parameter(tensor.detach().cpu().clone(), requires_grad=source.requires_grad)
            owner, _, leaf = name.rpartition(".")
            setattr(shape.get_submodule(owner), leaf, values[id(source)])
    inner_model(shape).tie_weights()
    return shape
