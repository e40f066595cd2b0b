"""Dual chains: a rationale and another made from it as a pair, demonstrations of such pairs, key tokens as weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from feints.curate.examples import STEP, Built
from feints.curate.keysteps import key_steps
from feints.curate.pairs import sampled_pairs
from feints.curate.piles import Piles
from feints.curate.split import unit_interval
from feints.generate.prompt import render_choices
from feints.records import Dropped, Example, Origin, Pair, Problem, Rationale, content_hash

Alignment = Literal["one_way", "symmetric", "padded"]
Sources = Literal["rectified+corrupted", "rectified", "corrupted", "sampled", "all"]
RELEASED_LENGTH = 1024
"""Tokens to which the released script pads both texts before it aligns them (EDIT-A5)."""
SAME = "right and wrong are the same tokens"
DISJOINT = "most of the right text is key, so that no step stands out"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWeights:
    """How hard the tokens of a pair pull, and how key tokens are found."""

    alpha: float = 1.0
    """Weight of key tokens of the right text."""
    beta: float = 0.025
    """Of key tokens of the wrong text, pushed away: their raw weight is -beta."""
    gamma: float = 0.0
    """Of the other tokens of the right text."""
    alignment: Alignment = "one_way"
    """Each text in its own run, both in one, or both as if padded to RELEASED_LENGTH where they are no longer."""
    drop_disjoint: bool = False
    """Leave out pairs of which more than half the right target is key (EDIT-A8)."""

    def of_examples(self, *, whole: bool) -> KeyWeights:
        """The weights that stand in examples.

        A side that weighs nothing has weights of 1 there and is left out by the loss: examples without any weight
        count for nothing in the size of a step, which would then hold more pairs. `whole` texts, as DPO reads them,
        are weights of 1 throughout, which say no more than which side is which.
        """
        alpha, gamma = (1.0, 1.0) if whole or not (self.alpha or self.gamma) else (self.alpha, self.gamma)
        return replace(self, alpha=alpha, gamma=gamma, beta=1.0 if whole or not self.beta else self.beta)


def dual_pairs(right: Iterable[Rationale], wrong: Iterable[Rationale]) -> list[Pair]:
    """Every rectified right rationale with the wrong one it mends, every corrupted one with the right one it bends.

    In the order of the right ones, then of the wrong ones; a rationale whose parent is not given makes no pair.
    """
    rights, wrongs = {row.id: row for row in right}, {row.id: row for row in wrong}
    mended = [(row, wrongs.get(row.parent or "")) for row in rights.values() if row.origin is Origin.RECTIFIED]
    bent = [(rights.get(row.parent or ""), row) for row in wrongs.values() if row.origin is Origin.CORRUPTED]
    return [_pair(one, other) for one, other in (*mended, *bent) if one is not None and other is not None]


def pairs_from(
    right: Sequence[Rationale],
    wrong: Sequence[Rationale],
    rectified: Sequence[Rationale],
    corrupted: Sequence[Rationale],
    *,
    sources: Sources,
    seed: int,
) -> list[Pair]:
    """Pairs of the sources asked for: mended and corrupted chains with their parents, then natural pairs."""
    wanted = {
        "rectified+corrupted": (Origin.RECTIFIED, Origin.CORRUPTED),
        "all": (Origin.RECTIFIED, Origin.CORRUPTED),
        "rectified": (Origin.RECTIFIED,),
        "corrupted": (Origin.CORRUPTED,),
        "sampled": (),
    }[sources]
    made = dual_pairs((*right, *rectified), (*wrong, *corrupted))
    pairs = [pair for pair in made if pair.right_origin in wanted or pair.wrong_origin in wanted]
    return pairs + (natural_pairs(right, wrong, seed) if sources in ("sampled", "all") else [])


def natural_pairs(right: Sequence[Rationale], wrong: Sequence[Rationale], seed: int) -> list[Pair]:
    """Every wrong rationale once, with a right one of the same problem; the right ones take turns.

    Problems come in the order of the wrong ones; those without a right rationale make no pair.
    """
    rights: dict[str, list[Rationale]] = defaultdict(list)
    wrongs: dict[str, list[Rationale]] = defaultdict(list)
    for rows, found in ((right, rights), (wrong, wrongs)):
        for row in rows:
            found[row.problem_id].append(row)
    pairs: list[Pair] = []
    for problem_id, rows in wrongs.items():
        piles = Piles(right=tuple(rights[problem_id]), wrong=tuple(rows), rejected=())
        pairs += sampled_pairs(piles, len(rows), seed)
    return pairs


def demonstrations(
    pairs: Sequence[Pair],
    by_id: Mapping[str, Rationale],
    problems: Mapping[str, Problem],
    *,
    count: int,
    seed: int,
) -> Callable[[Problem], str]:
    """Texts that show how a right response is corrupted, from pairs the run itself made (EDIT, section 1).

    The function returned gives `count` pairs of other problems of the same sub-task, of any sub-task where it has
    too few, and "" where there are none at all. The choice depends on ids and seed alone.

    Args:
        pairs: rectified right rationales with the wrong ones they mend.
        by_id: the rationales.
        problems: the problems, by id.
        count: most demonstrations shown.
        seed: of the choice.
    """
    drawn = sorted(pairs, key=lambda pair: unit_interval("demonstration", seed, pair.right_id, pair.wrong_id))
    shown = [(problems[pair.problem_id], _shown(problems[pair.problem_id], pair, by_id)) for pair in drawn]

    def text(problem: Problem) -> str:
        others = [(other, said) for other, said in shown if other.id != problem.id]
        others.sort(key=lambda item: (item[0].task, item[0].topic) != (problem.task, problem.topic))
        one_each = dict.fromkeys(other.id for other, _ in others)
        first = {other.id: said for other, said in reversed(others)}
        return "\n\n".join(first[name] for name in list(one_each)[:count])

    return text


def key_step_examples(sides: Callable[[Pair], tuple[Built, Built]], pairs: Iterable[Pair], how: KeyWeights) -> Built:
    """Two examples a pair, right and wrong, whose weights are those of their key tokens; together one group.

    Args:
        sides: makes the example of the right and of the wrong rationale of a pair, or says why not.
        pairs: what is told apart.
        how: weights and alignment.

    Returns:
        Examples, right before wrong, and two dropped rows for every pair that is left out.
    """
    made: list[Example] = []
    dropped: list[Dropped] = []
    for pair in pairs:
        right, wrong = sides(pair)
        reasons = [row.reason for built in (right, wrong) for row in built.dropped]
        found = reasons[0] if reasons else _weighted(pair, right.examples[0], wrong.examples[0], how)
        if isinstance(found, str):
            dropped += [Dropped(item_id=name, step=STEP, reason=found) for name in (pair.right_id, pair.wrong_id)]
        else:
            made += found
    return Built(examples=tuple(made), dropped=tuple(dropped))


def aligned_unpadded(examples: Iterable[Example]) -> int:
    """Pairs that cannot be aligned as if padded, because a text of theirs is longer than RELEASED_LENGTH."""
    return len({one.group for one in examples if len(one.prompt_ids) + len(one.target_ids) > RELEASED_LENGTH})


class Whole(Protocol):
    """What tokenises a whole text, prompt and target in one go."""

    def raw_ids(self, prompt: str, /) -> tuple[int, ...]:
        """Ids of a text, with the special tokens the tokenizer puts in front."""
        ...


def in_one(renderer: Whole, text: str, example: Example) -> Example:
    """The example as the released code cuts it (EDIT-A6): one tokenisation, the prompt as long as it is alone.

    Where a token spans the seam, the cut falls a token beside it. Weights are 1 on the target.

    Args:
        renderer: makes the ids.
        text: of prompt and target, as they are tokenised apart.
        example: the same texts, tokenised apart.
    """
    ids, start = (*renderer.raw_ids(text), example.target_ids[-1]), len(example.prompt_ids)
    weights = (0.0,) * start + (1.0,) * (len(ids) - start)
    return replace(example, prompt_ids=ids[:start], target_ids=ids[start:], weights=weights)


def _weighted(pair: Pair, right: Example, wrong: Example, how: KeyWeights) -> list[Example] | str:
    """Both examples with the weights of their key tokens, or why the pair is left out."""
    # The prompt stands in front of both, so that padding is as long as the released code makes it.
    texts = [example.prompt_ids + example.target_ids for example in (right, wrong)]
    if how.alignment == "padded" and max(map(len, texts)) > RELEASED_LENGTH:
        how = replace(how, alignment="one_way")
    masks = key_steps(
        *texts,
        symmetric=how.alignment == "symmetric",
        padded_to=RELEASED_LENGTH if how.alignment == "padded" else None,
    )
    if not any(mask.any() for mask in masks):
        return SAME
    if how.drop_disjoint and 2 * masks[0].sum() > len(right.target_ids):
        return DISJOINT
    group = content_hash("pair", pair.right_id, pair.wrong_id, digits=16)
    pulls = (how.alpha, how.gamma), (-how.beta, 0.0)
    return [
        replace(
            example,
            id=content_hash(group, example.role),
            group=group,
            weights=(*[0.0] * start, *[key if marked else other for marked in mask.tolist()[start:]]),
        )
        for example, mask, (key, other) in zip((right, wrong), masks, pulls, strict=True)
        for start in [len(example.prompt_ids)]
    ]


def _pair(right: Rationale, wrong: Rationale) -> Pair:
    return Pair(
        problem_id=right.problem_id,
        right_id=right.id,
        wrong_id=wrong.id,
        right_origin=right.origin,
        wrong_origin=wrong.origin,
    )


def _shown(problem: Problem, pair: Pair, by_id: Mapping[str, Rationale]) -> str:
    right, wrong = by_id[pair.right_id].text.strip(), by_id[pair.wrong_id].text.strip()
    question = "\n".join(part for part in (problem.question, render_choices(problem.choices)) if part)
    return f"Question: {question}\n\nRight response:\n{right}\n\nWrong response:\n{wrong}"
