"""NCE: the weight, the loss against a naive twin, stored and live alike (TDG-P7 to TDG-P11, TDG-P13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from feints.curate.released import whole_and_padded
from feints.records import Example
from feints.train import disagreement
from feints.train.assistants import NatStudent, load_nat, neg_student
from feints.train.batch import Batcher
from feints.train.disagreement import (
    Disagreement,
    Teacher,
    beta,
    divergence,
    pull,
    scored,
    self_distillation,
    token_weights,
)
from feints.train.integrate import added_tensors, set_mode
from feints.train.losses import weighted_nll
from feints.train.rows import Layout
from feints.train.settings import AdapterSettings, StudentSettings
from feints.train.student import Student

FAMILIES = ("llama", "gpt2", "t5")
LORA = AdapterSettings(kind="lora", rank=3)


@pytest.fixture(scope="module")
def nat_folder(student_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A NAT of random numbers of a family, NEG far from it."""
    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(f"nat-{family}")
            settings = StudentSettings(model=str(student_folder(family)))
            neg_student(settings, seed=4, released=True).save(made[family] / "neg", merge=False)
            nat = NatStudent.beside(settings, made[family] / "neg", width=6, seed=2)
            draw = torch.Generator().manual_seed(7)
            with torch.no_grad():
                for name, value in added_tensors(nat.model).items():
                    value.copy_((1.0 if "outer" in name else 0.4) * torch.randn(value.shape, generator=draw))
            nat.save(made[family] / "nat")
        return made[family] / "nat"

    return folder


@pytest.fixture
def learner(student_folder: Callable[..., Path]) -> Callable[[str], Student]:
    """A student whose low-rank additions have left zero."""

    def make(family: str, **settings: Any) -> Student:
        student = Student.load(StudentSettings(model=str(student_folder(family)), adapter=LORA, **settings), seed=1)
        draw = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in student.model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw))
        return student

    return make


def chances(model: Any, example: Example, mode: str | None = None) -> Tensor:
    """Logits of each predicted token of one text."""
    if mode:
        set_mode(model, mode)
    prompt, target = torch.tensor([example.prompt_ids]), torch.tensor([example.target_ids])
    if model.config.is_encoder_decoder:
        start = torch.cat([torch.zeros(1, 1, dtype=torch.long), target[:, :-1]], dim=1)
        return model(input_ids=prompt, decoder_input_ids=start).logits[0]
    return model(input_ids=torch.cat([prompt, target], 1)).logits[0, prompt.shape[1] - 1 : -1]


def twin(student: Student, nat: Any, examples: list[Example], how: Disagreement, *, kl: bool = False) -> Tensor:
    """Section 2.3 of the specification, one text at a time, targets only."""
    total, tokens = torch.zeros(()), sum(len(example.target_ids) for example in examples)
    for example in examples:
        with torch.no_grad():
            neg = (chances(nat, example, "neg") / how.temperature).log_softmax(-1)
            both = (chances(nat, example, "nat") / how.temperature).log_softmax(-1)
        p, q = (neg, both) if how.direction == "neg_nat" else (both, neg)
        nats = (p.exp() * (p - q)).sum(-1)
        weights = how.offset + torch.tanh(nats.mean() if how.per == "sequence" else nats)
        weights = torch.ones_like(nats) if how.per == "one" else weights.expand(len(nats))
        logits = chances(student.model, example)
        hard = torch.nn.functional.cross_entropy(logits, torch.tensor(example.target_ids), reduction="none")
        mine = (logits / how.temperature).log_softmax(-1)
        soft = (both.exp() * ((both - mine) if kl else -mine)).sum(-1)
        total = total + ((1 - how.share) * hard + how.share * how.temperature**2 * weights * soft).sum() / tokens
    return total


def gradients(student: Student, value: Tensor) -> tuple[float, dict[str, Tensor]]:
    student.model.zero_grad()
    value.backward()
    named = student.model.named_parameters()
    return value.item(), {
        n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in named if p.requires_grad
    }


def assert_close(first: tuple[float, dict[str, Tensor]], second: tuple[float, dict[str, Tensor]]) -> None:
    """Equal up to rounding, measured at the largest number of each gradient, since two softmaxes meet here."""
    assert first[0] == pytest.approx(second[0], rel=1e-5)
    assert any(bool(tensor.abs().max() > 1e-4) for tensor in second[1].values())
    for name, tensor in second[1].items():
        room = 1e-4 * float(tensor.abs().max()) + 1e-7
        torch.testing.assert_close(first[1][name], tensor, rtol=1e-4, atol=room)


# ------------------------------------------------------------------------------------------------------- the weight


def test_tdg_p9_golden_the_direction_of_the_divergence() -> None:
    """TDG-P9."""
    neg, nat = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    forward = divergence(neg, nat, Disagreement())
    assert forward.item() == pytest.approx(0.368064, abs=1e-6)
    assert beta(forward).item() == pytest.approx(0.352297, abs=1e-6)
    backward = divergence(neg, nat, Disagreement(direction="nat_neg"))
    assert backward.item() == pytest.approx(0.510826, abs=1e-6)
    assert beta(backward).item() == pytest.approx(0.470588, abs=1e-6)


@pytest.mark.parametrize("sharpness", [0.1, 5.0])
def test_tdg_p8_agreement_weighs_nothing_but_for_the_floor_of_one_sided_smoothing(sharpness: float) -> None:
    """TDG-P8: NEG = NAT is beta = 0 unless as released."""
    torch.manual_seed(0)
    logits = sharpness * torch.randn(50, 32_000)
    for clean in (Disagreement(), Disagreement(smoothing="two_sided")):
        assert not beta(divergence(logits, logits.clone(), clean)).any()
    floor = divergence(logits, logits, Disagreement(smoothing="one_sided")).mean().item()
    # TDG-D11: about 0.003 for flat and 0.03 for peaked distributions over 32,000 words.
    assert 0.002 < floor < 0.004 if sharpness < 1 else 0.01 < floor < 0.06


def test_tdg_p8_beta_grows_with_the_divergence_and_stays_below_one() -> None:
    """TDG-P8: 0 <= beta < 1."""
    nats = torch.tensor([0.0, 1e-4, 0.1, 1.0, 5.0, 100.0])
    found = beta(nats)
    assert found[0] == 0 and bool((found.diff() > 0)[:4].all()) and bool((found < 1).all())
    assert beta(torch.tensor(-1e-7)) == 0


@pytest.mark.parametrize("per", ["sequence", "token"])
def test_tdg_p8_permuting_the_batch_permutes_beta(per: Any, make_student: Any, make_examples: Any) -> None:
    """TDG-P8."""
    student = make_student("llama")
    examples = make_examples(student, count=5)
    how = Disagreement(per=per)
    draw = torch.Generator().manual_seed(0)
    nats = {e.id: torch.rand(len(e.target_ids), generator=draw) for e in examples}

    def weights(order: list[Example]) -> dict[str, Tensor]:
        batcher = Batcher(order, Layout(rows="padded", micro_tokens=10_000, seq2seq=False, pad_id=0))
        batch = batcher.batch(batcher.whole().micro[0])
        found = token_weights(torch.cat([nats[e.id] for e in batch.examples]), batch, how)
        return {e.id: found[batch.example_index == place] for place, e in enumerate(batch.examples)}

    forward, backward = weights(examples), weights(examples[::-1])
    for example in examples:
        torch.testing.assert_close(forward[example.id], backward[example.id])
        mean = nats[example.id].mean().expand(len(nats[example.id])) if per == "sequence" else nats[example.id]
        torch.testing.assert_close(forward[example.id], torch.tanh(mean))


# --------------------------------------------------------------------------------------------------------- the loss

HOWS = [
    Disagreement(),
    Disagreement(per="token", direction="nat_neg", temperature=2.0, offset=0.5, share=0.3),
    Disagreement(per="one"),
]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("how", HOWS, ids=["sequence", "token", "one"])
@pytest.mark.parametrize("family", FAMILIES)
def test_stored_and_live_are_the_equation(
    family: str,
    how: Disagreement,
    stored: bool,
    nat_folder: Any,
    learner: Any,
    make_examples: Any,
    step_gradients: Any,
) -> None:
    student = learner(family)
    plain = make_examples(student, count=7)
    teacher = Teacher(nat_folder(family))
    examples = scored(learner(family), teacher, plain, how, micro_tokens=60) if stored else plain
    teacher.beside(student)
    loss = self_distillation(teacher, how, stored=stored)
    expected = gradients(student, twin(student, load_nat(nat_folder(family)), plain, how))
    ways = [("padded", 10_000), ("padded", 25)] + ([] if family == "t5" else [("packed", 10_000), ("packed", 25)])
    for rows, micro in ways:
        assert_close(step_gradients(student, examples, loss, rows=rows, micro=micro), expected)
    assert_close(step_gradients(student, examples[::-1], loss, rows="padded", micro=40), expected)


def test_tdg_p7_weight_one_is_plain_self_distillation_and_alpha_zero_plain_fine_tuning(
    nat_folder: Any,
    learner: Any,
    make_examples: Any,
    step_gradients: Any,
    assert_same: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TDG-P7: loss and gradients, weights stored and live, offset 0 and 0.5."""
    student, teacher = learner("llama"), Teacher(nat_folder("llama"))
    teacher.beside(student)
    plain = make_examples(student, count=6)
    # Weights of 1 in the column are weights of 1 in the loss, whatever alpha is.
    one = [replace(e, weights=(0.0,) * len(e.prompt_ids) + (1.0,) * len(e.target_ids)) for e in plain]
    assert pull(torch.tensor(1.0), 0.3).item() == 1.0
    weighed = self_distillation(teacher, Disagreement(), stored=True)
    alike = self_distillation(teacher, Disagreement(per="one"), stored=False)
    assert_same(step_gradients(student, one, weighed), step_gradients(student, plain, alike))
    # The code's form: where beta is 0.5, 0.5 + beta is 1 on every token.
    half = Disagreement(offset=0.5, share=0.7)
    alike = Disagreement(per="one", share=0.7)
    expected = gradients(student, twin(student, load_nat(nat_folder("llama")), plain, alike))
    with monkeypatch.context() as patched:
        patched.setattr(disagreement, "beta", lambda nats: torch.full_like(nats, 0.5))
        assert_same(step_gradients(student, plain, self_distillation(teacher, half, stored=False)), expected)
    for stored in (True, False):
        off = self_distillation(teacher, Disagreement(share=0.0), stored=stored)
        assert_same(step_gradients(student, plain, off), step_gradients(student, plain, weighted_nll()))


def test_tdg_p10_cross_entropy_and_divergence_have_one_gradient(
    nat_folder: Any, learner: Any, make_examples: Any, step_gradients: Any
) -> None:
    """TDG-P10."""
    student, teacher = learner("llama"), Teacher(nat_folder("llama"))
    teacher.beside(student)
    plain, how = make_examples(student, count=5), Disagreement(share=1.0, offset=1.0)
    value, ours = step_gradients(student, plain, self_distillation(teacher, how, stored=False))
    other, theirs = gradients(student, twin(student, load_nat(nat_folder("llama")), plain, how, kl=True))
    assert value > other + 0.01, "the entropy of the teacher lies between them"
    assert_close((other, ours), (other, theirs))


@pytest.mark.parametrize("adapter", [LORA, AdapterSettings()], ids=["lora", "full"])
def test_tdg_p11_no_gradient_reaches_teachers_or_beta(
    adapter: AdapterSettings, student_folder: Any, nat_folder: Any, make_examples: Any
) -> None:
    """TDG-P11: not even where the teachers' own numbers could learn."""
    student = Student.load(StudentSettings(model=str(student_folder("llama")), adapter=adapter))
    teacher = Teacher(nat_folder("llama"))
    teacher.beside(student)
    own = {id(parameter) for parameter in student.model.parameters()}
    others = [p.requires_grad_() for p in teacher._model.parameters() if id(p) not in own]
    batcher = Batcher(make_examples(student), Layout(rows="packed", micro_tokens=10_000, seq2seq=False, pad_id=0))
    step = batcher.whole()
    batch = batcher.batch(step.micro[0])
    weights = teacher.weights(batch, Disagreement())
    assert not weights.requires_grad and weights.min() >= 0 and weights.max() > 0
    terms = self_distillation(teacher, Disagreement(), stored=False)(student.model, batch, step.counts)
    sum(terms.values()).backward()
    assert others and all(p.grad is None for p in others)
    learning = [p for p in student.model.parameters() if p.requires_grad]
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in learning)
    assert all(p.grad is None for p in student.model.parameters() if not p.requires_grad)


# ----------------------------------------------------------------------------------------------- prompt and padding


def test_tdg_p13_padding_counts_as_released_and_not_otherwise(
    nat_folder: Any, learner: Any, make_examples: Any
) -> None:
    """TDG-P13: plain likelihood and NCE."""
    student, teacher = learner("llama"), Teacher(nat_folder("llama"))
    teacher.beside(student)
    plain = make_examples(student, count=6)

    def value(examples: Any, loss: Any, pad: int) -> float:
        batcher = Batcher(examples, Layout(rows="padded", micro_tokens=10_000, seq2seq=False, pad_id=pad))
        step = batcher.whole()
        with torch.no_grad():
            return sum(float(sum(loss(student.model, batcher.batch(m), step.counts).values())) for m in step.micro)

    clean = [weighted_nll(), self_distillation(teacher, Disagreement(), stored=False)]
    released = [
        weighted_nll("valid_tokens"),
        self_distillation(teacher, Disagreement(offset=0.5, smoothing="one_sided"), stored=False, released=True),
    ]
    for loss in clean:
        assert value(plain, loss, 0) == pytest.approx(value(plain, loss, 3), abs=1e-6)
    for loss in released:
        assert abs(value(whole_and_padded(plain, 0), loss, 0) - value(whole_and_padded(plain, 3), loss, 0)) > 1e-3


def test_tdg_d1_examples_as_released(make_student: Any, make_examples: Any) -> None:
    plain = make_examples(make_student("llama"), count=6)
    made = whole_and_padded(plain, 0)
    lengths = {len(e.prompt_ids) + len(e.target_ids) for e in made}
    assert lengths == {max(len(e.prompt_ids) + len(e.target_ids) - 1 for e in plain)}
    for before, after in zip(plain, made, strict=True):
        body = before.target_ids[:-1]
        assert after.target_ids == body + (0,) * (len(after.target_ids) - len(body))
        assert set(after.weights) == {1.0}
    assert whole_and_padded([], 0) == ()


def test_as_released_smooths_the_target_too(
    nat_folder: Any, learner: Any, make_examples: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    smoothing = 1e-2  # of 1e-7 the loss would not show whether it stands there
    monkeypatch.setattr(disagreement, "SMOOTHING", smoothing)
    student, teacher = learner("llama"), Teacher(nat_folder("llama"))
    teacher.beside(student)
    examples = list(whole_and_padded(make_examples(student, count=3), 0))
    batcher = Batcher(examples, Layout(rows="padded", micro_tokens=10_000, seq2seq=False, pad_id=0))
    step = batcher.whole()
    how = Disagreement(offset=0.5, smoothing="one_sided", share=1.0)
    loss = self_distillation(teacher, how, stored=False, released=True)
    found = loss(student.model, batcher.batch(step.micro[0]), step.counts)["distilled"].item()
    nat, total = load_nat(nat_folder("llama")), 0.0
    for example in examples:
        ids = torch.tensor([example.prompt_ids + example.target_ids])
        with torch.no_grad():
            set_mode(nat, "neg")
            neg = nat(input_ids=ids).logits[0, :-1].softmax(-1) + smoothing
            set_mode(nat, "nat")
            both = nat(input_ids=ids).logits[0, :-1]
            mine = student.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
        nats = (neg * (neg.log() - both.log_softmax(-1))).sum(-1).mean()
        soft = -((both.softmax(-1) + smoothing) * mine).sum(-1)
        total += float(((0.5 + torch.tanh(nats)) * soft).sum())
    assert found == pytest.approx(total / step.counts.valid_tokens, rel=1e-4)
