"""Worker processes with a hard deadline for what may hang; a crash or time-out is not_checked, never wrong."""

from __future__ import annotations

import asyncio
import atexit
import os
import queue
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from feints.errors import DataError
from feints.records import Finish, Form, Problem, Verdict
from feints.verify.executed import conclude
from feints.verify.execution import EXECUTED, Limits
from feints.verify.executor import Executor
from feints.verify.findings import Finding
from feints.verify.gold import parse_gold
from feints.verify.judge import Item, Open, judge, settle
from feints.verify.process import Workers
from feints.verify.wire import case_from

DEADLINE = 5.0
"""Seconds a worker has for one comparison."""
CHUNK = 16
"""Hard cases sent to a worker at once, so that the round trip is not what takes the time."""
SHARE = 256
"""Texts sent to a worker at once to be judged whole."""
SHARE_LIMIT = 60.0
"""Seconds a worker has for a share; every text in it is judged within bounds, so only a lost worker takes as long."""
SHARES_EACH = 6
"""Shares a worker gets at least, so that one with an easy share has another to go on with."""
WORTH_STARTING = 6000
"""Texts from which on idle cores are worth starting workers for, easy as the texts may be."""


_Case = Verdict | Open | DataError
_Places = list[Verdict | DataError | None]


class CheckerPool:
    """Judges many texts: what can be decided at once is decided here, the rest by killable worker processes.

    No process starts before the first comparison that needs one (or thousands of texts at once). Usable from threads
    and from asyncio.

    Args:
        workers: child processes at most; None is one per core this process may use.
        deadline: seconds a comparison may take before its worker is killed and replaced.
        limits: the most a program, an equation system or constraints may take.
    """

    def __init__(self, workers: int | None = None, deadline: float = DEADLINE, limits: Limits | None = None) -> None:
        self.workers = max(1, workers if workers is not None else _cores())
        self.deadline = deadline
        self.executor = Executor(limits, self.workers)
        self._checkers = Workers(self.workers)
        self._closed = False
        self._warm = False
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; comparisons under way finish first."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            threads = self._threads
        if threads is not None:
            threads.shutdown(wait=True)
        self.executor.close()
        self._checkers.close()

    def warm_up(self) -> None:
        """Start all workers, sympy included, so that a measurement does not include it."""
        self._checkers.warm_up()
        self._warm = True

    def check(
        self,
        problem: Problem,
        text: str,
        *,
        thinking: str = "",
        finish: Finish = Finish.UNKNOWN,
        form: Form = Form.COT,
    ) -> Verdict:
        """Verdict on one text; a program, equations or constraints are executed.

        Raises:
            DataError: the gold answer of `problem` cannot be read.
            MissingExtraError: what runs this form is not installed.
        """
        case = self._case(problem, text, thinking, finish, form)
        return case if isinstance(case, Verdict) else self._settle([case])[0]

    def _case(self, problem: Problem, text: str, thinking: str, finish: Finish, form: Form) -> Verdict | Open:
        if form in EXECUTED:
            return conclude(problem, self.executor.run(form, text), form, finish)
        return judge(problem, text, thinking=thinking, finish=finish)

    async def check_async(
        self,
        problem: Problem,
        text: str,
        *,
        thinking: str = "",
        finish: Finish = Finish.UNKNOWN,
        form: Form = Form.COT,
    ) -> Verdict:
        """`check` without blocking the event loop while a worker is busy."""
        if form in EXECUTED:
            work = self._executor().submit(self.check, problem, text, thinking=thinking, finish=finish, form=form)
            return await asyncio.wrap_future(work)
        case = judge(problem, text, thinking=thinking, finish=finish)
        if isinstance(case, Verdict):
            return case
        return (await asyncio.wrap_future(self._executor().submit(self._settle, [case])))[0]

    def check_all(self, items: Iterable[Item], form: Form = Form.COT) -> list[Verdict]:
        """Verdicts on (problem, text, thinking, finish), in order; all texts of one form.

        Raises:
            DataError: the gold answer of one of the problems cannot be read.
            MissingExtraError: what runs this form is not installed.
        """
        work = items if isinstance(items, Sequence) else list(items)
        if form in EXECUTED:
            for problem, _, _, _ in work:
                parse_gold(problem)
            runs = self.executor.run_all(form, [text for _, text, _, _ in work])
            verdicts: _Places = [None] * len(work)
            self._share_hard(
                verdicts, ((at, conclude(work[at][0], run, form, work[at][3])) for at, run in enumerate(runs))
            )
        else:
            verdicts = list(self.check_each(work))
        for (problem, _, _, _), verdict in zip(work, verdicts, strict=True):
            if isinstance(verdict, DataError):
                parse_gold(problem)  # raises, and names the problem
        return [verdict for verdict in verdicts if isinstance(verdict, Verdict)]

    def check_each(self, work: Sequence[Item]) -> Sequence[Verdict | DataError]:
        """`check_all` of texts whose problems may be bad: where a gold answer cannot be read, the error stands."""
        verdicts: _Places = [None] * len(work)
        if self.workers == 1 or len(work) < (2 * SHARE if self._warm else WORTH_STARTING):
            self._share_hard(verdicts, ((at, _judged(item)) for at, item in enumerate(work)))
        else:
            self._share_all(verdicts, work)
        return [verdict for verdict in verdicts if verdict is not None]

    def _share_hard(self, verdicts: _Places, judged: Iterable[tuple[int, _Case]]) -> None:
        """Fill in what is decided, and have the workers decide the rest while judging goes on."""
        waiting: list[tuple[int, Open]] = []
        running: list[tuple[list[tuple[int, Open]], Future[list[Verdict]]]] = []
        for place, case in judged:
            if isinstance(case, Open):
                waiting.append((place, case))
            else:
                verdicts[place] = case
            if len(waiting) >= CHUNK:
                running.append((waiting, self._submit(waiting)))
                waiting = []
        running += [
            (share, self._submit(share)) for at in range(self.workers) if (share := waiting[at :: self.workers])
        ]
        for share, future in running:
            for (place, _), verdict in zip(share, future.result(), strict=True):
                verdicts[place] = verdict

    def _share_all(self, verdicts: _Places, work: Sequence[Item]) -> None:
        """Have the workers judge whole shares; what they leave open comes back and is shared out again.

        Gold answers are read there too: this process, which every row passes through, is what limits the workers.
        """
        share = max(1, min(SHARE, -(-len(work) // (SHARES_EACH * self.workers))))
        starts = range(0, len(work), share)
        futures = [self._executor().submit(self._judge_share, work[at : at + share]) for at in starts]
        self._warm = True
        judged = (
            (at + i, case) for at, future in zip(starts, futures, strict=True) for i, case in enumerate(future.result())
        )
        self._share_hard(verdicts, judged)

    def _submit(self, share: list[tuple[int, Open]]) -> Future[list[Verdict]]:
        return self._executor().submit(self._settle, [case for _, case in share])

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise RuntimeError("this CheckerPool is closed")
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="checker")
            return self._threads

    def _judge_share(self, share: Sequence[Item]) -> list[_Case]:
        """Have one worker judge a share; if it is lost on the way, the share is judged here."""
        try:
            with self._checkers.borrow() as worker:
                replies = worker.judge(share, SHARE_LIMIT)
        except (queue.Empty, EOFError, OSError):
            return [_judged(item) for item in share]
        return [case_from(problem, reply) for (problem, _, _, _), reply in zip(share, replies, strict=True)]

    def _settle(self, cases: Sequence[Open]) -> list[Verdict]:
        """Have one worker decide `cases`; it is replaced, and the case it died on given up, whenever it fails."""
        findings: list[Finding] = []
        while len(findings) < len(cases):
            self._run(cases[len(findings) :], findings)
        return [settle(case, finding) for case, finding in zip(cases, findings, strict=True)]

    def _run(self, cases: Sequence[Open], findings: list[Finding]) -> None:
        """Append findings until all are there, or the worker fails and one says so."""
        started, before = False, len(findings)
        try:
            with self._checkers.borrow() as worker:
                worker.prepare()
                started = True
                for case, number in zip(cases, worker.send(cases, self.deadline), strict=True):
                    findings.append(_finding(case, worker.await_work(number, self.deadline)))
            return
        except queue.Empty:
            why = f"no decision within {self.deadline:g} s" if started else "the checker process did not start"
        except (EOFError, OSError):
            why = "the checker process crashed" if started else "the checker process did not start"
        findings.append(_failed(cases[len(findings) - before], why))


def _judged(item: Item) -> _Case:
    problem, text, thinking, finish = item
    try:
        return judge(problem, text, thinking=thinking, finish=finish)
    except DataError as error:
        return error


def _finding(case: Open, message: dict[str, Any]) -> Finding:
    if "failed" in message:
        return _failed(case, f"the checker failed: {message['failed']}")
    extracted = None if message["extracted"] is None else case.finding.extracted
    return Finding(message["same"], extracted, message["checker"], message["reason"], message["evidence"])


def _failed(case: Open, why: str) -> Finding:
    return Finding(None, case.finding.extracted, "pool", why)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_shared: dict[int, CheckerPool] = {}
_shared_lock = threading.Lock()


def _default() -> CheckerPool:
    """The pool behind `check`, one per process (a forked child must not share its parent's pipes)."""
    with _shared_lock:
        pool = _shared.get(os.getpid())
        if pool is None:
            pool = _shared[os.getpid()] = CheckerPool()
            atexit.register(pool.close)
        return pool


def check(problem: Problem, text: str, *, thinking: str = "", finish: Finish = Finish.UNKNOWN) -> Verdict:
    """Whether `text` reaches the gold answer of `problem`; total over `text`.

    Answered in this process where that is exact and bounded; LaTeX that needs sympy goes to a shared `CheckerPool`,
    started by the first such case. The verdict's `rationale_id` is "".

    Raises:
        DataError: the gold answer cannot be read.
    """
    return _default().check(problem, text, thinking=thinking, finish=finish)
