"""Texts as tokens that survive re-spacing and re-punctuation: what near-duplicates and leaks are found by."""

from __future__ import annotations

import re
import unicodedata

_MARK = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s]|_")
_WORD = re.compile(r"[^\W_]+")
_SILENT = frozenset(".,;:!?'\"`$*\u2018\u2019\u201c\u201d")


def marks(text: str) -> tuple[str, ...]:
    """Words, whole numbers and single symbols, case folded; sentence marks, dollars and stars left out.

    Operators stay, since a sign is all that tells some solutions apart.
    """
    found = _MARK.findall(unicodedata.normalize("NFKC", text).casefold())
    return tuple(mark for mark in found if mark not in _SILENT)


def words(text: str) -> tuple[str, ...]:
    """Runs of letters and digits, case folded; every symbol left out."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))
