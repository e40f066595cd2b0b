"""The body of a streamed reply as it arrives in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from feints.generate.receiving import receive


class Arriving:
    """A response whose pieces come so many seconds apart, and whose connection stays open behind them."""

    headers = {"Content-Type": "text/event-stream"}

    def __init__(self, pieces: list[bytes], gap: float = 0.0) -> None:
        self.pieces, self.gap, self.content = pieces, gap, self

    async def iter_any(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(self.gap)
            yield piece
        await asyncio.sleep(60)

    async def read(self) -> bytes:
        return b""


def received(response: Any, patience_s: float) -> bytes:
    return asyncio.run(asyncio.wait_for(receive(response, patience_s, lambda: None), 20))


def test_the_end_mark_is_seen_across_two_pieces() -> None:
    pieces = [b'data: {"choices": []}\n\ndata: [DO', b"NE]\n\n"]
    assert received(Arriving(pieces), 60.0) == b"".join(pieces)


def test_text_between_signs_of_life_starts_patience_anew() -> None:
    pieces = [b'data: {"choices": []}\n\n', b": waiting\n\n"] * 6 + [b"data: [DONE]\n\n"]
    assert received(Arriving(pieces, gap=0.25), 2.0) == b"".join(pieces)
