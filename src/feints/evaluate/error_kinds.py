"""Why a solver's wrong answers are wrong: calculation, misunderstanding, a missing step, execution, or other (KPDD)."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from feints.errors import DataError
from feints.evaluate.stats import wilson
from feints.generate.prompt import Prompt
from feints.records import Answer, Judgement, Problem


class ErrorKind(StrEnum):
    """What went wrong first."""

    CALCULATION = "calculation"
    """The right expression with the wrong result."""
    MISUNDERSTANDING = "misunderstanding"
    """A quantity, a relation or the question was misread."""
    MISSING_STEP = "missing step"
    EXECUTION = "execution"
    """A program, equations or constraints left no value."""
    OTHER = "other"


JUDGE = Prompt(
    id="error_kind",
    template="{question}\n{choices}\n\nRight answer: {gold}\n\nWrong response:\n{response}\n\nWhy is it wrong? "
    "Answer with one of these labels and nothing else.\n"
    "calculation: the expressions are right and a result is not.\n"
    "misunderstanding: a quantity, a relation or the question was misread.\n"
    "missing step: a step that is needed was left out.\n"
    "other: none of these.",
)
"""For a model that labels: fill gold and response."""

Label = Callable[[Problem, Answer], ErrorKind | None]
"""Labels one wrong answer: a person's table, a model's reply, or in a made-up world the truth; None: no label came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorShare:
    """How often one kind of error is made, of all problems asked: failures alone would hide fewer failures."""

    solver: str
    """Whose errors."""
    kind: ErrorKind
    """Which kind."""
    errors: int
    """Answers wrong for this reason."""
    failures: int
    """Wrong answers looked at."""
    unlabelled: int
    """Those of them that no label came for: of no kind, and among the problems all the same."""
    problems: int
    """Problems these come from, checked ones only."""
    low: float
    """Lower end of the 95 % Wilson interval of errors / problems."""
    high: float
    """Upper end."""

    @property
    def share(self) -> float:
        """Errors of this kind per problem."""
        return self.errors / self.problems if self.problems else float("nan")


def read_label(text: str) -> ErrorKind:
    """The label of a reply; other where it names none or several."""
    said = {kind for kind in ErrorKind if re.search(rf"\b{re.escape(kind.value)}\b", text, re.IGNORECASE)}
    return said.pop() if len(said) == 1 else ErrorKind.OTHER


def error_shares(
    solver: str,
    problems: Sequence[Problem],
    answers: Sequence[Answer],
    label: Label,
    *,
    executed: bool,
    sample: int | None = None,
    seed: int = 0,
) -> list[ErrorShare]:
    """One share per kind of error, most frequent first.

    Args:
        solver: its name.
        problems: what was asked.
        answers: one per problem, in order.
        label: labels a wrong answer or says None; one without a value is not shown to it where the form is executed.
        executed: whether the solver writes programs, equations or constraints.
        sample: look at so many problems only, a fixed draw by id that is the same for every solver.
        seed: of that draw.

    Raises:
        DataError: the answers are not those to the problems.
    """
    if [problem.id for problem in problems] != [answer.problem_id for answer in answers]:
        raise DataError("the answers are not those to these problems, in order; pass both as the exam stored them")
    drawn = {problem.id for problem in problems}
    if sample is not None and sample < len(drawn):
        drawn = set(random.Random(seed).sample(sorted(drawn), sample))
    asked = {problem.id: problem for problem in problems if problem.id in drawn}
    checked = [answer for answer in answers if answer.problem_id in asked and _is_checked(answer)]
    wrong = [answer for answer in checked if answer.judgement is not Judgement.CORRECT]
    labels = [_kind(asked, answer, label, executed) for answer in wrong]
    found = Counter(kind for kind in labels if kind is not None)
    return [
        ErrorShare(
            solver=solver,
            kind=kind,
            errors=found[kind],
            failures=len(wrong),
            unlabelled=labels.count(None),
            problems=len(checked),
            low=(interval := wilson(found[kind], len(checked)))[0],
            high=interval[1],
        )
        for kind in sorted(ErrorKind, key=lambda kind: (-found[kind], kind))
    ]


def _is_checked(answer: Answer) -> bool:
    return answer.judgement is not Judgement.NOT_CHECKED


def _kind(asked: Mapping[str, Problem], answer: Answer, label: Label, executed: bool) -> ErrorKind | None:
    if executed and answer.extracted is None:
        return ErrorKind.EXECUTION
    return label(asked[answer.problem_id], answer)
