"""Puts a streamed reply (server-sent events) together as the reply it would have been unstreamed."""

from __future__ import annotations

from typing import Any

from feints.generate.reply import holds_error
from feints.records import read_json

_FIXED = frozenset({"role", "type", "id", "name", "object", "model", "format", "index", "system_fingerprint"})
"""Text fields that are repeated in each piece; all others are continued."""
_CONTINUED = frozenset({"text", "thinking", "reasoning"})
"""Kinds of parts of a content that grow from piece to piece."""


class CutError(Exception):
    """The stream ended before the reply did."""


class PieceError(Exception):
    """The server reports an error in place of a reply, or in the middle of one."""

    def __init__(self, body: dict[str, Any], *, begun: bool) -> None:
        super().__init__(str(body)[:300])
        self.body = body
        self.begun = begun
        """Whether part of the reply had come."""


def ends_stream(tail: bytes) -> bool:
    """Whether `tail`, the last bytes received, holds the mark that ends a stream."""
    last_line = tail.rstrip().rpartition(b"\n")[2]
    return last_line.removeprefix(b"data:").strip() == b"[DONE]"


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
    try:
        for event in _events(data):
            if event == "[DONE]":
                done = True
                continue
            _add_piece(reply, choices, read_json(event))
    except RecursionError as error:
        raise ValueError("a streamed piece is nested too deeply") from error
    if not choices and not done:
        raise CutError("the stream was cut")
    if not all(choice.get("finish_reason") for choice in choices.values()):
        why = "ended without a finish reason (teacher.stream: false where it never sends one)" if done else "was cut"
        raise CutError(f"the stream {why}")
    return reply | {"choices": [_unstreamed(choices[index]) for index in sorted(choices)]}


def _add_piece(reply: dict[str, Any], choices: dict[int, dict[str, Any]], piece: Any) -> None:
    """Continue the choices by those of `piece`, and the rest of the reply by the rest of it."""
    if not isinstance(piece, dict):
        raise ValueError(f"a streamed piece is not an object: {str(piece)[:100]}")
    parts = piece.pop("choices", None) or []
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise ValueError(f"the choices of a streamed piece are not a list of objects: {str(parts)[:100]}")
    if fault := next((holder for holder in (piece, *parts) if holds_error(holder)), None):
        raise PieceError(fault, begun=bool(choices))
    for part in parts:
        index = part.pop("index", None) or 0
        if not isinstance(index, int):
            raise ValueError(f"a streamed choice has the index {str(index)[:100]}")
        _continue(choices.setdefault(index, {"index": index}), part)
    reply |= {name: value for name, value in piece.items() if value is not None or name not in reply}


def _unstreamed(choice: dict[str, Any]) -> dict[str, Any]:
    """A whole choice, as it would be in a reply that was not streamed."""
    if "delta" not in choice:
        return choice
    delta = choice.pop("delta") or {}
    if not isinstance(delta, dict):
        raise ValueError(f"a streamed delta is not an object: {str(delta)[:100]}")
    return choice | {"message": {"role": "assistant", "content": None} | delta}


def _events(data: bytes) -> list[str]:
    """The data of each whole event; comments, empty events, other fields and a last event cut short are left out."""
    events: list[str] = []
    lines: list[bytes] = []
    for line in data.splitlines():
        if line.startswith(b"data:"):
            lines.append(line[5:].removeprefix(b" "))
        elif not line and lines:
            event, lines = b"\n".join(lines), []
            events += [event.decode("utf-8", "replace")] if event else []
    last = b"\n".join(lines)
    return [*events, "[DONE]"] if last == b"[DONE]" else events


def _continue(whole: dict[str, Any], part: dict[str, Any]) -> None:
    """Continue texts and lists, enter objects, let every other value replace the one before."""
    for name, value in part.items():
        before = whole.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            _continue(before, value)
        elif isinstance(value, list) and isinstance(before, list):
            _extend(before, value)
        elif isinstance(value, str) and isinstance(before, str) and name not in _FIXED and name != "finish_reason":
            whole[name] = _joined(before, value)
        elif name == "content" and isinstance(before, str | list) and isinstance(value, str | list):
            whole[name] = _extend(_as_parts(before), _as_parts(value))
        elif value is not None or name not in whole:
            whole[name] = value


def _as_parts(content: str | list[Any]) -> list[Any]:
    """A content in parts; some servers send thoughts in parts and then the text as it is."""
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def _extend(whole: list[Any], parts: list[Any]) -> list[Any]:
    """`whole` with `parts` added; a text or a thought continues the one before it."""
    for part in parts:
        last = whole[-1] if whole else None
        if isinstance(part, dict) and isinstance(last, dict) and part.get("type") == last.get("type") in _CONTINUED:
            _continue(last, part)
        else:
            whole.append(part)
    return whole


def _joined(before: str, after: str) -> str:
    """Both texts; the halves of a character that was cut in two between them become one."""
    if "\ud800" <= before[-1:] <= "\udbff" and "\udc00" <= after[:1] <= "\udfff":
        pair = (before[-1] + after[0]).encode("utf-16", "surrogatepass").decode("utf-16")
        return before[:-1] + pair + after[1:]
    return before + after
