"""Natural pairs: a right and a wrong rationale of one problem."""

from __future__ import annotations

from collections import defaultdict
from math import lcm

from feints.curate.piles import Piles
from feints.curate.split import unit_interval
from feints.errors import SettingsError
from feints.records import Pair, Rationale


def sampled_pairs(piles: Piles, per_problem: int, seed: int) -> list[Pair]:
    """Up to `per_problem` distinct pairs of each problem that has both a right and a wrong rationale.

    Rationales are drawn without repetition for as long as possible. The draw depends on ids and seed alone;
    problems come in the order of the right pile.

    Raises:
        SettingsError: `per_problem` is below 1.
    """
    if per_problem < 1:
        raise SettingsError(f"{per_problem} pairs per problem were asked for; ask for at least 1")
    wrong_of = _by_problem(piles.wrong)
    pairs: list[Pair] = []
    for problem_id, rights in _by_problem(piles.right).items():
        wrongs = wrong_of.get(problem_id, [])
        rights = sorted(rights, key=lambda row: unit_interval("pair right", seed, row.id))
        wrongs = sorted(wrongs, key=lambda row: unit_interval("pair wrong", seed, row.id))
        for number in range(min(per_problem, len(rights) * len(wrongs))):
            # Both lists are walked in step; once both have come round together, one is shifted,
            # which meets every combination exactly once.
            shift = number // lcm(len(rights), len(wrongs))
            right = rights[number % len(rights)]
            wrong = wrongs[(number + shift) % len(wrongs)]
            pairs.append(
                Pair(
                    problem_id=problem_id,
                    right_id=right.id,
                    wrong_id=wrong.id,
                    right_origin=right.origin,
                    wrong_origin=wrong.origin,
                )
            )
    return pairs


def _by_problem(rows: tuple[Rationale, ...]) -> dict[str, list[Rationale]]:
    found: dict[str, list[Rationale]] = defaultdict(list)
    for row in rows:
        found[row.problem_id].append(row)
    return found
