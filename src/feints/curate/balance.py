"""Balance: at most so many right and wrong rationales per problem."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from feints.curate.piles import Piles
from feints.curate.split import unit_interval
from feints.errors import SettingsError
from feints.records import Dropped, Rationale

STEP = "balance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """The piles that are left and what was left out of them."""

    piles: Piles
    """Same order as before; `rejected` as it was."""
    dropped_right: tuple[Dropped, ...]
    """Left out of the right pile."""
    dropped_wrong: tuple[Dropped, ...]
    """Left out of the wrong pile."""


def balance(
    piles: Piles,
    *,
    right_per_problem: int | None = None,
    wrong_per_problem: int | None = None,
    seed: int,
) -> Balanced:
    """Keep at most so many rationales, chosen by a hash of seed and id: order changes nothing, twice is once.

    Args:
        piles: right and wrong are balanced apart.
        right_per_problem: most right rationales of one problem; None keeps all.
        wrong_per_problem: most wrong rationales of one problem; None keeps all.
        seed: of the choice.

    Raises:
        SettingsError: a limit is below 0.
    """
    limits = {"right_per_problem": right_per_problem, "wrong_per_problem": wrong_per_problem}
    for name, limit in limits.items():
        if limit is not None and limit < 0:
            raise SettingsError(f"{name} is {limit}; give a number from 0 up, or leave it out to keep all")
    right, dropped_right = _thin(piles.right, right_per_problem, seed)
    wrong, dropped_wrong = _thin(piles.wrong, wrong_per_problem, seed)
    left = Piles(right=right, wrong=wrong, rejected=piles.rejected)
    return Balanced(piles=left, dropped_right=dropped_right, dropped_wrong=dropped_wrong)


def _thin(
    rows: tuple[Rationale, ...], per_problem: int | None, seed: int
) -> tuple[tuple[Rationale, ...], tuple[Dropped, ...]]:
    turn = _turns(rows, seed)
    kept = tuple(row for row in rows if per_problem is None or turn[row.id] < per_problem)
    left = {row.id for row in kept}
    reason = f"more than {per_problem} of one problem"
    return kept, tuple(Dropped(item_id=row.id, step=STEP, reason=reason) for row in rows if row.id not in left)


def _turns(rows: tuple[Rationale, ...], seed: int) -> dict[str, int]:
    """The place of each rationale among those of its problem, in the drawn order."""
    by_problem: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_problem[row.problem_id].append(row.id)
    turn: dict[str, int] = {}
    for ids in by_problem.values():
        drawn = sorted(ids, key=lambda name: (unit_interval("turn", seed, name), name))
        turn.update((name, place) for place, name in enumerate(drawn))
    return turn
