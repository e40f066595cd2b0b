"""REDI-P1 to REDI-P8, and its two stages on a tiny bench."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tests.methods.edit_bench import table
from torch import Tensor

from feints.curate.choice import Chosen
from feints.curate.funnel import Funnel
from feints.curate.piles import Piles, sort_piles
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.generate.weights import load_weights
from feints.methods import redi
from feints.records import AnswerKind, Example, Finish, Judgement, Problem, Rationale, Role, Verdict
from feints.runs import Stored
from feints.train.batch import Batcher
from feints.train.rows import Layout

Value = tuple[float, Tensor]
WORDS = 11


class Table(torch.nn.Module):
    """A network whose nats are read off one table per text, so that both sides share no parameter."""

    def __init__(self, examples: list[Example], seed: int = 0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.logits = torch.nn.ParameterDict(
            {e.id: torch.nn.Parameter(torch.randn(len(e.target_ids), WORDS, generator=draw)) for e in examples}
        )

    def nats(self, batch: Any) -> Tensor:
        found = [
            torch.nn.functional.cross_entropy(self.logits[e.id], torch.tensor(e.target_ids), reduction="none")
            for e in batch.examples
        ]
        return torch.cat(found)


@pytest.fixture(autouse=True)
def nats_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    real = redi.token_nll

    def token_nll(model: Any, batch: Any) -> Tensor:
        return model.nats(batch) if isinstance(model, Table) else real(model, batch)

    monkeypatch.setattr(redi, "token_nll", token_nll)


def example(name: str, group: str, role: Role, target: tuple[int, ...]) -> Example:
    weights = (0.0,) * 2 + ((-1.0 if role is Role.WRONG else 1.0),) * len(target)
    return Example(
        id=name,
        problem_id=group,
        rationale_id=name,
        prompt_ids=(1, 2),
        target_ids=target,
        weights=weights,
        tokenizer_hash="",
        group=group,
        role=role,
    )


def pairs(count: int = 4, seed: int = 0) -> list[Example]:
    draw = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        for role in (Role.RIGHT, Role.WRONG):
            length = int(torch.randint(2, 9, (1,), generator=draw))
            target = tuple(torch.randint(0, WORDS, (length,), generator=draw).tolist())
            made.append(example(f"{number}{role}", f"p{number}", role, target))
    return made


def value(model: Table, examples: list[Example], loss: Any, micro: int = 10_000, rows: Any = "padded") -> Value:
    batcher = Batcher(examples, Layout(rows=rows, micro_tokens=micro, seq2seq=False, pad_id=0))
    step = batcher.whole()
    model.zero_grad()
    total = 0.0
    for numbers in step.micro:
        part = sum(loss(model, batcher.batch(numbers), step.counts).values(), torch.zeros(()))
        part.backward()
        total += part.item()
    zeros = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return total, torch.cat([gradient.flatten() for gradient in zeros])


def means(model: Table, examples: list[Example], role: Role) -> float:
    with torch.no_grad():
        found = [
            torch.nn.functional.cross_entropy(model.logits[e.id], torch.tensor(e.target_ids)).item()
            for e in examples
            if e.role is role
        ]
    return sum(found) / len(found)


def close(first: Value, second: Value) -> None:
    assert first[0] == pytest.approx(second[0], abs=1e-6)
    torch.testing.assert_close(first[1], second[1], rtol=1e-5, atol=1e-7)


def test_redi_p1_alpha_zero_is_length_normalised_imitation_of_the_right_side() -> None:
    """REDI-P1: loss and gradient, and none on the wrong side."""
    examples = pairs()
    model = Table(examples)
    found = value(model, examples, redi.redi_loss(0.0))
    assert found[0] == pytest.approx(means(model, examples, Role.RIGHT), abs=1e-6)
    wrong = [e.id for e in examples if e.role is Role.WRONG]
    assert all(model.logits[name].grad is None or not model.logits[name].grad.any() for name in wrong)
    model.zero_grad()
    right = [e for e in examples if e.role is Role.RIGHT]
    naive = sum(torch.nn.functional.cross_entropy(model.logits[e.id], torch.tensor(e.target_ids)) for e in right) / 4
    naive.backward()
    for e in right:
        gradient = model.logits[e.id].grad
        assert gradient is not None and gradient.any()
        start = sum(model.logits[o.id].numel() for o in examples[: examples.index(e)])
        torch.testing.assert_close(found[1][start : start + gradient.numel()], gradient.flatten())


def test_redi_p2_exchanged_sides_flip_the_sign_at_alpha_one() -> None:
    """REDI-P2."""
    examples = pairs()
    turned = [replace(e, role=Role.WRONG if e.role is Role.RIGHT else Role.RIGHT) for e in examples]
    model = Table(examples)
    first, second = value(model, examples, redi.redi_loss(1.0)), value(model, turned, redi.redi_loss(1.0))
    assert first[0] == -second[0] != 0
    assert torch.equal(first[1], -second[1])


def test_redi_p3_golden_a_pair_worked_out_by_hand() -> None:
    """REDI-P3: 1 + 0.8 * (-2)."""
    two = [example("r", "p", Role.RIGHT, (0,) * 4), example("w", "p", Role.WRONG, (0,) * 3)]
    model = Table(two)
    with torch.no_grad():
        for name, nats in (("r", 1.0), ("w", 2.0)):
            model.logits[name].fill_(math.log((1 - math.exp(-nats)) / (WORDS - 1)))
            model.logits[name][:, 0] = -nats
    assert value(model, two, redi.redi_loss(0.8))[0] == pytest.approx(-0.6, abs=1e-6)


def test_redi_p4_identical_sides_scale_imitation_by_one_minus_alpha(make_student: Any, make_examples: Any) -> None:
    """REDI-P4: loss and gradient."""
    student = make_student("llama")
    plain = [replace(e, group=e.id, role=Role.RIGHT) for e in make_examples(student, count=4)]
    both = [side for e in plain for side in (e, replace(e, id=e.id + "w", role=Role.WRONG))]
    found, imitated = (value(student.model, rows, redi.redi_loss(alpha)) for rows, alpha in ((both, 0.8), (both, 0.0)))
    assert found[0] == pytest.approx(0.2 * imitated[0], rel=1e-5)
    torch.testing.assert_close(found[1], 0.2 * imitated[1], rtol=1e-3, atol=1e-5)


def test_redi_p5_doubled_texts_of_equal_nll_leave_the_loss() -> None:
    """REDI-P5."""
    examples = pairs()
    model = Table(examples)
    doubled = [replace(e, target_ids=e.target_ids * 2, weights=e.weights + e.weights[2:]) for e in examples]
    twice = Table(doubled)
    with torch.no_grad():
        for e in examples:
            twice.logits[e.id].copy_(model.logits[e.id].repeat(2, 1))
    assert value(model, examples, redi.redi_loss(0.8))[0] == pytest.approx(
        value(twice, doubled, redi.redi_loss(0.8))[0], abs=1e-6
    )


@pytest.mark.parametrize("rows", ["padded", "packed"])
def test_redi_p6_micro_batches_padding_and_order_leave_the_gradient(
    rows: str, make_student: Any, make_examples: Any
) -> None:
    """REDI-P6."""
    student = make_student("llama")
    examples = make_examples(student, count=10, pairs=True)
    loss = redi.redi_loss(0.8)
    whole = value(student.model, examples, loss)
    for micro, order in ((1, examples), (60, examples), (60, examples[::-1])):
        found = value(student.model, order, loss, micro, rows)
        assert found[0] == pytest.approx(whole[0], abs=1e-5)
        torch.testing.assert_close(found[1], whole[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("family", ["llama", "gpt2", "t5"])
@pytest.mark.parametrize("bound", [math.inf, 4.5])
def test_redi_is_its_equation_however_a_step_is_cut(
    family: str,
    bound: float,
    make_student: Any,
    make_examples: Any,
    step_gradients: Any,
    naive_gradients: Any,
    assert_same: Any,
) -> None:
    student = make_student(family)
    examples = make_examples(student, count=6, pairs=True)

    def twin(texts: list[tuple[Tensor, Tensor, Example]]) -> Tensor:
        """Section 12.2, one text at a time."""
        total = torch.zeros(())
        for logps, _, e in texts:
            nats = -logps[-len(e.target_ids) :]
            wrong = e.role is Role.WRONG
            nats = torch.where(nats < bound, nats, 0.0) if wrong else nats
            total = total + (-0.8 if wrong else 1.0) * nats.sum() / len(e.target_ids) / 3
        return total

    expected = naive_gradients(student, examples, twin)
    for rows, micro in [("padded", 40), ("padded", 9999)] + ([] if family == "t5" else [("packed", 40)]):
        assert_same(step_gradients(student, examples, redi.redi_loss(0.8, bound), rows=rows, micro=micro), expected)


@pytest.mark.parametrize("alpha", [0.0, 0.8])
def test_redi_p7_a_small_step_lowers_the_right_side_and_raises_the_wrong_one(alpha: float) -> None:
    """REDI-P7: the wrong side only at alpha above 0."""
    examples = pairs()
    model = Table(examples)
    before = {role: means(model, examples, role) for role in (Role.RIGHT, Role.WRONG)}
    value(model, examples, redi.redi_loss(alpha))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.01 * (0 if parameter.grad is None else parameter.grad)
    assert means(model, examples, Role.RIGHT) < before[Role.RIGHT]
    if alpha:
        assert means(model, examples, Role.WRONG) > before[Role.WRONG]
    else:
        assert means(model, examples, Role.WRONG) == before[Role.WRONG]


def test_redi_p8_beyond_the_bound_a_wrong_token_counts_nothing() -> None:
    """REDI-P8: without a bound it is the formula; a token exactly at the bound is beyond it."""
    examples = pairs()
    model = Table(examples)
    unbounded = means(model, examples, Role.RIGHT) - 0.8 * means(model, examples, Role.WRONG)
    assert value(model, examples, redi.redi_loss(0.8))[0] == pytest.approx(unbounded, abs=1e-6)
    wrong = {e.id: model.nats(SimpleNamespace(examples=[e])).detach() for e in examples if e.role is Role.WRONG}
    for bound in (2.5, float(torch.cat(list(wrong.values())).median())):
        total = means(model, examples, Role.RIGHT)
        total -= 0.8 * sum(float(nats[nats < bound].sum()) / len(nats) / 4 for nats in wrong.values())
        assert value(model, examples, redi.redi_loss(0.8, bound))[0] == pytest.approx(total, abs=1e-6)
        for name, nats in wrong.items():
            gradient = model.logits[name].grad
            assert gradient is not None
            assert torch.equal(gradient.any(1), nats < bound)
        assert any(bool((nats >= bound).any()) for nats in wrong.values())
    assert any(bool((nats == bound).any()) for nats in wrong.values()), "the last bound is the nll of a token"


# --------------------------------------------------------------------------------------------------- pairs, stages


def rationale(name: str, problem: str, at: int, text: str = "t") -> Rationale:
    return Rationale(id=name, problem_id=problem, text=text, sample_index=at)


def test_pairs_are_the_first_of_each_kind_and_doubtful_ones_only_as_released() -> None:
    right = (rationale("r1", "a", 1), rationale("r0", "a", 0), rationale("r2", "b", 0), rationale("r3", "c", 0))
    wrong = (rationale("w3", "a", 3), rationale("w2", "a", 2))
    chosen = Chosen(
        piles=Piles(right=right, wrong=wrong, rejected=()), validation=frozenset(), funnel=Funnel(), dropped=()
    )
    assert [(r.id, w.id) for r, w in redi.first_pairs(chosen)] == [("r0", "w2")]
    doubtful = [rationale("d1", "a", 1), rationale("d0", "b", 0)]
    assert [(r.id, w.id) for r, w in redi.first_pairs(chosen, doubtful)] == [("r0", "d1"), ("r2", "d0")]


def test_as_released_whatever_is_not_right_may_be_a_negative() -> None:
    rows = tuple(rationale(name, "p", at) for at, name in enumerate("abcde"))
    values = (Judgement.CORRECT, Judgement.WRONG, Judgement.NO_ANSWER, Judgement.NOT_CHECKED, Judgement.NOT_CHECKED)
    verdicts = tuple(
        Verdict(rationale_id=row.id, value=v, lenient=v, extracted=None, checker="", reason="")
        for row, v in zip(rows, values, strict=True)
    )
    said = Stored((*rows[:4], replace(rows[4], text=" ")), "", Path())
    assert [row.id for row in redi.not_right(said, Stored(verdicts, "", Path()))] == ["c", "d"]


def test_as_released_what_sorting_rejects_may_be_a_negative_unless_it_is_right() -> None:
    text = "The answer is 12"
    ends = {"refused": Finish.REFUSAL, "cut": Finish.LENGTH, "whole": Finish.STOP}
    rows, verdicts = [], []
    for value in (Judgement.CORRECT, Judgement.WRONG):
        for at, (name, finish) in enumerate(ends.items()):
            rows.append(replace(rationale(f"{name} {value}", "p", at, text), finish=finish))
            verdicts.append(
                Verdict(rationale_id=rows[-1].id, value=value, lenient=value, extracted="12", checker="", reason="")
            )
    found = redi.not_right(Stored(tuple(rows), "", Path()), Stored(tuple(verdicts), "", Path()))
    problem = Problem(id="p", question="?", answer="12", answer_kind=AnswerKind.NUMBER, task="t", split="train")
    rejected = {row.item_id for row in sort_piles([problem], rows, verdicts).rejected}
    assert {row.id for row in found} == {name for name in rejected if "correct" not in name}
    assert len(rejected) == 4 and len(found) == 2, "what both would call right is no negative, cut or not"


@pytest.mark.slow
def test_stage_two_goes_on_from_stage_one_at_a_fiftieth_of_the_rate(
    tiny: ModuleType, talker: Path, tmp_path: Path, load_beside: Callable[[str], ModuleType]
) -> None:

    with tiny.tiny_bench(tmp_path, talker) as bench:
        redi.distil(bench, redi.Config())
        redi.distil(bench, redi.Config(alpha=0.0))
        redi.distil(bench, redi.Config(profile="as_released"))
    stages = {path.name: (path, entry) for path, entry in bench.run.outputs("4_student")}
    (first,) = [path for path, entry in stages.values() if entry["name"] == "stage1"]
    started = bench.fits[1].learner().model.state_dict()
    kept = load_weights(first / "student").model.state_dict()
    assert all(torch.equal(started[name], tensor) for name, tensor in kept.items())
    assert bench.fits[1].lesson.train.address == bench.fits[3].lesson.train.address, "the control has the same pairs"
    assert any("of" in notice and "not surely wrong" in notice for notice in bench.notices)
    rates = [
        entry["depends"][5]["learning_rate"] for _, entry in stages.values() if entry["name"] in ("stage1", "stage2")
    ]
    assert sorted({round(rate / max(rates), 6) for rate in rates}) == [0.02, 1.0]
    taught = [example.problem_id for example in bench.fits[0].lesson.train]
    assert len(taught) == len(set(taught)), "of each problem the first right one"
    seconds = [entry["depends"][5] for _, entry in stages.values() if entry["name"] == "stage2"]
    assert {(how["epochs"], how["max_steps"]) for how in seconds} == {(1, None)}, (
        "stage 2 is one pass, whatever stage 1"
    )


@pytest.mark.slow
def test_as_released_stage_two_also_pushes_what_is_not_surely_wrong(
    tiny: ModuleType, talker: Path, tmp_path: Path
) -> None:
    with tiny.tiny_bench(tmp_path, talker) as bench:
        sure = bench.teacher._handler

        def hesitant(request: Request) -> Any:
            return "I am not sure." if request.sample_index % 2 else sure(request)

        hesitating = replace(bench, teacher=ScriptedSource(hesitant, "hesitant"))
        for profile in ("clean", "as_released"):
            redi.distil(hesitating, redi.Config(profile=profile))
    said = {row.id: row.text for row in table(bench, "1_rationales", "teacher", Rationale)}
    clean, released = (
        {said[example.rationale_id] for example in fitted.lesson.train if example.role is Role.WRONG}
        for fitted in bench.fits[1::2]
    )
    assert "I am not sure." in released - clean
    assert len(clean) > 1, "else every clean pair is gone as well"
