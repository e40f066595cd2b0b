"""Wakes everyone on an event loop who waits for something to change."""

from __future__ import annotations

import asyncio


class Bell:
    """Rung by whoever changes something, heard by all who wait at that moment."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def ring(self) -> None:
        """Wake all who wait."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, timeout: float | None = None) -> None:
        """Until it rings, or for `timeout` seconds."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await asyncio.wait([waiter], timeout=timeout)
        if not waiter.done() and waiter in self._waiting:
            self._waiting.remove(waiter)
