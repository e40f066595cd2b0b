"""Figures: what one benchmark measured, every round of every side, and the paired ratios that follow from them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

OURS = "feints"
SKIPPED = 3
"""Exit code of a script that this machine cannot run; its last line says why."""
MISSED = 4
"""Exit code of a script whose figures are whole and miss the bar it was given; its notes say so, and are shown."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Rounds in short."""

    minimum: float
    median: float
    maximum: float

    @classmethod
    def of(cls, rounds: Sequence[float]) -> Spread:
        """The spread of at least one round."""
        return cls(min(rounds), statistics.median(rounds), max(rounds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing measured on several sides in one run.

    `sides` holds the rounds of each; round i of one side was measured next to round i of another, so ratios are
    paired. A side whose list is empty did not get there, and `remarks` says why.
    """

    what: str
    unit: str
    better: Literal["more", "less", ""]
    """Empty: a figure to read beside the others, which nobody wins."""
    sides: Mapping[str, Sequence[float]]
    remarks: Mapping[str, str] = field(default_factory=dict)
    """By side: what must be said beside its figure."""

    def ratios(self, peer: str) -> list[float]:
        """By how much this side of ours is better than `peer`, round by round: above one it is. Empty with a zero."""
        ours, theirs = self.sides.get(OURS, ()), self.sides.get(peer, ())
        if not self.better or len(ours) != len(theirs) or not all([*ours, *theirs]):
            return []
        pairs = zip(ours, theirs, strict=True)
        return [own / other if self.better == "more" else other / own for own, other in pairs]

    def verdict(self, peer: str) -> Literal["ours", "theirs", "even", ""]:
        """Who is better in every single round; even where rounds disagree; empty where it cannot be compared."""
        ours, theirs = self.sides.get(OURS, ()), self.sides.get(peer, ())
        if not self.better or not ours:
            return ""
        if not theirs:
            return "ours"
        # Rounds of unequal number are no pairs: then every round of one must beat every round of the other.
        paired = len(ours) == len(theirs)
        pairs = list(zip(ours, theirs, strict=True)) if paired else [(a, b) for a in ours for b in theirs]
        sign = 1 if self.better == "more" else -1
        signs = {(own > other) - (own < other) for own, other in pairs}
        return {1: "ours", -1: "theirs"}[signs.pop() * sign] if len(signs) == 1 and 0 not in signs else "even"

    def record(self) -> dict[str, Any]:
        """As JSON keeps it: all rounds, and minimum, median and maximum of each side and each ratio."""
        return {
            "what": self.what,
            "unit": self.unit,
            "better": self.better,
            "sides": {name: _rounds(rounds) for name, rounds in self.sides.items()},
            "ratios": {peer: _rounds(self.ratios(peer)) for peer in self.sides if peer != OURS and self.ratios(peer)},
            "remarks": dict(self.remarks),
        }

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Figure:
        """The figure `record` kept."""
        sides = {name: list(found.get("rounds", ())) for name, found in kept["sides"].items()}
        return cls(
            what=kept["what"], unit=kept["unit"], better=kept["better"], sides=sides, remarks=kept.get("remarks", {})
        )


def write(path: str | Path | None, figures: Iterable[Figure], **more: Any) -> None:
    """Write what a script found where `--json FILE` says; nothing without it."""
    if path:
        found = {"figures": [figure.record() for figure in figures], **more}
        Path(path).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def line(figure: Figure) -> str:
    """A figure as a script prints it: medians, then the ratios of all rounds."""
    sides = [
        f"{name} {shown(statistics.median(rounds)) if rounds else 'nothing'}"
        + (f" ({figure.remarks[name]})" if name in figure.remarks else "")
        for name, rounds in figure.sides.items()
    ]
    ratios = {peer: figure.ratios(peer) for peer in figure.sides if peer != OURS}
    told = [
        f"{statistics.median(found):.2f}x {peer} (rounds {', '.join(f'{one:.2f}' for one in found)})"
        for peer, found in ratios.items()
        if found
    ]
    return f"{figure.what}, {figure.unit}: {'; '.join([*sides, *told])}"


def shown(value: float) -> str:
    """A number in at most four digits."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    size = abs(value)
    return (
        f"{value:,.0f}"
        if size >= 100
        else f"{value:.1f}"
        if size >= 10
        else f"{value:.2f}"
        if size >= 0.1
        else f"{value:.2g}"
    )


def _rounds(rounds: Sequence[float]) -> dict[str, Any]:
    kept = [float(f"{value:.6g}") for value in rounds]
    if not kept:
        return {"rounds": []}
    spread = Spread.of(kept)
    return {"rounds": kept, "minimum": spread.minimum, "median": spread.median, "maximum": spread.maximum}
