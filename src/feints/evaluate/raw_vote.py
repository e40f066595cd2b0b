"""A vote over raw text behind the answer trigger, as EDIT's released code counts; for its `as_released` profile."""

from __future__ import annotations

import re
from collections.abc import Sequence

from feints.evaluate.solver import Majority, answer_with
from feints.evaluate.vote import Key, vote
from feints.records import Answer, Problem, content_hash

_TRIGGER = re.compile("the answer is", re.IGNORECASE)


def behind_trigger(problem: Problem, text: str, extracted: str | None) -> str | None:
    """What follows the first trigger of a text, letter by letter; None where it holds none, or nothing follows."""
    del problem, extracted
    found = _TRIGGER.search(text)
    return text[found.end() :].strip() or None if found else None


class RawVote(Majority):
    """Counts what follows the first trigger letter by letter: 18 and 18.0 are two answers (EDIT-A12)."""

    @property
    def key(self) -> Key:
        """How it tells answers apart."""
        return behind_trigger

    @property
    def identity(self) -> str:
        """See `Solver.identity`."""
        return content_hash("raw vote", super().identity)

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        """See `Solver.solve`; of a tie the first text wins, and the first sample where none holds the trigger."""
        answers = []
        for problem, own in zip(problems, self.inner.sample(problems, self.samples, seed), strict=True):
            winner = vote([self.key(problem, said.text, verdict.extracted) for said, verdict in own]).winner
            answers.append(answer_with(problem, own, winner or 0))
        return answers
