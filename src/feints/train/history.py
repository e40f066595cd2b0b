"""What a training has written of itself, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def last_totals(folder: Path) -> dict[str, Any] | None:
    """The last `train` line of `folder`'s metrics, whose counts are totals; None where nothing was trained.

    Args:
        folder: of a student, as it stands under `4_student`; `MetricsFile` writes in its `training/metrics.jsonl`.
    """
    metrics = folder / "training" / "metrics.jsonl"
    if not metrics.is_file():
        return None
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return next((line for line in reversed(lines) if line["kind"] == "train"), None)
