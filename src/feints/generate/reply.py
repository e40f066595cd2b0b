"""Reads a raw reply in the OpenAI shape: text, thinking apart, finish reason, usage, log-probabilities."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from feints.generate.source import Completion, Request, Usage
from feints.records import Finish

MALFORMED_FIELD = "feints_malformed"
"""Raw replies that are not what the protocol says hold their text under this name."""
SHARE_FIELD = "feints_share"
"""Tokens of one choice, where one call brought several."""
REFUSED_FIELD = "feints_refused"
"""Why the endpoint refuses this one question for good, where it sends an error in place of a reply."""
COMPLETION_FIELD = "feints_completion"
"""Raw replies of sources that hand over finished completions hold them under this name."""
CHARACTERS_PER_TOKEN = 4
"""Rough length of a token, for reservations and for servers that state no usage."""

_FINISH = {
    "stop": Finish.STOP,
    "eos": Finish.STOP,
    "end_turn": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "model_length": Finish.LENGTH,
    "content_filter": Finish.REFUSAL,
    "refusal": Finish.REFUSAL,
    "safety": Finish.REFUSAL,
    "sensitive": Finish.REFUSAL,
    "error": Finish.MALFORMED,
    "abort": Finish.MALFORMED,
    "insufficient_system_resource": Finish.MALFORMED,
}
"""Finish reasons in small letters. The last three say that the server broke off."""
_MOST_TOKENS = 1_000_000_000
"""No reply takes more; a larger count is no count."""
OPENING, CLOSING = "<think>", "</think>"
"""The common marks around thinking that a model writes into its text."""
_BLOCK = re.compile(r"<think>(.*?)</think>", re.DOTALL)


def estimate_tokens(text: str) -> int:
    """Tokens of `text` at four characters each, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def prompt_characters(request: Request) -> int:
    """Characters of the prompt of `request`."""
    return len(request.prompt or "") + sum(len(message.content) for message in request.messages)


def split_thinking(text: str) -> tuple[str, str]:
    """Cut `<think>` blocks out of `text`; returns (text, thinking).

    A block that is never closed makes all of it thinking and the text empty. A closing mark without an opening
    one (the opening was part of the prompt) makes everything before it thinking. Replies and what a student here
    generates are cut by the same rule.
    """
    if OPENING not in text and CLOSING not in text:
        return text, ""
    thoughts = _BLOCK.findall(text)
    rest = _BLOCK.sub("", text)
    if OPENING in rest:
        return "", text.replace(OPENING, "").replace(CLOSING, "").strip()
    if CLOSING in rest:
        before, rest = rest.split(CLOSING, 1)
        thoughts.insert(0, before)
        rest = rest.replace(CLOSING, "")
    return rest.lstrip(), "\n\n".join(thought.strip() for thought in thoughts)


def holds_error(raw: Mapping[str, Any]) -> bool:
    """Whether the server reports an error in `raw`, in either of the usual shapes."""
    return bool(raw.get("error")) or raw.get("object") == "error"


def is_well_formed(raw: object) -> bool:
    """Whether `raw` holds choices, each with a text where the protocol puts it, and no error."""
    if not isinstance(raw, Mapping) or holds_error(raw):
        return False
    choices = choices_of(raw)
    return bool(choices) and all(is_readable(choice) for choice in choices)


def choices_of(raw: Mapping[str, Any]) -> list[Any]:
    """The choices of a reply; none where they are not a list."""
    choices = raw.get("choices")
    return list(choices) if isinstance(choices, Sequence) and not isinstance(choices, str) else []


def is_readable(choice: object) -> bool:
    """Whether a choice holds a text where the protocol puts it."""
    if not isinstance(choice, Mapping) or holds_error(choice):
        return False
    if "message" in choice:
        message = choice["message"]
        return isinstance(message, Mapping) and isinstance(message.get("content"), str | list | None)
    return isinstance(choice.get("text"), str)


def finish_of(choice: Mapping[str, Any]) -> Finish:
    """Why a choice ended; `Finish.MALFORMED` where the server broke off and says so."""
    return _FINISH.get(str(choice.get("finish_reason")).lower(), Finish.UNKNOWN)


def parse_reply(request: Request, key: str, raw: Mapping[str, Any]) -> Completion:
    """Read the first choice of `raw`; total: what cannot be read becomes `Finish.MALFORMED` with an empty text."""
    if _is_filtered(raw):
        return Completion(key=key, text="", finish=Finish.REFUSAL, raw=raw)
    if not is_well_formed(raw):
        broken = str(raw.get(MALFORMED_FIELD, ""))
        return Completion(key=key, text="", finish=Finish.MALFORMED, usage=_usage(request, raw, broken), raw=raw)
    choice = raw["choices"][0]
    written, thinking, refused = _contents(choice)
    text, more = split_thinking(written)
    thinking = "\n\n".join(part for part in (thinking, more) if part)
    text, thinking = whole(text), whole(thinking)
    finish = Finish.REFUSAL if refused else finish_of(choice)
    return Completion(
        key=key,
        text=text,
        thinking=thinking,
        finish=finish,
        usage=_usage(request, raw, written + thinking),
        logprobs=_logprobs(choice),
        raw=raw,
    )


def whole(text: str) -> str:
    """`text` with halves of characters (a token limit may cut an emoji in two) made "?": no file can hold them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _is_filtered(raw: Mapping[str, Any]) -> bool:
    """Whether the endpoint refused the question without asking the model, which costs nothing."""
    error = raw.get("error")
    return REFUSED_FIELD in raw or (isinstance(error, Mapping) and error.get("code") == "content_filter")


def _contents(choice: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Text as written, thinking sent apart, and whether the model refused."""
    message = choice.get("message")
    if message is None:
        return choice["text"], "", False
    thinking = next((t for n in ("reasoning_content", "reasoning") if isinstance(t := message.get(n), str) and t), "")
    content = message.get("content")
    if isinstance(content, list):
        content, parts = _join_parts(content)
        thinking = "\n\n".join(part for part in (thinking, parts) if part)
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal:
        return content or refusal, thinking, True
    return content or "", thinking, False


def _join_parts(parts: Sequence[Any]) -> tuple[str, str]:
    """Texts and thoughts of a content given in parts."""
    texts, thoughts = [], []
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        if part.get("type") in ("thinking", "reasoning"):
            thought = part.get("thinking") or part.get("text") or ""
            thoughts.append(_join_parts(thought)[0] if isinstance(thought, list) else str(thought))
        elif isinstance(part.get("text"), str):
            texts.append(part["text"])
    return "".join(texts), "\n\n".join(thoughts)


def _usage(request: Request, raw: Mapping[str, Any], written: str) -> Usage:
    """Tokens as the server states them; estimated from characters where it does not.

    Some servers leave hidden thinking out of the completion and count it in the total only.
    """
    stated = raw.get(SHARE_FIELD) or raw.get("usage")
    stated = stated if isinstance(stated, Mapping) else {}
    prompt, completion = (
        _count(stated, "prompt_tokens", "input_tokens"),
        _count(stated, "completion_tokens", "output_tokens"),
    )
    total = _count(stated, "total_tokens")
    if prompt is not None and total is not None:
        completion = max(completion or 0, total - prompt)
    return Usage(
        prompt_tokens=-(-prompt_characters(request) // CHARACTERS_PER_TOKEN) if prompt is None else prompt,
        completion_tokens=estimate_tokens(written) if completion is None else completion,
    )


def _count(stated: Mapping[str, Any], *names: str) -> int | None:
    """The first of `names` that is stated as a number of tokens: whole, not negative, written as a text or not."""
    for name in names:
        value = stated.get(name)
        try:
            number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # caught below
        except (TypeError, ValueError, OverflowError):
            continue
        if 0 <= number <= _MOST_TOKENS and number.is_integer():
            return int(number)
    return None


def _logprobs(choice: Mapping[str, Any]) -> tuple[float, ...]:
    """Nats per token from either shape, chat (`content`) or raw completion (`token_logprobs`)."""
    stated = choice.get("logprobs")
    if not isinstance(stated, Mapping):
        return ()
    content, values = stated.get("content"), stated.get("token_logprobs")
    if isinstance(content, list):
        values = [token.get("logprob") for token in content if isinstance(token, Mapping)]
    if not isinstance(values, list):
        return ()
    return tuple(
        float(value)
        for value in values
        if isinstance(value, float) or (isinstance(value, int) and abs(value) < _MOST_TOKENS)
    )


def share_reply(request: Request, raw: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """One raw reply per choice, for a call that asked for `count` of them.

    The prompt is charged to the first; completion tokens are shared out by length of text and add up exactly.
    """
    choices = list(raw["choices"])[:count]
    if len(choices) == 1:
        return [dict(raw)]
    total = _usage(request, raw, "".join("".join(_contents(choice)[:2]) for choice in choices))
    lengths = [max(1, sum(map(len, _contents(choice)[:2]))) for choice in choices]
    whole, done, shares = sum(lengths), 0, []
    for index, length in enumerate(lengths):
        end = total.completion_tokens * (sum(lengths[:index]) + length) // whole
        shares.append(end - done)
        done = end
    return [
        {
            **{name: value for name, value in raw.items() if name != "choices"},
            "choices": [choice],
            SHARE_FIELD: {"prompt_tokens": 0 if index else total.prompt_tokens, "completion_tokens": shares[index]},
        }
        for index, choice in enumerate(choices)
    ]


def completion_to_raw(completion: Completion) -> dict[str, Any]:
    """A finished completion as a raw reply, for sources that have no reply of their own."""
    fields = asdict(replace(completion, raw={}))
    return {COMPLETION_FIELD: {**fields, "raw": dict(completion.raw)}}


def completion_from_raw(key: str, raw: Mapping[str, Any]) -> Completion:
    """The completion kept by `completion_to_raw`."""
    fields = dict(raw[COMPLETION_FIELD])
    return Completion(
        **{
            **fields,
            "key": key,
            "finish": Finish(fields["finish"]),
            "usage": Usage(**fields["usage"]),
            "logprobs": tuple(fields["logprobs"]),
        }
    )
