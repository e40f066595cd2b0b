"""The traffic of one round of sampling with an endpoint: send, retry, and tell the desk what became of each call."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import yarl

from feints.errors import SourceError
from feints.generate.desk import Desk
from feints.generate.pace import Pace, backoff, retry_after
from feints.generate.reply import MALFORMED_FIELD, is_well_formed, share_reply
from feints.generate.settings import TeacherSettings
from feints.generate.source import Request
from feints.generate.stream import CutError, PieceError, assemble, ends_stream

_MOST_CHOICES = 128
"""Most samples asked for in one call."""
_LONGEST_EVIDENCE = 20_000
"""Characters kept of a reply that cannot be read."""
_TRIES_TO_CONNECT = 4
"""Attempts before an endpoint that never answered is given up."""
_TAIL = 16
"""Bytes looked at for the mark that ends a stream."""
_SECONDS_TO_END = 1.0
_OVERLOADED = frozenset({429, 503, 529})
_FATE_UNKNOWN = frozenset({408, 504, 524})
"""Statuses of a gateway that gave up waiting: the model may have done the work."""
_OUT_OF_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")


class Endpoint(Protocol):
    """What is sent where."""

    settings: TeacherSettings

    def address(self, request: Request) -> yarl.URL:
        """Where `request` is sent."""
        ...

    def body(self, requests: Sequence[Request]) -> bytes:
        """The body of one call for `requests`."""
        ...

    def without_key(self, data: bytes) -> bytes:
        """`data` with the key blotted out."""
        ...

    def ceiling(self) -> int:
        """Most calls in flight."""
        ...


@dataclass(kw_only=True, eq=False)
class _AgainError(Exception):
    """A call to be sent again."""

    why: str
    """For the message, should it be the last attempt."""
    is_charged: bool = False
    """Whether the server may have done the work."""
    is_refusal: bool = False
    """Refused for load: does not count as a failed attempt."""
    wait: float | None = None
    """Seconds the server asks for."""
    evidence: Mapping[str, Any] | None = None
    """A reply that could not be read."""


@dataclass(slots=True)
class _Tries:
    """What one call has been through."""

    failed: int = 0
    refused: int = 0
    malformed: int = 0


class Exchange:
    """Keeps as many calls in flight as the endpoint bears, as a sliding window over what the desk has."""

    def __init__(self, endpoint: Endpoint, http: aiohttp.ClientSession, desk: Desk) -> None:
        self._endpoint, self._http, self._desk = endpoint, http, desk
        self._settings = endpoint.settings
        self._pace = Pace(self._settings.concurrency_start, endpoint.ceiling())
        self._draw = random.Random(f"{self._settings.base_url} {os.getpid()}")
        self._calls: set[asyncio.Task[None]] = set()
        self._resting: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._answers_at = 0.0
        self._answered = False
        self._n_works = self._settings.use_n

    async def run(self) -> None:
        """Until the desk has nothing left; after a fault for good, calls in flight may still land."""
        self._answers_at = asyncio.get_running_loop().time()
        self._feeder = asyncio.create_task(self._feed())
        try:
            await asyncio.wait([self._feeder])
            while self._calls:
                await asyncio.wait(set(self._calls))
        finally:
            for task in [self._feeder, *self._calls]:
                task.cancel()
            await asyncio.gather(self._feeder, *self._calls, return_exceptions=True)
        if self._failure:
            raise self._failure

    async def _feed(self) -> None:
        try:
            while await self._desk.more():
                sent_at = await self._pace.acquire()
                taken = await self._desk.take(_MOST_CHOICES if self._n_works else 1)
                if taken:
                    self._spawn(taken, sent_at)
                else:
                    self._pace.release()
        except Exception as error:
            self._fail(error)

    def _spawn(self, requests: Sequence[Request], sent_at: float | None) -> None:
        task = asyncio.create_task(self._see_through(tuple(requests), sent_at))
        self._calls.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Send nothing more; what is in flight may land."""
        self._failure = self._failure or error
        if self._feeder:
            self._feeder.cancel()
        for task in self._resting:
            task.cancel()

    # One call

    async def _see_through(self, requests: tuple[Request, ...], sent_at: float | None) -> None:
        """Send until answered, given up by the desk, or failed for good. Without a slot, wait for one first."""
        tries = _Tries()
        while requests:
            if sent_at is None:
                sent_at = await self._pace.acquire()
                if self._failure:  # for good, while this call waited for a slot
                    self._pace.release()
                    raise asyncio.CancelledError
                requests = await self._desk.retake(requests)
            delay = 0.0
            try:
                try:
                    if requests:
                        await self._send(requests, tries)
                    return
                except _AgainError as retry:
                    delay = self._note(requests, retry, tries, sent_at)
            except Exception as error:
                self._fail(error)  # before the slot is free: nobody who waits for it may send
                raise
            finally:
                self._pace.release()
            sent_at = None
            await self._rest(delay)

    async def _rest(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._failure:
            raise asyncio.CancelledError
        self._resting.add(task)
        try:
            await self._desk.pause(seconds)
        finally:
            self._resting.discard(task)

    def _note(self, requests: Sequence[Request], retry: _AgainError, tries: _Tries, sent_at: float) -> float:
        """Tell the desk of a failed attempt; returns the seconds to wait.

        Raises:
            SourceError: that was the last attempt.
        """
        for request in requests:
            if retry.evidence is not None:
                self._desk.malformed(request, retry.evidence)
            elif retry.is_charged:
                self._desk.lost(request)
            else:
                self._desk.returned(request)
        if retry.is_refusal:
            tries.refused += 1
            self._pace.refused(sent_at, retry.wait)
            self._check_patience(retry)
        elif retry.evidence is None:
            tries.failed += 1
            self._check_attempts(retry, tries)
        pause = backoff(tries.refused if retry.is_refusal else tries.failed, self._draw)
        if retry.wait is None:
            return pause
        spread = self._draw.uniform(1.0, 1.1)
        return retry.wait * spread + (pause / 10 if retry.is_refusal else 0.0)

    def _check_patience(self, retry: _AgainError) -> None:
        waited = asyncio.get_running_loop().time() - self._answers_at
        if max(waited, retry.wait or 0.0) > self._settings.patience_s:
            raise SourceError(
                f"{self._settings.base_url} has only refused for {waited:.0f} s ({retry.why}); what arrived is kept. "
                "Run again later to go on, or raise teacher.patience_s"
            )

    def _check_attempts(self, retry: _AgainError, tries: _Tries) -> None:
        allowed = self._settings.max_attempts if self._answered else min(_TRIES_TO_CONNECT, self._settings.max_attempts)
        if tries.failed >= allowed:
            raise SourceError(
                f"{self._settings.base_url} failed {tries.failed} times for one request, last: {retry.why}; what "
                "arrived is kept. Check the endpoint and run again to go on"
            )

    async def _send(self, requests: tuple[Request, ...], tries: _Tries) -> None:
        """One attempt, reported to the desk when answered.

        Raises:
            _AgainError: to be sent again.
            SourceError: refused for good.
        """
        status, headers, data = await self._post(requests)
        data = self._endpoint.without_key(data)
        if status != 200:
            self._judge_status(requests, status, headers, data)
            return
        self._pace.succeeded()
        self._answers_at, self._answered = asyncio.get_running_loop().time(), True
        try:
            raw = self._read(headers, data)
        except ValueError:
            raw = None
        if raw is None or not is_well_formed(raw):
            evidence = {
                MALFORMED_FIELD: data[:_LONGEST_EVIDENCE].decode("utf-8", "replace"),
                "content_type": headers.get("Content-Type", ""),
            }
            tries.malformed += 1
            if tries.malformed < self._settings.malformed_attempts:
                raise _AgainError(why="malformed reply", evidence=evidence, wait=0.0)
            for request in requests:
                self._desk.arrived(request, evidence)
            return
        self._hand_in(requests, raw)

    async def _post(self, requests: Sequence[Request]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of one call.

        Raises:
            _AgainError: not connected (nothing was sent), cut, or silent.
        """
        url, body = self._endpoint.address(requests[0]), self._endpoint.body(requests)
        try:
            async with self._http.post(url, data=body, allow_redirects=False) as response:
                return response.status, response.headers, await self._receive(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _AgainError(why=f"cannot connect to {url.host}:{url.port} ({error})") from error
        except TimeoutError as error:
            why = f"silent for {self._settings.silence_s:g} s"
            raise _AgainError(why=why, is_charged=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _AgainError(why=f"connection cut ({type(error).__name__})", is_charged=True, wait=0.0) from error

    @staticmethod
    async def _receive(response: aiohttp.ClientResponse) -> bytes:
        if not _is_stream(response.headers):
            return await response.read()
        pieces: list[bytes] = []
        tail = b""
        async for piece in response.content.iter_any():
            pieces.append(piece)
            tail = (tail + piece)[-_TAIL:]
            if ends_stream(tail):
                # Some servers keep the connection open after the last event; most end it at once.
                with suppress(TimeoutError, aiohttp.ClientError):
                    async with asyncio.timeout(_SECONDS_TO_END):
                        await response.content.read()
                break
        return b"".join(pieces)

    def _read(self, headers: Mapping[str, str], data: bytes) -> Any:
        try:
            return assemble(data) if _is_stream(headers) else json.loads(data)
        except CutError as error:
            raise _AgainError(why="the stream was cut", is_charged=True, wait=0.0) from error
        except PieceError as error:
            raise _AgainError(why=f"error in the stream: {error}", is_charged=True) from error

    def _hand_in(self, requests: tuple[Request, ...], raw: Mapping[str, Any]) -> None:
        shares = share_reply(requests[0], raw, len(requests))
        for request, share in zip(requests, shares, strict=False):
            self._desk.arrived(request, share)
        missing = requests[len(shares) :]
        self._n_works = self._n_works and not missing
        for request in missing:
            self._desk.returned(request)
            self._spawn((request,), None)

    def _judge_status(self, requests: Sequence[Request], status: int, headers: Mapping[str, str], data: bytes) -> None:
        """Sort out a reply that is not 200: content refused (an answer), try again, or refused for good."""
        code, message = _error_of(data)
        why = f"HTTP {status}{f' {message}' if message else ''}"
        if status == 400 and code == "content_filter":
            for request in requests:
                self._desk.arrived(request, json.loads(data))
            return
        if code in _OUT_OF_CREDIT:
            raise self._refused_for_good(requests, f"{why}: no credit is left; top up the account and run again")
        if status in _OVERLOADED:
            raise _AgainError(why=why, is_refusal=True, wait=retry_after(headers))
        if status in (409, 425) or status in _FATE_UNKNOWN or status >= 500:
            raise _AgainError(why=why, is_charged=status in _FATE_UNKNOWN, wait=retry_after(headers))
        raise self._refused_for_good(requests, f"{why}; {self._advice(status)}")

    def _refused_for_good(self, requests: Sequence[Request], why: str) -> SourceError:
        for request in requests:
            self._desk.returned(request)
        return SourceError(f"{self._endpoint.address(requests[0])} refused: {why}. What arrived is kept in the ledger")

    def _advice(self, status: int) -> str:
        name = self._settings.api_key_env
        if status in (401, 403):
            if name is None:
                return "name the environment variable that holds your key in teacher.api_key_env"
            return f"check the key in the environment variable {name} and what it may use"
        if status in (404, 405) or 300 <= status < 400:
            return f"check teacher.base_url (up to and including /v1) and teacher.model ({self._settings.model!r})"
        return (
            "a parameter the endpoint does not know can be left out with teacher.omit, a missing one added with "
            "teacher.extra_body"
        )


def _is_stream(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Type", "").startswith("text/event-stream")


def _error_of(data: bytes) -> tuple[str, str]:
    """Code and message of an error body, in any of the usual shapes."""
    text = data[:300].decode("utf-8", "replace").strip()
    try:
        body = json.loads(data)
    except ValueError:
        return "", text
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return "", str(error)[:300]
    return str(error.get("code") or error.get("type") or ""), str(error.get("message") or error)[:300]
