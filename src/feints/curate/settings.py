"""What a recipe may say about curation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from feints.config import Settings


class CurateSettings(Settings):
    """Which judged rationales are learnt from."""

    near_duplicate: float | None = Field(
        default=0.9, gt=0.0, le=1.0, description="Jaccard index from which two rationales count as one; null keeps all."
    )
    right_per_problem: int | None = Field(
        default=None, ge=1, description="Most right rationales of one problem; null keeps all."
    )
    wrong_per_problem: int | None = Field(
        default=None, ge=1, description="Most wrong rationales of one problem; null keeps all."
    )
    validation: float = Field(
        default=0.1, ge=0.0, lt=1.0, description="Share of the training problems held back to choose the best epoch."
    )
    thinking: Literal["keep", "drop"] = Field(
        default="drop", description="Whether the teacher's hidden reasoning is part of what the student learns."
    )
    max_tokens: int | None = Field(
        default=None, ge=8, description="Longest example in tokens, prompt included; longer ones are left out."
    )
    seed: int = Field(default=0, description="Of the split and of every choice made here.")
