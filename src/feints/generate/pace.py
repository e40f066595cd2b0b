"""How many calls may be in flight: doubled each round trip until the first refusal, then careful."""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections import deque
from collections.abc import Mapping

_LONGEST_BACKOFF = 60.0
"""Seconds; the most that is waited between two attempts unless the server asks for more."""
_SHARE_THAT_PAUSES = 0.5
"""Share of refusals among the latest outcomes from which Retry-After holds back all calls, not one."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait: `retry-after-ms`, or `Retry-After` as seconds or as a date."""
    milliseconds = headers.get("retry-after-ms", "")
    if milliseconds.replace(".", "", 1).isdigit():
        return float(milliseconds) / 1000
    value = headers.get("Retry-After", "").strip()
    if value.replace(".", "", 1).isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())


def backoff(attempt: int, draw: random.Random) -> float:
    """Seconds before attempt number `attempt` + 1: doubling, with jitter so that calls do not return together."""
    return min(_LONGEST_BACKOFF, 0.25 * 2.0**attempt) * draw.uniform(0.5, 1.0)


class Pace:
    """Slots for calls in flight.

    Each success adds one slot until the first refusal, which doubles the number each round trip; slots that lie
    idle add none. A refusal halves it, once per round trip; from then on it grows by a sixteenth of the largest
    number reached (at least one) each round trip. Where half of the latest outcomes are refusals, Retry-After
    holds back every call.
    """

    def __init__(self, start: int, ceiling: int) -> None:
        self.limit = float(min(start, ceiling))
        """Calls that may be in flight now."""
        self.in_flight = 0
        self._most_now = self._most_before = 0
        self._outcomes = 0
        self._ceiling = float(ceiling)
        self._peak = self.limit
        self._refused_before = False
        self._halved_at = float("-inf")
        self._paused_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._latest: deque[bool] = deque(maxlen=int(max(8, start)))
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def acquire(self) -> float:
        """Wait for a slot; returns the moment it was given, for `refused`."""
        loop = asyncio.get_running_loop()
        if self._waiting or not self._has_room(loop.time()):
            slot = loop.create_future()
            self._waiting.append(slot)
            self._wake()
            try:
                await slot
            except asyncio.CancelledError:
                if slot.done() and not slot.cancelled():
                    self.release()
                raise
        else:
            self._give()
        return loop.time()

    def release(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        self._wake()

    def succeeded(self) -> None:
        """A call was answered; its slot is still held."""
        self._latest.append(False)
        was_used = max(self._most_now, self._most_before) >= self.limit / 2
        self._count_outcome()
        if not was_used:
            return
        step = 1.0 if not self._refused_before else max(1.0, self._peak / 16) / self.limit
        self.limit = min(self._ceiling, self.limit + step)
        self._peak = max(self._peak, self.limit)
        self._wake()

    def _count_outcome(self) -> None:
        """Forget how many calls were in flight two round trips ago."""
        self._outcomes += 1
        if self._outcomes >= self.limit:
            self._outcomes = 0
            self._most_before, self._most_now = self._most_now, self.in_flight

    def _give(self) -> None:
        self.in_flight += 1
        self._most_now = max(self._most_now, self.in_flight)

    def refused(self, sent_at: float, wait: float | None) -> None:
        """A call sent at `sent_at` was refused for load, asking for `wait` seconds, if it said."""
        now = asyncio.get_running_loop().time()
        self._refused_before = True
        self._latest.append(True)
        if sent_at > self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = now
        full = len(self._latest) == self._latest.maxlen
        if wait and full and sum(self._latest) >= _SHARE_THAT_PAUSES * len(self._latest):
            self._paused_until = max(self._paused_until, now + wait)

    def _has_room(self, now: float) -> bool:
        return self.in_flight < int(self.limit) and now >= self._paused_until

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._waiting and self._has_room(now):
            slot = self._waiting.popleft()
            if not slot.done():
                self._give()
                slot.set_result(None)
        if self._waiting and now < self._paused_until:
            if self._timer:
                self._timer.cancel()
            self._timer = loop.call_at(self._paused_until, self._wake)
