"""A thin client for any OpenAI-compatible endpoint: chat or completions, streamed, paced, retried."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import yarl

from feints.errors import SettingsError
from feints.generate.body import SENT, request_body
from feints.generate.desk import Desk
from feints.generate.exchange import Exchange
from feints.generate.reply import parse_reply
from feints.generate.sample import sample
from feints.generate.settings import TeacherSettings
from feints.generate.source import Completion, Request
from feints.records import content_hash

if sys.platform != "win32":
    import resource

_EXAMPLE = "https://api.example.com/v1"
_SHORTEST_KEY, _SURELY_A_KEY = 8, 20
"""Characters of a key worth hiding, and of one that is no word of any answer."""
_SPARE_DESCRIPTORS = 64
"""Open files left to the rest of the process when calls are limited by what the system allows."""


class OpenAISource:
    """An endpoint that speaks the OpenAI protocol.

    The key is read from the environment variable the settings name and kept out of every message, log, ledger
    row and representation.

    Raises:
        SettingsError: the address or the model is missing or unusable, or the key's variable is not set.
    """

    further_names: Collection[str] = ()
    """Parameters a kind of endpoint is sent besides those of every request."""

    def __init__(self, settings: TeacherSettings) -> None:
        self.settings = settings
        self._base = _checked_address(settings.base_url)
        if not settings.model:
            raise SettingsError("teacher.model is not set; name the model to ask, as the endpoint calls it")
        self._key = _read_key(settings.api_key_env)
        self._check_names()
        self.price = settings.prices.get(settings.model)
        """What the model charges, if the price table says."""

    def _check_names(self) -> None:
        """See that what is left out would be sent, and that the number of samples is asked for in one place.

        Raises:
            SettingsError: one of the two is not so.
        """
        settings = self.settings
        sent = [*SENT, "stream_options", settings.max_tokens_field, *self.further_names]
        if unknown := [name for name in settings.omit if name not in sent]:
            raise SettingsError(
                f"teacher.omit names {', '.join(unknown)}, which no request carries; sent are {', '.join(sent)}"
            )
        if "n" in settings.extra_body:
            raise SettingsError(
                "teacher.extra_body sets n, whose further samples would be paid for and not kept; set sampling.n, and "
                "teacher.use_n: true to ask for them in one call"
            )

    @property
    def most_tokens(self) -> int | None:
        """The limit on new tokens where teacher.extra_body sets one in place of the request's; for budgets."""
        limits = [self.settings.extra_body.get(name) for name in ("max_tokens", "max_completion_tokens")]
        return max((limit for limit in limits if isinstance(limit, int)), default=None)

    def __repr__(self) -> str:
        return f"OpenAISource({self.identity!r})"

    @property
    def identity(self) -> str:
        """Address and model (or `name`), and a hash of the parameters that change the answer, if any."""
        named = self.settings.name or f"{self._base} {self.settings.model}"
        omitted = sorted(set(self.settings.omit) - {"stream_options", "seed"})
        if not (self.settings.extra_body or omitted):
            return named
        return f"{named} {content_hash(self.settings.extra_body, omitted, digits=8)}"

    def parse(self, request: Request, key: str, raw: Mapping[str, Any]) -> Completion:
        """See `DeskSource.parse`."""
        completion = parse_reply(request, key, raw)
        return replace(completion, cost=self.price.cost(completion.usage)) if self.price else completion

    def complete(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
        """See `TextSource.complete`."""
        return sample(self, requests)

    async def work(self, desk: Desk) -> None:
        """See `DeskSource.work`."""
        settings = self.settings
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_s, sock_read=settings.silence_s)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=self._headers(), trust_env=settings.use_proxy
        ) as http:
            await Exchange(self, http, desk).run()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json"}
        if self._key:
            header = self.settings.api_key_header
            headers[header] = f"Bearer {self._key}" if header.lower() == "authorization" else self._key
        return headers

    # What an exchange needs to know

    def address(self, request: Request) -> yarl.URL:
        """Where `request` is sent: chat completions for messages, completions for a raw prompt."""
        return yarl.URL(self._base / ("completions" if request.prompt is not None else "chat/completions"))

    def body(self, requests: Sequence[Request]) -> bytes:
        """The body of one call for `requests`, which differ in their sample index only."""
        settings = self.settings
        body = request_body(
            requests[0],
            settings.model,
            n=len(requests),
            stream=settings.stream,
            max_tokens_field=settings.max_tokens_field,
            omit=settings.omit,
            extra=settings.extra_body,
        )
        return json.dumps(body, ensure_ascii=False).encode()

    def without_key(self, data: bytes, *, is_answer: bool = False) -> bytes:
        """`data` with the key blotted out, as it is and as JSON writes it.

        What is too short to be a secret ("none", "EMPTY") stands in for a key, and may be any word of a text; in an
        answer so may a short one.
        """
        if len(self._key) < (_SURELY_A_KEY if is_answer else _SHORTEST_KEY):
            return data
        as_json = json.dumps(self._key)[1:-1]
        for form in (self._key, as_json, as_json.replace("/", "\\/")):
            data = data.replace(form.encode(), b"[key]")
        return data

    def ceiling(self) -> int:
        """Most calls in flight: the setting, or fewer where the system allows fewer open files."""
        ceiling = self.settings.concurrency_ceiling
        allowed = _open_files_allowed()
        return ceiling if allowed is None else max(1, min(ceiling, allowed - _SPARE_DESCRIPTORS))


def _open_files_allowed() -> int | None:
    """The system's soft limit; None where it has none."""
    if sys.platform == "win32":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def _checked_address(base_url: str) -> yarl.URL:
    """The endpoint's address, without a slash at its end."""
    try:
        url = yarl.URL(base_url.strip().rstrip("/"))
    except ValueError as error:
        raise SettingsError(f"teacher.base_url is not an address ({error}); write it like {_EXAMPLE}") from error
    if url.user or url.password or url.query_string:
        raise SettingsError(
            "teacher.base_url holds a name, a password or a query; keep secrets in the environment variable named by "
            "teacher.api_key_env, and other parameters in teacher.extra_body"
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError(f"teacher.base_url is {base_url!r}, which is no http address; write it like {_EXAMPLE}")
    return url


def _read_key(variable: str | None) -> str:
    """The key, or an empty text for an open endpoint."""
    if variable is None:
        return ""
    if not variable.isidentifier():
        raise SettingsError(
            "teacher.api_key_env is to be the name of an environment variable, such as TEACHER_KEY, and is none; put "
            "the key itself into that variable"
        )
    key = os.environ.get(variable, "").strip()
    if not key:
        raise SettingsError(
            f"the environment variable {variable} (teacher.api_key_env) is not set; run: export {variable}=YOUR_KEY"
        )
    if any(ord(character) < 32 for character in key):
        raise SettingsError(f"the environment variable {variable} holds a line break; set it to the bare key")
    return key
