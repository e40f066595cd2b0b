"""EDIT on a tiny bench: what is asked, paired, dropped and learnt, stage by stage, profile by profile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from feints.bench.dual import SHOWN
from feints.curate.funnel import FunnelStep
from feints.curate.keysteps import key_steps
from feints.curate.patterns import PATTERNS, confusion, named, read_label
from feints.errors import EmptyPileError
from feints.evaluate.raw_vote import RawVote
from feints.evaluate.settings import ExamSettings
from feints.evaluate.solver import OneShot, load_solver
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request, Sampling
from feints.generate.weights import load_weights
from feints.lab.mistakes import MistakeSettings
from feints.lab.teacher import LabTeacher
from feints.lab.teacher_diagnosis import diagnose
from feints.lab.teacher_settings import LabTeacherSettings
from feints.methods import edit
from feints.records import (
    AnswerKind,
    Dropped,
    Example,
    Judgement,
    Origin,
    Pair,
    Problem,
    Rationale,
    Role,
    Verdict,
)
from feints.runs import read_table
from feints.tasks.bbh import split_each_topic

pytestmark = pytest.mark.slow


def table(bench: Any, stage: str, label: str, record: type[Any]) -> list[Any]:
    (path,) = [path for path, entry in bench.run.outputs(stage) if entry["label"] == label]
    return read_table(path, record)


def labels(bench: Any) -> set[str]:
    return {entry["label"] for _, entry in bench.run.outputs("1_rationales")}


def logits(model: Any, ids: Sequence[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.tensor([list(ids)])).logits[0]


def teacher(**rates: Any) -> ScriptedSource:
    made = LabTeacher(LabTeacherSettings(mistakes=MistakeSettings(regime="slips"), **rates))
    return ScriptedSource.from_responder(made.respond, made.model)


@pytest.fixture(scope="module")
def run(tiny: ModuleType, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Distils with some settings and returns the bench; equal settings of the bench share a run folder."""
    folders: dict[str, Path] = {}

    def distilled(config: edit.Config | None = None, **changed: Any) -> Any:
        known = repr(sorted((name, getattr(value, "settings", value)) for name, value in changed.items()))
        folder = folders.get(known) or folders.setdefault(known, tmp_path_factory.mktemp("edit"))
        with tiny.tiny_bench(folder, talker, **changed) as bench:
            bench.run.start()
            edit.distil(bench, config or edit.Config())
        return bench

    return distilled


@pytest.fixture(scope="module")
def usual(run: Callable[..., Any]) -> Any:
    return run(lora=True)


def stage(bench: Any, name: str) -> list[Example]:
    return table(bench, "3_examples", f"tiny-{name}-train", Example)


# ---------------------------------------------------------------------------------------------------------- chains


def test_every_wrong_rationale_is_mended_and_every_right_one_corrupted(usual: Any) -> None:
    said = {row.id: row for row in table(usual, "1_rationales", "teacher", Rationale)}
    verdicts = {v.rationale_id: v.value for v in table(usual, "2_verdicts", "teacher", Verdict)}
    for label, judged, origin in (
        ("rectified", Judgement.WRONG, Origin.RECTIFIED),
        ("corrupted", Judgement.CORRECT, Origin.CORRUPTED),
    ):
        rows = table(usual, "1_rationales", label, Rationale)
        assert {row.origin for row in rows} == {origin}
        assert Counter(row.parent for row in rows) == {name: 1 for name in said if verdicts[name] is judged}


def test_two_wrong_rationales_of_a_problem_are_mended_by_two_replies(usual: Any) -> None:
    mended = table(usual, "1_rationales", "rectified", Rationale)
    assert max(Counter(row.problem_id for row in mended).values()) > 1, "else nothing is shown here"
    assert len({row.ledger_key for row in mended}) == len(mended)
    assert len({(row.problem_id, row.sample_index) for row in mended}) == len(mended)


def test_pairs_are_right_and_wrong_by_their_verdicts(usual: Any) -> None:
    pairs = table(usual, "3_examples", "tiny-pairs", Pair)
    names = ("teacher", "rectified", "corrupted")
    verdicts = {v.rationale_id: v.value for name in names for v in table(usual, "2_verdicts", name, Verdict)}
    assert {verdicts[pair.right_id] for pair in pairs} == {Judgement.CORRECT}
    assert {verdicts[pair.wrong_id] for pair in pairs} == {Judgement.WRONG}
    assert {(pair.right_origin, pair.wrong_origin) for pair in pairs} == {
        (Origin.SAMPLED, Origin.CORRUPTED),
        (Origin.RECTIFIED, Origin.SAMPLED),
    }


def test_the_contrastive_prompt_shows_pairs_the_run_made(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    prompts: list[str] = []
    lab = teacher()

    def heard(request: Request) -> Any:
        prompts.append(request.messages[-1].content)
        return lab._handler(request)

    with tiny.tiny_bench(tmp_path, talker, teacher=ScriptedSource(heard, lab.identity)) as bench:
        edit.distil(bench, edit.Config())
    contrasts = [text for text in prompts if "fill in a wrong response" in text]
    assert len(contrasts) == len({row.ledger_key for row in table(bench, "1_rationales", "corrupted", Rationale)})
    rows = {row.id: row for name in ("teacher", "rectified") for row in table(bench, "1_rationales", name, Rationale)}
    mended = {(row.text.strip(), rows[row.parent].text.strip()) for row in rows.values() if row.parent}
    for text in contrasts:
        *shown, last = text.split("Question: ")[1:]
        assert len(shown) == SHOWN
        assert last.rstrip().endswith("Wrong response:")
        for part in shown:
            right, wrong = part.partition("Right response:\n")[2].strip().split("\n\nWrong response:\n")
            assert (right, wrong) in mended
            assert part.partition("\n")[0] != last.partition("\n")[0]


def test_failed_mendings_and_corruptions_are_dropped_with_a_reason_and_kept_if_asked(run: Callable[..., Any]) -> None:
    clumsy = teacher(hint_failure=0.4)
    bench = run(teacher=clumsy)
    missed = {v.rationale_id for v in table(bench, "2_verdicts", "rectified", Verdict) if v.value is Judgement.WRONG}
    assert missed
    dropped = {row.item_id: row for row in table(bench, "3_dropped", "tiny-stage1-rows", Dropped)}
    assert {dropped[name].reason for name in missed} == {"wrong, though the answer was given"}
    funnel = table(bench, "3_dropped", "tiny-stage1-funnel", FunnelStep)
    counted = Counter()
    for step in funnel:
        counted.update(dict(zip(step.reasons, step.counts, strict=True)))
    assert counted["wrong, though the answer was given"] == len(missed)
    learnt = {e.rationale_id for e in stage(bench, "stage1")}
    assert not learnt & missed
    everything = run(edit.Config(keep_all=True), teacher=clumsy)
    learnt = {e.rationale_id for name in ("train", "validation")
              for e in table(everything, "3_examples", f"tiny-stage1-{name}", Example)}  # fmt: skip
    assert missed <= learnt
    mended = table(everything, "1_rationales", "rectified", Rationale)
    paired = {pair.right_id for pair in table(everything, "3_examples", "tiny-pairs", Pair)}
    assert {row.id for row in mended} <= paired


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({"sources": "sampled", "first": "right"}, {"teacher"}),
        ({"sources": "sampled"}, {"teacher", "rectified"}),
        ({"first": "right", "second": "none"}, {"teacher"}),
        ({"second": "none"}, {"teacher", "rectified"}),
        ({"first": "marked", "second": "none"}, {"teacher", "rectified", "corrupted"}),
        ({"first": "repeated", "second": "none"}, {"teacher", "repeated"}),
        ({"first": "repeated+rectified", "second": "none"}, {"teacher", "repeated", "rectified"}),
        ({"sources": "rectified"}, {"teacher", "rectified"}),
        ({}, {"teacher", "rectified", "corrupted"}),
        ({"pattern": "logical"}, {"teacher", "rectified", "corrupted", "patterns"}),
    ],
)
def test_nothing_is_asked_that_is_not_needed_and_the_plan_covers_it(
    run: Callable[..., Any], changed: dict[str, Any], asked: set[str]
) -> None:
    config = edit.Config(**changed)
    bench = run(config)
    assert labels(bench) == asked
    tables = {name: table(bench, "1_rationales", name, Rationale) for name in asked}
    further = sum(len(rows) for name, rows in tables.items() if name != "teacher")
    assert further <= edit.further_requests(config, len(tables["teacher"]))
    if asked == {"teacher"}:
        assert edit.further_requests(config, len(tables["teacher"])) == 0


def test_sampled_pairs_are_a_source_of_their_own(run: Callable[..., Any]) -> None:
    bench = run(edit.Config(sources="all"))
    origins = Counter((pair.right_origin, pair.wrong_origin) for pair in table(bench, "3_examples", "tiny-pairs", Pair))
    assert origins[Origin.SAMPLED, Origin.SAMPLED] > 0
    assert len(origins) == 3


def test_with_rectified_chains_repeated_sampling_mends_both_draws(run: Callable[..., Any]) -> None:
    bench = run(edit.Config(first="repeated+rectified", second="none"))
    verdicts = {v.rationale_id: v.value for name in ("teacher", "repeated")
                for v in table(bench, "2_verdicts", name, Verdict)}  # fmt: skip
    mended = table(bench, "1_rationales", "rectified", Rationale)
    assert {row.parent for row in mended} == {name for name, value in verdicts.items() if value is Judgement.WRONG}
    assert len({row.ledger_key for row in mended}) == len(mended)


def test_the_alignment_asked_for_marks_the_key_tokens(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The masks of each are told apart in tests/curate/test_dual.py; the tiny bench's texts hardly tell them apart."""
    asked: list[str] = []
    marks = edit.key_step_examples

    def watched(sides: Any, pairs: Any, how: Any) -> Any:
        asked.append(how.alignment)
        return marks(sides, pairs, how)

    monkeypatch.setattr(edit, "key_step_examples", watched)
    for alignment in ("symmetric", "padded"):
        run(edit.Config(alignment=alignment), lora=True)
    assert set(asked) == {"symmetric", "padded"}


def test_the_second_draw_is_another_one(run: Callable[..., Any]) -> None:
    bench = run(edit.Config(first="repeated", second="none"))
    one, other = (
        {row.ledger_key for row in table(bench, "1_rationales", name, Rationale)} for name in ("teacher", "repeated")
    )
    assert len(one) == len(other)
    assert not one & other


# -------------------------------------------------------------------------------------------------------- training


def test_the_first_stage_learns_right_and_rectified_rationales_whole(usual: Any) -> None:
    origins = {row.id: row.origin for name in ("teacher", "rectified")
               for row in table(usual, "1_rationales", name, Rationale)}  # fmt: skip
    examples = stage(usual, "stage1")
    assert {origins[e.rationale_id] for e in examples} == {Origin.SAMPLED, Origin.RECTIFIED}
    assert all(e.weights == (0.0,) * len(e.prompt_ids) + (1.0,) * len(e.target_ids) for e in examples)


def test_edit_p5_only_key_tokens_of_a_target_are_weighted(usual: Any) -> None:
    pairs: dict[str, dict[Role, Example]] = {}
    for example in stage(usual, "stage2"):
        pairs.setdefault(example.group, {})[example.role] = example
    assert pairs
    for pair in pairs.values():
        right, wrong = pair[Role.RIGHT], pair[Role.WRONG]
        assert right.prompt_ids == wrong.prompt_ids
        masks = key_steps(right.target_ids, wrong.target_ids)
        for side, mask, weight in ((right, masks[0], 1.0), (wrong, masks[1], -0.025)):
            assert side.weights == (*[0.0] * len(side.prompt_ids), *(weight if key else 0.0 for key in mask))


def test_edit_a7_the_answer_in_which_a_pair_differs_is_key(usual: Any) -> None:
    names = ("teacher", "rectified", "corrupted")
    said = {row.id: row.text for name in names for row in table(usual, "1_rationales", name, Rationale)}
    tokenizer = load_weights(usual.student.model).tokenizer
    pairs: dict[str, list[Example]] = {}
    for example in stage(usual, "stage2"):
        pairs.setdefault(example.group, []).append(example)
    for sides in pairs.values():
        assert len({said[side.rationale_id].rpartition("The answer is")[2] for side in sides}) == 2
        assert any(weight for side in sides for weight in side.weights[-_answer_tokens(side, tokenizer) :])


def _answer_tokens(example: Example, tokenizer: Any) -> int:
    """Tokens from the last "answer" of a text to its end."""
    for size in range(1, len(example.target_ids)):
        if "answer is" in tokenizer.decode(example.target_ids[-size:]):
            return size
    raise AssertionError("no answer sentence")


def test_edit_p11_the_second_stage_starts_at_the_merged_first_with_a_fresh_adapter(usual: Any) -> None:
    (first,) = [path for path, entry in usual.run.outputs("4_student") if entry.get("name") == "stage1"]
    ids = usual.fits[1].lesson.train.rows[0].prompt_ids
    started = usual.fits[1].learner().model.eval()
    assert torch.equal(logits(started, ids), logits(load_weights(first / "student").model, ids))
    assert not torch.equal(logits(started, ids), logits(load_weights(usual.student.model).model, ids))
    assert {name.split(".")[-3] for name, p in started.named_parameters() if p.requires_grad} == {"lora_A", "lora_B"}


def test_the_control_sees_the_same_examples_and_steps(run: Callable[..., Any], usual: Any) -> None:
    control = edit.control(edit.Config())
    assert control is not None
    bench = run(control, lora=True)
    assert bench.fits[1].lesson.train.address == usual.fits[1].lesson.train.address
    steps = [read.read_text().count("train") for b in (bench, usual) for read in _metrics(b)]
    assert len(set(steps)) == 1
    assert edit.control(control) is None
    assert edit.control(edit.Config(second="none")) is None


def _metrics(bench: Any) -> list[Path]:
    return [path / "training" / "metrics.jsonl" for path, entry in bench.run.outputs("4_student")
            if entry.get("name") == "stage2"]  # fmt: skip


def test_the_baseline_with_rectified_chains_is_the_first_stage_itself(run: Callable[..., Any], usual: Any) -> None:
    bench = run(edit.Config(second="none"), lora=True)
    students = {str(path) for path, entry in bench.run.outputs("4_student")}
    assert students == {str(path) for path, e in usual.run.outputs("4_student") if e.get("name") == "stage1"}


def test_counterfactual_chains_stand_behind_their_marker(run: Callable[..., Any], talker: Path) -> None:
    bench = run(edit.Config(first="marked", second="none"))
    names = ("teacher", "rectified", "corrupted")
    verdicts = {v.rationale_id: v.value for name in names for v in table(bench, "2_verdicts", name, Verdict)}
    tokenizer = load_weights(talker).tokenizer
    marked = Counter()
    for example in stage(bench, "stage1"):
        is_marked = "counterfactual" in tokenizer.decode(example.prompt_ids)
        assert is_marked == (verdicts[example.rationale_id] is Judgement.WRONG)
        assert set(example.weights[len(example.prompt_ids) :]) == {1.0}
        marked[is_marked] += 1
    assert len(marked) == 2


def test_dpo_reads_whole_texts_and_starts_from_the_first_student(run: Callable[..., Any]) -> None:
    bench = run(edit.Config(second="dpo"))
    examples = bench.fits[1].lesson.train.rows
    assert {weight for e in examples for weight in e.weights[len(e.prompt_ids) :]} == {1.0, -1.0, 0.0}
    control = edit.control(edit.Config(second="dpo"))
    assert control is not None
    assert (control.gamma, control.push, control.second) == (1.0, False, "krsl")
    assert edit.arm(control)[0] != edit.arm(edit.Config(second="dpo"))[0]


def test_the_second_stage_is_gentler_by_a_ratio(run: Callable[..., Any]) -> None:
    bench = run(edit.Config(second_rate=0.5, second_length=2.0))
    first, second = (
        [entry["depends"][5] for _, entry in bench.run.outputs("4_student") if entry.get("name") == name][0]
        for name in ("stage1", "stage2")
    )
    assert second["learning_rate"] == pytest.approx(0.5 * first["learning_rate"])
    assert second["max_steps"] == 2 * first["max_steps"]


# -------------------------------------------------------------------------------------------------------- profiles


def test_the_released_profile_pads_keeps_and_votes_on_raw_text(
    run: Callable[..., Any], tiny: ModuleType, tmp_path: Path, talker: Path
) -> None:
    config = edit.Config(profile="as_released")
    exam = ExamSettings(max_tokens=24, votes=3, temperature=1.0)
    with tiny.tiny_bench(tmp_path, talker, exam=exam) as bench:
        solver = edit.distil(bench, config)
    assert isinstance(solver, RawVote)
    for example in bench.fits[1].lesson.train.rows:
        other = next(e for e in bench.fits[1].lesson.train.rows if e.group == example.group and e.role != example.role)
        texts = [(*e.prompt_ids, *e.target_ids) for e in (example, other)]
        mask = key_steps(*texts, padded_to=1024)[0]
        assert [weight != 0 for weight in example.weights] == mask.tolist()
    (second,) = [entry for _, entry in bench.run.outputs("4_student") if entry.get("name") == "stage2"]
    assert second["depends"][-1][-1] == "unshifted"
    assert edit._loss(bench, edit.Config(), tmp_path)[1][-1] == "shifted"
    answers = solver.solve(tiny.exam_problems(3), seed=0)
    solver.save(tmp_path / "solver")
    assert type(load_solver(tmp_path / "solver")) is RawVote
    assert load_solver(tmp_path / "solver").solve(tiny.exam_problems(3), seed=0) == answers


def test_a_raw_vote_counts_18_and_18_0_as_two_answers(tiny: ModuleType) -> None:
    said = iter(["It is 3. The answer is 3.", "The answer is 18.0", "The answer is 3.00", "The answer is 18.0"])
    source = ScriptedSource(lambda _: next(said), "four")
    shot = OneShot(source, sampling=Sampling(temperature=1.0))
    (problem,) = tiny.exam_problems(1)
    (answer,) = RawVote(shot, 4).solve([problem], seed=0)
    assert answer.text == "The answer is 18.0"


# -------------------------------------------------------------------------------------------------------- patterns


def test_the_labellers_confusion_matrix_is_known_in_the_lab(run: Callable[..., Any], tiny: ModuleType) -> None:
    for error, least in ((0.0, 1.0), (0.3, 0.4)):
        bench = run(edit.Config(pattern="calculation", sources="all"), teacher=teacher(label_error=error))
        replies = table(bench, "1_rationales", "patterns", Rationale)
        wrong = {row.id: row for name in ("teacher", "corrupted")
                 for row in table(bench, "1_rationales", name, Rationale)}  # fmt: skip
        questions = {problem.id: problem.question for problem in bench.problems}
        true = [named(diagnose(questions[r.problem_id], wrong[r.parent].text)) or "other" for r in replies]
        told = [read_label(row.text) for row in replies]
        found = confusion(true, told)
        assert found.total == len(replies)
        assert found.agreed / found.total >= least
        assert (found.agreed == found.total) == (error == 0.0)
        pairs = table(bench, "3_examples", "tiny-pairs", Pair)
        assert {pair.pattern for pair in pairs} == {"calculation"}
    assert set(PATTERNS) >= {name for name in true if "+" not in name}


def test_the_benchmark_prints_the_confusion_matrix(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    path = Path(__file__).parents[2] / "benchmarks/mistake_patterns.py"
    spec = spec_from_file_location("mistake_patterns", path)
    assert spec is not None and spec.loader is not None
    benchmark = module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr("sys.argv", [str(path), "--problems", "6", "--samples", "2", "--error", "0"])
    benchmark.main()
    said = capsys.readouterr().out
    assert "true" in said and "calculation" in said
    agreed, total = re.search(r"(\d+) of (\d+) labels true \(100.0%\)", said).groups()  # type: ignore[union-attr]
    assert int(agreed) == int(total) > 0


def test_students_of_one_pattern_learn_from_equally_many_pairs(run: Callable[..., Any]) -> None:
    sizes = {}
    for pattern in ("logical", "calculation"):
        bench = run(edit.Config(pattern=pattern, sources="all"))
        pairs = table(bench, "3_examples", "tiny-pairs", Pair)
        assert {pair.pattern for pair in pairs} == {pattern}
        sizes[pattern] = Counter((pair.right_origin, pair.wrong_origin) for pair in pairs)
    assert sizes["logical"] == sizes["calculation"]


# ------------------------------------------------------------------------------------------------- data and names


def test_edit_p10_golden_split_of_bbh() -> None:
    sizes = [250] * 24 + [187, 178, 146]
    problems = [
        Problem(
            id=f"{topic}-{number}", question=f"{topic} {number}?", answer="1", answer_kind=AnswerKind.NUMBER,
            task="bbh", split="", topic=str(topic),
        )
        for topic, size in enumerate(sizes)
        for number in range(size)
    ]  # fmt: skip
    counts = Counter(problem.split for problem in split_each_topic(problems, 0.8, seed=0))
    assert counts == {"train": 5207, "test": 1304}


def test_arms_of_different_settings_have_different_names() -> None:
    configs = [
        edit.Config(), edit.Config(push=False), edit.Config(second="dpo"), edit.Config(sources="sampled"),
        edit.Config(beta=0.05), edit.Config(profile="as_released"), edit.Config(pattern="logical"),
        *(edit.Config(first=first, second="none") for first in ("rectified", "right", "marked", "repeated")),
    ]  # fmt: skip
    names = [edit.arm(config)[0] for config in configs]
    assert len(set(names)) == len(configs)
    assert names[:6] == ["edit", "edit_no_push", "edit_dpo", "edit_sampled", "edit_beta_0_05", "edit_as_released"]
    assert edit.arm(edit.Config(first="right", drop_disjoint=True))[0] == "edit_right_drop_disjoint"
    assert all(name.replace("_", "").isalnum() for name in names)


# ------------------------------------------------------------------------------------------------------- user's own


def test_a_users_prompts_stand_in_for_the_methods(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    hint = replace(edit.HINT, template="{question}\n{choices}\n\nThe correct answer is {hint}. Explain why.")
    asked: list[str] = []
    lab = teacher()

    def heard(request: Request) -> Any:
        asked.append(request.messages[-1].content)
        return lab._handler(request)

    with tiny.tiny_bench(
        tmp_path, talker, teacher=ScriptedSource(heard, lab.identity), prompts={edit.HINT.id: hint}
    ) as bench:
        edit.distil(bench, edit.Config(second="none"))
    assert any("Explain why." in text for text in asked)
    assert not any("Hint:" in text for text in asked)


def test_a_teacher_that_is_always_right_still_gives_pairs(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    never = MistakeSettings(regime="slips", logical=0, knowledge=0, calculation=0, misunderstanding=0)
    lab = LabTeacher(LabTeacherSettings(mistakes=never))
    source = ScriptedSource.from_responder(lab.respond, lab.model)
    with tiny.tiny_bench(tmp_path, talker, teacher=source) as bench:
        edit.distil(bench, edit.Config())
        pairs = table(bench, "3_examples", "tiny-pairs", Pair)
        with pytest.raises(EmptyPileError, match="0 examples are left"):
            edit.distil(bench, edit.Config(sources="sampled"))
    assert {pair.wrong_origin for pair in pairs} == {Origin.CORRUPTED}
