"""The bench: what lies before a method when it starts; each stage as one call, remembered in the run folder.

torch is imported late, in the two calls that need it: asking, judging and choosing need the core alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from feints.curate.choice import Chosen, Pile, choose
from feints.curate.examples import Built
from feints.curate.funnel import Funnel, FunnelStep
from feints.curate.settings import CurateSettings
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import Majority, OneShot, Sampler, Solver
from feints.generate.budget import Budget
from feints.generate.ledger import Ledger
from feints.generate.progress import SamplingProgress
from feints.generate.prompt import Prompt
from feints.generate.rationales import Asking, ask_all, rationale_from
from feints.generate.settings import SamplingSettings
from feints.generate.source import Completion, TextSource
from feints.records import Dropped, Example, Form, Judgement, Origin, Problem, Rationale, Verdict, content_hash
from feints.runs import RunFolder, Stored
from feints.train.settings import StudentSettings, TrainSettings
from feints.verify.fingerprint import code_hash
from feints.verify.pool import CheckerPool

if TYPE_CHECKING:
    from feints.train.losses import Loss
    from feints.train.student import Student

TRAINING_VERSION = 1
"""Raised when the loop would give other weights from the same examples; students are then trained anew."""
UNSEEN_BY_WEIGHTS = {"checkpoint_seconds", "checkpoint_steps", "trackers"}
"""Settings of training that change neither weights nor metrics; changing them trains nothing anew."""
JUDGED_AT_ONCE = 1000

Builder = Callable[["Student", Sequence[Rationale]], Built]
"""Makes examples of rationales with a student's renderer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Examples to fit and to validate on."""

    train: Stored[Example]
    validation: Stored[Example]


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
    teacher_prompt: Prompt | None
    """The user's prompt in place of the method's own."""
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

    @cached_property
    def by_id(self) -> Mapping[str, Problem]:
        """Training problems by id."""
        return {problem.id: problem for problem in self.problems}

    # ------------------------------------------------------------------------------------------ generate and verify

    def ask(
        self,
        label: str,
        prompt: Prompt,
        asked: Iterable[Problem | Asking] | None = None,
        *,
        source: TextSource | Path | None = None,
        sampling: SamplingSettings | None = None,
        origin: Origin = Origin.SAMPLED,
        form: Form = Form.COT,
        round: int = 0,
    ) -> Stored[Rationale]:
        """Ask about problems (all of them unless given), through the ledger.

        Sampling that a budget or Ctrl+C ended early is stored as what it is; the next run goes on. The budget is the
        teacher's: another source draws without one.

        Args:
            label: name of the table.
            prompt: the recipe's own prompt stands in for it where it asks nothing but the problem of the teacher.
            asked: what is asked; an `Asking` fills the prompt's further slots and names a parent.
            source: who is asked instead of the teacher; a folder is a student, loaded only if there is work.
            sampling: instead of the recipe's.
            origin: why these are written.
            form: their shape.
            round: of a method with rounds.
        """
        if source is None and not prompt.slots:
            prompt = self.teacher_prompt or prompt
        askings = [
            a if isinstance(a, Asking) else Asking(problem=a) for a in (self.problems if asked is None else asked)
        ]
        sampling = sampling or self.sampling
        depends: list[object] = [
            self.problems.address,
            content_hash([[a.problem.id, dict(a.filled), a.parent] for a in askings]),
            self._who(source),
            prompt.hash,
            sampling.model_dump(mode="json"),
            [origin, form, round],
        ]
        key = content_hash(label, depends)
        known = self.stopped.get(key) or self.run.known("1_rationales", label, Rationale, depends)
        if known is not None:
            return known
        author = self._opened(source)
        budget = self.budget if source is None else Budget()
        with SamplingProgress(self.console, label) as progress:
            answered, unsent, why = ask_all(
                author,
                askings,
                prompt,
                sampling,
                judge=self._judged,
                ledger=self.ledger,
                budget=budget,
                watcher=progress,
            )
        rows = [
            rationale_from(
                asking.problem,
                request,
                completion,
                prompt=prompt,
                author=author.identity,
                form=form,
                origin=origin,
                round=round,
                parent=asking.parent,
            )
            for asking, request, completion in answered
        ]
        if unsent:
            self.notices.append(
                f"{label}: {unsent:,} requests were not answered ({why}); a further run goes on from here"
            )
            depends += ["stopped early", content_hash([row.id for row in rows])]
        stored = self.run.table("1_rationales", label, Rationale, depends, lambda: rows)
        if unsent:
            self.stopped[key] = stored
        return stored

    def _who(self, source: TextSource | Path | None) -> list[object]:
        """Who is asked, found without loading weights."""
        if not isinstance(source, Path):
            return [(source or self.teacher).identity]
        from feints.generate.weights import weights_identity  # noqa: PLC0415  torch

        return [weights_identity(source), self.student.chat]

    def _opened(self, source: TextSource | Path | None) -> TextSource:
        if not isinstance(source, Path):
            return source or self.teacher
        from feints.generate.local import LocalSettings, LocalSource  # noqa: PLC0415  torch

        return LocalSource.from_folder(source, LocalSettings(chat=self.student.chat), device=self.device)

    def _judged(self, problem: Problem, completion: Completion) -> Judgement:
        return self.pool.check(problem, completion.text, thinking=completion.thinking, finish=completion.finish).value

    def judge(self, label: str, rationales: Stored[Rationale]) -> Stored[Verdict]:
        """A verdict on every rationale; judged anew when the checkers' source changed."""

        def make() -> list[Verdict]:
            rows = list(rationales)
            starts = range(0, len(rows), JUDGED_AT_ONCE)
            verdicts: list[Verdict] = []
            for start in track(starts, f"judging {label}", console=self.console, disable=len(starts) < 3):
                part = rows[start : start + JUDGED_AT_ONCE]
                found = self.pool.check_all(
                    (self.by_id[row.problem_id], row.text, row.thinking, row.finish) for row in part
                )
                verdicts += [replace(verdict, rationale_id=row.id) for row, verdict in zip(part, found, strict=True)]
            return verdicts

        depends = [rationales.address, self.problems.address, code_hash()]
        verdicts = self.run.table("2_verdicts", label, Verdict, depends, make)
        self._notice_short(label, rationales, verdicts)
        return verdicts

    def _notice_short(self, label: str, rationales: Stored[Rationale], verdicts: Stored[Verdict]) -> None:
        """Say how many problems were asked to the maximum in vain; from the tables alone, so a rerun says it too."""
        adaptive = self.sampling.adaptive
        if adaptive is None:
            return
        found: dict[str, Counter[Judgement]] = {}
        for row, verdict in zip(rationales, verdicts, strict=True):
            # Hinted, corrupted or own texts are asked for one verdict only, so they are never short of the other.
            if row.origin is Origin.SAMPLED:
                found.setdefault(row.problem_id, Counter())[verdict.value] += 1
        short = sum(
            counts.total() >= adaptive.maximum
            and (counts[Judgement.CORRECT] < adaptive.wanted_right or counts[Judgement.WRONG] < adaptive.wanted_wrong)
            for counts in found.values()
        )
        if short:
            self.notices.append(f"{label}: {short:,} problems reached the maximum of {adaptive.maximum} samples")

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
    ) -> Lesson:
        """Examples of the right rationales (or of `rows`), apart for training and validation.

        Args:
            chosen: what curation left.
            how: everything `build` depends on besides the student and the rows, JSON-able.
            build: makes the examples.
            rows: instead of the right pile; a row learnt from twice stands here twice.
            name: told apart from other lessons of this arm by it.

        Raises:
            EmptyPileError: nothing is left to learn from.
        """
        used = list(chosen.piles.right if rows is None else rows)
        if not used:
            chosen.funnel.refuse_empty()
        label = f"{self.arm}-{name}" if name else self.arm
        depends = [
            chosen.address,
            self.student_identity,
            [self.student.chat, self.curate.thinking, self.curate.max_tokens],
            list(how),
            content_hash([r.id for r in used]),
        ]
        made: dict[str, Built] = {}

        def build_once() -> Built:
            if "all" not in made:
                made["all"] = build(self.fresh_student(), used)
            return made["all"]

        def part(held_back: bool) -> list[Example]:
            return [e for e in build_once().examples if (e.problem_id in chosen.validation) == held_back]

        train = self.run.table(
            "3_examples", f"{label}-train", Example, [*depends, "train"], lambda: part(False), arm=self.arm
        )
        validation = self.run.table(
            "3_examples", f"{label}-validation", Example, [*depends, "validation"], lambda: part(True), arm=self.arm
        )
        dropped = self.run.table(
            "3_dropped",
            f"{label}-rows",
            Dropped,
            [*depends, content_hash([asdict(row) for row in chosen.dropped])],
            lambda: [*chosen.dropped, *build_once().dropped],
        )
        reasons = Counter(row.reason for row in dropped.rows[len(chosen.dropped) :])
        funnel = chosen.funnel.start("to learn from", "examples", len(used))
        funnel = funnel.step("examples", len(train) + len(validation), reasons)
        funnel = funnel.step("to train on", len(train), Counter({"held back for validation": len(validation)}))
        self.run.table(
            "3_dropped",
            f"{label}-funnel",
            FunnelStep,
            [*depends, [asdict(step) for step in funnel.steps]],
            lambda: funnel.steps,
            arm=self.arm,
        )
        funnel.refuse_empty()
        return Lesson(train=train, validation=validation)

    # ------------------------------------------------------------------------------------------ train and solve

    def fresh_student(self, start: Path | None = None) -> Student:
        """The student before any training (or the one in a folder); its adapter starts from the training seed."""
        from feints.train.student import Student  # noqa: PLC0415  torch

        settings = self.student if start is None else self.student.model_copy(update={"model": str(start)})
        return Student.load(settings, seed=self.seed, device=self.device or "cpu")

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
        training = (settings or self.training).model_copy(update={"seed": self.seed})
        label = "-".join(part for part in (self.arm, name, f"seed{self.seed}") if part)
        depends = [
            TRAINING_VERSION,
            lesson.train.address,
            lesson.validation.address,
            self.student_identity if start is None else self._who(start),
            self.student.model_dump(mode="json", exclude={"model"}),
            training.model_dump(mode="json", exclude=UNSEEN_BY_WEIGHTS),
            list(loss_settings),
        ]

        def make(folder: Path) -> None:
            from feints.train.loop import fit  # noqa: PLC0415  torch

            learner = student() if student else self.fresh_student(start)
            self.console.print(f"training {label} on {len(lesson.train):,} examples", highlight=False)
            fit(learner, lesson.train.rows, loss, training, folder / "training", validation=lesson.validation.rows)
            (save or _save_merged)(learner, folder / "student")

        stored = self.run.folder("4_student", label, depends, make, arm=self.arm, seed=self.seed, name=name)
        return stored.path / "student"

    def one_shot(self, student: Path, prompt: Prompt) -> Solver:
        """A solver that asks the student in a folder once, greedily, or as often as the exam's vote wants."""
        rendering = {"chat": self.student.chat}
        return self.voting(OneShot(student, prompt, self.exam.sampling, checker=self.pool, source_settings=rendering))

    def voting(self, solver: Sampler) -> Solver:
        """A solver that asks once, or as often as the exam's vote wants."""
        return Majority(solver, self.exam.votes) if self.exam.votes > 1 else solver


def _save_merged(student: Student, folder: Path) -> None:
    student.save(folder)
