from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from feints.errors import SettingsError, SourceError, StorageError
from feints.generate.body import call_seed
from feints.generate.budget import Price
from feints.generate.ledger import Ledger
from feints.generate.openai import OpenAISource
from feints.generate.sample import complete_all, sample_all
from feints.generate.scripted import ScriptedSource
from feints.generate.settings import TeacherSettings
from feints.generate.source import Completion, Message, Request, Sampling, Usage
from feints.records import Finish

CANARY = "sk-canary-0123456789"
Serve = Callable[..., Any]


def teacher(address: str, **more: Any) -> OpenAISource:
    settings: dict[str, Any] = {"base_url": f"{address}/v1", "model": "m", "name": "teacher", "silence_s": 5, **more}
    return OpenAISource(TeacherSettings(**settings))


def ask(question: str, index: int = 0) -> Request:
    return Request(messages=(Message(role="user", content=question),), sample_index=index, sampling=Sampling())


def questions(count: int) -> list[Request]:
    return [ask(f"question {i}, rather long so that it streams in pieces") for i in range(count)]


def said(request: Request) -> str:
    question = request.prompt or request.messages[-1].content
    return f"echo: {question} #{call_seed(request)}"


@pytest.mark.parametrize("options", [(), ("--plain",)])
@pytest.mark.parametrize("stream", [True, False])
def test_chat_and_raw_prompts_streamed_or_not_read_the_same(serve: Serve, options: tuple[str], stream: bool) -> None:
    requests = [*questions(3), Request(prompt="Q: 2 + 2?\nA:")]
    completions = complete_all(teacher(serve(*options).address, stream=stream), requests)
    assert [c.text for c in completions] == [said(request) for request in requests]
    assert {c.finish for c in completions} == {Finish.STOP}
    assert all(
        c.usage == Usage(prompt_tokens=c.usage.prompt_tokens, completion_tokens=len(c.text) // 4 + 1)
        for c in completions
    )


def test_in_process_and_over_http_are_the_same_completions(serve: Serve) -> None:
    def respond(body: dict[str, Any]) -> dict[str, Any]:
        text = f"echo: {body['messages'][-1]['content']} #{body['seed']}"
        asked = len(body["messages"][-1]["content"])
        usage = {"prompt_tokens": asked // 4 + 1, "completion_tokens": len(text) // 4 + 1}
        return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}

    def shown(completion: Completion) -> tuple[Any, ...]:
        return completion.text, completion.thinking, completion.finish, completion.usage

    http = complete_all(teacher(serve().address), questions(9))
    inside = complete_all(ScriptedSource.from_responder(respond, "m"), questions(9))
    assert [shown(c) for c in http] == [shown(c) for c in inside]


def test_n_asks_once_per_prompt_and_charges_the_prompt_once(serve: Serve) -> None:
    server = serve()
    requests = [ask(f"question {i}", index) for i in range(5) for index in range(4)]
    price = Price(input=1e6, output=1e6)
    completions = complete_all(teacher(server.address, use_n=True, prices={"m": price}), requests)
    assert server.stats()["calls"] == 5
    assert len({c.text for c in completions}) == 20
    for start in range(0, 20, 4):
        group = completions[start : start + 4]
        assert [c.usage.prompt_tokens for c in group] == [len("question 0") // 4 + 1, 0, 0, 0]
        assert sum(c.usage.completion_tokens for c in group) == 4 * (len(group[0].text) // 4 + 1)
        assert all(c.cost == c.usage.prompt_tokens + c.usage.completion_tokens for c in group)


def test_a_server_that_ignores_n_is_asked_one_by_one_for_the_rest(serve: Serve) -> None:
    server = serve("--no-n")
    requests = [ask(f"question {i}", index) for i in range(5) for index in range(4)]
    sampled = sample_all(teacher(server.address, use_n=True), requests)
    assert [c.text for _, c in sampled.answered] == [said(request) for request in requests]
    assert server.stats()["calls"] == 20


def test_concurrency_starts_at_eight_doubles_and_stays_within_the_servers_capacity(serve: Serve) -> None:
    free = serve("--latency", "0.1")
    complete_all(teacher(free.address), questions(8 + 16 + 32))
    assert 16 <= free.stats()["most_in_flight"] <= 32
    tight = serve("--latency", "0.05", "--capacity", "12", "--retry-after", "0.05")
    sampled = sample_all(teacher(tight.address), questions(300))
    stats = tight.stats()
    assert len(sampled.answered) == 300
    assert stats["answered_again"] == 0
    assert stats["outcomes"]["429"] == sampled.report.returned < 150
    assert sampled.report.lost == 0


def test_retry_after_is_obeyed(serve: Serve) -> None:
    server = serve("--fail", "429=0.5", "--seed", "1", "--retry-after", "0.6")
    start = time.monotonic()
    sampled = sample_all(teacher(server.address), questions(1))
    assert time.monotonic() - start >= 0.6
    assert (sampled.report.returned, sampled.report.arrived, server.stats()["calls"]) == (1, 1, 2)


def test_refusals_beyond_patience_end_sampling(serve: Serve) -> None:
    tomorrow = formatdate(time.time() + 86400, usegmt=True)
    server = serve("--fail", "429=1", "--retry-after", tomorrow)
    with pytest.raises(SourceError, match="429 slow down.*raise teacher.patience_s"):
        complete_all(teacher(server.address), questions(1))
    assert server.stats()["calls"] == 1
    hammered = serve("--fail", "429=1", "--retry-after", "0")
    with pytest.raises(SourceError, match="has only refused for"):
        complete_all(teacher(hammered.address, patience_s=1.0), questions(1))
    assert hammered.stats()["calls"] < 20


def test_calls_that_wait_for_a_slot_are_not_sent_after_a_fault_for_good(serve: Serve) -> None:
    server = serve("--revoke", "12", "--latency", "0.2")
    two_slots = {"concurrency_start": 2, "concurrency_ceiling": 2}
    with pytest.raises(SourceError, match="401"):
        complete_all(teacher(server.address, **two_slots), questions(12))
    outcomes = server.stats()["outcomes"]
    assert outcomes["503"] == 12 and outcomes["401"] <= 2, "the call that failed, and one that was in flight"


def test_a_disk_that_fills_ends_sampling_while_calls_wait_for_a_slot(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("--fail", "429=1", "--latency", "0.1")
    claim, claimed = Ledger.claim, []

    def filling(ledger: Ledger, claims: Any) -> Any:
        claimed.append(claims)
        if len(claimed) == 5:
            raise StorageError("the disk is full")
        return claim(ledger, claims)

    monkeypatch.setattr(Ledger, "claim", filling)
    with pytest.raises(StorageError, match="the disk is full"):
        complete_all(teacher(server.address, concurrency_start=1), questions(20))
    assert len(claimed) == 5, "nobody who waited for the slot asked again"


def test_garbage_is_asked_again_then_kept_and_marked(serve: Serve) -> None:
    server = serve("--fail", "garbage=1")
    source = teacher(server.address, malformed_attempts=3)
    with Ledger() as ledger:
        complete_all(teacher(serve().address), [ask("one that is answered")], ledger)
        sampled = sample_all(source, questions(2), ledger)
        assert [(c.text, c.finish) for _, c in sampled.answered] == [("", Finish.MALFORMED)] * 2
        assert "not what you asked for" in str(sampled.answered[0][1].raw)
        assert ledger.count()["malformed"] == 4
        assert ledger.charges([c.key for _, c in sampled.answered]).unknown == 4
        assert server.stats()["calls"] == 6
        complete_all(source, questions(2), ledger)
        assert server.stats()["calls"] == 6


def test_a_time_out_counts_silence_not_length(serve: Serve) -> None:
    slow = serve("--gap", "0.7", "--latency", "0.7")
    assert complete_all(teacher(slow.address, silence_s=1.0), questions(1))[0].finish is Finish.STOP
    silent = serve("--latency", "5")
    with pytest.raises(SourceError, match="silent for 0.3 s"), Ledger() as ledger:
        try:
            complete_all(teacher(silent.address, silence_s=0.3, max_attempts=2), questions(1), ledger)
        finally:
            assert ledger.count()["unknown_calls"] == 2


def test_missing_endpoint_and_wrong_path_are_one_clear_error(serve: Serve) -> None:
    with pytest.raises(SourceError, match="cannot connect to 127.0.0.1:9.*Check the endpoint"):
        complete_all(teacher("http://127.0.0.1:9", max_attempts=2), questions(20))
    with pytest.raises(SourceError, match="404.*check teacher.base_url"):
        complete_all(teacher(serve().address + "/wrong"), questions(20))
    with pytest.raises(SourceError, match=r"HTTP 400 injected.*teacher\.omit"):
        complete_all(teacher(serve("--fail", "400=1").address), questions(20))
    with pytest.raises(SourceError, match="failed 2 times for one request, last: HTTP 500"):
        complete_all(teacher(serve("--fail", "500=1").address, max_attempts=2), questions(20))


@pytest.mark.parametrize(
    "change", [{"base_url": ""}, {"base_url": "ftp://x"}, {"model": ""}, {"base_url": "http://u:p@x/v1"}]
)
def test_settings_that_cannot_work_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="teacher"):
        OpenAISource(TeacherSettings(**{"base_url": "http://x/v1", "model": "m", **change}))


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEINTS_TEST_KEY", raising=False)
    with pytest.raises(SettingsError, match="export FEINTS_TEST_KEY"):
        teacher("http://x", api_key_env="FEINTS_TEST_KEY")


@pytest.mark.parametrize("status", ["401", "403", "500", "400", "garbage"])
def test_the_key_appears_nowhere(
    serve: Serve, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server repeats the Authorization header in its error; the key must not get through."""
    monkeypatch.setenv("FEINTS_TEST_KEY", CANARY)
    caplog.set_level(logging.DEBUG)
    source = teacher(serve("--fail", f"{status}=1").address, api_key_env="FEINTS_TEST_KEY", max_attempts=1)
    seen = [repr(source), str(source), source.identity, repr(source.settings)]
    with Ledger(tmp_path / "l") as ledger:
        try:
            sampled = sample_all(source, questions(2), ledger)
            seen.append(repr(sampled))
        except SourceError as error:
            seen += [str(error), repr(error), repr(error.__cause__)]
            assert "Bearer [key]" in str(error)
        seen.append("".join(ledger._connection.iterdump()))
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert CANARY not in "".join(seen) + caplog.text
    assert CANARY.encode() not in written


def test_the_key_is_sent(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEINTS_TEST_KEY", CANARY)
    assert teacher("http://x", api_key_env="FEINTS_TEST_KEY")._headers()["Authorization"] == f"Bearer {CANARY}"
    own = teacher("http://x", api_key_env="FEINTS_TEST_KEY", api_key_header="api-key")
    assert own._headers()["api-key"] == CANARY


def test_identity_follows_what_changes_answers_and_nothing_else() -> None:
    plain = teacher("http://x", name=None)
    assert plain.identity == "http://x/v1 m"
    assert teacher("http://x", name=None, concurrency_start=3, stream=False, omit=("seed",)).identity == plain.identity
    assert teacher("", name=None, base_url="http://x/v1/").identity == plain.identity
    assert teacher("http://x", name=None, extra_body={"top_k": 5}).identity != plain.identity
    assert teacher("http://y", name=None).identity != plain.identity
    assert teacher("http://y").identity == teacher("http://x").identity == "teacher"


@pytest.mark.slow
def test_every_fault_at_once_loses_no_row_and_pays_none_twice(serve: Serve) -> None:
    fail = "429=0.05,500=0.03,503=0.01,504=0.01,cut=0.02,garbage=0.02,stall=0.002"
    server = serve("--latency", "0.01", "--fail", fail, "--retry-after", "0.02")
    requests = questions(1000)
    with Ledger() as ledger:
        sampled = sample_all(teacher(server.address, silence_s=1.0), requests, ledger)
        counts = ledger.count()
    stats, report = server.stats(), sampled.report
    assert [request for request, _ in sampled.answered] == requests
    good = [c.text == said(r) for r, c in sampled.answered if c.finish is Finish.STOP]
    assert all(good) and len(good) >= 995
    assert stats["answered_again"] == 0
    assert stats["calls"] == report.sent == report.arrived + report.lost + report.returned
    assert (report.arrived, report.unsent) == (1000, 0)
    assert (counts["complete"], counts["sent"], counts["paid_again"]) == (1000, 0, 0)
    outcomes = stats["outcomes"]
    assert report.returned == outcomes["429"] + outcomes["500"] + outcomes["503"]
    kept = sum(c.finish is Finish.MALFORMED for _, c in sampled.answered)
    assert report.lost == outcomes["504"] + outcomes["cut"] + outcomes.get("stall", 0) + outcomes["garbage"] - kept
    assert counts["malformed"] + kept == outcomes["garbage"]


KILLED = """
import sys
sys.path.insert(0, sys.argv[3])
import test_client
with test_client.Ledger(sys.argv[2]) as ledger:
    test_client.complete_all(test_client.teacher(sys.argv[1]), test_client.questions(400), ledger)
"""


@pytest.mark.slow
def test_kill_9_resends_at_most_what_was_in_flight(serve: Serve, tmp_path: Path) -> None:
    server = serve("--latency", "0.2")
    path = tmp_path / "ledger"
    command = [sys.executable, "-c", KILLED, server.address, str(path), str(Path(__file__).parent)]
    process = subprocess.Popen(command)
    while server.stats()["answered"] < 240:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.4)
    before = server.stats()
    with Ledger(path) as ledger:
        stored = ledger.count()
        first = complete_all(teacher(server.address), questions(400), ledger)
        after = server.stats()["calls"]
        assert after - 400 <= before["calls"] - stored["complete"] <= stored["sent"]
        assert ledger.count()["unknown_calls"] == stored["sent"]
        assert complete_all(teacher(server.address), questions(400), ledger) == first
        assert server.stats()["calls"] == after
        assert complete_all(teacher(server.address), questions(401), ledger)[:400] == first
        assert server.stats()["calls"] == after + 1
        assert ledger.count()["paid_again"] == 0
