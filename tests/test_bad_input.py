from __future__ import annotations

import gzip
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.commands import Done, sets

from feints.recipe import load_recipe

pytestmark = pytest.mark.slow
Refused = Callable[..., str]


@pytest.fixture
def refused(done: Done) -> Refused:
    """Does a command that must end in one error, and returns the error."""

    def run(*arguments: object) -> str:
        status, said = done(*arguments)
        assert status == 1, said
        return said

    return run


@pytest.fixture
def succeeds(done: Done) -> Refused:
    """Does a command that must succeed, and returns what it printed."""

    def run(*arguments: object) -> str:
        status, said = done(*arguments)
        assert status == 0, said
        return said

    return run


def own_problems(folder: Path, *, broken: int = 0, long: int = 0) -> list[str]:
    """Settings that replace the lab by a file of twelve sums to learn from and six to be examined on."""
    for split, size in (("train", 12), ("test", 6)):
        rows = [
            {
                "question": f"{'Well then . ' * (300 if split == 'test' and n < long else 0)}What is {n} + {n + 3} ?",
                "answer": "???" if n < broken else str(2 * n + 3),
            }
            for n in range(size)
        ]
        rows = [{**row, "question": row["question"] + f" ({split})"} for row in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    paths = f"{{train: {folder}/train.jsonl, test: {folder}/test.jsonl}}"
    return sets(f"task={{name: file, answer_kind: number, path: {paths}}}")


# ------------------------------------------------------------------------------------------------------ recipes


def test_every_mistake_of_a_recipe_is_listed_at_once_with_its_line(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(
        "name: wrong\n"
        "task: {name: gsm9k}\n"
        "teacher:\n"
        "  source: lab\n"
        "  temprature: 1\n"
        "student: {model: x}\n"
        "method:\n"
        "  name: plain_cott\n"
        "train:\n"
        "  epochs: many\n"
        "  lerning_rate: 1\n"
        "  seed: 7\n"
        "exams: {}\n"
    )
    said = refused("run", path, *sets("sampling.n=0"))
    assert str(path) in said
    for line, words in {
        2: "did you mean gsm8k",
        5: "teacher.temprature: unknown key",
        8: "did you mean plain_cot",
        10: "train.epochs:",
        11: "did you mean learning_rate?",
        13: "did you mean exam?",
    }.items():
        assert any(f"line {line}:" in part and words in part for part in said.splitlines()), (line, said)
    assert "--set sampling.n:" in said
    assert not (tmp_path / "runs").exists()


def test_a_seed_that_the_training_seeds_would_replace_is_refused(
    refused: Refused, small_recipe: Path, tmp_path: Path
) -> None:
    said = refused("run", small_recipe, "--out", tmp_path / "run", *sets("train.seed=7"))
    assert "train" in said and "set seeds: [7]" in said
    load_recipe(small_recipe, ["train.seed=0"])  # as recipe.yaml of a run says


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "task: is missing"),
        ("name: [", "not valid YAML"),
        ("- a", "a recipe is a mapping"),
        ("name: a\nname: b\n", "line 2: name is given twice"),
        ("name: a\ntask: lab\n", "task must hold a name"),
    ],
)
def test_a_file_that_is_no_recipe(text: str, words: str, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    assert words in refused("plan", tmp_path / "recipe.yaml")


def test_a_recipe_that_is_not_there_or_not_text(refused: Refused, tmp_path: Path) -> None:
    assert "no recipe at" in refused("plan", tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00name")
    assert "binary.yaml" in refused("plan", tmp_path / "binary.yaml")


# ------------------------------------------------------------------------------------------------------- teachers


def test_a_key_that_is_not_set(
    refused: Refused, small_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    asked = sets(
        "teacher.source=openai",
        "teacher.model=m",
        "teacher.base_url=http://127.0.0.1:9/v1",
        "teacher.api_key_env=NO_SUCH_KEY",
    )
    said = refused("run", small_recipe, "--out", tmp_path / "run", *asked)
    assert "NO_SUCH_KEY" in said and "export" in said


def test_an_endpoint_that_cannot_be_reached(refused: Refused, small_recipe: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound and never listened on: refuses, and nobody else can take it
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        asked = sets("teacher.source=openai", "teacher.model=m", f"teacher.base_url={url}", "teacher.max_attempts=2")
        said = refused("run", small_recipe, "--out", tmp_path / "run", *asked)
    assert f"{url} failed 2 times" in said and "Check the endpoint and run again" in said


# ------------------------------------------------------------------------------------------------------- problems


def test_gold_answers_that_cannot_be_read(refused: Refused, small_recipe: Path, tmp_path: Path) -> None:
    said = refused("run", small_recipe, "--out", tmp_path / "run", *own_problems(tmp_path, broken=2))
    assert "4 of 18 gold answers cannot be read" in said and "???" in said and "skip_unparsable: true" in said


def test_problems_without_a_test_set_are_refused_before_anything_is_paid(
    refused: Refused, small_recipe: Path, tmp_path: Path
) -> None:
    own_problems(tmp_path)
    alone = sets(f"task={{name: file, answer_kind: number, path: {{train: {tmp_path}/train.jsonl}}}}")
    for command in ("plan", "run"):
        assert "no test problems to examine on" in refused(command, small_recipe, *alone)
    assert "test_share: 0.2" in refused("plan", small_recipe, *alone, "--set", "exam.sets=[]")
    assert not list(tmp_path.glob("**/ledger.sqlite"))
    assert "--set seeds: must be a list, such as [0]" in refused("plan", small_recipe, "--set", "seeds=0")


@pytest.mark.parametrize("part", ["question", "answer"])
def test_a_problem_of_nothing_is_no_problem_about_none(
    part: str, refused: Refused, small_recipe: Path, tmp_path: Path
) -> None:
    row = {"question": "What is 1 + 1 ?", "answer": "2", "answer_type": "number"} | {part: None}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), encoding="utf-8")
    for kind in ("", "answer_kind: number, "):
        task = sets(f"task={{name: file, {kind}path: {{train: {tmp_path}/rows.jsonl}}}}")
        assert f"rows.jsonl, row 1: cannot be read as a problem of file: {part} is null" in refused(
            "plan", small_recipe, *task
        )


def test_a_device_that_is_not_there_is_refused_before_anything_is_paid(
    refused: Refused, small_recipe: Path, tmp_path: Path
) -> None:
    said = refused("run", small_recipe, "--out", tmp_path / "run", "--set", "device=nowhere")
    assert "device 'nowhere' cannot be used here" in said and not (tmp_path / "run/1_rationales").exists()


def test_what_would_fail_in_any_arm_is_refused_before_the_first_one_pays(
    refused: Refused, small_recipe: Path, tmp_path: Path
) -> None:
    lora = "student.adapter={kind: lora, modules: [q_projj]}"
    within = "baselines=[{name: fdd, inner: {name: potd}}]"
    for setting, words in ((lora, "no module called q_projj"), (within, "another question than the plain one")):
        said = refused("run", small_recipe, "--out", tmp_path / "run", *sets(setting))
        assert words in said and not (tmp_path / "run/1_rationales").exists()


def test_too_few_problems_to_hold_some_back_are_refused_before_anything_is_paid(
    refused: Refused, small_recipe: Path, tmp_path: Path
) -> None:
    few = sets("task.train=3", "curate.validation=0.01")
    for command in ("plan", "run"):
        said = refused(command, small_recipe, *(("--out", tmp_path / "run") if command == "run" else ()), *few)
        assert "curate.validation; 0 holds none back" in said
    assert not (tmp_path / "run/1_rationales").exists()


def test_a_plan_is_held_against_the_budget(succeeds: Refused, small_recipe: Path) -> None:
    assert "the budget may end this sooner (requests 5)" in succeeds("plan", small_recipe, *sets("budget.requests=5"))
    assert "may end this sooner" not in succeeds("plan", small_recipe, *sets("budget.requests=5000"))


def test_a_setting_that_is_refused_leaves_a_finished_run_as_it_was(
    refused: Refused, succeeds: Refused, small_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    succeeds("run", small_recipe, "--out", folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    endpoint = "teacher={source: openai, model: m, base_url: http://127.0.0.1:9/v1, api_key_env: NO_SUCH_KEY}"
    for setting in ("student.model=no/such/student", "device=nowhere", endpoint, "task.train=0"):
        refused("run", small_recipe, "--out", folder, *sets(setting))
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before, setting
    assert "plain_cot" in succeeds("show", folder)


def test_files_of_texts_that_cannot_be_read(refused: Refused, succeeds: Refused, tmp_path: Path) -> None:
    row = '{"text": "what a vocabulary is made of"}\n'
    bad = {
        "latin-1.jsonl": '{"text": "ein Gruß"}\n'.encode("latin-1"),
        "cut.jsonl.gz": gzip.compress(row.encode() * 100)[:-12],
        "deep.jsonl": b"[" * 200_000 + b"]" * 200_000,
        "numbers.jsonl": b"9" * 5000,
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        said = refused("new-student", tmp_path / name, "--out", tmp_path / "new")
        assert f"the texts {tmp_path / name} cannot be read" in said and "in UTF-8" in said
    nested = "[" * 900 + '"deep down"' + "]" * 900
    (tmp_path / "marked.jsonl").write_text(f'{row}\n{nested}\n{{"text": "cut \\ud83d"}}\n', encoding="utf-8-sig")
    small = sets("words=300", "hidden=16", "layers=1", "heads=2")
    assert "untrained" in succeeds("new-student", tmp_path / "marked.jsonl", "--out", tmp_path / "new", *small)


def test_places_that_cannot_be_written(refused: Refused, small_recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"text": "a", "gold": "1", "x": {"y": ["2"]}}')
    assert "Not a directory; choose another --out" in refused("run", small_recipe, "--out", tmp_path / "file" / "run")
    assert "is a file" in refused("new-student", tmp_path / "file", "--out", tmp_path / "file")
    (tmp_path / "empty").write_text("")
    assert "holds no text" in refused("new-student", tmp_path / "empty", "--out", tmp_path / "new")
    odd = sets("hidden=30", "heads=4")
    assert "give a multiple of 8" in refused("new-student", tmp_path / "file", "--out", tmp_path / "new", *odd)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert "holds a model already" in refused("new-student", tmp_path / "file", "--out", tmp_path / "model")
    assert "is to name a folder in runs" in refused("plan", small_recipe, "--set", "name=a/b")
    assert "names a seed twice" in refused("plan", small_recipe, "--set", "seeds=[0,0]")
    (tmp_path / "rows.jsonl").mkdir()
    (tmp_path / "own.jsonl").write_text('{"text": "The answer is 1.", "gold": "1"}')
    assert "is a folder" in refused("verify", tmp_path / "own.jsonl", "--out", tmp_path / "rows.jsonl")


def test_a_teacher_that_is_never_right_leaves_an_empty_pile(
    refused: Refused, small_recipe: Path, tmp_path: Path
) -> None:
    settings = own_problems(tmp_path)  # sums are no story of the lab, so its teacher cannot answer them
    said = refused("run", small_recipe, "--out", tmp_path / "run", *settings)
    assert "0 examples are left to learn from" in said
    assert "24 rationales sampled -> 0 right" in said and ("wrong" in said or "no answer" in said)
    assert list((tmp_path / "run/2_verdicts").glob("*.parquet")), "what was judged is kept"


def test_a_question_longer_than_the_students_context(
    refused: Refused, succeeds: Callable[..., str], small_recipe: Path, tmp_path: Path
) -> None:
    recorded = tmp_path / "recorded.jsonl"
    rows = [
        {
            "question": f"What is {n} + {n + 3} ? (train)",
            "text": f"{n} + {n + 3} = {2 * n + 3} . The answer is {2 * n + 3}.",
        }
        for n in range(12)
    ]
    recorded.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    teacher = sets(f"teacher={{source: replay, path: {recorded}}}", "sampling.n=1")
    said = refused("run", small_recipe, "--out", tmp_path / "run", *own_problems(tmp_path, long=1), *teacher)
    assert "1 of 6 problems are longer than the student's context" in said
    own_problems(tmp_path)
    trained = {p.name for p in (tmp_path / "run/4_student").iterdir()}
    assert "plain_cot" in succeeds("run", small_recipe, "--out", tmp_path / "run", *own_problems(tmp_path), *teacher)
    assert trained <= {p.name for p in (tmp_path / "run/4_student").iterdir()}, "what was trained is kept"


# ------------------------------------------------------------------------------------------- students and folders


def test_a_student_without_safetensors(
    refused: Refused, small_recipe: Path, tiny_student: Path, tmp_path: Path
) -> None:
    student = tmp_path / "student"
    shutil.copytree(tiny_student, student)
    (student / "model.safetensors").rename(student / "pytorch_model.bin")
    out = tmp_path / "run"
    said = refused("run", small_recipe, "--out", out, *sets(f"student.model={student}"))
    assert str(student) in said and "pickled" in said and "safetensors" in said
    assert not (out / "1_rationales").exists(), "refused before anything was asked"
    (student / "pytorch_model.bin").rename(student / "model.safetensors")
    (student / "model.safetensors").write_bytes(b"rubbish")
    assert str(student) in refused("run", small_recipe, "--out", out, *sets(f"student.model={student}"))
    assert "no folder" in refused("run", small_recipe, "--out", out, *sets(f"student.model={tmp_path}/nowhere"))


def test_a_run_folder_of_another_version_or_another_kind(refused: Refused, small_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    manifest = out / "manifest.json"
    manifest.write_text(json.dumps({"run_version": 99, "outputs": {}}))
    before = manifest.read_bytes()
    for words in (("run", small_recipe, "--out", out), ("show", out), ("solve", out, "?")):
        said = refused(*words)
        assert "run layout 99" in said and "choose another --out" in said
    assert manifest.read_bytes() == before
    assert "is not a run folder" in refused("show", tmp_path / "nowhere")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/thesis.doc").write_text("precious")
    assert "not a run folder" in refused("run", small_recipe, "--out", tmp_path / "thesis")
    assert "is a file" in refused("run", small_recipe, "--out", tmp_path / "thesis/thesis.doc")
    assert os.listdir(tmp_path / "thesis") == ["thesis.doc"]
