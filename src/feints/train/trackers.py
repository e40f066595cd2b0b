"""Accelerate as the loop uses it, with the trackers of a recipe; one that is not there is refused, not passed over."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType

from feints.errors import SettingsError, UnknownNameError
from feints.train.settings import TrainSettings

PROJECT = "feints"
"""Project under which trackers file a run; its name there is theirs to choose."""


def make_accelerator(settings: TrainSettings, folder: Path, device: str | None = None) -> Accelerator:
    """Device, precision and trackers of one run; trackers that keep files write them under `folder`.

    A process has one device for all it trains: Accelerate settles it the first time it is asked.

    Raises:
        UnknownNameError: Accelerate knows no tracker of this name.
        SettingsError: the package of a tracker is not installed, or Accelerate would train on another device.
    """
    _require(settings.trackers)
    _choose(device)
    precision = "bf16" if settings.precision == "bf16" else "no"
    trackers = list(settings.trackers) or None
    accelerator = Accelerator(
        cpu=device == "cpu", mixed_precision=precision, log_with=trackers, project_dir=str(folder)
    )
    _check(device, accelerator.device)
    if trackers:
        accelerator.init_trackers(PROJECT, config=_plain(settings))
    return accelerator


def _choose(device: str | None) -> None:
    """Make a GPU that is named by its number the one Accelerate takes."""
    if device is None or torch.device(device).type != "cuda" or torch.device(device).index is None:
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError(f"device {device!r} is one GPU, but several processes train, each on its own; set cuda")
    torch.cuda.set_device(device)


def _check(wanted: str | None, taken: torch.device) -> None:
    if wanted is not None and torch.device(wanted).type != taken.type:
        raise SettingsError(
            f"device {wanted!r} is asked for, but training would run on {taken} here; leave device out, set cpu, or "
            f"start another process if this one has trained on {taken} before"
        )


def _require(names: tuple[str, ...]) -> None:
    """Accelerate drops a tracker whose package is missing without a word."""
    installed = {str(name) for name in get_available_trackers()}
    built_in = {str(kind) for kind in LoggerType}
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise UnknownNameError("tracker", name, LOGGER_TYPE_TO_CLASS)
        if name in built_in - installed:
            raise SettingsError(f"train.trackers: {name} is not installed; install its package or leave it out")


def _plain(settings: TrainSettings) -> dict[str, int | float | str]:
    """Settings as trackers take them: plain values."""
    dumped = settings.model_dump(mode="json").items()
    return {name: value if isinstance(value, int | float | str) else json.dumps(value) for name, value in dumped}
