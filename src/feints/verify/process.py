"""One worker process seen from its parent: started, spoken to in lines of JSON, killed."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from feints.verify.judge import Item, Open
from feints.verify.wire import PATIENCE, item_message

START_LIMIT = 120.0
"""Seconds a worker has to import sympy, on a busy machine."""


class WorkerProcess:
    """A child process and the thread that reads its lines (a pipe cannot be waited on everywhere).

    A fresh interpreter and not a fork: nothing of the parent's threads, locks or main module goes with it.
    """

    def __init__(self, module: str = "feints.verify.worker") -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
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
        self._prepared = False

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def prepare(self) -> None:
        """Wait until sympy is loaded; raises EOFError or queue.Empty if that fails."""
        if not self._prepared:
            number = next(self._numbers)
            self._write([{"number": number, "prepare": True}])
            self.receive(number, START_LIMIT)
            self._prepared = True

    def send(self, cases: Sequence[Open], deadline: float) -> list[int]:
        """Send cases for a second opinion; their numbers."""
        numbers = [next(self._numbers) for _ in cases]
        self._write(
            [
                {
                    "number": number,
                    "gold": case.gold.text,
                    "answer": case.finding.extracted,
                    "evidence": case.finding.evidence,
                    "deadline": deadline,
                }
                for number, case in zip(numbers, cases, strict=True)
            ]
        )
        return numbers

    def judge(self, items: Sequence[Item], limit: float) -> list[list[Any]]:
        """Have whole texts judged; what comes back per text is read by `wire.case_from`."""
        number = next(self._numbers)
        self._write([{"number": number, "items": [item_message(item) for item in items]}])
        replies: list[list[Any]] = self.receive(number, limit + START_LIMIT)["replies"]
        return replies

    def ask(self, message: Mapping[str, object], limit: float) -> dict[str, Any]:
        """Send one message and wait for its reply; raises as `receive`."""
        number = next(self._numbers)
        self._write([{**message, "number": number}])
        return self.receive(number, limit)

    def receive(self, number: int, limit: float) -> dict[str, Any]:
        """The message about `number`; raises queue.Empty on time-out and EOFError when the process is gone."""
        end = time.monotonic() + limit
        while True:
            line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            if line is None:
                raise EOFError
            message: dict[str, Any] = json.loads(line)
            if message.get("number") == number:
                return message

    def await_work(self, number: int, seconds: float) -> dict[str, Any]:
        """`receive`, but `seconds` are of work: a child that other processes keep from working is waited for longer.

        So a verdict does not hang on how busy the machine is. Where its working time cannot be read, and after
        PATIENCE times `seconds`, the clock alone decides.
        """
        began, worked = time.monotonic(), self._worked()
        while True:
            try:
                return self.receive(number, seconds)
            except queue.Empty:
                now = self._worked()
                if worked is None or now is None or now - worked >= 0.8 * seconds:
                    raise
                if time.monotonic() - began >= (PATIENCE - 1) * seconds:
                    raise

    def _worked(self) -> float | None:
        """Processor seconds the child has had, where the system says so (Linux)."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
            user, system = fields.split()[11:13]
            return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, AttributeError):
            return None

    def kill(self) -> None:
        """End the child at once and free what it held."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # unsent lines of a dead child
                    pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _write(self, messages: Sequence[Mapping[str, Any]]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("".join(json.dumps(message) + "\n" for message in messages))
        self._process.stdin.flush()


class Workers:
    """Places for worker processes of one kind, each started by who first needs it. Usable from several threads."""

    def __init__(self, places: int, module: str = "feints.verify.worker") -> None:
        self.places, self._module = places, module
        self._idle: queue.LifoQueue[WorkerProcess | None] = queue.LifoQueue()
        for _ in range(places):
            self._idle.put(None)

    @contextlib.contextmanager
    def borrow(self) -> Iterator[WorkerProcess]:
        """A worker for as long as this lasts. Whatever ends it early kills the worker: nobody is given a bad one."""
        worker = self._idle.get()
        kept: WorkerProcess | None = None
        try:
            worker = worker or WorkerProcess(self._module)
            yield worker
            kept = worker
        finally:
            if worker is not None and kept is None:
                worker.kill()
            self._idle.put(kept)

    def warm_up(self) -> None:
        """Start all of them, sympy included."""
        with contextlib.ExitStack() as stack:
            for worker in [stack.enter_context(self.borrow()) for _ in range(self.places)]:
                worker.prepare()

    def close(self) -> None:
        """End all of them; whoever has borrowed one gives it back first."""
        for worker in [self._idle.get() for _ in range(self.places)]:
            if worker is not None:
                worker.kill()
            self._idle.put(None)
