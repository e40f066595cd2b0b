"""KPDD: core question, then problem-solving information, then the solution, each learnt by a stage of its own.

"Key-Point-Driven Mathematical Reasoning Distillation of Large Language Model" (Zhu et al., 2024), arXiv 2407.10167, of
which neither text nor code was to be had, so this is a reconstruction. Small students misread problems; so they write
down what is asked and known before they solve it, in words (KPDD-CoT) or as a program whose value is the answer
(KPDD-PoT). With q, c, i, s for question, core question, information and solution, the stages learn nll(c | q),
nll(i | q, c) and nll(s | q, c, i): means over target tokens, each by a student of its own, or all by one that a last
line of the prompt tells which stage is meant. At inference each stage reads what the ones before wrote.

Departures: 1) the teacher is sampled as the recipe says and shown no demonstrations, not greedily first with retries.
2) Key points are written greedily and once, also where solutions vote. 3) Where written key points make a prompt longer
than the student's context, it is solved without them. 4) Failed programs count as wrong (KPDD-A7); for words instead
see method etd. 5) Solutions are compared as any other answer of the form is, to less than 1e-3 for executed ones. 6)
Solutions may also be equations (eot) or constraints (sat). 7) Words and programs share core question and information
where the teacher is asked in three calls (KPDD-A6: the first two are the same and paid once); in one call each reply
has its own. 8) Key points that state an answer, or a core question with a figure that the question lacks, are rejected
with the reply. 9) No stage learns hidden reasoning, which covers all fields of a reply. 10) Near-identical replies
count once, before key points are judged (KPDD-P2: curate.near_duplicate null).

Control: of the same replies the solution alone is learnt from the question alone (CoTD, PoTD), at equal solving steps.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from feints import methods
from feints.bench import Bench
from feints.bench.inner import Makes
from feints.config import UnreleasedSettings
from feints.curate.choice import Chosen
from feints.curate.examples import Built
from feints.curate.keypoints import CORE_HEAD, INFORMATION_HEAD, KeyPoints, accept_all, read_fields, without_head
from feints.curate.stages import Stage, field, filling, stage_examples
from feints.evaluate.chained import Chain, Link
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT, Prompt
from feints.generate.rationales import Asking
from feints.records import Form, Origin, Rationale, content_hash
from feints.train.losses import weighted_nll
from feints.train.student import Student
from feints.verify import constraints, equations, programs
from feints.verify.executor import require

# ------------------------------------------------------------------------------------------------ what is asked

HOW = {
    Form.COT: 'Solve it step by step, one short sentence per step, and end with "The answer is ...".',
    Form.POT: "The solution is a short Python program that leaves the answer in the variable ans and prints nothing.",
    Form.EOT: "The solution is a system of equations, one per line, none simplified; its unknown ans is the answer.",
    Form.SAT: "The solution is declarative constraints for a solver, one per line, ending with the line solve(ans).",
}
IN_ONE = Prompt(
    id="kpdd_teacher",
    template="{question}\n{choices}\n\nState the core question. List the useful information item by item, with every "
    "number as the problem gives it. Then write the solution. Put the three under the labels "
    f'"{CORE_HEAD}", "{INFORMATION_HEAD}" and "Solution:", each on a line of its own.\n{{how}}',
)
CORE_ALONE = Prompt(
    id="kpdd_teacher_core",
    template="{question}\n{choices}\n\nState the core question of this problem in one complete sentence. "
    "Write nothing else.",
)
INFORMATION_ALONE = Prompt(
    id="kpdd_teacher_information",
    template="{question}\n{choices}\n\n{core}\n\nList the most useful information for this core question, one item "
    "per line, with every number as the problem gives it. Write nothing else.",
)
SOLUTION_ALONE = Prompt(
    id="kpdd_teacher_solution",
    template="{question}\n{choices}\n\nHint:\n{information}\n{core}\n\nUnderstand the hint and the question, and solve "
    "the problem.\n{how}",
)
"""The three calls of DUP, which KPDD's stages match by name and order."""

CUES = {
    Form.COT: STUDENT.cue,
    Form.POT: programs.STUDENT.cue,
    Form.EOT: equations.STUDENT.cue,
    Form.SAT: constraints.STUDENT.cue,
}
CORE = Prompt(id="kpdd_core", template="{question}\n{choices}\n{cue}", cue=CORE_HEAD)
INFORMATION = Prompt(id="kpdd_information", template="{question}\n{choices}\n{core}\n{cue}", cue=INFORMATION_HEAD)
BOTH = Prompt(id="kpdd_key_points", template="{question}\n{choices}\n{cue}", cue="Key points:")
SOLVES = {
    3: Prompt(id="kpdd_solution", template="{question}\n{choices}\n{core}\n{information}\n{cue}"),
    2: Prompt(id="kpdd_solution_two", template="{question}\n{choices}\n{key_points}\n{cue}"),
    1: Prompt(id="kpdd_one_pass", template="{question}\n{choices}\nKey points and solution.\n{cue}"),
    0: Prompt(id="kpdd_control", template="{question}\n{choices}\n{cue}"),
}
"""What the student that solves is asked, by number of stages; 0 is the control's. The form's own cue is put in."""


class Config(UnreleasedSettings):
    """Settings of KPDD."""

    form: Literal["cot", "pot", "eot", "sat"] = Field(
        default="cot", description="Solutions in words (KPDD-CoT), as programs (KPDD-PoT), equations or constraints."
    )
    stages: Literal[3, 2, 1] = Field(
        default=3, description="Core question, information, solution; key points in one; or all in one text (KPDD-A1)."
    )
    sharing: Literal["separate", "single"] = Field(
        default="separate", description="A student for each stage, at as many times the parameters, or one (KPDD-A2)."
    )
    calls: Literal["one", "chained"] = Field(
        default="one", description="The teacher writes all three fields in one call, or in three as DUP asks for them."
    )
    core_weight: float = Field(default=1.0, ge=0, description="Lambda of the core question; 0 leaves it out (single).")
    information_weight: float = Field(default=1.0, ge=0, description="Lambda of the information, or of both as one.")
    solution_weight: float = Field(default=1.0, gt=0, description="Lambda of the solution.")
    predicted: float = Field(
        default=0.0, ge=0, le=1, description="Share of solutions learnt from key points of the student's own (KPDD-A3)."
    )
    key_points: bool = Field(default=True, description="Learn key points, or (the control) the solution alone.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.sharing == "separate" and 0 in self.before:
            raise ValueError("a student of its own cannot learn at weight 0; set sharing: single, or a weight above 0")
        if self.predicted and (self.sharing == "single" or self.stages == 1):
            raise ValueError("predicted key points need students of their own; set sharing: separate, stages: 2 or 3")
        return self

    @property
    def before(self) -> tuple[float, ...]:
        """Weights of the stages before the solution."""
        return {3: (self.core_weight, self.information_weight), 2: (self.information_weight,), 1: ()}[self.stages]


# ------------------------------------------------------------------------------------------------ the method


def distil(bench: Bench, config: Config) -> Solver:
    """Ask for key points and solutions, keep what is right and grounded, learn stage by stage, answer by the chain."""
    require(Form(config.form))
    if bench.curate.thinking == "keep":
        bench.notices.append("kpdd: hidden reasoning belongs to no single stage and is not learnt (curate.thinking)")
    chosen, points = accepted(bench, config)
    stages = stages_of(bench, config)
    students: dict[str, Path] = {}
    if config.sharing == "single" and len(stages) > 1:
        one = _fit(bench, chosen, stages, points, "stages")
        students = {stage.name: one for stage in stages}
    elif not config.key_points and config.sharing == "single" and config.stages > 1:
        times = 1 + sum(weight > 0 for weight in config.before)  # a stage of weight 0 made the method no examples
        students = {stages[-1].name: _fit(bench, chosen, stages * times, points, "")}
    else:
        for stage in stages:
            own = config.predicted if stage is stages[-1] else 0.0
            read = _own_key_points(bench, chosen, points, stages[:-1], students, own)
            students[stage.name] = _fit(bench, chosen, [stage], points, stage.name if stages[1:] else "", read)
    if len(set(students.values())) > 1:
        bench.notices.append(f"{bench.arm}: {len(stages)} students answer in turn, {len(stages)} times the parameters")
    greedy = replace(bench.exam.sampling, temperature=0.0)
    *before, last = stages
    final = bench.shot(students[last.name], last.prompt, form=Form(config.form))
    links = [Link(s.name, s.head, bench.shot(students[s.name], s.prompt, sampling=greedy)) for s in before]
    return bench.voting(Chain(links, final) if links else final)


def control(config: Config) -> Config | None:
    """The same replies, the solution alone: CoTD or PoTD."""
    return config.model_copy(update={"key_points": False, "predicted": 0.0}) if config.key_points else None


def makes(config: Config) -> Makes:
    """Questions of its own, and a student or a text for each stage."""
    return Makes(plain=False, one_text=config.stages == 1 or not config.key_points, words=config.form == "cot")


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    if not config.key_points:
        return f"kpdd_control_{config.form}", "the same accepted replies, the solution alone is learnt"
    who = "one student" if config.sharing == "single" or config.stages == 1 else f"{config.stages} students"
    name = f"kpdd_{config.form}_{config.stages}" + ("_single" if config.sharing == "single" else "")
    return name, f"core question and information before the solution, by {who}"


def asks(config: Config, sampled: int) -> methods.Asks:
    """A question of its own; chained calls ask for core question and information first."""
    return methods.Asks(sampled if config.calls == "one" else 3 * sampled, plain=False)


# ------------------------------------------------------------------------------------------------ the teacher's part


def accepted(bench: Bench, config: Config) -> tuple[Chosen, dict[str, KeyPoints]]:
    """Replies whose solution is right and whose key points are sound, with their fields."""
    form = Form(config.form)
    if config.calls == "one":
        labelled = Form.KEYPOINTS if form is Form.COT else form
        askings = [Asking(problem=problem, filled={"how": HOW[form]}) for problem in bench.problems]
        said = bench.ask("key-points", IN_ONE, askings, form=labelled)
        fields: dict[str, Mapping[str, str] | None] = {row.id: read_fields(row.text) for row in said}
        chosen = bench.choose(said, bench.judge("key-points", said))
    else:
        chosen, fields = _in_three_calls(bench, form)
    return accept_all(bench.by_id, chosen, fields, grounding=True)


def _in_three_calls(bench: Bench, form: Form) -> tuple[Chosen, dict[str, Mapping[str, str] | None]]:
    once = bench.sampling.model_copy(update={"n": 1, "temperature": 0.0, "adaptive": None})
    cores = bench.ask("core", CORE_ALONE, list(bench.problems), sampling=once)
    asked = [_continued(bench, row, core=f"{CORE_HEAD} {without_head(row.text, CORE_HEAD)}") for row in cores]
    facts = bench.ask("information", INFORMATION_ALONE, asked, sampling=once)
    core_of = {row.id: without_head(row.text, CORE_HEAD) for row in cores}
    told = {
        row.id: {"core": core_of[row.parent or ""], "information": without_head(row.text, INFORMATION_HEAD)}
        for row in facts
    }
    asked = [_continued(bench, row, **told[row.id], how=HOW[form]) for row in facts]
    said = bench.ask("solution", SOLUTION_ALONE, asked, form=form)
    fields = {row.id: {**told[row.parent or ""], "solution": row.text} for row in said}
    return bench.choose(said, bench.judge("solution", said)), dict(fields)


def _continued(bench: Bench, row: Rationale, **filled: str) -> Asking:
    return Asking(problem=bench.by_id[row.problem_id], filled=filled, parent=row.id)


def stages_of(bench: Bench, config: Config) -> list[Stage]:
    """The stages in order; the last one solves."""
    number = config.stages if config.key_points else 0
    solve = bench.prompt(replace(SOLVES[number], cue=CUES[Form(config.form)]))
    weights = {"core": config.core_weight, "information": config.information_weight}
    if number == 3:
        before = [
            Stage("core", f"{CORE_HEAD} ", bench.prompt(CORE), field("core"), weights["core"]),
            Stage(
                "information",
                f"{INFORMATION_HEAD}\n",
                bench.prompt(INFORMATION),
                field("information"),
                weights["information"],
            ),
        ]
    else:
        both = Stage("key_points", "", bench.prompt(BOTH), field("core", "information"), weights["information"])
        before = [both] if number == 2 else []
    whole = field("core", "information", "solution") if number == 1 else field("solution")
    return [*before, Stage("solution", "", solve, whole, config.solution_weight)]


def _fit(
    bench: Bench,
    chosen: Chosen,
    stages: Sequence[Stage],
    points: Mapping[str, KeyPoints],
    name: str,
    read: Mapping[str, Mapping[str, str]] | None = None,
) -> Path:
    """A fresh student taught these stages."""
    shown = read or {key: own.fields for key, own in points.items()}
    how = [[[stage.name, stage.prompt.hash, stage.weight] for stage in stages], content_hash(dict(shown)), "kpdd"]
    rows = [row for _ in [stage for stage in stages if stage.weight] for row in chosen.piles.right]

    def build(student: Student, _: Sequence[Rationale]) -> Built:
        return stage_examples(
            student.renderer, stages, bench.by_id, chosen.piles.right, shown, points, bench.curate.max_tokens
        )

    lesson = bench.examples(chosen, how, build, rows, name=name)
    return bench.fit(lesson, weighted_nll(), loss_settings=["weighted_nll", "target_tokens"], name=name)


def _own_key_points(
    bench: Bench,
    chosen: Chosen,
    points: Mapping[str, KeyPoints],
    before: Sequence[Stage],
    students: Mapping[str, Path],
    share: float,
) -> dict[str, Mapping[str, str]]:
    """The fields that solutions are learnt from: the teacher's, and for a share of the problems the students' own."""
    read: dict[str, Mapping[str, str]] = {key: own.fields for key, own in points.items()}
    problems = sorted({row.problem_id for row in chosen.piles.right})
    drawn = set(random.Random(bench.seed).sample(problems, round(share * len(problems))))
    once = bench.sampling.model_copy(
        update={"n": 1, "temperature": 0.0, "adaptive": None, "max_tokens": bench.exam.max_tokens}
    )
    own: dict[str, dict[str, str]] = {problem: {"core": "", "information": ""} for problem in drawn}
    for stage in before if drawn else ():
        asked = [
            Asking(problem=bench.by_id[problem], filled=filling(stage.prompt, own[problem]))
            for problem in sorted(drawn)
        ]
        label = f"{bench.arm}-own-{stage.name}"
        said = bench.ask(label, stage.prompt, asked, source=students[stage.name], sampling=once, origin=Origin.SELF)
        for row in said:
            own[row.problem_id][stage.name] = row.text
    return read | {row.id: own[row.problem_id] for row in chosen.piles.right if row.problem_id in drawn}
