"""EDIT on a tiny bench: what is asked, paired, dropped, marked and labelled, and what the plan counts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.methods.edit_bench import Edited, stage, table

from feints.bench.dual import SHOWN
from feints.curate.funnel import FunnelStep
from feints.curate.patterns import PATTERNS, confusion, named, read_label
from feints.errors import EmptyPileError
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.generate.weights import load_weights
from feints.lab.mistakes import MistakeSettings
from feints.lab.teacher import LabTeacher
from feints.lab.teacher_diagnosis import diagnose
from feints.lab.teacher_settings import LabTeacherSettings
from feints.methods import edit
from feints.records import AnswerKind, Dropped, Example, Judgement, Origin, Pair, Problem, Rationale, Verdict
from feints.tasks.bbh import split_each_topic

pytestmark = pytest.mark.slow


def labels(bench: Any) -> set[str]:
    return {entry["label"] for _, entry in bench.run.outputs("1_rationales")}


def teacher(**rates: Any) -> ScriptedSource:
    made = LabTeacher(LabTeacherSettings(mistakes=MistakeSettings(regime="slips"), **rates))
    return ScriptedSource.from_responder(made.respond, made.model)


@pytest.fixture(scope="module")
def usual(edited: Edited) -> Any:
    return edited()


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


def test_failed_mendings_and_corruptions_are_dropped_with_a_reason_and_kept_if_asked(edited: Edited) -> None:
    clumsy = teacher(hint_failure=0.4)
    bench = edited(teacher=clumsy)
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
    everything = edited(edit.Config(keep_all=True), teacher=clumsy)
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
    edited: Edited, changed: dict[str, Any], asked: set[str]
) -> None:
    config = edit.Config(**changed)
    bench = edited(config)
    assert labels(bench) == asked
    tables = {name: table(bench, "1_rationales", name, Rationale) for name in asked}
    further = sum(len(rows) for name, rows in tables.items() if name != "teacher")
    assert further <= edit.asks(config, len(tables["teacher"])).further
    if asked == {"teacher"}:
        assert edit.asks(config, len(tables["teacher"])).further == 0


def test_sampled_pairs_are_a_source_of_their_own(edited: Edited) -> None:
    bench = edited(edit.Config(sources="all"))
    origins = Counter((pair.right_origin, pair.wrong_origin) for pair in table(bench, "3_examples", "tiny-pairs", Pair))
    assert origins[Origin.SAMPLED, Origin.SAMPLED] > 0
    assert len(origins) == 3


def test_with_rectified_chains_repeated_sampling_mends_both_draws(edited: Edited) -> None:
    bench = edited(edit.Config(first="repeated+rectified", second="none"))
    verdicts = {v.rationale_id: v.value for name in ("teacher", "repeated")
                for v in table(bench, "2_verdicts", name, Verdict)}  # fmt: skip
    mended = table(bench, "1_rationales", "rectified", Rationale)
    assert {row.parent for row in mended} == {name for name, value in verdicts.items() if value is Judgement.WRONG}
    assert len({row.ledger_key for row in mended}) == len(mended)


def test_the_second_draw_is_another_one(edited: Edited) -> None:
    bench = edited(edit.Config(first="repeated", second="none"))
    one, other = (
        {row.ledger_key for row in table(bench, "1_rationales", name, Rationale)} for name in ("teacher", "repeated")
    )
    assert len(one) == len(other)
    assert not one & other


def test_counterfactual_chains_stand_behind_their_marker(edited: Edited, talker: Path) -> None:
    bench = edited(edit.Config(first="marked", second="none"))
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


# -------------------------------------------------------------------------------------------------------- patterns


def test_the_labellers_confusion_matrix_is_known_in_the_lab(edited: Edited, tiny: ModuleType) -> None:
    for error, least in ((0.0, 1.0), (0.3, 0.4)):
        bench = edited(edit.Config(pattern="calculation", sources="all"), teacher=teacher(label_error=error))
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


def test_students_of_one_pattern_learn_from_equally_many_pairs(edited: Edited) -> None:
    sizes = {}
    for pattern in ("logical", "calculation"):
        bench = edited(edit.Config(pattern=pattern, sources="all"))
        pairs = table(bench, "3_examples", "tiny-pairs", Pair)
        assert {pair.pattern for pair in pairs} == {pattern}
        sizes[pattern] = Counter((pair.right_origin, pair.wrong_origin) for pair in pairs)
    assert sizes["logical"] == sizes["calculation"]


# ------------------------------------------------------------------------------------------------------------- bbh


def test_edit_p10_golden_split_of_bbh() -> None:
    """EDIT-P10."""
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


# ------------------------------------------------------------------------------------------------------ user's own


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
