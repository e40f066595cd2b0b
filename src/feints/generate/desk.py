"""The counter between sampler and source: what to send is fetched here, what came back is handed in here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from feints.generate.source import Completion, Request


class Desk(Protocol):
    """Where a source fetches requests and reports the fate of each call.

    Every request fetched is claimed in the ledger and paid for in advance; the source must report it by one of
    `arrived`, `lost`, `malformed` and `returned`, and may send it again only after `retake` allowed it.
    """

    async def more(self) -> bool:
        """Wait until there may be something to take (True) or nothing will come any more (False)."""
        ...

    async def take(self, most: int = 1) -> tuple[Request, ...]:
        """Next requests to send; `most` > 1 allows several that differ in `sample_index` only. Empty: none now."""
        ...

    async def retake(self, requests: Sequence[Request]) -> tuple[Request, ...]:
        """Those of `requests`, lost or returned before, that may be sent once more."""
        ...

    def arrived(self, request: Request, raw: Mapping[str, Any]) -> None:
        """A complete reply; it is durable when this returns.

        Raises:
            StorageError: the reply cannot be written.
        """
        ...

    def lost(self, request: Request) -> None:
        """The call was cut or fell silent: nobody knows whether it will be charged, so the budget is."""
        ...

    def returned(self, request: Request) -> None:
        """The server refused without doing the work; nothing is charged."""
        ...

    def malformed(self, request: Request, raw: Mapping[str, Any]) -> None:
        """A reply that cannot be read and will be asked for again: kept as evidence, charged like a lost call."""
        ...

    def absent(self, request: Request, why: str) -> None:
        """This source will never have an answer; the request is reported as not sent."""
        ...

    def has_answers(self) -> bool:
        """Whether this source has answered any request, now or in an earlier run."""
        ...

    async def pause(self, seconds: float, why: str = "") -> None:
        """Wait before sending again, or less long when sampling is being stopped; `why`, for whoever watches."""
        ...


@runtime_checkable
class DeskSource(Protocol):
    """A text source that works at a desk: each call is claimed, charged and stored one by one."""

    @property
    def identity(self) -> str:
        """Who answers, for the ledger key."""
        ...

    def parse(self, request: Request, key: str, raw: Mapping[str, Any]) -> Completion:
        """Read a stored reply; total: what cannot be read becomes `Finish.MALFORMED`."""
        ...

    async def work(self, desk: Desk) -> None:
        """Send until the desk has nothing left.

        Raises:
            SourceError: the source cannot be reached, or refuses for good.
        """
        ...


@runtime_checkable
class BatchingSource(Protocol):
    """A text source whose answers depend on which requests share a batch, so that a batch is redone whole."""

    def batches(self, requests: Sequence[Request]) -> Sequence[Sequence[Request]]:
        """Cut `requests` into batches: a function of the list alone."""
        ...


def whole_batches(
    source: object, lists: Sequence[Sequence[Request]], wanted: Sequence[Request]
) -> Iterator[Sequence[Request]]:
    """What to give `source` so that it answers `wanted`: beside each request the others of its batch, list by list.

    Requests asked at different times share no batch, so that what is asked later neither changes nor repeats a batch.
    """
    if not isinstance(source, BatchingSource):
        yield wanted
        return
    missing = set(wanted)
    for requests in lists:
        if not missing.isdisjoint(requests):
            yield [r for batch in source.batches(requests) if not missing.isdisjoint(batch) for r in batch]
