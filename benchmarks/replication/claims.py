"""Claims of the papers: what must be larger than what; judged by a rule that was fixed before anything was run.

The rule. Every pair of a claim is compared on the claim's deciding set over all recorded seeds, which must be as many
as its groups are to have (five unless groups.yaml says otherwise), so that no verdict is read off halfway. The
interval is the 95 % bootstrap over training seeds and problems together (`stats.seed_bootstrap`). A pair holds when
the whole interval is above 0 and fails when it is below. A claim is *reproduced* when all its pairs hold,
*contradicted* when one fails, *inconclusive* otherwise, *not run* while arms or seeds are missing. A claim that the
lab decides by the way it was written is *by construction* whatever the figures say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import Field

from feints.config import Settings
from feints.evaluate.stats import Interval, overlap
from replication.jobs import HERE, seeds_of
from replication.results import flags_of, interval, load

Verdict = Literal["reproduced", "contradicted", "inconclusive", "not run", "by construction"]


class Claim(Settings):
    """One claim, one file."""

    paper: str = Field(description="Which paper.")
    says: str = Field(description="The claim in a sentence.")
    figure: str = Field(description="The figure it gives, with its place.")
    group: str = Field(description="Group of arms, from groups.yaml.")
    pairs: list[tuple[str, str]] = Field(
        description="Arms of which the first must be better; arm@round_2 is on the way, group:arm of another group."
    )
    metric: Literal["accuracy", "misread", "overlap"] = Field(
        default="accuracy",
        description="accuracy; share of misread problems, less is better; overlap of solved problems below chance.",
    )
    decides: Literal["test", "longer", "unseen"] = Field(default="test", description="The set that decides.")
    matched: str = Field(description="What is equal between the arms, and what is not.")
    by_construction: bool = Field(default=False, description="Whether the lab was written so.")

    @property
    def of(self) -> str:
        """Whose it is, in a word or two."""
        return re.split(r" \(|, ", self.paper)[0]

    @property
    def is_ours(self) -> bool:
        """Whether it is about a blend of this project and stands in no paper."""
        return self.of == "Ours"


class Finding(Settings):
    """One pair of a claim on one set."""

    better: str
    worse: str
    on: str
    seeds: int
    first: float
    """Share of problems that `better` solves, or misreads where the claim is about that."""
    second: float
    """The same of `worse`."""
    difference: float
    """By how much the first is better: fewer misread, less overlap than by chance, more solved."""
    low: float
    high: float

    @property
    def side(self) -> int:
        """1 when the pair holds, -1 when it fails, 0 when the interval leaves it open."""
        return int(self.low > 0) - int(self.high < 0)


def claims() -> dict[str, Claim]:
    """Every claim by the name of its file, those of papers first."""
    files = sorted((HERE / "claims").glob("*.yaml"))
    found = {path.stem: Claim(**yaml.safe_load(path.read_text(encoding="utf-8"))) for path in files}
    return dict(sorted(found.items(), key=lambda item: item[1].is_ours))


def needed_arms(claim: Claim) -> list[tuple[str, str]]:
    """Group and arm of everything a claim needs, each once."""
    return list(dict.fromkeys(_place(claim, side)[:2] for pair in claim.pairs for side in pair))


def _place(claim: Claim, side: str) -> tuple[str, str, str]:
    """Group, arm and exam of one side of a pair."""
    where, _, exam = side.partition("@")
    group, _, arm = where.rpartition(":")
    return group or claim.group, arm, exam or "end"


def find(claim: Claim, regime: str, on: str) -> list[Finding | None]:
    """Every pair of the claim on one set; None where an arm has not been run."""
    return [_compared(claim, regime, better, worse, on) for better, worse in claim.pairs]


def verdict(claim: Claim, findings: Sequence[Finding | None]) -> Verdict:
    """The rule above, over the findings on the deciding set."""
    if claim.by_construction:
        return "by construction"
    enough = max(len(seeds_of(group)) for group, _ in needed_arms(claim))
    known = [finding for finding in findings if finding is not None and finding.seeds >= enough]
    if len(known) < len(findings):
        return "not run"
    if all(finding.side > 0 for finding in known):
        return "reproduced"
    return "contradicted" if any(finding.side < 0 for finding in known) else "inconclusive"


def _compared(claim: Claim, regime: str, better: str, worse: str, on: str) -> Finding | None:
    what = "misread" if claim.metric == "misread" else "right"
    sides = []
    for name in (better, worse):
        group, arm, exam = _place(claim, name)
        found = load(group, regime, arm)
        if found is None:
            return None
        sides.append(flags_of(found, on, what, exam))
    common = sorted(sides[0].keys() & sides[1].keys())
    if not common:
        return None
    first, second = (np.array([side[seed] for seed in common]) for side in sides)
    if claim.metric == "overlap":
        apart = overlap_interval(first, second)
    else:
        fewer_is_better = claim.metric == "misread"
        apart = interval(second, first) if fewer_is_better else interval(first, second)
    return Finding(
        better=better,
        worse=worse,
        on=on,
        seeds=len(common),
        first=float(first.mean()),
        second=float(second.mean()),
        difference=apart.difference,
        low=apart.low,
        high=apart.high,
    )


def overlap_interval(a: np.ndarray, b: np.ndarray, draws: int = 2000) -> Interval:
    """How far the overlap of solved problems lies *below* chance: chance - IoU, seeds and problems resampled.

    The difference is the mean over pairs of seeds. Each draw takes problems with replacement and one seed of each arm,
    which errs on the wide side.
    """

    def below(left: np.ndarray, right: np.ndarray) -> float:
        found = [overlap((x > 0).tolist(), (y > 0).tolist()) for x in left for y in right]
        return float(np.mean([one.chance - one.iou for one in found]))

    rng = np.random.default_rng(0)
    values = []
    for _ in range(draws):
        picked = rng.integers(a.shape[1], size=a.shape[1])
        left = a[rng.integers(len(a), size=1)][:, picked]
        right = b[rng.integers(len(b), size=1)][:, picked]
        values.append(below(left, right))
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(difference=below(a, b), low=float(low), high=float(high), confidence=0.95)


def recorded_arms(group: str, regime: str) -> list[Path]:
    """Files of the arms recorded of a group."""
    return sorted((HERE / "results" / regime / group).glob("*.json"))
