"""What the tests of EDIT share: its runs on the tiny bench and the tables they leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from feints.methods import edit
from feints.records import Example
from feints.tables import read_table

Edited = Callable[..., Any]


@pytest.fixture(scope="module")
def edited(tiny: ModuleType, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Edited:
    """Distils with some settings and returns the bench; equal settings of the bench share a run folder."""
    folders: dict[str, Path] = {}

    def distilled(config: edit.Config | None = None, **changed: Any) -> Any:
        known = repr(sorted((name, getattr(value, "settings", value)) for name, value in changed.items()))
        folder = folders.get(known) or folders.setdefault(known, tmp_path_factory.mktemp("edit"))
        with tiny.tiny_bench(folder, talker, **changed) as bench:
            bench.run.start()
            edit.distil(bench, config or edit.Config())
        return bench

    return distilled


def table(bench: Any, stage: str, label: str, record: type[Any]) -> list[Any]:
    (path,) = [path for path, entry in bench.run.outputs(stage) if entry["label"] == label]
    return read_table(path, record)


def stage(bench: Any, name: str) -> list[Example]:
    return table(bench, "3_examples", f"tiny-{name}-train", Example)
