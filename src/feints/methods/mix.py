"""Imitating another pile: right and wrong rationales alike (MIX), wrong ones alone (NEG), or the data's own solutions.

Baselines of Turning Dust into Gold (Li et al., AAAI 2024): MIX shows what negative rationales do when they are taken
for positive ones, NEG what a student of wrong rationales solves (its overlap with the others is reported beside
chance), and "Fine-tune" learns the human solutions of the training set instead of a teacher's.

Departures: 1) Only target tokens are learnt, end of sequence included (TDG-D1). 2) A problem without a solution of
its own is left out of `gold`, and counted.

Control: right rationales only, each as often as needed for as many examples of the pile it `controls`, hence at equal
optimiser steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, model_validator

from feints.bench import Bench
from feints.config import Settings
from feints.curate.choice import Chosen
from feints.curate.examples import Built, build_examples
from feints.curate.gold import gold_rows
from feints.curate.split import as_many
from feints.errors import DataError
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.records import Dropped, Example, Problem, Rationale, Role, content_hash
from feints.runs import Stored
from feints.train.losses import weighted_nll
from feints.train.student import Student


class Config(Settings):
    """Settings of imitation."""

    learn: Literal["both", "wrong", "gold", "right"] = Field(
        default="both",
        description="Right and wrong rationales, wrong ones, the data's solutions, or (control) right ones.",
    )
    controls: Literal["both", "wrong", "gold"] = Field(
        default="both", description="With learn: right, the pile whose number of examples is matched."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.controls != "both" and self.learn != "right":
            raise ValueError(f"controls: {self.controls} is of the control; set learn: right, or leave it out")
        return self


def distil(bench: Bench, config: Config) -> Solver:
    """Sample the teacher and imitate what the pile asked for holds."""
    said = bench.ask("teacher", TEACHER)
    verdicts = bench.judge("teacher", said)
    chosen = bench.choose(said, verdicts, pile="wrong" if config.learn == "wrong" else "right")
    rows = pile(bench, chosen, config.controls if config.learn == "right" else config.learn)
    if config.learn == "right":
        rows = as_many(chosen.piles.right, rows, chosen.validation)
    negative = {row.id for row in chosen.piles.wrong}
    prompt = bench.prompt(STUDENT)

    def build(student: Student, used: Sequence[Rationale]) -> Built:
        examples: list[Example] = []
        dropped: list[Dropped] = []
        for place, row in enumerate(used):
            built = build_examples(
                student.renderer,
                prompt,
                bench.by_id,
                [row],
                role=Role.WRONG if row.id in negative else Role.RIGHT,
                thinking=bench.curate.thinking,
                max_tokens=bench.curate.max_tokens,
            )
            # A row learnt from twice stands here twice, and ids are unique.
            examples += [replace(example, id=content_hash(example.id, place)) for example in built.examples]
            dropped += built.dropped
        return Built(examples=tuple(examples), dropped=tuple(dropped))

    lesson = bench.examples(chosen, [prompt.hash, "imitated", config.learn], build, rows)
    student = bench.fit(lesson, weighted_nll(), loss_settings=["weighted_nll", "target_tokens"])
    return bench.one_shot(student, prompt)


def pile(bench: Bench, chosen: Chosen, name: str) -> Sequence[Rationale]:
    """What MIX, NEG or "Fine-tune" learns.

    Raises:
        DataError: the data set has no solutions of its own, and they are asked for.
    """
    if name == "gold":
        return solutions(bench.problems)
    return chosen.piles.wrong if name == "wrong" else (*chosen.piles.right, *chosen.piles.wrong)


def solutions(problems: Stored[Problem]) -> list[Rationale]:
    """The worked solutions of the data set as rationales.

    Raises:
        DataError: it has none.
    """
    if rows := gold_rows(problems):
        return rows
    raise DataError(
        f"none of {len(problems)} training problems has a worked solution; learn: gold needs a task that has them, "
        "such as math or gsm8k"
    )


def control(config: Config) -> Config | None:
    """Right rationales only, at equal steps; None for the control itself."""
    return None if config.learn == "right" else config.model_copy(update={"learn": "right", "controls": config.learn})


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    name, words = {
        "both": ("mix", "imitates right and wrong rationales alike"),
        "wrong": ("neg", "imitates wrong rationales alone"),
        "gold": ("gold", "imitates the data set's own solutions"),
        "right": ("right_only", "imitates right rationales, repeated to as many examples"),
    }[config.learn]
    return (name, words) if config.controls == "both" else (f"{name}_as_{config.controls}", words)
