"""A student behind an endpoint: its adapter is loaded there, its texts come back as those of weights here would."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePath
from typing import Protocol

import yarl

from feints.errors import SettingsError, SourceError
from feints.generate.desk import Desk
from feints.generate.openai import OpenAISource
from feints.generate.settings import StudentEndpointSettings, TeacherSettings
from feints.generate.source import Message, Request

_WAIT_S = 300
_ALREADY = "already"


class Rendering(Protocol):
    """What is needed of a student's renderer; torch is not."""

    chat: bool

    @property
    def stop_ids(self) -> frozenset[int]:
        """Every id that ends generation."""
        ...

    def prompt_text(self, messages: Sequence[Message], /) -> str:
        """The exact text that is tokenised as the prompt."""
        ...


@contextmanager
def _own_names() -> Iterator[None]:
    """Errors that name the settings this endpoint has, and not the teacher's they are passed on as."""
    try:
        yield
    except (SettingsError, SourceError) as error:
        raise type(error)(str(error).replace("teacher.", "student_endpoint.")) from error


class ServedStudent(OpenAISource):
    """One student at an OpenAI-compatible endpoint, as the base it holds or with an adapter on it.

    Prompts are rendered here and sent as text to /completions, so that the endpoint reads the ids the student was
    trained on. `open` loads the adapter as vLLM takes it (POST load_lora_adapter), `close` unloads it. Its name holds a
    hash of the student's weights: one that was left by a killed run is the same one.

    Raises:
        SettingsError: the address, or the key's variable, is not set or cannot be used.
    """

    further_names = ("add_special_tokens", "stop_token_ids")

    def __init__(
        self, settings: StudentEndpointSettings, rendering: Rendering, who: str, adapter: PurePath | None
    ) -> None:
        """Answer as the student whose weights hash to `who`.

        Args:
            settings: of the endpoint.
            rendering: the student's.
            who: hash of its weights.
            adapter: its adapter's folder, as the endpoint sees it; None: it is the base.
        """
        self.endpoint, self.rendering, self.adapter = settings, rendering, adapter
        self.adapter_name = f"feints-{who[:16]}"
        own = {"add_special_tokens": not rendering.chat, "stop_token_ids": sorted(rendering.stop_ids)}
        extra = {name: value for name, value in own.items() if name not in settings.omit} | settings.extra_body
        asked = TeacherSettings(
            model=settings.model if adapter is None else self.adapter_name,
            name=f"student {who} at an endpoint",
            base_url=settings.base_url,
            api_key_env=settings.api_key_env,
            extra_body=extra,
            omit=settings.omit,
            concurrency_start=settings.concurrency,
            concurrency_ceiling=settings.concurrency,
            silence_s=settings.silence_s,
            patience_s=settings.patience_s,
        )
        with _own_names():
            super().__init__(asked)

    def open(self) -> None:
        """Have the endpoint load the adapter; one that is loaded already is taken as it is.

        Raises:
            SettingsError: the endpoint does not load adapters.
            SourceError: it cannot be reached, or refuses this one.
        """
        if self.adapter is None:
            return
        status, said = self._post(self.endpoint.load, lora_name=self.adapter_name, lora_path=str(self.adapter))
        if status in (404, 405) and self.adapter_name not in said:
            raise SettingsError(
                f"the student's endpoint has no {self.endpoint.load} (status {status}); start vLLM with --enable-lora, "
                "--max-lora-rank and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, or set student_endpoint.load to its name"
            )
        if status >= 300 and _ALREADY not in said:
            raise SourceError(f"the student's endpoint did not load {self.adapter} (status {status}): {said[:300]}")

    def close(self) -> None:
        """Have the endpoint forget the adapter; one it does not know any more is no error."""
        if self.adapter is not None:
            self._post(self.endpoint.unload, lora_name=self.adapter_name)

    def _post(self, what: str, **body: str) -> tuple[int, str]:
        """Status and text of one call about adapters."""
        request = urllib.request.Request(
            str(self._base / what), json.dumps(body).encode(), self._headers(), method="POST"
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_WAIT_S) as reply:
                return reply.status, self.without_key(reply.read()).decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, self.without_key(error.read()).decode(errors="replace")
        except OSError as error:
            raise SourceError(
                f"the student's endpoint {self._base} cannot be reached ({error}); start it, or take student_endpoint "
                "out of the recipe to sample here"
            ) from error

    async def work(self, desk: Desk) -> None:
        """See `DeskSource.work`."""
        with _own_names():
            await super().work(desk)

    # What an exchange needs to know

    def address(self, request: Request) -> yarl.URL:
        """See `OpenAISource.address`."""
        return super().address(self._rendered(request))

    def body(self, requests: Sequence[Request]) -> bytes:
        """See `OpenAISource.body`; the prompt is the text the student was trained on."""
        return super().body([self._rendered(request) for request in requests])

    def _rendered(self, request: Request) -> Request:
        if request.prompt is not None:
            return request
        return replace(request, messages=(), prompt=self.rendering.prompt_text(request.messages))
