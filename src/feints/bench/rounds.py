"""Rounds as the bench does them: exams of one's own, and the best student so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from feints.bench.inner import NO_MEAN
from feints.bench.serving import Learner
from feints.curate.choice import Chosen
from feints.curate.split import split_by_problem
from feints.errors import SettingsError
from feints.evaluate.rounds import RoundReport, Sitting, teacher_spend
from feints.evaluate.solver import Solver
from feints.generate.prompt import Prompt
from feints.generate.settings import SamplingSettings
from feints.records import Dropped, Judgement, Origin, Problem, Rationale, Verdict, of_teacher
from feints.runs import Stored
from feints.tables import read_table

if TYPE_CHECKING:
    from feints.bench import Bench

_LAST_PART = 4
FINAL = "final_exam"
"""Folder of the exam of the last student."""
MEAN = "mean_exam"
"""Folder of the exam of the mean of the last students."""


@dataclass(kw_only=True)
class Course:
    """What a method with rounds carries along; problems held back sit its exams and are never learnt from."""

    bench: Bench
    """The bench of the whole run."""
    prompt: Prompt
    """How students are asked."""
    samples: int
    """Texts for each problem of an exam."""
    temperature: float
    """Of these."""
    students: list[Learner] = field(init=False)
    """The untrained one, then that of each round that trained one."""
    best: Learner = field(init=False)
    """The student that did best on the problems held back; the later one of equals."""
    merit: float = -1.0
    """Share of its answers to these problems that were right."""
    paid: set[str] = field(default_factory=set)
    """The teacher's replies so far, by ledger key, or by id where no ledger kept them."""

    def __post_init__(self) -> None:
        self.students = [self.untrained]
        self.best = self.untrained
        held = split_by_problem(
            self.bench.problems, validation=self.bench.curate.validation, seed=self.bench.curate.seed
        )
        self.held_back = frozenset(problem.id for problem in held.validation)

    @property
    def untrained(self) -> Path:
        """The student before any training."""
        return Path(self.bench.student.model)

    @property
    def student(self) -> Learner:
        """The student as it stands."""
        return self.students[-1]

    @property
    def start(self) -> Path:
        """Weights to go on from: the student's, or the untrained one's where it has layers of its own."""
        return self.student if isinstance(self.student, Path) else self.untrained

    def solver(self, bench: Bench, student: Learner) -> Solver:
        """A solver that asks one of its students as the exam wants."""
        return bench.one_shot(student, self.prompt) if isinstance(student, Path) else bench.voting(student)

    def round(self, number: int, bench: Bench | None = None) -> Bench:
        """A bench (that of the whole run unless given) for one round: what it makes lies in a folder of its own."""
        return replace(bench or self.bench, run=self.bench.run.within(f"round_{number}"), sampled={})

    def graduate(self, student: Learner, *, mean_of: int = 1) -> None:
        """Go on with the student a round has trained.

        Raises:
            SettingsError: a mean is wanted at the end, and this one has layers of its own.
        """
        self.students.append(student if mean_of == 1 else _plain_weights(student))

    def exam(self, bench: Bench, number: int) -> tuple[Stored[Rationale], Stored[Verdict], Sitting]:
        """The student's texts for the problems it may learn from, judged and counted; the best student is noted.

        Equal students draw equal texts whatever the training seed, so that what is asked about them is paid once.
        """
        asked = [problem for problem in bench.problems if problem.id not in self.held_back]
        said = self._written(bench, "exam", asked, number, self.samples, self.temperature)
        verdicts = bench.judge("exam", said)
        sitting = Sitting(verdicts=Counter(row.value for row in verdicts), held_back=self._marks(bench, number))
        self._note(sitting)
        return said, verdicts, sitting

    def _marks(self, bench: Bench, number: int) -> Counter[Judgement]:
        """Verdicts on one greedy answer to each problem held back.

        Sampled texts would measure something else: a student that has learnt many ways to word a solution may err more
        often at temperature 1 and less often where it counts.
        """
        held = [problem for problem in self.bench.problems if problem.id in self.held_back]
        if not held:
            return Counter()
        said = self._written(bench, "held-back", held, number, 1, 0.0)
        return Counter(row.value for row in bench.judge("held-back", said))

    def _written(
        self, bench: Bench, label: str, asked: Sequence[Problem], number: int, samples: int, temperature: float
    ) -> Stored[Rationale]:
        how = SamplingSettings(
            n=samples, temperature=temperature, max_tokens=bench.exam.max_tokens, seed=bench.sampling.seed
        )
        return bench.ask(label, self.prompt, asked, source=self.student, sampling=how, origin=Origin.SELF, round=number)

    def _note(self, sitting: Sitting) -> None:
        if sitting.merit >= self.merit:
            self.best, self.merit = self.student, sitting.merit

    def spend(self, bench: Bench) -> dict[str, int | float]:
        """Requests, tokens and money of the teacher in the round of `bench`; what an earlier round paid is left out.

        A table that two students of one run share lies there twice, and counts once.
        """
        rows = {
            key: row
            for path, entry in bench.run.outputs("1_rationales")
            if entry["address"] in bench.sampled
            for row in read_table(path, Rationale)
            if of_teacher(row, bench.teacher.identity) and (key := row.ledger_key or row.id) not in self.paid
        }
        self.paid |= rows.keys()
        return teacher_spend(list(rows.values()))

    def end(self, number: int, more: Mapping[str, int | float] | None = None, *, mean_of: int = 1) -> Learner:
        """Examine the last student on the problems held back and return the best of all.

        Without such problems it is the last one. `more` fills fields of the `RoundReport`; `mean_of`: see `examined`.
        """
        self._last_exam(FINAL, number, "exam of the last student on problems held back", more or {})
        return self.examined(number + 1, mean_of=mean_of)

    def examined(self, number: int, *, mean_of: int = 1) -> Learner:
        """The best of all on the problems held back, where the last student has sat its exam; without any, the last.

        With `mean_of` above 1 the last of all has the mean of the weights that so many last rounds left, and sits the
        exam of round `number`.
        """
        rounds = self.students[1:][-mean_of:]
        if len(rounds) > 1:
            self.students.append(self.bench.mean([_plain_weights(student) for student in rounds], name="mean"))
            self._last_exam(MEAN, number, f"exam of the mean of {len(rounds)} rounds' weights", {})
        return self.best if self.held_back else self.student

    def _last_exam(self, folder: str, number: int, outcome: str, more: Mapping[str, int | float]) -> None:
        if not self.held_back:
            return
        here = replace(self.bench, run=self.bench.run.within(folder))
        sitting = Sitting(verdicts=Counter(), held_back=self._marks(here, number))
        self._note(sitting)
        write_report(here, sitting.report(number, outcome=outcome, **more))


def _plain_weights(student: Learner) -> Path:
    """The folder of a student that is nothing but weights.

    Raises:
        SettingsError: it has layers of its own.
    """
    if isinstance(student, Path):
        return student
    raise SettingsError(f"the method inside the rounds trains {NO_MEAN}")


def write_report(bench: Bench, report: RoundReport) -> None:
    """Keep the row of a round where the report finds it."""
    depends = [bench.arm, bench.seed, report.round, [getattr(report, name) for name in RoundReport.__slots__]]
    bench.run.table(
        "6_report",
        f"{bench.arm}-round-seed{bench.seed}",
        RoundReport,
        depends,
        lambda: [report],
        arm=bench.arm,
        seed=bench.seed,
        round=report.round,
    )


def to_be_answered(taken: Chosen) -> Chosen:
    """Of the student's own texts the mistakes to be answered: each text of a problem once."""
    found: dict[tuple[str, str], Rationale] = {}
    lost: list[Dropped] = []
    for row in taken.piles.wrong:
        place = (row.problem_id, " ".join(row.text.split()))
        if place in found:
            lost.append(Dropped(item_id=row.id, step="mistakes", reason="same text"))
        else:
            found[place] = row
    funnel = taken.funnel.step("to be answered", len(found), lost)
    piles = replace(taken.piles, wrong=tuple(found.values()))
    return replace(taken, piles=piles, funnel=funnel, dropped=(*taken.dropped, *lost))


def outcome_of(useful: bool, whole: bool) -> str:
    """What became of a round, in words."""
    if useful:
        return "trained" if whole else "trained on what the budget allowed"
    return "nothing right came back" if whole else "the budget allowed nothing"


def cut_short(bench: Bench, told: Stored[Rationale]) -> bool:
    """Whether a budget or Ctrl+C ended this sampling early."""
    return any(told.address == stopped.address for stopped in bench.stopped.values())


def ask_within(
    bench: Bench,
    rows: Sequence[Rationale],
    tokens: int,
    most: float,
    ask: Callable[[int, Sequence[Rationale]], list[tuple[str, Stored[Rationale]]]],
) -> list[tuple[str, Stored[Rationale]]]:
    """Ask about as many of `rows` as `tokens`, sent and received, will pay for, to within a few replies.

    Half of what is left is spent at a time, by the mean price of the replies so far; `most` is the guess at a reply
    before there is any. `ask` is given the number of the part and its rows.
    """
    waiting, left, each, parts = list(rows), float(tokens), most, 0
    told: list[tuple[str, Stored[Rationale]]] = []
    while waiting:
        affordable = int(left // each) if told else max(1, int(left // each))
        many = affordable if affordable <= _LAST_PART else affordable // 2
        if many <= 0:
            break
        part, waiting, parts = waiting[:many], waiting[many:], parts + 1
        said = ask(parts, part)
        told += said
        if any(cut_short(bench, stored) for _, stored in said):
            break
        left -= sum(row.prompt_tokens + row.completion_tokens for _, stored in said for row in stored)
        paid = tokens - left  # a refusal costs nothing, and says nothing of what a reply costs
        each = paid / sum(len(stored) for _, stored in told) if paid else most
    return told
