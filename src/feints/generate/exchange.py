"""The traffic of one round of sampling with an endpoint: send, retry, and tell the desk what became of each call."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import yarl

from feints.errors import SourceError
from feints.generate.desk import Desk
from feints.generate.fate import (
    AgainError,
    ForGoodError,
    QuestionError,
    judge_error,
    judge_piece,
    judge_proxy,
    read_answer,
    whole_choices,
)
from feints.generate.pace import Pace, backoff
from feints.generate.receiving import receive
from feints.generate.reply import MALFORMED_FIELD, choices_of, share_reply
from feints.generate.settings import TeacherSettings
from feints.generate.source import Request
from feints.generate.stream import PieceError

_MOST_CHOICES = 128
"""Most samples asked for in one call."""
_LONGEST_EVIDENCE = 20_000
"""Characters kept of a reply that cannot be read."""
_TRIES_TO_CONNECT = 4
"""Attempts before an endpoint that never answered is given up."""
_UNREADABLE = 4
"""Requests answered with what cannot be read, and none with an answer, after which an endpoint is given up."""
_TOLD = len("HTTP 429")
"""Characters told, while a call waits, of what the endpoint says: the status."""
_QUOTED = 300
"""Characters quoted of what cannot be read."""


class Endpoint(Protocol):
    """What is sent where."""

    settings: TeacherSettings

    def address(self, request: Request) -> yarl.URL:
        """Where `request` is sent."""
        ...

    def body(self, requests: Sequence[Request]) -> bytes:
        """The body of one call for `requests`."""
        ...

    def without_key(self, data: bytes, *, is_answer: bool = False) -> bytes:
        """`data` with the key blotted out; of an answer only where it can be no word of it."""
        ...

    def ceiling(self) -> int:
        """Most calls in flight."""
        ...


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
        self._refused_since: float | None = None
        self._answered = False
        self._unreadable: set[Request] = set()
        self._n_works = self._settings.use_n

    async def run(self) -> None:
        """Until the desk has nothing left; after a fault for good, calls in flight may still land."""
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
                # Whoever sees them through gives this slot back.
                if taken := await self._take_in_slot():
                    self._spawn(taken, sent_at)
        except Exception as error:
            self._fail(error)

    async def _take_in_slot(self) -> Sequence[Request]:
        """What is to be sent next; the slot is free again where there is nothing, or the desk cannot say."""
        taken: Sequence[Request] = ()
        try:
            taken = await self._desk.take(_MOST_CHOICES if self._n_works else 1)
        except Exception as error:
            self._fail(error)  # before the slot is free, as in `_slot`
            raise
        finally:
            if not taken:
                self._pace.release()
        return taken

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

    @contextmanager
    def _slot(self) -> Iterator[None]:
        """A slot that has been given, and is given back in the end."""
        try:
            yield
        except Exception as error:
            self._fail(error)  # before the slot is free: nobody who waits for it may send
            raise
        finally:
            self._pace.release()

    @contextmanager
    def _sends_nothing(self) -> Iterator[None]:
        """While a call waits: a fault for good cancels it."""
        task = asyncio.current_task()
        assert task is not None
        if self._failure:
            raise asyncio.CancelledError
        self._resting.add(task)
        try:
            yield
        finally:
            self._resting.discard(task)

    # One call

    async def _see_through(self, requests: tuple[Request, ...], sent_at: float | None) -> None:
        """Send until answered, given up by the desk, or failed for good. Without a slot, wait for one first.

        A call that was refused waits without a slot. One that failed keeps it, so that an endpoint in trouble is not
        asked by ever more calls.
        """
        tries = _Tries()
        while requests:
            given_at = sent_at
            if given_at is None:
                with self._sends_nothing():
                    given_at = await self._pace.acquire()
            with self._slot():
                if sent_at is None:
                    requests = await self._desk.retake(requests)
                refused = await self._send_in_slot(requests, tries, given_at)
            if refused is None:
                return
            requests, delay, why = refused
            sent_at = None
            await self._rest(delay, f"the endpoint refuses ({why[:_TOLD]})")

    async def _send_in_slot(
        self, requests: tuple[Request, ...], tries: _Tries, sent_at: float
    ) -> tuple[tuple[Request, ...], float, str] | None:
        """Send until it is over (None) or refused: what was refused, the seconds to wait, and why."""
        while requests:
            try:
                await self._send(requests, tries)
                return None
            except AgainError as retry:
                delay = self._note(requests, retry, tries, sent_at)
                if retry.is_refusal:
                    return requests, delay, retry.why
            await self._rest(delay)
            sent_at = asyncio.get_running_loop().time()
            requests = await self._desk.retake(requests)
        return None

    async def _rest(self, seconds: float, why: str = "") -> None:
        with self._sends_nothing():
            await self._desk.pause(seconds, why)

    def _note(self, requests: Sequence[Request], retry: AgainError, tries: _Tries, sent_at: float) -> float:
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
            pause = backoff(tries.refused, self._draw)
            return pause if retry.wait is None else retry.wait * self._draw.uniform(1.0, 1.1) + pause / 10
        if retry.evidence is None:
            tries.failed += 1
            self._check_attempts(retry, tries)
        pause = backoff(tries.failed + tries.malformed, self._draw)
        if retry.wait is None:
            return pause
        asked = retry.wait * self._draw.uniform(1.0, 1.1)
        return asked if tries.failed == 1 else max(asked, pause)

    def _check_patience(self, retry: AgainError) -> None:
        now = asyncio.get_running_loop().time()
        if self._refused_since is None:
            self._refused_since = now
        waited = now - self._refused_since
        if max(waited, retry.wait or 0.0) > self._settings.patience_s:
            asked = retry.wait or 0.0
            more = f" and asks to wait {asked:.0f} s more" if asked > self._settings.patience_s else ""
            raise SourceError(
                f"{self._settings.base_url} has only refused for {waited:.0f} s{more} ({retry.why}); what arrived is "
                "kept. Run again later to go on, or raise teacher.patience_s"
            )

    def _check_attempts(self, retry: AgainError, tries: _Tries) -> None:
        allowed = self._settings.max_attempts if self._answered else min(_TRIES_TO_CONNECT, self._settings.max_attempts)
        if tries.failed >= allowed:
            raise SourceError(
                f"{self._settings.base_url} failed {tries.failed} times for one request, last: {retry.why}; what "
                f"arrived is kept. {retry.advice}"
            )

    async def _send(self, requests: tuple[Request, ...], tries: _Tries) -> None:
        """One attempt, reported to the desk when answered.

        Raises:
            AgainError: to be sent again.
            SourceError: refused for good.
        """
        try:
            status, headers, data = await self._post(requests)
            if status != 200:
                raise judge_error(status, headers, self._endpoint.without_key(data), self._settings)
            if (raw := self._read(headers, data)) is None:
                self._set_aside(requests, headers, self._endpoint.without_key(data), tries)
                return
        except QuestionError as refusal:
            self._refuse(requests, refusal)
            return
        except ForGoodError as error:
            for request in requests:
                self._desk.returned(request)
            address = self._endpoint.address(requests[0])
            raise SourceError(f"{address} refused: {error.why}. What arrived is kept in the ledger") from error
        self._pace.succeeded()
        self._refused_since, self._answered = None, True
        self._hand_in(requests, raw)

    def _read(self, headers: Mapping[str, str], data: bytes) -> dict[str, Any] | None:
        """A reply with status 200; None: it is none. What is raised has no cause that could hold the key.

        Raises:
            AgainError: it broke off, or holds an error that asks for another attempt.
            ForGoodError, QuestionError: it holds an error that says no.
        """
        try:
            return read_answer(headers, self._endpoint.without_key(data, is_answer=True))
        except PieceError as error:
            fault = error
        except ValueError:
            return None
        body = self._endpoint.without_key(json.dumps(fault.body).encode())
        raise judge_piece(fault, body, self._settings)

    async def _post(self, requests: Sequence[Request]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of one call.

        Raises:
            AgainError: not connected (nothing was sent), cut, silent, or only alive.
            ForGoodError: a proxy does not let it through.
        """
        url, body = self._endpoint.address(requests[0]), self._endpoint.body(requests)
        try:
            async with self._http.post(url, data=body, allow_redirects=False) as response:
                data = await receive(response, self._settings.patience_s, self._has_text)
                return response.status, response.headers, data
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise AgainError(why=f"cannot connect to {url.host}:{url.port} ({error})") from error
        except aiohttp.ClientHttpProxyError as error:
            raise judge_proxy(error, self._settings) from error
        except TimeoutError as error:
            why = f"silent for {self._settings.silence_s:g} s"
            advice = "Raise teacher.silence_s if the endpoint is only slow, and run again to go on"
            raise AgainError(why=why, is_charged=True, advice=advice) from error
        except (aiohttp.ClientError, OSError) as error:
            raise AgainError(why=f"connection cut ({type(error).__name__})", is_charged=True, wait=0.0) from error

    def _has_text(self) -> None:
        self._refused_since = None

    def _set_aside(self, requests: Sequence[Request], headers: Mapping[str, str], data: bytes, tries: _Tries) -> None:
        """A reply that cannot be read: kept as evidence and asked for again; the last is kept as the answer.

        That of an endpoint that never answered is none: it may be the page of a gateway, or a wrong address.

        Raises:
            AgainError: it was not the last attempt.
            SourceError: this endpoint sends nothing else.
        """
        text = data[:_LONGEST_EVIDENCE].decode("utf-8", "replace")
        evidence = {MALFORMED_FIELD: text, "content_type": headers.get("Content-Type", "")}
        tries.malformed += 1
        self._unreadable.add(requests[0])
        is_last = tries.malformed >= self._settings.malformed_attempts
        if not self._answered and (len(self._unreadable) >= _UNREADABLE or (is_last and not self._desk.has_answers())):
            for request in requests:
                self._desk.malformed(request, evidence)
            raise SourceError(
                f"{self._endpoint.address(requests[0])} has only sent what is no reply of the protocol; the last "
                f"begins {text[:_QUOTED]!r}. Check teacher.base_url (up to and including /v1) and the endpoint, and "
                "run again"
            )
        if not is_last:
            raise AgainError(why="malformed reply", evidence=evidence)
        for request in requests:
            self._desk.arrived(request, evidence)

    def _refuse(self, requests: Sequence[Request], refusal: QuestionError) -> None:
        """This question is refused for good: that is its answer, once the endpoint is known to answer others.

        Raises:
            AgainError: it has answered none so far.
        """
        if not (refusal.is_certain or self._answered or self._desk.has_answers()):
            why = f"{refusal.why}, asked {_shown(requests[0])}, while no other question was answered yet"
            raise AgainError(why=why, advice=f"If it is this question, {refusal.advice}; then run again to go on")
        for request in requests:
            self._desk.arrived(request, refusal.raw)

    def _hand_in(self, requests: tuple[Request, ...], raw: Mapping[str, Any]) -> None:
        """Hand in each whole choice; requests that got none are sent one by one."""
        shares = share_reply(requests[0], {**raw, "choices": whole_choices(raw)}, len(requests))
        for request, share in zip(requests, shares, strict=False):
            self._desk.arrived(request, share)
        missing = requests[len(shares) :]
        self._n_works = self._n_works and len(choices_of(raw)) >= len(requests)
        for request in missing:
            self._desk.returned(request)
            self._spawn((request,), None)


def _shown(request: Request) -> str:
    """The beginning of the question a request asks, for a message."""
    text = request.messages[-1].content if request.prompt is None else request.prompt
    return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}...")
