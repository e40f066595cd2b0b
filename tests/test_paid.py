"""What was paid: cut short, malformed, answered twice, at another price; and what may be taken from an earlier run."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

from feints.arms import arms_of
from feints.errors import DataError, SettingsError
from feints.generate.budget import Budget, Price
from feints.generate.guard import alone
from feints.generate.prompt import TEACHER
from feints.generate.scripted import ScriptedSource
from feints.methods import edit, plain_cot
from feints.pipeline import profile_of, recipe_text, run_recipe
from feints.preparation import open_ledger, open_run
from feints.recipe import load_recipe
from feints.records import Pair, Problem
from feints.report.expense import expenses
from feints.report.gather import gather
from feints.runs import RunFolder
from feints.tables import read_table

pytestmark = pytest.mark.slow
Do = Callable[..., Path]


@pytest.fixture
def do(small_recipe: Path, tmp_path: Path) -> Do:
    def run(*overrides: str) -> Path:
        run_recipe(load_recipe(small_recipe, overrides), tmp_path / "run", Console(file=io.StringIO()))
        return tmp_path / "run"

    return run


def test_money_is_shown_in_the_currency_it_is_paid_in(
    tiny: ModuleType, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_SILENT_SECONDS", "_PLAIN_SECONDS"):
        monkeypatch.setattr(f"feints.generate.progress.{name}", 0)
    price = Price(input=1000, output=1000, currency="EUR")
    teacher = ScriptedSource(lambda _: "The answer is 1.", price=price)
    with tiny.tiny_bench(tmp_path, talker, teacher=teacher) as bench:
        bench.ask("teacher", TEACHER)
        assert " EUR" in bench.console.file.getvalue().splitlines()[-1]


def test_every_arm_and_seed_is_charged_for_what_a_budget_cut_short(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, talker, budget=Budget(requests=40)) as bench:
        bench.run.describe(teacher=bench.teacher.identity)
        for arm, seed in (("a", 0), ("a", 1), ("b", 0)):
            one = replace(bench, run=bench.run.used_by(arm, seed), arm=arm, seed=seed)
            said = one.ask("teacher", TEACHER)
            assert one.sampled[said.address] == one.sampling
        assert [(row.arm, row.seed, row.requests) for row in expenses(bench.run)] == [
            ("a", 0, 40), ("a", 1, 40), ("b", 0, 40),
        ]  # fmt: skip


def test_replies_that_could_not_be_read_are_told(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    page = {"feints_malformed": "<html>Bad gateway</html>"}
    teacher = ScriptedSource(lambda request: page if request.sample_index == 0 else "The answer is 1.")
    with tiny.tiny_bench(tmp_path, talker, teacher=teacher) as bench:
        said = bench.ask("teacher", TEACHER)
        unread = sum(not row.text for row in said)
        assert 0 < unread < len(said)
        told = [notice for notice in bench.notices if f"{unread} of {len(said)} replies could not be read" in notice]
        bench.ask("teacher", TEACHER)
        assert len(told) == 1 and bench.notices == told, "an arm that reads the same table said it again"
    with tiny.tiny_bench(tmp_path, talker, teacher=teacher) as rerun:
        rerun.ask("teacher", TEACHER)
        assert rerun.notices == told
    with tiny.tiny_bench(tmp_path / "cut", talker, teacher=teacher, budget=Budget(requests=40)) as cut:
        for _ in range(2):
            cut.ask("teacher", TEACHER)
        assert sum("could not be read" in notice for notice in cut.notices) == 1


def test_pairs_of_labels_that_a_budget_cut_short_are_made_again(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    config = edit.Config(pattern="calculation", second_rate=0.5)

    def pairs(folder: Path, budget: Budget) -> tuple[list[Pair], int, list[str]]:
        folder.mkdir(exist_ok=True)
        with tiny.tiny_bench(folder, talker, budget=budget) as bench:
            bench.run.start()
            edit.distil(bench, config)
            (path,) = [p for p, entry in bench.run.outputs("3_examples") if entry["label"].endswith("-pairs")]
            return read_table(path, Pair), bench.budget.spent.requests, bench.notices

    whole, asked, _ = pairs(tmp_path / "whole", Budget())
    few, _, notices = pairs(tmp_path / "cut", Budget(requests=asked - 12))
    assert len(few) < len(whole), notices
    assert any("not answered" in notice for notice in notices)
    again, _, notices = pairs(tmp_path / "cut", Budget())
    assert again == whole and not notices


def test_a_gold_answer_that_is_corrected_is_learnt_anew(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    """9 and 9.0 are one answer, so the same rationales are right; the control learns the answer as it stands."""

    def learnt(end: str) -> Any:
        with tiny.tiny_bench(tmp_path, talker) as bench:
            rows = [replace(problem, answer=problem.answer + end) for problem in bench.problems.rows]
            kept = bench.run.table("0_problems", "train", Problem, ["tiny", end], lambda: rows)
            changed = replace(bench, problems=kept)
            plain_cot.distil(changed, plain_cot.Config(target="answer"))
            return changed.fits[-1].lesson.train

    first, second = learnt(""), learnt(".0")
    assert first.address != second.address
    assert all(a.target_ids != b.target_ids for a, b in zip(first, second, strict=True))


def test_a_stored_recipe_names_its_ledger_from_anywhere(
    small_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "recipe.yaml"
    stored.write_text(recipe_text(load_recipe(small_recipe, ["ledger=mine.sqlite"])))
    here = str(Path.cwd() / "mine.sqlite")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(stored).ledger == here
    assert load_recipe(small_recipe).ledger is None and "ledger: null" in recipe_text(load_recipe(small_recipe))


def test_money_is_that_of_the_price_as_it_stands(do: Do) -> None:
    price = "teacher.prices={lab-teacher: {input: %d, output: %d, currency: EUR}}"
    known = load_recipe(do() / "recipe.yaml").teacher.model
    spends = []
    for low, high in ((1, 4), (10, 40)):
        spend = gather(do((price % (low, high)).replace("lab-teacher", known or "''"))).spend
        assert spend is not None and spend.money is not None
        assert spend.money == pytest.approx((low * spend.prompt_tokens + high * spend.completion_tokens) / 1e6)
        spends.append(spend)
    assert spends[1].money == pytest.approx(10 * spends[0].money) and spends[0].currency == "EUR"


def test_a_run_folder_is_written_by_one_process(tmp_path: Path, small_recipe: Path) -> None:
    with (
        open_run(tmp_path / "run"),
        pytest.raises(SettingsError, match="another process writes the run"),
        open_run(tmp_path / "run"),
    ):
        pass
    with open_run(tmp_path / "run") as run, alone(run.path / ".other") as ours:
        assert ours
    assert not list((tmp_path / "run").glob(".*"))


def test_what_a_writer_noted_before_it_let_go_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def after_another(path: Path) -> Iterator[bool]:
        RunFolder(path.parent).describe(noted="at its end")
        with alone(path) as ours:
            yield ours

    with open_run(tmp_path / "run"):
        pass
    monkeypatch.setattr("feints.preparation.alone", after_another)
    with open_run(tmp_path / "run") as run:
        assert run.manifest["noted"] == "at its end"


def test_a_folder_that_is_no_run_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not a run folder"), open_run(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_ledger_lies_beside_the_run_folder_whatever_it_is_called(
    tmp_path: Path, small_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run/inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    for out in (Path("."), Path("../run"), Path("inner/.."), tmp_path / "run"):
        with open_ledger(load_recipe(small_recipe), out):
            assert list(tmp_path.rglob("ledger.sqlite")) == [tmp_path / "ledger.sqlite"]


def test_arms_of_one_method_are_told_apart_by_what_differs(small_recipe: Path) -> None:
    several = "baselines=[{name: redi}, {name: redi, alpha: 0.5}, {name: redi, profile: as_released}]"
    recipe = load_recipe(small_recipe, [several])
    assert [arm.name for arm in arms_of(recipe)][2:] == ["redi", "redi_alpha_0.5", "redi_profile_as_released"]
    assert profile_of(recipe) == "clean, as_released in redi_profile_as_released"
    assert profile_of(load_recipe(small_recipe)) == "clean"
    inside = "method={name: asc, inner: {name: ensemble, combine: mean, inner: {name: edit, profile: as_released}}}"
    assert profile_of(load_recipe(small_recipe, [inside])) == "as_released"
