"""Reinforcement distillation (REDI): imitate, then push pairs apart with the wrong side at a smaller weight.

"Harnessing Negative Signals: Reinforcement Distillation from Teacher Data for LLM Reasoning"
(Xu et al., 2025, arXiv 2505.24850). Stage 1 fine-tunes on the first right rationale of each problem. Stage 2 goes on,
at a fiftieth of the rate, from pairs of a problem's first right and first wrong rationale y_w, y_l:

    L = E_pairs[ - log p(y_w) / |y_w| + alpha log p(y_l) / |y_l| ],   alpha = 0.8

without a reference model. The wrong side is unbounded below; alpha < 1 and the small rate keep it stable.

Departures: 1) A rationale that could not be judged is no negative; as released every disagreement between verifiers
is one, and the number of pairs that rest on it is reported. 2) A bound tau on the wrong side is ours: tokens of nll
tau or more add nothing (off by default). 3) The rate of stage 2 is a share of the recipe's, as 1e-6 is of 5e-5; the
recipe's schedule serves both stages, stage 2 for one pass. 4) Length limits are curate.max_tokens, not 800 and
19,000. 5) Near-identical rationales count once; set curate.near_duplicate to null for all.

Control: alpha 0: the same pairs and steps, right sides only. Stage 2 without it shows nothing about negatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from feints.bench import Bench
from feints.config import Settings
from feints.curate.choice import Chosen
from feints.curate.examples import STEP, Built, build_examples
from feints.curate.piles import reject_reason
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.records import Dropped, Example, Judgement, Rationale, Role, Verdict, content_hash
from feints.runs import Stored
from feints.train.batch import Batch, Counts
from feints.train.losses import Loss, per_token, token_nll, weighted_nll
from feints.train.student import Student


class Config(Settings):
    """Settings of reinforcement distillation."""

    profile: Literal["clean", "as_released"] = Field(
        default="clean", description="clean, or as_released: whatever is not right counts as wrong."
    )
    alpha: float = Field(default=0.8, ge=0, le=1, description="Weight of the wrong side; 0 is the control.")
    bound: float = Field(
        default=0.0, ge=0, description="tau: wrong tokens of this nll or more add nothing; 0 for none."
    )
    rate: float = Field(default=0.02, gt=0, description="Learning rate of stage 2 as a share of the recipe's.")


def distil(bench: Bench, config: Config) -> Solver:
    """Sample the teacher; stage 1 on the first right rationales; stage 2 on the first pairs."""
    said = bench.ask("teacher", TEACHER)
    verdicts = bench.judge("teacher", said)
    chosen = bench.choose(said, verdicts)
    doubtful = not_right(said, verdicts) if config.profile == "as_released" else []
    pairs = first_pairs(chosen, doubtful)
    if config.profile == "as_released":
        ids = {row.id for row in doubtful}
        resting = sum(wrong.id in ids for _, wrong in pairs)
        bench.notices.append(f"redi: {resting:,} of {len(pairs):,} pairs rest on a rationale that is not surely wrong")
    firsts = list({row.problem_id: row for row in reversed(chosen.piles.right)}.values())[::-1]
    prompt = bench.prompt(STUDENT)

    def imitated(student: Student, rows: Sequence[Rationale]) -> Built:
        return examples_of(bench, student, rows, Role.RIGHT)

    def paired(student: Student, rows: Sequence[Rationale]) -> Built:
        return pair_examples(bench, student, list(zip(rows[::2], rows[1::2], strict=True)))

    first = bench.fit(
        bench.examples(chosen, [prompt.hash, "first right"], imitated, firsts, name="stage1"),
        weighted_nll(),
        loss_settings=["weighted_nll", "target_tokens"],
        name="stage1",
    )
    lesson = bench.examples(
        chosen, [prompt.hash, "first pair"], paired, [row for pair in pairs for row in pair], name="stage2"
    )
    settings = bench.training.model_copy(
        update={"learning_rate": bench.training.learning_rate * config.rate, "epochs": 1, "max_steps": None}
    )
    student = bench.fit(
        lesson,
        redi_loss(config.alpha, config.bound or math.inf),
        loss_settings=["redi", config.alpha, config.bound],
        settings=settings,
        start=first,
        name="stage2",
    )
    return bench.one_shot(student, prompt)


def redi_loss(alpha: float, bound: float = math.inf) -> Loss:
    """Sum over pairs of mean nll of the right side - alpha mean nll of the wrong side, over pairs of the step.

    Each side is divided by its own target tokens, in nats. Wrong tokens of nll `bound` or more count as 0; the divisor
    stays.
    """

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        nats = token_nll(model, batch)
        right = batch.role_mask(Role.RIGHT)[batch.example_index] & ~batch.is_prompt
        wrong = batch.role_mask(Role.WRONG)[batch.example_index] & ~batch.is_prompt & (nats < bound)
        shares = nats / batch.target_lengths[batch.example_index]
        pairs = counts.roles[Role.RIGHT]
        return {
            "right": per_token(shares[right].sum(), pairs),
            "wrong": -alpha * per_token(shares[wrong].sum(), pairs),
        }

    return loss


def first_pairs(chosen: Chosen, doubtful: Sequence[Rationale] = ()) -> list[tuple[Rationale, Rationale]]:
    """The first right and the first wrong rationale of each problem that has both, in order of sampling."""
    right: dict[str, Rationale] = {}
    wrong: dict[str, Rationale] = {}
    for found, pile in ((right, chosen.piles.right), (wrong, (*chosen.piles.wrong, *doubtful))):
        for row in sorted(pile, key=lambda row: (row.sample_index, row.id)):
            found.setdefault(row.problem_id, row)
    order = dict.fromkeys(row.problem_id for row in chosen.piles.right)
    return [(right[problem], wrong[problem]) for problem in order if problem in wrong]


def not_right(said: Stored[Rationale], verdicts: Stored[Verdict]) -> list[Rationale]:
    """Rationales that are neither right nor surely wrong: not decided on, without an answer, cut or refused.

    These are the ones sorting rejects, but for those whose answer was right all the same; what is left out later as a
    duplicate or as one too many was right or wrong, and stays out.
    """
    of = {verdict.rationale_id: verdict for verdict in verdicts}
    return [
        row
        for row in said
        if row.text.strip() and of[row.id].value is not Judgement.CORRECT and reject_reason(row, of[row.id])
    ]


def examples_of(bench: Bench, student: Student, rows: Sequence[Rationale], role: Role) -> Built:
    """Examples of one role; wrong ones push away."""
    return build_examples(
        student.renderer,
        bench.prompt(STUDENT),
        bench.by_id,
        rows,
        role=role,
        weight=-1.0 if role is Role.WRONG else 1.0,
        thinking=bench.curate.thinking,
        max_tokens=bench.curate.max_tokens,
    )


def pair_examples(bench: Bench, student: Student, pairs: Sequence[tuple[Rationale, Rationale]]) -> Built:
    """Two examples a pair, one group; a pair with a side that is too long is left out whole."""
    examples: list[Example] = []
    dropped: list[Dropped] = []
    for pair in pairs:
        sides = [
            examples_of(bench, student, [row], role) for row, role in zip(pair, (Role.RIGHT, Role.WRONG), strict=True)
        ]
        if all(side.examples for side in sides):
            group = content_hash("pair", *(row.id for row in pair))
            examples += [replace(example, group=group) for side in sides for example in side.examples]
            continue
        dropped += [reason for side in sides for reason in side.dropped]
        left = [row for row, side in zip(pair, sides, strict=True) if side.examples]
        dropped += [Dropped(item_id=row.id, step=STEP, reason="its counterpart is left out") for row in left]
    return Built(examples=tuple(examples), dropped=tuple(dropped))


def control(config: Config) -> Config | None:
    """The same pairs and steps with alpha 0; None for the control itself."""
    return config.model_copy(update={"alpha": 0.0}) if config.alpha else None


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    if config.alpha:
        return "redi", "imitates right rationales, then pushes pairs apart, the wrong side at a smaller weight"
    return "redi_control", "the same pairs and steps, right sides only"
