"""Rounds: what one round of a method brought, as a row of the run folder: exam, teacher, problems, examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from feints.records import Judgement, Rationale


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReport:
    """One round; the exam is that of the student the round began with, on training problems."""

    round: int
    """From 1; one more than the last training is the exam of the final student."""
    samples: int
    """Texts the student wrote."""
    right: int
    """Of them correct."""
    wrong: int
    """Of them wrong."""
    no_answer: int
    """Of them without an answer: wrong, but no mistake to learn from."""
    not_checked: int
    """Of them that could not be judged."""
    held_back_right: int
    """Right greedy answers, one a problem, to problems never learnt from; the best student is chosen by these."""
    held_back_counted: int
    """Judged answers to those problems."""
    mistakes: int = 0
    """Distinct mistakes that may be learnt from."""
    requests: int = 0
    """Replies of the teacher in this round."""
    prompt_tokens: int = 0
    """Tokens sent to it."""
    completion_tokens: int = 0
    """Tokens it wrote."""
    cost: float = 0.0
    """Money paid, in the currency of the price table."""
    accepted: int = 0
    """Rationales of this round that were judged right and kept."""
    learnt: int = 0
    """Rationales the student of this round was trained on."""
    problems: int = 0
    """Training problems at the end of the round."""
    proposed: int = 0
    """New problems the teacher wrote."""
    added: int = 0
    """Of them added to the training problems."""
    outcome: str = ""
    """What became of the round, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sitting:
    """The exam of a student on training problems: counts of its texts by verdict."""

    verdicts: Counter[Judgement]
    """On its texts for problems that may be learnt from."""
    held_back: Counter[Judgement]
    """On one greedy answer to each problem that is never learnt from."""

    @property
    def perfect(self) -> bool:
        """Whether every text that could be judged is right."""
        both = self.verdicts + self.held_back
        return not both[Judgement.WRONG] and not both[Judgement.NO_ANSWER]

    @property
    def judged(self) -> bool:
        """Whether any text could be."""
        both = self.verdicts + self.held_back
        return both.total() > both[Judgement.NOT_CHECKED]

    @property
    def held_back_right(self) -> int:
        """Right answers to problems held back."""
        return self.held_back[Judgement.CORRECT]

    @property
    def held_back_counted(self) -> int:
        """Judged answers to problems held back; what could not be checked shrinks the denominator."""
        return self.held_back.total() - self.held_back[Judgement.NOT_CHECKED]

    @property
    def merit(self) -> float:
        """Share right of what was judged on problems held back; 0 with none."""
        return self.held_back_right / self.held_back_counted if self.held_back_counted else 0.0

    def report(self, round: int, **more: int | float | str) -> RoundReport:
        """The row of this round; `more` fills the fields the exam does not know."""
        own = self.verdicts
        return RoundReport(
            round=round,
            samples=own.total(),
            right=own[Judgement.CORRECT],
            wrong=own[Judgement.WRONG],
            no_answer=own[Judgement.NO_ANSWER],
            not_checked=own[Judgement.NOT_CHECKED],
            held_back_right=self.held_back_right,
            held_back_counted=self.held_back_counted,
            **more,  # type: ignore[arg-type]
        )


def teacher_spend(rows: Iterable[Rationale]) -> dict[str, int | float]:
    """Requests, tokens and money of the teacher's rationales, by the names of `RoundReport`."""
    listed = list(rows)
    return {
        "requests": len(listed),
        "prompt_tokens": sum(row.prompt_tokens for row in listed),
        "completion_tokens": sum(row.completion_tokens for row in listed),
        "cost": sum(row.cost for row in listed),
    }
