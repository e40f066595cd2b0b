"""Reads OpenAI-shaped request bodies for the lab teacher and wraps its texts in OpenAI-shaped responses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from feints.lab.vocabulary import TOKEN_PATTERN
from feints.records import content_hash

_TURN_TOKENS = 4
"""Tokens a chat format spends on every turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request body, checked."""

    turns: tuple[tuple[str, str], ...]
    """(role, text) in order; a raw prompt is one turn of the user."""
    chat: bool
    """Whether it came as messages."""
    n: int
    """Choices wanted."""
    temperature: float
    """0 is greedy; 1 where the body does not say, as in OpenAI's service."""
    seed: int | None
    """None: every call is a new draw."""
    max_tokens: int | None
    """Limit on new tokens, None for no limit."""
    stop: tuple[str, ...]
    """Texts that end a reply; they are not part of it."""


def _number(body: Mapping[str, Any], name: str, default: Any, low: float, high: float) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name!r} is {value!r}; it must be a number from {low:g} to {high:g}")
    return value


def _content(turn: object) -> tuple[str, str]:
    """Role and text of one message; a list of text parts is joined."""
    if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
        raise ValueError("every message must be an object with a role and a content")
    content = turn.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        texts = [part for part in parts if isinstance(part, str)]
        content = "\n".join(texts) if len(texts) == len(content) else None
    if not isinstance(content, str):
        raise ValueError("the content of a message must be text")
    return ("system" if turn["role"] == "developer" else turn["role"]), content


def read_body(body: Mapping[str, Any]) -> Asked:
    """Check a request body.

    Raises:
        ValueError: it is not a chat-completions or completions body; the message says what to change.
    """
    chat = "messages" in body
    if chat:
        messages = body["messages"]
        if not isinstance(messages, list) or not messages:
            raise ValueError("'messages' must be a list that is not empty")
        turns = tuple(_content(turn) for turn in messages)
    else:
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise ValueError("'prompt' must be text (one prompt a call), or send 'messages'")
        turns = (("user", prompt),)
    stop = body.get("stop") or ()
    stop = (stop,) if isinstance(stop, str) else tuple(stop)
    if not all(isinstance(text, str) for text in stop):
        raise ValueError("'stop' must be a text or a list of texts")
    limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    limited = _number(body, limit, None, 1, 1e9)
    seed = _number(body, "seed", None, -(2**63), 2**63)
    return Asked(
        turns=turns,
        chat=chat,
        n=int(_number(body, "n", 1, 1, 128)),
        temperature=float(_number(body, "temperature", 1.0, 0, 2)),
        seed=None if seed is None else int(seed),
        max_tokens=None if limited is None else int(limited),
        stop=stop,
    )


@lru_cache(maxsize=5_000)
def count_tokens(text: str) -> int:
    """Tokens of a text as the lab counts them: words, single digits, single marks."""
    return len(TOKEN_PATTERN.findall(text))


def _cut(text: str, asked: Asked) -> tuple[str, str]:
    """The text up to a stop text or the token limit, and the finish reason."""
    ends = [end for stop in asked.stop if stop and (end := text.find(stop)) >= 0]
    if ends:
        text = text[: min(ends)]
    if asked.max_tokens is not None and count_tokens(text) > asked.max_tokens:
        for place, match in enumerate(re.finditer(TOKEN_PATTERN, text), start=1):
            if place == asked.max_tokens:
                return text[: match.end()], "length"
    return text, "stop"


def reply(asked: Asked, model: str, texts: list[str]) -> dict[str, Any]:
    """The response body for these texts, one choice each."""
    cut = [_cut(text, asked) for text in texts]
    choices: list[dict[str, Any]] = []
    for index, (text, finish) in enumerate(cut):
        said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if asked.chat else {"text": text}
        choices.append({"index": index, **said, "logprobs": None, "finish_reason": finish})
    prompt_tokens = sum(count_tokens(text) + (_TURN_TOKENS if asked.chat else 0) for _, text in asked.turns)
    completion_tokens = sum(count_tokens(text) for text, _ in cut)
    return {
        "id": "lab-" + content_hash(asked.turns, [text for text, _ in cut], digits=24),
        "object": "chat.completion" if asked.chat else "text_completion",
        "created": 0,
        "model": model,
        "choices": choices,
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }
