"""NEG and NAT as the bench trains them, for the methods that start from a NAT; torch is imported at the top.

Li et al., "Turning Dust into Gold" (AAAI 2024), steps 1.1 and 1.2; nothing but those methods imports this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from feints.bench import Bench, Lesson
from feints.config import Settings
from feints.curate.choice import Chosen
from feints.curate.examples import Built, build_examples
from feints.curate.released import whole_and_padded
from feints.curate.split import unit_interval
from feints.evaluate.pad_stop import PadShot
from feints.evaluate.solver import Solver
from feints.generate.prompt import STUDENT
from feints.generate.weights import hash_files
from feints.records import Rationale, Role, Verdict
from feints.runs import Stored
from feints.train.assistants import NatStudent, adapter_of, neg_student
from feints.train.losses import Divisor, weighted_nll
from feints.train.student import Student

ASSISTANT_VERSION = 2
"""Raised when the layers would give other weights from the same examples."""
Profile = Literal["clean", "as_released"]


class ProfileSettings(Settings):
    """Base of the settings of a method of TDG that can learn as its code does."""

    profile: Profile = Field(default="clean", description="clean, or as_released: see the departures.")

    @property
    def released(self) -> bool:
        """Whether the profile is as_released."""
        return self.profile == "as_released"


class NatSettings(ProfileSettings):
    """What a NAT is like; its low-rank additions are those of the recipe's student, or the paper's."""

    negative: Literal["wrong", "zeros", "positive", "shuffled"] = Field(
        default="wrong",
        description="What NEG imitates: wrong rationales, or (controls) nothing, right ones, or shuffled wrong ones.",
    )
    width: int = Field(default=128, ge=1, description="Width of the integrate units.")
    weights: Literal["learnt", "zero"] = Field(
        default="learnt", description="The weight of NEG: found by each unit, or (control) fixed at zero."
    )


def learn_nat(bench: Bench, settings: NatSettings, said: Stored[Rationale], verdicts: Stored[Verdict]) -> Path:
    """Folder of a NAT: NEG learns wrong rationales, is frozen, and POS and the units learn the right ones beside it."""
    right = bench.choose(said, verdicts)
    unused = settings.negative == "zeros" or settings.weights == "zero"
    neg = None if unused else _learn_neg(bench, settings, right, said, verdicts)
    adapter = adapter_of(bench.student).model_dump(mode="json")
    how: list[object] = [ASSISTANT_VERSION, adapter, settings.model_dump(mode="json"), neg_hash(neg)]

    def beside() -> Student:
        return NatStudent.beside(
            bench.student,
            neg,
            width=settings.width,
            seed=bench.seed,
            weigh=settings.weights == "learnt",
            device=bench.device or "cpu",
            released=settings.released,
        )

    return bench.fit(
        lesson_of(bench, right, right.piles.right, Role.RIGHT, settings.released, "nat"),
        weighted_nll(divisor(settings.released)),
        loss_settings=["nat", *how],
        student=beside,
        save=lambda student, folder: student.save(folder),
        name="nat",
    )


def _learn_neg(
    bench: Bench, settings: NatSettings, right: Chosen, said: Stored[Rationale], verdicts: Stored[Verdict]
) -> Path:
    """Folder of the adapter that stands for NEG: its likelihood of what it learns is raised, never lowered."""
    wrong = bench.choose(said, verdicts, pile="wrong")
    positive = settings.negative == "positive"
    rows: Sequence[Rationale] = right.piles.right if positive else wrong.piles.wrong
    if settings.negative == "shuffled":
        rows = shuffled(rows, bench.seed)
    chosen, role = (right, Role.RIGHT) if positive else (wrong, Role.WRONG)
    # A second POS must not be the first one over again, so it starts from another seed.
    seed = bench.seed + 1_000_003 if positive else bench.seed
    return bench.fit(
        lesson_of(bench, chosen, rows, role, settings.released, "neg"),
        weighted_nll(divisor(settings.released)),
        loss_settings=[
            "neg",
            ASSISTANT_VERSION,
            adapter_of(bench.student).model_dump(mode="json"),
            seed,
            settings.released,
        ],
        student=lambda: neg_student(bench.student, seed=seed, device=bench.device or "cpu", released=settings.released),
        save=lambda student, folder: student.save(folder, merge=False),
        name="neg",
    )


def divisor(released: bool) -> Divisor:
    """Mean over target tokens, or as released over every token of the padded sequence."""
    return "valid_tokens" if released else "target_tokens"


def neg_hash(neg: Path | None) -> str:
    """Hash of a saved adapter; "" for none."""
    return "" if neg is None else hash_files([neg / "adapter" / "adapter_model.safetensors"])


def lesson_of(bench: Bench, chosen: Chosen, rows: Sequence[Rationale], role: Role, released: bool, name: str) -> Lesson:
    """Examples of `rows`, all to be imitated; as released with prompt and padding in the loss."""
    prompt = bench.prompt(STUDENT)

    def build(student: Student, used: Sequence[Rationale]) -> Built:
        built = build_examples(
            student.renderer,
            prompt,
            bench.by_id,
            used,
            role=role,
            thinking=bench.curate.thinking,
            max_tokens=bench.curate.max_tokens,
        )
        if not released:
            return built
        return replace(built, examples=whole_and_padded(built.examples, pad_id(student)))

    return bench.examples(chosen, [prompt.hash, role, released], build, rows, name=name)


def shot_of(bench: Bench, student: Path, released: bool) -> Solver:
    """A student asked as the exam wants; as released padding ends its texts too."""
    prompt = bench.prompt(STUDENT)
    if not released:
        return bench.one_shot(student, prompt)
    how: dict[str, Any] = {"source_settings": bench.local_settings, "device": bench.device}
    return bench.voting(PadShot(student, prompt, bench.exam.sampling, checker=bench.pool, **how))


def pad_id(student: Student) -> int:
    """The id that fills sequences up: the tokenizer's own, else 0."""
    found = student.renderer.tokenizer.pad_token_id
    return 0 if found is None else int(found)


def shuffled(rows: Sequence[Rationale], seed: int) -> list[Rationale]:
    """The same texts, each under the problem of another one where there is another: a control without content.

    Texts are put in an order drawn from `seed`, problems by problem, and each takes the problem that lies half the
    list away, as the rotation that meets the fewest of its own.
    """
    ordered = sorted(rows, key=lambda row: (unit_interval("shuffled", seed, row.problem_id), row.problem_id, row.id))
    half = len(ordered) // 2
    turned = ordered[half:] + ordered[:half]
    return [replace(row, problem_id=other.problem_id) for row, other in zip(ordered, turned, strict=True)]
