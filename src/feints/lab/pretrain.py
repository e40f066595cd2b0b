"""Pretrains the nano student on the lab's language and one-step arithmetic, never on a reasoning of several steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Literal

from pydantic import Field
from rich.progress import track

from feints.config import Settings
from feints.generate.local import LocalSource
from feints.generate.prompt import STUDENT
from feints.generate.source import Message, Request, Sampling
from feints.lab.lessons import (
    Lesson,
    equations,
    looking_up,
    looking_up_in_stories,
    next_step,
    one_step,
    retelling,
)
from feints.lab.nano import NANO_NAME, write_untrained
from feints.lab.vocabulary import tokens
from feints.lab.world import WORLD_VERSION, problems
from feints.records import AnswerKind, Example, Judgement, Problem
from feints.runs import current_commit
from feints.train.loop import fit
from feints.train.losses import weighted_nll
from feints.train.metrics import FitResult
from feints.train.settings import StudentSettings, TrainSettings
from feints.train.student import Student
from feints.verify import check

CARD = "card.json"
EXAM = 500
"""Problems of one step that the card's accuracy is measured on."""


class Stage(Settings):
    """What is read in one go."""

    one_step: int = Field(default=0, ge=0, description="Problems of one step, with that step.")
    next_step: int = Field(default=0, ge=0, description="Stories with what is known so far, and the next step alone.")
    retelling: int = Field(default=0, ge=0, description="Stories, and their facts again in another order.")
    looking_up: int = Field(default=0, ge=0, description="Lists of facts whose numbers are looked up.")
    looking_up_in_stories: int = Field(
        default=0, ge=0, description="Stories whose plain numbers are looked up, where they have any."
    )
    equations: int = Field(default=0, ge=0, description="Texts of eight equations each.")
    learning_rate: float = Field(default=1.5e-3, gt=0, description="Peak learning rate of Muon.")
    schedule: Literal["constant", "cosine"] = Field(default="cosine", description="Of the learning rate.")


MIXED = Stage(
    one_step=12_000,
    next_step=58_000,
    retelling=8_000,
    looking_up=10_600,
    looking_up_in_stories=5_300,
    equations=10_600,
    learning_rate=2e-3,
    schedule="constant",
)
"""Language and arithmetic. Which number belongs to whom is not learnt among so much else (LOG.md)."""
BINDING = Stage(
    retelling=2_500, looking_up=10_000, looking_up_in_stories=2_500, learning_rate=1e-3, schedule="constant"
)
"""Numbers are bound to names, and nothing else: a million tokens do it, after language and not before."""
STEPS = Stage(
    one_step=38_700,
    next_step=86_000,
    retelling=10_300,
    looking_up=34_400,
    looking_up_in_stories=10_300,
    equations=25_800,
)
"""What the second stage forgot comes back, on numbers bound to names."""


class PretrainSettings(Settings):
    """How the nano student is made; the defaults are the stages of the one that ships (see its card)."""

    stages: tuple[Stage, ...] = Field(default=(MIXED, BINDING, STEPS), min_length=1, description="One after the other.")
    hidden: int = Field(default=128, ge=16, description="Width of the student.")
    layers: int = Field(default=5, ge=1, description="Depth of the student.")
    heads: int = Field(default=4, ge=1, description="Attention heads.")
    batch_tokens: int = Field(default=512, ge=1, description="Tokens of one optimiser step.")
    question_weight: float = Field(default=0.05, ge=0, description="Weight of the tokens of a question.")
    word_weight: float = Field(default=0.25, gt=0, le=1, description="Weight of a word, where a digit or sign has 1.")
    seed: int = Field(default=0, ge=0, description="Of the weights, the data and their order.")


def lessons(stage: Stage, seed: int) -> Iterator[Lesson]:
    """The lessons of a stage; another seed, other lessons."""
    kinds: tuple[tuple[int, Callable[[int, int], Lesson | None]], ...] = (
        (stage.one_step, one_step),
        (stage.next_step, next_step),
        (stage.retelling, retelling),
        (stage.looking_up, looking_up),
        (stage.looking_up_in_stories, looking_up_in_stories),
        (stage.equations, equations),
    )
    drawn = [(index, make) for count, make in kinds for index in range(count)]
    for index, make in track(drawn, "writing lessons", disable=len(drawn) < 1000):
        lesson = make(index, seed)
        if lesson is not None:
            yield lesson


def example(student: Student, lesson: Lesson, settings: PretrainSettings) -> Example:
    """The ids of a lesson, each piece with its own weight, end of sequence learnt."""
    prompt = student.renderer.prompt_ids(_messages(lesson))
    target = student.renderer.target_ids(" ".join(text for text, _ in lesson.parts if text))
    weights = [
        weight * (settings.word_weight if token.isalpha() else 1.0)
        for text, weight in lesson.parts
        for token in tokens(text)
    ]
    # The end of sequence weighs as the last part does.
    weights.append(lesson.parts[-1][1])
    return Example(
        id=lesson.name,
        problem_id="",
        rationale_id="",
        prompt_ids=prompt,
        target_ids=target,
        weights=(settings.question_weight,) * len(prompt) + tuple(weights),
        tokenizer_hash=student.renderer.tokenizer_hash,
    )


def _messages(lesson: Lesson) -> tuple[Message, ...]:
    if not lesson.question:
        return (Message(role="user", content=""),)
    return STUDENT.messages(
        Problem(
            id=lesson.name,
            question=lesson.question,
            answer="",
            answer_kind=AnswerKind.NUMBER,
            task="lab",
            split="pretraining",
        )
    )


def pretrain(folder: Path, settings: PretrainSettings) -> FitResult:
    """Make the nano student from nothing and write it, with its card, to `folder/student`; resumes after a crash.

    Returns what training told of the last stage.
    """
    start = folder / "random"
    if not (start / "config.json").exists():
        write_untrained(start, seed=settings.seed, hidden=settings.hidden, layers=settings.layers, heads=settings.heads)
    student = Student.load(StudentSettings(model=str(start)), seed=settings.seed)
    shown: set[str] = set()
    results: list[FitResult] = []
    for place, stage in enumerate(settings.stages):
        # Every stage has a seed of its own, so that no lesson comes twice.
        read = list(lessons(stage, settings.seed + place))
        shown |= {lesson.question for lesson in read}
        examples = [example(student, lesson, settings) for lesson in read]
        loss, training = weighted_nll("absolute_weight"), _training(settings, stage)
        results.append(fit(student, examples, loss, training, folder / f"stage_{place + 1}"))
    student.save(folder / "student")
    accuracy = one_step_accuracy(student, settings.seed + len(settings.stages), shown)
    write_card(folder / "student" / CARD, student, settings, results, accuracy)
    return results[-1]


def _training(settings: PretrainSettings, stage: Stage) -> TrainSettings:
    return TrainSettings(
        batch_tokens=settings.batch_tokens,
        micro_tokens=settings.batch_tokens,
        rows="padded",
        optimizer="muon",
        learning_rate=stage.learning_rate,
        warmup_steps=200,
        schedule=stage.schedule,
        weight_decay=0.01,
        clip_norm=1.0,
        betas=(0.9, 0.99),
        log_steps=100,
        seed=settings.seed,
    )


def write_card(
    path: Path, student: Student, settings: PretrainSettings, results: list[FitResult], accuracy: tuple[int, int]
) -> None:
    """Write down what the student is, how it was made and how well it solves problems of one step."""
    card = {
        "name": NANO_NAME,
        "world_version": WORLD_VERSION,
        "commit": current_commit(),
        "settings": settings.model_dump(mode="json"),
        "parameters": sum(parameter.numel() for parameter in student.model.parameters()),
        "tokens": sum(result.tokens for result in results),
        "steps": sum(result.steps for result in results),
        "final_loss": round(results[-1].loss, 4),
        "one_step_accuracy": dict(zip(("right", "total"), accuracy, strict=True)),
    }
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def one_step_accuracy(student: Student, seed: int, shown: Set[str]) -> tuple[int, int]:
    """Problems of one step solved greedily, of those whose questions were not shown: (right, asked)."""
    drawn = problems("one_step", EXAM, seed=seed)
    asked = {STUDENT.messages(problem): problem for problem in drawn if problem.question not in shown}
    source = LocalSource(student.model, student.renderer, student.identity)
    requests = [Request(messages=turns, sampling=Sampling(max_tokens=64)) for turns in asked]
    right = sum(
        check(asked[request.messages], completion.text).value is Judgement.CORRECT
        for ended in source.decode_all(requests)
        for request, completion in ended
    )
    return right, len(requests)
