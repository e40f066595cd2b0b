"""NAT's layers: the equation (TDG-P1 to TDG-P4, TDG-P6), every family, saving, and generation with a cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.conftest import make_tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from feints.errors import StudentError
from feints.generate.local import LocalSettings, LocalSource
from feints.generate.source import Request, Sampling
from feints.generate.weights import quiet_transformers
from feints.train.integrate import (
    IntegrateUnit,
    LowRank,
    NatPlan,
    NatProjection,
    add_units,
    added_tensors,
    attention_projections,
    integrate,
    layers,
    negative_weight,
    set_mode,
)
from feints.train.settings import AdapterSettings, StudentSettings
from feints.train.student import Student

D_IN, D_OUT, WIDTH = 6, 4, 5
FAMILIES = ("llama", "qwen2", "qwen3", "gpt2", "neox", "phi", "phi3", "t5")


@pytest.fixture
def unit() -> IntegrateUnit:
    torch.manual_seed(0)
    return IntegrateUnit(D_IN, D_OUT, WIDTH)


@pytest.fixture
def given() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, u, h_pos, h_neg of 3 texts of 7 tokens; large, so that a comes near its ends."""
    draw = torch.Generator().manual_seed(1)
    x, u, h_pos, h_neg = (10 * torch.randn(3, 7, width, generator=draw) for width in (D_IN, D_OUT, D_OUT, D_OUT))
    return x, u, h_pos, h_neg


# ---------------------------------------------------------------------------------------------------- the equation


def naive(x: Tensor, u: Tensor, h_pos: Tensor, h_neg: Tensor, unit: IntegrateUnit) -> tuple[Tensor, Tensor, Tensor]:
    """Section 2.2 of the specification, one token at a time: output, w_pos, w_neg."""
    out, first, second = torch.zeros_like(u), torch.zeros(u.shape[:-1]), torch.zeros(u.shape[:-1])
    for place in [(i, j) for i in range(u.shape[0]) for j in range(u.shape[1])]:
        q = unit.query.weight @ x[place]
        keys = [unit.key.weight @ h[place] for h in (h_pos, h_neg)]
        p = torch.softmax(torch.stack([q @ key for key in keys]), 0)
        values = [unit.outer.weight @ nn.functional.gelu(unit.inner.weight @ h[place]) for h in (h_pos, h_neg)]
        first[place], second[place] = p[0] + 0.5, p[1] - 0.5
        out[place] = u[place] + first[place] * values[0] + second[place] * values[1]
    return out, first, second


def test_the_unit_is_the_equation_token_by_token(unit: IntegrateUnit, given: tuple[Tensor, ...]) -> None:
    expected, _, w_neg = naive(*given, unit)
    torch.testing.assert_close(integrate(*given, unit), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(integrate(*given, unit, value=unit.value), expected, rtol=1e-4, atol=1e-4)
    x, _, h_pos, h_neg = given
    torch.testing.assert_close(negative_weight(x, h_pos, h_neg, unit)[..., 0], w_neg, rtol=1e-4, atol=1e-5)


def test_tdg_golden_a_unit_worked_out_by_hand() -> None:
    """d_in 2, d_out 1, width 1; q = 1, k_pos = 0, k_neg = ln 3, so p_neg = 3/4 and a = 1/4."""
    unit = IntegrateUnit(2, 1, 1)
    with torch.no_grad():
        unit.query.weight.copy_(torch.tensor([[1.0, 0.0]]))
        unit.key.weight.fill_(1.0)
        unit.inner.weight.fill_(1.0)
        unit.outer.weight.fill_(2.0)
    x, u = torch.tensor([1.0, 5.0]), torch.tensor([10.0])
    h_pos, h_neg = torch.tensor([0.0]), torch.tensor([3.0]).log()
    assert negative_weight(x, h_pos, h_neg, unit).item() == pytest.approx(0.25)
    # V(0) = 0; GELU(1.098612) = 1.098612 * 0.864034 = 0.949238, so 10 + 1/4 * 2 * 0.949238.
    assert integrate(x, u, h_pos, h_neg, unit).item() == pytest.approx(10.474619, abs=1e-5)


def test_tdg_p1_weights_sum_to_one_and_neg_stays_inside_a_half(
    unit: IntegrateUnit, given: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TDG-P1."""
    x, u, h_pos, h_neg = given
    a = negative_weight(x, h_pos, h_neg, unit).double()
    # Where V is 1 everywhere, what is added is the sum of the weights; so it is where all inner states are 1.
    one = torch.ones_like(u)
    torch.testing.assert_close(integrate(x, u, h_pos, h_neg, unit, value=torch.ones_like) - u, one, rtol=0, atol=1e-5)
    with monkeypatch.context() as patched:
        patched.setattr(functional, "gelu", torch.ones_like)
        added = integrate(x, u, h_pos, h_neg, unit) - u
    torch.testing.assert_close(added, unit.outer.weight.sum(1).expand_as(u), rtol=1e-4, atol=1e-4)
    assert bool((a > -0.5).all() and (a < 0.5).all())
    assert a.min() < -0.49 and a.max() > 0.49, "the ends are reached as far as float32 goes"


def test_tdg_p2_equal_candidates_share_evenly(unit: IntegrateUnit, given: tuple[Tensor, ...]) -> None:
    """TDG-P2: whatever W_Q and W_K, the output is u + V(h_pos)."""
    x, u, h_pos, _ = given
    expected = u + unit.value(h_pos)
    for size in (0.0, 0.1, 100.0):
        for projection in (unit.query, unit.key):
            nn.init.normal_(projection.weight, std=size)
        assert not negative_weight(x, h_pos, h_pos, unit).any()
        torch.testing.assert_close(integrate(x, u, h_pos, h_pos, unit), expected)


def test_tdg_p3_weight_fixed_at_zero_forgets_neg_and_can_be_plain_lora(
    unit: IntegrateUnit, given: tuple[Tensor, ...]
) -> None:
    """TDG-P3: of one projection."""
    x, u, h_pos, h_neg = given
    fixed = integrate(x, u, h_pos, h_neg, unit, weigh=False)
    assert torch.equal(fixed, integrate(x, u, h_pos, -3 * h_neg, unit, weigh=False))
    torch.testing.assert_close(
        integrate(x, u, h_pos, h_neg, unit, weigh=False, value=lambda h: h - u), h_pos, rtol=0, atol=1e-5
    )


def test_tdg_p6_exchanged_candidates_exchange_their_weights(unit: IntegrateUnit, given: tuple[Tensor, ...]) -> None:
    """TDG-P6: and the output changes by V(h_pos) - V(h_neg)."""
    x, u, h_pos, h_neg = given
    a, b = negative_weight(x, h_pos, h_neg, unit), negative_weight(x, h_neg, h_pos, unit)
    torch.testing.assert_close(a + 0.5, 0.5 - b)
    original, swapped = integrate(x, u, h_pos, h_neg, unit), integrate(x, u, h_neg, h_pos, unit)
    torch.testing.assert_close(original - swapped, unit.value(h_pos) - unit.value(h_neg), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_precision_changes_digits_and_not_the_method(
    precision: torch.dtype, unit: IntegrateUnit, given: tuple[Tensor, ...]
) -> None:
    small = tuple(value / 10 for value in given)
    exact = integrate(*small, unit)
    unit.to(precision)
    rough = integrate(*(value.to(precision) for value in small), unit)
    assert rough.dtype is precision
    torch.testing.assert_close(rough.float(), exact, rtol=3e-2, atol=3e-2)


# -------------------------------------------------------------------------------------------------------- families


def family(name: str) -> Any:
    torch.manual_seed(0)
    small: dict[str, Any] = {"vocab_size": 97, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    size: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    size |= {"num_attention_heads": 4, "max_position_embeddings": 128}
    if name == "llama":
        return LlamaForCausalLM(LlamaConfig(**small, **size, num_key_value_heads=2))
    if name == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**small, **size, num_key_value_heads=2, tie_word_embeddings=True))
    if name == "qwen3":  # head_dim 12, so that heads together are wider than the hidden state
        return Qwen3ForCausalLM(Qwen3Config(**small, **size, num_key_value_heads=2, head_dim=12))
    if name == "phi3":
        return Phi3ForCausalLM(Phi3Config(**small, **size, num_key_value_heads=2))
    if name == "neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**small, **size))
    if name == "phi":
        return PhiForCausalLM(PhiConfig(**small, **size))
    if name == "gpt2":
        return GPT2LMHeadModel(GPT2Config(**small, n_embd=32, n_layer=2, n_head=4, n_positions=128))
    return T5ForConditionalGeneration(
        T5Config(**small, d_model=32, d_kv=6, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0)
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with quiet_transformers():
                family(name).save_pretrained(made[name])
                make_tokenizer().save_pretrained(made[name])
        return made[name]

    return folder


def noisy(model: Any, size: float = 0.3) -> None:
    """Every added number off its start, NEG's too, so that each of them matters."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in added_tensors(model).values():
            value.copy_(size * torch.randn(value.shape, generator=draw).to(value.dtype))


def plan(model: Any, **changed: Any) -> NatPlan:
    usual: dict[str, Any] = {"modules": attention_projections(model), "rank": 3, "scale": 2.0, "dropout": 0.0}
    return NatPlan(**{**usual, "neg_rank": 2, "neg_scale": 1.5, "width": 5, **changed})


def logits(model: Any, ids: list[list[int]], decoder: list[list[int]] | None = None) -> Tensor:
    given = (
        {"decoder_input_ids": torch.tensor(decoder or [[0, 5, 6]] * len(ids))}
        if model.config.is_encoder_decoder
        else {}
    )
    with torch.no_grad():
        found: Tensor = model(input_ids=torch.tensor(ids), **given).logits
    return found


IDS = [[5, 9, 17, 3, 44], [8, 2, 60, 61, 7]]


@pytest.mark.parametrize("name", FAMILIES)
def test_tdg_p4_zero_output_layer_equals_base_and_is_all_that_learns_first(name: str) -> None:
    """TDG-P4: with W_2 = 0 the logits are the base's, and the first gradient is W_2's alone."""
    model = family(name).eval()
    before = logits(model, IDS)
    add_units(model, plan(model), seed=0)
    with torch.no_grad():
        for _, layer in layers(model):
            layer.neg.a.normal_()
            layer.neg.b.normal_()
            layer.pos.b.normal_()
    assert torch.equal(logits(model, IDS), before)
    labels = {"labels": torch.tensor(IDS)}
    model(input_ids=torch.tensor(IDS), **labels).loss.backward()
    moved = {n for n, p in model.named_parameters() if p.grad is not None and bool(p.grad.abs().max() > 0)}
    assert moved == {f"{path}.unit.outer.weight" for path, _ in layers(model)}


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_tdg_p3_a_network_whose_weight_of_neg_is_zero_and_whose_value_is_the_addition_is_plain_lora(
    name: str, folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TDG-P3: of a network, against peft's LoRA."""
    nat = Student.load(StudentSettings(model=str(folders(name)))).model.eval()
    add_units(nat, plan(nat, weigh=False), seed=0)
    noisy(nat)
    how = AdapterSettings(kind="lora", rank=3, alpha=6.0, modules=plan(nat).modules)
    lora = Student.load(StudentSettings(model=str(folders(name)), adapter=how)).model.eval()
    for path, layer in layers(nat):
        added = lora.base_model.model.get_submodule(path)
        added.lora_A["default"].weight.data.copy_(layer.pos.a)
        added.lora_B["default"].weight.data.copy_(layer.pos.b)

    def plainly(x: Tensor, u: Tensor, *given: Any, weigh: bool) -> Tensor:
        return integrate(x, u, *given, weigh=weigh, value=lambda h: h - u)

    units = logits(nat, IDS)
    monkeypatch.setattr("feints.train.integrate.integrate", plainly)
    torch.testing.assert_close(logits(nat, IDS), logits(lora, IDS), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(units, logits(lora, IDS), atol=1e-2)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_answers_through_its_units(name: str) -> None:
    model = family(name).eval()
    before = logits(model, IDS)
    add_units(model, plan(model), seed=0)
    noisy(model)
    through = logits(model, IDS)
    assert not torch.allclose(through, before, atol=1e-3)
    with torch.no_grad():
        for _, layer in layers(model):
            layer.neg.b.mul_(-1.5)
    assert not torch.allclose(logits(model, IDS), through, atol=1e-4), "NEG plays no part"
    set_mode(model, "base")
    torch.testing.assert_close(logits(model, IDS), before)


@pytest.mark.parametrize("name", FAMILIES)
def test_generation_with_a_cache_in_batches_equals_generation_without(name: str, folders: Any) -> None:
    settings = StudentSettings(model=str(folders(name)))
    student = Student.load(settings)
    add_units(student.model, plan(student.model), seed=0)
    noisy(student.model)
    model = student.model.double().eval()
    source = LocalSource(model, student.renderer, "nat", LocalSettings(rows=4))
    texts = ["ab", "cde fgh", "x", "hij k", "lm", "no pq"]
    sampling = Sampling(temperature=0.0, max_tokens=9)
    requests = [Request(prompt=text, sampling=sampling) for text in texts]
    written = {request.prompt: done.raw["ids"] for part in source.decode_all(requests) for request, done in part}
    for request in requests:
        prompt, new = list(source.prompt_ids(request)), []
        while len(new) < 9 and (not new or new[-1] not in student.renderer.stop_ids):
            if student.seq2seq:
                last = logits(model, [prompt], [[0, *new]])[0, -1]
            else:
                last = logits(model, [prompt + new])[0, -1]
            new.append(int(last.argmax()))
        assert written[request.prompt] == new


def test_an_unknown_family_is_refused_with_the_names_there_are() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixing = nn.Linear(3, 3)

    with pytest.raises(StudentError, match="mixing"):
        attention_projections(Odd())
    with pytest.raises(StudentError, match="no module called nothing"):
        add_units(
            Odd(), NatPlan(modules=("nothing",), rank=1, scale=1, dropout=0, neg_rank=0, neg_scale=0, width=2), seed=0
        )


def test_low_rank_is_lora() -> None:
    layer = LowRank(D_IN, D_OUT, 2, 3.0)
    nn.init.normal_(layer.b)
    x = torch.randn(5, D_IN)
    torch.testing.assert_close(layer(x), 3.0 * x @ layer.a.T @ layer.b.T)


def test_in_training_pos_and_neg_read_one_dropped_input_and_the_query_the_whole_one() -> None:
    layer = NatProjection(nn.Linear(D_IN, D_OUT), plan(family("llama"), dropout=0.5)).train()
    for value in (layer.pos.b, layer.neg.b, layer.unit.outer.weight):
        nn.init.normal_(value)
    x = torch.randn(3, 7, D_IN)
    torch.manual_seed(3)
    found = layer(x)
    torch.manual_seed(3)
    kept = nn.functional.dropout(x, 0.5)
    u = layer.base(x)
    h_pos, h_neg = (u + part.scale * kept @ part.a.T @ part.b.T for part in (layer.pos, layer.neg))
    torch.testing.assert_close(found, naive(x, u, h_pos, h_neg, layer.unit)[0], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(layer.eval()(x), found)


def test_a_projection_keeps_the_precision_of_its_base() -> None:
    layer = NatProjection(nn.Linear(D_IN, D_OUT).bfloat16(), plan(family("llama")))
    assert layer(torch.randn(2, D_IN).bfloat16()).dtype is torch.bfloat16
