"""The loss contract: naive twins, and equalities under micro-batches, padding, packing and order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from feints.errors import SettingsError, StudentError
from feints.records import Role
from feints.train import head as head_file
from feints.train.attention import texts_stay_apart, use_packed_attention
from feints.train.batch import Batcher
from feints.train.head import inner_model
from feints.train.losses import (
    last_hidden,
    nll_and_last_hidden,
    per_token,
    target_hidden,
    target_logits,
    token_nll,
    weighted_nll,
)
from feints.train.rows import Layout

CAUSAL = ("llama", "qwen2", "gpt2")
CASES = [(family, rows, micro) for family in CAUSAL for rows in ("packed", "padded") for micro in (30, 10_000)]
CASES += [("t5", "padded", 30), ("t5", "padded", 10_000)]


def _plain(rows):
    """The naive twin of weighted_nll."""
    total = torch.zeros(())
    for logps, weights, _ in rows:
        total = total - (weights * logps).sum()
    return total / sum(len(example.target_ids) for *_, example in rows)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize(("family", "rows", "micro"), CASES)
def test_weighted_nll_equals_its_naive_loop(
    family, lora, rows, micro, make_student, make_examples, step_gradients, naive_gradients, assert_same
):
    student = make_student(family, lora=lora)
    if lora:
        for name, parameter in student.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
    examples = make_examples(student, signed=True, prompt=0.0 if family == "t5" else 0.1)
    expected = naive_gradients(student, examples, _plain)
    assert_same(step_gradients(student, examples, weighted_nll(), rows=rows, micro=micro), expected)


@pytest.mark.parametrize("divisor", ["valid_tokens", "weighted_tokens", "absolute_weight", "examples", "groups"])
def test_divisors_are_those_of_the_whole_step(divisor, make_student, make_examples, step_gradients, assert_same):
    student = make_student()
    examples = make_examples(student, signed=True, prompt=0.1, pairs=True)
    lengths = [(len(e.prompt_ids), len(e.target_ids)) for e in examples]
    by_hand = {
        "valid_tokens": sum(p + t - 1 for p, t in lengths),
        "weighted_tokens": sum(sum(w != 0 for w in e.weights[1:]) for e in examples),
        "absolute_weight": sum(sum(abs(w) for w in e.weights[1:]) for e in examples),
        "examples": len(examples),
        "groups": len(examples) // 2,
    }[divisor]
    value, gradient = step_gradients(student, examples, weighted_nll("target_tokens"), micro=30)
    factor = sum(t for _, t in lengths) / by_hand
    scaled = {name: tensor * factor for name, tensor in gradient.items()}
    assert_same(step_gradients(student, examples, weighted_nll(divisor), micro=50), (value * factor, scaled))


@pytest.mark.parametrize("rows", ["packed", "padded"])
def test_two_divisors_by_role_give_the_same_gradient_however_the_step_is_cut(
    rows, make_student, make_examples, step_gradients, naive_gradients, assert_same
):
    def pulled_and_pushed(model, batch, counts):
        nats = token_nll(model, batch)
        wrong = batch.role_mask(Role.WRONG)[batch.example_index]
        pull = per_token((nats * ~wrong).sum(), counts.target_tokens_of[Role.RIGHT])
        return {"pull": pull, "push": -0.1 * per_token((nats * wrong).sum(), counts.valid_tokens_of[Role.WRONG])}

    student = make_student()
    examples = make_examples(student, 8, pairs=True)
    sides = [[e for e in examples if (e.role is Role.WRONG) == wrong] for wrong in (False, True)]
    divisors = [sum(len(e.target_ids) for e in sides[0]), sum(len(e.prompt_ids + e.target_ids) - 1 for e in sides[1])]
    factors = {e.id: f / d for side, f, d in zip(sides, (1.0, -0.1), divisors, strict=True) for e in side}

    def naive(texts):
        return sum(-factors[e.id] * logps[len(e.prompt_ids) - 1 :].sum() for logps, _, e in texts)

    expected = naive_gradients(student, examples, naive)
    for micro in (1, 40, 10**6):
        assert_same(step_gradients(student, examples, pulled_and_pushed, rows=rows, micro=micro), expected)


def test_order_of_examples_does_not_matter(make_student, make_examples, step_gradients, assert_same):
    student = make_student()
    examples = make_examples(student, signed=True)
    first = step_gradients(student, examples, weighted_nll(), micro=40)
    assert_same(step_gradients(student, examples[::-1], weighted_nll(), micro=40), first)


def test_token_nll_gives_the_gradient_of_any_function_of_it(
    make_student, make_examples, step_gradients, naive_gradients, assert_same
):
    student = make_student()
    examples = make_examples(student)

    def squares(model, batch, counts):
        return {"squares": (token_nll(model, batch) ** 2 * batch.weights).sum() / counts.examples}

    def naive(rows):
        return sum((weights * logps**2).sum() for logps, weights, _ in rows) / len(rows)

    assert_same(step_gradients(student, examples, squares, micro=40), naive_gradients(student, examples, naive))


@pytest.mark.parametrize("rows", ["packed", "padded"])
@pytest.mark.parametrize("family", CAUSAL)
def test_editing_a_text_leaves_its_neighbours_alone(family, rows, make_student, make_examples):
    student = make_student(family)
    student.model.eval()
    first, second, third = make_examples(student, 3, longest=9)
    edited = replace(second, target_ids=(*(token % 90 + 5 for token in second.target_ids[:-1]), 2))

    def nats(middle):
        layout = Layout(rows=rows, micro_tokens=10_000, seq2seq=False, pad_id=0)
        batch = Batcher([first, middle, third], layout).batch([0, 1, 2])
        with torch.no_grad():
            found = token_nll(student.model, batch)
        return {number: found[batch.example_index == number] for number in range(3)}

    before, after = nats(second), nats(edited)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[2], after[2])
    assert not torch.equal(before[1], after[1])


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cut_into_micro_batches_gives_the_same_gradient(
    data, make_student, make_examples, step_gradients, assert_same
):
    student = make_student()
    count = data.draw(st.integers(2, 10))
    examples = make_examples(
        student, count, seed=data.draw(st.integers(0, 99)), signed=True, pairs=data.draw(st.booleans())
    )
    rows = data.draw(st.sampled_from(["packed", "padded"]))
    whole = step_gradients(student, examples, weighted_nll(), rows=rows)
    assert_same(
        step_gradients(student, examples, weighted_nll(), rows=rows, micro=data.draw(st.integers(1, 120))), whole
    )


def test_pieces_of_the_head_change_nothing(monkeypatch, make_student, make_examples, step_gradients, assert_same):
    student = make_student()
    examples = make_examples(student, signed=True, prompt=0.1)

    def general(model, batch, counts):
        return {"nll": (token_nll(model, batch) * batch.weights).sum() / counts.target_tokens}

    whole = step_gradients(student, examples, weighted_nll())
    monkeypatch.setattr(head_file, "PIECE_ELEMENTS", 97 * 3)
    assert_same(step_gradients(student, examples, weighted_nll()), whole)
    assert_same(step_gradients(student, examples, general), whole)


SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _family(name):
    torch.manual_seed(0)
    if name == "soft-cap":
        return Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=2.0))
    if name == "scale":
        return CohereForCausalLM(CohereConfig(**SMALL, logit_scale=0.25))
    if name == "divisor":
        return GraniteForCausalLM(GraniteConfig(**SMALL, logits_scaling=4.0))
    return MistralForCausalLM(MistralConfig(**SMALL, sliding_window=5))


@pytest.mark.parametrize("name", ["soft-cap", "scale", "divisor", "window"])
@pytest.mark.parametrize("rows", ["packed", "padded"])
def test_what_a_family_does_after_its_head_is_kept(
    name, rows, make_student, make_examples, step_gradients, naive_gradients, assert_same
):
    student = make_student()
    student.model = _family(name)
    student.model.eval()
    examples = make_examples(student, signed=True, longest=20)
    expected = naive_gradients(student, examples, _plain)
    if name == "soft-cap" and rows == "packed":
        with pytest.raises(SettingsError, match="rows: padded"):
            step_gradients(student, examples, weighted_nll(), rows=rows)
        return
    assert_same(step_gradients(student, examples, weighted_nll(), rows=rows, micro=60), expected)
    with torch.no_grad():
        ids = torch.tensor([[5, 6, 7]])
        assert student.model(input_ids=ids).logits.shape == (1, 3, 97)


def test_an_unknown_tail_after_the_head_is_refused(make_student, make_examples, step_gradients):
    student = make_student()
    forward = type(student.model).forward

    class Odd(type(student.model)):
        def forward(self, *args, **kwargs):
            output = forward(self, *args, **kwargs)
            output.logits = output.logits**2
            return output

    student.model.__class__ = Odd
    with pytest.raises(StudentError, match="after the head"):
        step_gradients(student, make_examples(student), weighted_nll())


def test_a_head_with_an_adapter_learns(make_student, make_examples, step_gradients, naive_gradients, assert_same):
    from feints.train.student import AdapterSettings

    student = make_student("llama")
    student.add_lora(AdapterSettings(kind="lora", rank=2, modules=("lm_head", "q_proj")), seed=1)
    for name, parameter in student.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    examples = make_examples(student, signed=True)
    found = step_gradients(student, examples, weighted_nll(), micro=60)
    assert any("lm_head" in name and bool(tensor.abs().max() > 0) for name, tensor in found[1].items())
    assert_same(found, naive_gradients(student, examples, _plain))


def test_improbable_tokens_have_finite_nats_and_gradients(make_student, make_examples, step_gradients):
    student = make_student()
    with torch.no_grad():
        student.model.lm_head.weight.mul_(5_000.0)
    for loss in (weighted_nll(), lambda m, b, c: {"nll": token_nll(m, b).sum() / c.target_tokens}):
        value, gradient = step_gradients(student, make_examples(student), loss)
        assert 100 < value < float("inf")
        assert all(bool(torch.isfinite(tensor).all()) for tensor in gradient.values())


def test_last_hidden_is_the_state_of_the_last_token(make_student, make_examples):
    student = make_student()
    student.model.eval()
    examples = make_examples(student, 4)
    for rows in ("packed", "padded"):
        batch = Batcher(examples, Layout(rows=rows, micro_tokens=999, seq2seq=False, pad_id=0)).batch([0, 1, 2, 3])
        with torch.no_grad():
            found = last_hidden(student.model, batch)
            nats, joined = nll_and_last_hidden(student.model, batch)
            for number, example in enumerate(examples):
                ids = torch.tensor([example.prompt_ids + example.target_ids])
                alone = student.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, -1]
                torch.testing.assert_close(found[number], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(joined, found)
        torch.testing.assert_close(nats, token_nll(student.model, batch).detach())


def test_prompt_states_can_be_kept_constant(make_student, make_examples):
    student = make_student()
    embeddings = student.model.get_input_embeddings()
    example = make_examples(student, 1)[0]
    example = replace(example, prompt_ids=(10, 11, 12), target_ids=(20, 21, 2), weights=(0.0,) * 6)
    batch = Batcher([example], Layout(rows="packed", micro_tokens=99, seq2seq=False, pad_id=0)).batch([0])
    moved = {}
    for through in (True, False):
        student.model.zero_grad()
        last_hidden(student.model, batch, through_prompt=through).sum().backward()
        moved[through] = embeddings.weight.grad.abs().sum(dim=1)
    assert (moved[True][[10, 11, 12]] > 0).all()
    assert (moved[False][[10, 11, 12]] == 0).all()
    assert (moved[False][[20, 21, 2]] > 0).all()
    padded = Batcher([example], Layout(rows="padded", micro_tokens=99, seq2seq=False, pad_id=0)).batch([0])
    with pytest.raises(SettingsError, match="rows: packed"):
        last_hidden(student.model, padded, through_prompt=False)


def test_a_term_over_the_whole_vocabulary_in_pieces(monkeypatch, make_student, make_examples, assert_same):
    monkeypatch.setattr(head_file, "PIECE_ELEMENTS", 97 * 4)
    student, teacher = make_student(), make_student("qwen2").model.eval()
    examples = make_examples(student, 5)
    batch = Batcher(examples, Layout(rows="packed", micro_tokens=999, seq2seq=False, pad_id=0)).batch(range(5))
    with torch.no_grad():
        hidden = target_hidden(teacher, batch)

    def divergence(logits, part):
        wanted = teacher.get_output_embeddings()(hidden[part]).softmax(-1)
        return -(wanted * logits.log_softmax(-1)).sum(-1)

    def by_pieces():
        student.model.zero_grad()
        value = target_logits(student.model, batch, divergence).mean()
        value.backward()
        return value.item(), {n: p.grad.clone() for n, p in student.model.named_parameters()}

    def whole():
        student.model.zero_grad()
        rows = []
        for example in examples:
            ids = torch.tensor([example.prompt_ids + example.target_ids])
            here = slice(len(example.prompt_ids) - 1, -1)
            with torch.no_grad():
                wanted = teacher(input_ids=ids).logits[0, here].softmax(-1)
            rows.append(-(wanted * student.model(input_ids=ids).logits[0, here].log_softmax(-1)).sum(-1))
        value = torch.cat(rows).mean()
        value.backward()
        return value.item(), {n: p.grad.clone() for n, p in student.model.named_parameters()}

    assert_same(by_pieces(), whole())


def test_packing_is_tried_out_and_a_model_that_mixes_texts_is_found(make_student):
    model = inner_model(make_student().model)
    use_packed_attention(model)
    assert texts_stay_apart(model)
    use_packed_attention(model)
    layer = model.model.layers[0]
    forward = layer.forward

    def leaking(hidden, **kwargs):
        return forward(hidden + hidden.mean(dim=1, keepdim=True), **kwargs)

    layer.forward = leaking
    assert not texts_stay_apart(model)


def test_a_term_over_nothing_is_zero_with_a_gradient_of_zero():
    total = torch.tensor(3.0, requires_grad=True)
    value = per_token(total * 2, 0)
    value.backward()
    assert value.item() == 0.0
    assert total.grad.item() == 0.0
    assert float(per_token(torch.tensor(6.0), 4)) == 1.5
