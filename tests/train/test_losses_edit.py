"""Key-reasoning-step learning and DPO against naive twins, and EDIT's numeric properties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from feints.curate.keysteps import key_steps
from feints.records import Example, Role
from feints.train.batch import Batcher
from feints.train.losses import token_nll, weighted_nll
from feints.train.losses_edit import dpo, krsl, two_tasks
from feints.train.rows import Layout

CASES = [("llama", "packed"), ("llama", "padded"), ("gpt2", "packed"), ("t5", "padded")]
ALPHA, BETA = 1.0, 0.5


def weighted(examples: list[Example], alpha: float = ALPHA, beta: float = BETA, gamma: float = 0.0) -> list[Example]:
    """Pairs whose every other target token is a key token."""
    found = []
    for example in examples:
        key, other = (-beta, 0.0) if example.role is Role.WRONG else (alpha, gamma)
        target = [key if place % 2 else other for place in range(len(example.target_ids))]
        found.append(replace(example, weights=(*[0.0] * len(example.prompt_ids), *target)))
    return found


def naive(rows: list[Any], tau: float, divisor: str) -> torch.Tensor:
    """The equation, text by text, with the weights as they stand (a wrong one is negative)."""
    total = torch.zeros(())
    for logps, weights, example in rows:
        size = {"target_tokens": len(example.target_ids), "sum": 1, "per_key_token": int((weights != 0).sum())}
        kept = (-logps < tau) | torch.tensor(example.role is not Role.WRONG)
        total = total + (weights * -logps * kept).sum() / max(1, size[divisor])
    return total / (len(rows) / 2)


@pytest.fixture
def pairs(make_examples: Any) -> Any:
    return lambda student, **how: weighted(make_examples(student, 8, pairs=True), **how)


@pytest.mark.parametrize("divisor", ["target_tokens", "per_key_token", "sum"])
@pytest.mark.parametrize(("family", "rows"), CASES)
def test_krsl_equals_its_naive_loop(
    family: str, rows: str, divisor: Any, make_student: Any, pairs: Any, step_gradients: Any, naive_gradients: Any,
    assert_same: Any,
) -> None:  # fmt: skip
    student = make_student(family)
    examples = pairs(student, gamma=0.2)
    tau = 4.5  # random students give about ln 97 = 4.6 nats a token, so this one lets some be
    expected = naive_gradients(student, examples, lambda found: naive(found, tau, divisor))
    assert_same(step_gradients(student, examples, krsl(tau, divisor), rows=rows, micro=40), expected)


def test_pairs_go_through_one_forward_pass(make_student: Any, pairs: Any) -> None:
    student = make_student()
    batcher = Batcher(pairs(student), Layout(rows="packed", micro_tokens=10_000, seq2seq=False, pad_id=0))
    step, calls = batcher.whole(), []
    krsl()(student.model, batcher.batch(step.micro[0]), step.counts)  # the head is measured at the first call
    handle = student.model.model.register_forward_hook(lambda *_: calls.append(1))
    krsl()(student.model, batcher.batch(step.micro[0]), step.counts)
    handle.remove()
    assert len(step.micro) == len(calls) == 1


@pytest.mark.parametrize("rows", ["padded", "packed"])
def test_edit_p5_neither_padding_nor_prompt_is_weighted(rows: Any, make_student: Any, pairs: Any) -> None:
    """EDIT-P5: in a batch."""
    examples = pairs(make_student(), gamma=0.2)
    batcher = Batcher(examples, Layout(rows=rows, micro_tokens=10_000, seq2seq=False, pad_id=0))
    batch = batcher.batch(batcher.whole().micro[0])
    assert batch.inputs["input_ids"].eq(0).any() == (rows == "padded")
    learnt = [example.target_ids for example in batch.examples]
    assert batch.target_ids.tolist() == [token for target in learnt for token in target]
    given = [example.weights[len(example.prompt_ids) :] for example in batch.examples]
    assert batch.weights.tolist() == pytest.approx([weight for own in given for weight in own])


class Fixed(torch.nn.Module):
    """Gives tokens the nats it is told, so that a loss can be worked out by hand."""

    def __init__(self, nats: list[float]) -> None:
        super().__init__()
        self.nats = torch.nn.Parameter(torch.tensor(nats))


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch, make_student: Any) -> Any:
    """Value and gradient per token of a loss on one pair whose nats and weights are given."""
    student = make_student()

    def work(loss: Any, right: tuple[list[float], list[float]], wrong: tuple[list[float], list[float]]) -> Any:
        model = Fixed([*right[0], *wrong[0]])
        monkeypatch.setattr("feints.train.losses_edit.token_nll", lambda model, batch: model.nats)
        examples = [
            Example(
                id=role, problem_id="p", rationale_id=role, prompt_ids=(5,), target_ids=(6,) * len(nats), group="pair",
                weights=(0.0, *weights), tokenizer_hash=student.renderer.tokenizer_hash, role=role,
            )
            for role, (nats, weights) in ((Role.RIGHT, right), (Role.WRONG, wrong))
        ]  # fmt: skip
        batcher = Batcher(examples, Layout(rows="packed", micro_tokens=99, seq2seq=False, pad_id=0))
        step = batcher.whole()
        value = sum(loss(model, batcher.batch(step.micro[0]), step.counts).values())
        value.backward()
        return value.item(), model.nats.grad

    return work


RIGHT = ([0.5, 1.0, 2.0, 0.25], [0.0, 1.0, 1.0, 0.0])
WRONG = ([1.0, 3.0, 1.0], [0.0, -0.025, 0.0])


def test_edit_p6_golden_value(by_hand: Any) -> None:
    """EDIT-P6."""
    value, gradient = by_hand(krsl(), RIGHT, WRONG)
    assert value == pytest.approx(0.725)
    assert torch.allclose(gradient, torch.tensor([0, 0.25, 0.25, 0, 0, -0.025 / 3, 0]))
    assert by_hand(krsl(divisor="sum"), RIGHT, WRONG)[0] == pytest.approx(3.0 - 0.075)
    assert by_hand(krsl(divisor="per_key_token"), RIGHT, WRONG)[0] == pytest.approx(1.5 - 0.075)


def test_edit_p8_an_improbable_wrong_token_contributes_nothing(by_hand: Any) -> None:
    """EDIT-P8: a wrong-side token at or above tau contributes exactly 0."""
    for nats in (20.0, 25.0):
        value, gradient = by_hand(krsl(tau=20.0), RIGHT, ([1.0, nats, 1.0], WRONG[1]))
        assert value == 0.75
        assert gradient[4:].eq(0).all()
    assert by_hand(krsl(tau=20.0), RIGHT, ([1.0, 19.9, 1.0], WRONG[1]))[0] < 0.75 - 0.1
    right_only = by_hand(krsl(tau=0.1), RIGHT, WRONG)
    assert right_only[0] == pytest.approx(0.75), "the bound is for wrong tokens alone"


@pytest.mark.parametrize("divisor", ["target_tokens", "per_key_token", "sum"])
def test_edit_p1_nothing_to_tell_apart_is_no_loss_and_no_gradient(by_hand: Any, divisor: Any) -> None:
    """EDIT-P1: the masks of identical texts, taken as weights."""
    right, wrong = (mask.astype(float).tolist() for mask in key_steps("abcE", "abcE"))
    value, gradient = by_hand(krsl(divisor=divisor), (RIGHT[0], right), (RIGHT[0], wrong))
    assert value == 0
    assert gradient.eq(0).all()


@pytest.mark.parametrize("how", ["beta", "push"])
def test_edit_p7_without_a_push_wrong_logits_get_no_gradient(by_hand: Any, how: str) -> None:
    """EDIT-P7: at beta 0 the gradient does not depend on the wrong side."""
    weights = WRONG[1] if how == "push" else [0.0, 0.0, 0.0]
    value, gradient = by_hand(krsl(push=how != "push"), RIGHT, (WRONG[0], weights))
    assert value == pytest.approx(0.75)
    assert gradient[4:].eq(0).all()
    assert gradient[:4].ne(0).any()
    for others in ([9.0, 0.1, 30.0], [0.0, 19.0, 2.0]):
        assert torch.equal(by_hand(krsl(push=how != "push"), RIGHT, (others, weights))[1], gradient)


@pytest.mark.parametrize(("alpha", "beta", "role", "sign"), [(1.0, 0.0, Role.RIGHT, -1), (0.0, 1.0, Role.WRONG, 1)])
def test_edit_p7_a_small_step_moves_key_tokens_as_it_should(
    alpha: float, beta: float, role: Role, sign: int, make_student: Any, pairs: Any
) -> None:
    """EDIT-P7: at (1, 0) nll falls on key tokens of the right side, at (0, beta) it rises on those of the wrong one."""
    student = make_student()
    examples = pairs(student, alpha=alpha, beta=beta)
    batcher = Batcher(examples, Layout(rows="packed", micro_tokens=10_000, seq2seq=False, pad_id=0))
    step = batcher.whole()
    batch = batcher.batch(step.micro[0])

    def key_nats() -> float:
        with torch.no_grad():
            nats = token_nll(student.model, batch)
        return float(nats[batch.role_mask(role)[batch.example_index] & (batch.weights != 0)].mean())

    before = key_nats()
    sum(krsl()(student.model, batch, step.counts).values()).backward()
    with torch.no_grad():
        for parameter in student.model.parameters():
            parameter -= 1e-3 * parameter.grad
    assert (key_nats() - before) * sign > 1e-4


def test_edit_p9_all_right_tokens_and_no_push_is_imitation_text_by_text(
    make_student: Any, make_examples: Any, naive_gradients: Any, step_gradients: Any, assert_same: Any
) -> None:
    """EDIT-P9: whether beta 0 stands in the weights or in the loss, which leaves the push out."""
    student = make_student()
    examples, pushed = (weighted(make_examples(student, 8, pairs=True), 1.0, beta, gamma=1.0) for beta in (0.0, 0.5))

    def imitation(rows: list[Any]) -> torch.Tensor:
        right = [-logps[-len(e.target_ids) :].mean() for logps, _, e in rows if e.role is Role.RIGHT]
        return torch.stack(right).mean()

    expected = naive_gradients(student, examples, imitation)
    assert_same(step_gradients(student, examples, krsl(), micro=40), expected)
    assert_same(step_gradients(student, pushed, krsl(push=False), micro=40), expected)
    alike = [replace(e, target_ids=e.target_ids[-1:] * 3, weights=(*e.weights[: len(e.prompt_ids)], 1.0, 1.0, 1.0))
             for e in examples if e.role is Role.RIGHT]  # fmt: skip
    assert_same(step_gradients(student, alike, krsl()), step_gradients(student, alike, weighted_nll()))


def test_the_released_bound_reads_the_place_behind(make_student: Any, pairs: Any) -> None:
    student = make_student()
    examples = pairs(student)
    batcher = Batcher(examples, Layout(rows="packed", micro_tokens=10_000, seq2seq=False, pad_id=0))
    step, tau = batcher.whole(), 4.5
    batch = batcher.batch(step.micro[0])
    found = krsl(tau, bound="unshifted")(student.model, batch, step.counts)["wrong"].item()
    expected, moved = 0.0, 0
    for example in batch.examples:
        if example.role is not Role.WRONG:
            continue
        ids = torch.tensor([[*example.prompt_ids, *example.target_ids]])
        chances = student.model(input_ids=ids).logits[0].log_softmax(-1)
        for place in range(len(example.prompt_ids), ids.shape[1]):
            token = ids[0, place]
            nats, behind = -chances[place - 1, token].item(), -chances[place, token].item()
            moved += (nats < tau) != (behind < tau)
            expected += example.weights[place] * nats * (behind < tau) / len(example.target_ids)
    assert moved
    assert found == pytest.approx(expected / step.counts.groups, rel=1e-4)
    assert len(batch.observed[id(student.model)]) == len(batch.target_ids)


@pytest.mark.parametrize(("family", "rows"), CASES)
def test_dpo_equals_its_naive_loop(
    family: str, rows: str, make_student: Any, pairs: Any, step_gradients: Any, naive_gradients: Any, assert_same: Any
) -> None:
    student, reference = make_student(family), make_student(family)
    with torch.no_grad():
        for parameter in reference.model.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    examples = pairs(student)
    frozen: list[torch.Tensor] = []

    def keep(found: list[Any]) -> torch.Tensor:
        frozen.extend(logps[-len(e.target_ids) :].sum().detach() for logps, _, e in found)
        return sum(logps.sum() for logps, *_ in found)

    naive_gradients(reference, examples, keep)
    reference.model.zero_grad()

    def preference(found: list[Any]) -> torch.Tensor:
        gains = [logps[-len(e.target_ids) :].sum() - r for (logps, _, e), r in zip(found, frozen, strict=True)]
        margins = torch.stack([gains[n] - gains[n + 1] for n in range(0, len(gains), 2)])
        return torch.log1p(torch.exp(-0.3 * margins)).mean()

    expected = naive_gradients(student, examples, preference)
    assert_same(step_gradients(student, examples, dpo(lambda: reference.model, 0.3), rows=rows, micro=40), expected)
    assert all(parameter.grad is None for parameter in reference.model.parameters())


def test_dpo_starts_at_ln_2_and_its_reference_is_loaded_once(make_student: Any, pairs: Any) -> None:
    student, made = make_student(), []
    batcher = Batcher(pairs(student), Layout(rows="packed", micro_tokens=10_000, seq2seq=False, pad_id=0))
    step = batcher.whole()
    loss = dpo(lambda: made.append(1) or make_student().model)
    for _ in range(2):
        value = loss(student.model, batcher.batch(step.micro[0]), step.counts)["preference"].item()
        assert value == pytest.approx(0.6931, abs=1e-4)
    assert made == [1]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_two_tasks_equal_their_naive_loop(
    share: float, make_student: Any, make_examples: Any, step_gradients: Any, naive_gradients: Any, assert_same: Any
) -> None:
    student = make_student()
    examples = make_examples(student, 7, pairs=True)  # four of the first task, three of the second

    def tasks(rows: list[Any]) -> torch.Tensor:
        means = [(-logps[-len(e.target_ids) :].mean(), e.role) for logps, _, e in rows]
        first, second = (
            torch.stack([m for m, own in means if own is role]).mean() for role in (Role.RIGHT, Role.WRONG)
        )
        return (1 - share) * first + share * second

    expected = naive_gradients(student, examples, tasks)
    assert_same(step_gradients(student, examples, two_tasks(share, Role.WRONG), micro=40), expected)


def test_a_side_without_key_tokens_costs_nothing_whatever_divides_it(by_hand: Any) -> None:
    value, gradient = by_hand(krsl(divisor="per_key_token"), RIGHT, (WRONG[0], [0.0] * 3))
    assert value == pytest.approx(1.5)
    assert gradient[4:].eq(0).all()


def test_dpo_compares_targets_alone_where_prompts_have_weights(
    make_student: Any, pairs: Any, step_gradients: Any, assert_same: Any
) -> None:
    student, loss = make_student(), dpo(lambda: make_student().model)
    examples = pairs(student)
    heavy = [replace(e, weights=(*[0.1] * len(e.prompt_ids), *e.weights[len(e.prompt_ids) :])) for e in examples]
    assert_same(step_gradients(student, heavy, loss), step_gradients(student, examples, loss))
