"""Attention for packed rows: each text of a row sees itself only, and no time is spent on padding elsewhere.

Linear layers, norms and the head work on one row without padding; only inside attention the row is folded into a
rectangle, one text a line, where a causal mask alone keeps padding out of sight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from feints.errors import SettingsError
from feints.train.rows import Packing, packing_of

NAME = "feints_packed"


class _Fold(torch.autograd.Function):
    """[tokens, ...] to [slots, ...]; the way back is the inverse gather, so both directions are plain copies."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, pad_index: Tensor, flat_index: Tensor) -> Tensor:
        ctx.save_for_backward(flat_index)
        return flat.index_select(0, pad_index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (flat_index,) = ctx.saved_tensors
        return grads[0].index_select(0, flat_index), None, None


class _Unfold(torch.autograd.Function):
    """[slots, ...] to [tokens, ...]; slots of padding get no gradient."""

    @staticmethod
    def forward(ctx: Any, folded: Tensor, flat_index: Tensor) -> Tensor:
        ctx.save_for_backward(flat_index)
        ctx.slots = folded.shape[0]
        return folded.index_select(0, flat_index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (flat_index,) = ctx.saved_tensors
        folded = grads[0].new_zeros((ctx.slots, *grads[0].shape[1:]))
        return folded.index_copy_(0, flat_index, grads[0]), None


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention [1, heads, tokens, width] -> [1, tokens, heads, width] within each text.

    Without `packing` it is transformers' own attention, so a model left in this mode still generates as before.
    """
    if packing is None:
        output, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
        return output, None
    if kwargs.get("softcap") is not None or kwargs.get("position_bias") is not None:
        raise SettingsError("this student's attention has a soft-cap or a position bias; set rows: padded")
    texts, longest = len(packing.lengths), max(packing.lengths)

    def fold(states: Tensor) -> Tensor:
        flat = states[0].transpose(0, 1)
        apply: Any = _Fold.apply
        folded: Tensor = apply(flat, packing.pad_index, packing.flat_index)
        return folded.view(texts, longest, *folded.shape[1:]).transpose(1, 2)

    if packing.frozen is not None:
        frozen = packing.frozen[None, None, :, None]
        key, value = torch.where(frozen, key.detach(), key), torch.where(frozen, value.detach(), value)
    if texts > 1:
        query, key, value = fold(query), fold(key), fold(value)
    window = kwargs.pop("sliding_window", None)
    mask = _band(longest, window, query.device) if window is not None and window < longest else None
    kwargs["is_causal"] = mask is None
    output, _ = sdpa_attention_forward(module, query, key, value, mask, **kwargs)
    if texts > 1:
        unfold: Any = _Unfold.apply
        output = unfold(output.reshape(texts * longest, *output.shape[2:]), packing.flat_index)[None]
    return output, None


def _band(length: int, window: int, device: torch.device) -> Tensor:
    """True where a position may look: itself and the `window` - 1 before it."""
    place = torch.arange(length, device=device)
    behind = place[:, None] - place[None, :]
    return ((behind >= 0) & (behind < window))[None, None]


def use_packed_attention(model: Any) -> None:
    """Let a transformers model take packed rows from now on; what it does otherwise stays the same.

    Raises:
        SettingsError: its attention is of a kind that cannot be replaced.
    """
    if model.config._attn_implementation == NAME:
        return
    if model.config._attn_implementation != "sdpa":
        raise SettingsError(
            f"packed rows need a student with transformers' sdpa attention, this one has "
            f"{model.config._attn_implementation!r}; set rows: padded"
        )
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.set_attn_implementation(NAME)


def restore_attention(model: Any) -> None:
    """Undo `use_packed_attention`."""
    if model.config._attn_implementation == NAME:
        model.set_attn_implementation("sdpa")


def texts_stay_apart(model: Any) -> bool:
    """Whether a packed row gives each text what it gets alone: found out by trying, since families differ.

    State-space and convolution layers, or a family that does not hand `packing` to its attention, fail here.
    """
    device = next(model.parameters()).device
    first, second = [3, 1, 2, 1, 3, 2], [2, 3, 1, 1]

    def logits(texts: list[list[int]]) -> Tensor:
        ids = torch.tensor([[token for text in texts for token in text]], device=device)
        places = torch.tensor([[place for text in texts for place in range(len(text))]], device=device)
        packing = packing_of([len(text) for text in texts], device)
        stub = torch.zeros((1, 1, 1, 1), device=device)
        inputs = {"input_ids": ids, "position_ids": places, "attention_mask": stub, "packing": packing}
        found: Tensor = model(**inputs, use_cache=False).logits
        return found[0, -len(second) :].float()

    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone, beside = logits([second]), logits([first, second])
            edited = logits([first[::-1], second])
    except (TypeError, ValueError, RuntimeError, SettingsError):
        return False
    finally:
        model.train(training)
    return torch.equal(beside, edited) and torch.allclose(alone, beside, rtol=1e-2, atol=1e-2)
