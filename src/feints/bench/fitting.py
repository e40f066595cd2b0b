"""Stage 4 as the bench does it: a student trained once for all that its weights depend on; torch is imported late."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feints.bench.lessons import Lesson
from feints.bench.serving import weights_of
from feints.train.history import last_totals
from feints.train.settings import TrainSettings, deciding

if TYPE_CHECKING:
    from feints.bench import Bench
    from feints.train.losses import Loss
    from feints.train.student import Student

TRAINING_VERSION = 1
"""Raised when the loop would give other weights from the same examples; students are then trained anew."""
UNSEEN_BY_WEIGHTS = {"checkpoint_seconds", "checkpoint_steps", "trackers"}
"""Settings of training that have no part in what is learnt, as those that `deciding` puts at their defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One call of `Bench.fit`, everything settled; its fields are described there."""

    lesson: Lesson
    loss: Loss
    loss_settings: tuple[object, ...]
    settings: TrainSettings
    start: Path | None
    student: Callable[[], Student] | None
    save: Callable[[Student, Path], None] | None
    name: str


def fit(bench: Bench, training: Training) -> Path:
    """Folder of the student: read where it is known, else trained, going on from the last checkpoint."""
    label = "-".join(part for part in (bench.arm, training.name, f"seed{bench.seed}") if part)

    def make(folder: Path) -> None:
        from feints.train.loop import fit as run_loop  # noqa: PLC0415  torch

        student = training.student() if training.student else bench.fresh_student(training.start)
        train, validation = training.lesson.train.rows, training.lesson.validation.rows
        bench.console.print(f"training {label} on {len(train):,} examples", highlight=False)
        where = folder / "training"
        run_loop(student, train, training.loss, training.settings, where, validation=validation, device=bench.device)
        (training.save or _save_merged)(student, folder / "student")

    stored = bench.run.folder(
        "4_student", label, _depends(bench, training), make, arm=bench.arm, seed=bench.seed, name=training.name
    )
    bench.notices.extend(_only_warm_up(label, last_totals(stored.path), training.settings))
    return stored.path / "student"


def _only_warm_up(label: str, totals: dict[str, Any] | None, settings: TrainSettings) -> list[str]:
    """Word of a training that ended before its learning rate had risen; read off its record, so reruns say the same."""
    steps = totals["step"] if totals else 0
    if not totals or steps > settings.warmup_steps:
        return []
    return [
        f"training {label}: its {steps} steps are all warm-up (train.warmup_steps: {settings.warmup_steps}), so the "
        "learning rate hardly rose; lower it, or train on more examples or for more epochs"
    ]


def mean(bench: Bench, students: Sequence[Path], name: str) -> Path:
    """See `Bench.mean`."""

    def make(folder: Path) -> None:
        from feints.train.mean import write_mean  # noqa: PLC0415  torch

        write_mean(students, folder / "student")

    label = f"{bench.arm}-{name}-seed{bench.seed}"
    depends = [TRAINING_VERSION, "mean", *(weights_of(bench, student) for student in students)]
    stored = bench.run.folder("4_student", label, depends, make, arm=bench.arm, seed=bench.seed, name=name)
    return stored.path / "student"


def _depends(bench: Bench, training: Training) -> list[object]:
    return [
        TRAINING_VERSION,
        training.lesson.train.address,
        training.lesson.validation.address,
        bench.student_identity if training.start is None else weights_of(bench, training.start),
        bench.student.model_copy(update={"gradient_checkpointing": False}).model_dump(mode="json", exclude={"model"}),
        deciding(training.settings).model_dump(mode="json", exclude=UNSEEN_BY_WEIGHTS),
        list(training.loss_settings),
        *["learns in float32"] * (bench.student.dtype != "float32"),  # it once learnt in its own precision
    ]


def fresh_student(bench: Bench, start: Path | None) -> Student:
    """See `Bench.fresh_student`."""
    from feints.train.student import Student  # noqa: PLC0415  torch

    settings = bench.student if start is None else bench.student.model_copy(update={"model": str(start)})
    return Student.load(settings, seed=bench.seed, device=bench.device or "cpu")


def _save_merged(student: Student, folder: Path) -> None:
    student.save(folder)
