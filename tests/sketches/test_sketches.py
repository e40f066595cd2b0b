"""What each sketch does with the contracts that no other method does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, EntryPoints
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

from feints import methods
from feints.evaluate import solver as solver_file
from feints.evaluate.solver import OneShot
from feints.generate import local
from feints.generate.adaptive import AdaptiveSettings
from feints.generate.budget import Budget
from feints.generate.prompt import STUDENT, TEACHER, Prompt
from feints.generate.rationales import Asking
from feints.generate.scripted import ScriptedSource
from feints.generate.settings import SamplingSettings
from feints.generate.source import Request, Sampling
from feints.generate.weights import load_weights
from feints.pipeline import run_recipe
from feints.recipe import load_recipe
from feints.records import Example, Judgement, Origin, Pair, Rationale, Role, Verdict
from feints.report.gather import gather
from feints.runs import RunFolder, read_table
from feints.train.batch import Batcher
from feints.train.losses import token_nll
from feints.train.rows import Layout

pytestmark = pytest.mark.slow
Load = Callable[[str], ModuleType]


def table(bench: Any, stage: str, label: str, record: type[Any]) -> list[Any]:
    (path,) = [path for path, entry in bench.run.outputs(stage) if entry["label"] == label]
    return read_table(path, record)


def logits(model: Any, ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([list(ids)])).logits[0]


# ------------------------------------------------------------------------------------------------------- the bench


def test_one_problem_can_be_asked_about_several_rationales(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    prompt = Prompt(
        id="about", template="{question}\n\nA student's wrong response:\n{wrong}\n\nComment, then solve it."
    )
    with tiny.tiny_bench(tmp_path, talker) as bench:
        problem = bench.problems.rows[0]
        askings = [Asking(problem=problem, filled={"wrong": f"It is {n}."}, parent=f"mistake {n}") for n in (3, 4)]
        rows = bench.ask("about", prompt, askings, sampling=SamplingSettings(n=2), origin=Origin.TAILORED).rows
    assert [row.parent for row in rows] == ["mistake 3", "mistake 3", "mistake 4", "mistake 4"]
    assert len({row.prompt_hash for row in rows}) == 2
    assert len({row.id for row in rows}) == 4


def test_adaptive_sampling_stops_each_asking_by_itself(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    prompt = Prompt(id="hinted", template="{question}\n\nHint: the correct answer is {hint}.\nReason step by step.")
    enough = AdaptiveSettings(maximum=6, wanted_right=2, wanted_wrong=0)
    with tiny.tiny_bench(tmp_path, talker) as bench:
        askings = [Asking(problem=p, filled={"hint": p.answer}, parent=n) for p in bench.problems for n in "ab"]
        rows = bench.ask("hinted", prompt, askings, sampling=SamplingSettings(adaptive=enough))
        right = Counter(
            (row.problem_id, row.parent)
            for row, verdict in zip(rows, bench.judge("hinted", rows), strict=True)
            if verdict.value is Judgement.CORRECT
        )
    assert len(right) == 2 * len(bench.problems)
    assert set(right.values()) == {2}
    assert [(row.problem_id, row.parent) for row in rows] == sorted(
        ((row.problem_id, row.parent) for row in rows), key=lambda pair: [p.id for p in bench.problems].index(pair[0])
    )


def test_a_student_is_asked_without_the_teachers_budget_and_loaded_only_for_work(
    tiny: ModuleType, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = SamplingSettings(n=1, max_tokens=16)
    with tiny.tiny_bench(tmp_path, talker, budget=Budget(requests=1)) as bench:
        assert len(bench.ask("teacher", TEACHER)) == 1
        own = bench.ask("own", STUDENT, source=talker, sampling=few, origin=Origin.SELF, round=1)
        assert len(own) == len(bench.problems)
        assert {(row.origin, row.round, row.cost) for row in own} == {(Origin.SELF, 1, 0.0)}
        assert {row.author for row in own} != {bench.teacher.identity}
        monkeypatch.setattr(local.LocalSource, "from_folder", lambda *_: pytest.fail("loaded again"))
        assert bench.ask("own", STUDENT, source=talker, sampling=few, origin=Origin.SELF, round=1) == own


def test_joined_choices_account_for_every_row(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        said = bench.ask("teacher", TEACHER)
        more = bench.ask("more", STUDENT, sampling=SamplingSettings(n=1))
        one = bench.choose(said, bench.judge("teacher", said))
        other = bench.choose(more, bench.judge("more", more), pile="wrong", unit="more rationales")
    both = one.joined(other)
    rows = [*both.piles.right, *both.piles.wrong, *both.piles.rejected]
    assert len(rows) == len(said) + len(more)
    assert both.funnel.steps[: len(one.funnel.steps)] == one.funnel.steps
    assert [step.name for step in both.funnel.steps].count("in the task") == 1
    assert both.funnel.steps[-1].kept == len(other.piles.wrong)


# ------------------------------------------------------------------------------------------------------------ EDIT


@pytest.mark.parametrize(
    ("right", "wrong", "right_mask", "wrong_mask"),
    [
        ("pqrsE", "prsE", "01000", "0000"),
        ("xaayE", "xayE", "00100", "0000"),
        ("abE", "baE", "010", "010"),
        ("caccE", "aaE", "10110", "100"),
    ],
)
def test_edit_p3_p4_key_tokens(load_beside: Load, right: str, wrong: str, right_mask: str, wrong_mask: str) -> None:
    key_tokens = load_beside("sketches/edit").key_tokens
    assert "".join(map(str, key_tokens(right, wrong))) == right_mask
    assert "".join(map(str, key_tokens(wrong, right))) == wrong_mask


@pytest.fixture(scope="module")
def edit(load_beside: Load, tiny: ModuleType, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    module = load_beside("sketches/edit")
    with tiny.tiny_bench(tmp_path_factory.mktemp("edit"), talker, lora=True) as bench:
        module.distil(bench, module.Config())
    return bench


def test_edit_pairs_join_a_text_with_the_one_it_was_made_from(edit: Any) -> None:
    pairs = table(edit, "3_examples", "tiny-pairs", Pair)
    assert Counter((pair.right_origin, pair.wrong_origin) for pair in pairs).keys() == {
        (Origin.SAMPLED, Origin.CORRUPTED),
        (Origin.RECTIFIED, Origin.SAMPLED),
    }
    labels = ("teacher", "rectified", "corrupted")
    verdicts = {v.rationale_id: v.value for label in labels for v in table(edit, "2_verdicts", label, Verdict)}
    assert all(verdicts[pair.right_id] is Judgement.CORRECT for pair in pairs)
    assert all(verdicts[pair.wrong_id] is Judgement.WRONG for pair in pairs)
    examples = table(edit, "3_examples", "tiny-stage2-train", Example)
    roles = {group: {e.role for e in examples if e.group == group} for group in {e.group for e in examples}}
    assert all(found == {Role.RIGHT, Role.WRONG} for found in roles.values())


def test_edit_loss_is_the_equation(edit: Any) -> None:
    fitted = edit.fits[1]
    model = fitted.learner().model.eval()
    batcher = Batcher(fitted.lesson.train.rows[:8], Layout(rows="padded", micro_tokens=10**6, seq2seq=False, pad_id=0))
    step = batcher.whole()
    terms = fitted.loss(model, batcher.batch(step.micro[0]), step.counts)
    total = 0.0
    for example in batcher.examples:
        ids, start = [*example.prompt_ids, *example.target_ids], len(example.prompt_ids)
        chances = logits(model, ids).log_softmax(-1)
        for place in range(start, len(ids)):
            nats = -float(chances[place - 1, ids[place]])
            if example.weights[place] > 0 or nats < 20.0:
                total += example.weights[place] * nats / len(example.target_ids) / 4
    assert (terms["right"] + terms["wrong"]).item() == pytest.approx(total, rel=1e-4)


def test_edit_p11_stage_two_starts_where_stage_one_ended(edit: Any) -> None:
    (first,) = [path for path, entry in edit.run.outputs("4_student") if entry.get("name") == "stage1"]
    ids = edit.fits[1].lesson.train.rows[0].prompt_ids
    started = edit.fits[1].learner().model.eval()
    assert torch.equal(logits(started, ids), logits(load_weights(first / "student").model, ids))
    assert not torch.equal(logits(started, ids), logits(load_weights(edit.student.model).model, ids))
    assert any("lora" in name for name, p in started.named_parameters() if p.requires_grad)


# ------------------------------------------------------------------------------------------------------------ KPDD


def test_kpdd_each_stage_sees_what_those_before_it_said(load_beside: Load, tiny: ModuleType) -> None:
    module = load_beside("sketches/kpdd")
    seen: dict[str, str] = {}

    def stage(field: str, says: str) -> OneShot:
        def write(request: Request) -> str:
            seen[field] = request.messages[-1].content
            return says

        return OneShot(ScriptedSource(write, field), module.STAGES[field], Sampling())

    said = {"core": "How many?", "information": "1. Ann has 3.", "solution": "3 - 1 = 2. The answer is 2."}
    chain = module.Chain({field: stage(field, text) for field, text in said.items()})
    (problem,) = tiny.exam_problems(1)
    (answer,) = chain.solve([problem], seed=0)
    assert answer.text == said["solution"]
    assert all(problem.question in text for text in seen.values())
    assert [said["core"] in seen[field] for field in said] == [False, True, True]
    assert [said["information"] in seen[field] for field in said] == [False, False, True]
    alone = chain.shots["solution"].sample([problem], 1, 0, [{"core": "", "information": ""}])[0][0][0]
    assert answer.tokens > alone.usage.completion_tokens


# ------------------------------------------------------------------------------------------------------------- NAT


@pytest.fixture(scope="module")
def nat(load_beside: Load, tiny: ModuleType, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    module = load_beside("sketches/nat")
    fast = tiny.FEW.model_copy(update={"learning_rate": 3e-2})
    with tiny.tiny_bench(tmp_path_factory.mktemp("nat"), talker, training=fast) as bench:
        return bench, module.distil(bench, module.Config())


def test_tdg_p4_an_untrained_unit_changes_nothing(nat: Any, load_beside: Load) -> None:
    model = load_weights(nat[0].student.model).model
    ids = nat[0].fits[1].lesson.train.rows[0].prompt_ids
    before = logits(model, ids)
    load_beside("sketches/nat").add_units(model, 2, 4, 0)
    assert torch.equal(logits(model, ids), before)


def test_tdg_p5_neg_and_base_are_as_they_were(nat: Any) -> None:
    bench, solver = nat
    (neg,) = [path for path, entry in bench.run.outputs("4_student") if entry.get("name") == "neg"]
    adapter = load_file(neg / "student" / "adapter" / "adapter_model.safetensors")
    saved = load_file(Path(solver.student) / "nat.safetensors")
    assert len(adapter) == 4
    for name, value in adapter.items():
        path, _, side = name.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".")
        assert torch.equal(saved[f"{path}.{ {'lora_A': 'neg_a', 'lora_B': 'neg_b'}[side] }"], value)
        assert value.abs().max() > 0
    ours = solver.source.model.state_dict()
    for name, value in load_weights(bench.student.model).model.state_dict().items():
        head, _, last = name.rpartition(".")
        assert torch.equal(ours[name if name in ours else f"{head}.base.{last}"], value)


def test_nat_writes_through_its_units_with_a_cache(nat: Any, tiny: ModuleType) -> None:
    _, solver = nat
    source = solver.source
    (problem,) = tiny.exam_problems(1)
    (answer,) = solver.solve([problem], seed=0)
    ids = list(source.renderer.prompt_ids(STUDENT.messages(problem)))
    start = len(ids)
    while len(ids) - start < solver.sampling.max_tokens:
        ids.append(int(logits(source.model, ids)[-1].argmax()))
        if ids[-1] in source.renderer.stop_ids:
            break
    assert source.renderer.decode(ids[start:])[0] == answer.text
    through = logits(source.model, ids)
    for module in source.model.modules():
        if hasattr(module, "outer"):
            module.outer.weight.data.zero_()
    assert not torch.allclose(logits(source.model, ids), through, atol=1e-3)


# -------------------------------------------------------------------------------------------------------- tailored


@pytest.fixture(scope="module")
def tailored(load_beside: Load, tiny: ModuleType, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    module = load_beside("sketches/tailored")
    with tiny.tiny_bench(tmp_path_factory.mktemp("tailored"), talker) as bench:
        module.distil(bench, module.Config())
    return bench


def test_tailored_rounds_go_on_from_each_other(tailored: Any, talker: Path) -> None:
    authors = []
    for number in range(2):
        own = table(tailored, "1_rationales", f"exam-round{number}", Rationale)
        told = table(tailored, "1_rationales", f"feedback-round{number}", Rationale)
        assert {(row.origin, row.round) for row in own} == {(Origin.SELF, number)}
        assert {(row.origin, row.round) for row in told} == {(Origin.TAILORED, number)}
        verdicts = {v.rationale_id: v.value for v in table(tailored, "2_verdicts", f"exam-round{number}", Verdict)}
        assert {verdicts[row.parent] for row in told} == {Judgement.WRONG}
        authors += list({row.author for row in own})
    assert len(set(authors)) == 2
    first, second = (fitted.learner().model.state_dict() for fitted in tailored.fits)
    (trained,) = [path for path, entry in tailored.run.outputs("4_student") if entry.get("name") == "round0"]
    assert all(torch.equal(first[name], value) for name, value in load_weights(talker).model.state_dict().items())
    kept = load_weights(trained / "student").model.state_dict()
    assert all(torch.equal(second[name], value) for name, value in kept.items())


def test_tailored_triplets_are_whole_and_only_anchors_are_learnt(tailored: Any) -> None:
    examples = tailored.fits[0].lesson.train.rows
    own = {row.id for row in table(tailored, "1_rationales", "exam-round0", Rationale)}
    groups: dict[str, list[Example]] = {}
    for example in examples:
        if example.group:
            groups.setdefault(example.group, []).append(example)
    assert groups
    for trio in groups.values():
        assert Counter(e.role for e in trio) == {Role.ANCHOR: 1, Role.POSITIVE: 1, Role.WRONG: 1}
        assert {e.problem_id for e in trio} == {trio[0].problem_id}
    for example in examples:
        prompt, target = len(example.prompt_ids), len(example.target_ids)
        learnt = example.role in (Role.ANCHOR, Role.RIGHT)
        assert example.weights == ((0.1,) * prompt + (1.0,) * target if learnt else (0.0,) * (prompt + target))
        assert (example.rationale_id in own) == (example.role is Role.WRONG)


def test_tailored_text_term_is_the_equation(tailored: Any) -> None:
    fitted = tailored.fits[0]
    model = fitted.learner().model.eval()
    batcher = Batcher(fitted.lesson.train.rows[:9], Layout(rows="packed", micro_tokens=10**6, seq2seq=False, pad_id=0))
    step = batcher.whole()
    batch = batcher.batch(step.micro[0])
    total, valid = 0.0, 0
    for example in batcher.examples:
        ids = [*example.prompt_ids, *example.target_ids]
        chances = logits(load_weights(tailored.student.model).model, ids).log_softmax(-1)
        total += sum(-float(chances[n - 1, ids[n]]) * example.weights[n] for n in range(1, len(ids)))
        valid += len(ids) - 1 if any(example.weights) else 0
    assert fitted.loss(model, batch, step.counts)["text"].item() == pytest.approx(total / valid, rel=1e-4)
    assert len(token_nll(model, batch)) > valid


def test_tail_p10_no_mistakes_no_calls_no_training(
    load_beside: Load, tiny: ModuleType, student: Path, tmp_path: Path
) -> None:
    module = load_beside("sketches/tailored")
    with tiny.tiny_bench(tmp_path, student) as bench:
        solver = module.distil(bench, module.Config())
    assert solver.student == student
    assert not bench.fits
    assert {entry["label"] for _, entry in bench.run.outputs("1_rationales")} == {"teacher", "exam-round0"}


# ------------------------------------------------------------------------------------------------ the whole pipeline


@pytest.mark.parametrize("name", ["kpdd", "tailored"])
def test_a_sketch_runs_as_a_recipe(
    name: str, load_beside: Load, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_beside(f"sketches/{name}")
    monkeypatch.setattr(
        methods,
        "entry_points",
        lambda group: EntryPoints([EntryPoint(f"toy_{name}", module.__name__, methods.ENTRY_POINTS)]),
    )
    if name == "kpdd":
        point = EntryPoint("chain", f"{module.__name__}:Chain", solver_file.ENTRY_POINTS)
        monkeypatch.setattr(solver_file, "entry_points", lambda group: EntryPoints([point]))
    recipe = {
        "name": name,
        "task": {"name": "lab", "train": 24, "test": 6},
        "teacher": {"source": "lab"},
        "sampling": {"n": 2},
        "student": {"model": str(talker)},
        "method": {"name": f"toy_{name}"},
        "train": {"max_steps": 2, "rows": "packed"},
        "exam": {"max_tokens": 16},
        "curate": {"validation": 0.15},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run_recipe(load_recipe(path), tmp_path / "run", Console(file=StringIO()))
    contents = gather(tmp_path / "run")
    assert [arm.name for arm in contents.arms] == [
        module.arm(module.Config())[0],
        module.arm(module.control(module.Config()))[0],
        "untrained",
    ]
    assert len(contents.scores) == 3
    assert contents.funnel
    assert contents.examples
    run = RunFolder.open(tmp_path / "run")
    asked = {r.id: r for file, _ in run.outputs("1_rationales") for r in read_table(file, Rationale)}
    authors = Counter(row.author for row in asked.values())
    assert contents.spend is not None
    assert contents.spend.requests == authors[run.manifest["teacher"]]
    assert len(authors) == {"kpdd": 1, "tailored": 4}[name], "the teacher, and the student of every exam of its own"
