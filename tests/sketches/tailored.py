"""A throw-away toy of Tailored Learning (Wang et al., EMNLP 2023) to try the contracts: exams of oneself, rounds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from feints.bench import Bench
from feints.config import Settings
from feints.curate.choice import Chosen
from feints.curate.examples import Built, build_examples
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER, Prompt
from feints.generate.rationales import Asking
from feints.generate.settings import SamplingSettings
from feints.records import Example, Origin, Rationale, Role
from feints.train.batch import Batch, Counts
from feints.train.losses import Loss, last_hidden, per_token, token_nll
from feints.train.student import Student

FEEDBACK = Prompt(
    id="tailored_feedback",
    template="{question}\n{choices}\n\nA student's wrong response:\n{wrong}\n\nThe correct answer is {gold}. Comment "
    "on the mistake, then solve the problem step by step.\n{cue}",
    cue=TEACHER.cue,
)
UNTAILORED = replace(
    FEEDBACK, id="untailored", template="{question}\n{choices}\n\nThe correct answer is {gold}.\n{cue}"
)
PROMPT_WEIGHT = 0.1


class Config(Settings):
    """Settings of the toy."""

    rounds: int = Field(default=2, ge=1, description="Exams and trainings.")
    pull: float = Field(default=0.5, ge=0.0, description="Weight of the triplet term.")
    tailored: bool = Field(default=True, description="The teacher sees the mistake, or (the control) the answer only.")


def distil(bench: Bench, config: Config) -> Solver:
    """Examine the student on its own problems, let the teacher answer each mistake, go on from there."""
    said = bench.ask("teacher", TEACHER)
    known = bench.choose(said, bench.judge("teacher", said))
    mistakes: tuple[Rationale, ...] = ()
    student = Path(bench.student.model)
    exam = SamplingSettings(n=2, temperature=1.0, max_tokens=bench.exam.max_tokens, seed=bench.seed)
    once = bench.sampling.model_copy(update={"n": 1, "adaptive": None})
    for number in range(config.rounds):
        mark = f"round{number}"
        sat = bench.ask(f"exam-{mark}", STUDENT, source=student, sampling=exam, origin=Origin.SELF, round=number)
        taken = bench.choose(sat, bench.judge(f"exam-{mark}", sat), pile="wrong", unit=f"own texts of {mark}")
        if not taken.piles.wrong:
            break
        prompt = FEEDBACK if config.tailored else UNTAILORED
        askings = [_about(bench, row, prompt) for row in taken.piles.wrong]
        told = bench.ask(f"feedback-{mark}", prompt, askings, sampling=once, origin=Origin.TAILORED, round=number)
        feedback = bench.choose(told, bench.judge(f"feedback-{mark}", told), unit=f"feedback of {mark}")
        mistakes += taken.piles.wrong
        known = known.joined(replace(taken, piles=replace(taken.piles, right=()))).joined(feedback)
        lesson = _lesson(bench, known, mistakes, mark)
        student = bench.fit(
            lesson, tailored_loss(config.pull), loss_settings=["tailored", config.pull], start=student, name=mark
        )
    return bench.one_shot(student, STUDENT)


def control(config: Config) -> Config | None:
    """As many calls, the mistakes unseen."""
    return config.model_copy(update={"tailored": False}) if config.tailored else None


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    return ("tailored", "answers each mistake") if config.tailored else ("untailored", "answers no mistake")


def _about(bench: Bench, row: Rationale, prompt: Prompt) -> Asking:
    problem = bench.by_id[row.problem_id]
    texts = {"wrong": row.text, "gold": problem.answer}
    return Asking(problem=problem, filled={slot: texts[slot] for slot in prompt.slots}, parent=row.id)


def _lesson(bench: Bench, known: Chosen, mistakes: Sequence[Rationale], mark: str) -> Any:
    """Each right rationale, with another right one and a mistake of the same problem where there are both."""
    right_of, wrong_of = defaultdict(list), defaultdict(list)
    for row in known.piles.right:
        right_of[row.problem_id].append(row)
    for row in mistakes:
        wrong_of[row.problem_id].append(row)
    parts: list[tuple[Role, Rationale, str]] = []
    for row in known.piles.right:
        positive = next((other for other in right_of[row.problem_id] if other.text != row.text), None)
        negative = next(iter(wrong_of[row.problem_id]), None)
        if positive is None or negative is None:
            parts.append((Role.RIGHT, row, ""))
        else:
            trio = ((Role.ANCHOR, row), (Role.POSITIVE, positive), (Role.WRONG, negative))
            parts += [(role, one, row.id) for role, one in trio]

    def build(student: Student, _: Sequence[Rationale]) -> Built:
        made: list[Example] = []
        for number, (role, row, group) in enumerate(parts):
            learnt = role in (Role.ANCHOR, Role.RIGHT)
            (example,) = build_examples(
                student.renderer,
                STUDENT,
                bench.by_id,
                [row],
                role=role,
                weight=1.0 if learnt else 0.0,
                prompt_weight=PROMPT_WEIGHT if learnt else 0.0,
            ).examples
            made.append(replace(example, id=f"{number}-{role}", group=group))
        return Built(examples=tuple(made), dropped=())

    return bench.examples(known, [STUDENT.hash, "triplets"], build, [row for _, row, _ in parts], name=mark)


def tailored_loss(pull: float) -> Loss:
    """Weighted nats / tokens learnt, and a cosine triplet / questions that have one."""

    def loss(model: Any, batch: Batch, counts: Counts) -> dict[str, Tensor]:
        nats = token_nll(model, batch)
        ends = torch.nn.functional.normalize(last_hidden(model, batch, through_prompt=False), dim=-1)
        anchor, positive, wrong = (batch.index_of(role) for role in (Role.ANCHOR, Role.POSITIVE, Role.WRONG))
        near = (ends[anchor] * ends[positive]).sum(-1)
        far = (ends[anchor] * ends[wrong]).sum(-1)
        hinge = (1.0 - near + far).relu()[anchor >= 0].sum()
        return {
            "text": per_token((batch.weights * nats).sum(), counts.weighted_tokens),
            "triplet": pull * per_token(hinge, counts.roles[Role.ANCHOR]),
        }

    return loss
