"""What methods refuse is refused before the teacher is asked, and leaves a finished run finished."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from tests.small_runs import Counted, Do

from feints import methods
from feints.arms import arms_of
from feints.errors import FeintsError, SettingsError
from feints.preparation import plan_recipe, sample_recipe
from feints.recipe import load_recipe
from feints.report.gather import gather


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["baselines=[{name: ensemble, members: 3, samples: 2}]"], "2 samples of 3 students leave some without"),
        (["method={name: asc, inner: {name: mix, learn: gold}}"], "has a worked solution"),
        (["baselines=[{name: mix, learn: right_as_gold}]"], "has a worked solution"),
        (["method={name: tailored, inner: {name: mix, learn: gold}}"], "has a worked solution"),
        (["method={name: nce, nat_run: nowhere}"], "nowhere"),
        (["baselines=[{name: asc, student_run: nowhere}]"], "nowhere"),
        (["method={name: tailored, inner: {name: fdd}}"], "makes problems of its own"),
        (["method={name: fdd, inner: {name: fdd}}"], "makes problems of its own"),
        (
            ["method={name: tailored}", "student_endpoint={base_url: 'http://localhost:1/v1', model: m}"],
            "serves adapters .*set it to lora",
        ),
        (["method={name: ensemble, inner: {name: plain_cot, taget: answer}}"], r"taget is an unknown key.*target"),
    ],
)
def test_what_would_be_refused_later_is_refused_first(do: Do, overrides: list[str], message: str) -> None:
    with pytest.raises(FeintsError, match=message) as refused:
        do(*overrides)
    assert Counted.asked == 0 and "pydantic" not in str(refused.value)


def test_planning_refuses_it_too(small_recipe: Path, tmp_path: Path) -> None:
    recipe = load_recipe(small_recipe, ["method={name: ensemble, members: 3, samples: 2}"])
    with pytest.raises(SettingsError, match="without a voice"):
        plan_recipe(recipe, tmp_path / "run")
    for host in ("asc", "fdd", "tailored", "ensemble"):
        mistyped = load_recipe(small_recipe, [f"method={{name: {host}, inner: {{name: plain_cot, taget: answer}}}}"])
        with pytest.raises(SettingsError, match="taget is an unknown key"):
            plan_recipe(mistyped, tmp_path / "run")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method={name: ensemble, members: 3, samples: 2}"], "without a voice"),
        (["task.train=1"], "0 for validation"),
    ],
)
def test_sampling_alone_refuses_it_too(
    small_recipe: Path, counted: type[Counted], tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(FeintsError, match=message):
        sample_recipe(load_recipe(small_recipe, overrides), tmp_path / "run", Console(quiet=True))
    assert counted.asked == 0


@pytest.mark.slow
def test_a_refused_change_leaves_a_finished_run_finished(do: Do) -> None:
    folder = do("method={name: ensemble, members: 2, samples: 4}")
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(SettingsError, match="without a voice"):
        do("method={name: ensemble, members: 2, samples: 1}")
    assert (folder / "manifest.json").read_bytes() == before and gather(folder).scores


def test_tailored_inside_itself_has_a_control_that_sees_no_mistake_inside_either(small_recipe: Path) -> None:
    method, control = arms_of(load_recipe(small_recipe, ["method={name: tailored, inner: {name: tailored}}"]))
    assert "feedback" not in method.config.inner and control.config.inner["feedback"] == "untailored"


def test_a_ranker_alone_that_weighs_has_a_control_that_counts_votes(small_recipe: Path) -> None:
    arms = arms_of(load_recipe(small_recipe, ["method={name: asc, offset: 0}"]))
    assert [(arm.config.offset, arm.config.slope) for arm in arms] == [(0, 1), (1, 0)]


def test_arms_that_differ_inside_are_named_by_what_differs(small_recipe: Path) -> None:
    inner = "inner: {name: ensemble, combine: mean, inner: {name: tailored, rounds: 2, round_tokens: %d}}"
    both = [f"{{name: asc, slope: 0, {inner % tokens}}}" for tokens in (1000, 1100)]
    arms = arms_of(load_recipe(small_recipe, [f"baselines=[{', '.join(both)}]"]))
    assert arms[-1].name == f"{arms[-2].name}_round_tokens_1100"
    long = "method={name: asc, slope: 0}", f"baselines=[{{name: asc, slope: 0, ranker_body: {'x' * 300}}}]"
    named = arms_of(load_recipe(small_recipe, long))
    assert len({arm.name for arm in named}) == 2 and all(len(arm.name) < 120 for arm in named)


@pytest.mark.parametrize(("data", "learnt"), [("accumulate", [96 + 384, 96 + 768]), ("replace", [96 + 384, 96 + 384])])
def test_a_method_inside_rounds_may_ask_about_all_they_learn_from(data: str, learnt: list[int]) -> None:
    """EDIT's mending asks about each chain: plain ones, mistakes and their answers, of all rounds so far."""
    method = methods.find("tailored")
    asked = methods.asked(method, method.Config(rounds=2, samples=2, data=data, inner={"name": "edit"}), 96)
    edit = methods.find("edit")
    assert asked.further == 2 * 192 + sum(methods.asked(edit, edit.Config(), chains).further for chains in learnt)


@pytest.mark.parametrize(("form", "plain"), [("cot", True), ("pot", False)])
def test_a_ranker_of_programs_wants_no_plain_rationales(form: str, plain: bool) -> None:
    method = methods.find("asc")
    assert methods.asked(method, method.Config(inner={"name": "potd", "form": form}), 10).plain is plain


def test_sampling_that_ended_early_is_named_where_nothing_is_left(do: Do, small_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(FeintsError, match="Sampling ended early: raise the budget and run again"):
        do("method={name: kpdd, calls: chained}", "budget.requests=30")
    assert plan_recipe(load_recipe(small_recipe), tmp_path / "run")
