"""Runs rationales of every executed form, each in processes that can be killed; never in this one."""

from __future__ import annotations

import importlib.util
import queue
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from feints.errors import DataError, MissingExtraError
from feints.records import Form
from feints.verify import constraints, equations, launchers, programs
from feints.verify.execution import EXECUTED, Execution, Failure, Limits, failed, value_text
from feints.verify.interpreter import Interpreter
from feints.verify.process import START_LIMIT, Workers

_NEEDS = {Form.POT: ("pydantic_monty", "pydantic-monty"), Form.SAT: ("z3", "z3-solver")}
_MODULE = {"equations": "sympy", "constraints": "z3"}
_GRACE = 0.5
"""Seconds beyond its limit after which a solving process is killed."""


def require(form: Form) -> None:
    """Refuse a form that cannot be executed here, before anything is paid for.

    Raises:
        MissingExtraError: its package is not installed.
    """
    module, package = _NEEDS.get(form, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise MissingExtraError(package, "execute", f"rationales of form {form.value}")


class Executor:
    """Executes programs, equations and constraints; nothing starts before the first; usable from several threads.

    Args:
        limits: the most one rationale may take.
        workers: processes of each kind at most.
    """

    def __init__(self, limits: Limits | None = None, workers: int = 1) -> None:
        self.limits, self.workers = limits or Limits(), workers
        self._interpreter = Interpreter(self.limits, workers)
        self._solvers = Workers(workers, "feints.verify.solving")
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; runs under way finish first."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=True)
        self._interpreter.close()
        launchers.close_idle()
        self._solvers.close()

    def run_all(self, form: Form, texts: Sequence[str]) -> list[Execution]:
        """One run per text, in order."""
        if self.workers == 1 or len(texts) < 2:
            return [self.run(form, text) for text in texts]
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="executor")
        return list(self._threads.map(lambda text: self.run(form, text), texts))

    def run(self, form: Form, text: str) -> Execution:
        """Run one rationale; total over `text`.

        Raises:
            MissingExtraError: what runs this form is not installed.
            DataError: the form is none that is executed.
        """
        if form not in EXECUTED:
            raise DataError(f"form {form.value!r} is not executed; only {', '.join(EXECUTED)} are")
        require(form)
        if form is Form.POT:
            return programs.run(text, self._interpreter, self.limits)
        if form is Form.SAT:
            told = constraints.read(text, self.limits)
            return told if isinstance(told, Execution) else self._solve(told, self.limits.constraint_seconds)
        found = equations.read(text, self.limits)
        if isinstance(found, Execution):
            return found
        asked = equations.message(found)
        return asked if isinstance(asked, Execution) else self._solve(asked, self.limits.seconds)

    def _solve(self, message: Mapping[str, object], seconds: float) -> Execution:
        """Have a solving process work it out; one that does not answer in time is killed and replaced."""
        module = _MODULE[str(message["solve"])]
        started = False
        try:
            with self._solvers.borrow() as worker:
                worker.ask({"load": module}, START_LIMIT)
                started = True
                reply = worker.ask(message, seconds + _GRACE)
        except queue.Empty:
            if started:
                return failed(Failure.TIME, f"no solution within {seconds:g} s", module)
            return failed(Failure.NOT_RUN, "the solving process did not start", module)
        except (EOFError, OSError):
            return failed(Failure.NOT_RUN, "the solving process was lost", module)
        if "value" in reply:
            return Execution(value=value_text(str(reply["value"])), ran_in=module)
        return failed(Failure(reply["failure"]), str(reply["detail"]), module)
