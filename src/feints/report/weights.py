"""Training examples as runs of equally weighted tokens, told apart by line and number as well as by colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from feints.report.contents import WeightedExample

LEVELS = 3
"""Strengths that can be told apart at a glance; the exact weight stands beside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRun:
    """Neighbouring tokens with the same weight."""

    text: str
    """Their text."""
    weight: str
    """The weight as written, with a true minus sign."""
    style: str
    """Style class: "zero", "pull-1" to "pull-3", "push-1" to "push-3"."""
    tokens: int
    """How many tokens."""
    prompt: bool
    """Whether they belong to the prompt."""


def runs(example: WeightedExample) -> tuple[TokenRun, ...]:
    """Neighbours of equal weight joined; prompt and target are never joined."""
    strongest = max((abs(weight) for weight in example.weights), default=0.0) or 1.0
    found: list[tuple[list[str], float, bool]] = []
    for index, (text, weight) in enumerate(zip(example.tokens, example.weights, strict=True)):
        prompt = index < example.prompt_length
        if found and found[-1][1] == weight and found[-1][2] == prompt:
            found[-1][0].append(text)
        else:
            found.append(([text], weight, prompt))
    return tuple(
        TokenRun(
            text="".join(texts),
            weight=_written(weight),
            style=_style(weight / strongest),
            tokens=len(texts),
            prompt=prompt,
        )
        for texts, weight, prompt in found
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRun:
    """Neighbouring tokens of a target that are all key tokens, or all not."""

    text: str
    """Their text."""
    key: bool
    """Whether they are key tokens."""


def key_runs(example: WeightedExample) -> tuple[KeyRun, ...]:
    """The target of an example, neighbours joined; the prompt is left out."""
    marked = key_tokens(example.weights, example.prompt_length)
    found = list(zip(example.tokens, marked, strict=True))[example.prompt_length :]
    return tuple(
        KeyRun(text="".join(text for text, _ in run), key=key) for key, run in groupby(found, key=lambda item: item[1])
    )


def key_count(example: WeightedExample) -> tuple[int, int]:
    """Key tokens of a target, and all of its tokens."""
    marked = key_tokens(example.weights, example.prompt_length)
    return sum(marked), len(marked) - example.prompt_length


def key_tokens(weights: Sequence[float], prompt: int) -> tuple[bool, ...]:
    """Which tokens are pulled hardest in a target whose tokens are not all pulled alike; the prompt never is."""
    pulls = [abs(weight) for weight in weights[prompt:]]
    hardest = max(pulls, default=0.0)
    told = hardest > min(pulls, default=0.0)
    return (*[False] * prompt, *(told and pull == hardest for pull in pulls))


def _written(weight: float) -> str:
    return f"{weight:.3g}".replace("-", "−")


def _style(share: float) -> str:
    if not share:
        return "zero"
    level = min(LEVELS, int(abs(share) * LEVELS - 1e-9) + 1)
    return f"{'pull' if share > 0 else 'push'}-{level}"
