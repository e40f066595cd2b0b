"""Ceiling: what a run's teacher says of its students: why their answers are wrong, and the key points they should read.

Both ask through the run's ledger and budget, so that nothing is paid twice, and change nothing in the run folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from feints.curate.keypoints import CORE_HEAD, INFORMATION_HEAD, without_head
from feints.curate.stages import filling
from feints.errors import BudgetError, DataError, SettingsError, UnknownNameError
from feints.evaluate.chained import Chain
from feints.evaluate.error_kinds import JUDGE, ErrorKind, ErrorShare, Label, error_shares, read_label
from feints.evaluate.exam import Comparison, compare
from feints.evaluate.solver import SOLVER_FILE, Majority, load_solver
from feints.generate.progress import SamplingProgress, currency_of
from feints.generate.prompt import Prompt, own_prompt
from feints.generate.rationales import Asking, ask_all
from feints.generate.settings import SamplingSettings
from feints.generate.source import Completion, TextSource
from feints.methods.kpdd import CORE_ALONE, INFORMATION_ALONE
from feints.preparation import check_device, open_ledger, open_teacher, read_prompts
from feints.recipe import load_recipe
from feints.records import Answer, Finish, Form, Judgement, Problem
from feints.runs import RunFolder
from feints.tables import read_table

LABEL_TOKENS = 64
"""Limit on the reply that names a kind of error, or the recipe's where that is higher: a teacher may think first."""
KEY_POINTS = (("core", CORE_ALONE, CORE_HEAD), ("information", INFORMATION_ALONE, INFORMATION_HEAD))
"""What the oracle is asked: field, prompt, and the label it may repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """What one solver of a run answered on one test set."""

    arm: str
    """Its name."""
    seed: int
    """Its training seed."""
    problems: tuple[Problem, ...]
    """As asked."""
    answers: tuple[Answer, ...]
    """One per problem, in order."""


def exam_of(run: RunFolder, arm: str | None, seed: int | None, of: str | None) -> Exam:
    """The stored exam of a solver: the method's own, its first training seed and the main test set unless named.

    Raises:
        UnknownNameError: the run has no such arm or test set.
        DataError: it has no such seed.
    """
    arms, sets = [str(one["name"]) for one in run.manifest["arms"]], list(run.manifest["sets"])
    arm, of = arm or arms[0], of or sets[0]
    for kind, name, known in (("solver of this run", arm, arms), ("test set of this run", of, sets)):
        if name not in known:
            raise UnknownNameError(kind, name, known)
    found: dict[int, Path] = {}
    for path, entry in run.outputs("5_answers"):
        if (entry["arm"], entry["set"]) == (arm, of) and not entry.get("name"):
            found[entry["seed"]] = path
    if seed is not None and seed not in found:
        raise DataError(f"{run.path} has {arm} of the training seeds {sorted(found)}, not {seed}; choose one of them")
    chosen = next(iter(found)) if seed is None else seed
    answers = read_table(found[chosen], Answer)
    asked = {row.id: row for path, _ in run.outputs("0_problems") for row in read_table(path, Problem)}
    problems = tuple(asked[answer.problem_id] for answer in answers)
    return Exam(arm=arm, seed=chosen, problems=problems, answers=tuple(answers))


class Teacher:
    """The teacher of a run, asked greedily and once through the run's ledger."""

    def __init__(self, folder: Path, console: Console) -> None:
        self.run, self.console = RunFolder.open(folder), console
        self._recipe = load_recipe(folder / "recipe.yaml")
        self._prompts = read_prompts(self._recipe)

    def ask(
        self, label: str, prompt: Prompt, askings: Sequence[Asking], max_tokens: int, *, fewer: str = ""
    ) -> list[str | None]:
        """A reply for each asking, in order, None where it failed; the recipe's own prompt is sent where it names one.

        Args:
            label: what is asked, for the user.
            prompt: the text around each asking.
            askings: what.
            max_tokens: limit on a reply.
            fewer: how the user asks for less, where there is a way.

        Raises:
            SettingsError: the recipe's prompt has other slots, or the teacher is a file of recorded completions.
            BudgetError: some were not answered; what was paid is kept.
        """
        prompt = own_prompt(prompt, self._prompts)
        settings = SamplingSettings(temperature=0.0, max_tokens=max_tokens)
        teacher = self._opened(label)
        with (
            open_ledger(self._recipe, self.run.path) as ledger,
            SamplingProgress(self.console, label, currency_of(teacher)) as progress,
        ):
            asked = ask_all(
                teacher,
                askings,
                prompt,
                settings,
                judge=lambda *_: Judgement.NOT_CHECKED,  # greedy replies are never sampled adaptively
                ledger=ledger,
                budget=self._recipe.budget.open(),
                watcher=progress,
            )
        if asked.left:
            mended = f"mend that in {self.run.path / 'recipe.yaml'} (a spent budget: raise it){fewer}, then ask again"
            raise BudgetError(
                f"{label}: {asked.left} were not answered ({asked.why}); what was paid is kept: "
                + ("ask again to go on" if asked.interrupted else mended)
            )
        completions = [completion for _, _, completion in asked.answered]
        if failed := Counter(failure for one in completions if (failure := _failure(one))):
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in failed.most_common())
            said = f"{label}: {failed.total():,} of {len(completions):,} replies cannot be used ({reasons})"
            self.console.print(said, highlight=False, soft_wrap=True)
        return [None if _failure(one) else one.text for one in completions]

    def _opened(self, label: str) -> TextSource:
        """The teacher, which must read more of a request than the question."""
        teacher = open_teacher(self._recipe)
        if getattr(teacher, "plain_only", False):
            raise SettingsError(
                f"{label}: the teacher of {self.run.path} is a file of recorded completions, which answer the question "
                f"alone; name an endpoint in {self.run.path / 'recipe.yaml'}, then ask again"
            )
        return teacher

    @property
    def reply_tokens(self) -> int:
        """Limit on a reply of the run's own sampling."""
        return self._recipe.sampling.max_tokens

    @property
    def exam_seed(self) -> int:
        """Seed of the exams' sampling."""
        return self._recipe.exam.seed

    @property
    def device(self) -> str | None:
        """Where the recipe has students run."""
        return self._recipe.device


def _failure(completion: Completion) -> str | None:
    """Why a reply says nothing of what it was asked, or None."""
    failed = {Finish.MALFORMED: "malformed", Finish.REFUSAL: "refused", Finish.LENGTH: "cut off at the token limit"}
    return failed.get(completion.finish) or (None if completion.text.strip() else "empty")


def why_wrong(teacher: Teacher, exam: Exam, sample: int | None = None) -> list[ErrorShare]:
    """Shares of the kinds of errors of one exam, each wrong answer labelled by the teacher, most frequent first.

    A program, equations or constraints that left no value are `execution`; the teacher is not asked about them. An
    answer whose label did not arrive whole is of no kind.

    Args:
        teacher: who labels.
        exam: whose answers.
        sample: look at so many problems only, the same ones for every solver.

    Raises:
        BudgetError: see `Teacher.ask`.
    """
    wrong: list[Asking] = []
    executed = is_executed(solver_of(teacher.run, exam))

    def note(problem: Problem, answer: Answer) -> ErrorKind:
        wrong.append(Asking(problem=problem, filled={"gold": problem.answer, "response": answer.text}))
        return ErrorKind.OTHER

    def shares(label: Label) -> list[ErrorShare]:
        return error_shares(exam.arm, exam.problems, exam.answers, label, executed=executed, sample=sample)

    shares(note)  # the same walk twice: once to collect what is to be labelled, once with the labels
    fewer = ", or look at fewer problems (--sample)"
    replies = teacher.ask("kinds of errors", JUDGE, wrong, max(LABEL_TOKENS, teacher.reply_tokens), fewer=fewer)
    told = {
        asking.problem.id: None if reply is None else read_label(reply)
        for asking, reply in zip(wrong, replies, strict=True)
    }
    return shares(lambda problem, _: told[problem.id])


def with_oracle(teacher: Teacher, exam: Exam) -> Comparison:
    """The chain's exam with the teacher's key points in place of its own (KPDD's oracle mode), against its own.

    The teacher sees the questions alone, never the gold answers. A is the oracle's exam, B the stored one. A problem
    whose key points did not arrive whole is left out: what the chain makes of none says nothing of better ones.

    Raises:
        DataError: the solver reads no key points.
        SettingsError: torch cannot use the recipe's device here.
        BudgetError: see `Teacher.ask`.
    """
    from feints.generate.weights import on_device  # noqa: PLC0415  torch, only where a student is at hand

    check_device(teacher.device)
    chain = load_solver(solver_of(teacher.run, exam))
    if isinstance(chain, Majority):
        raise DataError(
            f"{exam.arm} sat its exam by votes, and the oracle answers once; run the recipe with exam.votes: 1 in a "
            "folder of its own"
        )
    if not isinstance(chain, Chain) or not set(chain.final.prompt.slots) <= {"core", "information", "key_points"}:
        raise DataError(f"{exam.arm} reads no key points before it solves; name an arm of KPDD with 2 or 3 stages")
    said = [dict.fromkeys(("core", "information"), "") for _ in exam.problems]
    failed: set[str] = set()
    for field, prompt, head in KEY_POINTS:
        asked = zip(exam.problems, said, strict=True)
        askings = [Asking(problem=problem, filled=filling(prompt, own)) for problem, own in asked]
        replies = teacher.ask(field, prompt, askings, teacher.reply_tokens)
        for problem, own, reply in zip(exam.problems, said, replies, strict=True):
            own[field] = without_head(reply or "", head)
            failed |= {problem.id} if reply is None else set()
    given = [filling(chain.final.prompt, own) for own in said]
    with on_device(teacher.device):
        answers = chain.solve_given(exam.problems, [_bare(chain, own) for own in given], teacher.exam_seed)
    counted = [
        replace(answer, judgement=Judgement.NOT_CHECKED) if answer.problem_id in failed else answer
        for answer in answers
    ]
    return compare(counted, exam.answers)


def solver_of(run: RunFolder, exam: Exam) -> Path:
    """Folder of the solver that sat an exam.

    Raises:
        DataError: it was not kept, as the untrained student is not.
    """
    folder = run.solvers().get((exam.arm, exam.seed))
    if folder is None:
        raise DataError(f"{run.path} keeps no solver of {exam.arm} with seed {exam.seed}; name an arm that was trained")
    return folder


def is_executed(solver: Path) -> bool:
    """Whether a saved solver writes programs, equations or constraints."""
    texts = [path.read_text(encoding="utf-8") for path in solver.rglob(SOLVER_FILE)]
    return any(f'"form": "{form}"' in text for text in texts for form in (Form.POT, Form.EOT, Form.SAT))


def _bare(chain: Chain, filled: Mapping[str, str]) -> dict[str, str]:
    """Texts without the heads that `Chain.solve_given` puts before them."""
    heads = {link.slot: link.head for link in chain.links}
    return {slot: text.removeprefix(heads[slot]) for slot, text in filled.items()}
