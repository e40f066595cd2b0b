"""Accuracy against teacher tokens, a figure per regime: every recorded arm, the best for its tokens named."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from replication.claims import recorded_arms
from replication.jobs import Job, groups
from replication.results import accuracy, mean_expense

Scale = Callable[[float], float]
WIDTH, HEIGHT, MARGIN = 860, 460, 56
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#999999", "#000000", "#7a5195")
"""Okabe and Ito's, told apart by most eyes, and one more; groups beyond as many are squares."""
COLUMN, ROW = 124, 16
"""Of the legend."""


@dataclass(frozen=True, slots=True)
class Point:
    """One arm: what its teacher wrote and read, and what its students solve."""

    group: str
    arm: str
    tokens: float
    """Teacher tokens, sent and received, mean of its seeds."""
    accuracy: float
    low: float
    high: float
    seeds: int
    elsewhere: bool
    """Whether it was examined on other problems than most."""


def points(regime: str) -> list[Point]:
    """Every recorded arm that asked a teacher."""
    found = []
    for group in groups():
        elsewhere = Job(group, regime, 0).recipe().task.seed != 0
        for path in recorded_arms(group, regime):
            arm = json.loads(path.read_text(encoding="utf-8"))
            solved = accuracy(arm, "test")
            tokens, _ = mean_expense(arm, "prompt_tokens", "completion_tokens", "unanswered_tokens")
            if solved and tokens:
                ends = (solved.difference, solved.low, solved.high)
                found.append(Point(group, arm["arm"], tokens, *ends, len(arm["seeds"]), elsewhere))
    return found


def frontier(all_points: Sequence[Point]) -> list[Point]:
    """Arms a point or more above all that take as many tokens or fewer."""
    best: list[Point] = []
    for point in sorted(all_points, key=lambda one: (one.tokens, -one.accuracy)):
        if not best or point.accuracy >= best[-1].accuracy + 0.01:
            best.append(point)
    return best


def figure(all_points: Sequence[Point]) -> str:
    """The drawing, as SVG: tokens on a logarithmic scale, accuracy with its 95 % interval."""
    low, high = (math.log10(end([p.tokens for p in all_points]) * by) for end, by in ((min, 0.8), (max, 1.6)))
    top = 10 * math.ceil(10 * max(p.high for p in all_points) + 0.2)

    def x(tokens: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (math.log10(tokens) - low) / (high - low)

    def y(share: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * 100 * share / top

    shown = [group for group in groups() if any(p.group == group for p in all_points)]
    parts = [*_axes(x, y, low, high, top), *_legend(shown)]
    for point in all_points:
        heights = (y(point.accuracy), y(point.low), y(point.high))
        parts.append(_drawn(point, x(point.tokens), heights, shown.index(point.group)))
    for point in frontier(all_points):
        name = escape(point.arm)
        parts.append(f'<text x="{x(point.tokens) + 7:.1f}" y="{y(point.accuracy) - 6:.1f}">{name}</text>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def _mark(x: float, y: float, place: int, *, hollow: bool = False) -> str:
    """The mark of a group by its place in the legend: a colour, and a shape where colours begin again."""
    turn, at = divmod(place, len(COLOURS))
    paint = f'fill="{"white" if hollow else COLOURS[at]}" stroke="{COLOURS[at]}" stroke-width="2"'
    if turn:
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {paint}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" {paint}/>'


def _drawn(point: Point, x: float, heights: tuple[float, float, float], place: int) -> str:
    middle, low, high = heights
    said = f"{point.group}, {point.arm}: {point.accuracy:.1%} at {point.tokens:,.0f} tokens, {point.seeds} seeds"
    paint = COLOURS[place % len(COLOURS)]
    return (
        f"<g><title>{escape(said)}</title>"
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{paint}" opacity="0.4"/>'
        f"{_mark(x, middle, place, hollow=point.elsewhere)}</g>"
    )


def _axes(x: Scale, y: Scale, low: float, high: float, top: float) -> list[str]:
    left, right, bottom = MARGIN, WIDTH - MARGIN, HEIGHT - MARGIN
    parts = [f'<line x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="#444"/>']
    for percent in range(0, int(top) + 1, 10):
        at = y(percent / 100)
        parts.append(f'<line x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{percent} %</text>')
    for power in range(math.floor(low), math.ceil(high) + 1):
        for digit in (1, 2, 5):
            tokens = digit * 10**power
            if low <= math.log10(tokens) <= high:
                said = f"{tokens / 1000:,.0f}k" if tokens < 10**6 else f"{tokens / 10**6:.0f} M"
                parts.append(f'<text x="{x(tokens):.1f}" y="{bottom + 18}" text-anchor="middle">{said}</text>')
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">teacher tokens, sent and received</text>')
    return parts


def _legend(shown: Sequence[str]) -> list[str]:
    parts, columns = [], (WIDTH - 2 * MARGIN) // COLUMN
    for place, group in enumerate(shown):
        row, column = divmod(place, columns)
        x, y = MARGIN + column * COLUMN, 12 + row * ROW
        parts.append(f'{_mark(x, y, place)}<text x="{x + 9}" y="{y + 4}">{escape(group)}</text>')
    return parts
