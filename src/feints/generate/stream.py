"""Puts a streamed reply (server-sent events) together as the reply it would have been unstreamed."""

from __future__ import annotations

import json
from typing import Any

_FIXED = frozenset({"role", "type", "id", "name", "object", "model", "format", "index", "system_fingerprint"})
"""Text fields that are repeated in each piece; all others are continued."""


class CutError(Exception):
    """The stream ended before the reply did."""


class PieceError(Exception):
    """The stream holds an error of the server in place of a piece."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(str(body)[:300])
        self.body = body


def ends_stream(tail: bytes) -> bool:
    """Whether `tail`, the last bytes received, holds the mark that ends a stream."""
    return tail.rstrip().endswith(b"[DONE]")


def assemble(data: bytes) -> dict[str, Any]:
    """The reply that the events in `data` add up to; every field of every piece is kept.

    Raises:
        ValueError: a piece is not a JSON object of the protocol.
        CutError: the stream ended before each choice had its finish reason.
        PieceError: the server reports an error in the stream.
    """
    reply: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    done = False
    for event in _events(data):
        if event == "[DONE]":
            done = True
            continue
        piece = json.loads(event)
        if not isinstance(piece, dict):
            raise ValueError(f"a streamed piece is not an object: {event[:100]}")
        if "error" in piece and "choices" not in piece:
            raise PieceError(piece)
        for part in piece.pop("choices", None) or []:
            index = part.pop("index", 0)
            _continue(choices.setdefault(index, {"index": index}), part)
        reply |= {name: value for name, value in piece.items() if value is not None or name not in reply}
    finished = choices and all(choice.get("finish_reason") for choice in choices.values())
    if not done and not finished:
        raise CutError
    for choice in choices.values():
        if "delta" in choice:
            choice["message"] = {"role": "assistant", "content": None} | choice.pop("delta")
    return reply | {"choices": [choices[index] for index in sorted(choices)]}


def _events(data: bytes) -> list[str]:
    """The data of each whole event; comments, other fields and a last event cut short are left out."""
    events: list[str] = []
    lines: list[bytes] = []
    for line in data.splitlines():
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif not line and lines:
            events.append(b"\n".join(lines).decode("utf-8", "replace"))
            lines = []
    last = b"\n".join(lines)
    return [*events, "[DONE]"] if last == b"[DONE]" else events


def _continue(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Continue texts and lists, enter objects, let every other value replace the one before."""
    for name, value in part.items():
        before = whole.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            _continue(before, value)
        elif isinstance(value, list) and isinstance(before, list):
            before.extend(value)
        elif isinstance(value, str) and isinstance(before, str) and name not in _FIXED and name != "finish_reason":
            whole[name] = before + value
        elif value is not None or name not in whole:
            whole[name] = value
