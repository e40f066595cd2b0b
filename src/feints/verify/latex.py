"""LaTeX answers: our own exact and numeric checkers in this process; what they cannot settle is left to the pool."""

from __future__ import annotations

import re

from feints.verify.findings import Finding
from feints.verify.quantities import plain, read_numbers

CHECKER = "latex"
SHORT = 400
"""Characters; a longer text is a solution that states an answer, not an answer."""


def gold_problem(text: str) -> str | None:
    """Why `text` cannot be a gold answer, or None."""
    return None if re.search(r"\w", text) else "it holds nothing to compare with"


def bare(text: str) -> bool:
    """Whether `text` is an answer without a sentence around it."""
    return len(text) <= SHORT and len(re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}", text)) <= 12


def compare(gold: str, answer: str, question: str, *, conclusion: bool) -> Finding:
    """Compare two LaTeX answers."""
    a, b = (re.sub(r"[\s$]|\\[()\[\]]", "", x).strip(".") for x in (gold, answer))
    if a == b:
        return Finding(True, answer, CHECKER, "same text")
    x, y = read_numbers(plain(gold)), read_numbers(plain(answer))
    if len(x) == len(y) == 1 and x[0].text == plain(gold).strip("$ .") and y[0].text == plain(answer).strip("$ ."):
        return Finding(x[0].value == y[0].value, answer, "exact", "exact arithmetic")
    return Finding(None, answer, CHECKER, "undecided")
