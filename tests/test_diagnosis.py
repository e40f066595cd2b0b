"""What the teacher says of a run afterwards: kinds of errors and key points, paid once, the run folder left alone."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console

from feints.cli import main
from feints.curate.keypoints import CORE_HEAD, INFORMATION_HEAD
from feints.diagnosis import Teacher, exam_of, solver_of, why_wrong, with_oracle
from feints.errors import BudgetError, DataError, SettingsError, UnknownNameError
from feints.evaluate.chained import Chain
from feints.evaluate.error_kinds import JUDGE, ErrorKind
from feints.evaluate.solver import load_solver
from feints.generate.ledger import Ledger
from feints.generate.replay import ReplaySource
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.lab.reader import read
from feints.lab.teacher_diagnosis import error_kind
from feints.pipeline import run_recipe
from feints.recipe import load_recipe
from feints.records import Answer, Judgement, Problem
from feints.tables import read_table

pytestmark = pytest.mark.slow

RECIPE = """\
name: afterwards
task: {name: lab, train: 24, test: 12}
teacher: {source: lab}
sampling: {n: 2, max_tokens: 300}
decontaminate: null
student: {model: feints-nano}
method: {name: kpdd}
baselines: [{name: potd}]
train: {epochs: 1, batch_examples: 8, learning_rate: 0.0003}
exam: {max_tokens: 96}
device: cpu
"""


def quiet() -> Console:
    return Console(file=io.StringIO())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run of KPDD in words beside programs."""
    home = tmp_path_factory.mktemp("afterwards")
    (home / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    run_recipe(load_recipe(home / "recipe.yaml"), home / "run", quiet())
    return home / "run"


def bytes_of(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def paid(folder: Path) -> int:
    ledger = Ledger(folder.parent / "ledger.sqlite")
    try:
        return ledger.count()["complete"]
    finally:
        ledger.close()


def test_kinds_of_errors_are_those_of_the_world_and_paid_once(folder: Path) -> None:
    before, asked = bytes_of(folder), paid(folder)
    teacher = Teacher(folder, quiet())
    exam = exam_of(teacher.run, "kpdd_control_cot", None, None)
    shares = why_wrong(teacher, exam)
    pairs = zip(exam.problems, exam.answers, strict=True)
    wrong = [(problem, answer) for problem, answer in pairs if answer.judgement is not Judgement.CORRECT]
    assert wrong, "this student should make mistakes"
    truth = Counter(error_kind(read(problem.question), answer.text) for problem, answer in wrong)
    assert {one.kind.value: one.errors for one in shares if one.errors} == dict(truth)
    first = paid(folder)
    assert asked < first <= asked + len(wrong)
    assert why_wrong(Teacher(folder, quiet()), exam) == shares
    assert paid(folder) == first
    assert bytes_of(folder) == before


def test_the_recipes_own_prompt_is_sent(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({"template": f"{JUDGE.template}\nBe brief."}), encoding="utf-8")
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8"))
    recipe["prompts"] = {JUDGE.id: str(tmp_path / "own.yaml")}
    (tmp_path / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    asked: list[Request] = []

    def watched(_: object) -> ScriptedSource:
        return ScriptedSource(lambda request: asked.append(request) or "calculation", "watched")

    monkeypatch.setattr("feints.diagnosis.open_teacher", watched)
    teacher = Teacher(tmp_path / "run", quiet())
    shares = why_wrong(teacher, exam_of(teacher.run, "kpdd_control_cot", None, None))
    assert asked and all(request.messages[-1].content.endswith("\nBe brief.") for request in asked)
    assert {request.sampling.max_tokens for request in asked} == {300}, "the recipe's limit: a teacher may think first"
    assert {one.kind for one in shares if one.errors} == {ErrorKind.CALCULATION}


FAILED = {
    "malformed": {"choices": []},
    "refused": {"choices": [{"message": {"content": "misunderstanding"}, "finish_reason": "content_filter"}]},
    "cut off at the token limit": {"choices": [{"message": {"content": "calculation"}, "finish_reason": "length"}]},
    "empty": {"choices": [{"message": {"content": " "}, "finish_reason": "stop"}]},
}


@pytest.mark.parametrize("failure", FAILED)
def test_a_reply_that_failed_labels_nothing(failure: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feints.diagnosis.open_teacher", lambda _: ScriptedSource(lambda _: FAILED[failure], failure))
    said = io.StringIO()
    teacher = Teacher(folder, Console(file=said))
    shares = why_wrong(teacher, exam_of(teacher.run, "kpdd_control_cot", None, None))
    assert shares[0].unlabelled == shares[0].failures > 0 and not any(one.errors for one in shares)
    assert f"{shares[0].failures} of {shares[0].failures} replies cannot be used" in said.getvalue()
    assert f"{shares[0].failures} {failure}" in said.getvalue()


def test_the_command_says_how_many_labels_failed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("feints.diagnosis.open_teacher", lambda _: ScriptedSource(lambda _: "", "mute"))
    monkeypatch.setattr("sys.argv", ["feints", "errors", str(folder), "--arm", "kpdd_control_cot"])
    with pytest.raises(SystemExit, match="0"):
        main()
    head, *kinds, last = capsys.readouterr().out.splitlines()
    wrong = head.removeprefix("kpdd_control_cot: ").partition(" wrong of")[0]
    assert last.split()[:3] == ["not", "labelled", wrong] and len(kinds) == len(ErrorKind)


def test_key_points_that_failed_leave_their_problem_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []

    def failing(request: Request) -> str:
        asked.append(request)
        return "" if len(asked) == 1 else "a key point"

    monkeypatch.setattr("feints.diagnosis.open_teacher", lambda _: ScriptedSource(failing, "fails once"))
    teacher = Teacher(folder, quiet())
    exam = exam_of(teacher.run, None, None, None)
    found = with_oracle(teacher, exam)
    assert (found.n, found.left_out) == (len(exam.problems) - 1, 1)


def test_what_a_program_leaves_without_a_value_is_not_shown_to_the_teacher(folder: Path) -> None:
    teacher = Teacher(folder, quiet())
    exam = exam_of(teacher.run, "potd", None, "test")
    failed = sum(answer.extracted is None for answer in exam.answers)
    shares = {one.kind.value: one.errors for one in why_wrong(teacher, exam)}
    assert shares["execution"] == failed


def test_the_oracle_reads_the_teachers_key_points_and_asks_no_stage_before_the_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """KPDD-P6: of a run, on its exam."""
    before, asked = bytes_of(folder), paid(folder)
    teacher = Teacher(folder, quiet())
    exam = exam_of(teacher.run, None, None, None)
    assert exam.arm == "kpdd_cot_3"
    own = sum(answer.judgement is Judgement.CORRECT for answer in exam.answers)
    chain = type(load_solver(solver_of(teacher.run, exam)))

    def refuse(*_: object) -> None:
        raise AssertionError("a stage before the last was asked")

    monkeypatch.setattr(chain, "key_points", refuse)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # the recipe says cpu
    found = with_oracle(teacher, exam)
    assert found.n == len(exam.problems) and found.both_right + found.only_b == own
    first = paid(folder)
    assert first == asked + 2 * len(exam.problems)
    assert with_oracle(Teacher(folder, quiet()), exam) == found
    assert paid(folder) == first
    assert bytes_of(folder) == before


def test_the_oracle_puts_the_label_of_key_points_before_them_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_label(request: Request) -> str:
        core = "State the core question" in request.messages[-1].content
        return f"{CORE_HEAD if core else INFORMATION_HEAD} what the teacher saw"

    given: list[Mapping[str, str]] = []

    def told(chain: Chain, problems: Sequence[Problem], filled: Sequence[Mapping[str, str]], seed: int) -> list[Answer]:
        given.extend(filled)
        return solve(chain, problems, filled, seed)

    solve = Chain.solve_given
    monkeypatch.setattr(Chain, "solve_given", told)
    monkeypatch.setattr("feints.diagnosis.open_teacher", lambda _: ScriptedSource(with_label, "labels"))
    teacher = Teacher(folder, quiet())
    with_oracle(teacher, exam_of(teacher.run, None, None, None))
    assert len(given) == 12 and {text for one in given for text in one.values()} == {"what the teacher saw"}


def test_on_what_it_learnt_from_the_oracle_is_no_worse_than_the_chain_itself(folder: Path) -> None:
    """KPDD-P6: on a slice of the training problems."""
    teacher = Teacher(folder, quiet())
    exam = exam_of(teacher.run, None, None, None)
    (path,) = [path for path, entry in teacher.run.outputs("0_problems") if entry["label"] == "train"]
    learnt = tuple(read_table(path, Problem))
    own = load_solver(solver_of(teacher.run, exam)).solve(learnt, seed=0)
    found = with_oracle(teacher, replace(exam, problems=learnt, answers=tuple(own)))
    assert found.n == len(learnt) and found.both_right + found.only_a, "else nothing is shown here"
    assert found.high >= 0, "worse than the chain itself by more than chance"


def test_recorded_completions_are_no_answer_to_another_question(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = Teacher(folder, quiet())
    exam = exam_of(teacher.run, "kpdd_control_cot", None, None)
    recorded = ReplaySource({problem.question: ["The answer is 3."] for problem in exam.problems})
    monkeypatch.setattr("feints.diagnosis.open_teacher", lambda _: recorded)
    with pytest.raises(SettingsError, match=r"kinds of errors: .* recorded completions, .* name an endpoint"):
        why_wrong(teacher, exam)


def test_what_cannot_be_asked_is_said(folder: Path, tmp_path: Path) -> None:
    teacher = Teacher(folder, quiet())
    with pytest.raises(UnknownNameError, match="kpdd_cot_3"):
        exam_of(teacher.run, "kpdd_cot", None, None)
    with pytest.raises(UnknownNameError, match="test"):
        exam_of(teacher.run, None, None, "tests")
    with pytest.raises(DataError, match=r"seeds \[0\], not 3"):
        exam_of(teacher.run, None, 3, None)
    with pytest.raises(DataError, match="reads no key points"):
        with_oracle(teacher, exam_of(teacher.run, "potd", None, None))
    with pytest.raises(DataError, match="keeps no solver"):
        with_oracle(teacher, exam_of(teacher.run, "untrained", None, None))


def test_a_budget_that_is_spent_is_no_other_kind_of_error(folder: Path) -> None:
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    try:
        (folder / "recipe.yaml").write_text(text.replace("requests: null", "requests: 0"), encoding="utf-8")
        teacher = Teacher(folder, quiet())
        said = r"kinds of errors: .* not answered .*kept: mend that in .*recipe.yaml .*raise it.*\(--sample\)"
        with pytest.raises(BudgetError, match=said):
            why_wrong(teacher, exam_of(teacher.run, "kpdd_cot_3", None, None))  # no label of it was bought yet
    finally:
        (folder / "recipe.yaml").write_text(text, encoding="utf-8")


def test_the_commands(folder: Path, command: Callable[..., object]) -> None:
    said = command("errors", folder, "--arm", "kpdd_control_cot", "--sample", 6)
    assert said.returncode == 0, said.stderr
    assert "wrong of 6" in said.stdout and "missing step" in said.stdout
    said = command("oracle", folder)
    assert said.returncode == 0, said.stderr
    interval = r"[\d.]+ % \[[\d.]+, [\d.]+\]"
    assert re.search(rf"12 problems: own key points {interval}, the teacher's {interval}\n", said.stdout)
    assert "paired, 95 %" in said.stdout
