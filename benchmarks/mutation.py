"""Mutations of real answers: what models, tokenizers and broken pipes do to a text, and what an adversary would."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(eq=False, slots=True)
class Case:
    """A gold answer and a text that answers it; equal only to itself."""

    kind: str
    """An answer kind, or the executed form pot, eot or sat."""
    gold: str
    text: str
    question: str
    options: list[tuple[str, str]]
    gold_mutated: bool = False

    def record(self) -> dict[str, Any]:
        """As a line of the saved seeds."""
        return asdict(self)


SNIPPETS = (
    "\\frac{", "}{", "\\sqrt[", "\\boxed{", "\\left(", "\\right]", "^{", "_{", "\\begin{pmatrix}", "\\\\", "&",
    "\\text{", "\\infty", "\\cup", "\\le", "\\pi", "e^{", "i", "!", "!!", "%", "\\%", "$", "$$", "\\(", "\\]", "####",
    "The answer is ", "Answer:", "<think>", "</think>", "```python\n", "```", "(A)", "B.", "yes", "not true", "None",
    "1,234,567.89", ",", "..", "1e999", "-1e-400", "0x1F", "½", "²", "٣", "−", "∞", "≤", "√", "９", "\u200b", "\u202e",
    "\ufeff", "\u0000", "\ud800", "🙂", "\r", "\t", "\u2028", "nan", "inf", "= ", "==", "<", ">", "/0", "**", "^^",
    "((", "))", "{{", "}}", "[", "x", "y^2", " or ", " and ", "ans = ", "solve(ans)", "sqrt(", "min(", "And(",
    "Variable()", "import os\n", "while True:\n", "0" * 50, "9" * 400,
)  # fmt: skip
"""Pieces a text may gain."""
NESTED = (
    "(",
    "{",
    "[",
    "\\frac{1}{",
    "\\sqrt{",
    "-",
    "+",
    "2^",
    "((1+",
    "\\left(",
    "<think>",
    "not ",
    "1/",
    "\\boxed{",
)
"""Pieces a text may gain many times over."""


def mutated(rng: random.Random, case: Case, others: Sequence[Case]) -> Case:
    """A case with one to four mutations of its text, one in twenty with one of its gold answer too."""
    text, gold = case.text, case.gold
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        text = rng.choice(MUTATIONS)(rng, text, rng.choice(others).text)
    if rng.random() < 1 / 20:
        gold = rng.choice(MUTATIONS)(rng, gold, rng.choice(others).gold)
    return Case(case.kind, gold, text, case.question, case.options, gold != case.gold)


def _span(rng: random.Random, text: str) -> tuple[int, int]:
    """A span, more often near the end, where answers stand."""
    start = rng.randrange(len(text) + 1) if rng.random() < 0.5 else max(0, len(text) - rng.randrange(1, 40))
    return start, min(len(text), start + rng.choice((1, 2, 3, 8, 40)))


def _delete(rng: random.Random, text: str, _: str) -> str:
    start, end = _span(rng, text)
    return text[:start] + text[end:]


def _insert(rng: random.Random, text: str, _: str) -> str:
    start, _end = _span(rng, text)
    return text[:start] + rng.choice(SNIPPETS) + text[start:]


def _replace(rng: random.Random, text: str, _: str) -> str:
    start, end = _span(rng, text)
    return text[:start] + rng.choice(SNIPPETS) + text[end:]


def _repeat(rng: random.Random, text: str, _: str) -> str:
    start, end = _span(rng, text)
    return text[:end] + text[start:end] * rng.choice((1, 2, 10, 100)) + text[end:]


def _nest(rng: random.Random, text: str, _: str) -> str:
    start, _end = _span(rng, text)
    return text[:start] + rng.choice(NESTED) * rng.choice((3, 30, 300, 3000)) + text[start:]


def _splice(rng: random.Random, text: str, other: str) -> str:
    start, _end = _span(rng, text)
    begin, end = _span(rng, other)
    return text[:start] + (other[begin:end] if rng.random() < 0.5 else other[begin:])


def _cut(rng: random.Random, text: str, _: str) -> str:
    start, _end = _span(rng, text)
    return text[:start]


def _swap(rng: random.Random, text: str, _: str) -> str:
    letters = list(text)
    for _again in range(rng.randrange(1, 4)):
        if letters:
            one, other = rng.randrange(len(letters)), rng.randrange(len(letters))
            letters[one], letters[other] = letters[other], letters[one]
    return "".join(letters)


def _flip(rng: random.Random, text: str, _: str) -> str:
    if not text:
        return text
    place = rng.randrange(len(text))
    return (
        text[:place]
        + chr(rng.choice((rng.randrange(32, 127), rng.randrange(0x2F00), rng.randrange(32))))
        + text[place + 1 :]
    )


def _digits(rng: random.Random, text: str, _: str) -> str:
    return "".join(rng.choice("0123456789") if letter.isdigit() and rng.random() < 0.5 else letter for letter in text)


def _recode(rng: random.Random, text: str, _: str) -> str:
    """A text read in the wrong encoding, in other letters, or escaped once too often."""
    ways: tuple[Callable[[str], str], ...] = (
        lambda t: t.encode("utf-8", "surrogatepass").decode("latin-1"),
        str.upper,
        str.swapcase,
        lambda t: t.replace("\\", "\\\\"),
        lambda t: t.replace(" ", "\u00a0"),
        lambda t: t.replace("\n", " "),
        lambda t: t[::-1],
    )
    return rng.choice(ways)(text)


MUTATIONS = (_delete, _insert, _replace, _repeat, _nest, _splice, _cut, _swap, _flip, _digits, _recode)
