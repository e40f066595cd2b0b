"""One example as a row: where its prompt ends, what is predicted from where; rows packed or padded. For batch.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from feints.errors import DataError
from feints.records import Example

Array = NDArray[Any]
Rows = Literal["packed", "padded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How examples become rows."""

    rows: Rows
    """`packed`: all texts of a micro-batch in one row, no padding; `padded`: one text a row, of similar length."""
    micro_tokens: int
    """Most tokens of a micro-batch, padding included; a group that is longer stands alone."""
    seq2seq: bool
    """Encoder-decoder: prompts go to the encoder, targets to the decoder."""
    pad_id: int
    """Fills the ends of padded rows; never attended to, never learnt, so for a causal model any id will do."""
    start_id: int = 0
    """First token of the decoder of an encoder-decoder."""


@dataclass(frozen=True, slots=True)
class Packing:
    """Where the texts of one packed row begin and end."""

    lengths: tuple[int, ...]
    """Tokens of each text, in order."""
    pad_index: Tensor
    """[texts * longest]: flat position of each slot of the padded rectangle; empty slots point at 0."""
    flat_index: Tensor
    """[tokens]: slot of the rectangle that holds each flat position."""
    frozen: Tensor | None = None
    """[tokens], true where keys and values pass no gradient; None for nowhere."""


@dataclass(frozen=True, slots=True)
class Row:
    """One example as arrays, made once."""

    encoder: Array
    ids: Array
    predictors: Array
    predicted: Array
    weights: Array
    is_prompt: Array
    target_tokens: int
    valid_tokens: int
    weighted_tokens: int
    absolute_weight: float

    @property
    def length(self) -> int:
        """Tokens the model reads; for an encoder-decoder those of its longer side."""
        return max(len(self.ids), len(self.encoder))

    @property
    def length_out(self) -> int:
        """Hidden states the head could read."""
        return len(self.ids)

    @classmethod
    def of(cls, example: Example, layout: Layout) -> Row:
        """Arrays of one example.

        Raises:
            DataError: it cannot be learnt.
        """
        prompt, target = len(example.prompt_ids), len(example.target_ids)
        if not target or not prompt:
            side = "target" if prompt else "prompt"
            raise DataError(f"example {example.id!r} has an empty {side}; leave it out or mend the step that made it")
        if len(example.weights) != prompt + target:
            raise DataError(
                f"example {example.id!r} has {len(example.weights)} weights for {prompt} prompt and {target} target "
                "tokens; there must be one for each"
            )
        weights = np.array(example.weights, dtype=np.float32)
        if not np.isfinite(weights).all():
            raise DataError(f"example {example.id!r} has a weight that is not finite; mend the step that set it")
        if layout.seq2seq:
            return cls._seq2seq(example, weights, layout.start_id)
        ids = np.array(example.prompt_ids + example.target_ids, dtype=np.int64)
        wanted = weights != 0
        wanted[prompt:] = True
        wanted[0] = False
        places = np.flatnonzero(wanted)
        return cls(
            encoder=ids[:0],
            ids=ids,
            predictors=places - 1,
            predicted=ids[places],
            weights=weights[places],
            is_prompt=places < prompt,
            target_tokens=target,
            valid_tokens=prompt + target - 1,
            weighted_tokens=int(np.count_nonzero(weights[1:])),
            absolute_weight=float(np.abs(weights[1:], dtype=np.float64).sum()),
        )

    @classmethod
    def _seq2seq(cls, example: Example, weights: Array, start_id: int) -> Row:
        prompt, target = len(example.prompt_ids), len(example.target_ids)
        if weights[:prompt].any():
            raise DataError(
                f"example {example.id!r} has weights on its prompt, which an encoder-decoder never predicts; "
                "set them to 0 or take a causal student"
            )
        ids = np.array(example.target_ids, dtype=np.int64)
        return cls(
            encoder=np.array(example.prompt_ids, dtype=np.int64),
            ids=np.concatenate([[start_id], ids]),
            predictors=np.arange(target),
            predicted=ids,
            weights=weights[prompt:],
            is_prompt=np.zeros(target, dtype=bool),
            target_tokens=target,
            valid_tokens=target,
            weighted_tokens=int(np.count_nonzero(weights)),
            absolute_weight=float(np.abs(weights, dtype=np.float64).sum()),
        )


def _rectangle(arrays: Sequence[Array], fill: int) -> tuple[Array, Array]:
    """Right-padded [B, longest] and the mask of its valid places."""
    lengths = np.array([len(array) for array in arrays])
    valid = np.arange(lengths.max())[None, :] < lengths[:, None]
    filled = np.full(valid.shape, fill, dtype=np.int64)
    filled[valid] = np.concatenate(arrays)
    return filled, valid


def packing_of(lengths: Sequence[int], device: torch.device | str) -> Packing:
    """How texts of these lengths, end to end, fold into a rectangle and back."""
    valid = np.arange(max(lengths))[None, :] < np.array(lengths)[:, None]
    pad_index = np.zeros(valid.shape, dtype=np.int64)
    pad_index[valid] = np.arange(sum(lengths))
    flat_index = torch.from_numpy(np.flatnonzero(valid))
    return Packing(tuple(lengths), torch.from_numpy(pad_index.reshape(-1)).to(device), flat_index.to(device))


def lay_out(
    rows: Sequence[Row], layout: Layout, device: torch.device | str
) -> tuple[dict[str, Tensor], Packing | None, list[int]]:
    """Model inputs, borders of a packed row, and the flat position at which each example begins.

    A right-padded causal row needs no mask: nothing valid comes after the padding, and a causal model looks back only.
    """
    lengths = [len(row.ids) for row in rows]
    if layout.rows == "packed":
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        positions = np.concatenate([np.arange(length) for length in lengths])
        inputs = {
            "input_ids": torch.from_numpy(np.concatenate([row.ids for row in rows]))[None],
            "position_ids": torch.from_numpy(positions)[None],
        }
        return inputs, packing_of(lengths, device), [int(start) for start in starts]
    ids, _ = _rectangle([row.ids for row in rows], layout.pad_id)
    starts_padded = [number * ids.shape[1] for number in range(len(rows))]
    if not layout.seq2seq:
        return {"input_ids": torch.from_numpy(ids)}, None, starts_padded
    encoder, mask = _rectangle([row.encoder for row in rows], layout.pad_id)
    inputs = {
        "input_ids": torch.from_numpy(encoder),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
        "decoder_input_ids": torch.from_numpy(ids),
    }
    return inputs, None, starts_padded
