from __future__ import annotations

import re
from dataclasses import replace
from types import ModuleType

import pytest

from feints.report.accuracy import counted_percent, over_seeds, p_value, percent, points, signed, told_apart


def test_a_bare_number_is_refused(made_up: ModuleType) -> None:
    for bare in (0.5, 50, "50 %", None):
        with pytest.raises(TypeError, match="interval"):
            percent(bare)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="interval"):
            points(bare)  # type: ignore[arg-type]


def test_one_score_keeps_its_own_interval(made_up: ModuleType) -> None:
    score = replace(made_up.score("a", "test", 500), low=0.11, high=0.99)
    mean = over_seeds([score])
    assert (mean.value, mean.low, mean.high) == (0.5, 0.11, 0.99)
    assert percent(score) == percent(mean) == "50.0 % [11.0, 99.0]"


def test_equal_seeds_do_not_narrow_the_interval(made_up: ModuleType) -> None:
    one = made_up.score("a", "test", 437)
    for count in (2, 3, 10):
        mean = over_seeds([replace(one, seed=seed) for seed in range(count)])
        assert (mean.value, mean.low, mean.high) == pytest.approx((one.accuracy, one.low, one.high), abs=1e-12)


@pytest.mark.parametrize("right", [0, 1, 500, 999, 1000])
def test_the_mean_lies_within_its_interval(made_up: ModuleType, right: int) -> None:
    mean = over_seeds([made_up.score("a", "test", right, seed=seed) for seed in range(2)])
    assert 0 <= mean.low <= mean.value <= mean.high <= 1
    assert mean.low < mean.high


def test_scores_of_two_solvers_have_no_mean(made_up: ModuleType) -> None:
    with pytest.raises(ValueError, match="one solver"):
        over_seeds([made_up.score("a", "test", 1), made_up.score("b", "test", 1)])
    with pytest.raises(ValueError, match="one solver"):
        over_seeds([])


def test_counts_are_written_as_a_score_is(made_up: ModuleType) -> None:
    for right, counted in ((7, 12), (0, 12), (12, 12), (0, 0)):
        assert counted_percent(right, counted) == percent(made_up.score("a", "test", right, counted, counted))


def test_nothing_judged_is_not_zero(made_up: ModuleType) -> None:
    nothing = made_up.score("a", "test", 0, counted=0)
    assert percent(nothing) == "not judged"
    with_one = over_seeds([nothing, made_up.score("a", "test", 300, seed=1)])
    assert with_one.value == 0.3
    assert with_one.not_counted == 1000


def test_differences_are_signed_points_with_an_interval(made_up: ModuleType) -> None:
    row = made_up.compared("a", "b", "test", -0.021, 0.029, 0.16)
    assert points(row) == "−2.1 points [−5.0, +0.8]"
    assert not told_apart(row)
    assert told_apart(made_up.compared("a", "b", "test", -0.021, 0.009, 0.01))
    few = made_up.compared("a", "b", "test", 0.17, 0.13, 0.125)
    assert few.low > 0 and not told_apart(few), "four problems of one side alone are none yet by the exact test"


def test_small_numbers_in_words() -> None:
    assert [signed(x) for x in (-0.04, 0.0, 0.04, 0.05001, -1.0)] == ["0.0", "0.0", "0.0", "+0.1", "−1.0"]
    assert p_value(None) == p_value(float("nan")) == "interval only"
    assert p_value(0.0) == "p < 0.0001"
    assert re.fullmatch(r"p = 0\.0\d+", p_value(0.0312))
    assert p_value(1.0) == "p = 1.00"
