"""The optimiser: AdamW over what learns."""

from __future__ import annotations

import torch

from feints.errors import StudentError
from feints.train.settings import TrainSettings


def make_optimizer(model: torch.nn.Module, settings: TrainSettings, *, fused: bool) -> torch.optim.Optimizer:
    """AdamW over what learns; biases and norms, being vectors, are not decayed.

    Raises:
        StudentError: nothing learns.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not learning:
        raise StudentError("the student has no trainable weights; add an adapter or choose adapter kind: full")
    groups = [
        {"params": [p for p in learning if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in learning if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        fused=fused,
    )
