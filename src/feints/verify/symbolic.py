"""The second opinion on LaTeX: math-verify and sympy; may hang or crash, so it is imported by the worker only."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify

from feints.verify.findings import Finding
from feints.verify.latex import readings, target
from feints.verify.numeric import real_value
from feints.verify.tex import clean, has_thousands, join_thousands
from feints.verify.wellformed import malformed

CHECKER = "math-verify"
_DIGITS = 50
_LONG = 80
"""Characters from which on math-verify is not asked about a text that is broken: it may take for ever."""
_POWERS = re.compile(r"\^[^^]*\^[^^]*\^")
"""Nor about three powers in one."""
_ROOT_OF_FRACTION = re.compile(r"\\sqrt\s*(\\frac\s*\{[^{}]*\}\s*\{[^{}]*\})")
_ROUND_ROOT = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_FUNCTION = re.compile(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_UNFINISHED = re.compile(r"(?:[-+*(]|\\cdot)\s*\\dots|\\dots\s*(?:[-+*(]|\\cdot)|\d\s*\\dots\s*\d")
"""A sum or product of which an ellipsis stands for a part: not carried out, where a number was asked for."""
_DEGREES = re.compile(r"(\d+(?:\.\d+)?)\s*\\degree(?![A-Za-z])")
_POWER_OF = re.compile(
    r"\\(sin|cos|tan|cot|sec|csc)\s*\^\s*\{?\s*(\d)\s*\}?\s*(\\(?:theta|alpha|beta|phi|pi)(?![A-Za-z])|[a-z](?![a-z])|\d+(?![\d.]))"
)
"""A power of a function of one letter or number."""
logging.disable(logging.CRITICAL)


def second_opinion(gold: str, answer: str, evidence: str) -> Finding:
    """Ask math-verify about two answers our own checkers could not settle.

    evidence: "different" where ours says so without proof, "unread" where ours could not read one of them.
    """
    broken = malformed(answer) or malformed(clean(answer))
    no_answer = Finding(None, None, CHECKER, f"what is stated is not well formed: {broken}")
    if broken and (len(answer) > _LONG or _POWERS.search(answer)):
        return no_answer
    wanted = _parsed(target(gold).bare)
    if not wanted:
        cannot = Finding(None, answer, CHECKER, "math-verify cannot read the gold answer either")
        return no_answer if broken else cannot
    said = clean(answer)
    found = readings(target(gold).bare, said)
    equal, read = _compared(wanted, [*found, *(join_thousands(one) for one in found if has_thousands(one))])
    if broken and not equal and (evidence == "unread" or not read):
        return no_answer
    if (
        not read
        and _UNFINISHED.search(said.rpartition("=")[2])
        and any(real_value(form) is not None for form in target(gold).forms)
    ):
        return replace(no_answer, reason="a number was asked for, and what is stated leaves a part out")
    if not read:
        return Finding(None, answer, CHECKER, "math-verify cannot read the answer either", evidence="unread")
    if equal and evidence == "different":
        return Finding(None, answer, CHECKER, "two checkers disagree: ours says different, math-verify equal")
    if equal:
        return Finding(True, answer, CHECKER, "equal by math-verify")
    if evidence == "different":
        return Finding(False, answer, CHECKER, "different by our checker and by math-verify")
    alone = "only one checker could read it, and says different"
    return Finding(None, answer, CHECKER, alone, evidence="different")


def _compared(wanted: list[Any], found: list[str]) -> tuple[bool, bool]:
    """Whether one of the readings is the gold answer for math-verify, and whether it could read any."""
    read = False
    for reading in found:
        said = _parsed(reading)
        try:
            if said and verify(wanted, said, timeout_seconds=None):
                return not _differ(wanted, said), True
        except TypeError:  # sympy could not order two values: it did not read them
            continue
        read = read or bool(said)
    return False, read


def _parsed(text: str) -> list[Any]:
    """Trees of `text` read as LaTeX; never as the stray number that the default settings fall back to."""
    result: list[Any] = parse(
        f"${_readable(text)}$",
        extraction_config=[LatexExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=None,
    )
    return result


def _readable(text: str) -> str:
    """What math-verify cannot read said otherwise: degrees, powers, roots of brackets, empty groups, norms, a letter.

    Outside of functions the sign of degrees is a mere unit.
    """
    text = _ROUND_ROOT.sub(r"\\sqrt{(\1)}", _ROOT_OF_FRACTION.sub(r"\\sqrt{\1}", text))
    text = re.sub(r"(?<!\\)\{\s*\}", "", text).replace("\\aleph", "\\alpha ").replace("\\|", "|")
    if not _FUNCTION.search(text):
        return text.replace("\\degree", " ")
    text = _DEGREES.sub(r"\\frac{\1 \\pi}{180}", text)
    return _POWER_OF.sub(r"(\\\1(\3))^{\2}", text)


def _differ(wanted: list[Any], said: list[Any]) -> bool:
    """Whether math-verify's own trees differ numerically although it calls them equal."""
    trees = [next((p for p in parsed if isinstance(p, sympy.Expr)), None) for parsed in (wanted, said)]
    if any(tree is None or tree.free_symbols for tree in trees):
        return False
    one, other = (sympy.N(tree, _DIGITS) for tree in trees)
    if not (one.is_number and other.is_number):
        return False
    return bool(abs(one - other) > sympy.Float(10) ** -30 * max(abs(one), abs(other)))
