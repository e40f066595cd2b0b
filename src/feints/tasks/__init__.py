"""The shelf of problem sets: one file each, yielding Problem records."""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from feints.config import load_added
from feints.errors import SettingsError, UnknownNameError
from feints.tasks.loading.problems import Problems, TaskConfig

ENTRY_POINTS = "feints.tasks"
"""Group under which other packages add tasks: name = "package.module"."""


class Task(Protocol):
    """What a file on this shelf offers: a settings class and a function that loads."""

    Config: type[TaskConfig]

    def load(self, config: TaskConfig) -> Problems:
        """Read, split and check the problems; `config` is an instance of this file's `Config`."""
        ...


def names() -> list[str]:
    """Every task by name: the files of this folder and what other packages add."""
    return sorted({*_own(), *_added()})


def find(name: str) -> Task:
    """The task called `name`; its module is imported only now. A file of this folder wins over a package's.

    Raises:
        UnknownNameError: nothing is called that.
        SettingsError: what an installed package offers under this name is not a task.
    """
    if name in _own():
        found = importlib.import_module(f"{__name__}.{name}")
    elif name in _added():
        found = load_added("task", _added()[name])
    else:
        raise UnknownNameError("task", name, names())
    for part in ("Config", "load"):
        if not hasattr(found, part):
            raise SettingsError(f"task {name!r} ({found}) has no {part}; a task offers Config and load(config)")
    task: Task = found
    return task


def _own() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg]


def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
