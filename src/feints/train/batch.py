"""Examples to tensors: optimiser steps, their micro-batches and totals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from feints.errors import EmptyPileError
from feints.records import Example, Role
from feints.train.rows import Array, Layout, Packing, Row, lay_out

Units = tuple[tuple[int, ...], ...]
"""Numbers of the examples of each group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Totals of the whole optimiser step, over micro-batches and ranks, known before the first forward."""

    target_tokens: int
    """Tokens of all targets."""
    valid_tokens: int
    """Tokens that are predicted at all: prompt and target, but the very first of a causal sequence."""
    weighted_tokens: int
    """Predicted tokens whose weight is not 0."""
    absolute_weight: float
    """Sum of |weight| over predicted tokens."""
    examples: int
    """Examples."""
    groups: int
    """Groups; an example without a group is one of its own."""
    roles: Mapping[Role, int]
    """Examples of each role; a role that does not occur counts 0."""
    target_tokens_of: Mapping[Role, int]
    """`target_tokens` of the examples of each role."""
    valid_tokens_of: Mapping[Role, int]
    """`valid_tokens` of the examples of each role."""


@dataclass(frozen=True)
class Batch:
    """One micro-batch: E examples in G groups, with N predicted tokens laid flat.

    A token is among the N when it belongs to a target or has a weight. A packed batch is one row.
    """

    examples: tuple[Example, ...]
    """The examples, groups together."""
    inputs: dict[str, Tensor]
    """What the model is called with: input ids, and positions or masks where the layout needs them."""
    packing: Packing | None
    """Borders of the texts in a packed row; None for padded rows."""
    hidden_index: Tensor
    """[N] flat position, in rows x width, of the hidden state that predicts each token."""
    target_ids: Tensor
    """[N] the token to be predicted."""
    weights: Tensor
    """[N] float32 raw weight."""
    example_index: Tensor
    """[N] which of the E examples the token belongs to."""
    is_prompt: Tensor
    """[N] true for tokens of a prompt."""
    target_lengths: Tensor
    """[E] float32 tokens of each target, end of sequence included."""
    group_index: Tensor
    """[E] which of the G groups each example belongs to."""
    last_index: Tensor
    """[E] flat position of the last valid token of each example, whose hidden state stands for the text."""
    groups: int
    """G."""
    observed: dict[int, Tensor] = field(default_factory=dict)
    """What the forward helpers saw of each token's nats, detached, by id of the model; gauges are read from here."""

    @cached_property
    def roles(self) -> tuple[Role, ...]:
        """Role of each of the E examples."""
        return tuple(example.role for example in self.examples)

    def role_mask(self, *roles: Role) -> Tensor:
        """[E] true for examples of these roles; index it with `example_index` for tokens."""
        return torch.tensor([role in roles for role in self.roles], device=self.weights.device)

    def index_of(self, role: Role) -> Tensor:
        """[G] which example of each group has this role, -1 where none has; the first one counts."""
        found = [-1] * self.groups
        for index, (group, has) in enumerate(zip(self.group_index.tolist(), self.roles, strict=True)):
            if has == role and found[group] < 0:
                found[group] = index
        return torch.tensor(found, device=self.weights.device)


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step: which examples, in which micro-batches."""

    micro: tuple[tuple[int, ...], ...]
    """Numbers of the examples of each micro-batch."""
    counts: Counts
    """Totals over all of them."""


class Batcher:
    """Plans optimiser steps over a fixed list of examples and builds their micro-batches."""

    def __init__(self, examples: Sequence[Example], layout: Layout) -> None:
        """Take the examples.

        Raises:
            EmptyPileError: there are none.
            DataError: an example that cannot be learnt; the first one is named.
        """
        if not examples:
            raise EmptyPileError(
                "no example reached training; look at the verdict counts and at what was dropped before: "
                "a prompt that never yields a readable answer is the usual cause"
            )
        self.examples = tuple(examples)
        self.layout = layout
        self._units = _units(self.examples)
        self._rows = [Row.of(example, layout) for example in self.examples]
        self._lengths = [row.length for row in self._rows]
        self._unit_tokens = [sum(self._lengths[number] for number in unit) for unit in self._units]
        learnt = [row.absolute_weight > 0 for row in self._rows]
        self._unit_examples = [max(1, sum(learnt[number] for number in unit)) for unit in self._units]

    def tokens(self) -> int:
        """Tokens of all examples, prompts included."""
        return sum(self._lengths)

    def tokens_of(self, step: Step) -> int:
        """Tokens the model reads in one step."""
        return sum(self._lengths[number] for numbers in step.micro for number in numbers)

    def epoch(
        self, epoch: int, *, seed: int, batch_tokens: int | None = None, batch_examples: int | None = None
    ) -> list[Units]:
        """Cut one epoch into optimiser steps: our own permutation of (seed, epoch), by tokens or by examples.

        A group goes whole into one step; a step ends before the unit that would exceed the budget. Examples without
        any weight ride along with their group: they count as tokens, never as examples. Give each step to `step`.
        """
        order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(len(self._units))
        budget = batch_tokens if batch_tokens is not None else batch_examples
        if budget is None:
            raise ValueError("either batch_tokens or batch_examples is needed")
        costs = self._unit_tokens if batch_tokens is not None else self._unit_examples
        steps: list[Units] = []
        chosen: list[tuple[int, ...]] = []
        size = 0
        for number in order.tolist():
            if chosen and size + costs[number] > budget:
                steps.append(tuple(chosen))
                chosen, size = [], 0
            chosen.append(self._units[number])
            size += costs[number]
        steps.append(tuple(chosen))
        return steps

    def step(self, units: Units) -> Step:
        """Micro-batches and totals of one optimiser step."""
        return Step(micro=self._split(units), counts=self._counts(units))

    def whole(self) -> Step:
        """All examples as one step, for a validation pass."""
        return self.step(tuple(self._units))

    def fingerprint(self) -> str:
        """Hash of every id and weight: the same examples in the same order."""
        digest = hashlib.blake2b(digest_size=16)
        for example, row in zip(self.examples, self._rows, strict=True):
            digest.update(f"{example.id}|{example.group}|{example.role}|".encode())
            for array in (row.encoder, row.ids, row.predictors, row.weights):
                digest.update(array.tobytes())
        return digest.hexdigest()

    def _split(self, units: Units) -> tuple[tuple[int, ...], ...]:
        """Micro-batches of similar length, longest first, so that memory peaks at once."""
        longest = {unit: max(self._lengths[number] for number in unit) for unit in units}
        micro: list[tuple[int, ...]] = []
        current: tuple[int, ...] = ()
        width = 0
        for unit in sorted(units, key=lambda unit: (-longest[unit], unit)):
            joined = current + unit
            wide = max(width, longest[unit])
            size = wide * len(joined) if self.layout.rows == "padded" else sum(self._lengths[n] for n in joined)
            if current and size > self.layout.micro_tokens:
                micro.append(current)
                joined, wide = unit, longest[unit]
            current, width = joined, wide
        return (*micro, current)

    def _counts(self, units: Units) -> Counts:
        rows = [self._rows[number] for unit in units for number in unit]
        roles, targets, valid = (dict.fromkeys(Role, 0) for _ in range(3))
        for unit in units:
            for number in unit:
                role = self.examples[number].role
                roles[role] += 1
                targets[role] += self._rows[number].target_tokens
                valid[role] += self._rows[number].valid_tokens
        return Counts(
            target_tokens=sum(row.target_tokens for row in rows),
            valid_tokens=sum(row.valid_tokens for row in rows),
            weighted_tokens=sum(row.weighted_tokens for row in rows),
            absolute_weight=float(sum(row.absolute_weight for row in rows)),
            examples=len(rows),
            groups=len(units),
            roles=roles,
            target_tokens_of=targets,
            valid_tokens_of=valid,
        )

    def batch(self, numbers: Sequence[int], device: torch.device | str = "cpu") -> Batch:
        """Tensors of one micro-batch."""
        rows = [self._rows[number] for number in numbers]
        examples = tuple(self.examples[number] for number in numbers)
        inputs, packing, starts = lay_out(rows, self.layout, device)
        index = np.concatenate([row.predictors + start for row, start in zip(rows, starts, strict=True)])
        owner = np.repeat(np.arange(len(rows)), [len(row.predictors) for row in rows])
        group_index, groups = _group_numbers(examples)

        def moved(array: Array) -> Tensor:
            return torch.from_numpy(array).to(device, non_blocking=True)

        return Batch(
            examples=examples,
            inputs={name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()},
            packing=packing,
            hidden_index=moved(index),
            target_ids=moved(np.concatenate([row.predicted for row in rows])),
            weights=moved(np.concatenate([row.weights for row in rows])),
            example_index=moved(owner),
            is_prompt=moved(np.concatenate([row.is_prompt for row in rows])),
            target_lengths=moved(np.array([row.target_tokens for row in rows], dtype=np.float32)),
            group_index=moved(group_index),
            last_index=moved(np.array([start + row.length_out - 1 for row, start in zip(rows, starts, strict=True)])),
            groups=groups,
        )


def _units(examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """Numbers of the examples of each group, in order of first appearance."""
    units: dict[tuple[str, int], list[int]] = {}
    for number, example in enumerate(examples):
        units.setdefault((example.group, -1 if example.group else number), []).append(number)
    return [tuple(unit) for unit in units.values()]


def _group_numbers(examples: Sequence[Example]) -> tuple[Array, int]:
    units = _units(examples)
    numbers = np.empty(len(examples), dtype=np.int64)
    for group, unit in enumerate(units):
        numbers[list(unit)] = group
    return numbers, len(units)
