"""Programs in Monty, a Python interpreter without files and network: a warm pool of killable processes."""

from __future__ import annotations

import builtins
import threading
from datetime import datetime
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from feints.errors import MissingExtraError
from feints.verify.execution import Execution, Failure, Limits, failed, value_text

if TYPE_CHECKING:
    import pydantic_monty

RAN_IN = "monty"
_GRACE = 0.5
"""Seconds after its limit at which a worker that does not stop by itself is killed."""
_SAME_EVERY_TIME: pydantic_monty.OSPolicy = {
    "sleep": "zero",
    "process_time": "zero",
    "random_start": {"seed": 0},
    "datetime": datetime(2024, 1, 1),
}
"""No program waits, and chance and clock say the same in every run."""
_PYTHON_NAMES = frozenset(dir(builtins))
_DOUBTFUL = ("ModuleNotFoundError", "ImportError", "NotImplementedError", "AttributeError", "TypeError", "SystemError")
"""Errors that may be the interpreter's and not the program's: it knows a part of Python only."""


class Flooded(Exception):  # noqa: N818  a way out of a callback, no error of ours
    """A program printed more than it may."""


class Interpreter:
    """Runs programs in worker processes that stay warm; usable from several threads.

    Args:
        limits: the most a program may take.
        workers: processes at most.
    """

    def __init__(self, limits: Limits, workers: int = 1) -> None:
        self._limits, self._workers = limits, workers
        self._pool: pydantic_monty.Monty | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        with self._lock:
            if self._pool is not None:
                self._pool.__exit__(None, None, None)
                self._pool = None

    def run(self, program: str) -> tuple[Execution, bool]:
        """Run a program that leaves its answer in `ans`; whether a fuller Python might do better.

        A worker lost on the way is replaced and the program run once more; lost again, it is not run.
        """
        for _ in range(2):
            found = self._run_once(program)
            if found is not None:
                return found
        return failed(Failure.NOT_RUN, "the interpreter's process was lost twice on this program", RAN_IN), True

    def _run_once(self, program: str) -> tuple[Execution, bool] | None:
        monty, pool = _monty(), self._opened()
        limits: pydantic_monty.ResourceLimits = {
            "max_feed_duration_secs": self._limits.seconds,
            "max_memory": self._limits.memory,
            "max_recursion_depth": self._limits.recursion,
        }
        try:
            with pool.checkout(limits=limits, os_policy=_SAME_EVERY_TIME) as session:
                session.feed_run(program + "\n", print_callback=_Printed(self._limits.output))
                return _answered(session)
        except monty.MontySyntaxError as error:
            return failed(Failure.SYNTAX, str(error), RAN_IN), False
        except monty.MontyCrashedError as error:
            if error.timed_out:
                return failed(Failure.TIME, f"no end within {self._limits.seconds:g} s", RAN_IN), False
            return None
        except monty.MontyRuntimeError as error:
            return self._raised(error)
        except Flooded:
            return failed(Failure.MEMORY, f"it prints more than {self._limits.output:,} characters", RAN_IN), False

    def _raised(self, error: pydantic_monty.MontyRuntimeError) -> tuple[Execution, bool]:
        kind, said = type(error.exception()).__name__, str(error)
        if kind == "Flooded":
            return failed(Failure.MEMORY, f"it prints more than {self._limits.output:,} characters", RAN_IN), False
        if kind == "TimeoutError" and "time limit exceeded" in said:
            return failed(Failure.TIME, f"no end within {self._limits.seconds:g} s", RAN_IN), False
        if kind == "MemoryError":
            return failed(Failure.MEMORY, f"it needs more than {self._limits.memory >> 20} MiB", RAN_IN), False
        missing = kind == "NameError" and any(f"'{name}'" in said for name in _PYTHON_NAMES)
        return failed(Failure.RUNTIME, said, RAN_IN), kind in _DOUBTFUL or missing

    def _opened(self) -> pydantic_monty.Monty:
        with self._lock:
            if self._pool is None:
                self._pool = _monty().Monty(
                    min_processes=1,
                    max_processes=self._workers,
                    request_timeout=2 * self._limits.seconds + 30,
                    max_checkouts_per_worker=2000,
                    feed_duration_limit_grace=_GRACE,
                )
                self._pool.__enter__()
            return self._pool


class _Printed:
    """Counts what a program prints, keeps none of it, and ends a flood."""

    def __init__(self, most: int) -> None:
        self._left = most

    def __call__(self, stream: str, text: str) -> None:
        del stream
        self._left -= len(text)
        if self._left < 0:
            raise Flooded


def _answered(session: Any) -> tuple[Execution, bool]:
    monty = _monty()
    try:
        value = session.feed_run("ans")
    except monty.MontyRuntimeError as error:
        if type(error.exception()).__name__ != "NameError":
            return failed(Failure.RUNTIME, str(error), RAN_IN), False
        return failed(Failure.NO_ANSWER, "it never sets ans", RAN_IN), False
    text = value_text(float(value) if isinstance(value, Decimal) else value)
    if text is None:
        return failed(Failure.NO_ANSWER, f"ans is no value but {type(value).__name__}", RAN_IN), False
    return Execution(value=text, ran_in=RAN_IN), False


def _monty() -> Any:
    try:
        import pydantic_monty  # noqa: PLC0415  an extra, needed by executed forms only
    except ImportError:
        raise MissingExtraError("pydantic-monty", "execute", "running programs") from None
    return pydantic_monty
