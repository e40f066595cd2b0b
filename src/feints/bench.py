"""The bench: what lies before a method when it starts; each stage as one call, remembered in the run folder.

torch is imported late, in the two calls that need it: asking, judging and choosing need the core alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import track

from feints.curate.balance import balance
from feints.curate.dedup import remove_duplicates
from feints.curate.examples import Built
from feints.curate.funnel import Funnel, FunnelStep
from feints.curate.piles import Piles, sort_piles
from feints.curate.settings import CurateSettings
from feints.curate.split import split_by_problem
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import Majority, OneShot, Solver
from feints.generate.adaptive import sample_adaptively
from feints.generate.budget import Budget
from feints.generate.ledger import Ledger
from feints.generate.progress import SamplingProgress
from feints.generate.prompt import Prompt
from feints.generate.rationales import rationale_from, requests_for
from feints.generate.sample import sample_all
from feints.generate.settings import SamplingSettings
from feints.generate.source import Completion, Request, TextSource
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
JUDGED_AT_ONCE = 1000

Answered = list[tuple[Problem, Request, Completion]]
Builder = Callable[["Student", Sequence[Rationale]], Built]
"""Makes examples of rationales with a student's renderer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What curation left, problems split into train and validation."""

    piles: Piles
    """Right and wrong rationales that may be learnt from."""
    validation: frozenset[str]
    """Ids of the problems held back to choose the best epoch."""
    funnel: Funnel
    """How many rows each step kept, from problems to right rationales."""
    dropped: tuple[Dropped, ...]
    """Every row left out, with its reason."""
    address: str
    """Content address of all this."""


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
    device: str = "cpu"
    """Where students run."""
    console: Console = field(default_factory=lambda: Console(stderr=True))
    """Where progress and notices go."""
    notices: list[str] = field(default_factory=list)
    """What a reader of the report must know."""

    @cached_property
    def by_id(self) -> Mapping[str, Problem]:
        """Training problems by id."""
        return {problem.id: problem for problem in self.problems}

    # ------------------------------------------------------------------------------------------ generate and verify

    def ask(
        self,
        label: str,
        prompt: Prompt,
        problems: Sequence[Problem] | None = None,
        *,
        filled: Mapping[str, Mapping[str, str]] | None = None,
        parents: Mapping[str, str] | None = None,
        origin: Origin = Origin.SAMPLED,
        form: Form = Form.COT,
        round: int = 0,
    ) -> Stored[Rationale]:
        """Ask the teacher about problems (all of them unless given), through the ledger.

        Sampling that a budget or Ctrl+C ended early is stored as what it is; the next run goes on.

        Args:
            label: name of the table.
            prompt: used unless the recipe gives another.
            problems: whom to ask about.
            filled: per problem id, texts for the prompt's further slots.
            parents: per problem id, the rationale that is mended, corrupted or answered.
            origin: why these are written.
            form: their shape.
            round: of a method with rounds.
        """
        prompt = self.teacher_prompt or prompt
        asked = list(self.problems if problems is None else problems)
        depends: list[object] = [
            self.problems.address,
            content_hash([problem.id for problem in asked]),
            self.teacher.identity,
            prompt.hash,
            self.sampling.model_dump(mode="json"),
            content_hash(filled, parents),
            [origin, form, round],
        ]
        known = self.run.known("1_rationales", label, Rationale, depends)
        if known is not None:
            return known
        answered, unsent, why = self._sample(label, asked, prompt, filled)
        rows = [
            rationale_from(
                problem,
                request,
                completion,
                prompt=prompt,
                author=self.teacher.identity,
                form=form,
                origin=origin,
                round=round,
                parent=(parents or {}).get(problem.id),
            )
            for problem, request, completion in answered
        ]
        if unsent:
            self.notices.append(
                f"{label}: {unsent:,} requests were not answered ({why}); a further run goes on from here"
            )
            depends += ["stopped early", content_hash([row.id for row in rows])]
        return self.run.table("1_rationales", label, Rationale, depends, lambda: rows)

    def _sample(
        self, label: str, asked: Sequence[Problem], prompt: Prompt, filled: Mapping[str, Mapping[str, str]] | None
    ) -> tuple[Answered, int, str]:
        """Problems with their requests and completions; how many requests stayed unanswered, and why."""
        adaptive = self.sampling.adaptive
        most = adaptive.maximum if adaptive else self.sampling.n
        pairs = requests_for(
            asked, prompt, self.sampling.sampling(), samples=most, seed=self.sampling.seed, filled=filled
        )
        with SamplingProgress(self.console, label) as progress:
            if adaptive is None:
                sampled = sample_all(self.teacher, [r for _, r in pairs], self.ledger, self.budget, progress)
                completions = dict(sampled.answered)
                answered = [(p, r, completions[r]) for p, r in pairs if r in completions]
                return answered, len(sampled.unsent), sampled.report.why_unsent
            grouped: dict[str, list[Request]] = {}
            for problem, request in pairs:
                grouped.setdefault(problem.id, []).append(request)
            by_id = {problem.id: problem for problem in asked}

            def judge(problem_id: str, completion: Completion) -> Judgement:
                verdict = self.pool.check(
                    by_id[problem_id], completion.text, thinking=completion.thinking, finish=completion.finish
                )
                return verdict.value

            found = sample_adaptively(
                self.teacher, grouped, adaptive, judge, self.ledger, self.budget, progress, progress
            )
        if found.short:
            self.notices.append(f"{label}: {len(found.short):,} problems reached the maximum of {most} samples")
        answered = [(by_id[used.problem_id], used.request, used.completion) for used in found.used]
        return answered, len(found.unfinished), found.report.why_unsent

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
        return self.run.table("2_verdicts", label, Verdict, depends, make)

    # ---------------------------------------------------------------------------------------------------- curate

    def choose(self, rationales: Stored[Rationale], verdicts: Stored[Verdict]) -> Chosen:
        """Sort into piles, remove duplicates, balance, split by problem; every row is accounted for."""
        settings = self.curate
        piles = sort_piles(self.problems, rationales, verdicts)
        reasons = Counter(row.reason for row in piles.rejected)
        reasons["wrong: kept apart as negatives"] = len(piles.wrong)
        funnel = self.funnel.start("sampled", "rationales", len(rationales)).step("right", len(piles.right), reasons)
        dropped = list(piles.rejected)
        if settings.near_duplicate is not None:
            right = remove_duplicates(piles.right, self.by_id, threshold=settings.near_duplicate)
            wrong = remove_duplicates(piles.wrong, self.by_id, threshold=settings.near_duplicate)
            funnel = funnel.step("after dedup", len(right.kept), right.dropped)
            dropped += [*right.dropped, *wrong.dropped]
            piles = replace(piles, right=right.kept, wrong=wrong.kept)
        balanced = balance(
            piles,
            self.by_id,
            right_per_problem=settings.right_per_problem,
            wrong_per_problem=settings.wrong_per_problem,
            seed=settings.seed,
        )
        funnel = funnel.step("chosen", len(balanced.piles.right), balanced.dropped_right)
        dropped += [*balanced.dropped_right, *balanced.dropped_wrong]
        split = split_by_problem(self.problems, validation=settings.validation, seed=settings.seed)
        return Chosen(
            piles=balanced.piles,
            validation=frozenset(problem.id for problem in split.validation),
            funnel=funnel,
            dropped=tuple(dropped),
            address=content_hash(rationales.address, verdicts.address, settings.model_dump(mode="json")),
        )

    def examples(
        self, chosen: Chosen, how: Sequence[object], build: Builder, rows: Iterable[Rationale] | None = None
    ) -> Lesson:
        """Examples of the right rationales (or of `rows`), apart for training and validation.

        Args:
            chosen: what curation left.
            how: everything `build` depends on besides the student and the rows, JSON-able.
            build: makes the examples.
            rows: instead of the right pile.

        Raises:
            EmptyPileError: nothing is left to learn from.
        """
        used = list(chosen.piles.right if rows is None else rows)
        chosen.funnel.refuse_empty()
        depends = [
            chosen.address,
            self.student_identity,
            self.student.chat,
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
            "3_examples", f"{self.arm}-train", Example, [*depends, "train"], lambda: part(False), arm=self.arm
        )
        validation = self.run.table(
            "3_examples", f"{self.arm}-validation", Example, [*depends, "validation"], lambda: part(True), arm=self.arm
        )
        dropped = self.run.table(
            "3_dropped", f"{self.arm}-rows", Dropped, depends, lambda: [*chosen.dropped, *build_once().dropped]
        )
        reasons = Counter(row.reason for row in dropped.rows[len(chosen.dropped) :])
        funnel = chosen.funnel.start("to learn from", "examples", len(used))
        funnel = funnel.step("examples", len(train) + len(validation), reasons)
        funnel = funnel.step("to train on", len(train), Counter({"held back for validation": len(validation)}))
        self.run.table(
            "3_dropped", f"{self.arm}-funnel", FunnelStep, [*depends, "funnel"], lambda: funnel.steps, arm=self.arm
        )
        funnel.refuse_empty()
        return Lesson(train=train, validation=validation)

    # ------------------------------------------------------------------------------------------ train and solve

    def fresh_student(self) -> Student:
        """The student before any training; its adapter, if any, starts from the training seed."""
        from feints.train.student import Student  # noqa: PLC0415  torch

        return Student.load(self.student, seed=self.seed, device=self.device)

    def fit(
        self,
        lesson: Lesson,
        loss: Loss,
        *,
        loss_settings: Sequence[object],
        settings: TrainSettings | None = None,
        student: Callable[[], Student] | None = None,
        name: str = "",
    ) -> Path:
        """Train a fresh student (or the one `student` makes) and return its folder; resumes after a crash.

        Args:
            lesson: what it learns.
            loss: how hard each token pulls.
            loss_settings: everything the loss and `student` depend on, JSON-able.
            settings: instead of the recipe's.
            student: makes the student to start from.
            name: told apart from other students of this arm by it.
        """
        training = (settings or self.training).model_copy(update={"seed": self.seed})
        label = "-".join(part for part in (self.arm, name, f"seed{self.seed}") if part)
        depends = [
            TRAINING_VERSION,
            lesson.train.address,
            lesson.validation.address,
            self.student_identity,
            self.student.model_dump(mode="json", exclude={"model"}),
            training.model_dump(mode="json"),
            list(loss_settings),
        ]

        def make(folder: Path) -> None:
            from feints.train.loop import fit  # noqa: PLC0415  torch

            learner = student() if student else self.fresh_student()
            self.console.print(f"training {label} on {len(lesson.train):,} examples", highlight=False)
            fit(learner, lesson.train.rows, loss, training, folder / "training", validation=lesson.validation.rows)
            learner.save(folder / "student")

        stored = self.run.folder("4_student", label, depends, make, arm=self.arm, seed=self.seed)
        return stored.path / "student"

    def one_shot(self, student: Path, prompt: Prompt) -> Solver:
        """A solver that asks the student in a folder once, greedily, or as often as the exam's vote wants."""
        solver = OneShot(student, prompt, self.exam.sampling, checker=self.pool)
        return Majority(solver, self.exam.votes) if self.exam.votes > 1 else solver
