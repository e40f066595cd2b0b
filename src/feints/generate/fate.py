"""What became of a call, read from what came back: answered, to be sent again, or refused for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from feints.generate.pace import retry_after
from feints.generate.reply import (
    REFUSED_FIELD,
    choices_of,
    finish_of,
    holds_error,
    is_readable,
)
from feints.generate.settings import TeacherSettings
from feints.generate.stream import CutError, PieceError, assemble
from feints.records import Finish, read_json

_OVERLOADED = frozenset({429, 503, 529})
_FATE_UNKNOWN = frozenset({408, 504, 524})
"""Statuses of a gateway that gave up waiting: the model may have done the work."""
_OUT_OF_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "exceeded_current_quota_error"})
_STATUS_BY_NAME = {
    "rate_limit_exceeded": 429,
    "rate_limit_error": 429,
    "overloaded_error": 529,
    "service_unavailable": 503,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "invalid_request_error": 400,
}
"""The HTTP status that errors are sent with, for those that come with 200."""
_OF_THE_QUESTION = frozenset({400, 403, 413, 422})
_TOO_LONG = ("context_length_exceeded", "maximum context length", "context window")
_FORBIDDEN = (
    "content_filter",
    "contentfilter",
    "invalid_prompt",
    "content_policy_violation",
    "data_inspection_failed",
    "content exists risk",
    "requires moderation",
    "input was flagged",
    "prompt was flagged",
)
"""How endpoints say that they do not take what a question holds: as a code, or in the message."""
_CERTAIN = "content_filter"
"""Refuses the question, whatever the endpoint said to others."""
_NO_CREDIT = "no credit is left; fill up the account and run again"


@dataclass(kw_only=True, eq=False)
class AgainError(Exception):
    """A call to be sent again."""

    why: str
    """For the message, should it be the last attempt."""
    is_charged: bool = False
    """Whether the server may have done the work."""
    is_refusal: bool = False
    """Refused for load: does not count as a failed attempt."""
    wait: float | None = None
    """Seconds the server asks for; 0 allows one attempt at once."""
    evidence: Mapping[str, Any] | None = None
    """A reply that could not be read."""
    advice: str = "Check the endpoint and run again to go on"
    """What to do, should it be the last attempt."""


@dataclass(kw_only=True, eq=False)
class ForGoodError(Exception):
    """Sending anything more would be refused as well."""

    why: str
    """With what to change."""


@dataclass(kw_only=True, eq=False)
class QuestionError(Exception):
    """This question is refused for good; others may not be."""

    why: str
    raw: dict[str, Any] = field(default_factory=dict)
    """The refusal as a reply to keep."""
    is_certain: bool = False
    """Whether it is the question for sure, and no parameter that all calls share."""
    advice: str = ""


def is_stream(headers: Mapping[str, str]) -> bool:
    """Whether server-sent events follow."""
    return headers.get("Content-Type", "").startswith("text/event-stream")


def read_answer(headers: Mapping[str, str], data: bytes) -> dict[str, Any]:
    """The reply in a body that came with status 200; at least one of its choices is whole.

    Raises:
        ValueError: it is no reply of the protocol.
        PieceError: the server reports an error instead.
        AgainError: it broke off.
    """
    try:
        raw = assemble(data) if is_stream(headers) else read_json(data)
    except CutError as error:
        raise AgainError(why=str(error), is_charged=True, wait=0.0) from error
    if not isinstance(raw, dict):
        raise ValueError("a reply is not an object")
    choices = choices_of(raw)
    if holds_error(raw):
        raise PieceError(raw, begun=bool(choices))
    if not (readable := [choice for choice in choices if is_readable(choice)]):
        raise ValueError("a reply holds no choice with a text")
    if not whole_choices(raw):
        why = f"the server broke off (finish reason {readable[0]['finish_reason']!r})"
        raise AgainError(why=why, is_charged=True)
    return raw


def whole_choices(raw: Mapping[str, Any]) -> list[Any]:
    """Those choices of a reply that can be read and were not broken off."""
    readable = [choice for choice in choices_of(raw) if is_readable(choice)]
    return [choice for choice in readable if finish_of(choice) is not Finish.MALFORMED]


def judge_error(status: int, headers: Mapping[str, str], data: bytes, settings: TeacherSettings) -> Exception:
    """What an error means that came with `status`: an AgainError, a ForGoodError or a QuestionError."""
    names, message = _error_of(data)
    why = f"HTTP {status}{f' {message}' if message else ''}"
    if status == 402 or names & _OUT_OF_CREDIT:
        return ForGoodError(why=f"{why}: {_NO_CREDIT}")
    if status in _OF_THE_QUESTION and (refused := _question_refused(why, names, data)):
        return refused
    if status in _OVERLOADED:
        return AgainError(why=why, is_refusal=True, wait=retry_after(headers))
    if status in (409, 425) or status in _FATE_UNKNOWN or status >= 500:
        return AgainError(why=why, is_charged=status in _FATE_UNKNOWN, wait=retry_after(headers))
    return ForGoodError(why=f"{why}; {_advice(status, settings, why)}")


def judge_piece(error: PieceError, data: bytes, settings: TeacherSettings) -> Exception:
    """What an error means that came with status 200; `data` is its body without the key.

    Once part of the reply had come, or where the error does not say of which kind it is, the work may be charged.
    """
    names, message = _error_of(data)
    status = next((known for name in sorted(names) if (known := _status_of(name))), None)
    why = f"error in the reply: {message}"
    if names & _OUT_OF_CREDIT or status == 402:
        return ForGoodError(why=f"{why}: {_NO_CREDIT}")
    if error.begun or status is None:
        return AgainError(why=why, is_charged=True)
    return judge_error(status, {}, data, settings)


def judge_proxy(error: aiohttp.ClientHttpProxyError, settings: TeacherSettings) -> Exception:
    """What it means that a proxy did not let a call through; nothing was sent."""
    why = f"the proxy answered HTTP {error.status} {error.message}"
    if error.status == 407:
        return ForGoodError(why=f"{why}; {_advice(407, settings, why)}")
    return AgainError(why=why)


def _question_refused(why: str, names: frozenset[str], data: bytes) -> QuestionError | None:
    said = " ".join([*sorted(names), why]).lower()
    is_too_long = any(word in said for word in _TOO_LONG)
    if not is_too_long and not any(word in said for word in _FORBIDDEN):
        return None
    try:
        body = read_json(data)
    except ValueError:
        body = None
    return QuestionError(
        why=why,
        raw={REFUSED_FIELD: why, **(body if isinstance(body, dict) else {})},
        is_certain=_CERTAIN in names,
        advice="lower sampling.max_tokens, shorten the prompt, or name a model that reads longer ones"
        if is_too_long
        else "leave the question out, change the prompt, or ask another model",
    )


def _advice(status: int, settings: TeacherSettings, why: str) -> str:
    name = settings.api_key_env
    if status in (401, 403):
        if name is None:
            return "name the environment variable that holds your key in teacher.api_key_env"
        return f"check the key in the environment variable {name} and what it may use"
    if status in (404, 405) or 300 <= status < 400:
        return f"check teacher.base_url (up to and including /v1) and teacher.model ({settings.model!r})"
    if status == 407:
        return (
            "put the proxy's name and password into HTTPS_PROXY and HTTP_PROXY (http://NAME:PASSWORD@HOST:PORT), or "
            "set teacher.use_proxy: false"
        )
    if "max_completion_tokens" in why and settings.max_tokens_field != "max_completion_tokens":
        return "set teacher.max_tokens_field: max_completion_tokens"
    return (
        "a parameter the endpoint does not know can be left out with teacher.omit, a missing one added with "
        "teacher.extra_body"
    )


def _status_of(name: str) -> int | None:
    """The HTTP status that an error's code or type stands for, if it says."""
    if name.isascii() and name.isdigit() and 400 <= int(name[:4]) < 600:
        return int(name)
    return _STATUS_BY_NAME.get(name)


def _error_of(data: bytes) -> tuple[frozenset[str], str]:
    """Codes in small letters and message of an error body, in any of the usual shapes."""
    text = data[:300].decode("utf-8", "replace").strip()
    try:
        body = read_json(data)
    except ValueError:
        return frozenset(), text
    error = (body.get("error") or body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return frozenset(), str(error)[:300]
    named = (error.get("code"), error.get("type"))
    codes = frozenset(str(name).lower() for name in named if isinstance(name, str | int))
    return codes, str(error.get("message") or error)[:300]
