"""Tailored learning's two terms: the properties TAIL-P1 to TAIL-P9 on toy networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from feints.errors import SettingsError
from feints.records import Example, Role
from feints.train.batch import Batcher
from feints.train.loop import fit
from feints.train.losses import last_hidden, token_nll, weighted_nll
from feints.train.reflection import LEARNT, TRIO, reflective_loss, triplet
from feints.train.rows import Layout
from feints.train.settings import TrainSettings

PULL, MARGIN = 0.5, 1.0


def trios(student, count=4, *, alone=2, seed=0, prompt_weight=0.1, longest=12):
    """`count` trios, each with a prompt of its own, and `alone` right texts without companions."""
    random = np.random.default_rng(seed)

    def ids(most, least=2):
        return tuple(random.integers(4, 97, int(random.integers(least, most))).tolist())

    made = []
    for number in range(count + alone):
        prompt = ids(longest)
        for role in TRIO if number < count else (Role.RIGHT,):
            target = (*ids(longest), 2)
            learnt = role in LEARNT
            weights = (prompt_weight if learnt else 0.0,) * len(prompt) + (1.0 if learnt else 0.0,) * len(target)
            made.append(
                Example(
                    id=f"{number}-{role}",
                    problem_id=f"problem {number}",
                    rationale_id=f"{number}-{role}",
                    prompt_ids=prompt,
                    target_ids=target,
                    weights=weights,
                    tokenizer_hash=student.renderer.tokenizer_hash,
                    group=f"trio {number}" if number < count else "",
                    role=role,
                )
            )
    return made


def batch_of(examples, rows="packed", pad=0):
    layout = Layout(rows=rows, micro_tokens=10**6, seq2seq=False, pad_id=pad)
    return Batcher(examples, layout).batch(range(len(examples)))


def term(name, loss):
    """One term of a loss."""
    return lambda model, batch, counts: {name: loss(model, batch, counts)[name]}


def state_of(student, example, pooling):
    """The state of a text whose prompt was read without a gradient: the naive way, with a cache."""
    with torch.no_grad():
        cache = student.model(input_ids=torch.tensor([example.prompt_ids]), use_cache=True).past_key_values
    said = student.model(
        input_ids=torch.tensor([example.target_ids]), past_key_values=cache, output_hidden_states=True, use_cache=True
    )
    states = said.hidden_states[-1][0]
    return states[-1] if pooling == "last" else states.mean(0)


@pytest.fixture
def naive(naive_gradients):
    """Loss and gradients of the whole step, one text at a time."""

    def run(student, examples, pooling="last"):
        learnt = [example for example in examples if example.role in LEARNT]
        tokens = sum(len(e.prompt_ids) + len(e.target_ids) - 1 for e in learnt)
        groups = {}
        for example in examples:
            if example.group:
                groups.setdefault(example.group, {})[example.role] = example

        def value(rows):
            total = -sum((weights * logps).sum() for logps, weights, _ in rows) / tokens
            hinges = []
            for own in groups.values():
                a, p, n = (state_of(student, own[role], pooling) for role in TRIO)
                near, far = functional.cosine_similarity(a, p, 0), functional.cosine_similarity(a, n, 0)
                hinges.append((MARGIN - near + far).clamp(min=0))
            return total + PULL * torch.stack(hinges).mean()

        return naive_gradients(student, learnt, value)

    return run


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_the_joint_loss_equals_its_naive_loop(family, pooling, make_student, step_gradients, naive, assert_same):
    student = make_student(family)
    examples = trios(student)
    expected = naive(student, examples, pooling)
    loss = reflective_loss(PULL, margin=MARGIN, pooling=pooling)
    for micro in (1, 60, 10_000):
        assert_same(step_gradients(student, examples, loss, micro=micro), expected)
    assert_same(step_gradients(student, examples[::-1], loss, micro=60), expected)


def parameters_after(make_student, examples, loss, folder):
    student = make_student()
    settings_ = TrainSettings(max_steps=1, batch_examples=99, micro_tokens=10**6, learning_rate=1e-2, log_steps=1)
    fit(student, examples, loss, settings_, folder, show_progress=False)
    return {name: tensor.clone() for name, tensor in student.model.state_dict().items()}


def test_tail_p1_without_a_trio_or_without_a_pull_nothing_changes(make_student, tmp_path):
    """TAIL-P1: parameters after a step are those of imitation alone, bit for bit."""
    examples = trios(make_student(), longest=8)
    # Companions ride along behind their anchors, so that anchors keep their places in the row.
    alone = [replace(e, role=Role.RIGHT, group="") for e in examples if e.role in LEARNT]

    def imitation(model, batch, counts):
        return {"nll": (batch.weights * token_nll(model, batch)).sum() / counts.valid_tokens}

    plain = parameters_after(make_student, alone, weighted_nll("valid_tokens"), tmp_path / "plain")
    imitated = parameters_after(make_student, alone, imitation, tmp_path / "imitated")
    unpulled = parameters_after(make_student, alone, reflective_loss(0.0), tmp_path / "unpulled")
    masked = parameters_after(make_student, alone, reflective_loss(PULL), tmp_path / "masked")
    for name in plain:
        torch.testing.assert_close(plain[name], unpulled[name], rtol=1e-5, atol=1e-7)
        assert torch.equal(imitated[name], unpulled[name]) and torch.equal(imitated[name], masked[name]), name
    assert any(not torch.equal(imitated[name], value) for name, value in make_student().model.state_dict().items())


def test_tail_p1_a_pull_of_nothing_ignores_companions_bit_for_bit(make_student):
    """TAIL-P1: lambda = 0 where there are trios."""
    student = make_student()
    examples = trios(student, alone=0)
    alone = [replace(e, role=Role.RIGHT, group="") for e in examples if e.role in LEARNT]
    gradients = []
    for rows in (examples, alone):
        student.model.zero_grad()
        batcher = Batcher(rows, Layout(rows="packed", micro_tokens=10**6, seq2seq=False, pad_id=0))
        loss = reflective_loss(0.0)(student.model, batcher.batch(range(len(rows))), batcher.whole().counts)
        loss["imitation"].backward()
        gradients.append([loss["imitation"].detach(), *(p.grad.clone() for p in student.model.parameters())])
    assert all(torch.equal(first, second) for first, second in zip(*gradients, strict=True))


def test_tail_p1_the_masked_triplet_is_zero_and_no_nan(make_student):
    """TAIL-P1."""
    student = make_student()
    examples = trios(student, 0, alone=3)
    batcher = Batcher(examples, Layout(rows="packed", micro_tokens=10**6, seq2seq=False, pad_id=0))
    terms = reflective_loss(PULL)(student.model, batcher.batch(range(3)), batcher.whole().counts)
    assert terms["reflection"].item() == 0.0
    assert terms["imitation"].item() > 0


def test_tail_p2_equal_states_cost_the_margin_and_do_not_pull_the_anchor():
    """TAIL-P2."""
    anchor = torch.randn(3, 8, requires_grad=True)
    other = torch.randn(3, 8)
    loss = triplet(anchor, other, other.clone(), 0.7)
    torch.testing.assert_close(loss, torch.full((3,), 0.7))
    loss.sum().backward()
    assert (anchor.grad == 0).all()


def test_tail_p3_golden():
    """TAIL-P3."""
    a, orthogonal = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 5.0]])
    assert triplet(a, a, orthogonal, 1.0).item() == 0.0
    assert triplet(a, -a, a, 1.0).item() == 3.0
    assert triplet(a, orthogonal, orthogonal, 1.0).item() == 1.0
    assert triplet(torch.zeros(1, 2), a, orthogonal, 1.0).item() == 1.0


STATES = st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4).filter(lambda v: sum(x * x for x in v) > 0.01)


@settings(deadline=None)
@given(STATES, STATES, STATES, st.floats(0.1, 2), st.tuples(*[st.floats(0.1, 50)] * 3))
def test_tail_p3_p4_bounds_and_scales(a, p, n, margin, scales):
    """TAIL-P3 (between 0 and rho + 2, and where it is 0) and TAIL-P4."""
    states = [torch.tensor([row], dtype=torch.float64) for row in (a, p, n)]
    value = triplet(*states, margin).item()
    assert 0 <= value <= margin + 2 + 1e-9
    near, far = (functional.cosine_similarity(states[0], other).item() for other in states[1:])
    if near >= far + margin + 1e-9:
        assert value == 0
    scaled = triplet(*(row * scale for row, scale in zip(states, scales, strict=True)), margin).item()
    assert scaled == pytest.approx(value, abs=1e-9)


def test_tail_p5_weights_of_one_are_the_mean_and_of_zero_leave_prompts_alone(
    make_student, step_gradients, naive_gradients, assert_same
):
    """TAIL-P5."""
    student = make_student()
    ones = trios(student, 0, alone=5, prompt_weight=1.0)
    tokens = sum(len(e.prompt_ids) + len(e.target_ids) - 1 for e in ones)
    mean = naive_gradients(student, ones, lambda rows: -sum(logps.sum() for logps, _, _ in rows) / tokens)
    assert_same(step_gradients(student, ones, reflective_loss(PULL), micro=50), mean)
    nothing = trios(student, 0, alone=5, prompt_weight=0.0)
    targets = naive_gradients(
        student,
        nothing,
        lambda rows: -sum(logps[len(e.prompt_ids) - 1 :].sum() for logps, _, e in rows) / tokens,
    )
    assert_same(step_gradients(student, nothing, reflective_loss(PULL), micro=50), targets)


def test_tail_p6_prompt_labels_count_a_tenth(make_student):
    """TAIL-P6."""
    student = make_student()
    examples = trios(student)
    batcher = Batcher(examples, Layout(rows="packed", micro_tokens=10**6, seq2seq=False, pad_id=0))
    counts = batcher.whole().counts
    alone = [replace(e, role=Role.RIGHT, group="") for e in examples if e.role in LEARNT]

    def imitation(weigh, relabel):
        batch = batch_of(alone)
        ids = torch.where(batch.is_prompt, (batch.target_ids + 7) % 97, batch.target_ids)
        weights = torch.where(batch.is_prompt, weigh, batch.weights)
        changed = replace(batch, target_ids=ids if relabel else batch.target_ids, weights=weights)
        with torch.no_grad():
            return reflective_loss(0.0)(student.model, changed, counts)["imitation"].item()

    tenth = imitation(0.1, True) - imitation(0.1, False)
    assert tenth == pytest.approx(0.1 * (imitation(1.0, True) - imitation(1.0, False)), rel=1e-3)
    assert tenth != 0


@pytest.mark.parametrize("released", [False, True])
def test_tail_p7_a_batch_is_the_mean_of_its_trios(released, make_student):
    """TAIL-P7: a question without a trio among them; as released it fails."""
    student = make_student()
    student.model.eval()
    examples = trios(student, alone=1)
    loss = reflective_loss(1.0, padded_prompts=released)

    def reflection(rows):
        batcher = Batcher(rows, Layout(rows="packed", micro_tokens=10**6, seq2seq=False, pad_id=0))
        with torch.no_grad():
            return loss(student.model, batcher.batch(range(len(rows))), batcher.whole().counts)["reflection"].item()

    groups = sorted({example.group for example in examples if example.group})
    singly = [reflection([example for example in examples if example.group == group]) for group in groups]
    together = reflection(examples)
    same = together == pytest.approx(sum(singly) / len(singly), rel=1e-5)
    assert same is not released, "TAIL-D2 is what as_released reproduces, and clean must not"


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_tail_p8_pads_change_neither_loss_nor_state(family, make_student, step_gradients, assert_same):
    """TAIL-P8."""
    student = make_student(family)
    alone = trios(student, 0, alone=5)
    packed = step_gradients(student, alone, reflective_loss(PULL))
    assert_same(step_gradients(student, alone, reflective_loss(PULL), rows="padded"), packed)
    student.model.eval()
    examples = trios(student)
    short, long = min(examples, key=lambda e: len(e.target_ids)), max(examples, key=lambda e: len(e.target_ids))
    with torch.no_grad():
        for pooling in ("last", "mean"):
            by_itself = last_hidden(student.model, batch_of([short], "padded"), pooling=pooling)[0]
            for pad in (0, 9):
                beside = last_hidden(student.model, batch_of([short, long], "padded", pad), pooling=pooling)[0]
                torch.testing.assert_close(beside, by_itself, rtol=1e-4, atol=1e-5)
            in_a_row = last_hidden(student.model, batch_of(examples), pooling=pooling, through_prompt=False)
            torch.testing.assert_close(in_a_row[examples.index(short)], by_itself, rtol=1e-4, atol=1e-5)


def test_tail_p9_reflection_leaves_the_prompt_alone_and_imitation_does_not(make_student, step_gradients):
    """TAIL-P9."""
    student = make_student()
    prompt, ends = (10, 11, 12), ((20, 21, 2), (30, 31, 2), (40, 41, 2))
    examples = [
        replace(e, prompt_ids=prompt, target_ids=target, weights=(0.1,) * 3 + (1.0,) * 3)
        for e, target in zip(trios(student, 1, alone=0), ends, strict=True)
    ]
    moved = {}
    for name in ("imitation", "reflection"):
        _, gradient = step_gradients(student, examples, term(name, reflective_loss(PULL)))
        embeddings = next(tensor for path, tensor in gradient.items() if "embed_tokens" in path)
        moved[name] = embeddings.abs().sum(1)
    assert (moved["reflection"][list(prompt)] == 0).all()
    assert (moved["reflection"][[20, 21, 30, 31, 40, 41]] > 0).all()
    assert (moved["imitation"][list(prompt)] > 0).all()


def test_trios_need_packed_rows_and_say_so(make_student, step_gradients):
    student = make_student()
    with pytest.raises(SettingsError, match="set rows: packed"):
        step_gradients(student, trios(student), reflective_loss(PULL), rows="padded")


def test_gauges_see_right_texts_and_own_mistakes(make_student, tmp_path):
    student = make_student()
    examples = trios(student)
    student.model.eval()
    batcher = Batcher(examples, Layout(rows="packed", micro_tokens=10**6, seq2seq=False, pad_id=0))
    batch = batcher.batch(range(len(examples)))
    with torch.no_grad():
        reflective_loss(PULL)(student.model, batch, batcher.whole().counts)
        seen = batch.observed[id(student.model)]
        again = batch_of(examples)
        weighted_nll()(student.model, again, batcher.whole().counts)
    torch.testing.assert_close(seen, again.observed[id(student.model)], rtol=1e-4, atol=1e-5)
