"""Settings of a text source, of sampling, and of the budget."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from feints.config import Settings
from feints.generate.adaptive import AdaptiveSettings
from feints.generate.budget import Budget, Price
from feints.generate.source import Sampling


class TeacherSettings(Settings):
    """Who is asked, and how politely."""

    source: Literal["openai", "replay", "transformers", "lab"] = Field(
        default="openai",
        description="openai: any OpenAI-compatible endpoint; replay: recorded completions; transformers: weights on "
        "this computer; lab: the scripted teacher of the offline world.",
    )
    model: str = Field(default="", description="Name of the model at the endpoint, or folder or hub id of weights.")
    base_url: str = Field(default="", description="Address of the endpoint up to and including /v1.")
    api_key_env: str | None = Field(
        default=None, description="Name of the environment variable that holds the key; none for open endpoints."
    )
    api_key_header: str = Field(
        default="Authorization", description="Header that carries the key, as 'Bearer KEY' if it is Authorization."
    )
    name: str | None = Field(
        default=None,
        description="Who answers, for the ledger; default: address and model. Set it where the address changes.",
    )
    path: str | None = Field(default=None, description="File of recorded completions, .jsonl or .jsonl.gz; for replay.")
    record_model: str | None = Field(default=None, description="Only samples of this recorded model; for replay.")
    record_method: str | None = Field(default=None, description="Only samples of this recorded method; for replay.")
    missing: Literal["error", "skip"] = Field(
        default="error", description="What to do when a request has no recorded completion; for replay."
    )
    use_n: bool = Field(default=False, description="Ask for all samples of one prompt in one call (`n`).")
    stream: bool = Field(default=True, description="Let replies stream, so that a time-out counts silence, not length.")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        default="max_tokens", description="What the endpoint calls the limit on new tokens."
    )
    extra_body: dict[str, Any] = Field(default_factory=dict, description="Further parameters, passed through as given.")
    omit: tuple[str, ...] = Field(default=(), description="Parameters the endpoint does not know, left out.")
    concurrency_start: int = Field(default=8, ge=1, description="Calls in flight at first; doubled each round trip.")
    concurrency_ceiling: int = Field(default=512, ge=1, description="Most calls in flight.")
    silence_s: float = Field(default=120, gt=0, description="Seconds without a byte after which a call counts as lost.")
    connect_s: float = Field(default=10, gt=0, description="Seconds to wait for a connection.")
    patience_s: float = Field(
        default=600,
        gt=0,
        description="Seconds of nothing but refusals (429) after which sampling gives up, or of nothing but signs of "
        "life after which a call counts as lost.",
    )
    max_attempts: int = Field(default=8, ge=1, description="Times a call may fail (5xx, cut, silent) before giving up.")
    malformed_attempts: int = Field(
        default=3, ge=1, description="Times a reply that cannot be read is asked for; the last is kept and marked."
    )
    terms: str = Field(default="", description="Terms on the teacher's output, for the student's model card.")
    use_proxy: bool = Field(default=False, description="Use the proxy named by HTTP_PROXY and HTTPS_PROXY.")
    prices: dict[str, Price] = Field(default_factory=dict, description="Price table: what each model charges.")


class StudentEndpointSettings(Settings):
    """An endpoint that writes the student's own texts in rounds, and is given its adapter each time."""

    base_url: str = Field(description="Address of the endpoint up to and including /v1.")
    model: str = Field(description="Name of the base model there: the student before any training.")
    api_key_env: str | None = Field(
        default=None, description="Name of the environment variable that holds the key; none for open endpoints."
    )
    load: str = Field(default="load_lora_adapter", description="What is called under /v1 to load an adapter.")
    unload: str = Field(default="unload_lora_adapter", description="What is called under /v1 to unload it.")
    run_seen_as: str | None = Field(
        default=None, description="Path of the run folder on the endpoint's machine; null: the same as here."
    )
    max_rank: int = Field(default=64, ge=1, description="Highest rank of an adapter the endpoint takes.")
    concurrency: int = Field(default=64, ge=1, description="Calls in flight.")
    silence_s: float = Field(default=120, gt=0, description="Seconds without a byte after which a call counts as lost.")
    patience_s: float = Field(
        default=600, gt=0, description="Seconds of nothing but refusals or signs of life after which to give up."
    )
    extra_body: dict[str, Any] = Field(default_factory=dict, description="Further parameters, passed through as given.")
    omit: tuple[str, ...] = Field(default=(), description="Parameters the endpoint does not know, left out.")


class SamplingSettings(Settings):
    """How rationales are drawn."""

    n: int = Field(default=1, ge=1, description="Samples per problem; of no effect beside `adaptive`.")
    temperature: float = Field(default=0.7, ge=0, description="0 is greedy.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Nucleus bound.")
    max_tokens: int = Field(default=512, ge=1, description="Limit on new tokens of one sample.")
    stop: tuple[str, ...] = Field(default=(), description="Texts that end a sample.")
    logprobs: bool = Field(default=False, description="Ask for log-probabilities, where the source offers them.")
    seed: int = Field(default=0, description="Of the run; sent combined with the sample index.")
    adaptive: AdaptiveSettings | None = Field(
        default=None, description="Stop asking a problem once it has enough right and wrong rationales."
    )

    def notices(self) -> list[str]:
        """What is set and of no effect, in words."""
        if self.adaptive is None or self.n == SamplingSettings.model_fields["n"].default:
            return []
        least, most = self.adaptive.minimum, self.adaptive.maximum
        return [f"sampling.n={self.n} has no effect: sampling.adaptive asks about each problem {least} to {most} times"]

    def sampling(self) -> Sampling:
        """The part that travels with each request."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            stop=self.stop,
            logprobs=self.logprobs,
        )


class BudgetSettings(Settings):
    """The most that may be spent, what an earlier run paid for the same requests included; one beside it is not."""

    requests: int | None = Field(default=None, ge=0, description="Replies, and attempts of unknown fate.")
    tokens: int | None = Field(default=None, ge=0, description="Prompt and completion tokens together.")
    money: float | None = Field(default=None, ge=0, description="Money, by the price table.")
    currency: str = Field(default="USD", description="Currency of `money`.")

    def open(self) -> Budget:
        """A fresh budget with these limits."""
        return Budget(self.requests, self.tokens, self.money, self.currency)
