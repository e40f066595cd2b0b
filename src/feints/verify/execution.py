"""What became of an executed rationale: a value, or a failure that keeps its kind."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from feints.records import Form, Verdict

EXECUTED = (Form.POT, Form.EOT, Form.SAT)
"""Forms whose answer is found by running them."""
MAX_VALUE = 500
"""Characters of a value; a longer one is no answer."""
_FRACTION = re.compile(r"([-+]?\d{1,400})\s*/\s*(\d{1,400})")


class Failure(StrEnum):
    """Why there is no value."""

    SYNTAX = "syntax"
    RUNTIME = "runtime"
    """It raised an error, reaching for files or the network included."""
    TIME = "time"
    MEMORY = "memory"
    NO_ANSWER = "no answer"
    """It ran, and left no answer, or one that is no value (NaN, several values)."""
    UNSATISFIABLE = "unsatisfiable"
    AMBIGUOUS = "ambiguous"
    """Several answers satisfy it."""
    NOTHING = "nothing to run"
    """The text holds no program, equation or constraint at all: a reject, not a mistake to learn from."""
    NOT_RUN = "not run"
    """This machine cannot run it, or the sandbox was lost: nothing is known about the text."""


MISTAKES = tuple(kind for kind in Failure if kind not in (Failure.NOTHING, Failure.NOT_RUN))
"""Failures that are the author's: verdict wrong, and a negative with a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most one rationale may take."""

    seconds: float = 5.0
    """Time of execution (the limit of PoTD, EoTD and KPDD); a process is killed at most a second later."""
    constraint_seconds: float = 1.0
    """Time of the constraint solver (SatLM)."""
    memory: int = 64 << 20
    """Bytes a program may hold."""
    recursion: int = 400
    """Calls inside calls."""
    output: int = 1 << 20
    """Characters a program may print."""
    text: int = 20_000
    """Characters of a rationale; a longer one is a syntax failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One run."""

    value: str | None = None
    """The answer in plain figures ("12", "2.5", "2/3") or words; None after a failure."""
    failure: Failure | None = None
    """Why there is none."""
    detail: str = ""
    """The failure in words a user can act on."""
    ran_in: str = ""
    """What ran it: monty, sandlock, sympy or z3."""

    @property
    def number(self) -> Fraction | None:
        """The value as an exact number, where it is one."""
        return None if self.value is None else to_number(self.value)


def failed(kind: Failure, detail: str, ran_in: str = "") -> Execution:
    """A run that left no value."""
    return Execution(failure=kind, detail=_storable(detail).strip()[:300] or kind.value, ran_in=ran_in)


def _storable(text: str) -> str:
    """A text without halves of characters, which no file of a run could hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def to_number(value: str) -> Fraction | None:
    """The number a value is written as: an integer, a decimal, a quotient; None for anything else."""
    text = value.strip().replace(",", "").replace("$", "").removesuffix("%").strip()
    quotient = _FRACTION.fullmatch(text)
    if quotient:
        return Fraction(int(quotient[1]), int(quotient[2])) if int(quotient[2]) else None
    if not re.fullmatch(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?", text):
        return None
    return Fraction(text)


def value_text(value: object) -> str | None:
    """A plain Python value as a person would write it; None where it is no value (NaN, None, several values)."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 1200 else None
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, list | tuple | set | frozenset):
        return value_text(next(iter(value))) if len(value) == 1 else None
    if isinstance(value, str):
        return _storable(value).strip() or None if len(value) <= MAX_VALUE else None
    return None


def failure_of(verdict: Verdict) -> Failure | None:
    """The kind of failure an executed verdict speaks of; None where something was executed or nothing was to be."""
    head = verdict.reason.partition(":")[0]
    return Failure(head) if head in set(Failure) else None
