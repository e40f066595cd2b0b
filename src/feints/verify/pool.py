"""Worker processes with a hard deadline for what may hang; a crash or time-out is not_checked, never wrong."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from feints.records import Finish, Problem, Verdict
from feints.verify.findings import Finding
from feints.verify.judge import Open, judge, settle

DEADLINE = 5.0
"""Seconds a worker has for one comparison."""
START_LIMIT = 120.0
"""Seconds a worker has to import sympy, on a busy machine."""
CHUNK = 16
"""Cases sent to a worker at once, so that the round trip is not what takes the time."""


class _Worker:
    """One child process and the thread that reads its lines (a pipe cannot be waited on everywhere)."""

    def __init__(self) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "feints.verify.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
            text=True,
            encoding="utf-8",
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._numbers = itertools.count()
        self._ready = False

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _next(self, limit: float) -> dict[str, Any]:
        """The next message; raises queue.Empty on time-out and EOFError when the process is gone."""
        line = self._lines.get(timeout=limit)
        if line is None:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        return message

    def start(self) -> None:
        """Wait until the child can take cases; raises EOFError or queue.Empty if it cannot."""
        if not self._ready:
            self._ready = bool(self._next(START_LIMIT).get("ready"))

    def send(self, cases: Sequence[Open], deadline: float) -> list[int]:
        """Send cases; their numbers."""
        numbers = [next(self._numbers) for _ in cases]
        lines = [
            json.dumps(
                {
                    "number": number,
                    "gold": case.gold.text,
                    "answer": case.finding.extracted,
                    "evidence": case.finding.evidence,
                    "deadline": deadline,
                }
            )
            for number, case in zip(numbers, cases, strict=True)
        ]
        assert self._process.stdin is not None
        self._process.stdin.write("\n".join(lines) + "\n")
        self._process.stdin.flush()
        return numbers

    def receive(self, number: int, deadline: float) -> dict[str, Any]:
        """The message about case `number`."""
        end = time.monotonic() + deadline
        while True:
            message = self._next(max(0.0, end - time.monotonic()))
            if message.get("number") == number:
                return message

    def kill(self) -> None:
        """End the child at once and free what it held."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # unsent lines of a dead child
                    continue


class CheckerPool:
    """Judges many texts: what can be decided at once is decided here, the rest by killable worker processes.

    No process starts before the first comparison that needs one. Usable from threads and from asyncio.

    Args:
        workers: child processes at most; None is one per core this process may use.
        deadline: seconds a comparison may take before its worker is killed and replaced.
    """

    def __init__(self, workers: int | None = None, deadline: float = DEADLINE) -> None:
        self.workers = max(1, workers if workers is not None else _cores())
        self.deadline = deadline
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self.workers):
            self._idle.put(None)
        self._closed = False
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
        for _ in range(self.workers):
            worker = self._idle.get()
            if worker is not None:
                worker.kill()

    def warm_up(self) -> None:
        """Start all workers and wait until they can take cases, so that a measurement does not include it."""
        workers = [self._idle.get() or _Worker() for _ in range(self.workers)]
        for worker in workers:
            worker.start()
        for worker in workers:
            self._idle.put(worker)

    def check(self, problem: Problem, text: str, *, thinking: str = "", finish: Finish = Finish.UNKNOWN) -> Verdict:
        """Verdict on one text.

        Raises:
            DataError: the gold answer of `problem` cannot be read.
        """
        case = judge(problem, text, thinking=thinking, finish=finish)
        return case if isinstance(case, Verdict) else self._settle([case])[0]

    async def check_async(
        self, problem: Problem, text: str, *, thinking: str = "", finish: Finish = Finish.UNKNOWN
    ) -> Verdict:
        """`check` without blocking the event loop while a worker is busy."""
        case = judge(problem, text, thinking=thinking, finish=finish)
        if isinstance(case, Verdict):
            return case
        return (await asyncio.wrap_future(self._executor().submit(self._settle, [case])))[0]

    def check_all(self, items: Iterable[tuple[Problem, str, str, Finish]]) -> list[Verdict]:
        """Verdicts on (problem, text, thinking, finish), in order.

        Raises:
            DataError: the gold answer of one of the problems cannot be read.
        """
        verdicts: list[Verdict | None] = []
        waiting: list[tuple[int, Open]] = []
        running = []
        for place, (problem, text, thinking, finish) in enumerate(items):
            case = judge(problem, text, thinking=thinking, finish=finish)
            verdicts.append(case if isinstance(case, Verdict) else None)
            if isinstance(case, Open):
                waiting.append((place, case))
            if len(waiting) >= CHUNK:
                running.append((waiting, self._executor().submit(self._settle, [case for _, case in waiting])))
                waiting = []
        for share in _shares(waiting, self.workers):
            running.append((share, self._executor().submit(self._settle, [case for _, case in share])))
        for chunk, future in running:
            for (place, _), verdict in zip(chunk, future.result(), strict=True):
                verdicts[place] = verdict
        return [verdict for verdict in verdicts if verdict is not None]

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._closed:
                raise RuntimeError("this CheckerPool is closed")
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="checker")
            return self._threads

    def _settle(self, cases: Sequence[Open]) -> list[Verdict]:
        """Have one worker decide `cases`; it is replaced, and the case it died on given up, whenever it fails."""
        worker = self._idle.get()
        findings: list[Finding] = []
        try:
            while len(findings) < len(cases):
                rest = cases[len(findings) :]
                worker = worker or _Worker()
                if not self._run(worker, rest, findings):
                    worker.kill()
                    worker = None
        finally:
            self._idle.put(worker)
        return [settle(case, finding) for case, finding in zip(cases, findings, strict=True)]

    def _run(self, worker: _Worker, cases: Sequence[Open], findings: list[Finding]) -> bool:
        """Append findings until all are there or the worker fails; whether it may be used again."""
        started, before = False, len(findings)
        try:
            worker.start()
            started = True
            for case, number in zip(cases, worker.send(cases, self.deadline), strict=True):
                findings.append(_finding(case, worker.receive(number, self.deadline)))
        except queue.Empty:
            why = f"no decision within {self.deadline:g} s" if started else "the checker process did not start"
        except (EOFError, OSError):
            why = "the checker process crashed" if started else "the checker process did not start"
        except BaseException:
            worker.kill()
            raise
        else:
            return True
        findings.append(_failed(cases[len(findings) - before], why))
        return False


def _finding(case: Open, message: dict[str, Any]) -> Finding:
    if "failed" in message:
        return _failed(case, f"the checker failed: {message['failed']}")
    return Finding(message["same"], case.finding.extracted, message["checker"], message["reason"])


def _failed(case: Open, why: str) -> Finding:
    return Finding(None, case.finding.extracted, "pool", why)


def _shares(waiting: list[tuple[int, Open]], workers: int) -> list[list[tuple[int, Open]]]:
    """The last cases dealt over all workers."""
    return [share for at in range(workers) if (share := waiting[at::workers])]


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
    case = judge(problem, text, thinking=thinking, finish=finish)
    return case if isinstance(case, Verdict) else _default().check(problem, text, thinking=thinking, finish=finish)
