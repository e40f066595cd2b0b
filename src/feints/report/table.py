"""The result in a terminal: readable in 80 columns, and plain where it is not one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from feints.report import cost, words
from feints.report.accuracy import Accuracy, over_seeds, p_value, percent, points, told_apart
from feints.report.contents import ArmRole, RunContents
from feints.report.visible import one_line

_STYLES = {ArmRole.METHOD: "bold", ArmRole.CONTROL: "", ArmRole.FLOOR: "dim", ArmRole.OTHER: ""}
_STRIP = 20
"""Characters of the drawn scale from 0 to 100."""


def render_scores(contents: RunContents) -> RenderableType:
    """Scores, paired comparisons, the bill and the funnel of one run, for `rich.console.Console.print`."""
    parts: list[RenderableType] = [
        Text(one_line(contents.name), style="bold"),
        *(Text(one_line(sentence)) for sentence in words.summary(contents)),
        Text(),
    ]
    if contents.scores:
        parts += [_scores(contents), Text()]
    if contents.comparisons:
        parts += [_comparisons(contents), Text()]
    if contents.rounds:
        parts += [_rounds(contents), Text()]
    if contents.funnel:
        parts += [_funnel(contents), Text()]
    if contents.spend:
        parts += [_bill(contents)]
    parts += [Text(f"Mind: {one_line(warning)}", style="yellow") for warning in contents.warnings]
    parts += [Text(f"Note: {one_line(note)}", style="dim") for note in contents.notes]
    parts.append(Text("Brackets hold a 95 % interval.", style="dim"))
    return Encodable(Group(*parts))


@dataclass(frozen=True, slots=True)
class Strip:
    """An interval drawn on a scale from 0 to 100 with characters; plain ones where others cannot be shown."""

    accuracy: Accuracy
    """What is drawn."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Scale, whisker and dot as one line."""
        scale, whisker, dot = ".-o" if options.ascii_only else "·━●"
        width = max(2, min(_STRIP, options.max_width))
        cells = [scale] * width
        if self.accuracy.judged:
            low, middle, high = (
                min(width - 1, int(end * width)) for end in (self.accuracy.low, self.accuracy.value, self.accuracy.high)
            )
            cells[low : high + 1] = [whisker] * (high + 1 - low)
            cells[middle] = dot
        yield Text("".join(cells), no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """It shrinks before the figures beside it do."""
        return Measurement(4, _STRIP)


@dataclass(frozen=True, slots=True)
class Encodable:
    """Keeps to the characters the terminal's encoding has, so that no dash can stop a report."""

    inner: RenderableType
    """What is shown."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The segments of `inner`, characters without an encoding replaced."""
        for segment in console.render(self.inner, options):
            yield segment._replace(text=_encodable(segment.text, options.encoding))


def _encodable(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.replace("−", "-").replace("“", '"').replace("”", '"')
        return plain.encode(encoding, "replace").decode(encoding)
    return text


def _scores(contents: RunContents) -> Table:
    table = _table("Solver", "Accuracy", "0 to 100", ("Judged", "right"), ("Seeds", "right"), ("Cut off", "right"))
    table.columns[0].overflow = "fold"  # what tells arms apart may stand at the end of their names
    table.columns[1].no_wrap = True
    for index, problem_set in enumerate(contents.problem_sets()):
        if index:
            table.add_row()
        means = [over_seeds(found) for name in contents.solvers() if (found := contents.scores_of(name, problem_set))]
        table.add_row(Text(one_line(problem_set), style="underline"))
        for mean in means:
            role = contents.arm(mean.solver).role
            table.add_row(
                Padding(Text(one_line(mean.solver), style=_STYLES[role]), (0, 0, 0, 2)),
                Text(percent(mean), style=_STYLES[role]),
                Strip(mean),
                f"{sum(score.counted for score in mean.singles):,}",
                f"{len(mean.singles)}",
                f"{sum(score.truncated for score in mean.singles):,}",
            )
    return table


def _comparisons(contents: RunContents) -> Table:
    table = _table("Paired", "On", "Difference", "Test")
    table.columns[2].no_wrap = True
    for row in contents.comparisons:
        apart = "" if told_apart(row) else ", not told apart"
        table.add_row(
            Text(one_line(f"{row.a} - {row.b}")),
            Text(one_line(row.problem_set)),
            Text(points(row)),
            Text(p_value(row.p) + apart),
        )
    return table


def _rounds(contents: RunContents) -> Table:
    table = _table(
        "Round", ("Exam", "right"), ("Held back", "right"), ("Asked", "right"), ("Learnt", "right"), "Outcome"
    )
    several = len({own.seed for own in contents.rounds}) > 1  # an ensemble's members have seeds of their own
    for own in contents.rounds:
        row, inside = own.brought, f"{own.within}/" if own.within else ""
        table.add_row(
            Text(one_line(f"{own.arm}, {inside}{row.round}" + (f" (seed {own.seed})" if several else ""))),
            f"{row.right:,} of {row.samples - row.not_checked:,}",
            f"{row.held_back_right:,} of {row.held_back_counted:,}",
            f"{row.requests:,}",
            f"{row.learnt:,}",
            Text(one_line(row.outcome)),
        )
    return table


def _funnel(contents: RunContents) -> Table:
    """A row per step; what several questions or rounds went through alike is one row, as the page has each apart."""
    table = _table("From sampled to learnt", ("In", "right"), ("Kept", "right"), "Left out")
    for name in dict.fromkeys(step.name for step in contents.funnel):
        steps = [step for step in contents.funnel if step.name == name]
        left = Counter[str]()
        for step in steps:
            left.update(dict(step.dropped))
        reasons = ", ".join(f"{rows:,} {reason}" for reason, rows in left.items()) or "none"
        taken, kept = sum(step.rows_in for step in steps), sum(step.kept for step in steps)
        table.add_row(Text(one_line(name)), f"{taken:,}", f"{kept:,}", Text(one_line(reasons)))
    return table


def _bill(contents: RunContents) -> Text:
    spend = contents.spend
    if spend is None:
        return Text()
    money = cost.money(spend.money, spend.currency)
    parts = [f"Teacher: {spend.requests:,} requests, {spend.tokens:,} tokens, {money}"]
    for unit in cost.unit_costs(spend):
        if unit.tokens is None:
            parts.append(f"no {unit.kind} rationale")
        else:
            paid = "" if unit.money is None else f" or {cost.money(unit.money, spend.currency)}"
            parts.append(f"one {unit.kind} rationale took {unit.tokens:,.0f} tokens{paid}")
    return Text(one_line("; ".join(parts) + "."))


def _table(*columns: str | tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1), header_style="dim")
    for column in columns:
        name, side = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify="right" if side == "right" else "left")
    return table


def lines(contents: RunContents, width: int = 80) -> Sequence[str]:
    """The same as plain lines of text, for logs and files."""
    console = Console(width=width, force_terminal=False, color_system=None, record=False)
    with console.capture() as capture:
        console.print(render_scores(contents))
    return [line.rstrip() for line in capture.get().rstrip("\n").split("\n")]
