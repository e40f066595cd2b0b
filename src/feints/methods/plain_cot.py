"""Plain chain-of-thought distillation (Std-CoT, CoT-KD): imitate the teacher's right rationales.

The baseline every method is held against: Std-CoT in EDIT (Dai et al., ACL 2025), CoT-KD in Turning Dust into Gold
(Li et al., AAAI 2024), CoTD in KPDD (Zhu et al., 2024). The teacher is sampled, what reaches the gold answer is kept,
and the student learns it by maximum likelihood: sum of nll over target tokens / target tokens of the step.
Wrong rationales are judged, stored and counted, and not learnt from: that is what the other methods are for.

Departures: 1) only target tokens are learnt and an end-of-sequence token always is; `profile: as_released` learns
prompt and padding instead, as the code of Turning Dust into Gold does (TDG-D1). 2) Near-identical rationales of a
problem count once, in either profile; set curate.near_duplicate to null for all. 3) Instead of a limit of 1,600
characters (CoT-KD), curate.max_tokens leaves out what is too long. 4) Where padding is learnt, it is the tokenizer's
own padding token, and id 0 only where it has none; nat, nce and mix do the same.

Control: answer-only fine-tuning on the same problems, once per right rationale, hence at equal optimiser steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from feints.bench import Bench
from feints.bench.assistants import ProfileSettings, divisor, pad_id, shot_of
from feints.bench.inner import Makes
from feints.curate.examples import Built, answer_only_examples, build_examples
from feints.curate.released import whole_and_padded
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.records import Rationale, Role
from feints.train.losses import weighted_nll
from feints.train.student import Student


class Config(ProfileSettings):
    """Settings of plain distillation."""

    target: Literal["rationale", "answer"] = Field(
        default="rationale", description="What is learnt: the whole rationale, or (the control) the gold answer alone."
    )


def distil(bench: Bench, config: Config) -> Solver:
    """Sample the teacher, keep the right rationales, imitate them."""
    prompt = bench.prompt(STUDENT)
    rationales = bench.ask("teacher", TEACHER)
    verdicts = bench.judge("teacher", rationales)
    chosen = bench.choose(rationales, verdicts)

    def build(student: Student, rows: Sequence[Rationale]) -> Built:
        most = bench.curate.max_tokens
        if config.target == "answer":
            problems = [bench.by_id[row.problem_id] for row in rows]
            built = answer_only_examples(student.renderer, prompt, problems, max_tokens=most)
        else:
            built = build_examples(
                student.renderer,
                prompt,
                bench.by_id,
                rows,
                role=Role.RIGHT,
                thinking=bench.curate.thinking,
                max_tokens=most,
            )
        return replace(built, examples=whole_and_padded(built.examples, pad_id(student))) if config.released else built

    released = ["released"] * config.released  # so that what clean makes keeps its address
    examples = bench.examples(chosen, [prompt.hash, config.target, *released], build)
    over = divisor(config.released)
    student = bench.fit(examples, weighted_nll(over), loss_settings=["weighted_nll", over])
    return shot_of(bench, student, config.released)


def control(config: Config) -> Config | None:
    """Answer-only fine-tuning; None for the control itself."""
    return config.model_copy(update={"target": "answer"}) if config.target == "rationale" else None


def makes(config: Config) -> Makes:
    """As released padding stops the student, and the prompt is learnt, which an encoder-decoder never predicts."""
    return Makes(layers=config.released, causal=config.released)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    name, words = {
        "rationale": ("plain_cot", "imitates the teacher's right rationales"),
        "answer": ("answer_only", "same problems and optimiser steps, the answer alone is learnt"),
    }[config.target]
    return (f"{name}_released", f"{words}, as the code was released") if config.released else (name, words)
