"""Which jobs are run in which order, how long they take, and what is left out when the hours do not suffice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from replication.jobs import Job, arms_in, seeds_of
from replication.results import load

GUESS = 130.0
"""Core-seconds of one arm and seed nobody has run yet: a minute of training, a minute of exams."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Jobs with the arms each runs."""

    jobs: tuple[tuple[Job, list[str]], ...]
    hours: float
    """Wall hours of what is still to be run."""
    dropped: tuple[str, ...]
    """regime/group/arm left out for want of time."""
    recorded: int
    """Arms and seeds that need not be run."""

    def words(self) -> str:
        """What is said before anything is run."""
        arms = sum(len(arms) for _, arms in self.jobs)
        lines = [
            f"{len(self.jobs)} jobs, {arms} arms to train and examine, about {self.hours:.1f} hours; "
            f"{self.recorded} recorded already"
        ]
        if self.dropped:
            lines.append(f"dropped for want of time, all seeds of each: {', '.join(self.dropped)}")
        return "\n".join(lines)


def make_plan(
    wanted: dict[str, list[str]], regimes: Sequence[str], seeds: Sequence[int] | None, hours: float, workers: int
) -> Plan:
    """Arms of earlier claims first, the first regime before the second; whole arms are dropped, with all seeds.

    `seeds` are counted from a group's first; None takes all that each group is to have.
    """
    room = hours * 3600 * workers
    kept: dict[tuple[str, str], list[str]] = {}
    dropped, recorded, spent = [], 0, 0.0
    for regime in regimes:
        for group, arms in wanted.items():
            for arm in arms:
                asked = seeds_of(group, seeds)
                missing = [seed for seed in asked if not _recorded(Job(group, regime, seed), arm)]
                recorded += len(asked) - len(missing)
                cost = len(missing) * cost_of(group, arm)
                if missing and spent + cost > room:
                    dropped.append(f"{regime}/{group}/{arm}")
                elif missing:
                    spent += cost
                    kept.setdefault((regime, group), []).append(arm)
    jobs = []
    for (regime, group), arms in kept.items():
        order = [arm for arm in arms_in(group) if arm in arms]
        for seed in seeds_of(group, seeds):
            job = Job(group, regime, seed)
            missing = [arm for arm in order if not _recorded(job, arm)]
            if missing:
                jobs.append((job, missing))
    return Plan(tuple(jobs), spent / workers / 3600, tuple(dropped), recorded)


def cost_of(group: str, arm: str) -> float:
    """Core-seconds of one seed: the mean of what is recorded under any regime, else a guess.

    What an arm shares with others of its group counts in full for each, so the sum is an upper bound.
    """
    found = [load(group, regime, arm) for regime in ("systematic", "slips")]
    times = [row["expense"]["seconds"] for one in found if one for row in one["seeds"].values() if row["expense"]]
    return sum(times) / len(times) if times else GUESS


def _recorded(job: Job, arm: str) -> bool:
    """Whether this seed of the arm is there with every test set, of the recipe as it is now."""
    found = load(job.group, job.regime, arm)
    if found is None or found["recipe"] != job.fingerprint or str(job.seed) not in found["seeds"]:
        return False
    return job.sets() <= found["seeds"][str(job.seed)]["exams"]["end"].keys()
