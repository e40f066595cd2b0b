"""Pushing wrong rationales away: negative training (NT), unlikelihood (UL), contrast of candidates (CL).

The baselines of Turning Dust into Gold (Li et al., AAAI 2024, table 1) that learn from negatives by lowering something;
unlikelihood after Welleck et al. (ICLR 2020). All imitate the right rationales, and add a term over wrong ones:

    NT   - w E_wrong[nll / token]
    UL   - w E_wrong[log(1 - P)],       P = exp(- mean nll of the sequence)
    CL   - w E_problem[log(sum_right exp(s) / sum_all exp(s))],   s = mean log-probability of a candidate

Departures: 1) Expectations are over tokens of right and of wrong targets apart (likelihood, NT), over wrong sequences
(UL), over all problems, those of one kind adding 0 (CL), each of the whole step. 2) The paper's sequence probability is
that of the whole text, which no computer tells from 0, so its gradient would vanish; the mean per token stands in for
it, in UL and CL. 3) CL's exact form was not at hand; candidates are up to eight of one problem, and its weight is that
of the others unless set. 4) Near-identical rationales of a problem count once; set curate.near_duplicate to null for
all.

Control: the weight 0: the same examples and steps, wrong rationales in the batches and without effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from feints.bench import Bench
from feints.config import UnreleasedSettings
from feints.curate.examples import Built, build_examples
from feints.errors import DataError
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.records import Rationale, Role
from feints.train.batch import Batch, Counts
from feints.train.losses import Loss, per_token, token_nll
from feints.train.student import Student

CANDIDATES = 8
"""Most candidates of a problem that are contrasted (table 1)."""
_LEAST_NATS = 1e-6
"""Below this mean nll a sequence is certain, and log(1 - P) would be infinite."""

Term = Literal["negative_training", "unlikelihood", "contrastive"]


class Config(UnreleasedSettings):
    """Settings of the three baselines."""

    term: Term = Field(default="unlikelihood", description="What is lowered.")
    weight: float = Field(default=0.05, ge=0, description="w of the term over wrong rationales; 0 is the control.")


def distil(bench: Bench, config: Config) -> Solver:
    """Sample the teacher; imitate what is right and push away what is wrong.

    Raises:
        EmptyPileError: nothing is right: what is left would be pushing alone.
        DataError: nothing is wrong, so that nothing would be pushed away.
    """
    said = bench.ask("teacher", TEACHER)
    verdicts = bench.judge("teacher", said)
    chosen = bench.choose(said, verdicts)
    if not chosen.piles.right:
        chosen.funnel.refuse_empty(cut_short=bool(bench.stopped))
    if not chosen.piles.wrong and config.weight:
        raise DataError(
            f"{config.term}: none of the teacher's rationales is wrong, so there is nothing to push away; raise "
            "sampling.n or its temperature, or take plain_cot"
        )
    prompt, together = bench.prompt(STUDENT), config.term == "contrastive"
    rows = (
        candidates(chosen.piles.right, chosen.piles.wrong) if together else [*chosen.piles.right, *chosen.piles.wrong]
    )
    wrong = {row.id for row in chosen.piles.wrong}

    def build(student: Student, used: Sequence[Rationale]) -> Built:
        sides = [
            build_examples(
                student.renderer,
                prompt,
                bench.by_id,
                [row for row in used if (row.id in wrong) is (role is Role.WRONG)],
                role=role,
                # The sign alone: how hard it pulls is a matter of the loss, and the control has the same examples.
                weight=-1.0 if role is Role.WRONG else 1.0,
                thinking=bench.curate.thinking,
                max_tokens=bench.curate.max_tokens,
            )
            for role in (Role.RIGHT, Role.WRONG)
        ]
        examples = [
            replace(example, group=example.problem_id if together else "")
            for side in sides
            for example in side.examples
        ]
        return Built(examples=tuple(examples), dropped=tuple(row for side in sides for row in side.dropped))

    lesson = bench.examples(chosen, [prompt.hash, "push", together], build, rows)
    loss = push_loss(config.term, config.weight)
    student = bench.fit(lesson, loss, loss_settings=["push", config.term, config.weight])
    return bench.one_shot(student, prompt)


def candidates(right: Sequence[Rationale], wrong: Sequence[Rationale]) -> list[Rationale]:
    """Up to eight of each problem, right and wrong in turn while both last."""
    sides: dict[str, tuple[list[Rationale], list[Rationale]]] = {}
    for side, pile in enumerate((right, wrong)):
        for row in pile:
            sides.setdefault(row.problem_id, ([], []))[side].append(row)
    chosen = []
    for good, bad in sides.values():
        turns = sorted([*enumerate(good), *enumerate(bad)], key=lambda pair: pair[0])
        chosen += [row for _, row in turns[:CANDIDATES]]
    return chosen


def push_loss(term: Term, weight: float) -> Loss:
    """E_right nll plus the term of the module docstring, in nats.

    Divisors: target tokens of right examples; target tokens of wrong ones (NT); wrong examples (UL); groups of the step
    that hold both kinds count, and all groups divide (CL).
    """

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        nats = token_nll(model, batch)
        own = batch.role_mask(Role.RIGHT)[batch.example_index]
        right = per_token((nats * own).sum(), counts.target_tokens_of[Role.RIGHT])
        if term == "negative_training":
            pushed = -per_token((nats * ~own).sum(), counts.target_tokens_of[Role.WRONG])
            return {"right": right, "wrong": weight * pushed}
        sums = nats.new_zeros(len(batch.examples)).index_add(0, batch.example_index, nats)
        means = sums / batch.target_lengths
        if term == "unlikelihood":
            total = unlikelihood(means[batch.role_mask(Role.WRONG)]).sum()
            return {"right": right, "wrong": weight * per_token(total, counts.roles[Role.WRONG])}
        return {"right": right, "wrong": weight * per_token(contrast(-means, batch).sum(), counts.groups)}

    return loss


def unlikelihood(means: Tensor) -> Tensor:
    """-log(1 - exp(-m)) of mean nats m: [n] -> [n]."""
    return -torch.log(-torch.expm1(-means.clamp(min=_LEAST_NATS)))


def contrast(scores: Tensor, batch: Batch) -> Tensor:
    """-log of the share of right candidates in each group's softmax: [E] -> [groups]; 0 where one kind is missing."""
    right = batch.role_mask(Role.RIGHT)
    found = []
    for group in range(batch.groups):
        inside = batch.group_index == group
        good, every = scores[inside & right], scores[inside]
        both = 0 < len(good) < len(every)
        found.append(every.logsumexp(0) - good.logsumexp(0) if both else scores.new_zeros(()))
    return torch.stack(found)


def control(config: Config) -> Config | None:
    """The same with weight 0; None for the control itself."""
    return config.model_copy(update={"weight": 0.0}) if config.weight else None


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    name, explanation = {
        "negative_training": ("nt", "lowers the likelihood of wrong rationales"),
        "unlikelihood": ("ul", "raises one minus the likelihood of wrong rationales"),
        "contrastive": ("cl", "holds right candidates of a problem against wrong ones"),
    }[config.term]
    return (name, explanation) if config.weight else (f"{name}_control", "the same examples, wrong ones without effect")
