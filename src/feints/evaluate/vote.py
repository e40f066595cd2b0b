"""Votes over the answers of several samples: majority, weighted, ties, on normalised answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from feints.records import AnswerKind, Problem
from feints.verify import latex, stated
from feints.verify.options import read_label
from feints.verify.wording import loose, normal
from feints.verify.yesno import read_truth

_TEX_SPACE = re.compile(r"\\[,;:! ]|\\q?quad|\s|\$|\\left|\\right|\\displaystyle")
_TEX_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mbox|boxed)\{([^{}]*)\}")
_TEX_SHORT = re.compile(r"\\frac(?:\{(\w+)\}|(\w))(?:\{(\w+)\}|(\w))")

_NAMED = re.compile(r"\A[A-Za-z](?:\([a-z]\))?=(?=[^=,;]+\Z)")
"""The name an answer gives its one value: x=2\\sqrt{3}."""


Key = Callable[[Problem, str, str | None], str | None]
"""How a vote tells answers apart, by the text of a sample and the answer read out of it; None does not vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """What a vote decided."""

    winner: int | None
    """Index of the first sample that gave the winning answer; None when no sample gave one."""
    tied: tuple[int, ...]
    """First samples of all answers that share the highest weight, the winner's own included."""
    weight: float
    """Weight of the winning answer."""
    total: float
    """Weight of all answers given."""


def answer_key(problem: Problem, extracted: str | None) -> str | None:
    """The normal form of an answer: equal keys are one answer in a vote.

    Read by the kind of answer the problem asks for, never by its gold answer: 18, $18.00 and 36/2 are one number, (b)
    and the text of option B one choice, "a Monday" and "Monday" one text. What a number or formula comes to is what the
    checker compares: its last side, exactly evaluated. What cannot be read as its kind stands for itself.

    Returns:
        None when the sample gave no answer: it does not vote.
    """
    if extracted is None or not extracted.strip():
        return None
    kind = problem.answer_kind
    if kind in (AnswerKind.NUMBER, AnswerKind.PROGRAM):
        return stated.value(extracted) or _unvalued(extracted)
    if kind is AnswerKind.CHOICE:
        return read_label(extracted, problem.choices)[0] or normal(extracted)
    if kind is AnswerKind.BOOLEAN:
        truth = read_truth(extracted)
        return normal(extracted) if truth is None else str(truth)
    if kind is AnswerKind.LATEX:
        number = latex.exact_value(extracted)
        return _squeezed(extracted) if number is None else str(number)
    return loose(extracted) or normal(extracted)


def by_answer(problem: Problem, text: str, extracted: str | None) -> str | None:
    """`answer_key` of a sample: how the usual votes tell answers apart."""
    del text
    return answer_key(problem, extracted)


def by_letter(problem: Problem, text: str, extracted: str | None) -> str:
    """The answer letter by letter, as TDG's released vote counts (TDG-D8); having none is an answer too."""
    del problem, text
    return extracted or ""


def _unvalued(text: str) -> str:
    """The form of what comes to no exact number: a formula without its dress, else the words."""
    return _squeezed(text) if "\\" in text or "^" in text else normal(text)


def _squeezed(text: str) -> str:
    """LaTeX without what changes its look only."""
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac")
    text = _TEX_SPACE.sub("", _TEX_TEXT.sub(r"\1", text))
    text = _TEX_SHORT.sub(lambda m: f"\\frac{{{m[1] or m[2]}}}{{{m[3] or m[4]}}}", text).strip(".,")
    return _NAMED.sub("", text)


def affine_weights(scores: Sequence[float | None], offset: float, slope: float) -> list[float]:
    """Weigh each sample by offset + slope * score: the weights of Adaptive Self-Consistency (Li et al. 2024).

    Slope 0 is plain self-consistency; so are equal scores wherever the weight is above 0. A sample
    without a score (None) gets the mean score of the others; where none has one, score 1.
    """
    known = [score for score in scores if score is not None]
    mean = sum(known) / len(known) if known else 1.0
    return [offset + slope * (mean if score is None else score) for score in scores]


def vote(keys: Sequence[str | None], weights: Sequence[float] | None = None) -> Vote:
    """The answer of greatest total weight: argmax over a of sum_i [keys_i = a] w_i (Wang et al. 2023).

    Samples without an answer (None) do not vote. Of tied answers the one given first wins, so the
    order of samples decides and nothing else; for an accuracy without that accident take `credit`.

    Args:
        keys: normal form of each sample's answer (`answer_key`).
        weights: one per sample; None counts each as 1.

    Raises:
        ValueError: the lengths differ.
    """
    given = [1.0] * len(keys) if weights is None else list(weights)
    if len(given) != len(keys):
        raise ValueError(f"{len(given)} weights for {len(keys)} samples; give one each")
    # Sorted before summing, so that no order of samples can break a tie by rounding.
    piles: dict[str, list[float]] = {}
    first: dict[str, int] = {}
    for index, (key, weight) in enumerate(zip(keys, given, strict=True)):
        if key is not None:
            piles.setdefault(key, []).append(weight)
            first.setdefault(key, index)
    if not piles:
        return Vote(winner=None, tied=(), weight=0.0, total=0.0)
    sums = {key: sum(sorted(pile)) for key, pile in piles.items()}
    highest = max(sums.values())
    tied = tuple(first[key] for key, weight in sums.items() if weight == highest)
    return Vote(winner=tied[0], tied=tied, weight=highest, total=sum(sorted(sums.values())))


def credit(decided: Vote, right: Sequence[bool]) -> float:
    """Share of the tied answers that are right: 1 or 0 without a tie, 1/|tied| credit with one.

    Args:
        decided: the vote.
        right: whether each sample is right.
    """
    return sum(right[index] for index in decided.tied) / len(decided.tied) if decided.tied else 0.0
