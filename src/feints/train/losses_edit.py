"""Losses of EDIT and of its rivals: key-reasoning-step learning, DPO, and two tasks learnt at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from feints.records import Role
from feints.train.batch import Batch, Counts
from feints.train.losses import Loss, per_token, token_nll

SequenceDivisor = Literal["target_tokens", "per_key_token", "sum"]
"""What the sum over one text is divided by: all its target tokens, its weighted ones, or nothing."""
Bound = Literal["shifted", "unshifted"]
"""Which distribution the bound tau compares a token with: the one that predicts it, or the one after it."""


def krsl(
    tau: float = 20.0,
    divisor: SequenceDivisor = "target_tokens",
    *,
    pull: bool = True,
    push: bool = True,
    bound: Bound = "shifted",
) -> Loss:
    """Key-reasoning-step learning (Dai et al., ACL 2025, eq. 6 and 7, with the sign of prose and code: EDIT-A1).

        L = 1/P sum over pairs of [ 1/|y+| sum_t w+_t nll_t(y+)  -  1/|y-| sum_t |w-_t| 1[nll_t(y-) < tau] nll_t(y-) ]

    in nats, P the pairs (groups) of the optimiser step, |y| all target tokens of a text with its end of sequence. The
    weights are those of the examples: alpha on key tokens and gamma on the others of the right text, -beta on key
    tokens and 0 on the others of the wrong one. The indicator passes no gradient. Terms: `right` if it pulls, `wrong`
    if it pushes. Right and wrong go through one forward pass, as groups are never split.

    Args:
        tau: nats from which a wrong token is improbable enough to be let be; `inf` for no bound.
        divisor: of each text.
        pull: False leaves the right term out (alpha = gamma = 0), pairs and steps being the same.
        push: False leaves the wrong term out, pairs and steps being the same: the control.
        bound: `unshifted` is what the released code compares (EDIT-A11); for an encoder-decoder both are one.

    Twin: four lines in tests/train/test_losses_edit.py.
    """

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        if bound == "unshifted" and push and "decoder_input_ids" not in batch.inputs:
            nats, compared = _nats_before_and_after(model, batch)
        else:
            nats = token_nll(model, batch)
            compared = nats.detach()
        pulls = batch.weights * nats / _divisors(batch, divisor)[batch.example_index]
        is_wrong = batch.role_mask(Role.WRONG)[batch.example_index]
        terms = {}
        if pull:
            terms["right"] = per_token(pulls[~is_wrong].sum(), counts.groups)
        if push:
            terms["wrong"] = per_token(pulls[is_wrong & (compared < tau)].sum(), counts.groups)
        return terms

    return loss


def dpo(reference: Callable[[], Any], beta: float = 0.1) -> Loss:
    """Direct preference optimisation (Rafailov et al., NeurIPS 2023, eq. 7), in place of KRSL.

        L = -1/P sum over pairs of log sigmoid(beta (h(y+) - h(y-))),  h(y) = sum_t log pi(y_t) - log pi_ref(y_t)

    over the target tokens, P the pairs of the optimiser step; weights of the examples are not read. In nats.

    Args:
        reference: gives the frozen model; called once, at the first batch.
        beta: how far the student may leave the reference: the larger, the nearer it stays.

    Twin: four lines in tests/train/test_losses_edit.py.
    """
    frozen: list[Any] = []

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        if not frozen:
            frozen.append(reference().to(batch.weights.device).eval().requires_grad_(False))
        with torch.no_grad():
            before = token_nll(frozen[0], batch)
        gain = (before - token_nll(model, batch)) * ~batch.is_prompt
        gains = gain.new_zeros(len(batch.examples)).index_add(0, batch.example_index, gain)
        margin = gains[batch.index_of(Role.RIGHT)] - gains[batch.index_of(Role.WRONG)]
        return {"preference": per_token(-logsigmoid(beta * margin).sum(), counts.groups)}

    return loss


def two_tasks(share: float, second: Role) -> Loss:
    """Two tasks at once, as in MT-CoT, Step-by-step and SCOTT (as EDIT's released code writes them, section 2.4).

        L = (1 - share) * mean over texts of the first task of mean_t w_t nll_t  +  share * the same of the second

    in nats. A text's mean is over its target tokens, a task's over its texts in the optimiser step; a text belongs to
    the second task by its role, to the first where it is of role `right`. Terms: `first`, `second`.

    Twin: four lines in tests/train/test_losses_edit.py.
    """

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        pulls = batch.weights * token_nll(model, batch) / batch.target_lengths[batch.example_index]
        is_second = batch.role_mask(second)[batch.example_index]
        return {
            "first": (1.0 - share) * per_token(pulls[~is_second].sum(), counts.roles[Role.RIGHT]),
            "second": share * per_token(pulls[is_second].sum(), counts.roles[second]),
        }

    return loss


def _divisors(batch: Batch, divisor: SequenceDivisor) -> Tensor:
    """[E] what each text is divided by; at least 1."""
    if divisor == "target_tokens":
        return batch.target_lengths
    if divisor == "sum":
        return torch.ones_like(batch.target_lengths)
    weighted = (batch.weights != 0).to(torch.float32)
    return torch.zeros_like(batch.target_lengths).index_add(0, batch.example_index, weighted).clamp(min=1.0)


def _nats_before_and_after(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Nats of each token as predicted from before it, and as if predicted from itself; one forward pass."""
    index, ids = batch.hidden_index, batch.target_ids
    # A causal row holds the token itself right behind the place that predicts it.
    both = replace(batch, hidden_index=torch.cat([index, index + 1]), target_ids=torch.cat([ids, ids]), observed={})
    nats, after = token_nll(model, both).chunk(2)
    batch.observed.setdefault(id(model), nats.detach())
    return nats, after.detach()
