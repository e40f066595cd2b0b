"""What is to be run: groups of arms that share a recipe, one job per group, teacher regime and training seed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from rich.console import Console

from feints.arms import arms_of
from feints.pipeline import run_recipe
from feints.recipe import Recipe, load_recipe

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUNS = ROOT / "runs" / "replication"
REGIMES = ("systematic", "slips")
SEEDS = 5
"""Training seeds of a group for which groups.yaml says no other number."""
SETS = ("task.test=1000", "task.longer=1000", "task.unseen=1000")


@dataclass(frozen=True, slots=True)
class Job:
    """One run folder: a group's arms under one regime with one training seed."""

    group: str
    regime: str
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.group}-{self.regime}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        """Where it runs; the ledger lies beside it, so that two jobs never share one."""
        return RUNS / self.name / "run"

    def overrides(self) -> list[str]:
        """What is set on top of the group's recipe."""
        own = groups()[self.group]["set"]
        set_there = {set_of(override) for override in own}
        common = [override for override in SETS if set_of(override) not in set_there]
        return [*common, *own, f"lab.mistakes.regime={self.regime}", f"seeds=[{self.seed}]"]

    def command(self, taken: Collection[str]) -> str:
        """The same run by hand, with exams on the sets `taken`."""
        wanted = [one for one in self.overrides() if one not in SETS or set_of(one) in taken]
        sets = " ".join(f"--set '{override}'" for override in wanted)
        return f"feints run {groups()[self.group]['recipe']} {sets}"

    def sets(self) -> set[str]:
        """The test sets this job is examined on."""
        return set(_facts(self.group, self.regime)[0])

    def recipe(self, arms: Sequence[str] | None = None) -> Recipe:
        """The recipe of this job; with `arms`, only those baselines (the method and its control always run)."""
        whole = load_recipe(ROOT / groups()[self.group]["recipe"], self.overrides())
        if arms is None:
            return whole
        kept = [arm.config for arm in arms_of(whole) if arm.role == "other" and arm.name in arms]
        # Of the general class: that of the file knows how many baselines it names, and which.
        return Recipe.model_construct(**{**dict(whole), "baselines": tuple(kept)})

    @property
    def group_recipe(self) -> Recipe:
        """The recipe with all its arms, of whichever seed."""
        return _facts(self.group, self.regime)[1]

    def run(self, arms: Sequence[str] | None) -> None:
        """Do it, or what is left of it."""
        run_recipe(self.recipe(arms), self.folder, Console(stderr=True))


@cache
def _facts(group: str, regime: str) -> tuple[frozenset[str], Recipe]:
    """Test sets and recipe of a group; of the recipe the seed is that of no job in particular."""
    whole = Job(group, regime, 0).recipe()
    return frozenset(name for name in map(set_of, SETS) if getattr(whole.task, name)), whole


def set_of(override: str) -> str:
    """Name of the test set whose size this sets."""
    return override.partition("=")[0].removeprefix("task.")


@cache
def groups() -> dict[str, dict]:
    """Groups by name: a recipe and what is set on top of it."""
    return yaml.safe_load((HERE / "groups.yaml").read_text(encoding="utf-8"))


def seeds_of(group: str, seeds: Sequence[int] | None = None) -> list[int]:
    """Training seeds of a group, all it is to have unless some are named: `first_seed` and on where there is one."""
    said = groups()[group]
    wanted = range(said.get("seeds", SEEDS)) if seeds is None else seeds
    return [said.get("first_seed", 0) + seed for seed in wanted]


@cache
def arms_in(group: str) -> tuple[str, ...]:
    """Names of a group's arms in the order they run."""
    return tuple(arm.name for arm in arms_of(Job(group, REGIMES[0], 0).recipe()))
