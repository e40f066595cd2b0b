"""Baselines, exams on the way, prompts of one's own, and what is said of them before anything is paid."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import Field
from rich.console import Console
from tests.small_runs import Counted, Do, rows

from feints import methods, pipeline
from feints.bench import Bench
from feints.config import Settings
from feints.errors import SettingsError
from feints.evaluate.solver import Majority, OneShot, Solver
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Sampling
from feints.methods import plain_cot
from feints.pipeline import solve_one
from feints.preparation import load_problems, plan_recipe, sample_recipe
from feints.recipe import load_recipe
from feints.records import AnswerKind, Dropped, Problem, Rationale
from feints.report.gather import gather
from feints.runs import RunFolder
from feints.tables import read_table

pytestmark = pytest.mark.slow


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Settings]:
    """A method that is plain distillation, examined on the way and with a further question at the end."""

    class Config(Settings):
        further: int = Field(default=3, description="Requests after the first.")

    def distil(bench: Bench, config: Config) -> Solver:
        solver = plain_cot.distil(bench, plain_cot.Config())
        bench.examine(solver, "halfway")
        return solver

    method = SimpleNamespace(
        Config=Config,
        distil=distil,
        control=lambda config: None,
        arm=lambda config: (f"toy{config.further}", "a toy"),
        asks=lambda config, sampled: methods.Asks(config.further * sampled),
    )
    monkeypatch.setattr(methods, "_added", lambda: {"toy": SimpleNamespace(load=lambda: method)})
    return Config


def test_solve_counts_the_kind_of_answer_the_run_was_examined_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of C, A, A, A with options a vote takes A; were a number asked for, no text would have a voice."""
    run = RunFolder(tmp_path / "run")
    kinds = [(AnswerKind.CHOICE, "A"), (AnswerKind.CHOICE, "B"), (AnswerKind.NUMBER, "7")]
    problems = [
        Problem(id=f"{at}", question="Which?", answer=answer, answer_kind=kind, task="t", split="test")
        for at, (kind, answer) in enumerate(kinds)
    ]
    run.table("0_problems", "test", Problem, ["test"], lambda: problems, set="test")
    run.describe(arms=[{"name": "toy"}], sets=["test"], recipe={"exam": {"seed": 0}})
    run.folder("4_student", "toy-solver-seed0", ["x"], lambda folder: None, arm="toy", seed=0, solver=True)
    texts = ["It is cold. The answer is (C).", *["The answer is (A)."] * 3]
    voice = OneShot(ScriptedSource(lambda request: texts[request.sample_index]), sampling=Sampling(temperature=1.0))
    monkeypatch.setattr(pipeline, "load_solver", lambda folder: Majority(voice, 4))
    assert solve_one(run.path, "Which? (A) x (B) y (C) z", None, None) == "The answer is (A)."


def test_baselines_stand_beside_the_method_and_its_control(do: Do, toy: type[Settings], small_recipe: Path) -> None:
    two = "baselines=[{name: toy}, {name: toy, further: 4}]"
    folder = do(two)
    contents = gather(folder)
    assert [(arm.name, arm.role) for arm in contents.arms] == [
        ("plain_cot", "method"), ("answer_only", "control"), ("toy3", "other"), ("toy4", "other"),
        ("untrained", "floor"),
    ]  # fmt: skip
    scores = {score.solver: score for score in contents.scores}
    assert len(contents.scores) == 5 and scores["toy3"].right == scores["toy4"].right == scores["plain_cot"].right
    assert [(row.a, row.b) for row in contents.comparisons] == [
        ("plain_cot", "answer_only"), ("plain_cot", "toy3"), ("plain_cot", "toy4"), ("plain_cot", "untrained"),
        ("answer_only", "untrained"),
    ]  # fmt: skip
    assert solve_one(folder, "Two and two?", "toy4", 0) == solve_one(folder, "Two and two?", "plain_cot", 0)
    lines = plan_recipe(load_recipe(small_recipe, [two, "sampling.max_tokens=100"]), folder)
    assert lines[-3:] == [
        "and at most 144 further requests by toy3, replies of at most 14,400 tokens",
        "and at most 192 further requests by toy4, replies of at most 19,200 tokens",
        "what several ask alike is sent once",
    ]
    alone = "method={name: tailored, plain: false, rounds: 2, samples: 1, round_tokens: 50, inner: {name: plain_cot}}"
    said = plan_recipe(load_recipe(small_recipe, [alone]), folder)
    assert not any(line.startswith("requests:") for line in said), "the plain question is never asked"
    assert said[-3].startswith("at most 96 requests by tailored-") and said[-3].endswith(", 100 tokens in all")
    seeds = plan_recipe(load_recipe(small_recipe, [alone, "seeds=[0, 1]"]), folder)
    assert seeds[-3].startswith("at most 96 requests with each seed by tailored-")
    priced = ["teacher.model=lab", "teacher.prices={lab: {input: 1, output: 2.5}}", "sampling.max_tokens=1000"]
    one_arm = [two.replace(", {name: toy, further: 4}", ""), "seeds=[0, 1]", *priced]
    assert plan_recipe(load_recipe(small_recipe, one_arm), folder)[-2:] == [
        "and at most 144 further requests with each seed by toy3, replies of at most 144,000 tokens, 0.36 USD",
        "what several ask alike is sent once",
    ]
    programs = plan_recipe(load_recipe(small_recipe, ["method={name: potd}", "sampling.max_tokens=10"]), folder)
    assert programs[-3:-1] == [
        f"at most 48 requests by {arm}, replies of at most 480 tokens" for arm in ("potd", "potd_answer_only")
    ]
    with pytest.raises(SettingsError, match="would pay for replies that nothing learns from"):
        sample_recipe(load_recipe(small_recipe, [alone]), folder, Console(file=io.StringIO()))
    with pytest.raises(SettingsError, match="two arms of this run are called 'answer_only'"):
        do("baselines=[{name: plain_cot, target: answer}]")
    with pytest.raises(SettingsError, match="furthr: unknown key; did you mean further") as mistakes:
        do("baselines=[{name: toy, furthr: 1}, {name: nowhere}, 7]")
    assert "baselines.1.name: " in str(mistakes.value) and "baselines.2 must hold a name" in str(mistakes.value)


def test_a_solver_on_the_way_is_examined_only_where_the_recipe_says_so(do: Do, toy: type[Settings]) -> None:
    def on_the_way(folder: Path) -> list[str]:
        return [entry["arm"] for _, entry in RunFolder.open(folder).outputs("5_answers") if entry.get("name")]

    folder = do("method={name: toy}")
    assert on_the_way(folder) == []
    do("method={name: toy}", "exam.on_the_way=true")
    assert on_the_way(folder) == ["toy3"]
    assert [score.solver for score in gather(folder).scores] == ["toy3", "untrained"]


def test_a_number_of_samples_beside_adaptive_sampling_is_said_to_have_no_effect(
    small_recipe: Path, tmp_path: Path
) -> None:
    def said(*overrides: str) -> list[str]:
        return plan_recipe(load_recipe(small_recipe, overrides), tmp_path / "run")

    alone, few, many = (said("sampling.adaptive.maximum=4", f"sampling.n={n}") for n in (1, 2, 16))
    [notice] = set(many) - set(alone)
    assert notice == "sampling.n=16 has no effect: sampling.adaptive asks about each problem 1 to 4 times"
    assert {line.replace("n=2", "n=16") for line in few} == set(many)
    assert not any("no effect" in line for line in said("sampling.n=16"))


def test_rows_left_out_on_loading_are_dropped_with_their_reason(small_recipe: Path, tmp_path: Path) -> None:
    lines = [
        {"id": f"{split}{n}", "split": split, "question": f"{split} {n}?", "answer": "no" if n < 3 else str(n),
         "answer_type": "number"}
        for split in ("train", "test") for n in range(20)
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    task = f"task={{name: file, path: {tmp_path}/rows.jsonl, limit: 15, skip_unparsable: true}}"
    run = RunFolder(tmp_path / "run")
    found = load_problems(load_recipe(small_recipe, [task]), run)
    assert len(found.train) == len(found.tests["test"]) == 15
    [(table, _)] = run.outputs("3_dropped")
    dropped = {row.item_id: row.reason for row in read_table(table, Dropped)}
    kept = {problem.id for problem in (*found.train, *found.tests["test"])}
    assert kept | set(dropped) == {line["id"] for line in lines} and not kept & set(dropped)
    assert {"over the limit" in reason or "gold answer 'no'" in reason for reason in dropped.values()} == {True}


def test_a_prompt_of_ones_own_stands_in_for_the_methods(do: Do, counted: type[Counted], tmp_path: Path) -> None:
    for name, template in (("terse", "{question} {choices} Reply in one line. {cue}"), ("odd", "{question} {hint}")):
        (tmp_path / f"{name}.yaml").write_text(f"template: '{template}'\ncue: 'The answer is'")
    own = f"prompts={{teacher_cot: {tmp_path}/terse.yaml, student_zero_shot: {tmp_path}/terse.yaml, edit_contrast: x}}"
    with pytest.raises(SettingsError, match="prompt file x cannot be read"):
        do(own)
    folder = do(own.replace("edit_contrast: x", f"edit_contrast: {tmp_path}/terse.yaml"))
    asked = rows(folder, "1_rationales", Rationale)
    assert {row.prompt_id for row in asked} == {"terse"} and counted.asked == 48
    solver = next(path for path, entry in RunFolder.open(folder).outputs("4_student") if entry.get("solver"))
    assert "Reply in one line" in (solver / "solver.json").read_text()
    [note] = [note for note in gather(folder).notes if "was not used" in note]
    assert note.startswith("prompts.edit_contrast") and "student_zero_shot, teacher_cot" in note
    with pytest.raises(SettingsError, match=r"no prompt of a method is called 'teacher_cto'; did you mean teacher_cot"):
        do(f"prompts={{teacher_cto: {tmp_path}/terse.yaml}}")
    with pytest.raises(SettingsError, match=r"\['hint'\], none are filled"):
        do(f"prompts={{teacher_cot: {tmp_path}/odd.yaml}}")


def test_an_endpoint_for_the_students_texts_that_no_method_asks_is_spoken_of(do: Do) -> None:
    endpoint = "student_endpoint={base_url: 'http://127.0.0.1:9/v1', model: base}"
    notes = gather(do("student.adapter.kind=lora", endpoint)).notes
    assert [note for note in notes if "was not used" in note] == [
        "student_endpoint was not used: no method of this run learns from what its student writes (those with rounds "
        "do, such as tailored); exams are written here"
    ]
