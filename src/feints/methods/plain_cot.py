"""Plain chain-of-thought distillation (Std-CoT, CoT-KD): imitate the teacher's right rationales.

The baseline every method is held against: Std-CoT in EDIT (Dai et al., ACL 2025), CoT-KD in Turning Dust into Gold
(Li et al., AAAI 2024), CoTD in KPDD (Zhu et al., 2024). The teacher is sampled, what reaches the gold answer is kept,
and the student learns it by maximum likelihood: sum of nll over target tokens / target tokens of the step.
Wrong rationales are judged, stored and counted, and not learnt from: that is what the other methods are for.

Departures: 1) only target tokens are learnt and an end-of-sequence token always is (TDG-D1 trains on prompt and
padding instead). 2) Near-identical rationales of a problem count once; set curate.near_duplicate to null for all.

Control: answer-only fine-tuning on the same problems, once per right rationale, hence at equal optimiser steps.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from feints.bench import Bench
from feints.config import Settings
from feints.curate.examples import answer_only_examples, build_examples
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.records import Role
from feints.train.losses import weighted_nll


class Config(Settings):
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
    if config.target == "rationale":
        examples = bench.examples(
            chosen,
            [prompt.hash, "rationale"],
            lambda student, rows: build_examples(
                student.renderer,
                prompt,
                bench.by_id,
                rows,
                role=Role.RIGHT,
                thinking=bench.curate.thinking,
                max_tokens=bench.curate.max_tokens,
            ),
        )
    else:
        examples = bench.examples(
            chosen,
            [prompt.hash, "answer"],
            lambda student, rows: answer_only_examples(
                student.renderer,
                prompt,
                [bench.by_id[row.problem_id] for row in rows],
                max_tokens=bench.curate.max_tokens,
            ),
        )
    student = bench.fit(examples, weighted_nll(), loss_settings=["weighted_nll", "target_tokens"])
    return bench.one_shot(student, prompt)


def control(config: Config) -> Config | None:
    """Answer-only fine-tuning; None for the control itself."""
    return config.model_copy(update={"target": "answer"}) if config.target == "rationale" else None


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    if config.target == "rationale":
        return "plain_cot", "imitates the teacher's right rationales"
    return "answer_only", "same problems and optimiser steps, the answer alone is learnt"
