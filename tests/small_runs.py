"""Runs of the small recipe in this process, and what they asked and wrote."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from feints.lab.teacher import LabTeacher
from feints.pipeline import run_recipe
from feints.recipe import load_recipe
from feints.runs import RunFolder
from feints.tables import read_table

Do = Callable[..., Path]


class Counted(LabTeacher):
    """The lab teacher, counting what it is asked."""

    asked = 0

    def respond(self, body: dict[str, Any]) -> dict[str, Any]:
        Counted.asked += 1
        return super().respond(body)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Counted]]:
    Counted.asked = 0
    monkeypatch.setattr("feints.preparation.LabTeacher", Counted)
    yield Counted


@pytest.fixture
def do(small_recipe: Path, tmp_path: Path, counted: type[Counted]) -> Do:
    """Does the small recipe in this process; returns its folder."""

    def run(*overrides: str, out: str = "run") -> Path:
        Counted.asked = 0
        folder = tmp_path / out
        run_recipe(load_recipe(small_recipe, overrides), folder, Console(file=io.StringIO()))
        return folder

    return run


def rows(folder: Path, stage: str, record: type) -> list:
    return [row for path, _ in RunFolder.open(folder).outputs(stage) for row in read_table(path, record)]
