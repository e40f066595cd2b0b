"""Imitating another pile: right and wrong rationales alike (MIX), wrong ones alone (NEG), or the data's own solutions.

Baselines of Turning Dust into Gold (Li et al., AAAI 2024): MIX shows what negative rationales do when they are taken
for positive ones, NEG what a student of wrong rationales solves (its overlap with the others is reported beside
chance), and "Fine-tune" learns the human solutions of the training set instead of a teacher's.

Departures: 1) Only target tokens are learnt, end of sequence included; `profile: as_released` learns prompt and padding
and no end of sequence, as the code does (TDG-D1). 2) A problem without a solution of its own is left out of `gold`, and
counted. 3) Near-identical rationales of a problem count once, in either profile; set curate.near_duplicate to null for
all.

Control: right rationales only, each as often as needed for as many examples of the same pile, hence at equal optimiser
steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from feints.bench import Bench
from feints.bench.assistants import ProfileSettings, divisor, pad_id, shot_of
from feints.bench.inner import Makes
from feints.curate.choice import Chosen
from feints.curate.examples import Built, build_examples
from feints.curate.gold import gold_rows
from feints.curate.released import whole_and_padded
from feints.curate.split import as_many
from feints.errors import DataError
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.methods import Start
from feints.records import Dropped, Example, Problem, Rationale, Role, content_hash
from feints.train.losses import weighted_nll
from feints.train.student import Student

MATCHED = {"right": "both", "right_as_wrong": "wrong", "right_as_gold": "gold"}
"""The pile whose number of examples each control has."""


class Config(ProfileSettings):
    """Settings of imitation."""

    learn: Literal["both", "wrong", "gold", "right", "right_as_wrong", "right_as_gold"] = Field(
        default="both",
        description="Right and wrong rationales, wrong ones, the data's solutions; or (controls) right ones, as many "
        "as both, as wrong ones, as solutions.",
    )


def distil(bench: Bench, config: Config) -> Solver:
    """Sample the teacher and imitate what the pile asked for holds."""
    said = bench.ask("teacher", TEACHER)
    verdicts = bench.judge("teacher", said)
    chosen = bench.choose(said, verdicts, pile="wrong" if config.learn == "wrong" else "right")
    rows = pile(bench, chosen, MATCHED.get(config.learn, config.learn))
    if config.learn in MATCHED:
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
        made = whole_and_padded(examples, pad_id(student)) if config.released else tuple(examples)
        return Built(examples=made, dropped=tuple(dropped))

    released = ["released"] * config.released  # so that what clean makes keeps its address
    lesson = bench.examples(chosen, [prompt.hash, "imitated", config.learn, *released], build, rows)
    over = divisor(config.released)
    student = bench.fit(lesson, weighted_nll(over), loss_settings=["weighted_nll", over])
    return shot_of(bench, student, config.released)


def pile(bench: Bench, chosen: Chosen, name: str) -> Sequence[Rationale]:
    """What MIX, NEG or "Fine-tune" learns.

    Raises:
        DataError: the data set has no solutions of its own, and they are asked for.
    """
    if name == "gold":
        return solutions(bench.problems.rows)
    return chosen.piles.wrong if name == "wrong" else (*chosen.piles.right, *chosen.piles.wrong)


def solutions(problems: Sequence[Problem]) -> list[Rationale]:
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


def check(config: Config, start: Start) -> None:
    """Look for solutions where they are to be learnt, or counted."""
    if MATCHED.get(config.learn, config.learn) == "gold":
        solutions(start.problems)


def control(config: Config) -> Config | None:
    """As many right rationales; None for a control itself."""
    own = {pile: name for name, pile in MATCHED.items()}.get(config.learn)
    return None if own is None else config.model_copy(update={"learn": own})


def makes(config: Config) -> Makes:
    """As released padding stops the student, and the prompt is learnt, which an encoder-decoder never predicts."""
    return Makes(layers=config.released, causal=config.released)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    words = "imitates right rationales, repeated to as many examples"
    name, words = {
        "both": ("mix", "imitates right and wrong rationales alike"),
        "wrong": ("neg", "imitates wrong rationales alone"),
        "gold": ("gold", "imitates the data set's own solutions"),
        "right": ("right_only", words),
        "right_as_wrong": ("right_only_as_wrong", f"{words} as wrong ones alone"),
        "right_as_gold": ("right_only_as_gold", f"{words} as there are solutions"),
    }[config.learn]
    return (f"{name}_released", f"{words}, as the code was released") if config.released else (name, words)
