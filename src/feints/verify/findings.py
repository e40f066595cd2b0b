"""What one comparison found: the same, different, nothing readable, or undecided and left to the pool."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Outcome of comparing one stated answer with the gold answer."""

    same: bool | None
    """True: equal; False: different beyond doubt; None: this checker cannot decide."""
    extracted: str | None
    """The answer as it stands in the text; None where nothing of the right sort could be read."""
    checker: str
    """Which checker decided."""
    reason: str
    """Why, in words a user can act on."""
    evidence: str = ""
    """For an undecided finding: what is known, so that a second checker can settle it ("different", "unread")."""
