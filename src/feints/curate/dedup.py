"""Leave out rationales that say the same as another one of the same pile."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil

from feints.curate.words import marks
from feints.errors import DataError, SettingsError
from feints.records import Dropped, Problem, Rationale

STEP = "dedup"
Shingle = tuple[str, ...]
SHINGLE = 3
"""Marks per shingle: long enough that word order counts, short enough that one changed number is local."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """What is left of one pile, and what was left out."""

    kept: tuple[Rationale, ...]
    """In the order given."""
    dropped: tuple[Dropped, ...]
    """In the order given, each naming the kind of repetition."""


def remove_duplicates(
    rationales: Iterable[Rationale],
    problems_by_id: Mapping[str, Problem],
    *,
    threshold: float = 0.9,
    across: bool = True,
) -> Distinct:
    """Keep one of each group of rationales that say the same. Call it on one pile at a time.

    Within a problem two texts are compared; across problems, question and text together, so that the same short
    reasoning about another question stays. The likeness is the exact Jaccard index of the sets of three-mark
    shingles. Rationales are visited by (sample index, id) and kept unless like one already kept: the order given
    changes nothing, and a second pass changes nothing.

    Args:
        rationales: one pile.
        problems_by_id: their problems; read only when comparing across.
        threshold: likeness from which two texts count as the same, in (0, 1]; 1 leaves out equal shingle sets only.
        across: whether different problems are compared too.

    Raises:
        SettingsError: the threshold is not in (0, 1].
        DataError: a rationale of an unknown problem, or two with one id.
    """
    if not 0.0 < threshold <= 1.0:
        raise SettingsError(
            f"dedup threshold {threshold} is not in (0, 1]; 0.9 is usual, 1 leaves out equal texts only"
        )
    rows = list(rationales)
    visited = sorted(rows, key=lambda row: (row.sample_index, row.id))
    if len({row.id for row in rows}) < len(rows):
        raise DataError("two rationales of this pile have one id; sort the rationales into piles first")
    reasons = _within(visited, threshold)
    if across:
        left = [row for row in visited if row.id not in reasons]
        reasons |= _across(left, problems_by_id, threshold)
    return Distinct(
        kept=tuple(row for row in rows if row.id not in reasons),
        dropped=tuple(Dropped(item_id=row.id, step=STEP, reason=reasons[row.id]) for row in rows if row.id in reasons),
    )


def shingles(text: str) -> frozenset[Shingle]:
    """The set of runs of three marks; a shorter text is one shingle."""
    found = marks(text)
    return frozenset(found[start : start + SHINGLE] for start in range(max(1, len(found) - SHINGLE + 1)))


def jaccard(one: frozenset[Shingle], other: frozenset[Shingle]) -> float:
    """Shared share of two sets: |both| / |either|; equal sets have 1, empty ones too."""
    shared = len(one & other)
    either = len(one) + len(other) - shared
    return shared / either if either else 1.0


def _within(visited: list[Rationale], threshold: float) -> dict[str, str]:
    reasons: dict[str, str] = {}
    kept_of: dict[str, list[frozenset[Shingle]]] = defaultdict(list)
    for row in visited:
        mine = shingles(row.text)
        kept = kept_of[row.problem_id]
        likeness = max((jaccard(mine, other) for other in kept), default=0.0)
        if likeness >= threshold:
            reasons[row.id] = "same text" if likeness == 1.0 else f"{threshold:g} alike"
        else:
            kept.append(mine)
    return reasons


def _across(visited: list[Rationale], problems_by_id: Mapping[str, Problem], threshold: float) -> dict[str, str]:
    """Exact near-duplicate search by prefix filtering.

    Two sets with Jaccard t or more share one of the rarest len - ceil(t len) + 1 shingles of each, so only these
    are indexed and looked up; every candidate is then compared in full.
    """
    full: dict[str, frozenset[Shingle]] = {}
    spread: Counter[Shingle] = Counter()
    for row in visited:
        if row.problem_id not in problems_by_id:
            raise DataError(f"rationale {row.id!r} answers problem {row.problem_id!r}, which is not among those given")
        full[row.id] = shingles(f"{problems_by_id[row.problem_id].question}\n{row.text}")
        spread.update(full[row.id])
    reasons: dict[str, str] = {}
    index: dict[Shingle, list[Rationale]] = defaultdict(list)
    for row in visited:
        mine = full[row.id]
        rarest = sorted(mine, key=lambda shingle: (spread[shingle], shingle))
        prefix = rarest[: len(rarest) - ceil(threshold * len(rarest) - 1e-9) + 1]
        # One problem's own texts were compared without the question, which would make them look alike.
        candidates = {other.id for shingle in prefix for other in index[shingle] if other.problem_id != row.problem_id}
        likeness = max((jaccard(mine, full[name]) for name in candidates), default=0.0)
        if likeness >= threshold:
            reasons[row.id] = "same question and text" if likeness == 1.0 else f"{threshold:g} alike, another problem"
            continue
        for shingle in prefix:
            index[shingle].append(row)
    return reasons
