from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from tests.generate.conftest import Endpoint, Said, streamed

from feints.errors import SettingsError, SourceError
from feints.generate.budget import Budget, Price
from feints.generate.fate import AgainError, ForGoodError, judge_error, judge_proxy
from feints.generate.ledger import Ledger
from feints.generate.openai import OpenAISource
from feints.generate.plan import plan
from feints.generate.receiving import is_sign_of_life
from feints.generate.sample import complete_all, sample_all
from feints.generate.settings import TeacherSettings
from feints.generate.source import Completion, Message, Request, Usage
from feints.records import Finish

Start = Callable[[Callable[[dict[str, Any], int], Said]], Endpoint]


def teacher(endpoint: Endpoint, **more: Any) -> OpenAISource:
    settings: dict[str, Any] = {"base_url": f"{endpoint.address}/v1", "model": "m", "name": "teacher", **more}
    return OpenAISource(TeacherSettings(**settings))


def questions(count: int, samples: int = 1) -> list[Request]:
    turns = [(Message(role="user", content=f"question {i}"),) for i in range(count)]
    return [Request(messages=turn, sample_index=index) for turn in turns for index in range(samples)]


def reply(text: str = "four", finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"content": text}, "finish_reason": finish}], **more}


def error(message: str, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


def piece(content: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish}], **more}


def asked(body: dict[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


# Keys


@pytest.mark.parametrize("word", ["0", "none", "EMPTY", "ollama"])
def test_a_word_in_place_of_a_key_leaves_replies_as_they_are(
    endpoint: Start, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEINTS_TEST_KEY", word)
    whole = reply(f"It is {word}, 100 of {word}.", usage={"prompt_tokens": 100, "completion_tokens": 10})
    server = endpoint(lambda body, number: Said(whole))
    assert complete_all(teacher(server, api_key_env="FEINTS_TEST_KEY"), questions(1))[0].raw == whole


def test_a_long_key_is_hidden_in_an_answer_too(endpoint: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEINTS_TEST_KEY", "sk-canary-0123456789")
    source = teacher(endpoint(lambda body, number: Said(reply("sk-canary-0123456789"))), api_key_env="FEINTS_TEST_KEY")
    assert complete_all(source, questions(1))[0].text == "[key]"


def test_a_shorter_key_is_hidden_in_what_tells_of_a_failure_and_left_in_an_answer(
    endpoint: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEINTS_TEST_KEY", "sk-abc/def+ghi==")
    escaped = r'{"error": {"message": "wrong key: sk-abc\/def+ghi=="}}'
    server = endpoint(lambda body, number: Said(reply("sk-abc/def+ghi==")) if number == 1 else Said(escaped, 401))
    source = teacher(server, api_key_env="FEINTS_TEST_KEY")
    assert complete_all(source, questions(1))[0].text == "sk-abc/def+ghi=="
    with pytest.raises(SourceError, match=r"wrong key: \[key\]"):
        complete_all(source, questions(1))


@pytest.mark.parametrize(
    "said",
    [
        Said({"error": {"message": "no Bearer sk-canary-0123456789", "code": 401}}),
        streamed({"error": {"message": "no Bearer sk-canary-0123456789", "code": 401}}),
        streamed(["no Bearer sk-canary-0123456789"]),
        Said({"error": {"message": "flagged: Bearer sk-canary-0123456789", "code": "invalid_prompt"}}, 400),
    ],
)
def test_a_key_is_in_no_traceback_of_a_failure(endpoint: Start, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEINTS_TEST_KEY", "sk-canary-0123456789")
    source = teacher(endpoint(lambda body, number: said), api_key_env="FEINTS_TEST_KEY", max_attempts=1)
    with pytest.raises(SourceError, match=r"Bearer \[key\]") as caught:
        complete_all(source, questions(1))
    assert "sk-canary-0123456789" not in "".join(traceback.format_exception(caught.value))


# Endpoints in trouble


def test_an_endpoint_that_cuts_connections_is_asked_once_more_at_once_and_then_slowly(endpoint: Start) -> None:
    server = endpoint(lambda body, number: Said(None))
    with Ledger() as ledger:
        with pytest.raises(SourceError, match="failed 3 times"):
            complete_all(teacher(server, max_attempts=3, concurrency_start=2), questions(50), ledger)
        assert ledger.count()["unknown_calls"] == len(server.calls) <= 2 * 3, "calls that wait keep their slots"
    assert server.moments[-1] - server.moments[0] > 0.25


def test_retry_after_0_does_not_use_up_all_attempts_at_once(endpoint: Start) -> None:
    server = endpoint(lambda body, number: Said(error("boom"), 500, headers={"Retry-After": "0"}))
    with pytest.raises(SourceError, match="failed 3 times"):
        complete_all(teacher(server, max_attempts=3), questions(1))
    assert server.moments[2] - server.moments[1] > 0.25


def test_patience_counts_from_the_first_refusal_and_text_that_comes_starts_it_anew(endpoint: Start) -> None:
    slow = streamed(*[piece("a")] * 8, piece("a", "stop"), gap=0.15)

    def respond(body: dict[str, Any], number: int) -> Said:
        return slow if number == 1 else Said(error("busy"), 429, headers={"Retry-After": "0.3"})

    def respond_in_time(body: dict[str, Any], number: int) -> Said:
        return respond(body, number) if number < 5 else Said(reply())

    patient = teacher(endpoint(respond_in_time), patience_s=0.5)
    assert len(complete_all(patient, questions(2))) == 2
    with pytest.raises(SourceError, match=r"only refused for [12] s \(HTTP 429 busy\)"):
        complete_all(teacher(endpoint(respond), patience_s=0.5), questions(2))


def test_an_answer_starts_patience_anew(endpoint: Start) -> None:
    busy = Said(error("busy"), 429, headers={"Retry-After": "0"})
    server = endpoint(lambda body, number: busy if number % 2 else Said(reply(), gap=0.5))
    source = teacher(server, patience_s=2.0, concurrency_start=1, concurrency_ceiling=1)
    assert len(complete_all(source, questions(6))) == 6


def test_whoever_watches_is_told_of_a_wait_for_the_endpoint(endpoint: Start) -> None:
    told: list[tuple[str, float]] = []

    class Watcher:
        def asked(self, count: int) -> None: ...

        def answered(self, completion: Completion, *, stored: bool) -> None: ...

        def waiting(self, why: str, seconds: float) -> None:
            told.append((why, seconds))

    busy = Said(error("slow down, please"), 429, headers={"Retry-After": "0.2"})
    server = endpoint(lambda body, number: busy if number == 1 else Said(reply()))
    complete_all(teacher(server), questions(1), observer=Watcher())
    ((why, seconds),) = told
    assert why == "the endpoint refuses (HTTP 429)" and seconds >= 0.2


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (402, error("Insufficient Balance", code="invalid_request_error")),
        (429, error("no quota", type="insufficient_quota", code=429)),
        (429, error("no quota", type="insufficient_quota", code="429")),
        (429, error("suspended", type="exceeded_current_quota_error")),
        (200, error("no quota", type="insufficient_quota", code=429)),
    ],
)
def test_an_exhausted_account_stops_sampling_at_once(endpoint: Start, status: int, fault: dict[str, Any]) -> None:
    server = endpoint(lambda body, number: Said(fault, status))
    with pytest.raises(SourceError, match="no credit is left; fill up the account"):
        complete_all(teacher(server), questions(1))
    assert len(server.calls) == 1


@pytest.mark.parametrize(("status", "charged"), [(408, True), (504, True), (524, True), (409, False), (425, False)])
def test_a_gateway_that_gave_up_waiting_may_have_cost(status: int, charged: bool) -> None:
    again = judge_error(status, {}, b"", TeacherSettings())
    assert isinstance(again, AgainError) and again.is_charged is charged and not again.is_refusal


def test_a_proxy_that_wants_a_password_is_told_apart_and_nothing_is_charged(endpoint: Start) -> None:
    server = endpoint(lambda body, number: Said("", 407))
    with Ledger() as ledger:
        with pytest.raises(SourceError, match="407.*proxy's name and password"):
            complete_all(teacher(server), questions(1), ledger)
        assert ledger.count()["unknown_calls"] == 0

    async def before_the_tunnel() -> Exception:
        info = aiohttp.RequestInfo(None, "CONNECT", None)  # type: ignore[arg-type]  # not looked at
        return judge_proxy(aiohttp.ClientHttpProxyError(info, (), status=407), TeacherSettings())

    assert isinstance(asyncio.run(before_the_tunnel()), ForGoodError)


def test_silence_names_its_setting(endpoint: Start) -> None:
    server = endpoint(lambda body, number: streamed(piece("a", "stop"), gap=0.5))
    with pytest.raises(SourceError, match=r"silent for 0.2 s; .*teacher\.silence_s"):
        complete_all(teacher(server, silence_s=0.2, max_attempts=1), questions(1))


@pytest.mark.parametrize("sign", [": waiting", "data:", ""])
def test_signs_of_life_alone_do_not_hold_a_call_for_ever(endpoint: Start, sign: str) -> None:
    kind, whole = ("text/event-stream", streamed(piece("four", "stop")).body) if sign else ("application/json", reply())
    text = whole if isinstance(whole, str) else json.dumps(whole)
    server = endpoint(lambda body, number: Said(f"{sign}\n\n" * 8 + text, kind=kind, gap=0.1))
    assert complete_all(teacher(server, silence_s=5.0), questions(1))[0].text == "four"
    with Ledger() as ledger:
        with pytest.raises(SourceError, match=r"only signs of life for .*teacher\.patience_s"):
            complete_all(teacher(server, patience_s=0.3, max_attempts=1), questions(1), ledger)
        assert ledger.count()["unknown_calls"] == 1, "the server may have written, and charged, what was not waited for"


def test_part_of_a_long_event_is_no_sign_of_life() -> None:
    assert all(map(is_sign_of_life, [b": waiting\n\n", b"data:\n\n", b"\r\n", b": a\n\n: b\n\n"]))
    assert not any(map(is_sign_of_life, [b"data: {", b"the middle of it", b'"}\n\n', b": a\n\ndata: [DONE]\n\n"]))


# Errors and pages with status 200


def test_an_error_with_status_200_is_judged_by_its_own_code(endpoint: Start) -> None:
    faults = [
        error("slow down", code=429),
        error("bad gateway", code=502),
        error("overloaded", type="overloaded_error"),
    ]
    server = endpoint(lambda body, number: Said(faults[number - 1] if number <= 3 else reply()))
    sampled = sample_all(teacher(server), questions(1))
    assert sampled.answered[0][1].text == "four"
    assert (sampled.report.returned, sampled.report.lost) == (3, 0)
    with pytest.raises(SourceError, match="wrong key.*teacher.api_key_env"):
        complete_all(teacher(endpoint(lambda body, number: Said(error("wrong key", code=401)))), questions(1))
    for unclear in ({"error": "oops"}, {"object": "error", "message": "oops", "code": None}):
        again = endpoint(lambda body, number, fault=unclear: Said(fault if number == 1 else reply()))  # type: ignore[misc]
        assert sample_all(teacher(again), questions(1)).report.lost == 1


@pytest.mark.parametrize("count", [1, 20])
def test_an_endpoint_that_never_answers_stops_sampling_and_no_page_becomes_an_answer(
    endpoint: Start, count: int
) -> None:
    server = endpoint(lambda body, number: Said("<html>maintenance</html>", kind="text/html"))
    with Ledger() as ledger:
        with pytest.raises(SourceError, match="only sent what is no reply.*<html>maintenance.*teacher.base_url"):
            complete_all(teacher(server), questions(count), ledger)
        counts = ledger.count()
    assert counts["complete"] == 0
    assert counts["malformed"] == counts["unknown_calls"] == len(server.calls) <= 8
    assert server.moments[-1] - server.moments[0] > 0.25 * (count == 1)


STOPPED_MIDWAY = [
    streamed(piece("First, 2"), piece("", "error", error={"code": "server_error", "message": "provider gone"})),
    streamed(piece("First, 2"), {"object": "error", "message": "engine died", "code": 500}),
    streamed(piece("First, 2"), {"choices": [{"index": 0, "error": {"code": 502}, "finish_reason": "error"}]}),
    streamed(piece("First, 2"), error("slow down", code=429)),
    streamed(piece("First, 2")),
    *(Said(reply("First, 2", reason)) for reason in ("insufficient_system_resource", "error", "abort", "ABORT")),
    Said(reply("First, 2", "error") | error("provider gone", code=502)),
]


@pytest.mark.parametrize("said", STOPPED_MIDWAY)
def test_a_reply_that_was_broken_off_is_no_answer_but_asked_for_again(endpoint: Start, said: Said) -> None:
    server = endpoint(lambda body, number: said if number == 1 else Said(reply("whole")))
    with Ledger() as ledger:
        sampled = sample_all(teacher(server), questions(1), ledger)
        assert [completion.text for _, completion in sampled.answered] == ["whole"]
        assert ledger.count()["unknown_calls"] == 1, "it may be charged"


def test_a_reply_without_a_finish_reason_is_an_answer_where_it_is_not_streamed(endpoint: Start) -> None:
    server = endpoint(lambda body, number: Said(reply(finish=None)))
    assert complete_all(teacher(server), questions(1))[0].text == "four"
    never = endpoint(lambda body, number: streamed(piece("four")))
    with pytest.raises(SourceError, match="without a finish reason.*teacher.stream: false"):
        complete_all(teacher(never, max_attempts=1), questions(1))


@pytest.mark.parametrize(
    "said",
    [
        *(streamed({"choices": choices}) for choices in ([None], "abc", {"0": {}}, [{"delta": "hello"}])),
        streamed({"choices": [{"index": "x", "delta": {"content": "a"}, "finish_reason": "stop"}]}),
        streamed({"choices": [{"delta": "hello", "finish_reason": "stop"}]}),
        Said("[" * 100_000),
        Said('data: {"a": ' + "[" * 100_000 + "\n\n", kind="text/event-stream"),
        Said({"choices": [{"message": None}]}),
    ],
)
def test_what_is_no_reply_is_asked_again(endpoint: Start, said: Said) -> None:
    server = endpoint(lambda body, number: said if number == 1 else Said(reply("whole")))
    with Ledger() as ledger:
        assert complete_all(teacher(server), questions(1), ledger)[0].text == "whole"
        assert ledger.count()["unknown_calls"] == 1


def test_counts_no_reply_can_have_are_estimated(endpoint: Start) -> None:
    server = endpoint(lambda body, number: Said(reply(usage={"prompt_tokens": 10**30, "completion_tokens": 1e300})))
    assert complete_all(teacher(server), questions(1))[0].usage == Usage(prompt_tokens=3, completion_tokens=1)


def test_of_several_choices_the_good_ones_are_kept(endpoint: Start) -> None:
    def respond(body: dict[str, Any], number: int) -> Said:
        texts = ["a", "b", "c"] if body.get("n") else ["alone"]
        choices = [{"index": i, "message": {"content": t}, "finish_reason": "stop"} for i, t in enumerate(texts)]
        if len(choices) > 1:
            choices[1] = {"index": 1, "message": None, "finish_reason": "error"}
        return Said({"choices": choices})

    server = endpoint(respond)
    source = teacher(server, use_n=True, concurrency_start=1, concurrency_ceiling=1)
    completions = complete_all(source, questions(2, samples=3))
    assert [completion.text for completion in completions] == ["a", "c", "alone"] * 2
    assert len(server.calls) == 4, "n is asked for as before"


# Questions that are refused


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, error("This model's maximum context length is 4096 tokens", code="context_length_exceeded")),
        (400, error("This model's maximum context length is 4096 tokens", type="BadRequestError", code=400)),
        (400, error("flagged", code="invalid_prompt")),
        (400, error("flagged", code="content_policy_violation")),
        (400, error("flagged", code="data_inspection_failed")),
        (400, error("Content Exists Risk", type="invalid_request_error", code="invalid_request_error")),
        (403, error("Your chosen model requires moderation and your input was flagged", code=403)),
        (200, error("flagged", code="content_policy_violation", type="invalid_request_error")),
    ],
)
def test_one_question_refused_for_good_is_its_refusal_and_the_others_are_answered(
    endpoint: Start, status: int, fault: dict[str, Any]
) -> None:
    server = endpoint(lambda body, number: Said(fault, status) if asked(body) == "question 0" else Said(reply()))
    with Ledger() as ledger:
        completions = complete_all(teacher(server), questions(4), ledger)
        assert [c.finish for c in completions] == [Finish.REFUSAL, *[Finish.STOP] * 3]
        charges = ledger.charges([completions[0].key])
        assert (charges.tokens, charges.unknown) == (0, 0)
        sent = len(server.calls)
        assert complete_all(teacher(server), questions(4), ledger) == completions
        assert len(server.calls) == sent


def test_a_question_refused_by_an_endpoint_that_answered_none_is_named_with_what_to_do(endpoint: Start) -> None:
    too_long = error("This model's maximum context length is 10 tokens", code="context_length_exceeded")
    server = endpoint(lambda body, number: Said(too_long, 400))
    with pytest.raises(SourceError, match="asked 'question 0'.*lower sampling.max_tokens") as caught:
        complete_all(teacher(server, max_attempts=1), questions(1))
    assert "teacher.omit" not in str(caught.value)


def test_an_endpoint_that_wants_the_limit_under_its_newer_name_is_told_apart(endpoint: Start) -> None:
    said = error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    server = endpoint(lambda body, number: Said(said, 400))
    with pytest.raises(SourceError, match="set teacher.max_tokens_field: max_completion_tokens") as caught:
        complete_all(teacher(server, max_attempts=1), questions(1))
    assert "teacher.omit" not in str(caught.value)


# Budgets


def test_a_limit_in_extra_body_is_what_is_reserved(endpoint: Start) -> None:
    server = endpoint(lambda body, number: Said(reply(usage={"prompt_tokens": 3, "completion_tokens": 2000})))
    source = teacher(server, omit=("max_tokens",), extra_body={"max_completion_tokens": 2000})
    sampled = sample_all(source, questions(9), budget=Budget(tokens=5000))
    assert len(sampled.answered) == 2
    assert plan(questions(9), source.identity, most_tokens=source.most_tokens).most_completion_tokens == 9 * 2000


def test_a_budget_in_money_counts_what_is_stored_by_the_prices_of_today(endpoint: Start) -> None:
    server = endpoint(lambda body, number: Said(reply(usage={"prompt_tokens": 10, "completion_tokens": 100})))
    with Ledger() as ledger:
        complete_all(teacher(server), questions(3), ledger)
        budget = Budget(money=350.0)
        priced = teacher(server, prices={"m": Price(input=0, output=1e6)})
        sampled = sample_all(priced, questions(4), ledger, budget)
        assert (len(sampled.answered), budget.spent.money) == (3, 300.0)


# Settings


def test_what_is_never_sent_cannot_be_left_out(endpoint: Start) -> None:
    with pytest.raises(SettingsError, match=r"teacher.omit names temprature.*sent are model.*temperature.*max_tokens"):
        teacher(Endpoint(lambda body, number: Said({}), "http://x"), omit=("temprature", "seed"))
    with pytest.raises(SettingsError, match=r"extra_body sets n.*sampling\.n.*teacher\.use_n"):
        teacher(Endpoint(lambda body, number: Said({}), "http://x"), extra_body={"n": 4})
    sent: list[str] = []
    server = endpoint(lambda body, number: sent.extend(body) or Said(reply()))  # type: ignore[func-returns-value]
    complete_all(teacher(server), questions(1))
    teacher(server, omit=tuple(json.loads(json.dumps(sent))))
