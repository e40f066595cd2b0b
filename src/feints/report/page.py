"""One self-contained HTML page of a run: no script, no network, model text escaped."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from feints.report import accuracy, cost, figures, weights, words
from feints.report.contents import GroupScore, RunContents
from feints.report.expense import mean_expenses
from feints.report.training import Curve
from feints.report.visible import shown

LONG_TEXT = 900
"""Characters of a text shown before the rest folds away."""


def render_page(contents: RunContents) -> str:
    """The page as HTML text; the same contents give the same text."""
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            run=contents,
            summary=words.summary(contents),
            interval_meaning=words.INTERVAL_MEANING,
            first_seed=", first training seed" if len(contents.seeds) > 1 else "",
            charts=figures.interval_charts(contents),
            differences=figures.differences(contents.comparisons),
            bars=figures.funnel_bars(contents.funnel),
            further_bars=[(funnel.title, figures.funnel_bars(funnel.steps)) for funnel in contents.further_funnels],
            ranker_charts=figures.ranker_charts(contents.rankers),
            vote_charts=figures.vote_charts(contents.votes),
            has_new=any(row.brought.proposed for row in contents.rounds),
            has_key=any(point.right_key is not None for curve in contents.curves for point in curve.points),
            curve_charts=figures.curve_charts(contents.curves),
            groups=[
                (title, _group_tables(rows))
                for title, rows in (("topic", contents.by_topic), ("level", contents.by_level))
                if rows
            ],
            expenses=mean_expenses(contents.expenses),
            costs=cost.unit_costs(contents.spend) if contents.spend else (),
        )
    )


def write_page(contents: RunContents, path: Path) -> Path:
    """Write the page to `path` and return it."""
    path.write_text(render_page(contents), encoding="utf-8")
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "percent": accuracy.percent,
        "points": accuracy.points,
        "vote_percent": accuracy.vote_percent,
        "p_value": accuracy.p_value,
        "told_apart": accuracy.told_apart,
        "money": cost.money,
        "difference_words": figures.difference_words,
        "token_runs": weights.runs,
        "key_runs": weights.key_runs,
        "key_count": weights.key_count,
        "count": partial(_number, pattern=",d"),
        "tenths": partial(_number, pattern=",.1f"),
        "place": partial(_number, pattern=".2f"),
        "parts": _parts,
        "curve_rows": _curve_rows,
    }
    environment.filters.update(filters)
    return environment


def _harmless(value: object) -> object:
    """Every text the templates write goes through here, so no model text can slip past."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _number(value: float | None, pattern: str) -> str:
    return "–" if value is None or math.isnan(value) else format(value, pattern).replace("-", "−")


def _parts(text: str) -> tuple[str, str]:
    """Beginning and rest of a text; the rest is empty unless the text is long, and words stay whole."""
    if len(text) <= LONG_TEXT * 1.2:
        return text, ""
    cut = max(text.rfind(" ", 0, LONG_TEXT), text.rfind("\n", 0, LONG_TEXT))
    cut = cut if cut > LONG_TEXT // 2 else LONG_TEXT
    return text[:cut], text[cut:]


def _group_tables(rows: tuple[GroupScore, ...]) -> list[dict[str, Any]]:
    """One table per problem set: a row per group, a column per solver."""
    tables = []
    for problem_set in dict.fromkeys(row.score.problem_set for row in rows):
        here = [row for row in rows if row.score.problem_set == problem_set]
        solvers = list(dict.fromkeys(row.score.solver for row in here))
        lines = []
        for group in dict.fromkeys(row.group for row in here):
            cells = [[r.score for r in here if r.group == group and r.score.solver == solver] for solver in solvers]
            means = [accuracy.over_seeds(cell) if cell else None for cell in cells]
            lines.append({"group": group, "cells": means, "problems": max(m.problems for m in means if m)})
        tables.append({"problem_set": problem_set, "solvers": solvers, "lines": lines})
    return tables


def _curve_rows(curves: tuple[Curve, ...]) -> list[dict[str, Any]]:
    """First and last of everything measured, for each curve: the figures' text alternative."""
    rows = []
    for curve in curves:
        row: dict[str, Any] = {
            "label": curve.label,
            "seed": curve.seed,
            "steps": max((p.step for p in curve.points), default=0),
        }
        for name in ("loss", "validation", "right_logprob", "wrong_logprob", "right_key", "wrong_key"):
            values = [value for point in curve.points if (value := getattr(point, name)) is not None]
            row[name] = f"{values[0]:.3f} → {values[-1]:.3f}".replace("-", "−") if values else "–"
        rows.append(row)
    return rows
