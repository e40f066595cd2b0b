"""The contract of a text source: requests go in, completions stream out; teacher and student alike."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from feints.records import Finish, content_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a completion is drawn; every field is part of the ledger key."""

    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    max_tokens: int = 512
    """Limit on new tokens."""
    stop: tuple[str, ...] = ()
    """Texts that end the completion; they are not part of it."""
    logprobs: bool = False
    """Ask for the log-probability of each token, where the source offers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One completion asked for. Either `messages` or a raw `prompt`, never both."""

    messages: tuple[Message, ...] = ()
    prompt: str | None = None
    sampling: Sampling = Sampling()
    sample_index: int = 0
    """Which of several samples of the same prompt; part of the key, so samples differ."""
    seed: int = 0
    """Of the run; sent to the source combined with the sample index."""

    def key(self, identity: str) -> str:
        """Ledger key: hash of what is asked and of whom (`identity` of the source)."""
        return content_hash(identity, asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens paid for."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Thinking included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What came back for one request, parsed; recomputed from the raw response whenever it is read."""

    key: str
    """Ledger key of the request."""
    text: str
    thinking: str = ""
    finish: Finish = Finish.UNKNOWN
    usage: Usage = Usage()
    cost: float = 0.0
    logprobs: tuple[float, ...] = ()
    """Nats per completion token, where asked for and offered."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    """The response as it arrived."""


class TextSource(Protocol):
    """Anything that completes requests."""

    @property
    def identity(self) -> str:
        """Who answers, for the ledger key: endpoint and model, or a hash of weights and tokenizer."""
        ...

    def complete(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
        """Yield each request with its completion as it arrives, in any order, none missing.

        Raises:
            SourceError: the source cannot be reached, or refuses for good.
        """
        ...
