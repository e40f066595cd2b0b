"""Accuracy against samples and tokens, from stored answers: pass@k, majority, weighted votes, the stopping rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feints.errors import DataError
from feints.evaluate import stats
from feints.evaluate.adaptive_vote import decided
from feints.evaluate.vote import Key, affine_weights, by_answer, credit, vote
from feints.records import Answer, Judgement, Problem

SUBSETS = 100
"""Random orders of the samples a point is averaged over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VotePoint:
    """One point of a curve; accuracies are means over problems and over random orders of their samples."""

    vote: str
    """pass@k, majority, weighted, or the same two with ` until decided`."""
    k: int
    """Most samples of a problem."""
    samples: float
    """Mean samples drawn of a problem: k, or fewer where sampling stops early."""
    tokens: float
    """Mean new tokens of a problem."""
    accuracy: float
    """Of the vote, tied answers sharing the credit; for pass@k the share with a right one among k."""
    low: float
    """Lower end of the 95 % Wilson interval at this accuracy over `problems` problems."""
    high: float
    """Upper end."""
    agreement: float
    """Share of problems in which stopping early gave the answer of all k samples; 1 where nothing stops."""
    problems: int
    """Problems counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """The samples of one problem."""

    keys: list[str | None]
    right: list[bool]
    tokens: list[int]
    scores: list[float]


def vote_curve(
    problems: Sequence[Problem],
    answers: Sequence[Answer],
    ks: Sequence[int],
    *,
    offset: float = 1.0,
    slope: float = 1.0,
    error: float = 0.05,
    key: Key = by_answer,
    seed: int = 0,
) -> list[VotePoint]:
    """Points for each k, out of answers that kept at least max(ks) samples.

    The weighted votes need `sample_scores`; without them they are left out. A problem of which a sample could not be
    checked is left out.

    Args:
        problems: what was asked.
        answers: to them, in order.
        ks: numbers of samples.
        offset: c0 of a vote's weight c0 + c1 s.
        slope: c1.
        error: of the stopping rule.
        key: how the vote tells answers apart.
        seed: of the random orders.

    Raises:
        DataError: the answers are not those to `problems`, keep too few samples, or none could be checked.
    """
    drawn = _drawn(problems, answers, max(ks), key)
    rng = np.random.default_rng(seed)
    orders = [[rng.permutation(len(own.keys)) for _ in range(SUBSETS)] for own in drawn]
    scored = all(len(own.scores) == len(own.keys) for own in drawn)
    points = []
    for k in ks:
        passed = [stats.pass_at_k(len(own.right), sum(own.right), k) for own in drawn]
        tokens = float(np.mean([np.mean(own.tokens) * k for own in drawn]))
        points.append(_point("pass@k", k, float(k), tokens, passed, 1.0))
        for name, c0, c1 in (("majority", 1.0, 0.0), ("weighted", offset, slope)):
            if name == "majority" or scored:
                points += _votes(drawn, orders, k, name, (c0, c1), error)
    return points


def _votes(
    drawn: Sequence[_Drawn],
    orders: Sequence[Sequence[np.ndarray]],
    k: int,
    name: str,
    weights: tuple[float, float],
    error: float,
) -> list[VotePoint]:
    """The point of a vote over k samples, and of the same vote until it is decided."""
    table = np.array(
        [
            np.mean([_one(own, order[:k], weights, error) for order in several], axis=0)
            for own, several in zip(drawn, orders, strict=True)
        ]
    )
    full, full_tokens, early, samples, tokens, same = table.mean(axis=0).tolist()
    return [
        _point(name, k, float(k), full_tokens, [full] * len(drawn), 1.0),
        _point(f"{name} until decided", k, samples, tokens, [early] * len(drawn), same),
    ]


def _one(own: _Drawn, order: np.ndarray, weights: tuple[float, float], error: float) -> tuple[float, ...]:
    """Credit and tokens of all samples in `order`; credit, samples, tokens until decided; whether both agree."""
    keys = [own.keys[at] for at in order]
    right = [own.right[at] for at in order]
    scores: list[float | None] = [own.scores[at] for at in order] if weights[1] else [None] * len(order)
    spent = np.cumsum([own.tokens[at] for at in order])
    loads = affine_weights(scores, *weights)
    heaviest = max(weights[0], sum(weights))
    stop = next(n for n in range(1, len(keys) + 1) if decided(keys[:n], loads[:n], len(keys), heaviest, error))
    full, early = vote(keys, loads), vote(keys[:stop], loads[:stop])
    named = [None if v.winner is None else keys[v.winner] for v in (full, early)]
    return (
        credit(full, right),
        float(spent[-1]),
        credit(early, right),
        float(stop),
        float(spent[stop - 1]),
        float(named[0] == named[1]),
    )


def _point(name: str, k: int, samples: float, tokens: float, credits: Sequence[float], agreement: float) -> VotePoint:
    accuracy, problems = float(np.mean(credits)), len(credits)
    low, high = stats.wilson(round(accuracy * problems), problems)
    return VotePoint(
        vote=name,
        k=k,
        samples=samples,
        tokens=tokens,
        accuracy=accuracy,
        low=low,
        high=high,
        agreement=agreement,
        problems=problems,
    )


def _drawn(problems: Sequence[Problem], answers: Sequence[Answer], most: int, key: Key) -> list[_Drawn]:
    if [problem.id for problem in problems] != [answer.problem_id for answer in answers]:
        raise DataError("the answers are not those to these problems, in order; pass both as the exam stored them")
    short = [answer.problem_id for answer in answers if len(answer.samples) < most]
    if short:
        raise DataError(
            f"{len(short)} answers keep fewer than {most} samples, {short[0]!r} first; examine once with all samples "
            "(method asc with stop: false)"
        )
    kept = [
        (problem, answer)
        for problem, answer in zip(problems, answers, strict=True)
        if Judgement.NOT_CHECKED not in answer.sample_judgements
    ]
    if not kept:
        raise DataError("no problem has all its samples judged; look at the checker's reasons")
    return [
        _Drawn(
            keys=[key(problem, *said) for said in zip(answer.samples, answer.sample_extracted, strict=True)],
            right=[judgement is Judgement.CORRECT for judgement in answer.sample_judgements],
            tokens=list(answer.sample_tokens) or [0] * len(answer.samples),
            scores=list(answer.sample_scores),
        )
        for problem, answer in kept
    ]
