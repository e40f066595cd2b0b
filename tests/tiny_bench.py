"""A bench small enough for a test of any method: 24 lab problems, a student of 10,000 weights, the lab's teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from feints.bench import Bench, Lesson
from feints.curate.examples import answer_only_examples
from feints.curate.funnel import Funnel
from feints.curate.settings import CurateSettings
from feints.evaluate.settings import ExamSettings
from feints.generate.budget import Budget
from feints.generate.ledger import Ledger
from feints.generate.prompt import STUDENT
from feints.generate.scripted import ScriptedSource
from feints.generate.settings import SamplingSettings
from feints.generate.weights import weights_identity
from feints.lab.mistakes import MistakeSettings
from feints.lab.nano import write_untrained
from feints.lab.teacher import LabTeacher
from feints.lab.teacher_settings import LabTeacherSettings
from feints.lab.world import problems
from feints.records import Example, Problem
from feints.runs import RunFolder
from feints.train.batch import Batcher
from feints.train.losses import Loss, weighted_nll
from feints.train.rows import Layout, Rows
from feints.train.settings import AdapterSettings, StudentSettings, TrainSettings
from feints.train.student import Student
from feints.verify.pool import CheckerPool

PROBLEMS = 24
FEW = TrainSettings(max_steps=4, batch_examples=8, learning_rate=3e-3, rows="packed", log_steps=1)


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a method gave to one training."""

    lesson: Lesson
    loss: Loss
    learner: Callable[[], Student]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Watched(Bench):
    """A bench that notes every training."""

    fits: list[Fitted] = field(default_factory=list)

    def fit(self, lesson: Lesson, loss: Loss, **how: Any) -> Path:
        make = how.get("student") or (lambda: self.fresh_student(how.get("start")))
        folder = super().fit(lesson, loss, **how)
        self.fits.append(Fitted(lesson=lesson, loss=loss, learner=make, folder=folder))
        return folder


def few_groups(examples: Sequence[Example], wanted: int = 6) -> list[Example]:
    """The first whole groups."""
    names = list(dict.fromkeys(example.group or example.id for example in examples))[:wanted]
    return [example for example in examples if (example.group or example.id) in names]


def gradient_of(fitted: Fitted, examples: Sequence[Example], rows: Rows, micro_tokens: int) -> Tensor:
    """Gradient of the loss on all examples as one optimiser step, flat, with every trained number moved off zero."""
    model = fitted.learner().model.eval()
    batcher = Batcher(examples, Layout(rows=rows, micro_tokens=micro_tokens, seq2seq=False, pad_id=0))
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in learning:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=noise))
    step = batcher.whole()
    for numbers in step.micro:
        sum(fitted.loss(model, batcher.batch(numbers), step.counts).values(), torch.zeros(())).backward()
    return torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in learning])


def write_student(folder: Path) -> Path:
    """An untrained nano of 16 hidden numbers."""
    torch.set_num_threads(1)
    write_untrained(folder, seed=0, hidden=16, layers=1, heads=2)
    return folder


def write_talker(folder: Path, untrained: Path) -> Path:
    """The same student taught to say "The answer is ..." and little else: readable, and nearly always wrong."""
    with tiny_bench(
        folder, untrained, training=FEW.model_copy(update={"max_steps": 60, "learning_rate": 2e-2})
    ) as bench:
        chosen = bench.choose(asked := bench.ask("teacher", STUDENT), bench.judge("teacher", asked))
        lesson = bench.examples(
            chosen,
            ["answer"],
            lambda student, rows: answer_only_examples(
                student.renderer, STUDENT, [bench.by_id[row.problem_id] for row in rows]
            ),
        )
        return bench.fit(lesson, weighted_nll(), loss_settings=["talker"])


@contextmanager
def tiny_bench(folder: Path, student: Path, *, lora: bool = False, **changed: Any) -> Iterator[Watched]:
    """A bench in `folder` on which any method runs in seconds; `changed` replaces its fields."""
    teacher = LabTeacher(LabTeacherSettings(mistakes=MistakeSettings(regime="slips")))
    run = RunFolder(folder / "run")
    kept = run.table("0_problems", "train", Problem, ["tiny", PROBLEMS], lambda: problems("train", PROBLEMS))
    ledger = Ledger(folder / "ledger.sqlite")
    adapter = AdapterSettings(kind="lora", rank=2) if lora else AdapterSettings()
    settings: dict[str, Any] = {
        "teacher": ScriptedSource.from_responder(teacher.respond, teacher.model),
        "budget": Budget(),
        "sampling": SamplingSettings(n=4, temperature=0.9),
        "curate": CurateSettings(validation=0.15, near_duplicate=None),
        "student": StudentSettings(model=str(student), adapter=adapter),
        "training": FEW,
        "exam": ExamSettings(max_tokens=24),
        "arm": "tiny",
        "seed": 0,
        **changed,
    }
    try:
        with CheckerPool(workers=1) as pool:
            yield Watched(
                run=run,
                problems=kept,
                funnel=Funnel().start("in the task", "problems", len(kept)),
                ledger=ledger,
                pool=pool,
                student_identity=weights_identity(student),
                console=Console(file=StringIO()),
                **settings,
            )
    finally:
        ledger.close()


def exam_problems(count: int = 6) -> list[Problem]:
    """Problems no tiny student was trained on."""
    return problems("test", count)
