"""An OpenAI-compatible server with latency and faults on demand, run as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import logging
import random
import sys
from collections import Counter
from typing import Any

from aiohttp import web


class FaultServer:
    """Answers "echo: QUESTION #SEED"; counts every call by the hash of its body."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.rates = {kind: float(rate) for kind, rate in (part.split("=") for part in options.fail.split(",") if part)}
        self.draw = random.Random(options.seed)
        self.seen: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_post("/v1/completions", self.complete)
        app.router.add_get("/stats", self.stats)
        return app

    async def stats(self, request: web.Request) -> web.Response:
        again = sum(count - 1 for count in self.answered.values() if count > 1)
        return web.json_response(
            {
                "calls": sum(self.seen.values()),
                "different": len(self.seen),
                "answered": sum(self.answered.values()),
                "answered_again": again,
                "outcomes": self.outcomes,
                "most_in_flight": self.most_in_flight,
                "in_flight": self.in_flight,
            }
        )

    def fault(self) -> str:
        if self.options.revoke:
            return "503" if sum(self.seen.values()) <= self.options.revoke else "401"
        point = self.draw.random()
        for kind, rate in self.rates.items():
            point -= rate
            if point < 0:
                return kind
        if self.options.capacity and self.in_flight > self.options.capacity:
            return "429"
        return "ok"

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        key = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.seen[key] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            kind = self.fault()
            self.outcomes[kind] += 1
            if kind == "429":
                wait = self.options.retry_after
                headers = {"Retry-After": wait} if wait else {}
                return web.json_response({"error": {"message": "slow down"}}, status=429, headers=headers)
            if self.options.latency:
                await asyncio.sleep(self.options.latency)
            return await self.reply(request, body, key, kind)
        finally:
            self.in_flight -= 1

    async def reply(self, request: web.Request, body: dict[str, Any], key: str, kind: str) -> web.StreamResponse:
        if kind.isdigit():
            message = f"injected {kind}, key was {request.headers.get('Authorization', 'none')}"
            return web.json_response({"error": {"message": message}}, status=int(kind))
        if kind == "garbage":
            page = f"<html>not what you asked for, {request.headers.get('Authorization', 'stranger')}</html>"
            return web.Response(text=page, content_type="text/html")
        if kind == "stall":
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.sleep(60)
        reply = self.text_reply(body)
        if not body.get("stream") or self.options.plain:
            if kind == "cut":
                return await self.cut(request, json.dumps(reply).encode(), "application/json")
            self.answered[key] += 1
            return web.json_response(reply)
        data = b"".join(b"data: " + json.dumps(piece).encode() + b"\n\n" for piece in self.pieces(body, reply))
        data += b"data: [DONE]\n\n"
        if kind == "cut":
            return await self.cut(request, data, "text/event-stream")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        if self.options.gap:
            await asyncio.sleep(self.options.gap)
        await response.write(data[len(data) // 2 :])
        await response.write_eof()
        self.answered[key] += 1
        return response

    async def cut(self, request: web.Request, data: bytes, kind: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        assert request.transport is not None
        request.transport.close()
        return response

    def text_reply(self, body: dict[str, Any]) -> dict[str, Any]:
        question = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        text = f"echo: {question} #{body.get('seed')}"
        count = 1 if self.options.no_n else body.get("n", 1)
        texts = [f"{text}.{index}" if index else text for index in range(count)]
        if "messages" in body:
            choices = [
                {"index": i, "message": {"role": "assistant", "content": t}, "finish_reason": "stop"}
                for i, t in enumerate(texts)
            ]
        else:
            choices = [{"index": i, "text": t, "finish_reason": "stop"} for i, t in enumerate(texts)]
        asked, told = len(question) // 4 + 1, count * (len(text) // 4 + 1)
        usage = {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}
        return {"id": "x", "object": "chat.completion", "model": body["model"], "choices": choices, "usage": usage}

    @staticmethod
    def pieces(body: dict[str, Any], reply: dict[str, Any]) -> list[dict[str, Any]]:
        head = {name: reply[name] for name in ("id", "model")}
        pieces: list[dict[str, Any]] = []
        for choice in reply["choices"]:
            text = choice["message"]["content"] if "message" in choice else choice["text"]
            for start in range(0, len(text), 24):
                part = text[start : start + 24]
                shown = {"delta": {"content": part}} if "message" in choice else {"text": part}
                pieces.append({**head, "choices": [{"index": choice["index"], **shown, "finish_reason": None}]})
            empty = {"delta": {}} if "message" in choice else {"text": ""}
            pieces.append({**head, "choices": [{"index": choice["index"], **empty, "finish_reason": "stop"}]})
        return [*pieces, {**head, "choices": [], "usage": reply["usage"]}]


async def serve(options: argparse.Namespace) -> None:
    runner = web.AppRunner(FaultServer(options).application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", options.port, backlog=2048)
    await site.start()
    assert site._server is not None
    sys.stdout.write(f"{site._server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--gap", type=float, default=0.0, help="silence in the middle of a stream")
    parser.add_argument("--fail", default="", help="kind=share,...: an HTTP status, cut, garbage or stall")
    parser.add_argument("--retry-after", default="", help="value of the Retry-After header of a 429")
    parser.add_argument("--capacity", type=int, default=0, help="calls in flight above which 429 is returned")
    parser.add_argument(
        "--revoke", type=int, default=0, help="calls that are refused for a while; later ones are for good"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="answer plain JSON although a stream is asked for")
    parser.add_argument("--no-n", action="store_true", help="one choice, whatever n says")
    logging.disable(logging.CRITICAL)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
