"""curator asks the questions: ADDRESS PLACE COUNT; run in its own environment (see clients.py)."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

os.environ.update(CURATOR_DISABLE_RICH_DISPLAY="1", TELEMETRY_ENABLED="0", HF_HUB_OFFLINE="1")

import tiktoken
from questions import questions

UNLIMITED = 10_000_000


class FourCharacters:
    """Stands for an encoding that cannot be downloaded here: four characters are a token."""

    def encode(self, text: str, **_: Any) -> list[int]:
        """As many zeros as tokens are guessed."""
        return [0] * (len(text) // 4 + 1)


def stub_without_network() -> str:
    """Put the stub in where tiktoken's file is missing; what has to be said then."""
    try:
        tiktoken.get_encoding("cl100k_base")
    except Exception:  # requests, urllib3 and the system each have errors of their own for a missing network
        tiktoken.get_encoding = tiktoken.encoding_for_model = lambda *_: FourCharacters()
        return "tiktoken stubbed"
    return ""


def main() -> None:
    """Ask, and say how long the call took and how many rows have an answer."""
    address, place, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    note = stub_without_network()
    from bespokelabs import curator
    from datasets import Dataset

    class Asker(curator.LLM):  # type: ignore[misc]
        """One question a row."""

        def prompt(self, row: dict[str, str]) -> str:
            return row["question"]

        def parse(self, row: dict[str, str], response: str) -> dict[str, str]:
            return {"question": row["question"], "answer": response}

    asked = Dataset.from_list([{"question": text} for text in questions(count)])
    started = time.perf_counter()
    asker = Asker(
        model_name="teacher",
        backend="openai",
        generation_params={"temperature": 0.7, "max_tokens": 512},
        backend_params={
            "base_url": f"{address}/v1",
            "api_key": "none",
            "max_requests_per_minute": UNLIMITED,
            "max_tokens_per_minute": UNLIMITED * 1000,
        },
    )
    answered = asker(asked, working_dir=place)
    rows = getattr(answered, "dataset", answered)
    seconds = time.perf_counter() - started
    found = sum(bool(row["answer"]) for row in rows)
    print("\n" + json.dumps({"seconds": seconds, "answered": found, "note": note}))


if __name__ == "__main__":
    main()
