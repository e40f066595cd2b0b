from __future__ import annotations

import asyncio
import functools
import threading
import warnings
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from feints.errors import StudentError
from feints.generate.decode import Manner, Row, choose, decode, samples_a_prompt, uniforms
from feints.generate.lanes import open_lanes
from feints.generate.ledger import Ledger
from feints.generate.local import LocalSettings, LocalSource
from feints.generate.rendering import Renderer
from feints.generate.sample import complete_all
from feints.generate.source import Message, Request, Sampling
from feints.records import Finish

VOCABULARY = 60
CONTEXT = 96
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
BUILDERS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=4)),
    "llama grouped": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, num_key_value_heads=2)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES, num_key_value_heads=2)),
    "mistral window": lambda: MistralForCausalLM(MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=6)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=CONTEXT,
            n_embd=32,
            n_layer=2,
            n_head=4,
            initializer_range=0.4,
            bos_token_id=1,
            eos_token_id=2,
        )
    ),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(
            vocab_size=VOCABULARY,
            d_model=32,
            d_kv=8,
            d_ff=48,
            num_layers=2,
            num_heads=4,
            initializer_factor=3.0,
            decoder_start_token_id=0,
        )
    ),
    "bart": lambda: BartForConditionalGeneration(
        BartConfig(
            vocab_size=VOCABULARY,
            max_position_embeddings=CONTEXT,
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            init_std=0.4,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=2,
            forced_eos_token_id=None,
        )
    ),
}
SEQ2SEQ = ("t5", "bart")


@functools.cache
def build(name: str) -> Any:
    torch.manual_seed(0)
    return BUILDERS[name]().double().eval()


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


# ------------------------------------------------------------------------------------------------ the source


@functools.cache
def tokenizer() -> Any:
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789 .\n?"]
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *letters])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def source(name: str = "llama", rows: int = 6, **more: Any) -> LocalSource:
    renderer = Renderer(tokenizer(), seq2seq=name in SEQ2SEQ)
    return LocalSource(build(name), renderer, "test", LocalSettings(rows=rows), **more)


def asking(count: int, samples: int = 1, **sampling: Any) -> list[Request]:
    chosen = Sampling(**{"max_tokens": 20, **sampling})
    return [
        Request(
            messages=(Message(role="user", content="how many " * (problem % 5) + str(problem)),),
            sampling=chosen,
            sample_index=index,
            seed=4,
        )
        for problem in range(count)
        for index in range(samples)
    ]


@pytest.mark.parametrize("name", ["llama", "t5"])
def test_every_request_is_answered_the_same_in_any_company(name: str) -> None:
    requests = asking(7, samples=3, temperature=4.0 if name == "t5" else 0.9)
    together = complete_all(source(name), requests)
    assert together == complete_all(source(name), requests)
    shuffled = complete_all(source(name), requests[::-1])[::-1]
    alone = [complete_all(source(name, rows=1), [request])[0] for request in requests]
    assert together == shuffled == alone
    assert len({completion.text for completion in together[:3]}) > 1
    assert all(done.usage.completion_tokens == len(done.raw["ids"]) for done in together)
    assert [bool(done.usage.prompt_tokens) for done in together] == [request.sample_index == 0 for request in requests]


def test_seed_sample_index_and_prompt_each_change_the_draw() -> None:
    base = asking(1, temperature=1.0)[0]
    others = [replace(base, seed=5), replace(base, sample_index=1), asking(2, temperature=1.0)[1]]
    texts = [done.text for done in complete_all(source(), [base, *others])]
    assert len(set(texts)) == 4


def test_whole_batches_are_the_same_when_others_are_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feints.generate.local.BATCH_REQUESTS", 4)
    here = source()
    requests = asking(9, samples=2, temperature=0.5) + asking(5, max_tokens=7)
    batches = here.batches(requests)
    assert Counter(request for batch in batches for request in batch) == Counter(requests)
    assert batches == here.batches(requests[::-1])
    for left_out in range(len(batches)):
        rest = [batch for index, batch in enumerate(batches) if index != left_out]
        assert here.batches([request for batch in rest for request in batch]) == rest


def test_a_rerun_through_the_ledger_decodes_nothing(tmp_path: Any) -> None:
    requests = asking(6, samples=2, temperature=0.9)
    told: list[tuple[int, int]] = []
    here = source(progress=lambda done, tokens: told.append((done, tokens)))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = complete_all(here, requests, ledger)
        assert told[-1] == (12, sum(done.usage.completion_tokens for done in first))
        told.clear()
        assert complete_all(here, requests, ledger) == first
        assert told == []


def test_a_broken_run_goes_on_to_the_same_texts(tmp_path: Any) -> None:
    requests = asking(12, samples=2, temperature=0.9)
    whole = complete_all(source(rows=3), requests)

    class BrokenError(Exception):
        pass

    def fail(done: int, tokens: int) -> None:
        if done >= 9:
            raise BrokenError

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(BrokenError):
            complete_all(source(rows=3, progress=fail), requests, ledger)
        assert complete_all(source(rows=3), requests, ledger) == whole


def test_stop_texts_end_the_completion_and_are_not_part_of_it() -> None:
    requests = asking(12, temperature=1.2, max_tokens=60)
    free = complete_all(source(), requests)
    stop = Counter(text for done in free for text in zip(done.text[2:], done.text[3:], strict=False)).most_common(1)[0][
        0
    ]
    mark = "".join(stop)
    stopped = complete_all(source(), asking(12, temperature=1.2, max_tokens=60, stop=(mark, "zzzz")))
    hit = 0
    for before, after in zip(free, stopped, strict=True):
        assert mark not in after.text
        assert after.text == before.text.split(mark)[0].strip()
        if mark in before.text:
            hit += 1
            assert after.finish is Finish.STOP
            assert after.usage.completion_tokens <= before.usage.completion_tokens
            assert "".join(tokenizer().decode(after.raw["ids"])).rstrip().endswith(mark.rstrip())
    assert hit > 0


def test_what_meets_the_context_is_cut_and_says_so() -> None:
    text = "a" * (CONTEXT - 6)
    (done,) = complete_all(source(), [Request(prompt=text, sampling=Sampling(max_tokens=50, temperature=1.0))])
    assert done.finish is Finish.LENGTH
    assert done.usage.completion_tokens == 6


def test_a_prompt_longer_than_the_context_is_refused_by_name() -> None:
    requests = [*asking(2), Request(prompt="b" * CONTEXT)]
    assert source().too_long(requests) == [2]
    with pytest.raises(StudentError, match=r'1 of 3 prompts .* context of 96 .* begins "bbbb'):
        complete_all(source(), requests)
    assert source("t5").too_long([Request(prompt="b" * 500)]) == []


def test_completions_arrive_before_the_last_is_done_and_closing_the_stream_ends_the_thread() -> None:
    async def first_only() -> int:
        stream = source(rows=2).complete(asking(40, temperature=1.0))
        async for _ in stream:
            break
        await stream.aclose()
        return threading.active_count()

    before = threading.active_count()
    told: list[int] = []
    here = source(rows=2, progress=lambda done, tokens: told.append(done))

    async def some() -> None:
        stream = here.complete(asking(60, temperature=1.0))
        async for _ in stream:
            break
        await stream.aclose()

    asyncio.run(some())
    assert told[-1] < 60
    asyncio.run(first_only())
    assert threading.active_count() <= before


def test_less_memory_means_fewer_rows_and_the_same_texts() -> None:
    requests = asking(10, temperature=0.9)
    narrow = LocalSource(
        build("llama"), Renderer(tokenizer()), "test", LocalSettings(rows=64, cache_gib=200 * 2 * 2 * 32 * 8 / 2**30)
    )
    assert 1 <= narrow._width([narrow._row(request) for request in requests]) < 10
    assert complete_all(narrow, requests) == complete_all(source(), requests)


def test_who_answers_depends_on_weights_rendering_and_precision() -> None:
    model, renderer = build("llama"), Renderer(tokenizer())
    same = {LocalSource(model, renderer, "one").identity, LocalSource(model, Renderer(tokenizer()), "one").identity}
    other = LocalSource(model, renderer, "two").identity
    torch.manual_seed(0)
    single = LocalSource(BUILDERS["llama"]().eval(), renderer, "one").identity
    assert len(same) == 1
    assert len(same | {other, single}) == 3


def test_a_saved_student_answers_as_the_one_in_memory(tmp_path: Any) -> None:
    torch.manual_seed(0)
    model = BUILDERS["llama"]().eval()
    model.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    loaded = LocalSource.from_folder(tmp_path, LocalSettings(rows=4))
    requests = asking(5)
    here = LocalSource(model, Renderer(tokenizer()), "x", LocalSettings(rows=4))
    assert [done.text for done in complete_all(loaded, requests)] == [
        done.text for done in complete_all(here, requests)
    ]
