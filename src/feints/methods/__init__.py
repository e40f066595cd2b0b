"""The shelf of methods: one file each, found by name.

A method file holds, top to bottom: its citation, the idea and its numbered departures from the paper (module
docstring), a frozen `Config`, its prompts, losses and extra modules, `distil(bench, config)`, which reads like the
paper, and `control(config)`. Dropping the file here is the whole installation. Where it asks the teacher more than the
plain question it says so by `asks(config, sampled)`, where its student is not the usual kind, by `makes(config)`
(`bench.inner.Makes`), and what it can refuse before anything is paid it refuses in `check(config, start)`. This file
imports no torch, so that methods can be listed where only the core is installed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from feints.config import Settings, load_added
from feints.errors import SettingsError, UnknownNameError
from feints.generate.prompt import Prompt

if TYPE_CHECKING:
    from feints.bench import Bench
    from feints.evaluate.settings import ExamSettings
    from feints.evaluate.solver import Solver
    from feints.records import Problem

ENTRY_POINTS = "feints.methods"
"""Group under which other packages add methods: name = "package.module"."""
PARTS = ("Config", "distil", "control", "arm")


class Method(Protocol):
    """What a file on this shelf offers."""

    Config: type[Settings]
    """Its settings."""

    def distil(self, bench: Bench, config: Any, /) -> Solver:
        """Everything from sampling the teacher to a solver that answers problems."""
        ...

    def control(self, config: Any, /) -> Settings | None:
        """The same with the method's own signal switched off; None for a config that is a control itself."""
        ...

    def arm(self, config: Any, /) -> tuple[str, str]:
        """Name and half a sentence under which this config stands in tables."""
        ...


@dataclass(frozen=True, slots=True)
class Asks:
    """What a method asks of the teacher at most."""

    further: int = 0
    """Requests besides the plain question about every problem."""
    tokens: int | None = None
    """Tokens of these, sent and received, where something bounds them."""
    plain: bool = True
    """Whether the plain question is asked at all."""


@runtime_checkable
class Planned(Method, Protocol):
    """A method that asks the teacher something else than the plain question about every problem."""

    def asks(self, config: Any, sampled: int, /) -> Asks:
        """What it asks at most, the plain question being `sampled` requests."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a run begins with."""

    exam: ExamSettings
    """How its solvers answer."""
    seeds: Sequence[int]
    """Its training seeds."""
    problems: Sequence[Problem]
    """Training problems, leaks removed."""


@runtime_checkable
class Checked(Method, Protocol):
    """A method that can tell from the start of a run that it would refuse to go on later."""

    def check(self, config: Any, start: Start, /) -> None:
        """Refuse it now, before anything is paid.

        Raises:
            FeintsError: what it would raise later.
        """
        ...


def check(method: Method, config: Any, start: Start) -> None:
    """Let a method, and the one inside it (its setting `inner`), refuse what cannot end well, if its file can tell."""
    if isinstance(method, Checked):
        method.check(config, start)
    if inner := getattr(config, "inner", None):
        inside = find(inner["name"])
        check(inside, inside.Config(**{key: value for key, value in inner.items() if key != "name"}), start)


def prompts_of(method: Method) -> set[str]:
    """Ids of the prompts that a method's file holds or imports, alone or in a mapping: what a user's may replace."""
    held = [one for value in vars(method).values() for one in (value.values() if isinstance(value, dict) else (value,))]
    return {one.id for one in held if isinstance(one, Prompt)}


def asked(method: Method, config: Any, sampled: int) -> Asks:
    """What a method asks at most: the plain question alone where its file says nothing else."""
    return method.asks(config, sampled) if isinstance(method, Planned) else Asks()


def names() -> list[str]:
    """Every method by name: the files of this folder and what other packages add."""
    return sorted({*_own(), *_added()})


def find(name: str) -> Method:
    """The method called `name`; its file is imported only now. A file of this folder wins over a package's.

    Raises:
        UnknownNameError: nothing is called that.
        SettingsError: what an installed package offers under this name is not a method.
    """
    if name in _own():
        found: Any = importlib.import_module(f"{__name__}.{name}")
    elif name in _added():
        found = load_added("method", _added()[name])
    else:
        raise UnknownNameError("method", name, names())
    for part in PARTS:
        if not hasattr(found, part):
            raise SettingsError(f"method {name!r} ({found}) has no {part}; a method offers {', '.join(PARTS)}")
    method: Method = found
    return method


def _own() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}
