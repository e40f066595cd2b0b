"""The bench: what lies before a method when it starts; each stage as one call, remembered in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from feints.bench import asking, fitting, judging, lessons
from feints.bench.lessons import Builder, Lesson
from feints.bench.serving import Learner, Serving
from feints.curate.choice import Chosen, Pile, choose
from feints.curate.funnel import Funnel
from feints.curate.leak import Decontaminated, keep_all
from feints.curate.settings import CurateSettings
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import Majority, OneShot, Sampler, Solver
from feints.generate.budget import Budget
from feints.generate.ledger import Ledger
from feints.generate.prompt import TEACHER, Prompt, own_prompt
from feints.generate.rationales import Asking
from feints.generate.settings import SamplingSettings
from feints.generate.source import Sampling, TextSource
from feints.records import Form, Origin, Problem, Rationale, Verdict
from feints.runs import RunFolder, Stored
from feints.train.settings import StudentSettings, TrainSettings
from feints.verify.pool import CheckerPool

if TYPE_CHECKING:
    from feints.train.losses import Loss
    from feints.train.student import Student

__all__ = ["Bench", "Builder", "Lesson"]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a method is given. Every call is a stage: remembered by what it depends on, redone only if that changed."""

    run: RunFolder
    """Where everything is written."""
    problems: Stored[Problem]
    """Training problems, leaks removed."""
    funnel: Funnel
    """What became of the problems so far."""
    teacher: TextSource
    """Who writes rationales."""
    ledger: Ledger
    """Where paid replies are kept."""
    budget: Budget
    """The most that may be spent."""
    pool: CheckerPool
    """Judges answers."""
    sampling: SamplingSettings
    """How rationales are drawn."""
    curate: CurateSettings
    """What is learnt from."""
    student: StudentSettings
    """Who learns."""
    student_identity: str
    """Hash of the student's weights and tokenizer."""
    training: TrainSettings
    """How it learns."""
    exam: ExamSettings
    """How solvers answer."""
    arm: str
    """Name of the solver being made, for file names."""
    seed: int
    """Training seed."""
    device: str | None = None
    """Where students run; None takes a GPU where there is one."""
    console: Console = field(default_factory=lambda: Console(stderr=True))
    """Where progress and notices go."""
    notices: list[str] = field(default_factory=list)
    """What a reader of the report must know."""
    stopped: dict[str, Stored[Rationale]] = field(default_factory=dict)
    """Sampling that ended early, by what it depends on: every arm of this run learns from the same rationales."""
    sampled: dict[str, SamplingSettings] = field(default_factory=dict)
    """How each table of rationales was drawn, by its address."""
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    """The user's prompts by the id of the one each stands in for."""
    prompt_ids: set[str] = field(default_factory=set)
    """Ids of the prompts that methods used, and a user may replace."""
    given: Stored[Rationale] | None = None
    """Rationales that stand in for the plain question about all problems, where a method trains inside a round.

    Another prompt, form or sampling asks for something else, and the teacher is asked.
    """
    without_leaks: Callable[[Sequence[Problem]], Decontaminated] = keep_all
    """Sorts out problems made on the way that occur in a test set of the task."""
    serving: Serving | None = None
    """An endpoint that writes the texts of students in folders; None: they are loaded here."""
    examiner: Callable[[Bench, Solver, str], None] | None = None
    """Takes the exams of a solver on the way, under a name."""

    @cached_property
    def by_id(self) -> Mapping[str, Problem]:
        """Training problems by id."""
        return {problem.id: problem for problem in self.problems}

    @property
    def local_settings(self) -> dict[str, Any]:
        """Fields of `LocalSettings` for students that write here: rendered and held as they are trained."""
        held = {} if self.student.dtype == "float32" else {"dtype": self.student.dtype}
        return {"chat": self.student.chat, **held}

    def prompt(self, default: Prompt) -> Prompt:
        """The user's prompt in place of `default`, or `default`; a method takes those of its students from here.

        Raises:
            SettingsError: the user's has other slots.
        """
        self.prompt_ids.add(default.id)
        return own_prompt(default, self.prompts)

    # ------------------------------------------------------------------------------------------ generate and verify

    def ask(
        self,
        label: str,
        prompt: Prompt,
        asked: Iterable[Problem | Asking] | None = None,
        *,
        source: TextSource | Learner | None = None,
        sampling: SamplingSettings | None = None,
        origin: Origin = Origin.SAMPLED,
        form: Form = Form.COT,
        round: int = 0,
    ) -> Stored[Rationale]:
        """Ask about problems (all of them unless given), through the ledger.

        Sampling that a budget or Ctrl+C ended early is stored as what it is, be it nothing; the next run goes on. The
        budget is the teacher's: another source draws without one.

        Args:
            label: name of the table.
            prompt: the teacher is asked the user's instead, where there is one for this id.
            asked: what is asked; an `Asking` fills the prompt's further slots and names a parent.
            source: who is asked instead of the teacher; a folder or a solver is a student, loaded only if there is
                work, or served where the recipe names an endpoint for students.
            sampling: instead of the recipe's.
            origin: why these are written.
            form: their shape.
            round: of a method with rounds.

        Raises:
            BudgetError: the budget allows no request at all, and the run holds no rationales yet.
        """
        plain = prompt == TEACHER and form is Form.COT and origin is Origin.SAMPLED
        if self.given is not None and source is None and asked is None and plain and sampling in (None, self.sampling):
            return self.given
        if source is None:
            prompt = self.prompt(prompt)
        order = asking.Order(
            label=label,
            prompt=prompt,
            askings=asking.askings_of(self.problems if asked is None else asked),
            source=source,
            sampling=sampling or self.sampling,
            origin=origin,
            form=form,
            round=round,
        )
        return asking.ask(self, order)

    def judge(self, label: str, rationales: Stored[Rationale]) -> Stored[Verdict]:
        """A verdict on every rationale; judged anew when the checkers' source changed."""
        return judging.judge(self, label, rationales)

    def read_attempts(self, label: str, attempts: Stored[Rationale], problems: Sequence[Problem]) -> Stored[Verdict]:
        """What is read out of every attempt at new problems whose answer nobody knows yet, remembered like verdicts.

        `extracted` is what counts: the problems hold a stand-in for the gold answer, so the report leaves these
        verdicts out of what was right and wrong.
        """
        return judging.read_attempts(self, label, attempts, problems)

    # ---------------------------------------------------------------------------------------------------- curate

    def choose(
        self,
        rationales: Stored[Rationale],
        verdicts: Stored[Verdict],
        *,
        pile: Pile = "right",
        unit: str = "rationales",
    ) -> Chosen:
        """Sort into piles, remove duplicates, balance, split by problem; see `curate.choice.choose`."""
        return choose(self.by_id, rationales, verdicts, self.curate, self.funnel, pile=pile, unit=unit)

    def examples(
        self,
        chosen: Chosen,
        how: Sequence[object],
        build: Builder,
        rows: Iterable[Rationale] | None = None,
        *,
        name: str = "",
        compared: bool = False,
    ) -> Lesson:
        """Examples of the right rationales (or of `rows`), apart for training and validation.

        Args:
            chosen: what curation left.
            how: everything `build` depends on besides the student and the rows, JSON-able.
            build: makes the examples.
            rows: instead of the right pile; a row learnt from twice stands here twice.
            name: told apart from other lessons of this arm by it.
            compared: whether they are pairs to be told apart by their roles, and no texts that anyone learns to write.

        Raises:
            EmptyPileError: nothing is left to learn from.
        """
        used = list(chosen.piles.right if rows is None else rows)
        return lessons.examples(self, chosen, how, build, used, name, compared)

    # ------------------------------------------------------------------------------------------ train and solve

    def fresh_student(self, start: Path | None = None) -> Student:
        """The student before any training (or the one in a folder); its adapter starts from the training seed."""
        return fitting.fresh_student(self, start)

    def fit(
        self,
        lesson: Lesson,
        loss: Loss,
        *,
        loss_settings: Sequence[object],
        settings: TrainSettings | None = None,
        start: Path | None = None,
        student: Callable[[], Student] | None = None,
        save: Callable[[Student, Path], None] | None = None,
        name: str = "",
    ) -> Path:
        """Train a fresh student and return its folder; resumes after a crash.

        Args:
            lesson: what it learns.
            loss: how hard each token pulls.
            loss_settings: everything the loss, `student` and `save` depend on, JSON-able.
            settings: instead of the recipe's.
            start: folder of the student to go on from, such as an earlier stage or round.
            student: makes the student to start from, where its layers are not the plain ones.
            save: writes what was learnt, where the plain merged weights would not hold it.
            name: told apart from other students of this arm by it.
        """
        training = fitting.Training(
            lesson=lesson,
            loss=loss,
            loss_settings=tuple(loss_settings),
            settings=(settings or self.training).model_copy(update={"seed": self.seed}),
            start=start,
            student=student,
            save=save,
            name=name,
        )
        return fitting.fit(self, training)

    def mean(self, students: Sequence[Path], *, name: str = "mean") -> Path:
        """Folder of a student whose weights are the mean of those of `students`, folders of one architecture.

        Raises:
            SettingsError: they hold other tensors.
        """
        return fitting.mean(self, students, name)

    def one_shot(self, student: Path, prompt: Prompt, *, form: Form = Form.COT) -> Solver:
        """A solver that asks the student in a folder once, greedily, or as often as the exam's vote wants."""
        return self.voting(self.shot(student, prompt, form=form))

    def shot(
        self, student: Path, prompt: Prompt, *, form: Form = Form.COT, sampling: Sampling | None = None
    ) -> OneShot:
        """The student in a folder asked once: a solver, or a stage of a solver that asks several times.

        Args:
            student: its folder.
            prompt: what it was trained with.
            form: what it writes.
            sampling: instead of the exam's.
        """
        return OneShot(
            student,
            prompt,
            sampling or self.exam.sampling,
            checker=self.pool,
            source_settings=self.local_settings,
            device=self.device,
            form=form,
            console=self.console,
        )

    def examine(self, solver: Solver, name: str) -> None:
        """Let a solver on the way (of a round or a stage) sit the exams, for the report alone: the method sees nothing.

        Does nothing unless the recipe wants it (`exam.on_the_way`).
        """
        if self.examiner is not None:
            self.examiner(self, solver, name)

    def voting(self, solver: Sampler) -> Solver:
        """A solver that asks once, or as often as the exam's vote wants."""
        return Majority(solver, self.exam.votes) if self.exam.votes > 1 else solver
