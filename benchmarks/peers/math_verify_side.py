"""math-verify in its own environment: rows once, then as many rounds or verdicts as are asked for, a JSON line each.

{"rows": [[gold, text], ...]} keeps rows; {"do": "time"} answers {"seconds": ...}; {"do": "judge"} answers
{"right": [...]} with the default settings. What has no delimiters and is short is put between dollar signs, as its
documentation asks for; whole texts are given as they are.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

from math_verify import parse, verify

SHORT = 200
MARKS = ("$", "\\boxed", "\\(", "\\[")


def delimited(text: str) -> str:
    """A bare answer between dollar signs."""
    bare = len(text) <= SHORT and "\n" not in text and not any(mark in text for mark in MARKS)
    return f"${text}$" if bare else text


def loop(rows: list[list[str]]) -> float:
    """Seconds of the careful user's loop: parse gold and text, verify, no time limits, which cost extra."""
    started = time.perf_counter()
    for gold, text in rows:
        verify(parse(f"${gold}$", parsing_timeout=None), parse(text, parsing_timeout=None), timeout_seconds=None)
    return time.perf_counter() - started


def right(gold: str, text: str) -> bool:
    """Its verdict with default settings: the answer as it stands, or between dollar signs, whichever it can read."""
    read = parse(text)
    if not read or (len(text) <= SHORT and not verify(parse(delimited(gold)), read)):
        read = parse(delimited(text))
    return bool(verify(parse(delimited(gold)), read))


def answer(message: dict[str, Any], rows: list[list[str]]) -> dict[str, Any]:
    """The reply to one line."""
    if "rows" in message:
        rows[:] = message["rows"]
        return {"kept": len(rows)}
    if message["do"] == "time":
        return {"seconds": loop(rows)}
    return {"right": [right(gold, text) for gold, text in rows]}


def main() -> None:
    """Serve until the input ends."""
    logging.disable(logging.CRITICAL)
    rows: list[list[str]] = []
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), rows)), flush=True)


if __name__ == "__main__":
    main()
