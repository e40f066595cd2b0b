"""Leave out rationales that say the same as another one of the same pile."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from feints.curate.words import marks
from feints.errors import DataError, SettingsError
from feints.records import Dropped, Problem, Rationale

STEP = "dedup"
SHINGLE = 3
"""Marks per shingle: long enough that word order counts, short enough that one changed number is local."""
FACTORS = tuple(np.uint64(factor) for factor in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))
"""Odd numbers that tell the places of a run apart."""
TINY = 1e-9
"""Keeps threshold x size from landing just above a whole number."""
Shingles = NDArray[np.uint64]
"""The distinct shingles of a text as sorted 64-bit hashes."""


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
) -> Distinct:
    """Keep one of each group of rationales that say the same. Call it on one pile at a time.

    Within a problem two texts are compared; across problems, question and text together, so that the same short
    reasoning about another question stays. The likeness is the Jaccard index of the sets of three-mark shingles,
    computed in full, never estimated. Rationales are visited by (sample index, id) and kept unless like one already
    kept: the order given changes nothing, and a second pass changes nothing.

    Args:
        rationales: one pile.
        problems_by_id: their problems.
        threshold: likeness from which two texts count as the same, in (0, 1]; 1 leaves out equal shingle sets only.

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
    reasons |= _across([row for row in visited if row.id not in reasons], problems_by_id, threshold)
    return Distinct(
        kept=tuple(row for row in rows if row.id not in reasons),
        dropped=tuple(Dropped(item_id=row.id, step=STEP, reason=reasons[row.id]) for row in rows if row.id in reasons),
    )


def shingles(text: str) -> Shingles:
    """The set of runs of three marks; a shorter text is padded to one run."""
    found = [_mark_hash(mark) for mark in marks(text)]
    found += [0] * (SHINGLE - len(found))
    hashes = np.array(found, dtype=np.uint64)
    runs = np.zeros(len(found) - SHINGLE + 1, dtype=np.uint64)
    for place, factor in enumerate(FACTORS):
        runs += hashes[place : place + len(runs)] * factor  # wraps at 2^64, as a hash may
    return np.unique(runs)


def jaccard(one: Shingles, other: Shingles) -> float:
    """Shared share of two sets of shingles: |both| / |either|, in [0, 1]."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


@lru_cache(maxsize=1 << 20)
def _mark_hash(mark: str) -> int:
    return int.from_bytes(hashlib.blake2b(mark.encode(), digest_size=8).digest(), "little")


def _likeness(mine: Shingles, others: Iterable[Shingles], threshold: float) -> float:
    """The highest Jaccard index with any of the others that could reach the threshold; 0 if none could."""
    highest = 0.0
    for other in others:
        if min(len(mine), len(other)) >= threshold * max(len(mine), len(other)) - TINY:
            highest = max(highest, jaccard(mine, other))
    return highest


def _within(visited: list[Rationale], threshold: float) -> dict[str, str]:
    reasons: dict[str, str] = {}
    kept_of: dict[str, list[Shingles]] = defaultdict(list)
    for row in visited:
        mine = shingles(row.text)
        kept = kept_of[row.problem_id]
        likeness = _likeness(mine, kept, threshold)
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
    full = [shingles(f"{_question_of(row, problems_by_id)}\n{row.text}") for row in visited]
    rare = _rarest_first(full)
    reasons: dict[str, str] = {}
    index: dict[int, list[int]] = defaultdict(list)
    for number, row in enumerate(visited):
        size = len(full[number])
        prefix = rare[number][: size - ceil(threshold * size - TINY) + 1].tolist()
        # One problem's own texts were compared without the question, which would make them look alike.
        candidates = {
            other for shingle in prefix for other in index[shingle] if visited[other].problem_id != row.problem_id
        }
        likeness = _likeness(full[number], (full[other] for other in candidates), threshold)
        if likeness >= threshold:
            reasons[row.id] = "same question and text" if likeness == 1.0 else f"{threshold:g} alike, another problem"
            continue
        for shingle in prefix:
            index[shingle].append(number)
    return reasons


def _rarest_first(full: list[Shingles]) -> list[Shingles]:
    """The shingles of each text, those that fewest texts hold first; ties by value, so the order is one for all."""
    if not full:
        return []
    distinct, spread = np.unique(np.concatenate(full), return_counts=True)
    return [mine[np.argsort(spread[np.searchsorted(distinct, mine)], kind="stable")] for mine in full]


def _question_of(row: Rationale, problems_by_id: Mapping[str, Problem]) -> str:
    if row.problem_id not in problems_by_id:
        raise DataError(f"rationale {row.id!r} answers problem {row.problem_id!r}, which is not among those given")
    return problems_by_id[row.problem_id].question
