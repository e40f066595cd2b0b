"""Self-distillation weighted by how far NEG and NAT disagree: the weight, its storage, and the loss (NCE).

Li et al., "Turning Dust into Gold" (AAAI 2024), step 2. NEG and NAT are one frozen network in two modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from feints.generate.anatomy import decoder_start, padding_of
from feints.generate.weights import device_or_default
from feints.records import Example
from feints.train.assistants import teacher_beside
from feints.train.batch import Batch, Batcher, Counts
from feints.train.head import head_of, inner_model
from feints.train.integrate import Mode, set_mode
from feints.train.losses import Loss, per_token, target_hidden, target_logits
from feints.train.rows import Layout
from feints.train.student import Student

SMOOTHING = 1e-7
"""Added to probabilities as released (TDG-D11)."""
SHOWN = 20
"""Fewer parts than this are scored without a progress bar."""
_BELOW_ONE = 1.0 - 2.0**-24
"""Largest float32 below 1: tanh rounds to 1 from about 9 nats on, and a weight of 1 is never reached."""

Direction = Literal["neg_nat", "nat_neg"]
"""KL(NEG || NAT), or the other way round."""
Smoothing = Literal["none", "two_sided", "one_sided"]
"""Of the probabilities in D: none, both sides, or NEG's alone (as released)."""
Per = Literal["sequence", "token", "one"]
"""What has a weight of its own: a sequence, a token, or nothing (plain self-distillation)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """How the weight of a token or a sequence is computed."""

    per: Per = "sequence"
    """Whose weight."""
    direction: Direction = "neg_nat"
    """Of the divergence."""
    temperature: float = 1.0
    """T, of teachers and student."""
    smoothing: Smoothing = "none"
    """Of the divergence."""
    offset: float = 0.0
    """c0: the weight is c0 + beta; 0.5 as released (TDG-D6)."""
    share: float = 0.5
    """alpha: share of the distillation in the loss."""


def divergence(neg_logits: Tensor, nat_logits: Tensor, how: Disagreement) -> Tensor:
    """D of each token in nats: [n, V], [n, V] -> [n].

        D = sum_v p(v) (log p(v) - log q(v)),  p = NEG and q = NAT (direction neg_nat), or exchanged

    at temperature T. Smoothing adds 1e-7 to p and q, or as released to NEG's side alone, without renormalising,
    which leaves a positive D even where both agree.
    """
    neg, nat = (_log_probabilities(logits, how.temperature) for logits in (neg_logits, nat_logits))
    if how.smoothing != "none":
        neg = (neg.exp() + SMOOTHING).log()
    if how.smoothing == "two_sided":
        nat = (nat.exp() + SMOOTHING).log()
    p, q = (neg, nat) if how.direction == "neg_nat" else (nat, neg)
    return (p.exp() * (p - q)).sum(-1)


def beta(nats: Tensor) -> Tensor:
    """tanh(D), in [0, 1)."""
    return torch.tanh(nats.clamp(min=0.0)).clamp(max=_BELOW_ONE)


def token_weights(nats: Tensor, batch: Batch, how: Disagreement) -> Tensor:
    """c0 + beta of every predicted token: [N] nats -> [N]; per sequence, D is the mean over its tokens first."""
    if how.per == "one":
        return torch.ones_like(nats)
    if how.per == "sequence":
        sums = nats.new_zeros(len(batch.examples)).index_add(0, batch.example_index, nats)
        lengths = nats.new_zeros(len(batch.examples)).index_add(0, batch.example_index, torch.ones_like(nats))
        nats = (sums / lengths)[batch.example_index]
    return how.offset + beta(nats)


def pull(weights: Tensor, share: float) -> Tensor:
    """Distillation weights c0 + beta as the weight column of examples: (1 - alpha) + alpha (c0 + beta).

    It is what pulls at the token in all, so a report can colour it; `self_distillation` takes it apart again.
    """
    return (1.0 - share) + share * weights


class Teacher:
    """The frozen NAT of a folder, which also answers as NEG; it shares the base of the student it is put beside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._model: Any = None

    def beside(self, student: Student) -> Student:
        """Stand beside `student` from now on; returns it."""
        self._model = teacher_beside(student, self.folder)
        return student

    def answers(self, mode: Mode, batch: Batch) -> tuple[Any, Tensor]:
        """Model, and the hidden states [N, D] from which it predicts each token as NAT or as NEG; no gradient."""
        model = self._model.to(batch.weights.device)
        set_mode(model, mode)
        try:
            with torch.no_grad():
                return model, target_hidden(model, batch)
        finally:
            set_mode(model, "nat")

    def weights(self, batch: Batch, how: Disagreement, nat_hidden: Tensor | None = None) -> Tensor:
        """`token_weights` of a batch: [N], no gradient."""
        if how.per == "one":
            return torch.ones_like(batch.weights)
        model, neg_hidden = self.answers("neg", batch)
        nat = self.answers("nat", batch)[1] if nat_hidden is None else nat_hidden
        head = head_of(model)
        with torch.no_grad():
            parts = head.pieces(len(nat))
            nats = [divergence(head.logits(neg_hidden[part]), head.logits(nat[part]), how) for part in parts]
            return token_weights(torch.cat(nats), batch, how)


def scored(
    student: Student,
    teacher: Teacher,
    examples: Sequence[Example],
    how: Disagreement,
    *,
    micro_tokens: int = 4096,
    device: str | None = None,
    console: Console | None = None,
) -> list[Example]:
    """The examples with `pull` of their weights on every predicted token, scored once by both teachers.

    Stored and live weights are the same up to rounding, where training is not in a lower precision than the weights.

    Args:
        student: whose base the teachers share, if it may be shared.
        teacher: NAT and NEG.
        examples: what is scored; a token is predicted when it is a target or has a weight.
        how: of the weights.
        micro_tokens: most tokens read at a time.
        device: where; None takes a GPU where there is one.
        console: where progress goes; None is the usual one.
    """
    device = device_or_default(device)
    teacher.beside(student)
    batcher = Batcher(examples, _padded(student, micro_tokens))
    found = list(examples)
    parts = batcher.whole().micro
    for numbers in track(parts, "scoring", console=console, disable=len(parts) < SHOWN):
        batch = batcher.batch(numbers, device)
        values = pull(teacher.weights(batch, how), how.share)
        for place, number in enumerate(numbers):
            own = iter(values[batch.example_index == place].tolist())
            found[number] = _reweighted(examples[number], own, seq2seq=student.seq2seq)
    return found


def self_distillation(teacher: Teacher, how: Disagreement, *, stored: bool, released: bool = False) -> Loss:
    """L = (1 - alpha) CE + alpha T^2 sum_n (c0 + beta_n) [-sum_v p(v) log q(v)] / divisor.

    p is NAT and q the student, both at temperature T; CE is the plain nll; n runs over the predicted tokens of the
    batch, which are targets only (clean, divisor: target tokens) or prompt and padding as well (as released,
    divisor: valid tokens, and 1e-7 added to p). Neither teachers nor beta pass a gradient.

    Args:
        teacher: NAT and NEG.
        how: of the weights.
        stored: weights were put on the examples by `scored`; else NEG is asked for every batch.
        released: divide by all tokens and smooth p.
    """
    divisor = "valid_tokens" if released else "target_tokens"

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        frozen, hidden = teacher.answers("nat", batch)
        head, temperature = head_of(frozen), how.temperature
        if how.share == 0.0:
            weights = torch.zeros_like(batch.weights)
        elif stored:
            weights = (batch.weights - (1.0 - how.share)) / how.share
        else:
            weights = teacher.weights(batch, how, hidden)

        def piece(logits: Tensor, part: slice) -> Tensor:
            with torch.no_grad():
                chances = _log_probabilities(head.logits(hidden[part]), temperature).exp()
                chances = chances + SMOOTHING if released else chances
            soft = -(chances * _log_probabilities(logits, temperature)).sum(-1)
            hard = functional.cross_entropy(logits, batch.target_ids[part], reduction="none")
            return torch.stack([hard, soft], dim=1).flatten()

        hard, soft = target_logits(model, batch, piece).view(-1, 2).unbind(1)
        batch.observed.setdefault(id(model), hard.detach())
        total = float(getattr(counts, divisor))
        return {
            "nll": (1.0 - how.share) * per_token(hard.sum(), total),
            "distilled": how.share * temperature**2 * per_token((weights * soft).sum(), total),
        }

    return loss


def _log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    return functional.log_softmax(logits.float() / temperature, dim=-1)


def _padded(student: Student, micro_tokens: int) -> Layout:
    pad = (padding_of(student.model.config) or 0) if student.seq2seq else 0
    start = decoder_start(inner_model(student.model)) if student.seq2seq else 0
    return Layout(rows="padded", micro_tokens=micro_tokens, seq2seq=student.seq2seq, pad_id=pad, start_id=start)


def _reweighted(example: Example, values: Any, *, seq2seq: bool) -> Example:
    """New weights on the predicted tokens of an example, in order; the first of a causal sequence is none."""
    prompt = len(example.prompt_ids)
    weights = list(example.weights)
    for place in range(0 if seq2seq else 1, len(weights)):
        if place >= prompt or (weights[place] != 0 and not seq2seq):
            weights[place] = next(values)
    return replace(example, weights=tuple(weights))
