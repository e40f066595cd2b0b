"""Trios: a right rationale, another right one of the same problem and an own mistake, for learning by comparison."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from feints.curate.examples import Built, Prompt, Renderer, Thinking, answer_text, build_examples
from feints.curate.split import unit_interval
from feints.records import Dropped, Example, Problem, Rationale, Role

STEP = "trios"
POSITIVES, NEGATIVES = 10, 4
"""Most other right rationales and mistakes of one problem that are drawn from (Wang et al., EMNLP 2023, code)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trio:
    """A right rationale with what it is compared with, or alone."""

    anchor: Rationale
    """The right rationale that is learnt."""
    positive: Rationale | None = None
    """Another right one of the same problem, its text a different one; None: there is none, or no mistake."""
    wrong: Rationale | None = None
    """A mistake on the same problem; None together with `positive`."""

    @property
    def rows(self) -> tuple[Rationale, ...]:
        """All rationales of it."""
        return tuple(row for row in (self.anchor, self.positive, self.wrong) if row is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrioWeights:
    """How trios become examples."""

    prompt: float = 0.1
    """Raw weight of prompt tokens of what is learnt."""
    seam: int = 0
    """So many first tokens of a target weigh as the prompt does (defect TAIL-D3 of the released code: 2)."""
    gold_ending: bool = False
    """Mistakes get the gold answer as a last line (defect TAIL-D1 of the released code)."""


def draw_trios(right: Sequence[Rationale], mistakes: Iterable[Rationale], seed: int) -> list[Trio]:
    """Every right rationale once as anchor, in the order given, with a positive and a mistake where there are both.

    A positive never has the anchor's text. Of each problem at most 10 positives and 4 mistakes, drawn once, take part.
    The draw depends on ids and seed alone.
    """
    right_of = _kept(right, POSITIVES, "trio right", seed)
    wrong_of = _kept(mistakes, NEGATIVES, "trio wrong", seed)
    trios = []
    for row in right:
        others = [other for other in right_of[row.problem_id] if _words(other) != _words(row)]
        wrongs = wrong_of[row.problem_id]
        if others and wrongs:
            positive = min(others, key=lambda other: unit_interval("trio positive", seed, row.id, other.id))
            wrong = min(wrongs, key=lambda other: unit_interval("trio wrong of", seed, row.id, other.id))
            trios.append(Trio(anchor=row, positive=positive, wrong=wrong))
        else:
            trios.append(Trio(anchor=row))
    return trios


def trio_examples(
    renderer: Renderer,
    prompt: Prompt,
    problems: Mapping[str, Problem],
    trios: Sequence[Trio],
    weights: TrioWeights,
    *,
    thinking: Thinking = "drop",
    max_tokens: int | None = None,
) -> Built:
    """Examples of all rows of all trios: anchors weigh 1 a token and their prompts `weights.prompt`, the others 0.

    A trio is a group of its own. Where a companion cannot be used (too long, empty) the anchor is learnt alone; where
    the anchor cannot, its companions are left out with it.
    """
    examples: list[Example] = []
    dropped: list[Dropped] = []
    for number, trio in enumerate(trios):
        rows = [trio.anchor, *(row for row in trio.rows[1:])]
        roles = (Role.ANCHOR, Role.POSITIVE, Role.WRONG) if len(rows) > 1 else (Role.RIGHT,)
        made: list[Example] = []
        refused: list[Dropped] = []
        for role, row in zip(roles, rows, strict=True):
            if role is Role.WRONG and weights.gold_ending:
                row = replace(row, text=f"{row.text}\n{answer_text(problems[row.problem_id])}")
            learnt = role in (Role.ANCHOR, Role.RIGHT)
            built = build_examples(
                renderer,
                prompt,
                problems,
                [row],
                role=role,
                weight=1.0 if learnt else 0.0,
                thinking=thinking,
                prompt_weight=weights.prompt if learnt else 0.0,
                max_tokens=max_tokens,
            )
            made += [_named(example, number, weights) for example in built.examples]
            refused += built.dropped
        if refused:
            made, refused = _without(trio, made, refused)
        examples += made
        dropped += refused
    return Built(examples=tuple(examples), dropped=tuple(dropped))


def _kept(rows: Iterable[Rationale], most: int, what: str, seed: int) -> defaultdict[str, list[Rationale]]:
    """At most so many of each problem, no text twice."""
    found: defaultdict[str, dict[str, Rationale]] = defaultdict(dict)
    for row in rows:
        found[row.problem_id].setdefault(_words(row), row)
    kept: defaultdict[str, list[Rationale]] = defaultdict(list)
    for name, own in found.items():
        kept[name] = sorted(own.values(), key=lambda row: unit_interval(what, seed, row.id))[:most]
    return kept


def _words(row: Rationale) -> str:
    return " ".join(row.text.split())


def _named(example: Example, number: int, weights: TrioWeights) -> Example:
    """The example with an id and a group of its own: one rationale may stand in several trios."""
    group = "" if example.role is Role.RIGHT else f"trio {number}"
    own = example.weights
    if weights.seam and example.role in (Role.RIGHT, Role.ANCHOR):
        begin = len(example.prompt_ids)
        end = min(begin + weights.seam, len(own) - 1)
        own = own[:begin] + (weights.prompt,) * (end - begin) + own[end:]
    return replace(example, id=f"{number}-{example.role}-{example.id}", group=group, weights=own)


def _without(trio: Trio, made: Sequence[Example], refused: Sequence[Dropped]) -> tuple[list[Example], list[Dropped]]:
    """What is left of a trio of which a row cannot be used."""
    anchor = [
        replace(example, role=Role.RIGHT, group="") for example in made if example.role in (Role.ANCHOR, Role.RIGHT)
    ]
    reason = "its companion in the trio cannot be used" if anchor else "its anchor cannot be used"
    others = [
        Dropped(item_id=example.rationale_id, step=STEP, reason=reason)
        for example in made
        if example.role not in (Role.ANCHOR, Role.RIGHT)
    ]
    return anchor, [*refused, *others]
