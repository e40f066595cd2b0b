"""The second opinion on LaTeX: math-verify and sympy; may hang or crash, so it is imported by the worker only."""

from __future__ import annotations

import logging

from math_verify import parse, verify

from feints.verify.findings import Finding

CHECKER = "math-verify"
logging.disable(logging.CRITICAL)


def second_opinion(gold: str, answer: str, evidence: str) -> Finding:
    """Ask math-verify about two answers; `evidence` is what the first checker found."""
    target = parse(f"${gold.strip('$ ')}$", parsing_timeout=None)
    said = parse(f"${answer.strip('$ ')}$", parsing_timeout=None)
    if not target or not said:
        return Finding(None, answer, CHECKER, "math-verify cannot read it")
    equal = bool(verify(target, said, timeout_seconds=None))
    return Finding(equal, answer, CHECKER, "equal" if equal else "different")
