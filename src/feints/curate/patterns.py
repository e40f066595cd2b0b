"""Mistake patterns of pairs: read from a labeller's reply, held against the truth, and cut to equal counts."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from feints.curate.split import unit_interval
from feints.records import Pair

PATTERNS = ("logical", "knowledge", "calculation", "other")
"""EDIT's patterns in the order of its letters a, b, c, d; the first three may be combined."""
UNREAD = "not labelled"
Pattern = Literal["logical", "knowledge", "calculation", "other"]

_LABEL = re.compile(r"\blabels?\b(?:\s+(?:is|are))?\W{0,4}((?:[a-d]\b\W{0,3}(?:and\s+)?)+)", re.I)


def read_label(reply: str) -> str:
    """The pattern a labeller's reply ends in: "logical", "logical+calculation" ...; "" where it names none.

    `other` beside a named pattern is dropped: it says nothing more.
    """
    found = _LABEL.findall(reply)
    letters = sorted({letter for letter in re.findall(r"\b[a-d]\b", found[-1].lower())}) if found else []
    return named(PATTERNS["abcd".index(letter)] for letter in letters)


def named(kinds: Iterable[str]) -> str:
    """One name for a set of patterns, in the order of PATTERNS; anything unknown is `other`."""
    found = {kind if kind in PATTERNS else "other" for kind in kinds}
    if len(found) > 1:
        found.discard("other")
    return "+".join(kind for kind in PATTERNS if kind in found)


def with_patterns(pairs: Iterable[Pair], replies: Mapping[str, str]) -> list[Pair]:
    """The pairs with the pattern read from the reply about their wrong rationale (by its id); "" where none was."""
    return [replace(pair, pattern=read_label(replies.get(pair.wrong_id, ""))) for pair in pairs]


def of_one_pattern(pairs: Iterable[Pair], pattern: Pattern, seed: int) -> list[Pair]:
    """Pairs of one pattern alone, as many as the rarest of logical, knowledge and calculation has, source by source.

    A source is where the two texts come from (rectified, corrupted, sampled). A pattern that does not occur in a source
    does not count as its rarest. So students that learn from one pattern each learn from equally many pairs.
    """
    sources: dict[tuple[str, str], dict[str, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in pairs:
        sources[pair.right_origin, pair.wrong_origin][pair.pattern].append(pair)
    kept: list[Pair] = []
    for found in sources.values():
        least = min((len(found[kind]) for kind in PATTERNS[:3] if found[kind]), default=len(found[pattern]))
        drawn = sorted(found[pattern], key=lambda pair: unit_interval("pattern", seed, pair.right_id, pair.wrong_id))
        kept += drawn[:least]
    return kept


@dataclass(frozen=True, slots=True)
class Confusion:
    """What a labeller says against what is true."""

    counts: Mapping[tuple[str, str], int]
    """How often (true, told); a reply without a label is told as UNREAD."""

    @property
    def total(self) -> int:
        """Labels in all."""
        return sum(self.counts.values())

    @property
    def agreed(self) -> int:
        """Labels that are the true ones."""
        return sum(count for (true, told), count in self.counts.items() if true == told)

    def names(self) -> list[str]:
        """Every pattern that occurs: single ones in EDIT's order, then combinations, then what was not labelled."""
        present = {name for pair in self.counts for name in pair}
        return sorted(present, key=lambda name: (name == UNREAD, name.count("+"), _place(name)))

    def rows(self) -> list[list[str]]:
        """A table of text: a head, then a row a true pattern with what was told."""
        names = self.names()
        trues = [name for name in names if any(true == name for true, _ in self.counts)]
        head = ["true", *names]
        return [head, *([true, *(str(self.counts.get((true, told), 0)) for told in names)] for true in trues)]


def confusion(true: Sequence[str], told: Sequence[str]) -> Confusion:
    """Count true against told patterns, one of each a pair, in order."""
    return Confusion(Counter((one, other or UNREAD) for one, other in zip(true, told, strict=True)))


def _place(name: str) -> tuple[int, ...]:
    return tuple(PATTERNS.index(kind) for kind in name.split("+") if kind in PATTERNS)
