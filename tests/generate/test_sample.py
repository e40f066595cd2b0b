from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feints.errors import BudgetError, SourceError, StorageError
from feints.generate.budget import Budget, Price
from feints.generate.ledger import Ledger
from feints.generate.replay import ReplaySource
from feints.generate.sample import complete_all, sample, sample_all
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Completion, Message, Request, Sampling, Usage
from feints.records import Finish


def ask(question: str, index: int = 0, max_tokens: int = 64) -> Request:
    turn = Message(role="user", content=question)
    return Request(messages=(turn,), sample_index=index, sampling=Sampling(max_tokens=max_tokens))


def questions(count: int) -> list[Request]:
    return [ask(f"question {i}") for i in range(count)]


class Counting:
    """A handler that counts what it is asked."""

    def __init__(self) -> None:
        self.calls: Counter[Request] = Counter()

    def __call__(self, request: Request) -> str:
        self.calls[request] += 1
        return f"said to {request.messages[-1].content} #{request.sample_index}"


def test_completions_come_in_request_order_and_duplicates_are_asked_once() -> None:
    handler = Counting()
    requests = [ask("b"), ask("a"), ask("b"), ask("b", 1), ask("b")]
    texts = [completion.text for completion in complete_all(ScriptedSource(handler, latency=0.001), requests)]
    assert texts == ["said to b #0", "said to a #0", "said to b #0", "said to b #1", "said to b #0"]
    assert set(handler.calls.values()) == {1}


def test_rerun_sends_nothing_and_one_row_added_sends_one(tmp_path: Path) -> None:
    handler = Counting()
    source = ScriptedSource(handler)
    with Ledger(tmp_path / "l") as ledger:
        first = complete_all(source, questions(300), ledger)
    with Ledger(tmp_path / "l") as ledger:
        assert complete_all(source, questions(300), ledger) == first
        assert handler.calls.total() == 300
        more = sample_all(source, questions(301), ledger)
    assert handler.calls.total() == 301
    assert (more.report.stored, more.report.arrived, more.report.asked) == (300, 1, 301)
    assert [completion for _, completion in more.answered[:300]] == first


def test_a_changed_parser_sends_nothing(tmp_path: Path) -> None:
    class Shouting(ScriptedSource):
        def parse(self, request: Request, key: str, raw: Mapping[str, Any]) -> Completion:
            parsed = super().parse(request, key, raw)
            return replace(parsed, text=parsed.text.upper())

    handler = Counting()
    with Ledger(tmp_path / "l") as ledger:
        plain = complete_all(ScriptedSource(handler), questions(20), ledger)
        loud = complete_all(Shouting(handler), questions(20), ledger)
    assert [c.text for c in loud] == [c.text.upper() for c in plain]
    assert handler.calls.total() == 20


def test_another_source_is_another_request(tmp_path: Path) -> None:
    handler = Counting()
    with Ledger(tmp_path / "l") as ledger:
        complete_all(ScriptedSource(handler, "one"), questions(3), ledger)
        complete_all(ScriptedSource(handler, "two"), questions(3), ledger)
    assert handler.calls.total() == 6


def test_works_inside_a_running_loop_and_as_a_stream() -> None:
    source = ScriptedSource(Counting(), latency=0.001)

    async def inside() -> list[Completion]:
        return complete_all(source, questions(9))

    async def stream() -> dict[Request, Completion]:
        return {request: completion async for request, completion in source.complete(questions(9))}

    whole = complete_all(source, questions(9))
    assert asyncio.run(inside()) == whole
    assert asyncio.run(stream()) == dict(zip(questions(9), whole, strict=True))


def test_a_fault_keeps_what_arrived_and_the_next_run_goes_on(tmp_path: Path) -> None:
    handler = Counting()

    def failing(request: Request) -> str:
        if handler.calls.total() == 7:
            raise SourceError("the teacher fell over")
        return handler(request)

    with Ledger(tmp_path / "l") as ledger:
        with pytest.raises(SourceError, match="fell over"):
            complete_all(ScriptedSource(failing), questions(20), ledger)
        assert ledger.count()["complete"] == 7
        assert ledger.count()["sent"] == 0
        complete_all(ScriptedSource(handler), questions(20), ledger)
    assert set(handler.calls.values()) == {1}


def test_leaving_the_stream_early_marks_calls_in_flight_as_lost(tmp_path: Path) -> None:
    async def first_only(ledger: Ledger) -> None:
        stream = sample(ScriptedSource(Counting(), latency=0.01, in_flight=8), questions(50), ledger)
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]

    with Ledger(tmp_path / "l") as ledger:
        asyncio.run(first_only(ledger))
        counts = ledger.count()
    assert counts["sent"] == 0
    assert counts["unknown_calls"] == counts["unknown"] <= 8
    assert counts["complete"] >= 1


# Budgets


def test_a_budget_in_requests_stops_gracefully_and_says_what_is_left(tmp_path: Path) -> None:
    handler = Counting()
    source = ScriptedSource(handler, latency=0.001)
    with Ledger(tmp_path / "l") as ledger:
        sampled = sample_all(source, questions(30), ledger, Budget(requests=10))
        assert (len(sampled.answered), len(sampled.unsent)) == (10, 20)
        assert sampled.report.unsent == 20
        assert "10 of 10 requests" in sampled.report.why_unsent
        again = sample_all(source, questions(30), ledger, Budget(requests=10))
        assert again.answered == sampled.answered
        assert handler.calls.total() == 10
        with pytest.raises(BudgetError, match="20 of 30 requests were not sent.*kept in the ledger"):
            complete_all(source, questions(30), ledger, Budget(requests=10))
        nothing = sample_all(source, [ask("new")], ledger, Budget(requests=0))
        assert (nothing.answered, len(nothing.unsent)) == ((), 1)
    assert handler.calls.total() == 10


@pytest.mark.parametrize("in_flight", [1, 3, 64])
def test_a_budget_in_money_is_never_passed_and_used_nearly_whole(in_flight: int) -> None:
    price = Price(input=0, output=1e6)
    source = ScriptedSource(lambda _: "x" * 40, latency=0.001, in_flight=in_flight, price=price)
    sampled = sample_all(source, questions(100), budget=Budget(money=500))
    assert sampled.report.cost == sum(c.cost for _, c in sampled.answered)
    assert 500 - 64 < sampled.report.cost <= 500
    assert len(sampled.answered) + len(sampled.unsent) == 100


def test_one_budget_over_several_rounds_counts_each_request_once(tmp_path: Path) -> None:
    budget = Budget(requests=10)
    source = ScriptedSource(Counting())
    with Ledger(tmp_path / "l") as ledger:
        for _ in range(3):
            assert len(complete_all(source, questions(8), ledger, budget)) == 8
        assert budget.spent.requests == 8
        assert len(sample_all(source, questions(20), ledger, budget).answered) == 10
        assert budget.in_flight == 0


def test_two_samplings_of_one_request_reserve_it_twice_and_free_both() -> None:
    budget, source = Budget(requests=2), ScriptedSource(lambda _: "said", latency=0.2)

    async def both() -> None:
        async def one() -> int:
            return len([1 async for _ in sample(source, [ask("a")], ledger, budget)])

        assert await asyncio.gather(one(), one()) == [1, 1]

    with Ledger() as ledger:
        asyncio.run(both())
        assert (budget.spent.requests, budget.in_flight) == (1, 0)
        assert len(sample_all(source, [ask("b")], ledger, budget).answered) == 1


def test_what_is_not_recorded_is_no_matter_of_the_budget() -> None:
    recorded = ReplaySource({"What is 1+1?": ["2"]}, missing="skip")
    report = sample_all(recorded, [ask("What is 1+1?"), ask("other")]).report
    assert (report.unsent, report.returned, report.out_of_budget) == (1, 0, False)
    with pytest.raises(SourceError, match="no recorded completion") as raised:
        complete_all(recorded, [ask("other")])
    assert not isinstance(raised.value, BudgetError) and "budget" not in str(raised.value)


# Sources that take lists


class Batched:
    """Answers depend on who shares the batch, as padding does to logits."""

    identity = "batched"

    def __init__(self) -> None:
        self.seen: list[list[Request]] = []
        self.stop_after = 10**9

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        return [list(requests[start : start + 4]) for start in range(0, len(requests), 4)]

    async def complete(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
        for batch in self.batches(requests):
            self.seen.append(batch)
            together = "+".join(request.messages[-1].content for request in batch)
            for request in batch:
                if self.stop_after == 0:
                    raise SourceError("out of memory")
                self.stop_after -= 1
                key = request.key(self.identity)
                usage = Usage(prompt_tokens=1, completion_tokens=2)
                yield request, Completion(key=key, text=together, finish=Finish.LENGTH, usage=usage, logprobs=(-0.5,))


def test_batches_are_redone_whole_so_that_resume_equals_uninterrupted(tmp_path: Path) -> None:
    requests = questions(11)
    whole = complete_all(Batched(), requests)
    broken, resumed = Batched(), Batched()
    broken.stop_after = 6
    with Ledger(tmp_path / "l") as ledger:
        with pytest.raises(SourceError, match="memory"):
            complete_all(broken, requests, ledger)
        assert ledger.count()["complete"] == 6
        assert complete_all(resumed, requests, ledger) == whole
        assert [len(batch) for batch in resumed.seen] == [4, 3]
        assert ledger.count()["paid_again"] == 0
        untouched = Batched()
        assert complete_all(untouched, requests, ledger) == whole
        assert untouched.seen == []


def test_a_list_source_keeps_a_budget() -> None:
    sampled = sample_all(Batched(), questions(11), budget=Budget(requests=5))
    assert len(sampled.answered) == 5
    assert sampled.report.unsent == 6


def test_a_source_that_forgets_a_request_is_an_error() -> None:
    class Forgetful:
        identity = "forgetful"

        async def complete(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
            for request in requests[1:]:
                yield request, Completion(key=request.key(self.identity), text="")

    with pytest.raises(SourceError, match="without answering 1 requests"):
        complete_all(Forgetful(), questions(3))


# Two processes, Ctrl+C, a full disk

SHARED = """
import sys
from pathlib import Path
from feints.generate.ledger import Ledger
from feints.generate.sample import sample_all
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Message, Request
log = open(sys.argv[2], "a")
def answer(request):
    log.write(request.messages[0].content + "\\n"); log.flush()
    return "said " + request.messages[0].content
requests = [Request(messages=(Message(role="user", content=f"q{i}"),)) for i in range(int(sys.argv[3]))]
with Ledger(sys.argv[1]) as ledger:
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    try:
        sampled = sample_all(ScriptedSource(answer, latency=float(sys.argv[4]), in_flight=8), requests, ledger)
    except KeyboardInterrupt:
        sys.stdout.write("stopped\\n")
        sys.exit(3)
assert all(c.text == "said " + r.messages[0].content for r, c in sampled.answered)
sys.stdout.write(f"{len(sampled.answered)} {len(sampled.unsent)} {sampled.report.why_unsent}\\n")
"""


def start(folder: Path, count: int, latency: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SHARED, str(folder / "l"), str(folder / "log"), str(count), str(latency)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_two_processes_on_one_ledger_pay_each_request_once(tmp_path: Path) -> None:
    processes = [start(tmp_path, 300, 0.01) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == ["300 0 \n", "300 0 \n"]
    asked = Counter((tmp_path / "log").read_text().split())
    assert len(asked) == 300
    assert set(asked.values()) == {1}


def test_a_killed_process_leaves_its_calls_to_the_other(tmp_path: Path) -> None:
    killed = start(tmp_path, 200, 0.02)
    other = start(tmp_path, 200, 0.02)
    time.sleep(0.15)
    killed.kill()
    killed.communicate()
    assert other.communicate(timeout=60)[0] == "200 0 \n"
    asked = Counter((tmp_path / "log").read_text().split())
    assert len(asked) == 200
    assert sum(asked.values()) - 200 <= 8


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_once_finishes_what_is_in_flight_and_goes_on(tmp_path: Path) -> None:
    process = start(tmp_path, 500, 0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    answered, unsent, why = process.communicate(timeout=30)[0].split(maxsplit=2)
    assert process.returncode == 0
    assert int(answered) + int(unsent) == 500
    assert 0 < int(answered) < 500
    assert why == "stopped by Ctrl+C\n"
    with Ledger(tmp_path / "l") as ledger:
        counts = ledger.count()
    assert counts["complete"] == int(answered) == len((tmp_path / "log").read_text().split())
    assert counts["unknown_calls"] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_where_every_answer_is_needed_is_an_interruption() -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt, match="requests were not sent: stopped by Ctrl"):
        complete_all(ScriptedSource(lambda _: "said", latency=0.2, in_flight=4), questions(100))


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_twice_stops_at_once_and_marks_what_was_in_flight(tmp_path: Path) -> None:
    process = start(tmp_path, 500, 20.0)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[0] == "stopped\n"
    assert process.returncode == 3
    with Ledger(tmp_path / "l") as ledger:
        assert ledger.bury_dead() == 0
        assert ledger.count()["unknown_calls"] == 8


def test_ctrl_c_inside_a_running_loop_finishes_too() -> None:
    handler, pressed = Counting(), []

    def pressing(request: Request) -> str:
        answer = handler(request)
        if handler.calls.total() == 20 and not pressed:
            pressed.append(request)
            os.kill(os.getpid(), signal.SIGINT)
        return answer

    async def inside() -> int:
        asyncio.get_running_loop().call_soon(lambda: None)
        sampled = sample_all(ScriptedSource(pressing, latency=0.05, in_flight=4), questions(1000))
        assert sampled.report.why_unsent == "stopped by Ctrl+C"
        return len(sampled.answered)

    assert 0 < asyncio.run(inside()) < 1000 and pressed


def test_a_full_disk_lets_calls_in_flight_land_and_then_says_so(tmp_path: Path) -> None:
    handler = Counting()
    with Ledger(tmp_path / "l") as ledger:

        def filling(request: Request) -> str:
            if handler.calls.total() == 20:
                ledger.full = True
            return handler(request)

        with pytest.raises(StorageError, match="is full.*nothing will be paid twice"):
            complete_all(ScriptedSource(filling, latency=0.001, in_flight=4), questions(100), ledger)
        assert 20 < ledger.count()["complete"] == handler.calls.total() <= 25
        ledger.full = False
        complete_all(ScriptedSource(handler), questions(100), ledger)
    assert set(handler.calls.values()) == {1}
