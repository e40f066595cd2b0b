"""The lab teacher behind a real OpenAI-compatible HTTP server, with latency and faults on demand."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

from feints.errors import SettingsError, SourceError
from feints.records import content_hash

CHUNK_CHARACTERS = 24
"""Length of one streamed piece of text; about the five tokens real servers flush together."""

FAULT_KINDS = {
    "cut": "the connection drops in the middle of the body",
    "garbage": "status 200 with a body that is not JSON",
    "stall": "silence after the headers, then the connection drops",
}
"""Faults beside the HTTP statuses 400 to 599."""


class Responder(Protocol):
    """What answers a request body; the lab teacher is one."""

    @property
    def model(self) -> str:
        """Name shown by /v1/models."""
        ...

    def respond(self, body: dict[str, Any]) -> dict[str, Any]:
        """OpenAI-shaped response to an OpenAI-shaped request body.

        Raises:
            ValueError: the body is not a request; becomes status 400.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How the server behaves, apart from what the teacher says."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8000
    """0 takes any free port."""
    latency: float = 0.0
    """Seconds before the first byte of a reply."""
    gap: float = 0.0
    """Seconds between two streamed pieces."""
    faults: tuple[tuple[str, float], ...] = ()
    """Kind (an HTTP status, cut, garbage or stall) and the share of arriving calls that meet it."""
    fault_seed: int = 0
    """Which calls meet a fault; drawn once per arriving call, so a call sent again may pass."""
    retry_after: float = 0.2
    """Seconds named in the Retry-After header of a 429."""
    stall_seconds: float = 30.0
    """Silence of a stalled call."""
    api_key: str | None = None
    """Asked for as a bearer token; None lets everyone in."""

    def __post_init__(self) -> None:
        for name in ("latency", "gap", "retry_after", "stall_seconds"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name} is {getattr(self, name)}; give a number of seconds, 0 or more")


def parse_faults(text: str) -> tuple[tuple[str, float], ...]:
    """Read `429=0.05,500=0.02,cut=0.01` into kinds and rates; an empty text means none.

    Raises:
        SettingsError: an entry is not kind=rate, a kind is unknown or given twice, or the rates exceed 1.
    """
    faults: dict[str, float] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        kind, separator, value = (part.strip() for part in entry.partition("="))
        if not separator:
            raise SettingsError(f"fault {entry!r} has no rate; write kind=rate, for example 429=0.05")
        if kind not in FAULT_KINDS and not (kind.isdecimal() and 400 <= int(kind) <= 599):
            raise SettingsError(f"unknown fault {kind!r}; use an HTTP status 400 to 599, {', '.join(FAULT_KINDS)}")
        if kind in faults:
            raise SettingsError(f"fault {kind!r} is given twice; give one rate for it")
        faults[kind] = _rate(kind, value)
    if sum(faults.values()) > 1:
        raise SettingsError(f"fault rates add up to {sum(faults.values()):g}; together they may not exceed 1")
    return tuple(faults.items())


def _rate(kind: str, value: str) -> float:
    try:
        rate = float(value)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise SettingsError(f"rate {value!r} of fault {kind!r} is not a number from 0 to 1")
    return rate


@dataclass(slots=True)
class RequestLog:
    """What arrived and what was answered in full; read through GET /lab/stats."""

    requests: int = 0
    """Calls that arrived, faulty ones included."""
    completed: int = 0
    """Calls answered in full."""
    in_flight: int = 0
    """Calls being answered now."""
    most_in_flight: int = 0
    """Most calls at one time."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Calls by outcome: ok, a status, or a kind of fault."""
    seen: Counter[str] = field(default_factory=Counter)
    """Calls by hash of path and body."""
    answered: Counter[str] = field(default_factory=Counter)
    """Calls answered in full by hash of path and body; above 1 = paid twice."""
    prompt_tokens: int = 0
    """Tokens of all answered calls."""
    completion_tokens: int = 0
    """Tokens of all answered calls."""

    def as_json(self, with_keys: bool) -> dict[str, Any]:
        """Counters as a JSON object; `keys` maps each hash to [seen, completed]."""
        numbers = ("requests", "completed", "in_flight", "most_in_flight", "prompt_tokens", "completion_tokens")
        shown: dict[str, Any] = {name: getattr(self, name) for name in numbers}
        shown |= {"statuses": dict(self.statuses), "distinct": len(self.seen)}
        shown["answered_again"] = sum(count - 1 for count in self.answered.values())
        if with_keys:
            shown["keys"] = {key: [count, self.answered[key]] for key, count in self.seen.items()}
        return shown


class LabServer:
    """Handlers of one server: they time, spoil and count what a responder says."""

    def __init__(self, teacher: Responder, settings: ServerSettings) -> None:
        self.teacher = teacher
        self.settings = settings
        self.log = RequestLog()
        self.base_url = ""
        self._draws = random.Random(settings.fault_seed)

    def application(self) -> web.Application:
        """The aiohttp application with all routes."""
        app = web.Application(client_max_size=64 * 1024**2)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/lab/stats", self._stats)
        return app

    async def _models(self, request: web.Request) -> web.StreamResponse:
        if not self._allowed(request):
            return _error(401, "the API key is missing or wrong")
        return web.json_response({"object": "list", "data": [{"id": self.teacher.model, "object": "model"}]})

    async def _stats(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.log.as_json(with_keys=request.query.get("keys") != "0"))

    def _allowed(self, request: web.Request) -> bool:
        key = self.settings.api_key
        return key is None or request.headers.get("Authorization") == f"Bearer {key}"

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        self.log.requests += 1
        self.log.in_flight += 1
        self.log.most_in_flight = max(self.log.most_in_flight, self.log.in_flight)
        try:
            outcome, response = await self._answer(request)
        finally:
            self.log.in_flight -= 1
        self.log.statuses[outcome] += 1
        return response

    async def _answer(self, request: web.Request) -> tuple[str, web.StreamResponse]:
        fault = self._draw_fault()
        if not self._allowed(request):
            return "401", _error(401, "the API key is missing or wrong")
        try:
            body = _read_body(await request.read(), request.path)
        except ValueError as error:
            return "400", _error(400, str(error))
        key = content_hash(request.path, body)
        self.log.seen[key] += 1
        if fault == "429":
            return fault, _error(429, "injected fault 429", {"Retry-After": f"{self.settings.retry_after:g}"})
        if self.settings.latency:
            await asyncio.sleep(self.settings.latency)
        if fault is not None and fault.isdecimal():
            return fault, _error(int(fault), f"injected fault {fault}")
        try:
            response = self.teacher.respond(body)
        except ValueError as error:
            return "400", _error(400, str(error))
        write = self._stream if body.get("stream") else self._plain
        try:
            sent = await write(request, response, body, fault)
        except ConnectionError:
            # The caller hung up: what it read is unknown, so the call is not counted as answered.
            return "hung_up", web.Response(status=499)
        if fault is not None:
            return fault, sent
        self.log.completed += 1
        self.log.answered[key] += 1
        self.log.prompt_tokens += response["usage"]["prompt_tokens"]
        self.log.completion_tokens += response["usage"]["completion_tokens"]
        return "ok", sent

    def _draw_fault(self) -> str | None:
        draw = self._draws.random()
        for kind, rate in self.settings.faults:
            draw -= rate
            if draw < 0:
                return kind
        return None

    async def _plain(
        self, request: web.Request, response: dict[str, Any], body: dict[str, Any], fault: str | None
    ) -> web.StreamResponse:
        payload = json.dumps(response, ensure_ascii=False).encode()
        if fault == "garbage":
            payload = payload[: len(payload) * 2 // 3] + b"<html>bad gateway</html>"
        reply = web.StreamResponse(headers={"Content-Type": "application/json"})
        reply.content_length = len(payload)
        await reply.prepare(request)
        if fault in ("cut", "stall"):
            return await self._drop(request, reply, payload[: len(payload) // 2] if fault == "cut" else b"")
        await reply.write(payload)
        await reply.write_eof()
        return reply

    async def _stream(
        self, request: web.Request, response: dict[str, Any], body: dict[str, Any], fault: str | None
    ) -> web.StreamResponse:
        options = body.get("stream_options") or {}
        events = list(_events(response, bool(options.get("include_usage"))))
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await reply.prepare(request)
        frames = [b"data: " + event.encode() + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]
        middle = len(events) // 2
        if fault in ("cut", "stall"):
            await reply.write(b"".join(frames[:middle]))
            return await self._drop(request, reply, b"data: {" if fault == "cut" else b"")
        if fault == "garbage":
            frames[middle] = frames[middle][: len(frames[middle]) // 2] + b"\n\n"
        if not self.settings.gap:
            # Without a gap the pieces travel together; the cut in the middle of one keeps readers honest.
            whole = b"".join(frames)
            frames = [whole[: len(whole) // 2], whole[len(whole) // 2 :]]
        for frame in frames:
            await reply.write(frame)
            await asyncio.sleep(self.settings.gap)
        await reply.write_eof()
        return reply

    async def _drop(self, request: web.Request, reply: web.StreamResponse, part: bytes) -> web.StreamResponse:
        """Send a part of the body and close the connection; for a stall, be silent first."""
        if part:
            await reply.write(part)
        else:
            await asyncio.sleep(self.settings.stall_seconds)
        if request.transport is not None:
            request.transport.close()
        return reply


def _read_body(raw: bytes, path: str) -> dict[str, Any]:
    body = json.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("the request body must be a JSON object")
    wanted = "messages" if path.endswith("/chat/completions") else "prompt"
    if wanted not in body:
        raise ValueError(f"the request body has no {wanted!r}")
    return body


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> web.Response:
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status, "invalid_request_error")
    kind = "server_error" if status >= 500 else kind
    error = {"error": {"message": message, "type": kind, "code": status}}
    return web.json_response(error, status=status, headers=headers)


def _events(response: dict[str, Any], include_usage: bool) -> list[str]:
    """The server-sent events that say the same as the plain response, in order."""
    chat = response["object"] == "chat.completion"
    head = {"id": response["id"], "created": response["created"], "model": response["model"]}
    head["object"] = "chat.completion.chunk" if chat else "text_completion"
    extra = {"usage": None} if include_usage else {}
    events = []
    for choice in response["choices"]:
        text = choice["message"]["content"] if chat else choice["text"]
        pieces = [text[start : start + CHUNK_CHARACTERS] for start in range(0, len(text), CHUNK_CHARACTERS)]
        for piece in pieces:
            said: dict[str, Any] = {"delta": {"role": "assistant", "content": piece}} if chat else {"text": piece}
            events.append({**head, "choices": [{"index": choice["index"], **said, "finish_reason": None}], **extra})
        last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        last |= {"index": choice["index"], "finish_reason": choice["finish_reason"]}
        events.append({**head, "choices": [last], **extra})
    if include_usage:
        events.append({**head, "choices": [], "usage": response["usage"]})
    return [json.dumps(event, ensure_ascii=False) for event in events]


@asynccontextmanager
async def start_server(teacher: Responder, settings: ServerSettings) -> AsyncIterator[LabServer]:
    """Serve inside a running event loop; `base_url` of the server yielded ends in /v1.

    Raises:
        SourceError: the port cannot be opened.
    """
    server = LabServer(teacher, settings)
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        # The backlog holds a burst of connections that arrive within one turn of the event loop.
        site = web.TCPSite(runner, settings.host, settings.port, backlog=4096)
        try:
            await site.start()
        except OSError as error:
            place = f"{settings.host}:{settings.port}"
            raise SourceError(f"cannot listen on {place} ({error.strerror}); choose another --port") from error
        host, port = runner.addresses[0][:2]
        server.base_url = f"http://{host}:{port}/v1"
        yield server
    finally:
        await runner.cleanup()


def run_server(teacher: Responder, settings: ServerSettings, on_ready: Callable[[str], None]) -> None:
    """Serve until interrupted (Ctrl+C); `on_ready` is told the base URL once calls are taken."""

    async def forever() -> None:
        async with start_server(teacher, settings) as server:
            on_ready(server.base_url)
            await asyncio.Event().wait()

    try:
        asyncio.run(forever())
    except KeyboardInterrupt:
        return
