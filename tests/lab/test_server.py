from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from feints.errors import SettingsError, SourceError
from feints.lab.server import LabServer, Responder, ServerSettings, parse_faults, start_server
from feints.lab.teacher import LabTeacher
from feints.lab.world import problems


class Echo:
    """Says the last message back."""

    model = "echo"

    def respond(self, body: dict[str, Any]) -> dict[str, Any]:
        chat = "messages" in body
        text = body["messages"][-1]["content"] if chat else body["prompt"]
        if text == "bad":
            raise ValueError("I do not take bad")
        said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        return {
            "id": "x",
            "created": 0,
            "model": "echo",
            "object": "chat.completion" if chat else "text_completion",
            "choices": [{"index": i, "finish_reason": "stop", **said} for i in range(body.get("n") or 1)],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }


Use = Callable[[aiohttp.ClientSession, LabServer], Awaitable[Any]]


def served(use: Use, teacher: Responder | None = None, **settings: Any) -> Any:
    async def main() -> Any:
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            start_server(teacher or Echo(), ServerSettings(port=0, **settings)) as server,
            aiohttp.ClientSession(connector=connector) as session,
        ):
            return await use(session, server)

    return asyncio.run(main())


def chat(text: str = "two and two, and then some more words to stream", **more: Any) -> dict[str, Any]:
    return {"model": "echo", "messages": [{"role": "user", "content": text}], **more}


async def stats(session: aiohttp.ClientSession, server: LabServer) -> dict[str, Any]:
    async with session.get(server.base_url.removesuffix("/v1") + "/lab/stats") as reply:
        return await reply.json()


def test_plain_chat_and_completions_and_models() -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        async with session.post(server.base_url + "/chat/completions", json=chat("hello", n=2)) as reply:
            said = await reply.json()
        assert [c["message"]["content"] for c in said["choices"]] == ["hello", "hello"]
        async with session.post(server.base_url + "/completions", json={"prompt": "raw"}) as reply:
            assert (await reply.json())["choices"][0]["text"] == "raw"
        async with session.get(server.base_url + "/models") as reply:
            assert (await reply.json())["data"][0]["id"] == "echo"
        counted = await stats(session, server)
        assert counted["requests"] == counted["completed"] == 2
        assert counted["completion_tokens"] == 8

    served(use)


@pytest.mark.parametrize("usage", [True, False])
def test_stream_says_the_same_and_ends_with_usage_on_request(usage: bool) -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        body = chat(n=2, stream=True, stream_options={"include_usage": usage})
        async with session.post(server.base_url + "/chat/completions", json=body) as reply:
            assert reply.content_type == "text/event-stream"
            lines = [line for line in (await reply.text()).split("\n\n") if line]
        assert lines[-1] == "data: [DONE]"
        events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
        texts = ["", ""]
        for event in events:
            for choice in event["choices"]:
                texts[choice["index"]] += choice["delta"].get("content", "")
        assert texts == [chat()["messages"][0]["content"]] * 2
        assert len(events) > 4
        assert (events[-1].get("usage") == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}) is usage

    served(use)


def test_faults_come_at_their_rates_and_are_all_counted() -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        async def one(number: int) -> str:
            body = chat(f"row {number}", stream=number % 2 == 0)
            try:
                async with session.post(server.base_url + "/chat/completions", json=body) as reply:
                    text = await reply.text()
                    if reply.status == 429:
                        assert float(reply.headers["Retry-After"]) == 0.2
                    if reply.status != 200:
                        return str(reply.status)
            except aiohttp.ClientError:
                return "cut"
            pieces = [p.removeprefix("data: ") for p in text.split("\n\n") if p] if number % 2 == 0 else [text]
            try:
                for piece in pieces:
                    if piece != "[DONE]":
                        json.loads(piece)
            except json.JSONDecodeError:
                return "garbage"
            return "ok"

        outcomes = [await one(number) for number in range(400)]
        counted = await stats(session, server)
        for kind in ("ok", "429", "500", "cut", "garbage"):
            assert counted["statuses"][kind] == outcomes.count(kind) > 0
        assert 20 <= outcomes.count("429") <= 65
        assert counted["requests"] == 400
        assert counted["completed"] == outcomes.count("ok")

    served(use, faults=parse_faults("429=0.1, 500=0.05,cut=0.05,garbage=0.05"))


def test_a_call_sent_again_after_an_answer_shows() -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        for text in ("a", "b", "a"):
            async with session.post(server.base_url + "/chat/completions", json=chat(text)) as reply:
                await reply.read()
        counted = await stats(session, server)
        assert counted["answered_again"] == 1
        assert sorted(counted["keys"].values()) == [[1, 1], [2, 2]]

    served(use)


def test_a_stalled_call_is_silent_then_dropped() -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        with pytest.raises(aiohttp.ClientError):
            async with session.post(server.base_url + "/chat/completions", json=chat()) as reply:
                await reply.read()
        assert (await stats(session, server))["statuses"] == {"stall": 1}

    served(use, faults=parse_faults("stall=1"), stall_seconds=0.05)


def test_refuses_a_wrong_key_and_a_bad_body() -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        url = server.base_url + "/chat/completions"
        statuses = []
        key = {"Authorization": "Bearer secret"}
        for data, headers in [
            (json.dumps(chat()), {}),
            ("{", key),
            ("[]", key),
            ('{"prompt": "x"}', key),
            (json.dumps(chat("bad")), key),
            (json.dumps(chat()), key),
        ]:
            async with session.post(url, data=data, headers=headers) as reply:
                statuses.append(reply.status)
                if reply.status != 200:
                    assert (await reply.json())["error"]["message"]
        assert statuses == [401, 400, 400, 400, 400, 200]

    served(use, api_key="secret")


def test_hundreds_in_flight_share_one_latency() -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        async def one(number: int) -> int:
            async with session.post(server.base_url + "/chat/completions", json=chat(str(number))) as reply:
                await reply.read()
                return reply.status

        assert set(await asyncio.gather(*(one(number) for number in range(300)))) == {200}
        counted = await stats(session, server)
        assert counted["completed"] == counted["distinct"] == 300
        assert counted["most_in_flight"] > 100

    served(use, latency=0.5)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("429", "has no rate"),
        ("429=often", "not a number from 0 to 1"),
        ("429=nan", "not a number from 0 to 1"),
        ("429=1.5", "not a number from 0 to 1"),
        ("200=0.1", "unknown fault '200'"),
        ("cuts=0.1", "unknown fault 'cuts'"),
        ("cut=0.1,cut=0.2", "given twice"),
        ("cut=0.6,500=0.6", "add up to 1.2"),
    ],
)
def test_a_bad_fault_is_named(text: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        parse_faults(text)


def test_faults_are_read_in_order() -> None:
    assert parse_faults("") == ()
    assert parse_faults("429=0.05,500=0.02") == (("429", 0.05), ("500", 0.02))


def test_http_and_in_process_say_the_same() -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        for problem in problems("train", 20):
            body = chat(problem.question + "\nThink step by step.", n=2, seed=3, temperature=0.7)
            async with session.post(server.base_url + "/chat/completions", json=body) as reply:
                assert await reply.json() == LabTeacher().respond(body)
            raw = {"prompt": problem.question, "seed": 3}
            async with session.post(server.base_url + "/completions", json=raw) as reply:
                assert await reply.json() == LabTeacher().respond(raw)
        async with session.post(server.base_url + "/chat/completions", json={"messages": []}) as reply:
            assert reply.status == 400

    served(use, LabTeacher())


@pytest.mark.slow
def test_a_thousand_in_flight_are_answered_without_queueing() -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        bodies = [chat(problem.question + "\nStep by step.", seed=1) for problem in problems("train", 1000)]

        async def one(body: dict[str, Any]) -> int:
            async with session.post(server.base_url + "/chat/completions", json=body) as reply:
                await reply.read()
                return reply.status

        assert set(await asyncio.gather(*map(one, bodies))) == {200}
        counted = await stats(session, server)
        assert counted["completed"] == 1000
        assert counted["most_in_flight"] > 500

    served(use, LabTeacher(), latency=2.0)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is sent to a child as a POSIX signal")
def test_run_server_names_its_address_and_stops_on_ctrl_c() -> None:
    code = (
        "from feints.lab.server import ServerSettings, run_server\n"
        "from feints.lab.teacher import LabTeacher\n"
        "run_server(LabTeacher(), ServerSettings(port=0), lambda url: print(url, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        with urllib.request.urlopen(url + "/models", timeout=10) as reply:
            assert json.load(reply)["data"][0]["id"] == LabTeacher().model
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=10) == 0


def test_a_taken_port_and_a_negative_latency_are_refused() -> None:
    async def use(session: aiohttp.ClientSession, server: LabServer) -> None:
        port = int(server.base_url.rsplit(":", 1)[1].split("/")[0])
        with pytest.raises(SourceError, match="choose another --port"):
            async with start_server(Echo(), ServerSettings(port=port)):
                pass

    served(use)
    with pytest.raises(SettingsError, match="latency"):
        ServerSettings(latency=-1)
