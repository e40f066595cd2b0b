"""What a task yields and the settings every task shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from feints.config import Settings
from feints.records import Dropped, Problem

Paths = str | tuple[str, ...]
STEP = "load"
"""In the list of what was dropped."""


class TaskConfig(Settings):
    """Settings of every task; a task's own `Config` adds to them."""

    path: Paths | dict[str, Paths] | None = None
    """Local file or files (JSONL, JSON, CSV, TSV or Parquet, also .gz); None reads from the hub.
    A file whose rows carry a split is sorted by it; otherwise say which is which:
    {train: ..., validation: ..., test: ...}. Any other key names a further test set."""
    revision: str | None = None
    """Revision of the hub's copy; None takes the newest."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many problems of each split, drawn by `seed`; a larger limit contains the smaller one.
    What `skip_unparsable` leaves out is not among them."""
    test_share: float | None = Field(default=None, gt=0.0, lt=1.0)
    """Put all problems together and hold back this share as the test set, by a hash of `seed` and id: for sets
    without a split of their own."""
    shuffle_choices: bool = False
    """Put the options of each problem in a drawn order; for sets that list the right one first.
    Options that point at others ("both A and B") do not survive it."""
    seed: int = 0
    """Of every draw made while loading."""
    skip_unparsable: bool = False
    """Leave out problems whose gold answer its checker cannot read, instead of refusing the set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Where a problem set comes from and what may be done with it; for model cards."""

    source: str
    """Who publishes it, and where."""
    licence: str
    """Terms of the data."""
    citation: str
    """The paper."""
    canary: str = ""
    """Set for benchmarks that ask to be kept out of training corpora."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """A problem set, split and checked."""

    task: str
    """Name of the problem set."""
    train: tuple[Problem, ...]
    """Learnt from; empty where the set is for examination only."""
    validation: tuple[Problem, ...] | None
    """Chooses the best epoch; None where it is still to be carved out of train."""
    tests: Mapping[str, tuple[Problem, ...]]
    """Test sets by name; never learnt from."""
    about: About
    """Source, licence and citation."""
    unparsable: tuple[tuple[str, str], ...] = ()
    """Problems left out because their gold answer cannot be read: (id, why)."""
    left_out: tuple[Dropped, ...] = ()
    """Rows that hold no problem of this set, and why."""
    checked: int = 0
    """Gold answers that were read; 0 where they are right by construction."""

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """Every row that was read and is no problem here, and why."""
        return (*self.left_out, *(Dropped(item_id=id_, step=STEP, reason=why) for id_, why in self.unparsable))

    def __len__(self) -> int:
        """Problems in all splits together."""
        return len(self.train) + len(self.validation or ()) + sum(map(len, self.tests.values()))

    def notice(self) -> str:
        """One line to show on loading: sizes, and how many gold answers cannot be parsed."""
        sizes = [f"{len(self.train):,} train"]
        if self.validation is not None:
            sizes.append(f"{len(self.validation):,} validation")
        sizes += [f"{len(problems):,} {name}" for name, problems in self.tests.items()]
        line = f"{self.task}: {', '.join(sizes)}"
        if self.checked:
            line += f"; {len(self.unparsable):,} of {self.checked:,} gold answers unparsable"
        if self.left_out:
            line += f"; {len(self.left_out):,} rows left out"
        if self.about.canary:
            line += f"; {self.about.canary}"
        return line
