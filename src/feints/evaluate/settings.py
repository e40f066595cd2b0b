"""What a recipe may say about exams."""

from __future__ import annotations

from pydantic import Field

from feints.config import Settings
from feints.generate.source import Sampling


class ExamSettings(Settings):
    """How solvers are examined."""

    sets: tuple[str, ...] | None = Field(default=None, description="Test sets to examine on; null for all of the task.")
    limit: int | None = Field(default=None, ge=1, description="Most problems of each test set; null for all.")
    max_tokens: int = Field(default=256, ge=1, description="Limit on new tokens of one answer.")
    votes: int = Field(default=1, ge=1, description="Samples per answer; more than 1 is a majority vote.")
    temperature: float = Field(default=0.7, gt=0, description="Of the samples of a vote; one sample is greedy.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Of the samples of a vote; 1 leaves no token out.")
    seed: int = Field(default=0, ge=0, description="Of the samples of a vote.")

    on_the_way: bool = Field(
        default=False, description="Examine the student of every round too, for the report; the method never sees it."
    )

    @property
    def sampling(self) -> Sampling:
        """Greedy for one sample, else at the temperature of the vote."""
        return self.drawn if self.votes > 1 else Sampling(temperature=0.0, max_tokens=self.max_tokens)

    @property
    def drawn(self) -> Sampling:
        """A sample of a vote."""
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)
