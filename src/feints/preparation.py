"""Ceiling: what a recipe names, opened: problems, teacher, ledger; needs torch only where a model runs here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from feints import tasks
from feints.curate.funnel import Funnel
from feints.curate.leak import remove_leaks
from feints.errors import MissingExtraError, SettingsError, UnknownNameError
from feints.generate.ledger import Ledger
from feints.generate.opening import check_prices, open_source
from feints.generate.scripted import ScriptedSource
from feints.generate.source import TextSource
from feints.lab import world
from feints.lab.teacher import LabTeacher
from feints.recipe import LAB, LabTask, Recipe
from feints.records import Dropped, Problem
from feints.runs import RunFolder, Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSets:
    """What is learnt from and what is examined on."""

    train: Stored[Problem]
    """Training problems, leaks removed."""
    tests: Mapping[str, Stored[Problem]]
    """Test sets by name."""
    funnel: Funnel
    """What became of the training problems."""
    notices: tuple[str, ...]
    """What was found on loading."""


def load_problems(recipe: Recipe, run: RunFolder) -> ProblemSets:
    """Load the task, hold back its test sets, and remove leaks before anything is paid."""
    if isinstance(recipe.task, LabTask):
        train, tests, notices = _lab_problems(recipe.task)
    else:
        loaded = tasks.find(recipe.task.name).load(recipe.task)
        train, tests, notices = (*loaded.train, *(loaded.validation or ())), loaded.tests, [loaded.notice()]
    wanted = tuple(tests) if recipe.exam.sets is None else recipe.exam.sets
    for name in wanted:
        if name not in tests:
            raise UnknownNameError("test set of this task", name, tests)
    if not train:
        raise SettingsError(f"task {recipe.task.name!r} has no training problems; give it a path that holds some")
    clean = remove_leaks(train, tests, ngram=recipe.decontaminate)
    settings = [recipe.task.model_dump(mode="json"), recipe.decontaminate]
    kept = run.table("0_problems", "train", Problem, [settings, [p.id for p in clean.kept]], lambda: clean.kept)
    run.table("3_dropped", "problems", Dropped, [kept.address], lambda: clean.dropped)
    limit = recipe.exam.limit
    stored = {}
    for name in wanted:
        asked = tests[name][:limit]
        stored[name] = run.table("0_problems", name, Problem, [settings, "test", name, limit], asked.__iter__, set=name)
    funnel = Funnel().start("in the task", "problems", len(train)).step("not leaked", len(clean.kept), clean.dropped)
    return ProblemSets(train=kept, tests=stored, funnel=funnel, notices=(*notices, clean.notice()))


def _lab_problems(task: LabTask) -> tuple[Sequence[Problem], Mapping[str, Sequence[Problem]], list[str]]:
    sizes = {"test": task.test, "longer": task.longer, "unseen": task.unseen}
    tests = {name: world.problems(name, size, task.seed) for name, size in sizes.items() if size}
    counts = ", ".join(f"{len(problems):,} {name}" for name, problems in tests.items())
    notice = f"lab (world {world.WORLD_VERSION}): {task.train:,} train, {counts}; splits are disjoint by construction"
    return world.problems("train", task.train, task.seed), tests, [notice]


def open_teacher(recipe: Recipe) -> TextSource:
    """The teacher a recipe names."""
    settings = recipe.teacher
    check_prices(settings, recipe.budget)
    if settings.source == LAB:
        teacher = LabTeacher(recipe.lab)
        return ScriptedSource.from_responder(teacher.respond, teacher.model)
    if settings.source == "transformers":
        if not settings.model:
            raise SettingsError(
                "teacher.source is transformers but teacher.model is not set; name a folder or a hub id"
            )
        require_torch("a teacher on this computer")
        from feints.generate.local import LocalSource  # noqa: PLC0415  torch only where a model runs here

        return LocalSource.from_folder(settings.model, device=recipe.device)
    return open_source(settings)


def require_torch(purpose: str) -> None:
    """Say how to install what training needs, where it is missing.

    Raises:
        MissingExtraError: torch or transformers is not installed.
    """
    for package in ("torch", "transformers", "accelerate", "peft"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train", purpose)


@contextmanager
def open_ledger(recipe: Recipe, out: Path) -> Iterator[Ledger]:
    """The ledger beside the run folder, shared by all runs there, unless the recipe names another."""
    path = Path(recipe.ledger) if recipe.ledger else out.parent / "ledger.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(path)
    try:
        yield ledger
    finally:
        ledger.close()
