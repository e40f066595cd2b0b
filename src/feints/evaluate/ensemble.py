"""Several students as one sampler: each draws its share of the samples, so that a vote over them is a vote of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from feints.errors import DataError
from feints.evaluate.solver import Judged, Sampler, answer_with, load_sampler, write_solver
from feints.generate.source import Sampling
from feints.records import Answer, Problem, content_hash


class Ensemble:
    """Students who draw in turn: sample i is drawn by member i mod M, M their number, with a random stream of its own.

    Members are asked alike; the first one's sampling stands for all. Whoever has been asked keeps its weights loaded.
    """

    def __init__(self, members: Sequence[Sampler]) -> None:
        """Draw from `members`, at least one.

        Raises:
            DataError: there is none.
        """
        if not members:
            raise DataError("an ensemble of no students answers nothing; give at least one")
        self.members = tuple(members)

    @property
    def sampling(self) -> Sampling:
        """How texts are drawn."""
        return self.members[0].sampling

    @property
    def identity(self) -> str:
        """See `Solver.identity`."""
        return content_hash("ensemble", [member.identity for member in self.members])

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        """See `Solver.solve`: the first member's answers; a vote is for `Majority` over this sampler."""
        judged = self.sample(problems, 1, seed)
        return [answer_with(problem, own, 0) for problem, own in zip(problems, judged, strict=True)]

    def sample(self, problems: Sequence[Problem], samples: int, seed: int, *, first: int = 0) -> list[list[Judged]]:
        """See `Sampler.sample`."""
        many, places = len(self.members), range(first, first + samples)
        drawn: list[list[list[Judged]]] = []
        for at, member in enumerate(self.members):
            turns = places[(at - first) % many :: many]
            # Another seed each: two members that are equal would write the same texts, and vote twice for one.
            told = member.sample(problems, len(turns), seed + at, first=turns[0] // many) if turns else []
            drawn.append(told or [[] for _ in problems])
        mixed = []
        for told_by in zip(*drawn, strict=True):
            nexts = [iter(own) for own in told_by]
            mixed.append([next(nexts[place % many]) for place in places])
        return mixed

    def save(self, folder: Path) -> None:
        """See `Solver.save`: a folder for each member."""
        for at, member in enumerate(self.members):
            member.save(folder / _member(at))
        write_solver(folder, self, {"members": len(self.members)})

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """The solver `save` wrote; see `load_solver`.

        Raises:
            DataError: a member draws no samples.
        """
        return cls([load_sampler(folder / _member(at)) for at in range(int(settings["members"]))])


def _member(at: int) -> str:
    return f"member_{at + 1}"
