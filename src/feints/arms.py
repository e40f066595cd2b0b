"""Ceiling: the arms of a run, a solver each (method, control, baselines), and what each of them would refuse later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from feints import methods
from feints.config import Settings
from feints.errors import SettingsError, UnknownNameError
from feints.recipe import Recipe
from feints.records import Problem, content_hash

UNTRAINED = "untrained"
"""Arm of the student before any training."""
_LONGEST_MARK = 80
"""Characters of an arm's name that tell it from another arm of its method; files are named by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArm:
    """A solver that a run will make with every training seed."""

    name: str
    """In tables."""
    role: str
    """method, control or other."""
    explanation: str
    """Half a sentence."""
    method: methods.Method
    """The file that makes it."""
    config: Any
    """With these settings."""


def arms_of(recipe: Recipe) -> list[PlannedArm]:
    """The method, its control, and the baselines, in the order shown.

    Raises:
        SettingsError: two of them would stand under one name.
    """
    method = methods.find(recipe.method.name)
    wanted = [("method", method, recipe.method), ("control", method, method.control(recipe.method))]
    wanted += [("other", methods.find(config.name), config) for config in recipe.baselines]
    arms: dict[str, PlannedArm] = {}
    for role, file, config in wanted:
        if config is None:
            continue
        name, explanation = file.arm(config)
        if name in arms and arms[name].method is file:
            name += _unlike(arms[name].config, config)
        if name in arms or name == UNTRAINED:
            raise SettingsError(
                f"two arms of this run are called {name!r}; take the one out of baselines, or give it a setting that "
                "its method names differently"
            )
        arms[name] = PlannedArm(name=name, role=role, explanation=explanation, method=file, config=config)
    return list(arms.values())


def _unlike(first: Settings, second: Settings) -> str:
    """The settings of the second that differ from the first's, as the end of a name: two arms of a method have one."""
    said = "".join(_differences(first.model_dump(mode="json"), second.model_dump(mode="json")))
    said = re.sub(r"[^\w.-]+", "_", said)
    return said if len(said) <= _LONGEST_MARK else f"{said[:_LONGEST_MARK]}_{content_hash(said)[:8]}"


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    """The settings of the second that are not the first's; of a method inside, its settings."""
    for name, value in second.items():
        other = first.get(name)
        if isinstance(value, dict) and isinstance(other, dict) and value.get("name") == other.get("name"):
            yield from _differences(other, value)
        elif value != other:
            yield f"_{name}_{value}"


def check_start(recipe: Recipe, problems: Sequence[Problem]) -> None:
    """Refuse what an arm would refuse once the teacher is paid, as far as methods can be read here.

    Raises:
        FeintsError: settings that do not go together, another run that is not there, problems without solutions, a
            prompt of the user's that would stand in for none.
    """
    if find_spec("torch") is None:  # which the files of methods need
        return
    _check_prompts(recipe.prompts)
    start = methods.Start(exam=recipe.exam, seeds=recipe.seeds, problems=problems)
    for arm in arms_of(recipe):
        methods.asked(arm.method, arm.config, 0)  # which reads the settings of a method inside another
        methods.check(arm.method, arm.config, start)


def _check_prompts(ids: Iterable[str]) -> None:
    from feints.evaluate.error_kinds import JUDGE  # noqa: PLC0415  statistics take half of the start-up

    known: set[str] = set()
    for name in ids:
        known = known or {JUDGE.id}.union(*(methods.prompts_of(methods.find(one)) for one in methods.names()))
        if name not in known:
            raise UnknownNameError("prompt of a method", name, known)
