from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rich.console import Console
from tests.small_runs import Counted, Do, rows

from feints.bench import judging
from feints.errors import BudgetError, DataError, EmptyPileError, SettingsError, UnknownNameError
from feints.generate.adaptive import AdaptiveSettings
from feints.generate.budget import Budget
from feints.generate.prompt import TEACHER
from feints.generate.settings import SamplingSettings
from feints.pipeline import run_recipe, solve_one
from feints.preparation import plan_recipe, sample_recipe
from feints.recipe import load_recipe
from feints.records import Answer, Dropped, Example, Problem, Rationale
from feints.report.gather import gather
from feints.runs import RunFolder
from feints.tables import read_table

pytestmark = pytest.mark.slow


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file of the stages with its inode and time of change: equal before and after = not written again."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "6_report"]
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in files
        if path.name not in {"manifest.json", "recipe.yaml", "README.md"}  # what tells of the run, told anew
    }


def stages(names: Iterator[str] | set[str]) -> set[str]:
    return {name.partition("/")[0] for name in names}


def used(folder: Path, stage: str) -> set[str]:
    """The outputs of a stage that the last run used."""
    return {path.name for path, _ in RunFolder.open(folder).outputs(stage)}


def test_a_run_ends_in_a_page_and_a_rerun_redoes_nothing(do: Do, counted: type[Counted]) -> None:
    folder = do()
    assert counted.asked == 48
    page = folder / "6_report/index.html"
    first, files = page.read_bytes(), written(folder)
    assert stages(set(files)) >= {"0_problems", "1_rationales", "2_verdicts", "3_examples", "4_student", "5_answers"}
    do()
    assert counted.asked == 0
    assert written(folder) == files
    assert page.read_bytes() == first

    contents = gather(folder)
    assert [arm.name for arm in contents.arms] == ["plain_cot", "answer_only", "untrained"]
    assert {score.total for score in contents.scores} == {16}
    assert all(score.low <= score.accuracy <= score.high for score in contents.scores)
    assert contents.spend is not None and contents.spend.requests == 48
    assert contents.spend.right + contents.spend.wrong + contents.spend.no_answer + contents.spend.not_checked == 48
    for before, after in zip(contents.funnel, contents.funnel[1:], strict=False):
        assert before.unit != after.unit or before.kept == after.rows_in
    examples = contents.funnel[-1].rows_in
    assert examples == sum(
        len(read_table(p, Example)) for p, e in RunFolder.open(folder).outputs("3_examples") if "plain" in e["label"]
    )
    assert solve_one(folder, "Tom has 3 apples. How many apples has Tom?", None, None) == solve_one(
        folder, "Tom has 3 apples. How many apples has Tom?", "plain_cot", 0
    )
    with pytest.raises(UnknownNameError, match="plain_cot"):
        solve_one(folder, "?", "plain_cott", None)
    with pytest.raises(DataError, match=r"training seeds \[0\], not 7"):
        solve_one(folder, "?", None, 7)


def test_a_student_is_asked_on_the_device_its_recipe_names_unless_another_is(
    do: Do, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "Tom has 3 apples. How many apples has Tom?"
    here, anywhere = do("device=cpu"), do(out="anywhere")
    said = solve_one(here, question, None, None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # torch would choose a GPU, and there is none
    assert solve_one(here, question, None, None) == solve_one(anywhere, question, None, None, "cpu") == said
    with pytest.raises(AssertionError, match="CUDA"):
        solve_one(anywhere, question, None, None)
    with pytest.raises(SettingsError, match="'nowhere' cannot be used here"):
        solve_one(here, question, None, None, "nowhere")


def test_one_changed_setting_redoes_only_what_depends_on_it(
    do: Do, counted: type[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = do()
    files = written(folder)

    def new(*overrides: str) -> set[str]:
        """Stages that wrote something, and nothing else was touched or asked."""
        before = written(folder)
        do(*overrides)
        after = written(folder)
        assert {name: after[name] for name in before} == before
        return stages(set(after) - set(before))

    untrained = {name for name in used(folder, "5_answers") if name.startswith("untrained")}
    assert new("train.learning_rate=0.002") == {"4_student", "5_answers"}
    assert counted.asked == 0
    assert {name for name in used(folder, "5_answers") if name.startswith("untrained")} == untrained
    assert new("train.checkpoint_steps=1") == set()
    assert new("curate.right_per_problem=1") == {"3_examples", "3_dropped", "4_student", "5_answers"}
    assert counted.asked == 0
    assert new("exam.max_tokens=9") == {"4_student", "5_answers"}  # a solver is saved with its limit
    assert new("task.test=17") == {"0_problems", "5_answers"}
    assert new("seeds=[0,1]") == {"4_student", "5_answers"}
    assert len(gather(folder).scores) == 5  # two seeds of two arms, and the floor once
    assert {score.seed for score in gather(folder).scores} == {0, 1}
    assert all(row.p is None and row.seeds == 2 for row in gather(folder).comparisons)

    monkeypatch.setattr(judging, "code_hash", lambda: "another checker")
    monkeypatch.setattr("feints.pipeline.code_hash", lambda: "another checker")
    assert new() == {"2_verdicts", "5_answers"} and counted.asked == 0  # the same verdicts train nothing anew
    monkeypatch.undo()
    monkeypatch.setattr("feints.preparation.LabTeacher", Counted)
    assert new() == set() and set(files) <= set(written(folder))


def test_one_problem_more_costs_exactly_its_requests(do: Do, counted: type[Counted]) -> None:
    do()
    folder = do("task.train=25")
    assert counted.asked == 2
    do("sampling.n=3", "task.train=25")
    assert counted.asked == 25
    assert len(rows(folder, "1_rationales", Rationale)) == 75
    do("task.train=24", out="another")  # the ledger beside both run folders is theirs together
    assert counted.asked == 0


def test_sampling_first_and_training_later_is_one_run(do: Do, counted: type[Counted], small_recipe: Path) -> None:
    folder = do(out="at_once")
    apart = folder.parents[0] / "elsewhere/apart"
    Counted.asked = 0
    recipe = load_recipe(small_recipe)
    assert any("48 to send" in line for line in plan_recipe(recipe, apart))
    assert counted.asked == 0 and not list(apart.parents[0].iterdir() if apart.parents[0].exists() else [])
    lines = sample_recipe(recipe, apart, Console(file=io.StringIO()))
    assert counted.asked == 48 and any("48 rationales of 24 problems" in line for line in lines)
    assert any("0 to send, 48 of 48 stored" in line for line in plan_recipe(recipe, apart))
    with pytest.raises(DataError, match="has not ended"):
        gather(apart)
    run_recipe(recipe, apart, Console(file=io.StringIO()))
    assert counted.asked == 48
    for stage in ("0_problems", "1_rationales", "2_verdicts", "3_examples", "5_answers"):
        assert used(apart, stage) == used(folder, stage)
    assert rows(apart, "5_answers", Answer) == rows(folder, "5_answers", Answer)


def test_a_budget_that_ends_sampling_leaves_both_arms_the_same_rationales(do: Do, counted: type[Counted]) -> None:
    folder = do("budget.requests=20")
    assert counted.asked == 20
    assert len(used(folder, "1_rationales")) == 1
    assert len(rows(folder, "1_rationales", Rationale)) == 20
    contents = gather(folder)
    assert any("28 requests were not answered" in note for note in contents.notes)
    do()
    assert counted.asked == 28
    assert len(rows(folder, "1_rationales", Rationale)) == 48
    assert not any("not answered" in note for note in gather(folder).notes)


def test_a_budget_that_is_gone_ends_later_asking_and_not_the_run(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    few = SamplingSettings(n=1)
    with tiny.tiny_bench(tmp_path, talker, budget=Budget(requests=24), sampling=few) as bench:
        assert len(bench.ask("first", TEACHER)) == 24
        for sampling in (few.model_copy(update={"seed": 1}), few.model_copy(update={"adaptive": AdaptiveSettings()})):
            later = bench.ask("later", TEACHER, sampling=sampling.model_copy(update={"temperature": 0.1}))
            assert len(later) == 0
            assert "24 of 24 requests" in bench.notices[-1] and bench.notices[-1].startswith("later: 24 ")
        assert len(bench.judge("later", later)) == 0
    for sampling in (few, few.model_copy(update={"adaptive": AdaptiveSettings()})):
        with (
            tiny.tiny_bench(tmp_path / "none", talker, budget=Budget(requests=0), sampling=sampling) as bench,
            pytest.raises(BudgetError, match="raise the budget"),
        ):
            bench.ask("first", TEACHER)


def test_what_is_said_of_short_problems_goes_by_how_they_were_sampled(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    in_vain = SamplingSettings(adaptive=AdaptiveSettings(maximum=2, wanted_right=3, wanted_wrong=3))
    with tiny.tiny_bench(tmp_path, talker, sampling=in_vain) as bench:
        for sampling in (in_vain, SamplingSettings(n=2)):
            bench.notices.clear()
            rationales = bench.ask("teacher", TEACHER, sampling=sampling)
            bench.judge("teacher", rationales)
            assert bool(bench.notices) == (sampling is in_vain)


def test_adaptive_sampling_says_the_same_on_a_rerun(do: Do, counted: type[Counted]) -> None:
    adaptive = "sampling.adaptive={minimum: 1, maximum: 2, wanted_right: 1, wanted_wrong: 1}"
    folder = do(adaptive)
    notes = gather(folder).notes
    assert any("reached the maximum of 2 samples" in note for note in notes)
    page = (folder / "6_report/index.html").read_bytes()
    do(adaptive)
    assert counted.asked == 0 and gather(folder).notes == notes
    assert (folder / "6_report/index.html").read_bytes() == page


def test_a_rerun_that_fails_does_not_pass_for_a_finished_run(do: Do) -> None:
    folder = do()
    with pytest.raises(EmptyPileError, match="0 examples are left"):
        do("curate.max_tokens=8")
    with pytest.raises(DataError, match="has not ended"):
        gather(folder)
    do()
    assert gather(folder).scores


def test_the_time_of_asking_counts_as_the_arms(do: Do, counted: type[Counted], monkeypatch: pytest.MonkeyPatch) -> None:
    respond = counted.respond
    monkeypatch.setattr(counted, "respond", lambda teacher, body: time.sleep(0.02) or respond(teacher, body))
    ((_, entry),) = RunFolder.open(do()).outputs("1_rationales")
    assert entry["seconds"] > 48 * 0.02
    ((_, known),) = RunFolder.open(do()).outputs("1_rationales")
    assert known["seconds"] == entry["seconds"]


def test_a_training_that_is_all_warm_up_says_so_on_reruns_too(do: Do) -> None:
    folder = do("train.warmup_steps=500")
    notes = [note for note in gather(folder).notes if "are all warm-up (train.warmup_steps: 500)" in note]
    assert notes and do("train.warmup_steps=500") == folder
    assert [note for note in gather(folder).notes if "warm-up" in note] == notes
    assert not any("warm-up" in note for note in gather(do("train.warmup_steps=0", out="cold")).notes)


def test_the_manifest_names_every_input_of_every_output(do: Do) -> None:
    folder = do()
    manifest = json.loads((folder / "manifest.json").read_text())
    outputs = manifest["outputs"]
    addresses = {entry["address"] for entry in outputs.values()}
    assert len(addresses) == len(outputs)
    assert all((folder / name).exists() for name in outputs)
    verdicts = next(entry for name, entry in outputs.items() if name.startswith("2_verdicts"))
    assert set(verdicts["depends"]) & addresses
    assert manifest["recipe"]["task"] == {**manifest["recipe"]["task"], "name": "lab", "train": 24, "test": 16}
    problems = rows(folder, "0_problems", Problem)
    assert len({p.id for p in problems}) == len(problems) == 40


def test_unknown_test_sets_and_files_in_the_way_are_refused(do: Do, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean test"):
        do("exam.sets=[tst]", out="a")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(SettingsError, match="is a file"):
        do(out="file")
    assert (tmp_path / "file").read_text() == "precious"


def test_tail_p13_a_run_asks_nothing_about_a_test_problem_among_its_training_problems(do: Do, tmp_path: Path) -> None:
    lab = {
        path.name.partition("-")[0]: read_table(path, Problem) for path, _ in RunFolder.open(do()).outputs("0_problems")
    }
    train, tests = lab["train"][:12], lab["test"][:4]
    for name, problems in (("train", [*train, tests[0]]), ("test", tests)):
        lines = [json.dumps({"question": p.question, "answer": p.answer, "answer_type": "number"}) for p in problems]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    paths = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "test")}
    folder = do(f"task={json.dumps({'name': 'file', 'path': paths})}", out="leaky")
    by_id = {problem.id: problem.question for problem in rows(folder, "0_problems", Problem)}
    asked = {by_id[rationale.problem_id] for rationale in rows(folder, "1_rationales", Rationale)}
    assert asked == {problem.question for problem in train}
    dropped = RunFolder.open(folder).path.glob("3_dropped/problems-*")
    reasons = {drop.reason for path in dropped for drop in read_table(path, Dropped)}
    assert reasons == {"equal to a test problem (test/file/test/0)"}
