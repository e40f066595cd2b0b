"""The data set's own worked solutions as rationales."""

from __future__ import annotations

from collections.abc import Iterable

from feints.records import Form, Origin, Problem, Rationale, content_hash


def gold_rows(problems: Iterable[Problem]) -> list[Rationale]:
    """One rationale for each problem that has a solution of its own, in order."""
    return [
        Rationale(
            id=content_hash("gold", problem.id, problem.solution),
            problem_id=problem.id,
            text=problem.solution,
            form=Form.COT,
            origin=Origin.GOLD,
            author="data set",
        )
        for problem in problems
        if problem.solution
    ]
