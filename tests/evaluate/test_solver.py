from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from feints.errors import DataError, SettingsError, StudentError, UnknownNameError, VersionError
from feints.evaluate import solver as solver_file
from feints.evaluate.exam import examine
from feints.evaluate.solver import Majority, OneShot, Solver, load_solver
from feints.generate.ledger import Ledger
from feints.generate.prompt import STUDENT, Prompt
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Completion, Request, Sampling
from feints.records import Answer, AnswerKind, Finish, Judgement, Problem


def problems(count: int) -> list[Problem]:
    return [
        Problem(
            id=f"p{index}",
            question=f"how many are {index}",
            answer=str(index),
            answer_kind=AnswerKind.NUMBER,
            task="count",
            split="test",
        )
        for index in range(count)
    ]


def number_in(request: Request) -> int:
    return int(request.messages[-1].content.split("\n")[0].split()[-1])


def right_below(limit: int) -> ScriptedSource:
    return ScriptedSource(
        lambda request: f"The answer is {number_in(request) if number_in(request) < limit else -1}.", "counts"
    )


@pytest.mark.parametrize("right", [0, 3, 10])
def test_one_shot_is_right_as_often_as_its_student(right: int) -> None:
    given, score = examine(OneShot(right_below(right)), problems(10), "scripted", "count/test", seed=0)
    assert (score.right, score.counted, score.extracted) == (right, 10, 10)
    assert [answer.problem_id for answer in given] == [f"p{index}" for index in range(10)]
    assert isinstance(OneShot(right_below(1)), Solver)


def test_a_cut_text_is_truncated_and_an_empty_one_gives_no_answer() -> None:
    def write(request: Request) -> Completion:
        cut = number_in(request) == 1
        return Completion(key="", text="We count and" if cut else "", finish=Finish.LENGTH if cut else Finish.STOP)

    first, second = OneShot(ScriptedSource(write, "cuts")).solve(problems(2), seed=0)
    assert (second.truncated, second.judgement) == (True, Judgement.NO_ANSWER)
    assert (first.truncated, first.judgement, first.extracted) == (False, Judgement.NO_ANSWER, None)


def test_the_students_prompt_and_sampling_are_what_is_asked() -> None:
    seen: list[Request] = []

    def write(request: Request) -> str:
        seen.append(request)
        return "The answer is 0."

    prompt, sampling = Prompt(id="mine", template="{question} Go."), Sampling(temperature=0.5, max_tokens=9)
    OneShot(ScriptedSource(write, "seen"), prompt, sampling).solve(problems(2), seed=8)
    assert [(r.messages, r.sampling, r.seed) for r in seen] == [(prompt.messages(p), sampling, 8) for p in problems(2)]


WARM = Sampling(temperature=1.0)


def test_a_majority_is_the_most_frequent_answer_however_written() -> None:
    said = ["The answer is 0.", "The answer is $0.00.", "The answer is 7.", "I do not know", "The answer is 7.", "zero"]
    source = ScriptedSource(lambda request: said[request.sample_index], "varied")
    (answer,) = Majority(OneShot(source, sampling=WARM), 6).solve(problems(1), seed=0)
    assert Counter(answer.samples) == Counter(said)
    assert answer.judgement is Judgement.CORRECT
    assert answer.text == said[0]
    assert [judgement is Judgement.CORRECT for judgement in answer.sample_judgements[:3]] == [True, True, False]
    assert answer.tokens > 6


def test_one_sample_is_one_shot_and_no_answer_is_no_answer() -> None:
    source = right_below(2)
    assert Majority(OneShot(source), 1).solve(problems(4), 0) == OneShot(source).solve(problems(4), 0)
    silent = Majority(OneShot(ScriptedSource(lambda _: "", "silent"), sampling=WARM), 3)
    (answer,) = silent.solve(problems(1), seed=0)
    assert (answer.judgement, answer.extracted, len(answer.samples)) == (Judgement.NO_ANSWER, None, 3)


def test_a_greedy_majority_is_refused() -> None:
    for samples, sampling in ((5, Sampling()), (0, WARM)):
        with pytest.raises(SettingsError, match="majority"):
            Majority(OneShot(right_below(1), sampling=sampling), samples)


def test_the_ledger_is_asked_first(tmp_path: Path) -> None:
    calls: list[Request] = []

    def write(request: Request) -> str:
        calls.append(request)
        return "The answer is 1."

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        solver = OneShot(ScriptedSource(write, "counted"), ledger=ledger)
        first = solver.solve(problems(5), seed=0)
        assert solver.solve(problems(5), seed=0) == first
        assert len(calls) == 5
        solver.solve(problems(5), seed=1)
        assert len(calls) == 10


# ------------------------------------------------------------------------------------------------ saved and loaded


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with one token per letter."""
    folder = tmp_path_factory.mktemp("student")
    letters = [*"abcdefghijklmnopqrstuvwxyzTL0123456789 .\n?'-"]
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *letters])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_saved_solver_needs_nothing_else_and_answers_the_same(student: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(student, tmp_path / "student")
    prompt = Prompt(id="mine", template="{question}\n{cue}", cue="go", shots=(("how many are 9", "9"),))
    shot = OneShot(mine, prompt, Sampling(temperature=1.0, max_tokens=12, stop=("zz",)), source_settings={"rows": 3})
    kinds = {"one": shot, "several": Majority(shot, 3)}
    before = {}
    for name, solver in kinds.items():
        solver.save(tmp_path / name)
        before[name] = solver.solve(problems(6), seed=5)
        assert solver.solve(problems(6), seed=5) == before[name]
        assert solver.solve(problems(6), seed=6) != before[name]
    shutil.rmtree(mine)
    for name, solver in kinds.items():
        moved = (tmp_path / name).rename(tmp_path / f"{name} moved")
        loaded = load_solver(moved)
        assert type(loaded) is type(solver)
        assert loaded.solve(problems(6), seed=5) == before[name]
        loaded.save(moved)
        assert load_solver(moved).solve(problems(6), seed=5) == before[name]


def test_a_prompt_that_does_not_fit_names_the_problem(student: Path) -> None:
    long = [*problems(3), Problem(**{**vars_of(problems(1)[0]), "id": "epic", "question": "so " * 60})]
    with pytest.raises(StudentError, match=r"1 of 4 problems .*context: epic"):
        OneShot(student).solve(long, seed=0)


def vars_of(problem: Problem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in Problem.__dataclass_fields__}


def test_a_solver_on_an_endpoint_solves_but_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="counts cannot be saved"):
        OneShot(right_below(1)).save(tmp_path)


def write(folder: Path, **changed: object) -> Path:
    content = {"version": 1, "solver": "feints.evaluate.solver:OneShot", "settings": {}} | changed
    (folder / "solver.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "subprocess:Popen",
        "feintsy.evil:Solver",
        "feints.evaluate.solver:json",
        "feints.evaluate.solver:Solver",
        "feints.evaluate.solver:Path",
        "feints.no.such:Thing",
        "feints.evaluate.solver:OneShot.load",
        "evil_module_here:Solver",
        "",
    ],
)
def test_only_solvers_of_installed_packages_are_loaded(tmp_path: Path, name: str, monkeypatch: Any) -> None:
    (tmp_path / "evil_module_here.py").write_text("raise SystemExit('code was run')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UnknownNameError, match="no solver is called"):
        load_solver(write(tmp_path, solver=name))
    assert "evil_module_here" not in sys.modules


def test_damaged_and_foreign_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no solver\.json"):
        load_solver(tmp_path)
    with pytest.raises(VersionError, match="version 99"):
        load_solver(write(tmp_path, version=99))
    (tmp_path / "solver.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        load_solver(tmp_path)


class Elsewhere:
    """A solver of another package."""

    def solve(self, problems: Sequence[Problem], seed: int) -> list[Answer]:
        return []

    def save(self, folder: Path) -> None:
        solver_file.write_solver(folder, self, {"mark": 3})

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> Elsewhere:
        loaded = cls()
        loaded.mark = settings["mark"]
        return loaded


def test_another_packages_solver_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"feints\.solvers"):
        Elsewhere().save(tmp_path)
    point = EntryPoint("elsewhere", f"{__name__}:Elsewhere", "feints.solvers")
    monkeypatch.setattr(EntryPoint, "load", lambda _: Elsewhere)
    monkeypatch.setattr(solver_file, "entry_points", lambda group: EntryPoints([point]))
    Elsewhere().save(tmp_path)
    loaded = load_solver(tmp_path)
    assert isinstance(loaded, Elsewhere)
    assert loaded.mark == 3


def test_the_default_prompt_is_the_students() -> None:
    assert OneShot(right_below(1)).prompt is STUDENT
