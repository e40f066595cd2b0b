"""A throw-away toy of three-stage KPDD (Zhu et al., 2024) to try the contracts: three students, a chained solver."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from feints.bench import Bench
from feints.config import Settings
from feints.curate.examples import STEP, Built, build_examples
from feints.evaluate.solver import Judged, OneShot, Sampler, Solver, answer_with, load_solver, write_solver
from feints.generate.prompt import STUDENT, Prompt
from feints.generate.source import Sampling
from feints.records import Answer, Dropped, Form, Problem, Rationale, Role, content_hash
from feints.train.losses import weighted_nll
from feints.train.student import Student

ASK = Prompt(
    id="kpdd_teacher",
    template="{question}\n{choices}\n\nState the core question, list the useful information, then solve it step "
    'by step, under the labels "Core question:", "Useful information:", "Solution:". End with "The answer is ...".',
)
STAGES = {
    "core": Prompt(id="kpdd_core", template="{question}\n{choices}\nCore question:"),
    "information": Prompt(id="kpdd_information", template="{question}\n{choices}\nCore question: {core}\nInformation:"),
    "solution": Prompt(
        id="kpdd_solution",
        template="{question}\n{choices}\nCore question: {core}\nInformation: {information}\n{cue}",
        cue=STUDENT.cue,
    ),
}
_FIELDS = re.compile(
    r"Core question:\s*(?P<core>.+?)\s*Useful information:\s*(?P<information>.+?)\s*Solution:\s*(?P<solution>.+)", re.S
)


class Config(Settings):
    """Settings of the toy."""

    key_points: bool = Field(default=True, description="Three students, or (the control) the solution alone by one.")


def distil(bench: Bench, config: Config) -> Solver:
    """One call per problem; a student for each of the three fields; a chain of them answers."""
    said = bench.ask("key-points", ASK, form=Form.KEYPOINTS)
    chosen = bench.choose(said, bench.judge("key-points", said))
    prompts = STAGES if config.key_points else {"solution": STUDENT}
    shots = {}
    for field, prompt in prompts.items():
        lesson = bench.examples(chosen, [prompt.hash, field], _stage(bench, field, prompt), name=field)
        student = bench.fit(lesson, weighted_nll(), loss_settings=["weighted_nll"], name=field)
        shots[field] = OneShot(student, prompt, bench.exam.sampling, checker=bench.pool)
    return bench.voting(Chain(shots) if config.key_points else shots["solution"])


def control(config: Config) -> Config | None:
    """The same replies, the solution alone."""
    return Config(key_points=False) if config.key_points else None


def arm(config: Config) -> tuple[str, str]:
    """Name and explanation for tables."""
    return ("kpdd", "core question, facts, solution") if config.key_points else ("kpdd_solution", "the solution alone")


def _stage(bench: Bench, field: str, prompt: Prompt) -> Callable[[Student, Sequence[Rationale]], Built]:
    def build(student: Student, rows: Sequence[Rationale]) -> Built:
        read = {row.id: found.groupdict() for row in rows if (found := _FIELDS.search(row.text))}
        built = build_examples(
            student.renderer,
            prompt,
            bench.by_id,
            [replace(row, text=read[row.id][field]) for row in rows if row.id in read],
            role=Role.RIGHT,
            filled={name: {slot: fields[slot] for slot in prompt.slots} for name, fields in read.items()},
        )
        unread = [Dropped(item_id=row.id, step=STEP, reason="fields missing") for row in rows if row.id not in read]
        return replace(built, dropped=(*built.dropped, *unread))

    return build


class Chain:
    """Asks one student after the other, each with what those before it said."""

    def __init__(self, shots: Mapping[str, OneShot]) -> None:
        self.shots = dict(shots)

    @property
    def sampling(self) -> Sampling:
        return self.shots["solution"].sampling

    @property
    def identity(self) -> str:
        return content_hash("kpdd chain", {field: shot.identity for field, shot in self.shots.items()})

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        judged = self.sample(problems, 1, seed)
        return [answer_with(problem, own, 0) for problem, own in zip(problems, judged, strict=True)]

    def sample(self, problems: Sequence[Problem], samples: int, seed: int, *, first: int = 0) -> list[list[Judged]]:
        """Key points once, `samples` solutions on them; the first sample carries the tokens of the key points."""
        filled: list[dict[str, str]] = [{} for _ in problems]
        spent = [0] * len(problems)
        for field in ("core", "information"):
            shot = self.shots[field]
            given = [{slot: own[slot] for slot in shot.prompt.slots} for own in filled]
            for place, (said,) in enumerate(shot.write(problems, 1, seed, given)):
                filled[place][field] = said.text
                spent[place] += said.usage.completion_tokens
        judged = self.shots["solution"].sample(problems, samples, seed, filled, first=first)
        for own, tokens in zip(judged, spent, strict=True):
            first, verdict = own[0]
            usage = replace(first.usage, completion_tokens=first.usage.completion_tokens + tokens)
            own[0] = replace(first, usage=usage), verdict
        return judged

    def save(self, folder: Path) -> None:
        for field, shot in self.shots.items():
            shot.save(folder / field)
        write_solver(folder, self, {"fields": list(self.shots)})

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        shots = {field: load_solver(folder / field) for field in settings["fields"]}
        return cls({field: shot for field, shot in shots.items() if isinstance(shot, OneShot)})


_: type[Sampler] = Chain
