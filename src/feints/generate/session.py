"""One round of sampling at the desk: ledger first, then the source, every request accounted for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from feints.errors import SourceError, StorageError
from feints.generate.account import SamplingObserver, SamplingReport
from feints.generate.bell import Bell
from feints.generate.body import differ_in_index_only
from feints.generate.budget import Amount, Budget, Price, upper_bound
from feints.generate.desk import DeskSource, whole_batches
from feints.generate.ledger import Ledger
from feints.generate.ledger_tables import ClaimState, claim_for
from feints.generate.reply import (
    CHARACTERS_PER_TOKEN,
    COMPLETION_FIELD,
    completion_from_raw,
    completion_to_raw,
    prompt_characters,
)
from feints.generate.source import Completion, Request, TextSource

_READ_AT_ONCE = 256
"""Stored replies read per query."""
_POLL_SECONDS = 0.1
"""How often calls in flight in another process are looked at."""


class Session:
    """The desk of one round of sampling (implements `Desk`), and the stream of its completions.

    Ask with `ask`, read with `async for request, completion in session.stream()`; more may be asked while reading. The
    stream ends when everything asked is answered or given up; `report` and `unsent` then say which.
    """

    def __init__(
        self,
        source: TextSource,
        ledger: Ledger,
        budget: Budget | None = None,
        observer: SamplingObserver | None = None,
    ) -> None:
        self._source, self._ledger, self._observer = source, ledger, observer
        self._budget = budget or Budget()
        self._price: Price | None = getattr(source, "price", None)
        self._most_tokens: int | None = getattr(source, "most_tokens", None)
        self._free: bool = getattr(source, "free", False)
        self._asked: dict[str, Request] = {}
        self._lists: list[list[Request]] = []
        self._open: dict[str, list[Request]] = {}
        self._keys: dict[Request, str] = {}
        self._pending: deque[Request] = deque()
        self._stored: deque[str] = deque()
        self._in_flight: set[str] = set()
        self._elsewhere: set[str] = set()
        self._ready: deque[tuple[Request, Completion]] = deque()
        self._bell = Bell()
        self._holds = 0
        self._closed = False
        self._why_stopped = ""
        self._why_absent = ""
        self._out_of_budget = False
        self._stopped = asyncio.Event()
        self._prompt_estimated = self._prompt_stated = 0
        self._worker: asyncio.Task[None] | None = None
        self.unsent: list[Request] = []
        """Requests given up, in the order they were."""
        self._counts: dict[str, float] = {}

    # What the caller does

    def ask(self, requests: Iterable[Request]) -> None:
        """Ask for completions; a request asked twice is sent once and answered twice."""
        fresh: dict[str, Request] = {}
        for request in requests:
            key = request.key(self._source.identity)
            if key in self._asked and key not in self._open:
                self._open[key] = [request]
                self._stored.append(key)
                continue
            if key not in self._asked:
                self._asked[key] = fresh[key] = request
                self._keys[request] = key
            self._open.setdefault(key, []).append(request)
        if not fresh:
            return
        self._lists.append(list(fresh.values()))
        self._ledger.bury_dead()
        finished = self._ledger.finished(fresh)
        self._stored.extend(key for key in fresh if key in finished)
        self._pending.extend(request for key, request in fresh.items() if key not in finished)
        self._count(asked=len(fresh), stored=len(finished))
        self._charge_stored(set(fresh))
        if self._observer:
            self._observer.asked(len(fresh))
        self._bell.ring()

    def stop(self, why: str, *, leave_elsewhere: bool = False) -> None:
        """Send nothing more; what is in flight may land, in other processes too unless `leave_elsewhere`."""
        self._why_stopped = self._why_stopped or why
        self._stopped.set()
        self._give_up(self._pending)
        self._pending.clear()
        if leave_elsewhere:
            self._give_up([self._asked[key] for key in sorted(self._elsewhere)])
            self._elsewhere.clear()
        self._bell.ring()

    def hold(self) -> None:
        """Keep the stream open although nothing is asked: the caller may still ask."""
        self._holds += 1

    def let_go(self) -> None:
        """End one `hold`."""
        self._holds -= 1
        self._bell.ring()

    async def stream(self) -> AsyncGenerator[tuple[Request, Completion], None]:
        """Yield what is stored, then what arrives; closing it early marks what is in flight as lost."""
        try:
            while True:
                if self._ready:
                    yield self._ready.popleft()
                elif self._stored:
                    self._read_stored()
                elif not self._is_busy():
                    break
                else:
                    self._start_worker()
                    await self._bell.wait()
            self._closed = True
            self._bell.ring()
            if self._worker:
                await self._worker
            if self._ledger.full:
                raise StorageError(self._ledger.full_message())
        finally:
            await self._end()

    def _is_busy(self) -> bool:
        """Whether anything may still arrive; a fault of the worker is raised here."""
        if self._worker and self._worker.done():
            self._worker.result()
            if self._open:
                raise SourceError(
                    f"{self._source.identity} ended without answering {len(self._open)} requests; run again to go on"
                )
        return bool(self._open) or self._holds > 0

    def _start_worker(self) -> None:
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
            self._worker.add_done_callback(lambda _: self._bell.ring())

    async def _end(self) -> None:
        """Whatever happens, no call is left in flight unmarked."""
        self._closed = True
        if self._worker and not self._worker.done():
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for key in list(self._in_flight):
            self._forget(key)
            with suppress(StorageError):
                self._ledger.lose(key)

    # What the source does

    async def _work(self) -> None:
        source = self._source
        serving = source.work(self) if isinstance(source, DeskSource) else self._work_in_lists(source)
        tasks = [asyncio.ensure_future(serving), asyncio.ensure_future(self._watch_elsewhere())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work_in_lists(self, source: TextSource) -> None:
        """Serve a source that takes whole lists: everything pending at once, whole batches where it says so."""
        while await self.more():
            if not (requests := await self._take_all()):
                continue
            for part in whole_batches(source, self._lists, requests):
                async for request, completion in source.complete(part):
                    if self._keys[request] in self._in_flight:
                        self.arrived(request, completion_to_raw(completion))
            if not self._in_flight.isdisjoint(self._keys[request] for request in requests):
                return

    async def _take_all(self) -> tuple[Request, ...]:
        waiting = list(self._pending)
        self._pending.clear()
        # At once: what is taken and not yet sent frees no budget, and the next one would wait for it for ever.
        return await self.retake(waiting)

    async def more(self) -> bool:
        """See `Desk.more`."""
        while not (self._closed or self._pending):
            await self._bell.wait()
        return not self._closed

    async def take(self, most: int = 1) -> tuple[Request, ...]:
        """See `Desk.take`."""
        while self._pending and not self._closed:
            group = [self._pending.popleft()]
            while self._pending and len(group) < most and differ_in_index_only(group[0], self._pending[0]):
                group.append(self._pending.popleft())
            if admitted := await self.retake(group):
                return admitted
        return ()

    async def retake(self, requests: Sequence[Request]) -> tuple[Request, ...]:
        """See `Desk.retake`."""
        if self._ledger.full:
            self.stop(self._ledger.full_message())
        affordable: list[Request] = []
        for position, request in enumerate(requests):
            if await self._afford(request, wait=not affordable):
                affordable.append(request)
            elif affordable and not self._why_stopped:
                self._pending.extendleft(reversed(requests[position:]))
                break
        if not affordable:
            return ()
        asker = self._source.identity
        claims = [claim_for(r, self._keys[r], asker, self._amount(r)) for r in affordable]
        admitted = []
        for request, claim, state in zip(affordable, claims, self._ledger.claim(claims), strict=True):
            if state is ClaimState.OURS:
                self._in_flight.add(claim.key)
                admitted.append(request)
                continue
            self._budget.release(claim.key)
            self._elsewhere.add(claim.key)
        self._count(sent=len(admitted))
        self._bell.ring()
        return tuple(admitted)

    async def _afford(self, request: Request, *, wait: bool) -> bool:
        """Reserve the budget of a call; with `wait`, until calls in flight may have freed some."""
        key = self._keys[request]
        while not self._why_stopped:
            if self._budget.reserve(key, self._amount(request)):
                return True
            if not wait:
                return False
            if not self._budget.in_flight:
                self._out_of_budget = not self._why_stopped
                self.stop(f"the budget has no room for the next request ({self._budget} spent)")
                break
            await self._bell.wait(timeout=_POLL_SECONDS)
        self._give_up([request])
        return False

    def _amount(self, request: Request) -> Amount:
        if self._free:
            return Amount()
        scale = self._prompt_stated / self._prompt_estimated if self._prompt_estimated else 1.0
        return upper_bound(request, self._price, scale, self._most_tokens)

    def arrived(self, request: Request, raw: Mapping[str, Any]) -> None:
        """See `Desk.arrived`."""
        key = self._keys[request]
        completion = self._parse(request, key, raw)
        usage = completion.usage
        self._ledger.store(
            key,
            raw,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cost=completion.cost,
        )
        tokens = usage.prompt_tokens + usage.completion_tokens
        self._in_flight.discard(key)
        self._budget.settle(key, Amount() if self._free else Amount(requests=1, tokens=tokens, money=completion.cost))
        if usage.prompt_tokens:
            self._prompt_stated += usage.prompt_tokens
            self._prompt_estimated += max(1, prompt_characters(request) // CHARACTERS_PER_TOKEN)
        self._count(arrived=1, tokens=tokens, cost=completion.cost)
        self._deliver(completion, stored=False)

    def lost(self, request: Request) -> None:
        """See `Desk.lost`."""
        key = self._keys[request]
        self._forget(key)
        self._ledger.lose(key)

    def _forget(self, key: str) -> None:
        self._in_flight.discard(key)
        self._budget.settle(key)
        self._count(lost=1)
        self._bell.ring()

    def returned(self, request: Request) -> None:
        """See `Desk.returned`."""
        self._free_claim(request)
        self._count(returned=1)

    def _free_claim(self, request: Request) -> None:
        """Nothing was charged for this call."""
        key = self._keys[request]
        self._in_flight.discard(key)
        self._budget.release(key)
        self._ledger.release(key)
        self._bell.ring()

    def absent(self, request: Request, why: str) -> None:
        """See `Desk.absent`."""
        self._free_claim(request)
        self._why_absent = why
        self._give_up([request])

    def malformed(self, request: Request, raw: Mapping[str, Any]) -> None:
        """See `Desk.malformed`."""
        self._ledger.keep_malformed(self._keys[request], raw)
        self.lost(request)

    def has_answers(self) -> bool:
        """See `Desk.has_answers`."""
        return self._ledger.history(self._source.identity).replies > 0

    async def pause(self, seconds: float, why: str = "") -> None:
        """See `Desk.pause`."""
        if why and self._observer:
            self._observer.waiting(why, seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    # Inner workings

    def _parse(self, request: Request, key: str, raw: Mapping[str, Any]) -> Completion:
        if COMPLETION_FIELD in raw:
            return completion_from_raw(key, raw)
        if isinstance(self._source, DeskSource):
            return self._source.parse(request, key, raw)
        raise SourceError(f"the ledger holds a reply of {self._source.identity} that this source cannot read")

    def _deliver(self, completion: Completion, *, stored: bool) -> None:
        for request in self._open.pop(completion.key, []):
            self._ready.append((request, completion))
        if self._observer:
            self._observer.answered(completion, stored=stored)
        self._bell.ring()

    def _read_stored(self) -> None:
        keys = [self._stored.popleft() for _ in range(min(_READ_AT_ONCE, len(self._stored)))]
        replies = self._ledger.replies(keys)
        for key in keys:
            self._deliver(self._parse(self._asked[key], key, replies[key]), stored=True)

    def _charge_stored(self, keys: set[str]) -> None:
        if self._free:
            return
        fresh = self._budget.uncounted(keys)
        self._budget.count_stored(fresh, self._ledger.charges(fresh).amount(self._price))

    async def _watch_elsewhere(self) -> None:
        """Wait for calls another process has in flight; take over what it leaves behind."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            if not self._elsewhere:
                continue
            finished = self._ledger.finished(self._elsewhere)
            free = self._elsewhere - finished - self._ledger.in_flight(self._elsewhere)
            self._elsewhere -= finished | free
            self._stored.extend(finished)
            self._count(stored=len(finished))
            self._pending.extend(self._asked[key] for key in sorted(free))
            if self._why_stopped:
                self.stop(self._why_stopped)
            self._bell.ring()

    def _give_up(self, requests: Iterable[Request]) -> None:
        for request in requests:
            key = self._keys[request]
            self._asked.pop(key, None)
            given_up = self._open.pop(key, [])
            self.unsent += given_up
            self._count(unsent=bool(given_up))
        self._bell.ring()

    def _count(self, **more: float) -> None:
        for name, value in more.items():
            self._counts[name] = self._counts.get(name, 0) + value

    @property
    def report(self) -> SamplingReport:
        """The account so far."""
        why = self._why_stopped or self._why_absent
        return SamplingReport(**self._counts, why_unsent=why, out_of_budget=self._out_of_budget)  # type: ignore[arg-type]
