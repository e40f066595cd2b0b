"""Adaptive self-consistency: votes weighed by a ranker, and sampling that ends once the vote is decided.

Li et al., "Turning Dust into Gold" (AAAI 2024), step 3; the stopping rule is ours. Torch is imported late, where a
ranker is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, Self

from feints.errors import SettingsError
from feints.evaluate.solver import Judged, Sampler, answer_with, load_sampler, write_solver
from feints.evaluate.vote import Key, affine_weights, by_answer, by_letter, vote
from feints.generate.source import Sampling
from feints.records import Answer, Problem, content_hash

_INNER = "solver"
_RANKER = "ranker"
_DIGITS = 6
"""Decimals of a score that count, so that batching cannot change a vote."""


class Scorer(Protocol):
    """Says how likely a rationale is right."""

    @property
    def identity(self) -> str:
        """Hash of all that decides its scores."""
        ...

    def score(self, items: Sequence[tuple[Problem, str]]) -> list[float | None]:
        """A score in (0, 1) for each problem and text; None for what is too long to be read."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that is needed to score again."""
        ...


# ------------------------------------------------------------------------------------------------ when to stop


@lru_cache(maxsize=64)
def boundary(samples: int, error: float) -> tuple[float, ...]:
    """The lead at which sampling may stop after k = 1 .. samples - 1 of `samples`, in units of the heaviest vote.

    The votes to come are as likely in any order (exchangeable). Let S_k be the weight of answer a less that of b
    after k votes, each at most 1. Were b ahead of or level with a after all N, Z_k = (S_k - k S_N / N) / (N - k) would
    be a martingale whose k-th step spans at most 2 / (N - k), and S_k / (N - k) <= Z_k. So (Hoeffding's lemma, then
    Ville's inequality) a leads b at any k by more than

        (N - k) (log(m / error) / r + r v_k / 2),   v_k = sum_{j <= k} (N - j)^-2

    with probability at most error / m, for every r > 0. m is the number of losing answers that can lead by that much
    at all, so that together: the answer differs from that of all N votes with probability at most `error`. r is the one
    that serves best after a third of the votes. With error 0 nothing but a lead that cannot be caught up will do.
    """
    if error == 0.0:
        return (math.inf,) * (samples - 1)
    spread = [0.0]
    for k in range(1, samples):
        spread.append(spread[-1] + (samples - k) ** -2)
    leads: tuple[float, ...] = ()
    for rivals in range(1, samples + 1):
        nats = math.log(rivals / error)
        rate = math.sqrt(2 * nats / spread[max(1, samples // 3)]) if samples > 1 else 1.0
        leads = tuple((samples - k) * (nats / rate + rate * spread[k] / 2) for k in range(1, samples))
        # A loser that led by the least of them holds that much weight, and the winner no less.
        if not leads or rivals >= math.floor(samples / min(leads)) - 1:
            break
    return leads


def decided(keys: Sequence[str | None], weights: Sequence[float], samples: int, heaviest: float, error: float) -> bool:
    """Whether sampling may stop: the lead reaches `boundary`, or cannot be caught up by all votes to come.

    Args:
        keys: normal form of the answer of each sample so far; None does not vote.
        weights: of each sample so far, at most `heaviest`.
        samples: N, the most that would be drawn.
        heaviest: the largest weight there can be.
        error: probability, at most, of another answer than that of all N.
    """
    drawn = len(keys)
    if drawn >= samples:
        return True
    sums: dict[str, float] = {}
    for key, weight in zip(keys, weights, strict=True):
        if key is not None:
            sums[key] = sums.get(key, 0.0) + weight
    if not sums or heaviest <= 0:
        return False
    first, second = [*sorted(sums.values(), reverse=True), 0.0][:2]
    lead = (first - second) / heaviest
    return lead > samples - drawn or lead > boundary(samples, error)[drawn - 1]


def first_look(samples: int, error: float) -> int:
    """Samples after which a unanimous vote can be decided at the earliest."""
    leads = boundary(samples, error)
    return next((k for k in range(1, samples) if k > samples - k or k > leads[k - 1]), samples)


# ------------------------------------------------------------------------------------------------------ the solver


class AdaptiveVote:
    """The answer of greatest weight, each sample weighing c0 + c1 s; a few at a time, until the vote is decided.

    Answers are normalised before they are counted, and a sample without one does not vote. A sample the ranker cannot
    read has the mean score of its problem's others. Of tied answers the one given first wins.
    """

    def __init__(
        self,
        inner: Sampler,
        ranker: Scorer | None,
        *,
        samples: int = 16,
        offset: float = 1.0,
        slope: float = 1.0,
        error: float = 0.05,
        stop: bool = True,
        at_once: int = 2,
        raw_keys: bool = False,
    ) -> None:
        """Vote over the samples of `inner`.

        Args:
            inner: draws texts.
            ranker: scores them; None where `slope` is 0, which is plain self-consistency.
            samples: N, the most that are drawn for a problem.
            offset: c0.
            slope: c1.
            error: most that stopping early may change, see `boundary`.
            stop: whether to stop early at all.
            at_once: samples drawn between two looks.
            raw_keys: count answers letter by letter, a missing one too, as the code was released (TDG-D8).

        Raises:
            SettingsError: weights below 0, no sample, several of a greedy solver, or a slope without a ranker.
        """
        if min(offset, offset + slope) < 0 or max(offset, offset + slope) <= 0:
            raise SettingsError(
                f"votes would weigh {offset:g} + {slope:g} s, which is below 0 or always 0; choose others"
            )
        if samples < 1 or at_once < 1 or (samples > 1 and inner.sampling.temperature == 0):
            raise SettingsError(
                f"a vote of {samples} samples, {at_once} at once, at temperature {inner.sampling.temperature:g} is "
                "none; draw at least one, and several only at a temperature above 0"
            )
        if ranker is None and slope != 0:
            raise SettingsError(f"votes that weigh {offset:g} + {slope:g} s need a ranker; give one, or a slope of 0")
        self.inner, self.ranker = inner, ranker if slope != 0 else None
        self.samples, self.offset, self.slope = samples, offset, slope
        self.error, self.stop, self.at_once, self.raw_keys = error, stop, at_once, raw_keys

    @property
    def settings(self) -> dict[str, Any]:
        """What is saved beside sampler and ranker."""
        names = ("samples", "offset", "slope", "error", "stop", "at_once")
        raw = {"raw_keys": True} if self.raw_keys else {}  # so that the usual vote keeps the hash it always had
        return {name: getattr(self, name) for name in names} | raw

    @property
    def identity(self) -> str:
        """See `Solver.identity`."""
        ranker = self.ranker.identity if self.ranker else None
        return content_hash("adaptive vote", self.inner.identity, ranker, self.settings)

    @property
    def key(self) -> Key:
        """How it tells answers apart."""
        return by_letter if self.raw_keys else by_answer

    @property
    def sampling(self) -> Sampling:
        """How texts are drawn."""
        return self.inner.sampling

    def sample(self, problems: Sequence[Problem], samples: int, seed: int, *, first: int = 0) -> list[list[Judged]]:
        """See `Sampler.sample`: the texts alone, without a vote."""
        return self.inner.sample(problems, samples, seed, first=first)

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        """See `Solver.solve`."""
        texts: list[list[Judged]] = [[] for _ in problems]
        scores: list[list[float | None]] = [[] for _ in problems]
        open_ = list(range(len(problems)))
        drawn, more = 0, first_look(self.samples, self.error) if self.stop else self.samples
        while open_:
            asked = [problems[place] for place in open_]
            told = self.inner.sample(asked, more, seed, first=drawn)
            found = iter(self._scores([(p, own) for p, judged in zip(asked, told, strict=True) for own in judged]))
            for place, judged in zip(open_, told, strict=True):
                texts[place] += judged
                scores[place] += [next(found) for _ in judged]
            drawn += more
            more = min(self.at_once, self.samples - drawn)
            open_ = [place for place in open_ if not self._decided(problems[place], texts[place], scores[place])]
        return [self._answer(*own) for own in zip(problems, texts, scores, strict=True)]

    def _scores(self, items: Sequence[tuple[Problem, Judged]]) -> list[float | None]:
        if self.ranker is None:
            return [None] * len(items)
        found = self.ranker.score([(problem, completion.text) for problem, (completion, _) in items])
        return [None if score is None else round(score, _DIGITS) for score in found]

    def _keys(self, problem: Problem, judged: Sequence[Judged]) -> list[str | None]:
        return [self.key(problem, completion.text, verdict.extracted) for completion, verdict in judged]

    def _decided(self, problem: Problem, judged: Sequence[Judged], scores: Sequence[float | None]) -> bool:
        keys = self._keys(problem, judged)
        heaviest = max(self.offset, self.offset + self.slope)
        error = self.error if self.stop else 0.0
        return decided(keys, affine_weights(scores, self.offset, self.slope), self.samples, heaviest, error)

    def _answer(self, problem: Problem, judged: Sequence[Judged], scores: Sequence[float | None]) -> Answer:
        keys = self._keys(problem, judged)
        weights = affine_weights(scores, self.offset, self.slope)
        winner = vote(keys, weights).winner
        answer = answer_with(problem, judged, winner or 0)
        if self.ranker is not None and len(judged) > 1:
            used = affine_weights(scores, 0.0, 1.0)
            answer = replace(answer, sample_scores=tuple(round(score, _DIGITS) for score in used))
        # No sample gave an answer: say what the first one said.
        return answer if winner is not None else replace(answer, extracted=None)

    def save(self, folder: Path) -> None:
        """See `Solver.save`."""
        self.inner.save(folder / _INNER)
        if self.ranker is not None:
            self.ranker.save(folder / _RANKER)
        write_solver(folder, self, self.settings)

    @classmethod
    def load(cls, folder: Path, settings: Mapping[str, Any]) -> Self:
        """The solver `save` wrote; see `load_solver`."""
        inner = load_sampler(folder / _INNER)
        if settings["slope"] == 0:
            return cls(inner, None, **settings)
        from feints.evaluate.ranker import Ranker  # noqa: PLC0415  torch

        return cls(inner, Ranker(folder / _RANKER), **settings)
