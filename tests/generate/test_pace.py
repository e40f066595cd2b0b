from __future__ import annotations

import asyncio
import random
import time
from email.utils import formatdate

import pytest

from feints.generate.pace import Pace, backoff, retry_after


def test_retry_after_in_every_form() -> None:
    assert retry_after({"Retry-After": "7"}) == 7
    assert retry_after({"Retry-After": "0.25"}) == 0.25
    assert retry_after({"retry-after-ms": "1500", "Retry-After": "9"}) == 1.5
    assert retry_after({"Retry-After": formatdate(time.time() + 30, usegmt=True)}) == pytest.approx(30, abs=2)
    assert retry_after({"Retry-After": formatdate(time.time() - 30, usegmt=True)}) == 0
    assert retry_after({}) is None
    assert retry_after({"Retry-After": "soon"}) is None


def test_backoff_doubles_with_jitter_up_to_a_minute() -> None:
    draw = random.Random(0)
    for attempt in range(1, 12):
        longest = min(60, 0.25 * 2**attempt)
        waits = {backoff(attempt, draw) for _ in range(50)}
        assert len(waits) > 40
        assert longest / 2 <= min(waits) and max(waits) <= longest


async def round_trip(pace: Pace, refuse: bool = False) -> int:
    """Fill every slot, then answer all; returns how many there were."""
    sent = []
    while pace.in_flight < int(pace.limit):
        sent.append(await pace.acquire())
    await asyncio.sleep(0.001)
    for sent_at in sent:
        if refuse:
            pace.refused(sent_at, None)
        else:
            pace.succeeded()
        pace.release()
    return len(sent)


def test_doubles_until_refused_then_halves_once_per_round_trip_and_grows_slowly() -> None:
    async def run() -> None:
        pace = Pace(8, 512)
        assert [await round_trip(pace) for _ in range(5)] == [8, 16, 32, 64, 128]
        assert pace.limit == 256
        await round_trip(pace, refuse=True)
        assert pace.limit == 128
        sizes = [await round_trip(pace) for _ in range(4)]
        assert all(8 <= after - before <= 17 for before, after in zip(sizes, sizes[1:], strict=False))

    asyncio.run(run())


def test_never_passes_the_ceiling_nor_falls_below_one() -> None:
    async def run() -> None:
        pace = Pace(8, 20)
        assert [await round_trip(pace) for _ in range(4)] == [8, 16, 20, 20]
        for _ in range(10):
            await round_trip(pace, refuse=True)
        assert await round_trip(pace) == 1

    asyncio.run(run())


def test_does_not_grow_while_few_slots_are_used() -> None:
    async def run() -> None:
        pace = Pace(8, 512)
        for _ in range(50):
            await pace.acquire()
            pace.succeeded()
            pace.release()
        assert pace.limit == 8

    asyncio.run(run())


def test_retry_after_holds_everyone_back_when_most_are_refused_and_one_when_few_are() -> None:
    async def run(refusals: int) -> float:
        pace = Pace(8, 512)
        slots = [await pace.acquire() for _ in range(8)]
        for number, sent_at in enumerate(slots):
            if number < 8 - refusals:
                pace.succeeded()
            else:
                pace.refused(sent_at, 0.2)
            pace.release()
        start = time.monotonic()
        await pace.acquire()
        return time.monotonic() - start

    assert asyncio.run(run(6)) >= 0.19
    assert asyncio.run(run(1)) < 0.15


def test_a_waiter_that_is_cancelled_frees_its_slot() -> None:
    async def run() -> None:
        pace = Pace(1, 1)
        await pace.acquire()
        waiting = asyncio.create_task(pace.acquire())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        pace.release()
        await asyncio.wait_for(pace.acquire(), 1)
        assert pace.in_flight == 1

    asyncio.run(run())
