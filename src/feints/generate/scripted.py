"""A source that answers from a function: for tests, documentation, dry runs and the lab's teacher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from feints.generate.body import request_body
from feints.generate.budget import Price
from feints.generate.desk import Desk
from feints.generate.reply import (
    CHARACTERS_PER_TOKEN,
    completion_to_raw,
    estimate_tokens,
    parse_reply,
    prompt_characters,
)
from feints.generate.sample import sample
from feints.generate.source import Completion, Request
from feints.records import Finish

Handler = Callable[[Request], str | Completion | Mapping[str, Any]]


class ScriptedSource:
    """Answers from `handler`, which returns a text, a Completion, or a response in the OpenAI shape.

    Raises:
        TypeError: the handler returned something else.
    """

    def __init__(
        self,
        handler: Handler,
        name: str = "scripted",
        latency: float = 0.0,
        in_flight: int = 64,
        price: Price | None = None,
    ) -> None:
        self._handler, self._name = handler, name
        self._latency, self._in_flight = latency, in_flight
        self.price = price

    @classmethod
    def from_responder(
        cls, respond: Callable[[dict[str, Any]], Mapping[str, Any]], model: str, latency: float = 0.0
    ) -> ScriptedSource:
        """Serve in process the function behind an HTTP endpoint: the body is the one HTTP would carry."""
        return cls(lambda request: respond(request_body(request, model)), name=f"scripted {model}", latency=latency)

    @property
    def identity(self) -> str:
        """Name of the script; give it a version, since the ledger knows the script by it alone."""
        return self._name

    def parse(self, request: Request, key: str, raw: Mapping[str, Any]) -> Completion:
        """See `DeskSource.parse`."""
        completion = parse_reply(request, key, raw)
        return replace(completion, cost=self.price.cost(completion.usage)) if self.price else completion

    def complete(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
        """See `TextSource.complete`."""
        return sample(self, requests)

    async def work(self, desk: Desk) -> None:
        """See `DeskSource.work`: `in_flight` calls at a time, each `latency` seconds long."""
        serving = [asyncio.create_task(self._serve(desk)) for _ in range(self._in_flight if self._latency else 1)]
        try:
            await asyncio.gather(*serving)
        finally:
            for task in serving:
                task.cancel()

    async def _serve(self, desk: Desk) -> None:
        while await desk.more():
            for request in await desk.take():
                await asyncio.sleep(self._latency)
                desk.arrived(request, self._answer(request))

    def _answer(self, request: Request) -> Mapping[str, Any]:
        answer = self._handler(request)
        if isinstance(answer, Completion):
            return completion_to_raw(answer)
        if isinstance(answer, str):
            return text_reply(request, answer)
        if isinstance(answer, Mapping):
            return answer
        raise TypeError(
            f"the handler of {self._name} returned {type(answer).__name__}; return a text, a Completion or a mapping "
            "in the OpenAI shape"
        )


def text_reply(request: Request, text: str, finish: Finish = Finish.STOP) -> dict[str, Any]:
    """`text` as a reply in the OpenAI shape, with estimated usage."""
    usage = {
        "prompt_tokens": -(-prompt_characters(request) // CHARACTERS_PER_TOKEN),
        "completion_tokens": estimate_tokens(text),
        "estimated": True,
    }
    reason = finish.value if finish in (Finish.STOP, Finish.LENGTH) else None
    body = {"text": text} if request.prompt is not None else {"message": {"role": "assistant", "content": text}}
    return {"choices": [{"index": 0, **body, "finish_reason": reason}], "usage": usage}
