"""Settings of a student and of its training; torch-free, so that a recipe can be read without it."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class AdapterSettings(BaseModel):
    """What is trained: every weight, or low-rank additions to some of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["full", "lora"] = "full"
    """`full` trains every weight, `lora` freezes them and trains low-rank additions."""
    rank: int = Field(default=8, ge=1)
    """Rank of each LoRA addition."""
    alpha: float = Field(default=16.0, gt=0)
    """LoRA additions are scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout on the input of the LoRA additions."""
    modules: tuple[str, ...] | Literal["linear"] = "linear"
    """Names of the modules that get an addition, such as q_proj; `linear` is every linear layer but the head."""


class StudentSettings(BaseModel):
    """Which weights to start from and which part of them learns."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    """A folder with safetensors and a tokenizer, or a hub id such as owner/model."""
    chat: bool | None = None
    """Use the tokenizer's chat template: true, false, or null for `where it has one`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision the weights are held and examined in; those that learn are in float32 while they do."""
    adapter: AdapterSettings = AdapterSettings()
    """What is trained."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""


class TrainSettings(BaseModel):
    """How a student is fitted; the same for every method."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int = Field(default=1, ge=1)
    """Passes over the examples; not used when `max_steps` is set."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps in all, over as many epochs as that takes; null to go by epochs."""
    batch_examples: int | None = Field(default=None, ge=1)
    """Examples of one optimiser step; give this or `batch_tokens`."""
    batch_tokens: int | None = Field(default=None, ge=1)
    """Tokens of one optimiser step, prompts included; 32 examples a step when neither is given."""
    micro_tokens: int = Field(default=4096, ge=1)
    """Most tokens of one forward pass, padding included; it changes memory and speed, never the gradient."""
    rows: Literal["auto", "packed", "padded"] = "auto"
    """`packed` puts texts end to end without padding, `padded` one text a row; `auto` packs where the student can."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """`muon` makes the updates of hidden matrices orthogonal and leaves the rest to AdamW; not with FSDP."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate; Muon's updates are scaled so that it means the same."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """After warm-up: stay, or fall to `floor` by the last step."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate rises from 0 to its peak."""
    floor: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share of the peak at which linear and cosine end."""
    epoch_factor: float = Field(default=1.0, gt=0.0, le=1.0)
    """The rate is multiplied by this after each epoch, on top of the schedule."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """Decoupled weight decay of matrices; biases and norms are left alone."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Moments of AdamW."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the denominator of AdamW."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Gradients of larger norm are scaled down to it; null for never."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of the arithmetic; sums, losses, the optimiser and the weights that learn stay in float32."""
    best: Literal["loss", "right", "last"] = "loss"
    """Which epoch is kept where there are validation examples: least loss, most probable right targets, or the last."""
    average_epochs: int = Field(default=1, ge=1)
    """The kept weights are the mean of those after so many last epochs (of LoRA, of either factor), whatever `best`
    says; 1 for no mean."""
    seed: int = Field(default=0, ge=0)
    """Of data order and dropout; a recipe lists its training seeds in `seeds`."""
    log_steps: int = Field(default=10, ge=1)
    """Steps between two lines of metrics, which are means over those steps."""
    checkpoint_seconds: float = Field(default=300.0, gt=0)
    """Longest time that a crash can cost."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Checkpoint after every so many steps as well."""
    trackers: tuple[str, ...] = ()
    """Accelerate trackers that get every line of metrics too, such as tensorboard."""

    @model_validator(mode="after")
    def _one_batch_size(self) -> Self:
        if self.batch_examples is not None and self.batch_tokens is not None:
            raise ValueError("give batch_examples or batch_tokens, not both")
        return self

    @property
    def batch_size(self) -> dict[str, int]:
        """The budget of one optimiser step, as the batcher takes it."""
        if self.batch_tokens is not None:
            return {"batch_tokens": self.batch_tokens}
        return {"batch_examples": self.batch_examples or 32}

    def averaged(self, epochs: int) -> range:
        """Of so many epochs, counted from 1, those whose weights are averaged; none where it would be one."""
        count = min(self.average_epochs, epochs)
        return range(epochs - count + 1, epochs + 1) if count > 1 else range(0)

    def rate(self, step: int, steps: int, epoch: int) -> float:
        """Learning rate of step `step` (from 0) of `steps`, in epoch `epoch` (from 0)."""
        peak = self.learning_rate * self.epoch_factor**epoch
        if step < self.warmup_steps:
            return peak * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return peak
        done = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        left = 1.0 - done if self.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
        return peak * (self.floor + (1.0 - self.floor) * left)


def deciding(settings: TrainSettings) -> TrainSettings:
    """The settings with those at their defaults that leave every gradient as it is: such runs learn the same.

    Where a student drops units, another split into micro-batches drops others, none of which is the better draw.
    """
    usual = {name: TrainSettings.model_fields[name].default for name in ("micro_tokens", "log_steps")}
    return settings.model_copy(update=usual)
