"""Adaptive sampling: stop asking a problem once it has enough right and enough wrong rationales."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import Field, model_validator

from feints.config import Settings
from feints.generate.account import SamplingObserver, SamplingReport
from feints.generate.budget import Budget
from feints.generate.desk import BatchingSource
from feints.generate.ledger import Ledger
from feints.generate.sample import run_interruptibly
from feints.generate.session import Session
from feints.generate.source import Completion, Request, TextSource
from feints.records import Judgement

Judge = Callable[[str, Completion], Judgement | Awaitable[Judgement]]
"""Says whether a completion for a problem (by id) is right; a plain function is called in threads."""


class AdaptiveSettings(Settings):
    """When a problem has been asked often enough."""

    minimum: int = Field(default=1, ge=1, description="Samples every problem gets.")
    maximum: int = Field(default=8, ge=1, description="Samples no problem exceeds.")
    wanted_right: int = Field(default=1, ge=0, description="Right rationales wanted per problem.")
    wanted_wrong: int = Field(default=1, ge=0, description="Wrong rationales wanted per problem.")

    @model_validator(mode="after")
    def _in_order(self) -> AdaptiveSettings:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} exceeds maximum {self.maximum}; lower one or raise the other")
        return self


class JudgementObserver(Protocol):
    """Whoever watches verdicts, such as a progress bar."""

    def judged(self, judgement: Judgement) -> None:
        """One more completion was judged."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """A sample that counts: it lies before the point at which its problem had enough."""

    problem_id: str
    request: Request
    completion: Completion
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptivelySampled:
    """What adaptive sampling brought."""

    used: tuple[Used, ...]
    """Samples in order of problem, then index: a function of problems, settings and completions alone."""
    unfinished: tuple[str, ...]
    """Problems given up before they had enough or reached the maximum (budget, Ctrl+C)."""
    short: tuple[str, ...]
    """Problems that reached the maximum without enough right or wrong rationales."""
    report: SamplingReport
    """Every request accounted for."""


class _Asked:
    """One problem: its samples so far, and how many more it needs for sure."""

    def __init__(self, requests: Sequence[Request], settings: AdaptiveSettings) -> None:
        self.requests = list(requests[: settings.maximum])
        self.settings = settings
        self.known: dict[int, tuple[Completion, Judgement]] = {}
        self.asked = 0

    def enough_at(self) -> int | None:
        """Length of the shortest run of samples, from index 0 on, that suffices; None: not yet known."""
        right = wrong = 0
        for index in range(len(self.requests)):
            if index not in self.known:
                return None
            judgement = self.known[index][1]
            right += judgement is Judgement.CORRECT
            wrong += judgement is Judgement.WRONG
            satisfied = right >= self.settings.wanted_right and wrong >= self.settings.wanted_wrong
            if satisfied and index + 1 >= self.settings.minimum:
                return index + 1
        return len(self.requests)

    def next_requests(self) -> list[Request]:
        """Samples that are needed whatever the open ones bring, so that none is ever surplus."""
        if any(index not in self.known for index in range(self.asked)):
            return []
        judgements = [self.known[index][1] for index in range(self.asked)]
        lacking = max(0, self.settings.wanted_right - judgements.count(Judgement.CORRECT))
        lacking += max(0, self.settings.wanted_wrong - judgements.count(Judgement.WRONG))
        goal = min(len(self.requests), max(self.settings.minimum, self.asked + lacking))
        fresh = self.requests[self.asked : goal]
        self.asked = max(self.asked, goal)
        return fresh

    def is_short(self) -> bool:
        """Whether all samples together are not enough."""
        values = [judgement for _, judgement in self.known.values()]
        right, wrong = values.count(Judgement.CORRECT), values.count(Judgement.WRONG)
        return right < self.settings.wanted_right or wrong < self.settings.wanted_wrong


async def _judge(judge: Judge, problem_id: str, completion: Completion) -> Judgement:
    if inspect.iscoroutinefunction(judge):
        said: Judgement | Awaitable[Judgement] = judge(problem_id, completion)
    else:
        said = await asyncio.to_thread(judge, problem_id, completion)
    return said if isinstance(said, Judgement) else await said


class _Driver:
    """Feeds a session with what each verdict makes necessary, or, in waves, with what all verdicts so far do.

    Waves are the same whatever comes back first: for sources whose answers depend on who shares a batch.
    """

    def __init__(
        self,
        session: Session,
        asked: dict[str, _Asked],
        judge: Judge,
        observer: JudgementObserver | None,
        *,
        in_waves: bool,
    ) -> None:
        self._session, self._asked, self._judge, self._observer = session, asked, judge, observer
        self._in_waves = in_waves
        self._owners: dict[Request, list[tuple[str, int]]] = {}
        self._judging: set[asyncio.Task[None]] = set()
        self._unsettled = 0

    def ask(self, problem_ids: Iterable[str]) -> None:
        """Ask what these problems need now."""
        requests: list[Request] = []
        for problem_id in problem_ids:
            problem = self._asked[problem_id]
            start = problem.asked
            fresh = problem.next_requests()
            for index, request in enumerate(fresh, start):
                self._owners.setdefault(request, []).append((problem_id, index))
            requests += fresh
        self._unsettled += len(requests)
        self._session.ask(requests)

    async def run(self) -> None:
        """Until every problem has enough or nothing more may be sent."""
        self.ask(self._asked)
        try:
            async with aclosing(self._session.stream()) as stream:
                async for request, completion in stream:
                    for problem_id, index in self._owners.pop(request, []):
                        self._start_judging(problem_id, index, completion)
                    self._raise_faults()
            self._raise_faults()
        finally:
            for task in self._judging:
                task.cancel()

    def _start_judging(self, problem_id: str, index: int, completion: Completion) -> None:
        self._session.hold()
        task = asyncio.create_task(self._settle(problem_id, index, completion))
        self._judging.add(task)
        task.add_done_callback(lambda _: self._session.let_go())

    async def _settle(self, problem_id: str, index: int, completion: Completion) -> None:
        judgement = await _judge(self._judge, problem_id, completion)
        self._asked[problem_id].known[index] = (completion, judgement)
        self._unsettled -= 1
        if self._observer:
            self._observer.judged(judgement)
        if not self._in_waves:
            self.ask([problem_id])
        elif not self._unsettled:
            self.ask(self._asked)

    def _raise_faults(self) -> None:
        done = {task for task in self._judging if task.done()}
        self._judging -= done
        for task in done:
            task.result()


def sample_adaptively(
    source: TextSource,
    problems: Mapping[str, Sequence[Request]],
    settings: AdaptiveSettings,
    judge: Judge,
    ledger: Ledger | None = None,
    budget: Budget | None = None,
    observer: SamplingObserver | None = None,
    verdicts: JudgementObserver | None = None,
) -> AdaptivelySampled:
    """Sample each problem until it has enough right and wrong rationales, reading samples in index order.

    Only samples that are needed whatever the open ones bring are asked, so none is surplus; what the ledger
    holds beyond (from a run with other settings) stays there unused. Works inside a running event loop too.

    Args:
        source: who is asked.
        problems: per problem id its requests by sample index, at least `settings.maximum` of them.
        settings: when it is enough.
        judge: verdict of one completion.
        ledger: where replies are kept.
        budget: ceiling.
        observer: told of requests and replies.
        verdicts: told of verdicts.

    Raises:
        SourceError: the source cannot be reached, or refuses for good; what arrived is in the ledger.
        StorageError: the ledger cannot be written.
        KeyboardInterrupt: Ctrl+C was pressed twice.
    """
    asked = {problem_id: _Asked(requests, settings) for problem_id, requests in problems.items()}

    async def work(register: Callable[[Session], None]) -> SamplingReport:
        with closing(Ledger()) as memory:
            session = Session(source, ledger or memory, budget, observer)
            register(session)
            in_waves = isinstance(source, BatchingSource)
            await _Driver(session, asked, judge, verdicts, in_waves=in_waves).run()
            return session.report

    work_function: Callable[[Callable[[Session], None]], Coroutine[Any, Any, SamplingReport]] = work
    return _outcome(asked, run_interruptibly(work_function))


def _outcome(asked: Mapping[str, _Asked], report: SamplingReport) -> AdaptivelySampled:
    """What counts of what came: samples up to the point at which their problem had enough."""
    ends = {problem_id: problem.enough_at() for problem_id, problem in asked.items()}
    used = tuple(
        Used(
            problem_id=problem_id,
            request=problem.requests[index],
            completion=problem.known[index][0],
            judgement=problem.known[index][1],
        )
        for problem_id, problem in asked.items()
        for index in range(_usable(problem, ends[problem_id]))
    )
    return AdaptivelySampled(
        used=used,
        unfinished=tuple(problem_id for problem_id, end in ends.items() if end is None),
        short=tuple(name for name, problem in asked.items() if ends[name] is not None and problem.is_short()),
        report=report,
    )


def _usable(problem: _Asked, end: int | None) -> int:
    """Samples that count: up to where it is enough, or the unbroken run there is."""
    if end is not None:
        return end
    return next(index for index in range(len(problem.requests)) if index not in problem.known)
