"""Decoding in lanes: each text is the one written alone, greedy text is transformers' own, draws are fair and apart."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tests.generate.small_models import BUILDERS, SEQ2SEQ, SIZES, VOCABULARY, build
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, T5Config, T5ForConditionalGeneration

from feints.errors import StudentError
from feints.generate.decode import Manner, Row, choose, decode, samples_a_prompt, uniforms
from feints.generate.lanes import open_lanes
from feints.records import Finish


def prompts(count: int, longest: int = 20, seed: int = 0) -> list[tuple[int, ...]]:
    rng = np.random.default_rng(seed)
    return [tuple(rng.integers(3, VOCABULARY, rng.integers(1, longest)).tolist()) for _ in range(count)]


def written(name: str, rows: list[Row], manner: Manner, lanes: int) -> list[Any]:
    seq2seq = name in SEQ2SEQ
    found: dict[int, Any] = {}
    step = lanes if seq2seq else len(rows)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        opened = open_lanes(build(name), min(lanes, len(part)), 0, seq2seq=seq2seq, samples=samples_a_prompt(part))
        for ended in decode(opened, part, manner):
            for at, row in ended:
                assert start + at not in found
                found[start + at] = row
    return [found[index] for index in range(len(rows))]


STOPS = frozenset({2, 7, 11, 19, 23, 31, 40, 52})
GREEDY = Manner(temperature=0.0, top_p=1.0, stop_ids=STOPS)
SAMPLED = Manner(temperature=0.8, top_p=0.9, stop_ids=STOPS)


def generated(name: str, prompt: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """What transformers' own greedy loop writes, one prompt at a time."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        ids = torch.tensor([prompt])
        out = build(name).generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=limit,
            do_sample=False,
            eos_token_id=sorted(GREEDY.stop_ids),
            pad_token_id=0,
        )
    return tuple(out[0, 1 if name in SEQ2SEQ else len(prompt) :].tolist())


@pytest.mark.parametrize("name", BUILDERS)
def test_greedy_is_transformers_own(name: str) -> None:
    rows = [Row(prompt=prompt, key=0, limit=4 + 5 * (index % 7)) for index, prompt in enumerate(prompts(24))]
    ours = written(name, rows, GREEDY, lanes=7)
    assert [row.ids for row in ours] == [generated(name, row.prompt, row.limit) for row in rows]
    assert {row.finish for row in ours} == {Finish.STOP, Finish.LENGTH}
    assert all((row.ids[-1] in GREEDY.stop_ids) == (row.finish is Finish.STOP) for row in ours)


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("manner", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_neighbours_lanes_and_dropped_rows_change_nothing(name: str, manner: Manner) -> None:
    rows = [Row(prompt=prompt, key=17 * index, limit=1 + index % 30) for index, prompt in enumerate(prompts(30))]
    alone = [written(name, [row], manner, lanes=1)[0] for row in rows]
    for lanes in (1, 4, 30):
        assert written(name, rows, manner, lanes) == alone


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_samples_that_share_a_prompt_are_those_of_separate_prompts(name: str) -> None:
    first, second = prompts(2, seed=3)
    rows = [Row(prompt=prompt, key=key, limit=20) for prompt in (first, second) for key in range(6)]
    together = written(name, rows, SAMPLED, lanes=12)
    apart = [written(name, [row], SAMPLED, lanes=1)[0] for row in rows]
    assert together == apart
    assert len({row.ids for row in together[:6]}) > 1


@pytest.mark.parametrize("name", ["llama", "llama grouped", "mistral window", "gpt2"])
def test_texts_packed_into_one_lane_are_those_written_alone(name: str) -> None:
    """Some prompts have more samples than seats, some fewer; texts end unevenly, and lanes are refilled and dropped."""
    counts = [1, 9, 4, 3, 4, 5, 2, 4, 6, 4]
    asked = sorted(prompts(len(counts), seed=5), key=len, reverse=True)
    rows = [
        Row(prompt=prompt, key=31 * problem + sample, limit=1 + (7 * problem + 11 * sample) % 40)
        for problem, (prompt, count) in enumerate(zip(asked, counts, strict=True))
        for sample in range(count)
    ]
    assert samples_a_prompt(rows) == 4
    alone = [written(name, [row], SAMPLED, lanes=1)[0] for row in rows]
    for lanes in (4, 9, 20):
        assert written(name, rows, SAMPLED, lanes) == alone


def test_texts_are_packed_where_the_model_takes_any_mask_and_has_a_key_for_every_head() -> None:
    def packed(name: str, texts: int, samples: int) -> tuple[int, int]:
        lanes = open_lanes(build(name), texts, 0, seq2seq=name in SEQ2SEQ, samples=samples)
        return lanes.rows, lanes.share

    assert packed("llama", 24, 3) == packed("gpt2", 24, 3) == (8, 3)
    assert packed("llama", 24, 10) == (6, 4)
    assert packed("llama", 2, 4) == (1, 2)
    for name in ("llama grouped", "mistral window", "t5"):
        assert packed(name, 24, 3) == (24, 1)


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_a_shared_prompt_is_computed_once(name: str) -> None:
    (prompt,) = prompts(1, longest=30, seed=8)
    rows = [Row(prompt=prompt, key=key, limit=3) for key in range(10)]
    seen: list[int] = []
    part = build(name).get_encoder() if name == "t5" else build(name)
    handle = part.register_forward_pre_hook(
        lambda module, args, given: seen.append(given["input_ids"].numel()), with_kwargs=True
    )
    try:
        written(name, rows, SAMPLED, lanes=10)
    finally:
        handle.remove()
    assert seen[0] == len(prompt)
    assert max(seen[1:], default=0) <= 12 < len(prompt), "then a token for each seat, the prompt no more"


def test_rows_far_longer_than_the_room_made_at_a_time() -> None:
    torch.manual_seed(1)
    long = {**SIZES, "max_position_embeddings": 1000}
    model = LlamaForCausalLM(LlamaConfig(**long, num_key_value_heads=4)).double().eval()
    rows = [
        Row(prompt=prompt, key=0, limit=limit)
        for prompt, limit in zip(prompts(6), (400, 3, 150, 5, 300, 7), strict=True)
    ]
    never = Manner(temperature=0.0, top_p=1.0, stop_ids=frozenset())

    def run(part: list[Row], lanes: int) -> dict[int, Any]:
        return dict(pair for ended in decode(open_lanes(model, lanes, 0, seq2seq=False), part, never) for pair in ended)

    together = run(rows, 3)
    assert [len(together[index].ids) for index in range(6)] == [row.limit for row in rows]
    for index, row in enumerate(rows):
        assert run([row], 1)[0] == together[index]


def test_logprobs_are_those_of_one_plain_pass() -> None:
    manner = Manner(temperature=0.8, top_p=0.9, stop_ids=frozenset({2}), logprobs=True)
    rows = [Row(prompt=prompt, key=index, limit=15) for index, prompt in enumerate(prompts(5))]
    for row, done in zip(rows, written("llama", rows, manner, lanes=2), strict=True):
        ids = torch.tensor([row.prompt + done.ids])
        with torch.inference_mode():
            table = torch.log_softmax(build("llama")(ids).logits[0].float(), dim=-1)
        start = len(row.prompt) - 1
        plain = [float(table[start + at, token]) for at, token in enumerate(done.ids)]
        assert done.logprobs == pytest.approx(plain, abs=1e-5)


def test_a_text_cut_at_a_stop_text_keeps_a_logprob_for_each_id() -> None:
    def cut(ids: Any) -> int | None:
        return 3 if len(ids) >= 3 else None

    manner = Manner(temperature=0.8, top_p=1.0, stop_ids=frozenset(), cut=cut, logprobs=True)
    rows = [Row(prompt=prompt, key=index, limit=15) for index, prompt in enumerate(prompts(3))]
    for done in written("llama", rows, manner, lanes=2):
        assert (len(done.ids), len(done.logprobs), done.finish) == (3, 3, Finish.STOP)


def test_an_encoder_decoder_writes_longer_than_the_room_made_at_a_time() -> None:
    torch.manual_seed(1)
    size = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    model = T5ForConditionalGeneration(T5Config(**size, decoder_start_token_id=0)).double().eval()
    never = Manner(temperature=1.0, top_p=1.0, stop_ids=frozenset(), logprobs=True)
    (prompt,) = prompts(1)
    lanes = open_lanes(model, 1, 0, seq2seq=True)
    ((_, done),) = (pair for ended in decode(lanes, [Row(prompt=prompt, key=0, limit=300)], never) for pair in ended)
    with torch.inference_mode():
        given = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": torch.tensor([(0, *done.ids[:-1])])}
        table = torch.log_softmax(model(**given).logits[0].float(), dim=-1)
    plain = [float(table[at, token]) for at, token in enumerate(done.ids)]
    assert len(done.ids) == 300 and done.logprobs == pytest.approx(plain, abs=1e-4)


def test_a_lane_that_waits_for_others_is_not_counted_beyond_the_context() -> None:
    never = Manner(temperature=0.0, top_p=1.0, stop_ids=frozenset())
    rows = [Row(prompt=tuple(range(3, 53)), key=0, limit=1)]
    rows += [Row(prompt=(3 + n,), key=n, limit=80) for n in range(4)]
    assert [len(done.ids) for done in written("gpt2", rows, never, lanes=5)] == [1, 80, 80, 80, 80]


def test_a_state_that_cannot_be_shared_is_refused() -> None:
    class Stateful:
        config = MambaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1)

    with pytest.raises(StudentError, match="vLLM"):
        open_lanes(Stateful(), 1, 0, seq2seq=False)


# ------------------------------------------------------------------------------------------------ drawing a token


def naive_choice(logits: list[float], temperature: float, top_p: float, draw: float) -> int:
    weights = np.exp((np.array(logits) - max(logits)) / temperature)
    weights /= weights.sum()
    order = sorted(range(len(weights)), key=lambda token: -weights[token]) if top_p < 1 else range(len(weights))
    kept, sum_before = [], 0.0
    for token in order:
        if sum_before < top_p:
            kept.append(token)
        sum_before += weights[token]
    target, reached = draw * sum(weights[token] for token in kept), 0.0
    for token in kept:
        reached += weights[token]
        if target < reached:
            return token
    return kept[-1]


@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.3, 1e-9])
def test_choice_against_a_loop(top_p: float) -> None:
    rng = np.random.default_rng(0)
    logits, draws = rng.normal(0, 2, (200, 12)), rng.random(200)
    manner = Manner(temperature=0.7, top_p=top_p, stop_ids=frozenset())
    ours = choose(torch.tensor(logits), manner, torch.tensor(draws)).tolist()
    assert ours == [naive_choice(row.tolist(), 0.7, top_p, draw) for row, draw in zip(logits, draws, strict=True)]
    if top_p < 1e-6:
        assert ours == logits.argmax(1).tolist()


def test_a_token_without_a_chance_is_never_chosen_even_at_the_end_of_the_line() -> None:
    logits = torch.tensor([[0.0, 1.0, -float("inf"), -float("inf")]])
    manner = Manner(temperature=1.0, top_p=1.0, stop_ids=frozenset())
    assert choose(logits, manner, torch.tensor([1.0 - 2**-53], dtype=torch.float64)).item() == 1
    assert choose(logits, manner, torch.tensor([0.0])).item() == 0


def test_streams_are_uniform_and_apart() -> None:
    keys = np.arange(200, dtype=np.uint64).repeat(200)
    counts = np.tile(np.arange(200), 200)
    draws = uniforms(keys, counts)
    assert draws.min() >= 0
    assert draws.max() < 1
    cells = np.bincount((draws * 100).astype(int), minlength=100)
    assert ((cells - 400) ** 2 / 400).sum() < 150  # chi square with 99 degrees of freedom: 149 at p = 0.001
    table = draws.reshape(200, 200)
    assert abs(np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(table[:, :-1].ravel(), table[:, 1:].ravel())[0, 1]) < 0.02
    assert len(set(draws)) == len(draws)
