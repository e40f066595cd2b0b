"""Rows of a data set of the Hugging Face hub; the only file that needs the `hub` extra, imported when used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from feints.errors import DataError, MissingExtraError
from feints.tasks.loading.files import Row

WHOLE = {"train": "train", "validation": "validation", "test": "test"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTable:
    """One table of a hub data set and what its splits are used as."""

    repository: str
    """For example "openai/gsm8k"."""
    name: str | None = None
    """Configuration inside the repository."""
    splits: Mapping[str, str] = field(default_factory=lambda: dict(WHOLE))
    """Hub split -> train, validation or the name of a test set."""
    topic: str = ""
    """Sub-task or subject, where the rows do not say."""


def read_hub(table: HubTable, split: str, revision: str | None) -> list[Row]:
    """Every row of one split.

    Raises:
        MissingExtraError: `datasets` is not installed.
        DataError: the hub cannot be reached, or has no such table or split.
    """
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise MissingExtraError("datasets", "hub", f"reading {table.repository} from the hub") from None
    try:
        found = datasets.load_dataset(table.repository, table.name, split=split, revision=revision)
    except Exception as error:  # The hub's client raises many unrelated kinds; each means that nothing was read.
        raise DataError(
            f"{table.repository} ({table.name or 'default'}, split {split}) cannot be read from the hub: {error}; "
            "check the connection, or give a local copy as `path`"
        ) from error
    return [dict(row) for row in found]
