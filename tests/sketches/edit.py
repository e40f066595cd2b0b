"""A throw-away toy of EDIT (Dai et al., ACL 2025) to try the contracts: dual rationales, key tokens, two stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field
from torch import Tensor

from feints.bench import Bench
from feints.config import Settings
from feints.curate.examples import Built, build_examples
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER, Prompt
from feints.generate.rationales import Asking
from feints.records import Example, Origin, Pair, Rationale, Role
from feints.runs import Stored
from feints.train.batch import Batch, Counts
from feints.train.losses import Loss, per_token, token_nll, weighted_nll
from feints.train.student import Student

MEND = Prompt(
    id="edit_answer_hint",
    template="{question}\n{choices}\n\nHint: the correct answer is {hint}.\nReason step by step.\n{cue}",
    cue=TEACHER.cue,
)
SPOIL = Prompt(
    id="edit_contrastive",
    template="{question}\n{choices}\n\nRight response:\n{right}\n\nWrite a plausible wrong response.\n{cue}",
    cue=TEACHER.cue,
)


class Config(Settings):
    """Settings of the toy."""

    alpha: float = Field(default=1.0, description="Weight of key tokens of right rationales.")
    beta: float = Field(default=0.025, description="Weight of key tokens of wrong rationales, pushed away.")
    tau: float = Field(default=20.0, description="Nats from which a wrong token is improbable enough.")


def distil(bench: Bench, config: Config) -> Solver:
    """Sample, mend what is wrong, spoil what is right, learn the right ones, then the key tokens of the pairs."""
    said = bench.ask("teacher", TEACHER)
    sampled = bench.choose(said, bench.judge("teacher", said))
    once = bench.sampling.model_copy(update={"n": 1, "adaptive": None})
    mends = [_about(bench, row, hint=bench.by_id[row.problem_id].answer) for row in sampled.piles.wrong]
    mended = bench.ask("rectified", MEND, mends, sampling=once, origin=Origin.RECTIFIED)
    spoils = [_about(bench, row, right=row.text) for row in sampled.piles.right]
    spoilt = bench.ask("corrupted", SPOIL, spoils, sampling=once, origin=Origin.CORRUPTED)
    rectified = bench.choose(mended, bench.judge("rectified", mended), unit="rectified rationales")
    corrupted = bench.choose(spoilt, bench.judge("corrupted", spoilt), pile="wrong", unit="corrupted rationales")
    chosen = sampled.joined(rectified).joined(corrupted)

    right = (*sampled.piles.right, *rectified.piles.right)
    lesson = bench.examples(chosen, [STUDENT.hash, "sft"], _plain(bench, Role.RIGHT), right, name="stage1")
    first = bench.fit(lesson, weighted_nll(), loss_settings=["weighted_nll"], name="stage1")

    by_id = {row.id: row for row in (*right, *sampled.piles.wrong, *corrupted.piles.wrong)}
    pairs = bench.run.table(
        "3_examples", f"{bench.arm}-pairs", Pair, [chosen.address], lambda: dual_pairs(by_id), arm=bench.arm
    )
    rows = [by_id[name] for pair in pairs for name in (pair.right_id, pair.wrong_id)]
    how = [STUDENT.hash, pairs.address, config.alpha, config.beta]
    keys = bench.examples(chosen, how, _key_steps(bench, config, pairs, by_id), rows, name="stage2")
    student = bench.fit(keys, krsl(config.tau), loss_settings=["krsl", config.tau], start=first, name="stage2")
    return bench.one_shot(student, STUDENT)


def control(config: Config) -> Config | None:
    """The same pairs, nothing pushed away."""
    return config.model_copy(update={"beta": 0.0}) if config.beta else None


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    return ("edit", "pulls and pushes key tokens") if config.beta else ("edit_no_push", "pulls key tokens only")


def _about(bench: Bench, row: Rationale, **filled: str) -> Asking:
    return Asking(problem=bench.by_id[row.problem_id], filled=filled, parent=row.id)


def dual_pairs(by_id: Mapping[str, Rationale]) -> Iterable[Pair]:
    """A text with the one it was made from."""
    for row in by_id.values():
        if row.parent in by_id:
            other = by_id[row.parent]
            right, wrong = (row, other) if row.origin is Origin.RECTIFIED else (other, row)
            yield Pair(
                problem_id=row.problem_id,
                right_id=right.id,
                wrong_id=wrong.id,
                right_origin=right.origin,
                wrong_origin=wrong.origin,
            )


def _plain(bench: Bench, role: Role) -> Callable[[Student, Sequence[Rationale]], Built]:
    return lambda student, rows: build_examples(student.renderer, STUDENT, bench.by_id, rows, role=role)


def _key_steps(
    bench: Bench, config: Config, pairs: Stored[Pair], by_id: Mapping[str, Rationale]
) -> Callable[[Student, Sequence[Rationale]], Built]:
    def build(student: Student, _: Sequence[Rationale]) -> Built:
        made: list[Example] = []
        for number, pair in enumerate(pairs):
            (right,) = _plain(bench, Role.RIGHT)(student, [by_id[pair.right_id]]).examples
            (wrong,) = _plain(bench, Role.WRONG)(student, [by_id[pair.wrong_id]]).examples
            for side, other, weight in ((right, wrong, config.alpha), (wrong, right, -config.beta)):
                keys = key_tokens(side.target_ids, other.target_ids)
                weights = (0.0,) * len(side.prompt_ids) + tuple(weight * key for key in keys)
                made.append(replace(side, id=f"{number}-{side.role}", group=f"pair {number}", weights=weights))
        return Built(examples=tuple(made), dropped=())

    return build


def key_tokens(a: Sequence[Any], b: Sequence[Any]) -> list[int]:
    """1 for each token of `a` that a least edit into `b` deletes or replaces; ties: delete, insert, diagonal."""
    distance = [[max(i, j) if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            kept = distance[i - 1][j - 1] + (a[i - 1] != b[j - 1])
            distance[i][j] = min(distance[i - 1][j] + 1, distance[i][j - 1] + 1, kept)
    marks, i, j = [0] * len(a), len(a), len(b)
    while i or j:
        if i and distance[i][j] == distance[i - 1][j] + 1:
            i -= 1
            marks[i] = 1
        elif j and distance[i][j] == distance[i][j - 1] + 1:
            j -= 1
        else:
            i, j = i - 1, j - 1
            marks[i] = int(a[i] != b[j])
    return marks


def krsl(tau: float) -> Loss:
    """Weighted nats / tokens of the own target / pairs; wrong tokens of `tau` nats or more are let be."""

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        nats = token_nll(model, batch)
        is_wrong = batch.role_mask(Role.WRONG)[batch.example_index]
        pulls = batch.weights * nats / batch.target_lengths[batch.example_index]
        let_be = is_wrong & (nats.detach() >= tau)
        return {
            "right": per_token(pulls[~is_wrong].sum(), counts.groups),
            "wrong": per_token(pulls[is_wrong & ~let_be].sum(), counts.groups),
        }

    return loss
