"""The decode loop: many rows at once, finished ones make room for the next, each with its own random stream.

Torch-side: imports torch at the top, so nothing of the core imports this file at load.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from feints.generate.lanes import Lanes
from feints.records import Finish

_REFILL = 8
"""New prompts join when one lane in this many is free."""
_COMPACT = 0.75
"""With nothing left to join, lanes are dropped once fewer than this share run."""
_LOOK = 8
"""Tokens between two looks for a stop text."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One text to write."""

    prompt: tuple[int, ...]
    """Ids the model reads first."""
    key: int
    """Names its random stream, 64 bits: equal keys, equal draws, whatever shares the batch."""
    limit: int
    """Most new tokens, at least 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How all rows of one decode are drawn."""

    temperature: float
    """0 is greedy."""
    top_p: float
    """Nucleus bound in (0, 1]; 1 leaves every token in."""
    stop_ids: frozenset[int]
    """Ids that end a row; they are part of it."""
    cut: Callable[[Sequence[int]], int | None] | None = None
    """Given the ids so far: how many of them complete a stop text, None while there is none."""
    logprobs: bool = False
    """Whether log-probabilities are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What a row became."""

    ids: tuple[int, ...]
    """New ids, the stop id included."""
    finish: Finish
    """STOP or LENGTH."""
    logprobs: tuple[float, ...]
    """Nats per new id under the model itself (temperature 1, all tokens in); empty unless asked for."""


def uniforms(keys: npt.NDArray[np.uint64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The draw number `counts[i]` of stream `keys[i]`, in [0, 1): splitmix64 of key + count (Steele et al. 2014).

    A function of the two numbers alone: no generator has to be kept per row.
    """
    mixed = keys + (counts.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    draws: npt.NDArray[np.float64] = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return draws


def choose(logits: torch.Tensor, manner: Manner, draws: torch.Tensor) -> torch.Tensor:
    """One token per row of logits [B, V]: the best one, or the one at quantile `draws` [B] of the distribution.

    With top_p < 1 the distribution is cut to the fewest most likely tokens that together reach top_p
    (Holtzman et al. 2020, section 3.1), the one that crosses the bound included.
    """
    if manner.temperature == 0.0:
        return logits.argmax(dim=-1)
    wide = logits.double() if logits.dtype is torch.float64 else logits.float()
    chances = torch.softmax(wide / manner.temperature, dim=-1)
    order = None
    if manner.top_p < 1.0:
        chances, order = chances.sort(dim=-1, descending=True, stable=True)
        before = chances.cumsum(dim=-1) - chances
        chances = chances.masked_fill(before >= manner.top_p, 0.0)
    sums = chances.cumsum(dim=-1)
    target = draws.to(sums.dtype)[:, None] * sums[:, -1:]
    picked = torch.searchsorted(sums, target, right=True).clamp(max=sums.shape[-1] - 1)
    # Rounding may carry the target to the very end, past the last token that has any chance at all.
    last = (sums < sums[:, -1:]).sum(dim=-1, keepdim=True)
    picked = torch.minimum(picked, last)
    return (picked if order is None else order.gather(-1, picked)).squeeze(-1)


def samples_a_prompt(rows: Sequence[Row]) -> int:
    """How many rows a prompt has, about."""
    return max(1, round(len(rows) / len({row.prompt for row in rows})))


class _Seats:
    """What has been written in each seat so far."""

    def __init__(self, rows: Sequence[Row], seats: int, manner: Manner) -> None:
        self.rows, self.manner = rows, manner
        self.row = np.full(seats, -1, dtype=np.int64)
        self.count = np.zeros(seats, dtype=np.int64)
        self.limit = np.ones(seats, dtype=np.int64)
        self.key = np.zeros(seats, dtype=np.uint64)
        longest = max(row.limit for row in rows)
        self.ids = np.zeros((seats, min(longest, 256)), dtype=np.int64)
        self.logprobs = np.zeros((seats, self.ids.shape[1] if manner.logprobs else 0), dtype=np.float32)
        self._stops = np.array(sorted(manner.stop_ids), dtype=np.int64)

    @property
    def running(self) -> npt.NDArray[np.bool_]:
        """Which seats hold a row that is still being written."""
        return self.row >= 0

    def sit(self, seat: int, index: int) -> None:
        """Row number `index` begins in `seat`."""
        row = self.rows[index]
        self.row[seat], self.count[seat], self.limit[seat] = index, 0, row.limit
        self.key[seat] = np.uint64(row.key)

    def draws(self, seats: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The next random number of each seat."""
        return uniforms(self.key[seats], self.count[seats])

    def note(
        self, seats: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64], logprobs: npt.NDArray[np.float32] | None
    ) -> list[tuple[int, Decoded]]:
        """Write one token in each of `seats`; returns the rows that ended with it, their seats free again."""
        counts = self.count[seats]
        if counts.max() >= self.ids.shape[1]:
            self._widen()
        self.ids[seats, counts] = tokens
        if logprobs is not None:
            self.logprobs[seats, counts] = logprobs
        self.count[seats] = counts + 1
        stopped = np.isin(tokens, self._stops)
        full = counts + 1 >= self.limit[seats]
        looked = (counts + 1) % _LOOK == 0 if self.manner.cut else np.False_
        return [done for seat in seats[stopped | full | looked] if (done := self._end(int(seat)))]

    def _end(self, seat: int) -> tuple[int, Decoded] | None:
        """The row of `seat` if it has ended."""
        length = int(self.count[seat])
        ids = self.ids[seat, :length]
        finish = Finish.STOP if ids[-1] in self.manner.stop_ids else None
        if self.manner.cut and (cut := self.manner.cut(ids.tolist())) is not None:
            length, finish = cut, Finish.STOP
        if finish is None and length >= self.limit[seat]:
            finish = Finish.LENGTH
        if finish is None:
            return None
        index = int(self.row[seat])
        self.row[seat] = -1
        kept = tuple(self.logprobs[seat, :length].tolist()) if self.manner.logprobs else ()
        return index, Decoded(ids=tuple(ids[:length].tolist()), finish=finish, logprobs=kept)

    def keep(self, seats: npt.NDArray[np.int64]) -> None:
        """Drop every other seat."""
        for name in ("row", "count", "limit", "key", "ids", "logprobs"):
            setattr(self, name, getattr(self, name)[seats])

    def _widen(self) -> None:
        self.ids = np.concatenate([self.ids, np.zeros_like(self.ids)], axis=1)
        self.logprobs = np.concatenate([self.logprobs, np.zeros_like(self.logprobs)], axis=1)


@torch.inference_mode()
def decode(lanes: Lanes, rows: Sequence[Row], manner: Manner) -> Iterator[list[tuple[int, Decoded]]]:
    """Write every row; yields (index in `rows`, result) as they end, a list per step that ended any.

    Which rows share a batch depends on `rows` and on what they become, on nothing else: the same
    rows give the same texts. Rows are taken in the order given; put long prompts first and rows of one
    prompt together, which then share a lane. Where rows cannot join later, give no more of them than
    there are lanes.
    """
    share = lanes.share
    desk = _Seats(rows, lanes.rows * share, manner)
    pending = deque(_bundles(rows, share))
    tokens = torch.zeros(lanes.rows * share, dtype=torch.long)
    while True:
        alive = desk.running.reshape(-1, share).any(axis=1)
        free = np.flatnonzero(~alive)
        if pending and (not alive.any() or (lanes.joins and len(free) >= max(1, lanes.rows // _REFILL))):
            taken = [pending.popleft() for _ in range(min(len(free), len(pending)))]
            seats, logits = _seat(lanes, desk, free[: len(taken)], taken)
        elif not alive.any():
            return
        else:
            if not pending and alive.sum() <= _COMPACT * lanes.rows:
                kept = np.flatnonzero(alive)
                lanes.keep(kept.tolist())
                seats = (kept[:, None] * share + np.arange(share)).ravel()
                desk.keep(seats)
                tokens = tokens[torch.as_tensor(seats, device=tokens.device)]
            seats = np.flatnonzero(desk.running)
            logits = lanes.step(tokens, desk.running)
            logits = logits if len(seats) == len(logits) else logits[torch.as_tensor(seats, device=logits.device)]
        tokens, ended = _advance(desk, tokens, seats, logits)
        if ended:
            yield ended


def _bundles(rows: Sequence[Row], share: int) -> list[list[int]]:
    """Places of rows that go into one lane: neighbours of one prompt, `share` at most."""
    bundles: list[list[int]] = []
    for index, row in enumerate(rows):
        if bundles and len(bundles[-1]) < share and rows[bundles[-1][0]].prompt == row.prompt:
            bundles[-1].append(index)
        else:
            bundles.append([index])
    return bundles


def _seat(
    lanes: Lanes, desk: _Seats, free: npt.NDArray[np.int64], bundles: Sequence[Sequence[int]]
) -> tuple[npt.NDArray[np.int64], torch.Tensor]:
    """Begin one bundle in each of the lanes `free`; the seats taken and the logits of their first token."""
    seats = []
    for lane, bundle in zip(free.tolist(), bundles, strict=True):
        for at, index in enumerate(bundle):
            desk.sit(lane * lanes.share + at, index)
            seats.append(lane * lanes.share + at)
    logits = lanes.open(free.tolist(), [desk.rows[bundle[0]].prompt for bundle in bundles])
    sizes = torch.tensor([len(bundle) for bundle in bundles], device=logits.device)
    return np.array(seats, dtype=np.int64), logits.repeat_interleave(sizes, dim=0)


def _advance(
    desk: _Seats, tokens: torch.Tensor, seats: npt.NDArray[np.int64], logits: torch.Tensor
) -> tuple[torch.Tensor, list[tuple[int, Decoded]]]:
    """Choose the next token of `seats` from logits [len(seats), V] and write it down."""
    greedy = desk.manner.temperature == 0.0
    draws = logits.new_zeros(0) if greedy else torch.as_tensor(desk.draws(seats), device=logits.device)
    chosen = choose(logits, desk.manner, draws)
    kept = None
    if desk.manner.logprobs:
        own = torch.log_softmax(logits.float(), dim=-1).gather(-1, chosen[:, None])
        kept = own.squeeze(-1).cpu().numpy()
    if len(seats) == len(tokens):
        tokens = chosen
    else:
        tokens = tokens.to(chosen.device)
        tokens[torch.as_tensor(seats, device=chosen.device)] = chosen
    return tokens, desk.note(seats, chosen.cpu().numpy(), kept)
