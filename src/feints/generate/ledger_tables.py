"""What the ledger's file holds: its tables, and the rows that go in and out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from feints.generate.budget import Amount, Price
from feints.generate.reply import CHARACTERS_PER_TOKEN, prompt_characters
from feints.generate.source import Request, Usage
from feints.records import content_hash

LEDGER_VERSION = 1
"""Written into the file; a ledger of a newer version is refused."""
APPLICATION = 0x66656E74
"""Marks the file as a ledger ("fent")."""

SCHEMA = """
CREATE TABLE call (
  key TEXT NOT NULL PRIMARY KEY,   -- hash of the canonical request and of who is asked
  state TEXT NOT NULL,             -- sent, complete, unknown
  owner TEXT,                      -- process that has it in flight
  asker TEXT NOT NULL,             -- identity of the source
  prompt TEXT NOT NULL,            -- hash of messages or prompt, see table prompt
  reserved_tokens INTEGER NOT NULL,
  reserved_cost REAL NOT NULL,
  estimated_prompt_tokens INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL DEFAULT 0,
  completion_tokens INTEGER NOT NULL DEFAULT 0,
  cost REAL NOT NULL DEFAULT 0,
  unknown_calls INTEGER NOT NULL DEFAULT 0,   -- attempts cut or timed out: charged, fate unknown
  unknown_tokens INTEGER NOT NULL DEFAULT 0,
  unknown_cost REAL NOT NULL DEFAULT 0,
  paid_again INTEGER NOT NULL DEFAULT 0,      -- replies that arrived although one was stored; 0 by design
  changed_at REAL NOT NULL
);
CREATE INDEX call_in_flight ON call(owner) WHERE state = 'sent';
CREATE INDEX call_asker ON call(asker);
CREATE TABLE reply (key TEXT NOT NULL PRIMARY KEY, raw BLOB NOT NULL);
CREATE TABLE prompt (hash TEXT NOT NULL PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE malformed (key TEXT NOT NULL, raw BLOB NOT NULL, arrived_at REAL NOT NULL);
"""


class ClaimState(StrEnum):
    """What became of a claim."""

    OURS = "ours"
    COMPLETE = "complete"
    """The reply is stored already: read it."""
    ELSEWHERE = "elsewhere"
    """Another process, or another sampling of this one, has it in flight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A request about to be sent."""

    key: str
    """Ledger key."""
    asker: str
    """Identity of the source."""
    prompt_hash: str
    """Hash of the prompt, which samples share."""
    prompt: Any
    """The prompt as JSON, kept for people who look into the ledger."""
    prompt_tokens: int = 0
    """Estimate of the prompt's tokens from its characters."""
    tokens: int = 0
    """Tokens reserved: what an attempt of unknown fate is charged."""
    cost: float = 0.0
    """Money reserved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charges:
    """What a set of requests has cost so far."""

    requests: int = 0
    """Replies stored plus attempts whose fate is unknown."""
    tokens: int = 0
    """Prompt and completion tokens, with the reservation for each unknown attempt."""
    prompt_tokens: int = 0
    """Those of them that were sent, likewise."""
    cost: float = 0.0
    """Money, likewise, by the price tables of the runs that paid."""
    unknown: int = 0
    """Attempts whose fate is unknown."""

    def amount(self, price: Price | None) -> Amount:
        """What a budget counts, in money by `price`, so that one run has one price table; None: as it was paid."""
        usage = Usage(prompt_tokens=self.prompt_tokens, completion_tokens=self.tokens - self.prompt_tokens)
        money = price.cost(usage) if price else self.cost
        return Amount(requests=self.requests, tokens=self.tokens, money=money)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What the replies of one source took, for estimates."""

    replies: int
    """Replies stored."""
    prompt_scale: float
    """Prompt tokens stated over those estimated from characters; 1 without replies."""
    completion_tokens: float
    """Mean per reply."""


def claim_for(request: Request, key: str, asker: str, reserved: Amount) -> Claim:
    """The row of `request` to the source `asker`."""
    turns = [[turn.role, turn.content] for turn in request.messages]
    prompt = turns if request.prompt is None else request.prompt
    return Claim(
        key=key,
        asker=asker,
        prompt_hash=content_hash(prompt),
        prompt=prompt,
        prompt_tokens=-(-prompt_characters(request) // CHARACTERS_PER_TOKEN),
        tokens=reserved.tokens,
        cost=reserved.money,
    )
