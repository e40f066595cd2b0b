"""The local source: the same texts in any company, after a break and from the ledger; stop texts, context, memory."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.generate.small_models import BUILDERS, CONTEXT, SEQ2SEQ, build
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from feints.errors import StudentError
from feints.generate.anatomy import cache_bytes_per_token
from feints.generate.ledger import Ledger
from feints.generate.local import LocalSettings, LocalSource
from feints.generate.rendering import Renderer
from feints.generate.sample import complete_all
from feints.generate.source import Message, Request, Sampling
from feints.records import Finish


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


def test_room_for_keys_is_reckoned_layer_by_layer_where_heads_differ() -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
    layers = {"num_key_value_heads": 2, "head_dim": 8, "global_head_dim": 16, "hidden_size_per_layer_input": 0}
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    config = AutoConfig.for_model("gemma4_text", vocab_size=60, layer_types=kinds, sliding_window=6, **sizes, **layers)
    model = AutoModelForCausalLM.from_config(config)
    heads = [layer.num_key_value_heads * layer.head_dim for layer in config.per_layer_config[:]]
    assert len(set(heads)) > 1
    assert cache_bytes_per_token(model) == 2 * sum(heads) * 4
    alike = build("llama grouped")
    assert cache_bytes_per_token(alike) == 2 * (2 * 2 * 8) * alike.dtype.itemsize


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
