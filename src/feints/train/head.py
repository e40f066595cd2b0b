"""The output head apart from the body: nats of wanted tokens in pieces, never all logits at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from feints.errors import StudentError

PIECE_ELEMENTS = 1 << 23
"""Most logits held at a time (32 MiB in float32)."""
BIAS = "final_logits_bias"
"""Buffer that encoder-decoders of BART's kind add to their logits."""


class Head:
    """What turns hidden states into logits: a linear map, with the scale or soft-cap some families add after it."""

    def __init__(self, module: Any, cap: float | None, scale: float) -> None:
        self.module = module
        self.cap = cap
        self.scale = scale
        self._forward: Callable[[Tensor], Tensor] = module.forward

    @property
    def plain(self) -> bool:
        """Whether the fast path holds: nothing but a matrix and perhaps a bias."""
        return type(self.module) is nn.Linear and self.cap is None

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, D] -> [n, V] float32."""
        logits = self._forward(hidden).float()
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)

    def pieces(self, positions: int) -> Iterator[slice]:
        """Slices over `positions` so that no more than PIECE_ELEMENTS logits are held."""
        size = max(1, PIECE_ELEMENTS // self.vocabulary)
        for start in range(0, positions, size):
            yield slice(start, min(start + size, positions))

    @property
    def vocabulary(self) -> int:
        """V."""
        module = self.module.base_layer if hasattr(self.module, "base_layer") else self.module
        return int(module.out_features if hasattr(module, "out_features") else module.weight.shape[0])

    def nll(self, hidden: Tensor, target_ids: Tensor) -> Tensor:
        """[N, D] hidden states and [N] ids -> [N] float32 nats, differentiable."""
        if self.plain:
            dtype = _compute_dtype(hidden)
            apply: Any = _TokenNats.apply
            nats: Tensor = apply(hidden, self.module.weight, self.module.bias, target_ids, self, dtype)
            return nats

        def piece_nats(piece: Tensor, part: slice) -> Tensor:
            return functional.cross_entropy(self.logits(piece), target_ids[part], reduction="none")

        return self.mapped(hidden, piece_nats)

    def mapped(self, hidden: Tensor, function: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """Join `function(hidden[piece], piece)` over pieces; each piece is computed again in the backward pass."""
        results = []
        for part in self.pieces(hidden.shape[0]):
            if torch.is_grad_enabled():
                results.append(checkpoint(function, hidden[part], part, use_reentrant=False))
            else:
                results.append(function(hidden[part], part))
        return torch.cat(results)

    def weighted(self, hidden: Tensor, target_ids: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Sum over n of coefficient times nats, and the [N] nats detached.

        Knowing the coefficients before the backward pass saves computing the logits twice.
        """
        if self.plain:
            dtype = _compute_dtype(hidden)
            weight, bias = self.module.weight, self.module.bias
            apply: Any = _WeightedNats.apply
            total, nats = apply(hidden, weight, bias, target_ids, coefficients, self, dtype)
            return total, nats
        nats = self.nll(hidden, target_ids)
        return (coefficients * nats).sum(), nats.detach()


def _compute_dtype(hidden: Tensor) -> torch.dtype:
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _probabilities(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """[n, D] -> softmax [n, V] float32 and nats [n] float32, stable however improbable a token is."""
    logits = functional.linear(hidden, weight, bias).float()
    if scale != 1.0:
        logits *= scale
    wanted = logits.gather(1, ids[:, None])[:, 0]
    top, place = logits.max(dim=1)
    probabilities = torch.softmax(logits, dim=1)
    normaliser = top - probabilities.gather(1, place[:, None])[:, 0].log()
    return probabilities, normaliser - wanted


class _TokenNats(torch.autograd.Function):
    """Nats of each token; logits are computed piece by piece, and again in the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, head: Head, dtype: torch.dtype
    ) -> Tensor:
        ctx.save_for_backward(hidden, weight, bias, ids)
        ctx.head, ctx.dtype = head, dtype
        cast, vector = weight.to(dtype), None if bias is None else bias.to(dtype)
        nats = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        for part in head.pieces(hidden.shape[0]):
            nats[part] = _probabilities(hidden[part].to(dtype), cast, vector, ids[part], head.scale)[1]
        return nats

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, ids = ctx.saved_tensors
        needs = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], bias is not None and ctx.needs_input_grad[2])
        sums = _Gradients(hidden, weight, bias, needs, ctx.dtype)
        with torch.no_grad():
            kept = grads[0].nonzero()[:, 0]
            for part in ctx.head.pieces(len(kept)):
                rows = kept[part]
                piece = hidden[rows].to(ctx.dtype)
                probabilities, _ = _probabilities(piece, sums.cast, sums.cast_bias, ids[rows], ctx.head.scale)
                sums.add(probabilities, piece, ids[rows], grads[0][rows] * ctx.head.scale, rows)
        return sums.hidden, sums.weight, sums.bias, None, None, None


class _WeightedNats(torch.autograd.Function):
    """Coefficients times nats, summed; gradients are made in the forward pass, from the logits at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor,
        coefficients: Tensor,
        head: Head,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        needs = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], bias is not None and ctx.needs_input_grad[2])
        sums = _Gradients(hidden, weight, bias, needs, dtype)
        nats = torch.empty(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        for part in head.pieces(hidden.shape[0]):
            piece = hidden[part].to(dtype)
            probabilities, nats[part] = _probabilities(piece, sums.cast, sums.cast_bias, ids[part], head.scale)
            if any(needs):
                sums.add(probabilities, piece, ids[part], coefficients[part] * head.scale, part)
        ctx.sums = sums
        ctx.mark_non_differentiable(nats)
        return (coefficients * nats).sum(), nats

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        scale, sums = grads[0], ctx.sums
        ctx.sums = None
        for gradient in (sums.hidden, sums.weight, sums.bias):
            if gradient is not None and scale is not None and scale != 1:
                gradient.mul_(scale.to(gradient.dtype))
        return sums.hidden, sums.weight, sums.bias, None, None, None, None


class _Gradients:
    """Gradients of hidden states and head, filled piece by piece."""

    def __init__(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, needs: tuple[bool, bool, bool], dtype: torch.dtype
    ) -> None:
        self.cast = weight.to(dtype)
        self.cast_bias = None if bias is None else bias.to(dtype)
        self.hidden = torch.zeros_like(hidden) if needs[0] else None
        self.weight = torch.zeros_like(weight) if needs[1] else None
        self.bias = torch.zeros_like(bias) if needs[2] and bias is not None else None

    def add(self, probabilities: Tensor, piece: Tensor, ids: Tensor, factors: Tensor, rows: slice | Tensor) -> None:
        """Add factor times the derivative of nats; overwrites `probabilities`."""
        slopes = probabilities.mul_(factors[:, None])
        slopes.scatter_add_(1, ids[:, None], -factors[:, None])
        cast = slopes.to(piece.dtype)
        if self.hidden is not None:
            self.hidden[rows] = (cast @ self.cast).to(self.hidden.dtype)
        if self.weight is not None:
            if self.weight.dtype == cast.dtype:
                self.weight.addmm_(cast.T, piece)
            else:
                self.weight += cast.T @ piece
        if self.bias is not None:
            self.bias += slopes.sum(dim=0).to(self.bias.dtype)


# ------------------------------------------------------------------------------------------------------ finding it


def inner_model(model: Any) -> Any:
    """The transformers model inside distributed and adapter wrappers."""
    while hasattr(model, "module"):
        model = model.module
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def head_of(model: Any) -> Head:
    """The output head of a model, for logits of hidden states that were kept (`losses.target_hidden`)."""
    inner = inner_model(model)
    tail = _tail(inner)
    return Head(inner.get_output_embeddings(), tail.cap, tail.scale)


def through_head(model: Any, inputs: dict[str, Any], function: Callable[[Tensor, Head], Tensor]) -> Tensor:
    """Call the whole model, but let `function(hidden [rows, width, D], head)` stand where logits are made.

    The result, any 1-d tensor, travels back as if it were logits, so the hooks of distributed wrappers see it.
    """
    inner = inner_model(model)
    tail = _tail(inner)
    module = inner.get_output_embeddings()
    head = Head(module, tail.cap, tail.scale)

    def instead(hidden: Tensor) -> Tensor:
        return function(hidden, head)[None, :, None]

    had = "forward" in vars(module)
    before = module.forward
    module.forward = instead
    try:
        with _without_cap(inner.config, tail), _without_bias(inner):
            output = model(**inputs, use_cache=False)
    finally:
        if had:
            module.forward = before
        else:
            del module.forward
    logits: Tensor = output.logits
    return logits[0, :, 0] if tail.scale == 1.0 else logits[0, :, 0] / tail.scale


class _Tail:
    """What a family does to its logits after the head."""

    def __init__(self, cap: float | None, scale: float) -> None:
        self.cap = cap
        self.scale = scale


@contextmanager
def _without_cap(config: Any, tail: _Tail) -> Iterator[None]:
    if tail.cap is None:
        yield
        return
    config = _cap_config(config)
    config.final_logit_softcapping = None
    try:
        yield
    finally:
        config.final_logit_softcapping = tail.cap


@contextmanager
def _without_bias(inner: Any) -> Iterator[None]:
    """BART and its kin add a row as wide as the vocabulary, zero in nearly all of them (`_tail` refuses the rest)."""
    bias = getattr(inner, BIAS, None)
    if bias is None:
        yield
        return
    setattr(inner, BIAS, bias[:, :1])
    try:
        yield
    finally:
        setattr(inner, BIAS, bias)


def _cap_config(config: Any) -> Any:
    return config if getattr(config, "final_logit_softcapping", None) is not None else config.get_text_config()


def _tail(inner: Any) -> _Tail:
    """Measure, once a model, what follows the head: nothing, a scale, or a soft-cap; anything else is refused."""
    known: _Tail | None = getattr(inner, "_feints_tail", None)
    if known is not None:
        return known
    module = inner.get_output_embeddings()
    if module is None:
        raise StudentError(f"{type(inner).__name__} has no output head, so it cannot learn to write")
    bias = getattr(inner, BIAS, None)
    if bias is not None and bool(bias.any()):
        raise StudentError(
            f"{type(inner).__name__} adds {BIAS} to its logits, and training would leave it out; take a student whose "
            f"{BIAS} is zero"
        )
    cap = getattr(_cap_config(inner.config), "final_logit_softcapping", None)
    tail = _Tail(None if cap is None else float(cap), 1.0)
    probe = torch.tensor([-3.0, -0.5, 0.25, 1.0, 20.0])
    device = next(inner.parameters()).device
    ids = torch.zeros((1, 1), dtype=torch.long, device=device)
    inputs = {"input_ids": ids, **({"decoder_input_ids": ids} if inner.config.is_encoder_decoder else {})}
    module.forward = lambda hidden: probe.to(device)[None, :, None]
    training = inner.training
    inner.eval()
    try:
        with torch.no_grad(), _without_cap(inner.config, tail), _without_bias(inner):
            seen = inner(**inputs, use_cache=False).logits.float().cpu()
    finally:
        del module.forward
        inner.train(training)
    if seen.shape != (1, len(probe), 1) or not torch.allclose(seen[0, :, 0], probe * seen[0, 3, 0], rtol=1e-5):
        raise StudentError(
            f"{type(inner).__name__} changes its logits after the head in a way that is not known here; "
            "take a student whose logits are a linear map of its last hidden state"
        )
    tail.scale = float(seen[0, 3, 0])
    inner._feints_tail = tail
    return tail
