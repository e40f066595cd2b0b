"""Writes a request as the body of an OpenAI-compatible call, the same in process and over HTTP."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from feints.generate.source import Request
from feints.records import content_hash

SENT = ("model", "messages", "prompt", "temperature", "top_p", "seed", "stop", "logprobs", "n", "stream")
"""What a body may carry; `stream_options` goes with `stream`, and the limit on new tokens has one of two names."""
_SEED_LIMIT = 0x7FFFFFFF
"""Seeds are sent as positive 31-bit integers, which every server accepts."""


def call_seed(request: Request) -> int:
    """Seed sent with `request`: its own seed and its sample index combined, so that samples differ."""
    return int(content_hash("seed", request.seed, request.sample_index, digits=8), 16) & _SEED_LIMIT


def request_body(
    request: Request,
    model: str,
    *,
    n: int = 1,
    stream: bool = False,
    max_tokens_field: str = "max_tokens",
    omit: Collection[str] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The JSON body of a chat completion (messages) or a completion (raw prompt).

    Parameters named in `omit` are left out; those in `extra` are added last and win.
    """
    sampling = request.sampling
    body: dict[str, Any] = {"model": model}
    if request.prompt is None:
        body["messages"] = [{"role": turn.role, "content": turn.content} for turn in request.messages]
    else:
        body["prompt"] = request.prompt
    body |= {"temperature": sampling.temperature, "top_p": sampling.top_p, max_tokens_field: sampling.max_tokens}
    body["seed"] = call_seed(request)
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.logprobs:
        body["logprobs"] = True if request.prompt is None else 1
    if n > 1:
        body["n"] = n
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return {name: value for name, value in body.items() if name not in omit} | dict(extra or {})


def differ_in_index_only(one: Request, other: Request) -> bool:
    """Whether one call can bring both, as several choices of one prompt."""
    return replace(one, sample_index=other.sample_index) == other
