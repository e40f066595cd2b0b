"""Leave out training problems that occur in a test set, before anything is paid for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from feints.curate.words import marks, words
from feints.errors import SettingsError
from feints.records import Dropped, Problem

STEP = "decontaminate"
ANCHOR = 4
"""Marks by which a short test question is looked up; shorter ones are compared whole only."""

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decontaminated:
    """The training problems that may be learnt from, and the leaks."""

    kept: tuple[Problem, ...]
    """In the order given."""
    dropped: tuple[Dropped, ...]
    """One per leak; the reason is the kind of overlap."""
    matches: tuple[str, ...]
    """The test problem behind each dropped row, as "set/id", in the same order."""
    boilerplate: int
    """Distinct n-grams not used because too many test problems share them."""

    def named(self) -> tuple[Dropped, ...]:
        """The leaks as they are stored: each reason names the test problem; a funnel counts `dropped`, by kind."""
        pairs = zip(self.dropped, self.matches, strict=True)
        return tuple(replace(row, reason=f"{row.reason} ({match})") for row, match in pairs)

    def notice(self) -> str:
        """One line for the progress display and the report."""
        asked = len(self.kept) + len(self.dropped)
        return f"decontamination: {len(self.dropped):,} of {asked:,} training problems are in a test set, left out"


def keep_all(problems: Sequence[Problem]) -> Decontaminated:
    """Nothing left out: there is no test set."""
    return Decontaminated(kept=tuple(problems), dropped=(), matches=(), boilerplate=0)


def remove_leaks(
    train: Iterable[Problem],
    tests: Mapping[str, Sequence[Problem]],
    *,
    ngram: int | None = 13,
    boilerplate: int = 10,
) -> Decontaminated:
    """Leave out each training problem that overlaps with a test problem; time is linear in the words of both.

    Three ways to overlap, question and options read together:
    equal texts (sentence marks, spacing and case aside; options in any order); a shared run of `ngram` words;
    a test problem shorter than that which stands whole inside the training problem.

    Args:
        train: what would be learnt from.
        tests: every test set by name.
        ngram: length of a telling run, in words; None finds equal texts only, for problem sets made from templates
            (half of BBH shares 13 words with the other half).
        boilerplate: runs shared by more than this many test problems identify none of them (task descriptions,
            templates) and are not used; equal texts always are.

    Raises:
        SettingsError: `ngram` or `boilerplate` is below 1.
    """
    if (ngram is not None and ngram < 1) or boilerplate < 1:
        raise SettingsError(
            f"decontamination with ngram {ngram} and boilerplate {boilerplate}; both must be at least 1"
        )
    index = _index(tests, ngram or 0, boilerplate)
    kept: list[Problem] = []
    dropped: list[Dropped] = []
    matches: list[str] = []
    for problem in train:
        found = _overlap(problem, index, ngram or 0)
        if found is None:
            kept.append(problem)
            continue
        reason, match = found
        dropped.append(Dropped(item_id=problem.id, step=STEP, reason=reason))
        matches.append(match)
    return Decontaminated(
        kept=tuple(kept), dropped=tuple(dropped), matches=tuple(matches), boilerplate=index.boilerplate
    )


@dataclass(slots=True)
class _Index:
    """What the test sets are looked up by; values are "set/id" of the first test problem."""

    whole: dict[object, str] = field(default_factory=dict)
    grams: dict[Gram, str] = field(default_factory=dict)
    short: dict[Gram, list[tuple[Gram, str]]] = field(default_factory=lambda: defaultdict(list))
    boilerplate: int = 0


def _index(tests: Mapping[str, Sequence[Problem]], ngram: int, boilerplate: int) -> _Index:
    index = _Index()
    shared: dict[Gram, int] = defaultdict(int)
    for name, problems in tests.items():
        for problem in problems:
            label = f"{name}/{problem.id}"
            index.whole.setdefault(_whole(problem), label)
            if not ngram:
                continue
            text = _text(problem)
            found = words(text)
            if len(found) < ngram:
                sequence = marks(text)
                if len(sequence) >= ANCHOR:
                    index.short[sequence[:ANCHOR]].append((sequence, label))
            for gram in {found[start : start + ngram] for start in range(len(found) - ngram + 1)}:
                index.grams.setdefault(gram, label)
                shared[gram] += 1
    for gram, times in shared.items():
        if times > boilerplate:
            del index.grams[gram]
            index.boilerplate += 1
    return index


def _overlap(problem: Problem, index: _Index, ngram: int) -> tuple[str, str] | None:
    """The kind of overlap and the test problem, or None."""
    match = index.whole.get(_whole(problem))
    if match is not None:
        return "equal to a test problem", match
    if not ngram:
        return None
    text = _text(problem)
    found = words(text)
    for start in range(len(found) - ngram + 1):
        match = index.grams.get(found[start : start + ngram])
        if match is not None:
            return f"shares {ngram} words with a test problem", match
    sequence = marks(text)
    for start in range(len(sequence) - ANCHOR + 1):
        for short, label in index.short.get(sequence[start : start + ANCHOR], ()):
            if sequence[start : start + len(short)] == short:
                return "contains a short test problem", label
    return None


def _text(problem: Problem) -> str:
    return "\n".join([problem.question, *(choice.text for choice in problem.choices)])


def _whole(problem: Problem) -> object:
    # Options as a set: the same problem with its options shuffled is the same problem.
    return marks(problem.question), frozenset(marks(choice.text) for choice in problem.choices)
