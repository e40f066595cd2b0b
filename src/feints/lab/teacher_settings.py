"""How good the lab teacher is: settings that are part of its identity."""

from __future__ import annotations

from dataclasses import dataclass, field

from feints.errors import SettingsError
from feints.lab.mistakes import MistakeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LabTeacherSettings:
    """How good the teacher is. Every field is part of its identity."""

    mistakes: MistakeSettings = field(default_factory=MistakeSettings)
    """Kinds, rates and regime of its mistakes."""
    lucky: float = 0.025
    """Share of the right rationales of several steps that rest on wrong results all the same: two mistakes cancel."""
    failure: float = 0.01
    """Share of the replies without an answer: refused, rambling, or ending before it."""
    hint_failure: float = 0.01
    """Share of the hinted or tailored replies that still end elsewhere."""
    hint_forced: float = 0.03
    """Share of the hinted replies that reach the hint on wrong steps."""
    false_hint_obeyed: float = 0.1
    """Share of the replies that follow a hint which is not the right answer."""
    label_error: float = 0.1
    """Share of the mistake patterns that are labelled wrongly."""

    def __post_init__(self) -> None:
        for name in ("lucky", "failure", "hint_failure", "hint_forced", "false_hint_obeyed", "label_error"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"lab teacher: {name} is {getattr(self, name)}; give a share from 0 to 1")
