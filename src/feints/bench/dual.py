"""Dual chains as the bench does them: wrong rationales mended, right ones corrupted, pairs labelled by the teacher."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from feints.curate.choice import Chosen, Pile
from feints.curate.dual import RELEASED_LENGTH, Alignment, aligned_unpadded, demonstrations, dual_pairs
from feints.curate.funnel import Funnel
from feints.curate.patterns import with_patterns
from feints.curate.piles import Piles
from feints.generate.prompt import Prompt
from feints.generate.rationales import Asking
from feints.records import Dropped, Example, Origin, Pair, Rationale

if TYPE_CHECKING:
    from feints.bench import Bench

SHOWN = 3
"""Demonstrations in a contrastive prompt, as in EDIT."""
_MISSED: dict[Pile, tuple[str, str]] = {
    "right": ("wrong: kept apart as negatives", "wrong, though the answer was given"),
    "wrong": ("right: not asked for", "right, though a wrong one was asked for"),
}
_EMPTY = "empty text"
_REPEATED = "repeated row: same id as another rationale"


def mend(bench: Bench, prompt: Prompt, wrong: Iterable[Rationale], *, keep_all: bool = False) -> Chosen:
    """Ask for every wrong rationale anew with its gold answer in the slot `hint`; those that end right.

    A chain that misses is left out with its reason, unless `keep_all`.
    """
    # Two wrong rationales of a problem ask the same question; each is to get a reply of its own.
    before: Counter[str] = Counter()
    askings: list[Asking] = []
    for row in wrong:
        askings.append(_about(bench, row, before[row.problem_id], hint=bench.by_id[row.problem_id].answer))
        before[row.problem_id] += 1
    return _made(bench, "rectified", prompt, askings, Origin.RECTIFIED, "right", keep_all)


def corrupt(
    bench: Bench,
    prompt: Prompt,
    right: Iterable[Rationale],
    mended: Sequence[Rationale] = (),
    wrong: Sequence[Rationale] = (),
    *,
    keep_all: bool = False,
) -> Chosen:
    """Ask for a wrong counterpart of every right rationale, in the slot `right`; those that end wrong.

    The slot `demonstrations`, where the prompt has it, shows pairs of other problems from `mended` and the `wrong`
    ones they mend.
    """
    by_id = {row.id: row for row in (*mended, *wrong)}
    show = demonstrations(dual_pairs(mended, wrong), by_id, bench.by_id, count=SHOWN, seed=bench.curate.seed)
    askings = []
    for row in right:
        filled = {"right": row.text.strip(), "demonstrations": show(bench.by_id[row.problem_id])}
        askings.append(_about(bench, row, 0, **{slot: filled[slot] for slot in prompt.slots}))
    return _made(bench, "corrupted", prompt, askings, Origin.CORRUPTED, "wrong", keep_all)


def label(bench: Bench, prompt: Prompt, pairs: Sequence[Pair], rows: Iterable[Rationale]) -> list[Pair]:
    """The pairs with the mistake pattern that the teacher sees in the wrong text (slots `right` and `wrong`)."""
    by_id = {row.id: row for row in rows}
    first = {pair.wrong_id: pair for pair in reversed(pairs)}  # a wrong text in two pairs is labelled once
    askings = [
        _about(bench, by_id[wrong], right=by_id[pair.right_id].text.strip(), wrong=by_id[wrong].text.strip())
        for wrong, pair in first.items()
    ]
    # Greedy, as labels are read and not learnt from.
    sampling = bench.sampling.model_copy(update={"n": 1, "adaptive": None, "temperature": 0.0})
    replies = bench.ask("patterns", prompt, askings, sampling=sampling)
    return with_patterns(pairs, {row.parent or "": row.text for row in replies})


def tell_unpadded(bench: Bench, alignment: Alignment, examples: Iterable[Example]) -> None:
    """Leave a notice of pairs that were to be aligned as if padded, and could not be."""
    if alignment == "padded" and (number := aligned_unpadded(examples)):
        bench.notices.append(
            f"{bench.arm}: {number} pairs with a text of over {RELEASED_LENGTH:,} tokens are aligned unpadded"
        )


def _about(bench: Bench, row: Rationale, sample: int = 0, **filled: str) -> Asking:
    return Asking(problem=bench.by_id[row.problem_id], filled=filled, parent=row.id, sample=sample)


def _made(
    bench: Bench, name: str, prompt: Prompt, askings: Sequence[Asking], origin: Origin, pile: Pile, keep_all: bool
) -> Chosen:
    """Ask once each, judge, and keep those that ended as they were meant to."""
    sampling = bench.sampling.model_copy(update={"n": 1, "adaptive": None})
    rows = bench.ask(name, prompt, askings, sampling=sampling, origin=origin)
    chosen = bench.choose(rows, bench.judge(name, rows), pile=pile, unit=f"{name} rationales")
    if keep_all:
        return _all_of(bench, chosen, rows.rows, pile, f"{name} rationales")
    before, reason = _MISSED[pile]
    missed = chosen.piles.pile("wrong" if pile == "right" else "right")
    steps = tuple(
        replace(step, reasons=tuple(reason if found == before else found for found in step.reasons))
        if step.unit == f"{name} rationales"
        else step
        for step in chosen.funnel.steps
    )
    lost = [Dropped(item_id=row.id, step=name, reason=reason) for row in missed]
    return replace(
        chosen,
        piles=_only(pile, chosen.piles.pile(pile), chosen.piles.rejected),
        funnel=Funnel(steps),
        dropped=(*chosen.dropped, *lost),
    )


def _all_of(bench: Bench, chosen: Chosen, rows: Sequence[Rationale], pile: Pile, unit: str) -> Chosen:
    """Every text there is, whatever it answers (EDIT-A9)."""
    kept: dict[str, Rationale] = {}
    lost: list[Dropped] = []
    for row in rows:
        if row.id in kept or not row.text.strip():
            lost.append(Dropped(item_id=row.id, step=unit, reason=_REPEATED if row.id in kept else _EMPTY))
        else:
            kept[row.id] = row
    funnel = bench.funnel.start("sampled", unit, len(rows)).step("kept, whatever they answer", len(kept), lost)
    return replace(chosen, piles=_only(pile, tuple(kept.values()), tuple(lost)), funnel=funnel, dropped=tuple(lost))


def _only(pile: Pile, rows: tuple[Rationale, ...], rejected: tuple[Dropped, ...]) -> Piles:
    return Piles(right=rows if pile == "right" else (), wrong=rows if pile == "wrong" else (), rejected=rejected)
