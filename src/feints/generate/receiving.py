"""The body of one reply as it arrives: to the end of its stream, and not for ever where only signs of life come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import aiohttp

from feints.generate.fate import AgainError, is_stream
from feints.generate.stream import ends_stream

_CHOICES = b'"choices"'
"""What a streamed piece holds that brings text."""
_TAIL = 32
"""Bytes looked at for the mark that ends a stream, which has a line of its own: a text may hold its letters."""
_SECONDS_TO_END = 1.0


async def receive(response: aiohttp.ClientResponse, patience_s: float, has_text: Callable[[], None]) -> bytes:
    """All of the body.

    Args:
        response: whose headers have come.
        patience_s: seconds of comments, empty lines and empty events, which some servers send while a call waits.
        has_text: called whenever text arrives.

    Raises:
        AgainError: nothing else came for so long.
    """
    streamed, clock = is_stream(response.headers), asyncio.get_running_loop()
    pieces: list[bytes] = []
    tail, heard = b"", clock.time()
    async for piece in response.content.iter_any():
        pieces.append(piece)
        if not is_sign_of_life(piece):
            heard = clock.time()
        elif clock.time() - heard > patience_s:
            raise AgainError(
                why=f"only signs of life for {clock.time() - heard:.0f} s",
                is_charged=True,
                advice="Raise teacher.patience_s if calls wait their turn so long, and run again to go on",
            )
        if streamed and _CHOICES in piece:
            has_text()
        tail = (tail + piece)[-_TAIL:]
        if streamed and ends_stream(tail):
            # Some servers keep the connection open after the last event; most end it at once.
            with suppress(TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(_SECONDS_TO_END):
                    pieces.append(await response.content.read())
            break
    return b"".join(pieces)


def is_sign_of_life(piece: bytes) -> bool:
    """Whether all that came is comments, empty events and empty lines."""
    return all(not line or line == b"data:" or line.startswith(b":") for line in map(bytes.strip, piece.splitlines()))
