"""A vote over raw text behind the answer trigger, as EDIT's released code counts; for its `as_released` profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from feints.evaluate.solver import Majority, answer_with
from feints.records import Answer, Problem, content_hash

TRIGGER = "the answer is"


class RawVote(Majority):
    """Counts what follows the first trigger letter by letter: 18 and 18.0 are two answers (EDIT-A12)."""

    @property
    def identity(self) -> str:
        """See `Solver.identity`."""
        return content_hash("raw vote", super().identity)

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        """See `Solver.solve`; of a tie the first text wins, and the first sample where none holds the trigger."""
        answers = []
        for problem, own in zip(problems, self.inner.sample(problems, self.samples, seed), strict=True):
            said = [completion.text.lower().partition(TRIGGER)[2].strip() for completion, _ in own]
            counts = Counter(text for text in said if text)
            winner = said.index(counts.most_common(1)[0][0]) if counts else 0
            answers.append(answer_with(problem, own, winner))
        return answers
