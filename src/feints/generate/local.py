"""The transformers source: weights on this computer answer requests, causal and sequence-to-sequence.

Torch-side: imports torch at the top, so nothing of the core imports this file at load.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from feints.errors import StudentError
from feints.generate.anatomy import cache_bytes_per_token, context_of
from feints.generate.decode import Decoded, Manner, Row, decode, samples_a_prompt
from feints.generate.lanes import open_lanes
from feints.generate.rendering import Renderer
from feints.generate.source import Completion, Request, Sampling, Usage
from feints.generate.weights import device_or_default, load_weights
from feints.records import content_hash

BATCH_REQUESTS = 2048
"""Requests in one batch: what is redone whole after a break."""
_SHOWN = 60
_LOOK_BACK = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How much runs at once; changes speed and last digits, never the rules."""

    rows: int = 192
    """Texts written side by side at most."""
    cache_gib: float = 4.0
    """Room for keys and values, GiB; fewer rows run where they would not fit at full length."""
    chat: bool | None = None
    """Whether prompts go through the chat template; None: where the tokenizer has one."""
    dtype: str = "float32"
    """Precision the weights are loaded in: float32, bfloat16 or float16."""


class LocalSource:
    """A model in this process as a text source (`TextSource`, and `BatchingSource` for the ledger).

    Samples of one prompt share its computation; a row that ends makes room for the next. Which rows
    meet in a batch is a function of the list of requests alone, and each request draws from a random
    stream of its own (prompt, seed, sample index), so that neighbours change nothing but last digits.
    """

    def __init__(
        self,
        model: Any,
        renderer: Renderer,
        identity: str,
        settings: LocalSettings | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Answer with `model`; `progress` is told (completions, new tokens) whenever some are done.

        Args:
            model: a transformers model in evaluation mode.
            renderer: makes ids of messages; the one the model was trained with.
            identity: hash of weights and tokenizer, for the ledger key.
            settings: batch size and memory.
            progress: called from the decoding thread.
        """
        self.model, self.renderer = model, renderer
        self.settings = settings or LocalSettings()
        self.progress = progress
        self._identity = f"local:{content_hash(identity, renderer.tokenizer_hash, str(model.dtype))}"
        self._context = context_of(model)
        self._ids: dict[tuple[Any, ...], tuple[int, ...]] = {}

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        settings: LocalSettings | None = None,
        device: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> LocalSource:
        """Load a student or a local teacher from a folder or a hub id.

        `device` None is what `device_or_default` makes of it.

        Raises:
            StudentError: the weights or the tokenizer cannot be used.
        """
        settings = settings or LocalSettings()
        weights = load_weights(path, dtype=settings.dtype, device=device_or_default(device))
        renderer = Renderer(weights.tokenizer, settings.chat, weights.seq2seq)
        return cls(weights.model, renderer, weights.identity, settings, progress)

    @property
    def identity(self) -> str:
        """Hash of weights, tokenizer, rendering and precision."""
        return self._identity

    def prompt_ids(self, request: Request) -> tuple[int, ...]:
        """Ids the model reads for `request`."""
        if request.prompt is not None:
            return self.renderer.raw_ids(request.prompt)
        known = self._ids.get(request.messages)
        if known is None:
            known = self._ids[request.messages] = self.renderer.prompt_ids(request.messages)
        return known

    def too_long(self, requests: Sequence[Request]) -> list[int]:
        """Places in `requests` of those whose prompt leaves no room for even one new token."""
        if self._context is None:
            return []
        # An encoder-decoder writes into a context of its own.
        most = self._context if self.renderer.seq2seq else self._context - 1
        return [index for index, request in enumerate(requests) if len(self.prompt_ids(request)) > most]

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Cut `requests` into batches of one sampling setting and like length: a function of the list alone.

        Long prompts come first, samples of one prompt together; taking whole batches away leaves the others as
        they are.
        """
        kinds: dict[Sampling, list[tuple[Any, ...]]] = {}
        for place, request in enumerate(requests):
            ids = self.prompt_ids(request)
            order = (-len(ids), ids, request.seed, request.sample_index, place)
            kinds.setdefault(request.sampling, []).append((order, request))
        batches = []
        for sampling in sorted(kinds, key=lambda kind: content_hash(asdict(kind))):
            ordered = [request for _, request in sorted(kinds[sampling], key=lambda item: item[0])]
            batches += [ordered[at : at + BATCH_REQUESTS] for at in range(0, len(ordered), BATCH_REQUESTS)]
        return batches

    async def complete(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
        """See `TextSource.complete`; decodes in a thread, and stops there when the stream is closed.

        Raises:
            StudentError: a prompt is longer than the model's context, or memory ran out.
        """
        self.require_room(requests)
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[list[tuple[Request, Completion]] | None] = asyncio.Queue()
        stopped = threading.Event()

        def work() -> None:
            try:
                for finished in self.decode_all(requests):
                    if stopped.is_set():
                        return
                    loop.call_soon_threadsafe(arrived.put_nowait, finished)
            finally:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(arrived.put_nowait, None)

        working = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            while (finished := await arrived.get()) is not None:
                for pair in finished:
                    yield pair
            await working
        finally:
            stopped.set()
            await asyncio.gather(working, return_exceptions=True)

    def require_room(self, requests: Sequence[Request]) -> None:
        """Refuse prompts that do not fit.

        Raises:
            StudentError: a prompt is as long as the model's context, or longer.
        """
        if not (places := self.too_long(requests)):
            return
        request = requests[places[0]]
        text = request.prompt if request.prompt is not None else request.messages[-1].content
        raise StudentError(
            f"{len(places)} of {len(requests)} prompts do not fit the model's context of {self._context} tokens; the "
            f'first has {len(self.prompt_ids(request))} and begins "{text[:_SHOWN]}"; leave these problems out or take '
            "a model with a longer context"
        )

    def decode_all(self, requests: Sequence[Request]) -> Iterator[list[tuple[Request, Completion]]]:
        """Answer all requests here and now, in lists as they end.

        Raises:
            StudentError: memory ran out.
        """
        done = tokens = 0
        for batch in self.batches(requests):
            for ended in self._decode_batch(batch):
                done += len(ended)
                tokens += sum(completion.usage.completion_tokens for _, completion in ended)
                if self.progress:
                    self.progress(done, tokens)
                yield ended

    def _decode_batch(self, batch: list[Request]) -> Iterator[list[tuple[Request, Completion]]]:
        rows = [self._row(request) for request in batch]
        width, samples = self._width(rows), samples_a_prompt(rows)
        manner = self._manner(batch[0].sampling)
        # Lanes of an encoder-decoder all begin together, so each filling of them is a decode of its own.
        step = width if self.renderer.seq2seq else len(rows)
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            texts = min(width, len(part))
            lanes = open_lanes(self.model, texts, self._pad(), seq2seq=self.renderer.seq2seq, samples=samples)
            try:
                for ended in decode(lanes, part, manner):
                    yield [(batch[start + at], self._completion(batch[start + at], row)) for at, row in ended]
            except torch.OutOfMemoryError as error:
                raise StudentError(
                    f"{self.model.device} ran out of memory with {texts} rows; set fewer rows or less cache_gib "
                    f"(now {self.settings.cache_gib:g})"
                ) from error

    def _row(self, request: Request) -> Row:
        ids = self.prompt_ids(request)
        room = self._context if self._context is not None else len(ids) + request.sampling.max_tokens
        if not self.renderer.seq2seq:
            room -= len(ids)
        elif self._context is None:
            room = request.sampling.max_tokens
        key = int(content_hash("stream", ids, request.seed, request.sample_index, digits=16), 16)
        return Row(prompt=ids, key=key, limit=max(1, min(request.sampling.max_tokens, room)))

    def _width(self, rows: Sequence[Row]) -> int:
        """Rows that run side by side: as set, or as many as the room for keys and values holds at full length."""
        longest = max(len(row.prompt) + row.limit for row in rows)
        fit = int(self.settings.cache_gib * 2**30) // (longest * cache_bytes_per_token(self.model))
        return max(1, min(self.settings.rows, fit, len(rows)))

    def _pad(self) -> int:
        pad = self.renderer.tokenizer.pad_token_id
        return int(pad) if pad is not None else min(self.renderer.stop_ids)

    def _manner(self, sampling: Sampling) -> Manner:
        return Manner(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            stop_ids=self.renderer.stop_ids,
            cut=_StopTexts(self.renderer.tokenizer, sampling.stop) if sampling.stop else None,
            logprobs=sampling.logprobs,
        )

    def _completion(self, request: Request, row: Decoded) -> Completion:
        text, thinking = self.renderer.decode(row.ids)
        stop = request.sampling.stop
        if stop:
            cut = _before_first(text, stop)
            thinking = thinking if cut or text else _before_first(thinking, stop)
            text = cut.strip()
        prompt_tokens = 0 if request.sample_index else len(self.prompt_ids(request))
        return Completion(
            key=request.key(self.identity),
            text=text,
            thinking=thinking,
            finish=row.finish,
            usage=Usage(prompt_tokens=prompt_tokens, completion_tokens=len(row.ids)),
            logprobs=row.logprobs,
            raw={"ids": list(row.ids)},
        )


class _StopTexts:
    """Finds the token that completes a stop text; looks at the end of the text only."""

    def __init__(self, tokenizer: Any, stops: tuple[str, ...]) -> None:
        self._tokenizer, self._stops = tokenizer, stops
        # No token is shorter than a byte, so a stop text spans no more tokens than it has bytes.
        self._reach = _LOOK_BACK + max(len(stop.encode()) for stop in stops)

    def __call__(self, ids: Sequence[int]) -> int | None:
        start = max(0, len(ids) - self._reach)
        if not self._holds(ids[start:]):
            return None
        for end in range(start + 1, len(ids) + 1):
            if self._holds(ids[start:end]):
                return end
        return None

    def _holds(self, ids: Sequence[int]) -> bool:
        text = self._tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return any(stop in text for stop in self._stops)


def _before_first(text: str, stops: tuple[str, ...]) -> str:
    """`text` up to the first stop text in it."""
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text
