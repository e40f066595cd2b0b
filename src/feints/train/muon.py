"""Muon: momentum made orthogonal for hidden matrices, AdamW for the rest; learns more from few examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic that drives singular values towards 1 fastest (Jordan et al., 2024)."""
_ROUNDS = 5
_MATCHED = 0.2
"""Root mean square of an AdamW update; updates are scaled to it, so that one learning rate serves both (Liu et al.,
2025, eq. 4)."""


class Muon(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024) over matrices, AdamW over all else.

    The update of a matrix is U V^T of its momentum's singular value decomposition, found by Newton-Schulz iteration in
    bfloat16, times 0.2 sqrt(max(rows, columns)). Matrices of one shape are iterated together.

    Args:
        matrices: hidden weights, each of two dimensions; embeddings, heads and vectors belong to `others`.
        others: groups for AdamW; a group may set its own weight_decay.
        lr: learning rate of both.
        weight_decay: decoupled, of the matrices.
        momentum: of the matrices.
        betas: moments of AdamW.
        eps: added to AdamW's denominator.
    """

    def __init__(
        self,
        matrices: Sequence[Tensor],
        others: Sequence[dict[str, Any]],
        *,
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        groups = [
            {"params": list(matrices), "weight_decay": weight_decay, "orthogonal": True},
            *({"orthogonal": False, **group} for group in others),
        ]
        defaults = {"lr": lr, "weight_decay": 0.0, "momentum": momentum, "betas": betas, "eps": eps}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            learning = [parameter for parameter in group["params"] if parameter.grad is not None]
            if learning:
                (self._orthogonal if group["orthogonal"] else self._adam)(learning, group)
        return loss

    def _orthogonal(self, learning: list[Tensor], group: dict[str, Any]) -> None:
        by_shape = defaultdict[tuple[int, ...], list[Tensor]](list)
        for parameter in learning:
            by_shape[tuple(parameter.shape)].append(parameter)
        for shape, parameters in by_shape.items():
            directions = torch.stack([self._nesterov(parameter, group["momentum"]) for parameter in parameters])
            size = group["lr"] * _MATCHED * max(shape) ** 0.5
            for parameter, update in zip(parameters, orthogonal(directions), strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update.to(parameter.dtype), alpha=-size)

    def _nesterov(self, parameter: Tensor, momentum: float) -> Tensor:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        mean: Tensor = state["momentum"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)

    def _adam(self, learning: list[Tensor], group: dict[str, Any]) -> None:
        for parameter in learning:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        states = [self.state[parameter] for parameter in learning]
        torch.optim._functional.adamw(  # type: ignore[attr-defined]
            learning,
            [parameter.grad for parameter in learning if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly U V^T of each matrix = U S V^T; shape (count, rows, columns), singular values end between 0.7 and 1.2."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).to(torch.bfloat16)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
