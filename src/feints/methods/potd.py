"""PoTD and its kin: imitate right rationales of an executed form, programs (PoTD), equations (EoTD) or constraints.

PoTD, "PaD: Program-aided Distillation Specializes Large Models in Reasoning" (Zhu et al., 2023), arXiv 2305.13888, and
EoTD, "Distilling Mathematical Reasoning Capabilities into Small Language Models" (Zhu et al., 2024), arXiv 2401.11864;
constraints after SatLM (Ye et al., 2023). The teacher writes what a machine can run, the run decides what is right, and
the student learns that text by maximum likelihood: sum of nll over target tokens / target tokens of the step. What the
student writes is run as well, so it need not calculate. `form: cot` is CoTD, the same in words.

Departures: 1) programs run in a sandbox of processes without files and network, equations and constraints are read by a
grammar of ours and never evaluated as text. 2) A rationale that fails to run is a wrong one and keeps its kind of
failure; what this machine cannot run is not judged. 3) PaD's self-refinement and step-wise beam search are left out.
4) The unsatisfiable and the ambiguous are two kinds of failure (SatLM) for equations too; a constraint may declare a
whole number (`Int`), where SatLM has reals alone. 5) Near-identical rationales of a problem count once; set
curate.near_duplicate to null for all.

Control: answer-only fine-tuning on the same problems, once per right rationale, hence at equal optimiser steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from pydantic import Field

from feints import methods
from feints.bench import Bench
from feints.bench.inner import Makes
from feints.config import UnreleasedSettings
from feints.curate.examples import Built, answer_only_examples, build_examples
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.records import Form, Rationale, Role
from feints.train.losses import weighted_nll
from feints.train.student import Student
from feints.verify import constraints, equations, programs
from feints.verify.executor import require

TEACHERS = {
    Form.COT: TEACHER,
    Form.POT: programs.TEACHER,
    Form.EOT: equations.TEACHER,
    Form.SAT: constraints.TEACHER,
}
STUDENTS = {
    Form.COT: STUDENT,
    Form.POT: programs.STUDENT,
    Form.EOT: equations.STUDENT,
    Form.SAT: constraints.STUDENT,
}
NAMES = {
    Form.COT: ("cotd", "imitates right rationales in words"),
    Form.POT: ("potd", "imitates programs that reach the answer"),
    Form.EOT: ("eotd", "imitates equations whose solution is the answer"),
    Form.SAT: ("satd", "imitates constraints that only the answer satisfies"),
}


class Config(UnreleasedSettings):
    """Settings of distillation in one form."""

    form: Literal["pot", "eot", "sat", "cot"] = Field(
        default="pot", description="Programs (PoTD), equations (EoTD), constraints (SatLM) or words (CoTD)."
    )
    target: Literal["rationale", "answer"] = Field(
        default="rationale", description="What is learnt: the whole rationale, or (the control) the gold answer alone."
    )


def distil(bench: Bench, config: Config) -> Solver:
    """Ask for rationales of the form, keep those whose run gives the gold answer, imitate them."""
    form = Form(config.form)
    require(form)
    rationales = bench.ask(f"teacher-{form}", TEACHERS[form], form=form)
    chosen = bench.choose(rationales, bench.judge(f"teacher-{form}", rationales))
    learns_answer = config.target == "answer"
    prompt = bench.prompt(STUDENT if learns_answer else STUDENTS[form])

    def build(student: Student, rows: Sequence[Rationale]) -> Built:
        if learns_answer:
            problems = [bench.by_id[row.problem_id] for row in rows]
            return answer_only_examples(student.renderer, prompt, problems, max_tokens=bench.curate.max_tokens)
        return build_examples(
            student.renderer,
            prompt,
            bench.by_id,
            rows,
            role=Role.RIGHT,
            thinking=bench.curate.thinking,
            max_tokens=bench.curate.max_tokens,
        )

    lesson = bench.examples(chosen, [asdict(prompt), config.target], build)
    student = bench.fit(lesson, weighted_nll(), loss_settings=["weighted_nll", "target_tokens"])
    return bench.one_shot(student, prompt, form=Form.COT if learns_answer else form)


def control(config: Config) -> Config | None:
    """Answer-only fine-tuning; None for the control itself."""
    return config.model_copy(update={"target": "answer"}) if config.target == "rationale" else None


def asks(config: Config, sampled: int) -> methods.Asks:
    """Words are asked for by the plain question, every other form by its own."""
    return methods.Asks() if config.form == "cot" else methods.Asks(sampled, plain=False)


def makes(config: Config) -> Makes:
    """Every form but words has questions of its own."""
    words = config.form == "cot"
    return Makes(plain=words, words=words)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    name, words = NAMES[Form(config.form)]
    if config.target == "rationale":
        return name, words
    return f"{name}_answer_only", "same problems and optimiser steps, the answer alone is learnt"
