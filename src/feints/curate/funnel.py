"""The funnel: every step from asked to learnt, in which every row is accounted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from feints.errors import DataError, EmptyPileError
from feints.records import Dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class FunnelStep:
    """One step; a table of these is the funnel on disk."""

    name: str
    """What is left after it, in words that complete "6,120 ...": "right", "after dedup"."""
    unit: str
    """What is counted: problems, rationales, pairs or examples."""
    rows_in: int
    """Rows that entered."""
    kept: int
    """Rows that went on."""
    reasons: tuple[str, ...] = ()
    """Why rows were left out, most frequent first."""
    counts: tuple[int, ...] = ()
    """Rows left out for each reason."""

    def __post_init__(self) -> None:
        if len(self.reasons) != len(self.counts) or self.rows_in != self.kept + sum(self.counts):
            raise DataError(
                f"funnel step {self.name!r}: {self.rows_in} {self.unit} went in, {self.kept} were kept and "
                f"{sum(self.counts)} dropped under {len(self.reasons)} reasons; hand in every dropped row, once"
            )

    @property
    def dropped(self) -> tuple[tuple[str, int], ...]:
        """Each reason with its rows."""
        return tuple(zip(self.reasons, self.counts, strict=True))


@dataclass(frozen=True, slots=True)
class Funnel:
    """Steps in the order they were taken; adding one gives a new funnel."""

    steps: tuple[FunnelStep, ...] = ()
    """Within one unit each step takes in what the step before it kept."""

    def __post_init__(self) -> None:
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            if before.unit == after.unit and before.kept != after.rows_in:
                raise DataError(
                    f"funnel: {before.kept} {before.unit} were kept by {before.name!r} but {after.rows_in} entered "
                    f"{after.name!r}; a step between them is missing"
                )

    def start(self, name: str, unit: str, rows: int) -> Funnel:
        """Begin counting another unit: `rows` of it, none dropped."""
        return Funnel((*self.steps, FunnelStep(name=name, unit=unit, rows_in=rows, kept=rows)))

    def step(self, name: str, kept: int, dropped: Iterable[Dropped] | Counter[str]) -> Funnel:
        """One more step on what the last one kept.

        Args:
            name: what is left after it.
            kept: rows that go on.
            dropped: the rows left out, or how many by reason.

        Raises:
            DataError: kept and dropped are not together what entered, or nothing was started.
        """
        if not self.steps:
            raise DataError(f"funnel step {name!r} has nothing before it; call start first")
        last = self.steps[-1]
        tally = dropped if isinstance(dropped, Counter) else Counter(row.reason for row in dropped)
        ordered = sorted(((reason, n) for reason, n in tally.items() if n), key=lambda item: (-item[1], item[0]))
        added = FunnelStep(
            name=name,
            unit=last.unit,
            rows_in=last.kept,
            kept=kept,
            reasons=tuple(reason for reason, _ in ordered),
            counts=tuple(n for _, n in ordered),
        )
        return Funnel((*self.steps, added))

    def text(self) -> str:
        """One line, such as "7,473 asked -> 6,120 right -> 5,804 after dedup"; a new unit is named."""
        parts: list[str] = []
        unit = ""
        for step in self.steps:
            named = f"{step.unit} " if step.unit != unit else ""
            parts.append(f"{step.kept:,} {named}{step.name}")
            unit = step.unit
        return " -> ".join(parts)

    def refuse_empty(self, what: str = "examples", *, cut_short: bool = False) -> None:
        """Raise if the last step kept nothing; `cut_short` tells that a budget or Ctrl+C ended sampling early.

        Raises:
            EmptyPileError: names the step that emptied the funnel, its reasons, and what to look at.
        """
        if self.steps and self.steps[-1].kept:
            return
        emptied = next((step for step in self.steps if not step.kept), None)
        if emptied is None:
            raise EmptyPileError(f"0 {what}: no problem entered; look at the task's path and limit")
        why = ", ".join(f"{n:,} {reason}" for reason, n in zip(emptied.reasons, emptied.counts, strict=True))
        raise EmptyPileError(
            f"0 {what} are left to learn from: {self.text()}. Step {emptied.name!r} left out "
            f"{emptied.rows_in - emptied.kept:,} {emptied.unit}{f' ({why})' if why else ''}. "
            + (
                "Sampling ended early: raise the budget and run again, and it goes on from here"
                if cut_short
                else "Look at the verdict counts: a prompt that never yields a parsable answer is the usual cause"
            )
        )
