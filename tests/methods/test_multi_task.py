"""MT-CoT, Step-by-step and SCOTT on a tiny bench: which two texts are learnt behind which prompts."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from feints.curate.choice import Chosen
from feints.curate.cutting import cut
from feints.curate.funnel import Funnel
from feints.curate.piles import Piles
from feints.errors import DataError
from feints.evaluate.solver import OneShot
from feints.generate.weights import load_weights
from feints.methods import multi_task
from feints.methods.multi_task import Config
from feints.records import Example, Judgement, Origin, Rationale, Role, Verdict
from feints.tables import read_table


def table(bench: Any, stage: str, label: str, record: type[Any]) -> list[Any]:
    (path,) = [path for path, entry in bench.run.outputs(stage) if entry["label"] == label]
    return read_table(path, record)


@pytest.fixture(scope="module")
def tokenizer(talker: Path) -> Any:
    return load_weights(talker).tokenizer


def learnt(bench: Any, tokenizer: Any) -> list[tuple[Example, str, str]]:
    found = [e for part in ("train", "validation") for e in table(bench, "3_examples", f"tiny-{part}", Example)]
    return [(e, tokenizer.decode(e.prompt_ids), tokenizer.decode(e.target_ids[:-1])) for e in found]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["mt_cot", "step_by_step"])
def test_rationale_and_answer_are_two_tasks(
    variant: Any, tiny: ModuleType, talker: Path, tmp_path: Path, tokenizer: Any
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        solver = multi_task.distil(bench, Config(variant=variant))
    said = {row.id: row.text for row in table(bench, "1_rationales", "teacher", Rationale)}
    verdicts = {v.rationale_id: v.value for v in table(bench, "2_verdicts", "teacher", Verdict)}
    roles = defaultdict(set)
    for example, prompt, target in learnt(bench, tokenizer):
        assert verdicts[example.rationale_id] is Judgement.CORRECT
        gold = bench.by_id[example.problem_id].answer
        if example.role is Role.POSITIVE:
            assert prompt.startswith("[answer]")
            assert target == f"The answer is {gold}."
        else:
            text = said[example.rationale_id]
            assert prompt.startswith("[rationale]")
            assert target == (text if variant == "mt_cot" else cut(text)[0])
        roles[example.group].add(example.role)
    assert set(map(frozenset, roles.values())) == {frozenset({Role.RIGHT, Role.POSITIVE})}
    assert isinstance(solver, OneShot)
    assert solver.prompt == (multi_task.ANSWER if variant == "step_by_step" else multi_task.WHOLE)


@pytest.mark.slow
def test_scott_reads_a_wrong_rationale_and_learns_its_answer(
    tiny: ModuleType, talker: Path, tmp_path: Path, tokenizer: Any
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        multi_task.distil(bench, Config(variant="scott"))
    rows = {row.id: row for name in ("teacher", "corrupted") for row in table(bench, "1_rationales", name, Rationale)}
    verdicts = {
        v.rationale_id: v.value for name in ("teacher", "corrupted") for v in table(bench, "2_verdicts", name, Verdict)
    }
    origins = set()
    for example, prompt, target in learnt(bench, tokenizer):
        row = rows[example.rationale_id]
        if example.role is Role.RIGHT:
            assert prompt.startswith("[correct]")
            assert (target, verdicts[row.id]) == (row.text, Judgement.CORRECT)
        else:
            reasoning, answer = cut(row.text)
            assert prompt.startswith("[counterfactual]")
            assert reasoning in prompt and answer not in prompt
            assert (target, verdicts[row.id]) == (answer, Judgement.WRONG)
            origins.add(row.origin)
    assert origins == {Origin.SAMPLED, Origin.CORRUPTED}
    asked = table(bench, "1_rationales", "corrupted", Rationale)
    sampled = {row.problem_id for row in rows.values() if row.origin is Origin.SAMPLED
               and verdicts[row.id] is Judgement.WRONG}  # fmt: skip
    assert not sampled & {row.problem_id for row in asked}, "natural ones cost nothing, so they come first"
    assert len(asked) <= multi_task.asks(Config(variant="scott"), len(bench.problems) * bench.sampling.n).further


def chosen(bench: Any, right: str, wrong: str) -> Chosen:
    """One right and one wrong text of the first problem."""
    rows = [Rationale(id=text, problem_id=bench.problems.rows[0].id, text=text) for text in (right, wrong)]
    piles = Piles(right=(rows[0],), wrong=(rows[1],), rejected=())
    return Chosen(piles=piles, validation=frozenset(), funnel=Funnel(), dropped=())


def test_a_boxed_answer_is_cut_off_what_is_learnt_or_read(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        boxed = chosen(bench, "2 + 3 = 5.\n\\boxed{5}", "2 + 3 = 6.\n\\boxed{6}")
        reasoning, _ = multi_task.rationale_and_answer(bench, boxed, whole=False)
        _, (whole, answer) = multi_task.scott(bench, boxed)
    assert reasoning.text == "2 + 3 = 5."
    assert (whole.text, answer.text) == ("2 + 3 = 5.\n\\boxed{5}", "\\boxed{6}")
    assert answer.filled == {"wrong": "2 + 3 = 6."}
    for variant, tasks in (("step_by_step", [reasoning, answer]), ("scott", [whole, answer])):
        multi_task.refuse_empty(variant, tasks)


def test_a_task_of_which_no_text_is_left_is_refused(tiny: ModuleType, talker: Path, tmp_path: Path) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        bare = multi_task.rationale_and_answer(bench, chosen(bench, "The answer is 5.", ""), whole=False)
        with pytest.raises(DataError, match=r"step_by_step: .* before its answer"):
            multi_task.refuse_empty("step_by_step", bare)
        _, unsaid = multi_task.scott(bench, chosen(bench, "The answer is 5.", "I think of 6"))
        with pytest.raises(DataError, match=r"scott: .* states an answer"):
            multi_task.refuse_empty("scott", unsaid)


def test_the_control_learns_the_task_that_is_examined() -> None:
    for variant, share in (("mt_cot", 0.0), ("step_by_step", 1.0), ("scott", 0.0)):
        config = Config(variant=variant)  # type: ignore[arg-type]
        control = multi_task.control(config)
        assert control is not None
        assert (control.share, control.variant) == (share, variant)
        assert multi_task.arm(config)[0] == variant
        assert multi_task.arm(control)[0] == f"{variant}_one_task"
    assert multi_task.arm(Config(share=0.1))[0] == "mt_cot_share_0_1"
