"""Lanes of a running decode: the texts of one prompt side by side, keys and values in room made beforehand.

Torch-side: imports torch and transformers at the top, so nothing of the core imports this file at load.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache
from transformers.cache_utils import DynamicLayer

from feints.generate.anatomy import context_of, decoder_start, groups_heads, require_attention

_HEADROOM = 128
"""Steps for which columns are made at a time beyond those in use."""
_SHARE = 4
"""Most texts in a lane: each reads the columns of all, so more would cost more arithmetic than they save reading."""


class Lanes(Protocol):
    """What the decode loop needs of a model: open lanes, advance all of them, keep some.

    A lane holds `share` seats for texts of one prompt; seat s of lane l is number `l * share + s`.
    """

    joins: bool
    """Whether lanes may be opened while others run."""
    rows: int
    """Lanes there are, running or not."""
    share: int
    """Seats of a lane."""

    def open(self, slots: Sequence[int], prompts: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Start `prompts` in the lanes `slots`, equal prompts computed once; next-token logits [len(slots), V]."""
        ...

    def step(self, tokens: torch.Tensor, running: np.ndarray) -> torch.Tensor:
        """Append one token to every seat [rows * share]; logits of the next [rows * share, V].

        Both mean nothing where a seat is not `running`.
        """
        ...

    def keep(self, slots: Sequence[int]) -> None:
        """Drop every other lane."""
        ...


def open_lanes(model: Any, texts: int, pad: int, *, seq2seq: bool, samples: int = 1) -> Lanes:
    """Empty lanes for `texts` texts side by side, `samples` of a prompt in turn (see `decode`).

    Raises:
        StudentError: the model keeps a state that cannot be shared or dropped row by row.
    """
    require_attention(model.config)
    config = model.config.get_text_config(decoder=True)
    if seq2seq:
        return _SeqToSeqLanes(model, texts, pad)
    share = max(1, min(samples, texts, _SHARE)) if _takes_whole_masks(model) and not groups_heads(config) else 1
    return _CausalLanes(model, -(-texts // share), pad, share)


def _takes_whole_masks(model: Any) -> bool:
    """Whether one mask of four dimensions says all about who sees what, in every layer."""
    config = model.config.get_text_config(decoder=True)
    return bool(
        config._attn_implementation == "sdpa"
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and getattr(config, "sliding_window", None) is None
        and "position_ids" in inspect.signature(model.forward).parameters
    )


class _Window:
    """Which columns of the room are in use: [low, end)."""

    def __init__(self) -> None:
        self.low = self.end = self.room = 0


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values [rows, heads, room, size]; a step writes its columns and copies nothing."""

    def __init__(self, window: _Window, rows: int) -> None:
        super().__init__()
        self.window, self.rows = window, rows
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new columns and return all that are in use, as views."""
        if self.keys is None:
            self.make(key_states, value_states)
        low, end = self.window.low, self.window.end
        new = end + key_states.shape[-2]
        self.keys[:, :, end:new] = key_states
        self.values[:, :, end:new] = value_states
        return self.keys[:, :, low:new], self.values[:, :, low:new]

    def make(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Room in the shape of `keys` and `values`.

        Zeros up to the columns in use, since what is masked must still be finite; those after are written before
        they are seen, and memory never touched costs nothing.
        """
        self.keys, self.values = (
            like.new_empty(self.rows, like.shape[1], self.window.room, like.shape[3]) for like in (keys, values)
        )
        for made in (self.keys, self.values):
            made[:, :, : self.window.end] = 0

    def write(self, slots: torch.Tensor, which: torch.Tensor, other: Any) -> None:
        """Put rows `which` of another layer into lanes `slots`, their last column against the end in use."""
        if self.keys is None:
            self.make(other.keys, other.values)
        end = self.window.end
        start = end - other.keys.shape[2]
        self.keys[slots, :, start:end] = other.keys[which]
        self.values[slots, :, start:end] = other.values[which]

    def move(self, kept: torch.Tensor, end: int, room: int) -> None:
        """Rows `kept` in room of another size, the columns in use now ending at `end`."""
        low, old = self.window.low, self.window.end
        self.rows = len(kept)
        for name in ("keys", "values"):
            from_ = getattr(self, name)
            into = from_.new_empty(len(kept), from_.shape[1], room, from_.shape[3])
            into[:, :, : end - (old - low)] = 0
            # All rows by a view, some row by row: indexing rows and columns at once would copy every one twice.
            torch.index_select(from_[:, :, low:old], 0, kept, out=into[:, :, end - (old - low) : end])
            setattr(self, name, into)

    def get_seq_length(self) -> int:
        """Columns in use."""
        return self.window.end - self.window.low


class _CausalLanes:
    """Lanes of a decoder, all ending at the same column, each starting at its own.

    A step gives each seat of a lane a column: the prompt's keys and values are read once for all its texts, and a
    mask keeps each text to the prompt and its own columns.
    """

    joins = True

    def __init__(self, model: Any, rows: int, pad: int, share: int) -> None:
        self.rows, self.share = rows, share
        self._model, self._pad, self._device = model, pad, model.device
        self._context = context_of(model)
        self._window = _Window()
        self._layers: list[_RoomyLayer] = []
        self._cache: Any = None
        self._starts = np.zeros(rows, dtype=np.int64)
        self._next = torch.zeros(rows, dtype=torch.long, device=self._device)
        self._whole_masks = _takes_whole_masks(model)
        self._seen = torch.zeros(rows, share, 0, dtype=torch.bool, device=self._device)
        self._own = torch.eye(share, dtype=torch.bool, device=self._device)
        accepted = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in accepted
        self._takes_keep = "logits_to_keep" in accepted

    def open(self, slots: Sequence[int], prompts: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """See `Lanes.open`."""
        unique = list(dict.fromkeys(prompts))
        place = {prompt: index for index, prompt in enumerate(unique)}
        which = torch.tensor([place[prompt] for prompt in prompts], device=self._device)
        longest = max(map(len, unique))
        ids = np.full((len(unique), longest), self._pad, dtype=np.int64)
        for row, prompt in enumerate(unique):
            ids[row, longest - len(prompt) :] = prompt
        lengths = torch.tensor([len(prompt) for prompt in unique], device=self._device)
        columns = torch.arange(longest, device=self._device)
        seen = columns >= longest - lengths[:, None]
        filled = DynamicCache()
        logits = self._forward(
            torch.as_tensor(ids, device=self._device),
            None if bool((lengths == longest).all()) else seen.long(),
            (columns - (longest - lengths[:, None])).clamp(min=0),
            filled,
            1,
        )
        self._admit(slots, which, filled, longest)
        end = self._window.end
        self._starts[list(slots)] = end - lengths.cpu().numpy()[which.cpu().numpy()]
        there = torch.tensor(list(slots), device=self._device)
        self._next[there] = lengths[which]
        self._seen[there, :, :end] = (torch.arange(end, device=self._device) >= end - lengths[which][:, None])[:, None]
        return logits[which, 0]

    def step(self, tokens: torch.Tensor, running: np.ndarray) -> torch.Tensor:
        """See `Lanes.step`."""
        window = self._window
        alive = running.reshape(self.rows, self.share).any(axis=1)
        starts = self._starts[alive]
        window.low = int(starts.min())
        if window.end + self.share > window.room:
            self._move(np.arange(self.rows), window.end - window.low)
            starts = self._starts[alive]
        low, end = window.low, window.end
        new = end + self.share
        self._seen[:, :, end:new] = self._own
        mask = self._mask(low, new) if self.share > 1 or int(starts.max()) > low else None
        positions = self._next[:, None].expand(-1, self.share)
        self._next = self._next + 1
        if self._context:
            positions = positions.clamp(max=self._context - 1)
        logits = self._forward(tokens.view(self.rows, self.share), mask, positions, self._cache, self.share)
        window.end = new
        return logits.reshape(self.rows * self.share, -1)

    def _mask(self, low: int, new: int) -> torch.Tensor:
        """Who sees which of the columns [low, new), as the model takes it."""
        seen = self._seen[:, :, low:new]
        if not self._whole_masks:
            return seen[:, 0].long()
        # Transformers hands a four-dimensional mask through, instead of making one out of two dimensions; in the
        # form that is added to the scores, attention need not make that of it in every layer.
        dtype = self._model.dtype
        added = torch.zeros(seen.shape, dtype=dtype, device=self._device)
        return added.masked_fill_(~seen, torch.finfo(dtype).min)[:, None]

    def keep(self, slots: Sequence[int]) -> None:
        """See `Lanes.keep`."""
        self._window.low = int(self._starts[list(slots)].min())
        self._move(np.asarray(slots), self._window.end - self._window.low)

    def _admit(self, slots: Sequence[int], which: torch.Tensor, filled: Any, longest: int) -> None:
        """Copy freshly computed prompts into their lanes."""
        window = self._window
        if self._cache is None:
            window.end, window.room = longest, longest + _HEADROOM * self.share
            self._layers = [_RoomyLayer(window, self.rows) for _ in filled.layers]
            self._cache = Cache(layers=self._layers)
            self._seen = self._seen.new_zeros(self.rows, self.share, window.room)
        elif longest > window.end:
            self._move(np.arange(self.rows), longest)
        where = torch.tensor(list(slots), device=self._device)
        for layer, other in zip(self._layers, filled.layers, strict=True):
            if other.keys is not None:
                layer.write(where, which, other)

    def _move(self, kept: np.ndarray, end: int) -> None:
        """Make new room in which the columns in use end at `end`, for the lanes `kept`."""
        window = self._window
        end = max(end, window.end - window.low)
        room = end + _HEADROOM * self.share
        there = torch.as_tensor(kept, device=self._device)
        for layer in self._layers:
            if layer.keys is not None:
                layer.move(there, end, room)
        seen = self._seen.new_zeros(len(kept), self.share, room)
        seen[:, :, end - (window.end - window.low) : end] = self._seen[there, :, window.low : window.end]
        self._seen, self._next = seen, self._next[there]
        self._starts = np.maximum(self._starts[kept] - window.end + end, 0)
        self.rows = len(kept)
        window.low, window.end, window.room = end - (window.end - window.low), end, room

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor, cache: Any, wanted: int
    ) -> torch.Tensor:
        """Logits after the last `wanted` columns [rows, wanted, V]."""
        given: dict[str, Any] = {"logits_to_keep": wanted} if self._takes_keep else {}
        if mask is not None:
            given["attention_mask"] = mask
        if self._takes_positions:
            given["position_ids"] = positions
        out = self._model(input_ids=ids, past_key_values=cache, use_cache=True, return_dict=True, **given)
        logits: torch.Tensor = out.logits[:, -wanted:]
        return logits


class _SeqToSeqLanes:
    """Rows of an encoder-decoder: the encoder runs once per prompt; all rows start together."""

    joins = False
    share = 1

    def __init__(self, model: Any, rows: int, pad: int) -> None:
        self.rows = rows
        self._model, self._pad, self._device = model, pad, model.device
        self._start = decoder_start(model)

    def open(self, slots: Sequence[int], prompts: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """See `Lanes.open`; opens all lanes at once."""
        unique = list(dict.fromkeys(prompts))
        place = {prompt: index for index, prompt in enumerate(unique)}
        which = torch.tensor([place[prompt] for prompt in prompts], device=self._device)
        longest = max(map(len, unique))
        ids = np.full((len(unique), longest), self._pad, dtype=np.int64)
        for row, prompt in enumerate(unique):
            ids[row, : len(prompt)] = prompt
        lengths = torch.tensor([len(prompt) for prompt in unique], device=self._device)
        mask = (torch.arange(longest, device=self._device) < lengths[:, None]).long()
        encoder = self._model.get_encoder()
        told = encoder(input_ids=torch.as_tensor(ids, device=self._device), attention_mask=mask, return_dict=True)
        self._told, self._mask = told.last_hidden_state[which], mask[which]
        self.rows = len(slots)
        self._window = _Window()
        self._window.room = _HEADROOM
        self._layers: list[_RoomyLayer] = []
        own = Cache(layer_class_to_replicate=self._add_layer)
        self._cache = EncoderDecoderCache(own, DynamicCache())
        return self._forward(torch.full((self.rows,), self._start, device=self._device))

    def step(self, tokens: torch.Tensor, running: np.ndarray) -> torch.Tensor:
        """See `Lanes.step`."""
        return self._forward(tokens)

    def keep(self, slots: Sequence[int]) -> None:
        """See `Lanes.keep`."""
        kept = torch.tensor(list(slots), device=self._device)
        self.rows = len(kept)
        for layer in self._layers:
            layer.move(kept, self._window.end, self._window.room)
        self._cache.cross_attention_cache.batch_select_indices(kept)
        self._told, self._mask = self._told[kept], self._mask[kept]

    def _add_layer(self) -> _RoomyLayer:
        self._layers.append(_RoomyLayer(self._window, self.rows))
        return self._layers[-1]

    def _forward(self, tokens: torch.Tensor) -> torch.Tensor:
        window = self._window
        if window.end == window.room:
            everyone = torch.arange(self.rows, device=self._device)
            for layer in self._layers:
                layer.move(everyone, window.end, window.end + _HEADROOM)
            window.room = window.end + _HEADROOM
        out = self._model(
            encoder_outputs=(self._told,),
            attention_mask=self._mask,
            decoder_input_ids=tokens[:, None],
            past_key_values=self._cache,
            use_cache=True,
            return_dict=True,
        )
        window.end += 1
        logits: torch.Tensor = out.logits[:, -1]
        return logits
