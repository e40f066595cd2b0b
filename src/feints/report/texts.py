"""What models wrote, out of a run folder: rationales side by side, examples token by token, pairs with key tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from feints.records import Example, Judgement, Pair, Problem, Role
from feints.report.contents import Judged, KeyPair, KeyShare, Sample, WeightedExample
from feints.report.weights import key_tokens
from feints.runs import RunFolder
from feints.tables import read_table

SHOWN_PROBLEMS = 6
SHOWN_OF_EACH = 2
SHOWN_EXAMPLES = 4
SHOWN_PAIRS = 4


def training_problems(run: RunFolder) -> dict[str, Problem]:
    """Problems that were learnt from, those made on the way too, by id."""
    return {
        p.id: p for path, entry in run.outputs("0_problems") if "set" not in entry for p in read_table(path, Problem)
    }


def samples(problems: Mapping[str, Problem], judged: Sequence[Judged]) -> tuple[Sample, ...]:
    """The first problems that have both right and wrong rationales."""
    piles: dict[str, dict[Judgement, list[Judged]]] = {}
    for row in judged:
        piles.setdefault(row.rationale.problem_id, {}).setdefault(row.verdict.value, []).append(row)
    mixed = [name for name, pile in piles.items() if Judgement.CORRECT in pile and Judgement.WRONG in pile]
    return tuple(
        Sample(
            problem=problems[name],
            right=tuple(piles[name][Judgement.CORRECT][:SHOWN_OF_EACH]),
            wrong=tuple(piles[name][Judgement.WRONG][:SHOWN_OF_EACH]),
            other=tuple(_neither(piles[name])[:SHOWN_OF_EACH]),
        )
        for name in mixed[:SHOWN_PROBLEMS]
    )


def _neither(pile: Mapping[Judgement, list[Judged]]) -> list[Judged]:
    return [*pile.get(Judgement.NO_ANSWER, ()), *pile.get(Judgement.NOT_CHECKED, ())]


@dataclass(frozen=True)
class Lessons:
    """The training examples of one arm, and the tokenizer that made them."""

    run: RunFolder
    """Where they lie."""
    arm: str
    """Whose."""

    @cached_property
    def tables(self) -> tuple[tuple[Example, ...], ...]:
        """Examples trained on, a table for each stage or round."""
        return tuple(
            tuple(read_table(path, Example))
            for path, entry in self.run.outputs("3_examples")
            if entry.get("arm") == self.arm and entry["label"].endswith("-train") and not entry.get("compared")
        )

    @cached_property
    def student(self) -> Path | None:
        """Folder of one of the arm's students, which all have the same tokenizer; None where none was kept."""
        found = (
            path / "student"
            for path, entry in self.run.outputs("4_student")
            if entry["arm"] == self.arm or any(user == self.arm for user, _ in entry.get("used_by", ()))
        )
        return next((folder for folder in found if (folder / "tokenizer.json").is_file()), None)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the arm's students; None where it cannot be read here."""
        if self.student is None or find_spec("tokenizers") is None:
            return None
        from tokenizers import Tokenizer  # noqa: PLC0415  part of the train extra; the report stands without it

        return Tokenizer.from_file(str(self.student / "tokenizer.json"))

    def shown(self, example: Example) -> WeightedExample:
        """An example as text, token by token."""
        ids = (*example.prompt_ids, *example.target_ids)
        return WeightedExample(
            title=f"{self.arm}, {example.problem_id}",
            role=example.role,
            tokens=tokens_in_place(self.tokenizer, ids),
            weights=example.weights,
            prompt_length=len(example.prompt_ids),
        )

    def weighted(self) -> tuple[WeightedExample, ...]:
        """A few examples: of each table the first of each role."""
        if self.tokenizer is None:
            return ()
        firsts: dict[tuple[int, Role], Example] = {}
        for place, table in enumerate(self.tables):
            for example in table:
                firsts.setdefault((place, example.role), example)
        return tuple(self.shown(example) for example in list(firsts.values())[:SHOWN_EXAMPLES])

    @cached_property
    def _pairs(self) -> tuple[tuple[Example, Example], ...]:
        """Right and wrong example of every group that has key tokens."""
        return tuple(pair for table in self.tables for pair in _pairs_in(table))

    def key_share(self) -> tuple[KeyShare, ...]:
        """One row where the arm learns from key tokens."""
        if not self._pairs:
            return ()
        right, wrong = (median(map(_share, side)) for side in zip(*self._pairs, strict=True))
        return (KeyShare(arm=self.arm, pairs=len(self._pairs), right=right, wrong=wrong),)

    def key_pairs(self, problems: Mapping[str, Problem]) -> tuple[KeyPair, ...]:
        """A few pairs, of as many problems."""
        if self.tokenizer is None:
            return ()
        patterns = {
            (pair.right_id, pair.wrong_id): pair.pattern
            for path, entry in self.run.outputs("3_examples")
            if entry.get("arm") == self.arm and entry["label"].endswith("-pairs")
            for pair in read_table(path, Pair)
        }
        firsts = {right.problem_id: (right, wrong) for right, wrong in reversed(self._pairs)}
        chosen = [pair for pair in self._pairs if firsts[pair[0].problem_id] == pair and pair[0].problem_id in problems]
        return tuple(
            KeyPair(
                problem=problems[right.problem_id],
                right=self.shown(right),
                wrong=self.shown(wrong),
                pattern=patterns.get((right.rationale_id, wrong.rationale_id), ""),
            )
            for right, wrong in chosen[:SHOWN_PAIRS]
        )


def tokens_in_place(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """What each token adds to the text before it: joined they are the text, spaces and all.

    Alone, a token loses the space before it, and a character spread over several tokens is no character: it stands at
    the last of them. Each is decoded after the one before it only, so that a long text takes no time.
    """
    found: list[str] = []
    before = read = 0  # the token decoded along, and the first whose text is not found yet
    for end in range(1, len(ids) + 1):
        known = tokenizer.decode(ids[before:read], skip_special_tokens=False)
        text = tokenizer.decode(ids[before:end], skip_special_tokens=False)
        if text.endswith("\N{REPLACEMENT CHARACTER}") and end < len(ids):
            found.append("")
            continue
        found.append(text[len(known) :])
        before, read = read, end
    return tuple(found)


def _pairs_in(table: Sequence[Example]) -> Iterator[tuple[Example, Example]]:
    groups: dict[str, dict[Role, Example]] = {}
    for example in table:
        if example.group:
            groups.setdefault(example.group, {})[example.role] = example
    for sides in groups.values():
        pair = sides.get(Role.RIGHT), sides.get(Role.WRONG)
        # Where one text only leaves something out, the other alone has key tokens; a text pulled evenly has none.
        even = [side for side in pair if side and any(side.weights) and not _share(side)]
        if pair[0] and pair[1] and not even and any(_share(side) for side in pair if side):
            yield pair[0], pair[1]


def _share(example: Example) -> float:
    """Share of the target's tokens that are key tokens."""
    marked = key_tokens(example.weights, len(example.prompt_ids))
    return sum(marked) / len(example.target_ids)
