"""The account of sampling: what was asked, answered, lost and left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from feints.generate.source import Completion


class SamplingObserver(Protocol):
    """Whoever watches sampling, such as a progress bar."""

    def asked(self, count: int) -> None:
        """`count` more requests are to be answered."""
        ...

    def answered(self, completion: Completion, *, stored: bool) -> None:
        """One request has its completion; `stored`: from the ledger, nothing was sent."""
        ...

    def waiting(self, why: str, seconds: float) -> None:
        """A call waits before it is sent again, for a reason worth telling."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingReport:
    """Every request accounted for: asked = stored + arrived + unsent, duplicates counted once."""

    asked: int = 0
    """Different requests asked for."""
    stored: int = 0
    """Answered from the ledger (or by another process meanwhile)."""
    sent: int = 0
    """Calls sent, attempts repeated included."""
    arrived: int = 0
    """Answered by the source."""
    lost: int = 0
    """Attempts cut or fallen silent: charged as unknown and sent again."""
    returned: int = 0
    """Attempts the server refused without charging (429, 5xx)."""
    unsent: int = 0
    """Not answered: the budget, Ctrl+C or a full disk stopped sampling, or the source has no answer."""
    why_unsent: str = ""
    """Which of them it was, in words."""
    out_of_budget: bool = False
    """Whether it was the budget."""
    tokens: int = 0
    """Tokens of the replies that arrived."""
    cost: float = 0.0
    """Money for the replies that arrived."""
