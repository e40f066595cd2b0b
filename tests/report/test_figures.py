from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feints.curate.funnel import FunnelStep
from feints.report.figures import (
    MOST_POINTS,
    curve_charts,
    difference_words,
    differences,
    funnel_bars,
    interval_charts,
    scale,
    vote_charts,
)
from feints.report.training import Curve, CurvePoint


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
@example(0.0, 5e-324)
@example(1.0, 1.0 + 2**-52)
def test_a_scale_encloses_its_values_with_few_equal_steps(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    ticks = scale(low, high)
    size = max(abs(low), abs(high), 1e-300)
    assert ticks[0] <= low + 1e-6 * size and ticks[-1] >= high - 1e-6 * size
    assert 2 <= len(ticks) <= 7
    assert all(later > earlier for earlier, later in zip(ticks, ticks[1:], strict=False))


def test_marks_stand_where_the_scores_are(made_up: ModuleType) -> None:
    run = made_up.run(scores=(made_up.score("plain_cot", "test", 250),))
    [chart] = interval_charts(run)
    [mark] = chart.marks
    assert mark.x == 25.0 and mark.low < 25.0 < mark.high
    assert mark.seeds == ()
    assert "25.0 % [" in chart.description


def test_each_problem_set_has_its_chart_with_all_seeds(made_up: ModuleType) -> None:
    charts = interval_charts(made_up.run())
    assert [chart.problem_set for chart in charts] == ["test", "longer", "unseen"]
    assert [len(mark.seeds) for mark in charts[0].marks] == [3, 3, 0]


def test_no_difference_stands_in_the_middle_and_all_fit(made_up: ModuleType) -> None:
    rows = [made_up.compared("a", "b", "test", d, 0.02, 0.5) for d in (0.0, -0.3, 0.1)]
    drawn = differences(rows)
    assert drawn[0].x == 50.0
    assert drawn[1].x < 50.0 < drawn[2].x
    assert all(0 <= item.low <= item.x <= item.high <= 100 for item in drawn)
    assert differences([made_up.compared("a", "b", "test", 0.0, 0.0, 1.0)])[0].x == 50.0
    below = differences([made_up.compared("a", "b", "test", -0.3, 0.2, 0.01)])[0]
    assert 0 <= below.low < below.x < below.high < 50
    wide = differences([made_up.compared("a", "b", "test", 0.1, 0.5, 1.0)])[0]
    assert 0 <= wide.low < wide.x < wide.high <= 100


def test_a_difference_in_words_is_the_first_solver_less_the_second(made_up: ModuleType) -> None:
    assert difference_words(made_up.compared("a", "b", "test", 0.1, 0.02, 0.5)).startswith("a minus b on test: ")


def test_a_solver_without_a_judged_answer_has_no_mark(made_up: ModuleType) -> None:
    scores = (made_up.score("plain_cot", "test", 250), made_up.score("answer_only", "test", 0, counted=0, total=900))
    [chart] = interval_charts(made_up.run(scores=scores))
    assert [mark.label for mark in chart.marks] == ["plain_cot"]
    assert chart.problems == 1000


def test_bars_keep_their_proportions_within_a_unit() -> None:
    steps = [
        FunnelStep(name="a", unit="rationales", rows_in=200, kept=100, reasons=("x",), counts=(100,)),
        FunnelStep(name="b", unit="rationales", rows_in=100, kept=50, reasons=("x",), counts=(50,)),
        FunnelStep(name="c", unit="problems", rows_in=10, kept=10),
        FunnelStep(name="d", unit="rounds", rows_in=0, kept=0),
    ]
    assert [(bar.kept, bar.dropped) for bar in funnel_bars(steps)] == [(50, 50), (25, 25), (100, 0), (0, 0)]


@pytest.mark.parametrize("steps", [5000, 5019, 5020, 5040])
def test_long_curves_are_thinned_and_keep_their_ends(made_up: ModuleType, steps: int) -> None:
    [chart, *_] = curve_charts([made_up.curve("plain_cot", 0, steps=steps)])
    [line] = chart.lines
    places = line.pieces[0].split()
    assert len(places) <= MOST_POINTS + 1
    assert places[-1].startswith("100.00,")
    assert "one point in 21" in chart.remark


def test_what_is_not_finite_breaks_the_line_and_is_said() -> None:
    losses = [3.0, 2.0, math.nan, 1.0, math.inf, 1.5, 1.4]
    points = tuple(CurvePoint(step=step, loss=loss) for step, loss in enumerate(losses))
    [chart] = curve_charts([Curve(arm="a", seed=0, points=points)])
    [line] = chart.lines
    assert len(line.pieces) == 2 and len(line.dots) == 1
    assert "2 values that are not finite" in chart.remark


def test_nothing_measured_gives_no_chart() -> None:
    assert curve_charts([Curve(arm="a", seed=0, points=(CurvePoint(step=1),))]) == ()
    assert curve_charts([]) == ()


def test_right_and_wrong_are_drawn_for_each_arm(made_up: ModuleType) -> None:
    charts = curve_charts(made_up.run().curves)
    assert [chart.title for chart in charts] == [
        "Training loss",
        "Validation loss",
        "Log-probability, plain_cot",
        "Log-probability, answer_only",
    ]
    assert [style for style, _, _ in charts[2].styles] == ["right", "wrong", "right-key", "wrong-key"]
    assert [style for style, _, _ in charts[3].styles] == ["right", "wrong"]
    assert (len(charts[2].lines), len(charts[3].lines)) == (12, 6)


def test_students_of_one_arm_are_told_apart(made_up: ModuleType) -> None:
    stages = [replace(made_up.curve("edit", 0), name=name) for name in ("imitate", "key-steps")]
    loss, _, *gauges = curve_charts(stages)
    assert [line.label for line in loss.lines] == ["edit, imitate", "edit, key-steps"]
    assert len({line.style for line in loss.lines}) == 2
    assert [chart.title for chart in gauges] == ["Log-probability, edit, imitate", "Log-probability, edit, key-steps"]


@pytest.mark.parametrize(("students", "titles"), [(8, ["Training loss"]), (9, ["1 to 8 of 9", "9 to 9 of 9"])])
def test_only_students_that_need_several_charts_are_numbered(students: int, titles: list[str]) -> None:
    points = (CurvePoint(step=1, loss=2.0), CurvePoint(step=2, loss=1.0))
    charts = curve_charts([Curve(arm=f"arm{at}", seed=0, points=points) for at in range(students)])
    assert [chart.title.removeprefix("Training loss, ") for chart in charts] == titles


def test_a_vote_lies_where_its_samples_and_tokens_are(made_up: ModuleType) -> None:
    samples, tokens = vote_charts(made_up.votes())
    assert (samples.across, tokens.across) == ("samples of a problem", "new tokens of a problem")
    majority, until, *single = samples.lines
    assert majority.pieces[0].split()[-1].startswith("100.00,") and not majority.dots
    assert float(until.pieces[0].split()[-1].partition(",")[0]) < 100
    assert all(len(line.dots) == 1 and not line.pieces for line in single)
    assert len({line.style for line in samples.lines}) == 4
    assert vote_charts(()) == ()


def test_a_legend_names_each_line_apart(made_up: ModuleType) -> None:
    curves = tuple(made_up.curve(f"member {place}", 0) for place in range(11))
    charts = [chart for chart in curve_charts(curves) if chart.title.startswith("Training loss")]
    assert [chart.title for chart in charts] == ["Training loss, 1 to 8 of 11", "Training loss, 9 to 11 of 11"]
    for chart in charts:
        styles = [style for style, _, _ in chart.styles]
        assert len(set(styles)) == len(styles) == len({label for _, label, _ in chart.styles})
    majority, _, single, *_ = made_up.votes()
    many = [replace(line, label=f"{n}") for n, line in enumerate([majority] * 4 + [single] * 8)]
    for chart in vote_charts(many):
        assert [is_dot for _, _, is_dot in chart.styles] == [False] * 4 + [True] * 8
        assert len({(style, is_dot) for style, _, is_dot in chart.styles}) == 12


@pytest.mark.parametrize("value", [0.0, -3.5, 1e-9])
def test_a_flat_curve_has_a_scale(value: float) -> None:
    ticks = scale(value, value)
    assert ticks[0] < value < ticks[-1] or math.isclose(ticks[0], value)
