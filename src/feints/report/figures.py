"""Geometry of the figures, in percent of their width, so that text keeps its size on any screen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

from feints.curate.funnel import FunnelStep
from feints.evaluate.vote_curve import VotePoint
from feints.report.accuracy import Accuracy, over_seeds, percent, points
from feints.report.contents import ArmRole, ComparisonRow, RunContents
from feints.report.training import Curve, CurvePoint, RankerRow, VoteLine

MOST_POINTS = 240
"""Points drawn per line; more cannot be seen."""
RANKED = ("arm-0", "arm-1", "arm-3", "arm-4", "arm-5", "arm-6", "arm-7")
"""Styles besides that of the diagonal."""
STYLES = 8
"""Styles of lines that can be told apart, by dash where not by colour."""
NO_RANGE, NOTHING = 1e-9, 1e-200
"""Values that differ by a smaller part of their size, or are smaller, are drawn as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One accuracy: a dot, its whisker and the single seeds."""

    label: str
    """The solver."""
    role: ArmRole
    """Decides shape and colour."""
    text: str
    """The accuracy in words."""
    x: float
    """The dot, 0 to 100."""
    low: float
    """Left end of the whisker."""
    high: float
    """Right end of the whisker."""
    seeds: tuple[float, ...]
    """Single seeds, empty when there is one only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalChart:
    """Accuracies of one problem set on one scale from 0 to 100."""

    problem_set: str
    """What was asked."""
    problems: int
    """How many."""
    marks: tuple[Mark, ...]
    """From top to bottom."""
    description: str
    """The chart in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One paired difference on a scale with 0 in the middle."""

    row: ComparisonRow
    """What is drawn."""
    x: float
    """The dot, 0 to 100; 50 is no difference."""
    low: float
    """Left end of the whisker."""
    high: float
    """Right end of the whisker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One step of the funnel."""

    step: FunnelStep
    """What is drawn."""
    kept: float
    """Length of the kept part, 0 to 100."""
    dropped: float
    """Length of the dropped part, 0 to 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart, in pieces where points are missing."""

    label: str
    """What it is."""
    style: str
    """Style class: which arm, or right or wrong."""
    pieces: tuple[str, ...]
    """Each a list of points as SVG writes them, "x,y x,y"."""
    dots: tuple[tuple[float, float], ...]
    """Points that stand alone and would not show as a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Lines over optimiser steps."""

    title: str
    """What is drawn."""
    unit: str
    """Unit of the vertical scale."""
    lines: tuple[Line, ...]
    """The lines."""
    styles: tuple[tuple[str, str, bool], ...]
    """Style and what it stands for, each once."""
    x_ticks: tuple[tuple[float, str], ...]
    """Place from the left, 0 to 100, and label."""
    y_ticks: tuple[tuple[float, str], ...]
    """Place from the top, 0 to 100, and label."""
    remark: str
    """What the drawing leaves out, "" if nothing."""
    across: str = "optimiser steps"
    """What the horizontal scale counts."""


def interval_charts(contents: RunContents) -> tuple[IntervalChart, ...]:
    """One chart per problem set, all on the same scale from 0 to 100."""
    charts = []
    for problem_set in contents.problem_sets():
        means = [
            over_seeds(scores) for solver in contents.solvers() if (scores := contents.scores_of(solver, problem_set))
        ]
        marks = tuple(_mark(contents, mean) for mean in means if mean.judged)
        words = "; ".join(f"{mark.label} {mark.text}" for mark in marks)
        charts.append(
            IntervalChart(
                problem_set=problem_set,
                problems=max(mean.problems for mean in means),
                marks=marks,
                description=f"Accuracies with 95 % intervals on a scale from 0 to 100: {words}.",
            )
        )
    return tuple(charts)


def differences(rows: Sequence[ComparisonRow]) -> tuple[Difference, ...]:
    """Paired differences on one common scale that is symmetric about no difference."""
    reach = max((abs(end) for row in rows for end in (row.low, row.high, row.difference)), default=0.0) * 1.08 or 1.0

    def place(value: float) -> float:
        return 50 + 50 * value / reach

    return tuple(Difference(row=row, x=place(row.difference), low=place(row.low), high=place(row.high)) for row in rows)


def difference_words(row: ComparisonRow) -> str:
    """One difference as the text alternative of its drawing."""
    return f"{row.a} minus {row.b} on {row.problem_set}: {points(row)}"


def funnel_bars(steps: Sequence[FunnelStep]) -> tuple[Bar, ...]:
    """Bars to one scale per unit: the longest step of each unit fills the width."""
    widest = {unit: max(s.rows_in for s in steps if s.unit == unit) or 1 for unit in {s.unit for s in steps}}
    return tuple(
        Bar(
            step=step,
            kept=100 * step.kept / widest[step.unit],
            dropped=100 * (step.rows_in - step.kept) / widest[step.unit],
        )
        for step in steps
    )


def curve_charts(curves: Sequence[Curve]) -> tuple[LineChart, ...]:
    """Loss and validation loss of students together, as many as there are styles; log-probabilities apart for each."""
    labels = tuple(dict.fromkeys(curve.label for curve in curves))
    charts = []
    for title, read in (("Training loss", _loss), ("Validation loss", _validation)):
        for first in range(0, len(labels), STYLES):
            styles = {label: f"arm-{index}" for index, label in enumerate(labels[first : first + STYLES])}
            lines = [(c.label, styles[c.label], _series(c, read)) for c in curves if c.label in styles]
            part = f", {first + 1} to {first + len(styles)} of {len(labels)}" if len(labels) > STYLES else ""
            charts.append(_line_chart(f"{title}{part}", "as the method defines it", lines))
    for label in labels:
        own = [curve for curve in curves if curve.label == label]
        lines = [("right targets", "right", _series(curve, _right)) for curve in own]
        lines += [("wrong targets", "wrong", _series(curve, _wrong)) for curve in own]
        lines += [("key tokens, right", "right-key", _series(curve, _right_key)) for curve in own]
        lines += [("key tokens, wrong", "wrong-key", _series(curve, _wrong_key)) for curve in own]
        charts.append(_line_chart(f"Log-probability, {label}", "nats per token", lines))
    return tuple(chart for chart in charts if chart is not None)


def vote_charts(lines: Sequence[VoteLine]) -> tuple[LineChart, ...]:
    """Accuracy against mean samples, and against mean new tokens, of a problem; dots have styles apart if need be."""
    charts, places = [], (count(), count())
    apart = len(lines) > STYLES
    styles = [f"arm-{next(places[apart and len(line.points) > 1]) % STYLES}" for line in lines]
    for across, read in (("samples of a problem", _samples), ("new tokens of a problem", _tokens)):
        series = [
            (line.label, style, [(read(point), 100 * point.accuracy) for point in line.points])
            for style, line in zip(styles, lines, strict=True)
        ]
        chart = _line_chart(f"Accuracy against {across}", "percent", series)
        charts += [replace(chart, across=across)] if chart else []
    return tuple(charts)


def ranker_charts(rows: Sequence[RankerRow]) -> tuple[LineChart, ...]:
    """Share right against mean score, in hundredths; scores that mean what they say lie on the diagonal."""
    lines: list[tuple[str, str, _Series]] = [("what scores should mean", "arm-2", [(0.0, 0.0), (100.0, 100.0)])]
    for place, row in enumerate(rows):
        points = zip(row.check.bin_scores, row.check.bin_right, strict=True)
        lines.append(
            (f"{row.arm}, seed {row.seed}", RANKED[place % len(RANKED)], [(100 * s, 100 * r) for s, r in points])
        )
    chart = _line_chart("Share right by score", "in a hundred", lines) if rows else None
    return (replace(chart, across="mean score, in hundredths"),) if chart else ()


def scale(low: float, high: float, wanted: int = 4) -> tuple[float, ...]:
    """Round tick values with equal steps of 1, 2, 2.5 or 5 times a power of ten that enclose low to high."""
    size = max(abs(low), abs(high))
    if high - low <= NO_RANGE * size or size < NOTHING:
        room = 0.1 * size if size >= NOTHING else 1.0
        low, high = low - room, high + room
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(step * index for index in range(first, last + 1))


def _mark(contents: RunContents, mean: Accuracy) -> Mark:
    seeds = tuple(100 * score.accuracy for score in mean.singles if score.counted)
    return Mark(
        label=mean.solver,
        role=contents.arm(mean.solver).role,
        text=percent(mean),
        x=100 * mean.value,
        low=100 * mean.low,
        high=100 * mean.high,
        seeds=seeds if len(seeds) > 1 else (),
    )


def _samples(point: VotePoint) -> float:
    return point.samples


def _tokens(point: VotePoint) -> float:
    return point.tokens


_Series = Sequence[tuple[float, float | None]]


def _series(curve: Curve, read: Callable[[CurvePoint], float | None]) -> _Series:
    return [(float(point.step), read(point)) for point in curve.points]


def _loss(point: CurvePoint) -> float | None:
    return point.loss


def _validation(point: CurvePoint) -> float | None:
    return point.validation


def _right(point: CurvePoint) -> float | None:
    return point.right_logprob


def _wrong(point: CurvePoint) -> float | None:
    return point.wrong_logprob


def _right_key(point: CurvePoint) -> float | None:
    return point.right_key


def _wrong_key(point: CurvePoint) -> float | None:
    return point.wrong_key


def _line_chart(title: str, unit: str, lines: Sequence[tuple[str, str, _Series]]) -> LineChart | None:
    """A chart of the lines that have points; None when none has. Values that are not finite break the line."""
    measured = [(label, style, [(x, y) for x, y in series if y is not None]) for label, style, series in lines]
    measured = [line for line in measured if line[2]]
    finite = [(x, y) for _, _, series in measured for x, y in series if math.isfinite(y)]
    if not finite:
        return None
    drawn_out = {label for label, _, series in measured if len(series) > 1}
    odd = sum(len(series) for _, _, series in measured) - len(finite)
    last = max(x for x, _ in finite) or 1.0
    ys = scale(min(y for _, y in finite), max(y for _, y in finite))
    drawn, every = [], 1
    for label, style, series in measured:
        stride = max(1, math.ceil(len(series) / MOST_POINTS))
        every = max(every, stride)
        thinned = series[::stride] if (len(series) - 1) % stride == 0 else [*series[::stride], series[-1]]
        drawn.append(_line(label, style, thinned, (0.0, last), (ys[0], ys[-1])))
    remarks = [f"Drawn with one point in {every}."] if every > 1 else []
    remarks += [f"{odd:,} values that are not finite are left out."] if odd else []
    return LineChart(
        title=title,
        unit=unit,
        lines=tuple(drawn),
        styles=tuple(dict.fromkeys((style, label, label not in drawn_out) for label, style, _ in measured)),
        x_ticks=tuple((_place(x, 0, last), f"{x:,.0f}") for x in scale(0, last) if x <= last and x == int(x)),
        y_ticks=tuple((100 - _place(y, ys[0], ys[-1]), _tick(y)) for y in ys),
        remark=" ".join(remarks),
    )


def _line(label: str, style: str, series: _Series, x: tuple[float, float], y: tuple[float, float]) -> Line:
    pieces: list[list[tuple[float, float]]] = [[]]
    for step, value in series:
        if value is None or not math.isfinite(value):
            pieces.append([])
        else:
            pieces[-1].append((_place(step, *x), 100 - _place(value, *y)))
    return Line(
        label=label,
        style=style,
        pieces=tuple(" ".join(f"{a:.2f},{b:.2f}" for a, b in piece) for piece in pieces if len(piece) > 1),
        dots=tuple(piece[0] for piece in pieces if len(piece) == 1),
    )


def _place(value: float, low: float, high: float) -> float:
    return 100 * (value - low) / (high - low)


def _tick(value: float) -> str:
    return f"{value:.10g}".replace("-", "−") if abs(value) >= 1e-12 else "0"
