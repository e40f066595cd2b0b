"""ETD: one student learns words, programs and equations, told apart by a cue, and falls back from one to the next.

"Distilling Mathematical Reasoning Capabilities into Small Language Models" (Zhu et al., 2024), arXiv 2401.11864. The
teacher answers every problem in three forms; what reaches the gold answer by reading, running or solving is pooled; the
student learns the pool by maximum likelihood, each form under its own fixed cue: step by step, a program, a system of
equations that is not to be simplified. At inference it writes a program first; where that leaves no value, equations;
where they leave none, words.

Departures: 1) the order in which the forms are tried is not known of the paper; `order` is ours. 2) Forms are pooled as
they come, none is made more frequent. 3) Falling back is counted: tokens of every form tried belong to the answer. 4)
Near-identical rationales of a problem and form count once; set curate.near_duplicate to null for all.

Control: the same problems, teacher replies and number of examples, of the first form of the order alone, each of its
rationales as often as it takes; no fallback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from feints import methods
from feints.bench import Bench
from feints.bench.inner import Makes
from feints.config import UnreleasedSettings
from feints.curate.choice import Chosen
from feints.curate.examples import Built, build_examples
from feints.curate.split import as_many
from feints.evaluate.chained import Fallback
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, TEACHER
from feints.records import Form, Rationale, Role, content_hash
from feints.train.losses import weighted_nll
from feints.train.student import Student
from feints.verify import equations, programs
from feints.verify.executor import require

FORMS = (Form.COT, Form.POT, Form.EOT)
TEACHERS = {Form.COT: TEACHER, Form.POT: programs.TEACHER, Form.EOT: equations.TEACHER}
STUDENTS = {Form.COT: STUDENT, Form.POT: programs.STUDENT, Form.EOT: equations.STUDENT}
ORDERS = {
    "pot_eot_cot": (Form.POT, Form.EOT, Form.COT),
    "eot_pot_cot": (Form.EOT, Form.POT, Form.COT),
    "cot_only": (Form.COT,),
    "pot_only": (Form.POT,),
    "eot_only": (Form.EOT,),
}


class Config(UnreleasedSettings):
    """Settings of ETD."""

    order: Literal["pot_eot_cot", "eot_pot_cot", "pot_only", "eot_only", "cot_only"] = Field(
        default="pot_eot_cot", description="Forms tried in turn at inference."
    )
    mixture: bool = Field(default=True, description="Learn all three forms, or (the control) the first of the order.")


def distil(bench: Bench, config: Config) -> Solver:
    """Ask in three forms, keep what is right, learn the pool under three cues, fall back at inference."""
    for form in FORMS:
        require(form)
    chosen = _pool(bench)
    order = ORDERS[config.order]
    prompts = {form: bench.prompt(STUDENTS[form]) for form in FORMS}
    rows = chosen.piles.right
    if not config.mixture:
        rows = as_many([row for row in rows if row.form is order[0]], rows, chosen.validation)

    def build(student: Student, rows: Sequence[Rationale]) -> Built:
        """One example a row; a row that stands there twice makes two, of ids of their own."""
        parts = [
            build_examples(
                student.renderer,
                prompts[row.form],
                bench.by_id,
                [row],
                role=Role.RIGHT,
                thinking=bench.curate.thinking,
                max_tokens=bench.curate.max_tokens,
            )
            for row in rows
        ]
        examples = [
            replace(example, id=content_hash(example.id, place))
            for place, part in enumerate(parts)
            for example in part.examples
        ]
        return Built(examples=tuple(examples), dropped=tuple(row for part in parts for row in part.dropped))

    lesson = bench.examples(chosen, ["etd", [prompts[form].hash for form in FORMS]], build, rows)
    student = bench.fit(lesson, weighted_nll(), loss_settings=["weighted_nll", "target_tokens"])
    tried = order if config.mixture else order[:1]
    shots = [bench.shot(student, prompts[form], form=form) for form in tried]
    return bench.voting(Fallback(shots) if shots[1:] else shots[0])


def control(config: Config) -> Config | None:
    """As many examples of the first form alone."""
    return config.model_copy(update={"mixture": False}) if config.mixture else None


def makes(config: Config) -> Makes:
    """Questions of each form, and one form after the other at inference."""
    order = ORDERS[config.order]
    return Makes(plain=False, one_text=not config.mixture or len(order) == 1, words=order[0] is Form.COT)


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    order = ", ".join(ORDERS[config.order])
    if config.mixture:
        name = "etd" if config.order == "pot_eot_cot" else f"etd_{config.order}"
        return name, f"learns words, programs and equations; answers by {order}"
    return f"etd_one_form_{ORDERS[config.order][0]}", "as many examples, all of one form"


def asks(config: Config, sampled: int) -> methods.Asks:
    """Two more forms are asked for, whatever is learnt."""
    del config
    return methods.Asks(2 * sampled)


def _pool(bench: Bench) -> Chosen:
    """The right rationales of all forms."""
    pooled: Chosen | None = None
    for form in FORMS:
        said = bench.ask(f"teacher-{form}", TEACHERS[form], list(bench.problems), form=form)
        found = bench.choose(said, bench.judge(f"teacher-{form}", said), unit=f"{form} rationales")
        pooled = found if pooled is None else pooled.joined(found)
    assert pooled is not None
    return pooled
