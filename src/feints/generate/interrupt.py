"""Ctrl+C once: finish what is in flight and go on with what is there; twice: stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """While entered, the first Ctrl+C calls `first`; every later one raises KeyboardInterrupt.

    Python delivers signals to the main thread only; entered in another thread this does nothing, and Ctrl+C
    does what it did before. `first` is called from a signal handler and must be safe there, as
    `loop.call_soon_threadsafe` is.
    """

    def __init__(self, first: Callable[[], None]) -> None:
        self._first = first
        self._before: Any = None
        self._entered = False
        self.count = 0
        """Times Ctrl+C was pressed."""

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt
        self._first()

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
            self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered:
            signal.signal(signal.SIGINT, self._before if self._before is not None else signal.SIG_DFL)
            self._entered = False
