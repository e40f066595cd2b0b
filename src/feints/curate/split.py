"""Split train from validation by problem, so that no problem has rationales on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from feints.errors import EmptyPileError, SettingsError
from feints.records import Problem, Rationale, content_hash

VALIDATION = "validation"
"""Split of problems that the publisher, or the recipe, gives to choose the best epoch by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Two disjoint lists of problems, each in the order given."""

    train: tuple[Problem, ...]
    """Learnt from."""
    validation: tuple[Problem, ...]
    """Held back to choose the best epoch; never a test problem."""


def unit_interval(*parts: object) -> float:
    """A number in [0, 1) that depends on the content of `parts` alone, uniform over contents."""
    return int(content_hash(*parts, digits=16), 16) / 2**64


def split_by_problem(problems: Iterable[Problem], *, validation: float, seed: int) -> Split:
    """Hold back about a `validation` share of the problems; where some are a validation split, exactly those.

    The side of a problem depends on its id (or its parent's, so that variants stay together) and the seed alone:
    adding or removing problems never moves another. The share is therefore met on average, not exactly.

    Raises:
        SettingsError: the share is not in [0, 1).
        EmptyPileError: a share above 0 leaves one side empty.
    """
    if not 0.0 <= validation < 1.0:
        raise SettingsError(f"validation share {validation} is not in [0, 1); 0.1 holds back a tenth of the problems")
    given = tuple(problems)
    own = frozenset(problem.id for problem in given if problem.split == VALIDATION)
    kept: list[Problem] = []
    held: list[Problem] = []
    for problem in given:
        drawn = unit_interval("split", seed, problem.parent or problem.id) < validation
        is_held = bool({problem.id, problem.parent} & own) if own else drawn
        (held if is_held else kept).append(problem)
    if validation > 0.0 and (not kept or not held):
        raise EmptyPileError(
            f"a validation share of {validation} of {len(kept) + len(held)} problems leaves {len(kept)} for training "
            f"and {len(held)} for validation; give more problems, another share (curate.validation; 0 holds none back "
            "and keeps the last epoch) or another seed (curate.seed)"
        )
    return Split(train=tuple(kept), validation=tuple(held))


def as_many(rows: Sequence[Rationale], wanted: Sequence[Rationale], held_back: frozenset[str]) -> tuple[Rationale, ...]:
    """As many of `rows` as `wanted` has, for training and for validation apart, each as often as it takes.

    What a control learns where it is to take as many optimiser steps on other rationales. A side of which `rows` has
    none stays empty.

    Args:
        rows: what is repeated, or cut short.
        wanted: what is counted.
        held_back: ids of the problems of the validation side.
    """
    made: list[Rationale] = []
    for held in (False, True):
        own = [row for row in rows if (row.problem_id in held_back) is held]
        made += islice(cycle(own), sum((row.problem_id in held_back) is held for row in wanted))
    return tuple(made)
