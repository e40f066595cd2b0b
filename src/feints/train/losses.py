"""The loss contract, the forward helpers every loss is built from, and the loss most methods need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from feints.errors import SettingsError
from feints.train.attention import use_packed_attention
from feints.train.batch import Batch, Counts
from feints.train.head import Head, inner_model, through_head

Loss = Callable[[Any, Batch, Counts], dict[str, Tensor]]
"""loss(model, batch, counts) -> named terms, each a scalar.

Pure: no random draw, no state. The loss divides by totals of `counts`, which are those of the whole optimiser step; the
loop adds terms up over terms, micro-batches and ranks, and never divides. A total may be 0: a term over nothing is
`per_token(...)`, which gives 0, never a division by zero.
"""

Divisor = Literal["target_tokens", "valid_tokens", "weighted_tokens", "absolute_weight", "examples", "groups"]


# ------------------------------------------------------------------------------------------------- forward helpers


def token_nll(model: Any, batch: Batch) -> Tensor:
    """Nats of each predicted token, -log p(token | all before it): [N] float32, differentiable, undivided."""
    nats = through_head(model, _inputs(model, batch), lambda hidden, head: _wanted(head, hidden, batch))
    _observe(model, batch, nats)
    return nats


Pooling = Literal["last", "mean"]
"""What stands for a text: the state of its last valid token, or the mean over the tokens of its target."""


def last_hidden(
    model: Any, batch: Batch, *, through_prompt: bool = True, pooling: Pooling = "last", observe: bool = False
) -> Tensor:
    """Final-layer hidden state that stands for each example, by default that of its last valid token: [E, D] float32.

    With `through_prompt=False` keys and values of prompt tokens are constants, so the gradient flows through the
    target's own tokens only (Tailored Learning, self-reflection). `observe` also leaves the nats of predicted tokens,
    without a gradient, for the gauges.

    Raises:
        SettingsError: `through_prompt=False` with padded rows.
    """

    def pooled(hidden: Tensor, head: Head) -> Tensor:
        if observe:
            with torch.no_grad():
                _observe(model, batch, _wanted(head, hidden.detach(), batch))
        return _pooled(_flat(hidden).float(), batch, pooling).flatten()

    inputs = _inputs(model, batch, through_prompt=through_prompt)
    return through_head(model, inputs, pooled).view(len(batch.examples), -1)


def nll_and_last_hidden(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """`token_nll` and `last_hidden` from one forward pass: [N] and [E, D]."""

    def both(hidden: Tensor, head: Head) -> Tensor:
        return torch.cat([_wanted(head, hidden, batch), _flat(hidden)[batch.last_index].float().flatten()])

    joined = through_head(model, _inputs(model, batch), both)
    nats = joined[: len(batch.target_ids)]
    _observe(model, batch, nats)
    return nats, joined[len(batch.target_ids) :].view(len(batch.examples), -1)


def target_logits(model: Any, batch: Batch, function: Callable[[Tensor, slice], Tensor]) -> Tensor:
    """Join `function(logits [n, V] float32, slice of the N tokens)` over pieces that never hold all logits.

    `function` returns a flat tensor, the same count of numbers for each of its n tokens. It is called again in the
    backward pass, so it must be pure.
    A frozen teacher joins in by its hidden states (`target_hidden`) and its output embeddings.
    """

    def mapped(hidden: Tensor, head: Head) -> Tensor:
        chosen = _flat(hidden)[batch.hidden_index]
        return head.mapped(chosen, lambda piece, part: function(head.logits(piece), part))

    return through_head(model, _inputs(model, batch), mapped)


def target_hidden(model: Any, batch: Batch) -> Tensor:
    """Hidden state that predicts each token, as the head reads it: [N, D]."""

    def flat(hidden: Tensor, _: Head) -> Tensor:
        return _flat(hidden)[batch.hidden_index].flatten()

    return through_head(model, _inputs(model, batch), flat).view(len(batch.target_ids), -1)


def _pooled(flat: Tensor, batch: Batch, pooling: Pooling) -> Tensor:
    """[T, D] states of all positions -> [E, D]."""
    if pooling == "last":
        return flat[batch.last_index]
    lengths = batch.target_lengths.long()
    owner = torch.arange(len(lengths), device=flat.device).repeat_interleave(lengths)
    before = lengths.cumsum(0) - lengths
    place = torch.arange(len(owner), device=flat.device) - before[owner]
    chosen = flat[(batch.last_index - lengths + 1)[owner] + place]
    sums = flat.new_zeros((len(lengths), flat.shape[1])).index_add(0, owner, chosen)
    return sums / batch.target_lengths[:, None]


def _wanted(head: Head, hidden: Tensor, batch: Batch) -> Tensor:
    return head.nll(_flat(hidden)[batch.hidden_index], batch.target_ids)


def _flat(hidden: Tensor) -> Tensor:
    return hidden.reshape(-1, hidden.shape[-1])


def _observe(model: Any, batch: Batch, nats: Tensor) -> None:
    """Leave the nats of this model for the loop's gauges, which ask for the student's only."""
    batch.observed.setdefault(id(model), nats.detach())


def _inputs(model: Any, batch: Batch, *, through_prompt: bool = True) -> dict[str, Any]:
    if batch.packing is None:
        if not through_prompt:
            raise SettingsError("a loss that stops gradients at the prompt needs packed rows; set rows: packed")
        return dict(batch.inputs)
    use_packed_attention(inner_model(model))
    packing = batch.packing
    if not through_prompt:
        spans = [flag for example in batch.examples for flag in _prompt_flags(example.prompt_ids, example.target_ids)]
        packing = replace(packing, frozen=torch.tensor(spans, device=batch.weights.device))
    # A four-dimensional mask is handed through untouched by transformers, which then builds none of its own.
    stub = batch.weights.new_zeros((1, 1, 1, 1))
    return {**batch.inputs, "attention_mask": stub, "packing": packing}


def _prompt_flags(prompt: Sequence[int], target: Sequence[int]) -> list[bool]:
    return [True] * len(prompt) + [False] * len(target)


# ---------------------------------------------------------------------------------------------------------- losses


def per_token(total: Tensor, divisor: float) -> Tensor:
    """`total` / `divisor`; 0 with a gradient of 0 where the whole step has nothing of the kind."""
    return total / divisor if divisor else total * 0.0


def weighted_nll(divisor: Divisor = "target_tokens") -> Loss:
    """Weighted negative log-likelihood.

        L = sum_n w_n * nll_n / divisor

    over the predicted tokens of the step, in nats. With weights 1 on targets and the default divisor this is plain
    chain-of-thought fine-tuning (the mean over target tokens). Weights may be negative, so the divisor is a count or
    the sum of absolute weights, never the signed sum.

    Twin: `sum(w * -log_softmax(model(ids).logits)[t-1, ids[t]]) / count` in tests/train/test_losses.py.
    """

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        total = float(getattr(counts, divisor))
        coefficients = batch.weights / total if total else torch.zeros_like(batch.weights)
        seen: list[Tensor] = []

        def reduced(hidden: Tensor, head: Head) -> Tensor:
            chosen = _flat(hidden)[batch.hidden_index]
            value, nats = head.weighted(chosen, batch.target_ids, coefficients)
            seen.append(nats)
            return value[None]

        value = through_head(model, _inputs(model, batch), reduced)[0]
        _observe(model, batch, seen[0])
        return {"nll": value}

    return loss
