"""Which jobs are run in which order, how long they take, and what is left out when the hours do not suffice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from replication.jobs import Job, arms_in, seeds_of
from replication.results import by_this_recipe, load

GUESS = 130.0
"""Core-seconds of one arm and seed nobody has run yet: a minute of training, a minute of exams."""


Wanted = dict[str, dict[str, set[str]]]
"""Arms by group, each with the test sets that decide a claim about it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Jobs with the arms each runs."""

    jobs: tuple[tuple[Job, list[str]], ...]
    hours: float
    """Wall hours of what is still to be run."""
    dropped: tuple[str, ...]
    """regime/group/arm left out for want of time."""
    recorded: int
    """Arms and seeds whose deciding sets are recorded."""
    further: int
    """Of these, arms of a regime whose other sets (longer, unseen) are left out for want of time."""

    def words(self) -> str:
        """What is said before anything is run."""
        arms = sum(len(arms) for _, arms in self.jobs)
        lines = [
            f"{len(self.jobs)} jobs, {arms} arms to train and examine, about {self.hours:.1f} hours; "
            f"{self.recorded} recorded already"
        ]
        if self.dropped:
            lines.append(f"dropped for want of time, all seeds of each: {', '.join(self.dropped)}")
        if self.further:
            lines.append(f"{self.further} arms are recorded where a claim is decided; their further sets are left out")
        return "\n".join(lines)


def make_plan(wanted: Wanted, regimes: Sequence[str], seeds: Sequence[int] | None, hours: float, workers: int) -> Plan:
    """What claims still lack, group by group, the first regime before the second; then the sets that decide nothing.

    Whole arms are dropped, with all seeds. `seeds` are counted from a group's first; None takes all that each group is
    to have.
    """
    room = hours * 3600 * workers
    kept: dict[Job, list[str]] = {}
    dropped, further, recorded, spent = [], 0, 0, 0.0
    for whole in (False, True):
        for regime in regimes:
            for group, arm, deciding in ((group, *item) for group, arms in wanted.items() for item in arms.items()):
                jobs = [Job(group, regime, seed) for seed in seeds_of(group, seeds)]
                lacking = [job for job in jobs if not _recorded(job, arm, deciding)]
                if whole and lacking:
                    continue  # run with every set already, or dropped
                missing = [job for job in jobs if not _recorded(job, arm, job.sets())] if whole else lacking
                recorded += 0 if whole else len(jobs) - len(lacking)
                cost = len(missing) * cost_of(group, arm)
                if missing and spent + cost > room:
                    further += whole
                    dropped += [] if whole else [f"{regime}/{group}/{arm}"]
                    continue
                spent += cost
                for job in missing:
                    kept.setdefault(job, []).append(arm)
    places = list(dict.fromkeys((job.regime, job.group) for job in kept))
    in_turn = sorted(kept, key=lambda job: (places.index((job.regime, job.group)), job.seed))
    ordered = [(job, [arm for arm in arms_in(job.group) if arm in kept[job]]) for job in in_turn]
    return Plan(tuple(ordered), spent / workers / 3600, tuple(dropped), recorded, further)


def cost_of(group: str, arm: str) -> float:
    """Core-seconds of one seed: the mean of what is recorded under any regime, else a guess.

    What an arm shares with others of its group counts in full for each, so the sum is an upper bound.
    """
    found = [load(group, regime, arm) for regime in ("systematic", "slips")]
    times = [row["expense"]["seconds"] for one in found if one for row in one["seeds"].values() if row["expense"]]
    return sum(times) / len(times) if times else GUESS


def _recorded(job: Job, arm: str, sets: set[str]) -> bool:
    """Whether this seed of the arm sat the exams on these of the job's sets, by the recipe as it is now."""
    found = load(job.group, job.regime, arm)
    if found is None or not by_this_recipe(job) or str(job.seed) not in found["seeds"]:
        return False
    return sets & job.sets() <= found["seeds"][str(job.seed)]["exams"]["end"].keys()
