"""Curation in one go: piles, duplicates, balance, split, with a funnel; choices of several origins join."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from feints.curate.balance import balance
from feints.curate.dedup import remove_duplicates
from feints.curate.funnel import Funnel
from feints.curate.piles import Piles, sort_piles
from feints.curate.settings import CurateSettings
from feints.curate.split import split_by_problem
from feints.errors import DataError
from feints.records import Dropped, Problem, Rationale, Verdict, content_hash

Pile = Literal["right", "wrong"]
_APART = {"right": "wrong: kept apart as negatives", "wrong": "right: not asked for"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What curation left, problems split into train and validation."""

    piles: Piles
    """Right and wrong rationales that may be learnt from."""
    validation: frozenset[str]
    """Ids of the problems held back to choose the best epoch."""
    funnel: Funnel
    """How many rows each step kept, from problems to right rationales."""
    dropped: tuple[Dropped, ...]
    """Every row left out, with its reason."""

    @property
    def address(self) -> str:
        """Content address of what may be learnt from; verdicts that change nothing of it train nothing anew."""
        right, wrong = ([row.id for row in pile] for pile in (self.piles.right, self.piles.wrong))
        return content_hash(right, wrong, sorted(self.validation))

    def joined(self, other: Chosen) -> Chosen:
        """Both as one, where a method learns from rationales of several origins or rounds.

        Raises:
            DataError: `other` was not chosen as a unit of its own, so the funnel could not tell the two apart.
        """
        unit = other.funnel.steps[-1].unit
        if unit in {step.unit for step in self.funnel.steps}:
            raise DataError(f"two choices both count {unit!r}; give the second one a unit of its own when choosing it")
        shared = 0
        while self.funnel.steps[: shared + 1] == other.funnel.steps[: shared + 1] and shared < len(other.funnel.steps):
            shared += 1
        return Chosen(
            piles=Piles(
                right=self.piles.right + other.piles.right,
                wrong=self.piles.wrong + other.piles.wrong,
                rejected=self.piles.rejected + other.piles.rejected,
            ),
            validation=self.validation | other.validation,
            funnel=Funnel(self.funnel.steps + other.funnel.steps[shared:]),
            dropped=self.dropped + other.dropped,
        )


def choose(
    problems: Mapping[str, Problem],
    rationales: Iterable[Rationale],
    verdicts: Iterable[Verdict],
    settings: CurateSettings,
    funnel: Funnel,
    *,
    pile: Pile,
    unit: str,
) -> Chosen:
    """Sort into piles, remove duplicates, balance, split by problem; every row is accounted for.

    Args:
        problems: all that may be learnt from, by id.
        rationales: what was written.
        verdicts: on them.
        settings: of curation.
        funnel: what became of the problems so far.
        pile: whose way the funnel follows: that of those learnt as right, or of those asked for as wrong.
        unit: what the funnel calls them; one of its own for each choice that is `joined`.
    """
    rows = list(rationales)
    piles = sort_piles(problems.values(), rows, verdicts)
    reasons = Counter(row.reason for row in piles.rejected)
    reasons[_APART[pile]] = len(piles.pile("wrong" if pile == "right" else "right"))
    funnel = funnel.start("sampled", unit, len(rows)).step(pile, len(piles.pile(pile)), reasons)
    dropped = list(piles.rejected)
    if settings.near_duplicate is not None:
        piles, removed = _without_duplicates(piles, problems, settings.near_duplicate)
        funnel = funnel.step("after dedup", len(piles.pile(pile)), removed[pile])
        dropped += [*removed["right"], *removed["wrong"]]
    balanced = balance(
        piles,
        right_per_problem=settings.right_per_problem,
        wrong_per_problem=settings.wrong_per_problem,
        seed=settings.seed,
    )
    left_out = balanced.dropped_right if pile == "right" else balanced.dropped_wrong
    funnel = funnel.step("chosen", len(balanced.piles.pile(pile)), left_out)
    dropped += [*balanced.dropped_right, *balanced.dropped_wrong]
    held_back = split_by_problem(problems.values(), validation=settings.validation, seed=settings.seed).validation
    return Chosen(
        piles=balanced.piles,
        validation=frozenset(problem.id for problem in held_back),
        funnel=funnel,
        dropped=tuple(dropped),
    )


def _without_duplicates(
    piles: Piles, problems: Mapping[str, Problem], threshold: float
) -> tuple[Piles, dict[Pile, tuple[Dropped, ...]]]:
    """Both piles without near-identical texts of a problem, and what each lost."""
    right = remove_duplicates(piles.right, problems, threshold=threshold)
    wrong = remove_duplicates(piles.wrong, problems, threshold=threshold)
    lost: dict[Pile, tuple[Dropped, ...]] = {"right": tuple(right.dropped), "wrong": tuple(wrong.dropped)}
    return replace(piles, right=right.kept, wrong=wrong.kept), lost
