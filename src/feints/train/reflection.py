"""Self-reflection (Tailored Learning): a text is drawn to another right one and away from one's own mistake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from feints.errors import SettingsError
from feints.generate.anatomy import padding_of
from feints.records import Example, Role
from feints.train.batch import Batch, Batcher, Counts
from feints.train.losses import Loss, Pooling, last_hidden, per_token, token_nll
from feints.train.rows import Layout

LEARNT = (Role.RIGHT, Role.ANCHOR)
"""Roles of the texts that are imitated; of a trio only its anchor."""
TRIO = (Role.ANCHOR, Role.POSITIVE, Role.WRONG)
"""Roles of a trio, a group of its own: a right text, another right one of the same problem, an own mistake."""


def triplet(anchor: Tensor, positive: Tensor, wrong: Tensor, margin: float = 1.0) -> Tensor:
    """max(0, margin - cos(anchor, positive) + cos(anchor, wrong)) of each row: [n, D] three times -> [n].

    Between 0 and margin + 2; only directions count. A row of zeros has cosine 0 with everything.
    """
    a, p, n = (normalize(states, dim=-1) for states in (anchor, positive, wrong))
    return (margin - (a * p).sum(-1) + (a * n).sum(-1)).relu()


def reflective_loss(
    pull: float, *, margin: float = 1.0, pooling: Pooling = "last", padded_prompts: bool = False
) -> Loss:
    """Learning from the teacher and from self-reflection (Wang et al., EMNLP 2023).

        L = sum_t w_t nll_t / T  +  pull * sum_i max(0, margin - cos(h_a, h_p) + cos(h_a, h_n)) / M

    in nats. t runs over the predicted tokens of imitated texts (roles right and anchor), T counts them all, those of
    weight 0 included. i runs over trios (a group of one anchor, one positive, one wrong), M counts them; with none the
    second term is 0. h is the last layer's state of the text's last token (or the mean over the text), the prompt's
    keys and values held constant, so that the gradient flows through the text's own tokens. T and M are those of the
    whole optimiser step.

    Args:
        pull: lambda, weight of the second term; 0 leaves it out.
        margin: rho.
        pooling: what stands for a text.
        padded_prompts: defect TAIL-D2 of the released code: prompts are filled up to the longest of the micro-batch,
            and the texts see the filling. The loss then depends on how a step is split.

    Raises:
        SettingsError: trios with padded rows.
    """

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        own = _of_roles(batch, LEARNT)
        nats = token_nll(model, own)
        learnt = sum(counts.valid_tokens_of[role] for role in LEARNT)
        terms = {"imitation": per_token((own.weights * nats).sum(), learnt)}
        if not pull:
            return terms
        hinge = nats.sum() * 0.0
        if Role.ANCHOR in batch.roles:
            trios = _of_roles(batch, TRIO, _pad_id(model) if padded_prompts else None)
            states = last_hidden(model, trios, through_prompt=False, pooling=pooling, observe=True)
            anchor, positive, wrong = (states[trios.index_of(role)] for role in TRIO)
            hinge = triplet(anchor, positive, wrong, margin).sum()
            _tell(model, batch, own, trios)
        return {**terms, "reflection": pull * per_token(hinge, counts.roles[Role.ANCHOR])}

    return loss


def _of_roles(batch: Batch, roles: Sequence[Role], pad: int | None = None) -> Batch:
    """The examples of these roles, packed anew; `pad` fills their prompts up to the longest."""
    if batch.packing is None:
        if set(batch.roles) <= set(LEARNT):
            return batch
        raise SettingsError("a loss that stops gradients at the prompt needs packed rows; set rows: packed")
    chosen = [example for example in batch.examples if example.role in roles]
    if pad is not None:
        longest = max(len(example.prompt_ids) for example in chosen)
        chosen = [_filled_up(example, longest, pad) for example in chosen]
    elif len(chosen) == len(batch.examples):
        return batch
    batcher = Batcher(chosen, Layout(rows="packed", micro_tokens=1, seq2seq=False, pad_id=0))
    return batcher.batch(range(len(chosen)), batch.weights.device)


def _filled_up(example: Example, longest: int, pad: int) -> Example:
    missing = longest - len(example.prompt_ids)
    weights = (0.0,) * longest + example.weights[len(example.prompt_ids) :]
    return replace(example, prompt_ids=example.prompt_ids + (pad,) * missing, weights=weights)


def _pad_id(model: Any) -> int:
    config = model.module.config if hasattr(model, "module") else model.config
    return padding_of(config) or 0


def _tell(model: Any, batch: Batch, own: Batch, trios: Batch) -> None:
    """Leave the nats of the whole micro-batch for the gauges: imitated texts by one pass, companions by the other."""
    found = torch.zeros_like(batch.weights)
    imitated = batch.role_mask(*LEARNT)[batch.example_index]
    found[imitated] = own.observed[id(model)]
    companions = ~imitated & ~batch.is_prompt
    theirs = ~trios.role_mask(*LEARNT)[trios.example_index] & ~trios.is_prompt
    found[companions] = trios.observed[id(model)][theirs]
    batch.observed[id(model)] = found
