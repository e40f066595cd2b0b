"""What methods ask of the contracts, in small: records, batcher, loss and loop carry them unchanged."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig
from torch import nn
from torch.nn import functional

from feints.records import Role
from feints.train.batch import Batcher
from feints.train.loop import fit
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
from feints.train.settings import TrainSettings
from feints.train.student import AdapterSettings

SETTINGS = TrainSettings(max_steps=2, batch_examples=12, micro_tokens=40, learning_rate=1e-3)


def krsl(alpha=1.0, beta=0.025, ceiling=20.0):
    """EDIT: key tokens up, wrong key tokens down unless improbable; each sequence over its length, then pairs."""

    def loss(model, batch, counts):
        nats = token_nll(model, batch)
        share = 1.0 / batch.target_lengths[batch.example_index]
        wrong = batch.role_mask(Role.WRONG)[batch.example_index]
        weights = torch.where(wrong, -beta * batch.weights.abs() * (nats.detach() < ceiling), alpha * batch.weights)
        return {"krsl": (weights * share * nats).sum() / counts.groups}

    return loss


def _key_steps(examples):
    """Weights 1 on every other target token of a right text, -1 on those of a wrong one."""
    keyed = []
    for example in examples:
        sign = -1.0 if example.role == Role.WRONG else 1.0
        mask = [sign * (place % 2) for place in range(len(example.target_ids))]
        keyed.append(replace(example, weights=(0.0,) * len(example.prompt_ids) + tuple(mask)))
    return keyed


@pytest.mark.parametrize("ceiling", [20.0, 4.5])
def test_edit_krsl(ceiling, make_student, make_examples, step_gradients, naive_gradients, assert_same):
    student = make_student()
    examples = _key_steps(make_examples(student, 8, pairs=True))

    def naive(rows):
        total = torch.zeros(())
        for logps, weights, example in rows:
            nats = -logps[len(example.prompt_ids) - 1 :]
            mask = weights[len(example.prompt_ids) - 1 :].abs()
            if example.role == Role.RIGHT:
                total = total + (mask * nats).sum() / len(nats)
            else:
                total = total - 0.025 * (mask * (nats.detach() < ceiling) * nats).sum() / len(nats)
        return total / 4

    expected = naive_gradients(student, examples, naive)
    for micro in (1, 60, 999):
        assert_same(step_gradients(student, examples, krsl(ceiling=ceiling), micro=micro), expected)


def redi(alpha=0.8):
    """REDI: mean nats of right texts minus alpha times mean nats of wrong ones, over pairs."""

    def loss(model, batch, counts):
        nats = token_nll(model, batch) / batch.target_lengths[batch.example_index]
        wrong = batch.role_mask(Role.WRONG)[batch.example_index]
        return {"right": nats[~wrong].sum() / counts.groups, "wrong": -alpha * nats[wrong].sum() / counts.groups}

    return loss


def test_redi(make_student, make_examples, step_gradients, naive_gradients, assert_same):
    student = make_student("gpt2")
    examples = make_examples(student, 8, pairs=True)

    def naive(rows):
        means = [(-logps[len(e.prompt_ids) - 1 :].mean(), e.role) for logps, _, e in rows]
        return sum(mean if role == Role.RIGHT else -0.8 * mean for mean, role in means) / 4

    student.model.eval()
    expected = naive_gradients(student, examples, naive)
    assert_same(step_gradients(student, examples, redi(), micro=50), expected)


def tailored(strength=0.5, margin=1.0):
    """Tailored: weighted nats over all valid tokens, plus a triplet on last hidden states."""

    def loss(model, batch, counts):
        nats, hidden = nll_and_last_hidden(model, batch)
        terms = {"lm": per_token((batch.weights * nats).sum(), counts.valid_tokens)}
        roles = [batch.index_of(role) for role in (Role.ANCHOR, Role.POSITIVE, Role.CANDIDATE)]
        whole = torch.stack(roles).min(dim=0).values >= 0
        anchor, positive, negative = (hidden[role[whole]] for role in roles)
        near = functional.cosine_similarity(anchor, positive)
        far = functional.cosine_similarity(anchor, negative)
        triplet = (margin - near + far).clamp(min=0).sum() + hidden.sum() * 0.0
        terms["reflection"] = strength * per_token(triplet, counts.roles[Role.POSITIVE])
        return terms

    return loss


def _triplets(examples):
    roles = (Role.ANCHOR, Role.POSITIVE, Role.CANDIDATE)
    made = []
    for number, example in enumerate(examples):
        role = roles[number % 3]
        own = (0.1,) * len(example.prompt_ids) + (1.0,) * len(example.target_ids)
        weights = own if role == Role.ANCHOR else (0.0,) * len(own)
        made.append(replace(example, role=role, group=f"question {number // 3}", weights=weights))
    alone = replace(made[0], id="no mistake", group="")
    return [*made, alone]


def test_tailored_learning(make_student, make_examples, step_gradients, naive_gradients, assert_same):
    student = make_student()
    examples = _triplets(make_examples(student, 9))

    def naive(rows):
        likelihood = sum(-(weights * logps).sum() for logps, weights, _ in rows) / sum(len(row[0]) for row in rows)
        states = []
        for *_, example in rows:
            ids = torch.tensor([example.prompt_ids + example.target_ids])
            states.append(student.model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0, -1])
        total = torch.zeros(())
        for first in range(0, 9, 3):
            a, p, n = states[first : first + 3]
            cosine = functional.cosine_similarity
            total = total + (1 - cosine(a, p, dim=0) + cosine(a, n, dim=0)).clamp(min=0)
        return likelihood + 0.5 * total / 3

    expected = naive_gradients(student, examples, naive)
    for rows in ("packed", "padded"):
        for micro in (1, 80, 999):
            assert_same(step_gradients(student, examples, tailored(), rows=rows, micro=micro), expected)


def test_tailored_reflection_leaves_prompts_alone(make_student, make_examples):
    student = make_student()
    examples = _triplets(make_examples(student, 3))[:3]
    batch = Batcher(examples, Layout(rows="packed", micro_tokens=999, seq2seq=False, pad_id=0)).batch([0, 1, 2])
    hidden = last_hidden(student.model, batch, through_prompt=False)
    functional.cosine_similarity(hidden[:1], hidden[1:2]).sum().backward()
    moved = student.model.get_input_embeddings().weight.grad.abs().sum(dim=1) > 0
    only_prompt = {t for e in examples for t in e.prompt_ids} - {t for e in examples for t in e.target_ids}
    assert only_prompt
    assert not moved[list(only_prompt)].any()
    assert moved[examples[0].target_ids[0]]


class Integrate(nn.Module):
    """NAT's integrate unit in place of a projection: base, a frozen NEG and a POS adapter at once, for every token."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        wide = layer.base_layer.out_features
        self.query = nn.Linear(layer.base_layer.in_features, 8, bias=False)
        self.key = nn.Linear(wide, 8, bias=False)
        self.down, self.up = nn.Linear(wide, 8, bias=False), nn.Linear(8, wide, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, hidden):
        base = self.layer.base_layer(hidden)
        both = []
        for name in ("pos", "neg"):
            a, b = self.layer.lora_A[name], self.layer.lora_B[name]
            both.append(base + self.layer.scaling[name] * b(a(self.layer.lora_dropout[name](hidden))))
        scores = torch.stack([(self.query(hidden) * self.key(state)).sum(-1) for state in both], dim=-1)
        share = scores.softmax(-1)[..., 1:] - 0.5
        values = [self.up(functional.gelu(self.down(state))) for state in both]
        return base + (1 - share) * values[0] + share * values[1]


def _nat(student):
    modules = ("q_proj", "v_proj")
    student.add_lora(AdapterSettings(kind="lora", rank=2, modules=modules), seed=1, name="neg")
    student.model.add_adapter("pos", LoraConfig(r=2, target_modules=list(modules), task_type="CAUSAL_LM"))
    torch.manual_seed(3)
    for name, parameter in student.model.named_parameters():
        parameter.requires_grad = ".pos." in name
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.02)
    for layer in student.model.get_base_model().model.layers:
        for name in modules:
            setattr(layer.self_attn, name, Integrate(getattr(layer.self_attn, name)))


def test_nat_two_adapters_and_an_integrate_unit(
    make_student, make_examples, step_gradients, naive_gradients, assert_same, tmp_path
):
    student = make_student()
    examples = make_examples(student, 12)
    _nat(student)
    for module in student.model.modules():
        if isinstance(module, Integrate):
            nn.init.normal_(module.up.weight, std=0.1)
    learning = {name for name, parameter in student.model.named_parameters() if parameter.requires_grad}
    frozen = {n: p.clone() for n, p in student.model.named_parameters() if n not in learning}
    before = {n: p.clone() for n, p in student.model.named_parameters() if n in learning}
    assert any(".neg." in name for name in frozen)
    expected = naive_gradients(
        student,
        examples,
        lambda rows: -sum((w * p).sum() for p, w, _ in rows) / sum(len(e.target_ids) for *_, e in rows),
    )
    assert_same(step_gradients(student, examples, weighted_nll(), micro=50), expected)
    student.model.zero_grad()
    fit(student, examples, weighted_nll(), SETTINGS, tmp_path / "nat", show_progress=False)
    after = dict(student.model.named_parameters())
    assert all(torch.equal(tensor, after[name]) for name, tensor in frozen.items())
    assert all(not torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_nce_with_two_frozen_calibrators(make_student, make_examples, step_gradients, assert_same, tmp_path):
    """NCE: (1 - a) CE + a (0.5 + tanh KL(neg, nat)) distillation; the calibrators are arguments of make_loss."""
    student, nat, neg = make_student(), make_student("qwen2").model.eval(), make_student("gpt2").model.eval()

    def make_loss(nat, neg):
        def loss(model, batch, counts):
            with torch.no_grad():
                states = [target_hidden(calibrator, batch) for calibrator in (nat, neg)]
            heads = [calibrator.get_output_embeddings() for calibrator in (nat, neg)]

            def divergence(logits, part):
                p_nat, p_neg = (head(state[part]).log_softmax(-1) for head, state in zip(heads, states, strict=True))
                gap = (p_neg.exp() * (p_neg - p_nat)).sum(-1).detach()
                return torch.stack([gap, -(p_nat.exp() * logits.log_softmax(-1)).sum(-1)], dim=-1).flatten()

            pairs = target_logits(model, batch, divergence).view(-1, 2)
            sums = torch.zeros(len(batch.examples)).index_add(0, batch.example_index, pairs[:, 0].detach())
            beta = torch.tanh(sums / batch.target_lengths)[batch.example_index]
            distilled = ((0.5 + beta) * pairs[:, 1]).sum() / counts.target_tokens
            return {"ce": 0.5 * weighted_nll()(model, batch, counts)["nll"], "kd": 0.5 * distilled}

        return loss

    examples = make_examples(student, 8)
    whole = step_gradients(student, examples, make_loss(nat, neg))
    assert_same(step_gradients(student, examples, make_loss(nat, neg), micro=40), whole)
    assert_same(step_gradients(student, examples, make_loss(nat, neg), rows="padded", micro=40), whole)
    result = fit(student, examples, make_loss(nat, neg), SETTINGS, tmp_path, show_progress=False)
    assert result.steps == 2


def test_three_stage_kpdd_is_only_data(make_student, tmp_path):
    """KPDD, separate: three students, three sets of examples, the plain loss; single: one student, one set."""
    from feints.generate.source import Message

    question, core, facts, solution = "how many?", "what is 3 + 4", "3; 4", "3 + 4 = 7"
    stages = [(question, core), (f"{question} {core}", facts), (f"{question} {core} {facts}", solution)]
    student = make_student("t5")
    staged = [
        student.example(id=f"stage {n}", problem_id="p", messages=[Message(role="user", content=given)], text=wanted)
        for n, (given, wanted) in enumerate(stages)
    ]
    for n, example in enumerate(staged):
        assert student.renderer.decode(example.target_ids)[0] == stages[n][1]
        assert fit(
            make_student("t5"), [example], weighted_nll(), SETTINGS, tmp_path / f"{n}", show_progress=False
        ).steps
    assert fit(student, staged, weighted_nll(), SETTINGS, tmp_path / "single", show_progress=False).steps == 2
