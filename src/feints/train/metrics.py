"""Metrics of a run: sums kept on the device, a JSON line a window, a live bar or plain lines for people."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from feints.records import Role
from feints.train.batch import Batch
from feints.train.checkpoint import storage_errors

RIGHT_ROLES = (Role.RIGHT, Role.ANCHOR, Role.POSITIVE)
"""Roles whose targets are right answers; the gauge of wrong ones reads Role.WRONG alone."""
_PLAIN_SECONDS = 10.0
_GAUGES = ("logprob_right", "logprob_wrong", "logprob_right_key", "logprob_wrong_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """What `on_step` is told after each optimiser step."""

    step: int
    """Steps done, from 1."""
    steps: int
    """Steps in all."""
    epoch: int
    """Epoch the step belonged to, from 1."""
    loss: float
    """Sum of the loss terms of the step."""
    gradient_norm: float | None
    """Before clipping; None where nothing is clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """How a run went; the student holds the weights of the epoch that is kept."""

    steps: int
    """Optimiser steps done."""
    epochs: int
    """Epochs begun."""
    best_epoch: int | None
    """Epoch whose weights the student holds, from 1; None without validation examples (then it is the last)."""
    loss: float
    """Mean training loss of the last window of steps."""
    validation: tuple[dict[str, float], ...]
    """One record of every validation pass."""
    tokens: int
    """Tokens the model read, prompts included, padding not."""
    seconds: float
    """Time spent training, over all resumptions."""
    metrics: Path
    """The JSON lines."""


class Sums:
    """Sums of loss terms and gauges on the device, read as seldom as possible."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.names: tuple[str, ...] = ()
        self._terms: Tensor | None = None
        self._gauges = torch.zeros(2 * len(_GAUGES), device=device)

    def add(self, terms: dict[str, Tensor], batch: Batch, nats: Tensor | None, scale: float = 1.0) -> None:
        """Add the terms of one micro-batch, and what its forward showed of right and wrong targets."""
        self.names = tuple(terms)
        stacked = torch.stack([term.detach().float() for term in terms.values()]) * scale
        self._terms = stacked if self._terms is None else self._terms + stacked
        if nats is not None and scale:
            self._gauges = self._gauges + gauges(nats, batch)

    def tensor(self) -> Tensor:
        """Terms, then the gauge sums: what ranks add up."""
        terms = self._terms if self._terms is not None else torch.zeros(0, device=self.device)
        return torch.cat([terms, self._gauges])


def gauges(nats: Tensor, batch: Batch) -> Tensor:
    """[8]: log-probability summed over tokens of right targets, their number; of wrong ones; both of key tokens alone.

    Key tokens are those with a weight, in targets that have tokens without one too.
    """
    target = ~batch.is_prompt
    learnt = target & (batch.weights != 0)
    own = torch.zeros_like(batch.target_lengths).index_add_(0, batch.example_index, learnt.to(batch.target_lengths))
    key = learnt & (own < batch.target_lengths)[batch.example_index]
    parts = []
    for tokens in (target, key):
        for roles in (RIGHT_ROLES, (Role.WRONG,)):
            chosen = batch.role_mask(*roles)[batch.example_index] & tokens
            parts += [-(nats * chosen).sum(), chosen.sum().to(nats.dtype)]
    return torch.stack(parts)


def readable(names: Sequence[str], sums: Sequence[float], steps: int = 1) -> dict[str, float]:
    """Sums over `steps` as a record: loss, its terms, and of each gauge that saw a token the mean log-probability."""
    terms = {name: total / steps for name, total in zip(names, sums, strict=False)}
    record = {"loss": sum(terms.values())}
    if len(terms) > 1:
        record |= {f"loss/{name}": value for name, value in terms.items()}
    seen = sums[len(names) :]
    for place, gauge in enumerate(_GAUGES):
        total, tokens = seen[2 * place : 2 * place + 2]
        if tokens:
            record[gauge] = total / tokens
    return record


class MetricsFile:
    """A JSON line a window, appended; after a crash cut back to what the checkpoint knows of."""

    def __init__(self, path: Path, keep_bytes: int) -> None:
        self.path = path
        with storage_errors("metrics", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as stream:
                stream.truncate(min(keep_bytes, stream.tell()))

    def write(self, record: dict[str, Any]) -> None:
        """Append one line.

        Raises:
            StorageError: the disk refuses.
        """
        with storage_errors("metrics", self.path), self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")

    def size(self) -> int:
        """Bytes written so far."""
        return self.path.stat().st_size


class TrainProgress:
    """A live bar with rate and time left; a plain line now and then where nobody watches a terminal."""

    def __init__(self, steps: int, done: int, *, show: bool) -> None:
        self._console = Console(stderr=True)
        self._show = show
        self._live = show and self._console.is_terminal
        self._steps = steps
        self._first = self._done = done
        self._tokens = 0
        self._began = self._spoke = time.monotonic()
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=self._console, disable=not self._live)
        self._task = self._bar.add_task("training", total=steps, completed=done, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, tokens: int, loss: float) -> None:
        """One more step done."""
        self._done += 1
        self._tokens += tokens
        if not self._show:
            return
        now = time.monotonic()
        rate = self._tokens / max(now - self._began, 1e-9)
        note = f"loss {loss:.4f}  {rate:,.0f} tokens/s"
        if self._live:
            self._bar.update(self._task, completed=self._done, note=note)
        elif now - self._spoke >= _PLAIN_SECONDS or self._done == self._steps:
            self._spoke = now
            left = (now - self._began) / (self._done - self._first) * (self._steps - self._done)
            self._console.print(f"training: step {self._done} of {self._steps}, {note}, {left:.0f} s left")
