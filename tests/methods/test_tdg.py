"""NAT, NCE and ASC on a tiny bench: what is frozen, shared, controlled, stored, and found in another run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from feints.bench.assistants import NatSettings, learn_nat, shuffled
from feints.curate.choice import Chosen
from feints.curate.funnel import Funnel
from feints.curate.gold import gold_rows
from feints.curate.piles import Piles
from feints.errors import DataError, SettingsError, StudentError
from feints.evaluate.adaptive_vote import AdaptiveVote
from feints.evaluate.calibration import RankerCheck
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import load_solver
from feints.generate.weights import load_weights
from feints.methods import asc, mix, nat, nce, plain_cot
from feints.records import AnswerKind, Example, Origin, Problem, Rationale, Role
from feints.runs import RunFolder
from feints.tables import read_table
from feints.train.assistants import load_nat
from feints.train.disagreement import self_distillation
from feints.train.integrate import layers
from feints.train.integrate_files import read_plan
from feints.train.settings import AdapterSettings, StudentSettings

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tiny: ModuleType, talker: Path, tmp_path: Path) -> Any:
    @contextmanager
    def opened(name: str = "run", **changed: Any) -> Iterator[Any]:
        with tiny.tiny_bench(tmp_path / name, talker, **changed) as bench:
            yield bench

    return opened


def students(bench: Any) -> dict[str, Path]:
    """Folders of trained students by their name, the newest of each."""
    return {str(entry["name"]): path / "student" for path, entry in bench.run.outputs("4_student") if "name" in entry}


def logits(model: Any, ids: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


# ------------------------------------------------------------------------------------------------------------- NAT


def test_nat_learns_wrong_then_right_and_answers_through_its_units(here: Any, tiny: ModuleType) -> None:
    with here() as bench:
        solver = nat.distil(bench, nat.Config())
        neg, learnt = bench.fits
        assert {e.role for e in neg.lesson.train} == {Role.WRONG}
        assert {e.role for e in learnt.lesson.train} == {Role.RIGHT}
        assert all(min(e.weights[len(e.prompt_ids) :]) == 1.0 for e in neg.lesson.train), "likelihood is raised"
        found = students(bench)
    saved, adapter = load_file(found["nat"] / "nat.safetensors"), found["neg"] / "adapter/adapter_model.safetensors"
    for key, value in load_file(adapter).items():
        path, _, side = key.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        assert torch.equal(saved[f"{path}.neg.{side[-1].lower()}"], value)
    (problem,) = tiny.exam_problems(1)
    (answer,) = solver.solve([problem], seed=0)
    source = solver.source
    ids = list(source.renderer.prompt_ids(solver.prompt.messages(problem)))
    start, plain = len(ids), load_nat(found["nat"])
    while len(ids) - start < solver.sampling.max_tokens:
        ids.append(int(logits(plain, tuple(ids))[-1].argmax()))
        if ids[-1] in source.renderer.stop_ids:
            break
    assert source.renderer.decode(ids[start:])[0] == answer.text


def test_controls_differ_in_one_thing(here: Any) -> None:
    with here() as bench:
        for changed in (
            {},
            {"negative": "zeros"},
            {"negative": "positive"},
            {"negative": "shuffled"},
            {"weights": "zero"},
        ):
            nat.distil(bench, nat.Config(**changed))
        folders = [path / "student" for path, entry in bench.run.outputs("4_student") if entry["name"] == "nat"]
        negs = [path / "student" for path, entry in bench.run.outputs("4_student") if entry["name"] == "neg"]
    plans = [read_plan(folder) for folder in folders]
    assert [(plan.neg_rank > 0, plan.weigh) for plan in plans] == [
        (True, True),
        (False, True),
        (True, True),
        (True, True),
        (False, False),
    ]
    assert len(negs) == 3, "wrong, positive, shuffled; zeros and a fixed weight need none"
    lessons = {
        fitted.lesson.train.address for fitted in bench.fits if {e.role for e in fitted.lesson.train} == {Role.RIGHT}
    }
    assert len(lessons) == 1, "every NAT, and the second POS, learns the same examples"
    first, second = (bench.fits[place].learner().model.state_dict() for place in (0, 3))
    assert any(not torch.equal(value, second[name]) for name, value in first.items()), "it starts from another seed"
    assert nat.control(nat.Config()) == nat.Config(negative="zeros")
    assert nat.control(nat.Config(weights="zero")) is None
    assert len({nat.arm(nat.Config(negative=n))[0] for n in ("wrong", "zeros", "positive", "shuffled")}) == 4


def test_shuffled_rationales_keep_their_texts_and_lose_their_problems() -> None:
    rows = [Rationale(id=f"r{n}", problem_id=f"p{n // 2}", text=f"text {n}") for n in range(12)]
    turned = shuffled(rows, seed=1)
    assert Counter(row.text for row in turned) == Counter(row.text for row in rows)
    assert Counter(row.problem_id for row in turned) == Counter(row.problem_id for row in rows)
    home = {row.id: row.problem_id for row in rows}
    assert all(home[row.id] != row.problem_id for row in turned)
    assert shuffled(rows, seed=1) == turned != shuffled(rows, seed=2)


def test_a_recipes_adapter_is_the_one_of_neg_and_pos(here: Any, talker: Path) -> None:
    adapter = AdapterSettings(kind="lora", rank=3, alpha=3.0, modules=("k_proj", "o_proj"))
    with here() as plain:
        bench = replace(plain, student=StudentSettings(model=str(talker), adapter=adapter))
        nat.distil(bench, nat.Config(width=4))
        plan = read_plan(students(bench)["nat"])
        model = load_nat(students(bench)["nat"])
    assert (plan.modules, plan.rank, plan.neg_rank, plan.scale, plan.width) == (("k_proj", "o_proj"), 3, 3, 1.0, 4)
    assert {path.rpartition(".")[2] for path, _ in layers(model)} == {"k_proj", "o_proj"}


def test_as_released_prompt_and_padding_are_learnt_and_padding_stops(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TDG-D1, D2, D6, D11: what is released reaches NEG's start, NCE's own NAT and NCE's loss."""
    losses: list[Any] = []
    taught: list[str] = []

    def loss(*args: Any, **how: Any) -> Any:
        losses.append(how)
        return self_distillation(*args, **how)

    def learnt(bench: Any, settings: NatSettings, *more: Any) -> Any:
        taught.append(settings.profile)
        return learn_nat(bench, settings, *more)

    monkeypatch.setattr(nce, "self_distillation", loss)
    monkeypatch.setattr(nce, "learn_nat", learnt)
    with here() as bench:
        solver = nat.distil(bench, nat.Config(profile="as_released"))
        starts = [p for name, p in bench.fits[0].learner().model.named_parameters() if "lora_B" in name]
        assert starts and all(bool(start.abs().sum() > 0) for start in starts), "NEG begins at random"
        for fitted in bench.fits:
            rows = list(fitted.lesson.train) + list(fitted.lesson.validation)
            assert len({len(e.prompt_ids) + len(e.target_ids) for e in rows}) == 1
            assert all(set(e.weights) == {1.0} for e in rows)
        renderer = solver.source.renderer
        assert renderer.tokenizer.pad_token_id in renderer.stop_ids
        assert renderer.tokenizer.eos_token_id in renderer.stop_ids
        for file in (nce, plain_cot, mix):
            own = file.distil(bench, file.Config(profile="as_released")).source.renderer
            assert {own.tokenizer.pad_token_id, own.tokenizer.eos_token_id} <= own.stop_ids
        for fitted in bench.fits[-2:]:
            rows = [*fitted.lesson.train, *fitted.lesson.validation]
            assert len({len(e.prompt_ids) + len(e.target_ids) for e in rows}) == 1
            assert all(set(e.weights) == {1.0} for e in rows)
        assert losses == [{"stored": True, "released": True}] and taught == ["as_released"]
        clean = nat.distil(bench, nat.Config())
        assert clean.source.renderer.tokenizer.pad_token_id not in clean.source.renderer.stop_ids


def test_a_folder_without_units_is_refused(talker: Path) -> None:
    with pytest.raises(StudentError, match="train NAT again"):
        _ = nat.NatSolver(talker).source


# ------------------------------------------------------------------------------------------------------------- NCE


def test_nce_takes_the_nat_of_the_same_run_or_of_another(here: Any) -> None:
    with here() as bench:
        nat.distil(bench, nat.Config(width=5))
        before = len(list(bench.run.outputs("4_student")))
        first = nce.distil(bench, nce.Config(width=5))
        assert len(list(bench.run.outputs("4_student"))) == before + 1, "NEG and NAT were there"
        bench.run.describe(arms=[{"name": "nat"}])
        path = str(bench.run.path)
    run = RunFolder.open(Path(path))
    for folder, entry in run.outputs("4_student"):
        if entry["name"] == "nat":
            run.manifest["outputs"][folder.relative_to(run.path).as_posix()]["arm"] = "nat"
    run.describe()
    with here("other") as bench:
        second = nce.distil(bench, nce.Config(nat_run=path))
        assert set(students(bench)) == {"nce"}
    assert second.identity == first.identity
    with here("third", seed=5) as bench, pytest.raises(DataError, match="no arm nat of training seed 5"):
        nce.distil(bench, nce.Config(nat_run=path))
    with here("fourth") as bench, pytest.raises(DataError, match="no arm nat_released of training seed 0"):
        nce.distil(bench, nce.Config(nat_run=path, profile="as_released"))


def test_stored_weights_stand_with_the_examples(here: Any) -> None:
    with here() as bench:
        nce.distil(bench, nce.Config())
        nce.distil(bench, nce.Config(per="token"))
        nce.distil(bench, nce.Config(scoring="live"))
        sequence, token, live = (
            list(fitted.lesson.train) for fitted in bench.fits if fitted.loss.__qualname__.startswith("self_")
        )
    for rows, alike in ((sequence, True), (token, False)):
        own = [e.weights[len(e.prompt_ids) :] for e in rows]
        assert [len(set(weights)) == 1 for weights in own] == [alike] * len(own)
        assert all(0.5 <= weight < 1.0 for weights in own for weight in weights), "0.5 + 0.5 beta"
        assert all(not any(e.weights[: len(e.prompt_ids)]) for e in rows)
    assert all(set(e.weights[len(e.prompt_ids) :]) == {1.0} for e in live)


def test_as_released_changes_what_is_not_given() -> None:
    released = nce.Config(profile="as_released")
    assert (released.offset, released.smoothing) == (0.5, "one_sided")
    assert nce.Config(profile="as_released", offset=0.0).offset == 0.0
    assert (nce.Config().offset, nce.Config().smoothing) == (0.0, "none")
    assert nce.Config(**released.model_dump()) == released
    names = [nce.arm(nce.Config(offset=c0, per=per))[0] for per in ("sequence", "token", "one") for c0 in (0.0, 0.5)]
    names += [file.arm(file.Config(profile="as_released"))[0] for file in (nat, nce)]
    names += [asc.arm(asc.Config(body=body, raw_keys=raw))[0] for body in ("pretrained", "scratch") for raw in (0, 1)]
    said = {asc.arm(asc.Config(slope=slope, samples=7))[1] for slope in (0.0, 1.0)}
    assert all("exam.votes" in words and "7 where" in words for words in said), "a vote of the exam goes first"
    assert len(set(names)) == 11, "every weight has a name of its own, and plain self-distillation has no offset"


# ------------------------------------------------------------------------------------------------------------- ASC


def test_the_ranker_is_trained_on_both_authors_and_checked_on_held_back_problems(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = asc.Config(own=2, epochs=2, samples=4)
    with here(exam=ExamSettings(max_tokens=24, top_p=0.9)) as bench:
        solver = asc.distil(bench, config)
        own = [how for how in bench.sampled.values() if how.n == 2]
        assert [how.sampling().top_p for how in own] == [solver.inner.sampling.top_p] == [0.9]
        assert isinstance(solver, AdaptiveVote) and solver.ranker is not None
        lesson = bench.fits[-1].lesson
        tables = {entry["label"]: path for path, entry in bench.run.outputs("1_rationales")}
        (check_path,) = [path for path, entry in bench.run.outputs("6_report") if "ranker" in entry["label"]]
        assert any("no pair" in notice for notice in bench.notices)
        monkeypatch.delattr(asc.RankerStudent, "start")
        again = asc.distil(bench, config)
        assert again.ranker.identity == solver.ranker.identity, "what is known is found without loading a body"
    authors = {row.id: name for name in ("teacher", "own") for row in read_table(tables[name], Rationale)}
    rows: list[Example] = [*lesson.train, *lesson.validation]
    assert {authors[e.rationale_id] for e in rows} == {"teacher", "own"}
    groups = {e.group: [] for e in rows}
    for e in rows:
        groups[e.group].append(e)
    assert all(Counter(e.role for e in pair) == {Role.RIGHT: 1, Role.WRONG: 1} for pair in groups.values())
    assert all(len({e.problem_id for e in pair}) == 1 for pair in groups.values())
    assert set(Counter(pair[0].problem_id for pair in groups.values()).values()) == {2}, "one pair an epoch"
    (check,) = read_table(check_path, RankerCheck)
    assert check.rationales > 0 and 0 <= check.brier <= 1 and sum(check.bin_sizes) == check.rationales


def test_a_ranker_of_own_rationales_asks_nothing_of_the_teacher(here: Any) -> None:
    with here() as bench:
        asc.distil(bench, asc.Config(inner={"name": "tailored", "rounds": 1, "plain": False}, own=3, teacher=False))
        said = [row for path, _ in bench.run.outputs("1_rationales") for row in read_table(path, Rationale)]
        tables = {entry["label"]: path for path, entry in bench.run.outputs("1_rationales")}
    assert "teacher" not in tables and "own" in tables
    paid = {row.origin for row in said if row.author == bench.teacher.identity}
    assert paid == {Origin.TAILORED}


def test_the_datas_own_solution_stands_among_the_right_ones_of_the_ranker() -> None:
    right = tuple(Rationale(id=f"r{n}", problem_id="p", text="") for n in range(3))
    wrong = (Rationale(id="w", problem_id="p", text=""), Rationale(id="v", problem_id="q", text=""))
    told = {"question": "?", "answer": "3", "answer_kind": AnswerKind.NUMBER, "task": "", "split": "train"}
    gold = gold_rows([Problem(id=name, solution="1 + 2 = 3", **told) for name in "pqs"])
    both = Chosen(
        piles=Piles(right=right, wrong=wrong, rejected=()), validation=frozenset(), funnel=Funnel(), dropped=()
    )
    drawn = asc.drawn_pairs(both, 400, 0, gold)
    shares = Counter(one.author for one, other in drawn if other.id == "w")
    assert shares["data set"] + shares[""] == 400 and 70 < shares["data set"] < 130, "one of four"
    assert {one.id for one, other in drawn if other.id == "v"} == {gold[1].id}, "no right sample, but a solution"
    assert {one.problem_id for one, _ in drawn} == {"p", "q"}, "a problem without a wrong one has no pair"
    assert {one.id for one, _ in asc.drawn_pairs(both, 400, 0)} == {"r0", "r1", "r2"}


def test_self_consistency_needs_no_ranker(here: Any) -> None:
    with here() as bench:
        solver = asc.distil(bench, asc.Config(slope=0.0))
        assert isinstance(solver, AdaptiveVote) and solver.ranker is None
        assert len(bench.fits) == 1


def test_a_vote_over_the_nat_of_another_run(here: Any, tiny: ModuleType, tmp_path: Path) -> None:
    with here() as bench:
        solver = nat.distil(bench, nat.Config())
        bench.run.folder("4_student", "nat-solver", [solver.identity], solver.save, arm="nat", seed=0, solver=True)
        bench.run.describe(arms=[{"name": "nat"}])
        path = str(bench.run.path)
    with here("other") as bench:
        voting = asc.distil(bench, asc.Config(student_run=path, samples=3, own=1, epochs=1))
        assert isinstance(voting.inner, nat.NatSolver) and voting.inner.sampling.temperature > 0
        answers = voting.solve(tiny.exam_problems(3), seed=1)
        voting.save(tmp_path / "saved")
    again = load_solver(tmp_path / "saved")
    assert again.identity == voting.identity
    assert again.solve(tiny.exam_problems(3), seed=1) == answers
    with here("third", seed=4) as bench, pytest.raises(DataError, match="training seed 4"):
        asc.distil(bench, asc.Config(student_run=path))


def test_the_plain_student_of_asc_is_that_of_plain_distillation(here: Any) -> None:
    with here() as bench:
        plain = plain_cot.distil(bench, plain_cot.Config())
        voting = asc.distil(bench, asc.Config(slope=0.0))
        first, second = (load_weights(s.student).model.state_dict() for s in (plain, voting.inner))
    assert all(torch.equal(second[name], tensor) for name, tensor in first.items())
    assert len(students(bench)) == 1


def test_settings_of_nat_are_those_of_the_bench() -> None:
    assert set(nat.Config.model_fields) == set(NatSettings.model_fields)


def test_any_method_trains_the_student_that_votes(here: Any, tiny: ModuleType) -> None:
    with here() as bench:
        voting = asc.distil(bench, asc.Config(inner={"name": "nat", "width": 4}, samples=3, own=1, epochs=1))
        assert isinstance(voting.inner, nat.NatSolver)
        assert len(voting.solve(tiny.exam_problems(2), seed=1)) == 2
        with pytest.raises(SettingsError, match="inner"):
            asc.distil(bench, asc.Config(inner={"name": "nat", "widht": 4}))
