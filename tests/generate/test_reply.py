from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feints.generate.body import call_seed, request_body
from feints.generate.reply import (
    completion_from_raw,
    completion_to_raw,
    parse_reply,
    share_reply,
    split_thinking,
)
from feints.generate.source import Completion, Message, Request, Sampling, Usage
from feints.generate.stream import CutError, PieceError, assemble, ends_stream
from feints.records import Finish

REQUEST = Request(messages=(Message(role="user", content="2 + 2?"),))


def chat(finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", **message}, "finish_reason": finish}]}


@pytest.mark.parametrize(
    ("written", "text", "thinking"),
    [
        ("plain", "plain", ""),
        ("<think>a\nb</think>\n\nThe answer is 4.", "The answer is 4.", "a\nb"),
        ("<think>cut off", "", "cut off"),
        ("a draft <think>cut off", "", "a draft cut off"),
        ("<think>a</think>one<think>b</think> two", "one two", "a\n\nb"),
        ("<think>a</think>one<think>cut", "", "aonecut"),
        ("opened in the prompt</think>4", "4", "opened in the prompt"),
        ("<think></think>4", "4", ""),
    ],
)
def test_thinking_in_the_text_is_cut_out(written: str, text: str, thinking: str) -> None:
    assert split_thinking(written) == (text, thinking)
    completion = parse_reply(REQUEST, "k", chat(content=written))
    assert (completion.text, completion.thinking) == (text, thinking)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_sent_apart_stays_apart(field: str) -> None:
    completion = parse_reply(REQUEST, "k", chat(content="4", **{field: "two and two"}))
    assert (completion.text, completion.thinking) == ("4", "two and two")
    both = parse_reply(REQUEST, "k", chat(content="<think>more</think>4", **{field: "two and two"}))
    assert (both.text, both.thinking) == ("4", "two and two\n\nmore")


def test_content_in_parts_is_joined() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "4"}]
    completion = parse_reply(REQUEST, "k", chat(content=parts))
    assert (completion.text, completion.thinking) == ("4", "hm")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", Finish.STOP),
        ("length", Finish.LENGTH),
        ("max_tokens", Finish.LENGTH),
        ("MAX_TOKENS", Finish.LENGTH),
        ("model_length", Finish.LENGTH),
        ("content_filter", Finish.REFUSAL),
        ("SAFETY", Finish.REFUSAL),
        ("abort", Finish.MALFORMED),
        ("error", Finish.MALFORMED),
        ("insufficient_system_resource", Finish.MALFORMED),
        ("STOP", Finish.STOP),
        (None, Finish.UNKNOWN),
        ("tool_calls", Finish.UNKNOWN),
    ],
)
def test_finish_reasons(reason: str | None, finish: Finish) -> None:
    assert parse_reply(REQUEST, "k", chat(reason, content="x")).finish is finish


def test_half_a_character_is_no_text_a_file_can_hold() -> None:
    cut = json.loads('"4 apples \\ud83c"')  # what a token limit leaves of an emoji
    read = parse_reply(REQUEST, "k", chat(content=cut, reasoning_content=cut))
    assert (read.text, read.thinking) == ("4 apples ?", "4 apples ?")


def test_refusals_are_marked() -> None:
    assert parse_reply(REQUEST, "k", chat(content=None, refusal="I cannot")).finish is Finish.REFUSAL
    filtered = {"error": {"code": "content_filter", "message": "filtered"}}
    assert parse_reply(REQUEST, "k", filtered).finish is Finish.REFUSAL


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "text", "usage", "logprobs", "error", "finish_reason"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["choices", "usage", "error", "id"]), json_values))
def test_reading_is_total(raw: dict[str, Any]) -> None:
    completion = parse_reply(REQUEST, "k", raw)
    assert isinstance(completion.text, str)
    assert isinstance(completion.finish, Finish)


def test_usage_as_stated_or_estimated() -> None:
    stated = chat(content="four") | {"usage": {"prompt_tokens": 9, "completion_tokens": 3}}
    assert parse_reply(REQUEST, "k", stated).usage == Usage(prompt_tokens=9, completion_tokens=3)
    assert parse_reply(REQUEST, "k", chat(content="12345")).usage == Usage(prompt_tokens=2, completion_tokens=2)


@pytest.mark.parametrize(
    ("stated", "usage"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 4018}, (10, 4008)),
        ({"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 18}, (10, 8)),
        ({"prompt_tokens": 10, "completion_tokens": 8, "total_tokens": 0}, (10, 8)),
        ({"prompt_tokens": "10", "completion_tokens": 8.0}, (10, 8)),
        ({"input_tokens": 10, "output_tokens": 8}, (10, 8)),
        ({"prompt_tokens": -1, "completion_tokens": -5}, (2, 1)),
        ({"prompt_tokens": None, "completion_tokens": True}, (2, 1)),
        ({"prompt_tokens": 1e400, "completion_tokens": 8.5}, (2, 1)),
    ],
)
def test_usage_in_every_form_that_servers_state_it_in(stated: dict[str, Any], usage: tuple[int, int]) -> None:
    read = parse_reply(REQUEST, "k", chat(content="four") | {"usage": stated}).usage
    assert (read.prompt_tokens, read.completion_tokens) == usage


def test_log_probabilities_of_both_shapes() -> None:
    raw = chat(content="4")
    raw["choices"][0]["logprobs"] = {"content": [{"token": "4", "logprob": -0.25}]}
    assert parse_reply(REQUEST, "k", raw).logprobs == (-0.25,)
    old = {"choices": [{"text": "4", "logprobs": {"token_logprobs": [None, -1.5]}}]}
    assert parse_reply(Request(prompt="x"), "k", old).logprobs == (-1.5,)
    old["choices"][0]["logprobs"] = {"token_logprobs": 5}
    assert parse_reply(Request(prompt="x"), "k", old).logprobs == ()


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.integers(0, 500))
def test_shares_of_one_call_add_up(texts: list[str], tokens: int) -> None:
    choices = [{"index": i, "message": {"content": text}, "finish_reason": "stop"} for i, text in enumerate(texts)]
    raw = {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": tokens}}
    parsed = [parse_reply(REQUEST, "k", share) for share in share_reply(REQUEST, raw, len(texts))]
    assert sum(c.usage.prompt_tokens for c in parsed) == 7
    assert sum(c.usage.completion_tokens for c in parsed) == tokens
    assert [c.text for c in parsed] == [split_thinking(text)[0] for text in texts]


def test_a_finished_completion_survives_storage() -> None:
    completion = Completion(
        key="k", text="a", thinking="b", finish=Finish.LENGTH, usage=Usage(prompt_tokens=1, completion_tokens=2),
        cost=0.5, logprobs=(-0.5, -1.0), raw={"own": [1]},
    )  # fmt: skip
    stored = json.loads(json.dumps(completion_to_raw(completion)))
    assert completion_from_raw("k", stored) == completion
    assert completion_from_raw("other", stored) == replace(completion, key="other")


# Bodies


def test_a_body_holds_what_was_asked_and_samples_differ_in_their_seed_only() -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=99, stop=("\n\n",), logprobs=True)
    one = Request(messages=REQUEST.messages, sampling=sampling, seed=3)
    body = request_body(one, "m")
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "2 + 2?"}],
        "temperature": 0.7,
        "top_p": 0.9,
        "max_tokens": 99,
        "seed": call_seed(one),
        "stop": ["\n\n"],
        "logprobs": True,
    }
    other = request_body(replace(one, sample_index=1), "m")
    assert {name for name in body if body[name] != other[name]} == {"seed"}
    assert 0 <= call_seed(one) < 2**31


def test_a_body_is_bent_to_the_provider() -> None:
    body = request_body(
        REQUEST, "m", n=4, stream=True, max_tokens_field="max_completion_tokens", omit=("seed", "top_p"),
        extra={"top_k": 5, "temperature": 1},
    )  # fmt: skip
    assert body["max_completion_tokens"] == 512
    assert body["n"] == 4
    assert body["stream_options"] == {"include_usage": True}
    assert (body["top_k"], body["temperature"]) == (5, 1)
    assert not {"seed", "top_p", "max_tokens", "stop"} & set(body)
    assert request_body(Request(prompt="raw"), "m")["prompt"] == "raw"


# Streams


def events(*pieces: Any, done: bool = True) -> bytes:
    written = [b": keep-alive\n\n", *(b"data: " + json.dumps(piece).encode() + b"\r\n\r\n" for piece in pieces)]
    return b"".join(written) + (b"data: [DONE]\n\n" if done else b"")


def piece(finish: str | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"id": "x", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def test_a_stream_adds_up_to_the_reply_it_would_have_been() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    data = events(
        piece(role="assistant", content=""), piece(reasoning_content="let me "), piece(reasoning_content="see"),
        piece(content="fo\u2028ur"), piece(content=" ½", index=1), piece(content="!"), piece("stop"),
        piece("length", index=1), {"id": "x", "choices": [], "usage": usage},
    )  # fmt: skip
    reply = assemble(data)
    assert reply["usage"] == usage
    first, second = reply["choices"]
    assert first["message"] == {"role": "assistant", "content": "fo\u2028ur!", "reasoning_content": "let me see"}
    assert (first["finish_reason"], second["finish_reason"]) == ("stop", "length")
    assert second["message"]["content"] == " ½"


def test_a_null_in_a_later_piece_leaves_what_was_stated() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    data = events(piece(content="four") | {"usage": None}, piece("stop") | {"usage": usage}, piece() | {"usage": None})
    assert assemble(data)["usage"] == usage


@given(st.text(max_size=60), st.integers(1, 7))
def test_any_text_survives_being_streamed(text: str, size: int) -> None:
    pieces = [piece(content=text[i : i + size]) for i in range(0, len(text), size)]
    data = b"".join(
        b"data: " + json.dumps(p, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n\n"
        for p in [*pieces, piece("stop")]
    )
    assert (assemble(data)["choices"][0]["message"]["content"] or "") == text


def test_the_halves_of_a_character_cut_in_two_become_one() -> None:
    data = events(piece(content="ok \ud83d"), piece(content="\ude00 4"), piece("stop"))
    assert assemble(data)["choices"][0]["message"]["content"] == "ok \U0001f600 4"


@pytest.mark.parametrize("in_parts", [True, False])
def test_thoughts_in_parts_are_continued_and_the_text_after_them_does_not_replace_them(in_parts: bool) -> None:
    def thought(text: str) -> dict[str, Any]:
        return piece(content=[{"type": "thinking", "thinking": [{"type": "text", "text": text}]}])

    texts = [[{"type": "text", "text": text}] if in_parts else text for text in ("The answer", " is 4")]
    data = events(
        piece(content=""), thought("Okay"), thought(", two"), thought(" plus"), *(piece(content=t) for t in texts),
        piece("stop"),
    )  # fmt: skip
    read = parse_reply(REQUEST, "k", assemble(data))
    assert (read.text, read.thinking) == ("The answer is 4", "Okay, two plus")


def test_log_probabilities_are_continued() -> None:
    parts = [piece(content="a"), piece(content="b"), piece("stop")]
    for number, part in enumerate(parts[:2]):
        part["choices"][0]["logprobs"] = {"content": [{"logprob": -number - 1.0}]}
    assert parse_reply(REQUEST, "k", assemble(events(*parts))).logprobs == (-1.0, -2.0)


def test_a_stream_cut_short_is_not_a_reply() -> None:
    whole = events(piece(content="four"), piece("stop"), done=False)
    assert assemble(whole)["choices"][0]["message"]["content"] == "four"
    assert assemble(whole + b"data: [DONE]")["choices"]
    for end in range(len(whole) - 4):
        with pytest.raises(CutError):
            assemble(whole[:end])
    with pytest.raises(ValueError, match="Expecting"):
        assemble(b"data: <html>\n\n")
    with pytest.raises(PieceError, match="overloaded"):
        assemble(events(piece(content="fo"), {"error": {"message": "overloaded"}}))


def test_the_end_mark_is_seen_with_and_without_a_line_end() -> None:
    assert ends_stream(b"data: [DONE]\n\n") and ends_stream(b"data: [DONE]")
    assert ends_stream(b"\r\n\r\ndata:[DONE]\r\n\r\n") and ends_stream(b"}\n\n[DONE]\n")
    assert not ends_stream(b'data: {"choices": []}\n\n')
    assert not ends_stream(b'data: {"choices": [{"delta": {"content": "print [DONE]'), "a text cut by a packet"
