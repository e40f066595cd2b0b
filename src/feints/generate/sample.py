"""Asks a text source through the ledger: as a stream, or a whole list at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, TypeVar

from feints.errors import BudgetError, SourceError
from feints.generate.account import SamplingObserver, SamplingReport
from feints.generate.budget import Budget
from feints.generate.interrupt import Interrupt
from feints.generate.ledger import Ledger
from feints.generate.session import Session
from feints.generate.source import Completion, Request, TextSource

INTERRUPTED = "stopped by Ctrl+C"
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What sampling brought, in the order it was asked."""

    answered: tuple[tuple[Request, Completion], ...]
    """Requests with their completions, in request order."""
    unsent: tuple[Request, ...]
    """Requests given up because of the budget or of Ctrl+C, in request order."""
    report: SamplingReport
    """Every request accounted for."""


async def sample(
    source: TextSource,
    requests: Sequence[Request],
    ledger: Ledger | None = None,
    budget: Budget | None = None,
    observer: SamplingObserver | None = None,
) -> AsyncIterator[tuple[Request, Completion]]:
    """Yield each request with its completion: those of the ledger first, then as they arrive.

    A budget that runs out ends the stream early; use `sample_all` to learn what was left out.

    Raises:
        SourceError: the source cannot be reached, or refuses for good; what arrived is in the ledger.
        StorageError: the ledger cannot be written.
    """
    with closing(Ledger()) as memory:
        session = Session(source, ledger or memory, budget, observer)
        session.ask(requests)
        async with aclosing(session.stream()) as stream:
            async for pair in stream:
                yield pair


def run_interruptibly(work: Callable[[Callable[[Session], None]], Coroutine[Any, Any, _Result]]) -> _Result:
    """Run `work` to its end, inside a running event loop or outside; the first Ctrl+C stops its sessions gently.

    `work` is given a function to which it must hand each session it opens.

    Raises:
        KeyboardInterrupt: Ctrl+C was pressed a second time.
    """
    sessions: list[Session] = []
    loops: list[asyncio.AbstractEventLoop] = []

    def stop_all() -> None:
        for session in sessions:
            session.stop(INTERRUPTED, leave_elsewhere=True)

    def first() -> None:
        for loop in loops:
            loop.call_soon_threadsafe(stop_all)

    async def main() -> _Result:
        loops.append(asyncio.get_running_loop())
        return await work(sessions.append)

    with Interrupt(first):
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(main())
        return _run_in_thread(main)


def _run_in_thread(main: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Run `main` on a loop of its own in a thread, for callers inside a running loop (a notebook)."""
    results: list[_Result] = []
    errors: list[BaseException] = []
    tasks: list[asyncio.Task[_Result]] = []

    async def noted() -> None:
        task = asyncio.ensure_future(main())
        tasks.append(task)
        results.append(await task)

    def run() -> None:
        try:
            asyncio.run(noted())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="feints-sampling")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
    except KeyboardInterrupt:
        for task in tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)
        thread.join()
        raise
    if errors:
        raise errors[0]
    return results[0]


def sample_all(
    source: TextSource,
    requests: Sequence[Request],
    ledger: Ledger | None = None,
    budget: Budget | None = None,
    observer: SamplingObserver | None = None,
) -> Sampled:
    """Sample the whole list and go on with what is there: budgets and Ctrl+C leave the rest in `unsent`.

    Works inside a running event loop too. Ctrl+C once finishes what is in flight, twice stops.

    Raises:
        SourceError: the source cannot be reached, or refuses for good; what arrived is in the ledger.
        StorageError: the ledger cannot be written.
        KeyboardInterrupt: Ctrl+C was pressed twice.
    """

    async def work(register: Callable[[Session], None]) -> Sampled:
        with closing(Ledger()) as memory:
            session = Session(source, ledger or memory, budget, observer)
            register(session)
            session.ask(requests)
            completions: dict[Request, Completion] = {}
            async with aclosing(session.stream()) as stream:
                async for request, completion in stream:
                    completions[request] = completion
            return Sampled(
                answered=tuple((r, completions[r]) for r in requests if r in completions),
                unsent=tuple(r for r in requests if r not in completions),
                report=session.report,
            )

    return run_interruptibly(work)


def complete_all(
    source: TextSource,
    requests: Sequence[Request],
    ledger: Ledger | None = None,
    budget: Budget | None = None,
    observer: SamplingObserver | None = None,
) -> list[Completion]:
    """One completion per request, in request order, none missing; otherwise as `sample_all`.

    Raises:
        BudgetError: the budget ended before all were answered; what arrived is in the ledger.
        SourceError: as `sample_all`, and when the source has no answer to some.
        KeyboardInterrupt: Ctrl+C was pressed, once or twice: some are unanswered.
    """
    sampled = sample_all(source, requests, ledger, budget, observer)
    if sampled.unsent:
        kept = (
            "what arrived is kept in the ledger" if ledger and ledger.path else "no ledger was given to keep the rest"
        )
        what = f"{_left(sampled)}; {kept}"
        if sampled.report.why_unsent == INTERRUPTED:
            raise KeyboardInterrupt(what)
        if sampled.report.out_of_budget:
            raise BudgetError(f"{what}; run again with a larger budget to go on")
        raise SourceError(f"{what}; mend that and run again to go on")
    return [completion for _, completion in sampled.answered]


def _left(sampled: Sampled) -> str:
    total = len(sampled.unsent) + len(sampled.answered)
    return f"{len(sampled.unsent)} of {total} requests were not sent: {sampled.report.why_unsent}"
