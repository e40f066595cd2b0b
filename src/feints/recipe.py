"""Ceiling: a recipe, one YAML file that says everything a run does, composed of the settings of every stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from importlib.util import find_spec
from operator import or_
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator

from feints import methods, tasks
from feints.config import Document, Loc, Settings, dotted, place_of, read_document, validate
from feints.curate.settings import CurateSettings
from feints.errors import SettingsError, UnknownNameError
from feints.evaluate.settings import ExamSettings
from feints.generate.settings import BudgetSettings, SamplingSettings, StudentEndpointSettings, TeacherSettings
from feints.lab.teacher_settings import LabTeacherSettings
from feints.train.settings import StudentSettings, TrainSettings

LAB = "lab"


class LabTask(Settings):
    """Problems of the offline world, made as many as are asked for."""

    name: Literal["lab"] = Field(default="lab", description="The offline world.")
    train: int = Field(default=1000, ge=1, description="Training problems.")
    test: int = Field(default=1000, ge=1, description="Test problems, of one to four steps like those trained on.")
    longer: int = Field(default=0, ge=0, description="Test problems of more steps than ever trained on.")
    unseen: int = Field(default=0, ge=0, description="Test problems in held-out paraphrases and combinations.")
    seed: int = Field(default=0, ge=0, description="Of the problems.")


class _AnySettings(BaseModel):
    """Settings of a method that cannot be imported here."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Recipe(Settings):
    """One run. Every key not given has the default shown by `feints schema`."""

    name: str = Field(description="Of the run; its folder is runs/NAME unless --out says otherwise.")
    task: Any = Field(description="Problem set by name, with its settings.")
    teacher: TeacherSettings = Field(description="Who writes the rationales.")
    lab: LabTeacherSettings = Field(
        default_factory=LabTeacherSettings, description="How good the lab's teacher is; for source lab."
    )
    teacher_prompt: str | None = Field(
        default=None, description="YAML file of a prompt for plain rationales; short for prompts.teacher_cot."
    )
    prompts: dict[str, str] = Field(
        default_factory=dict, description="YAML files of prompts by the id of the method's prompt each stands in for."
    )
    sampling: SamplingSettings = Field(default=SamplingSettings(), description="How rationales are drawn.")
    budget: BudgetSettings = Field(default=BudgetSettings(), description="The most that may be spent.")
    decontaminate: int | None = Field(
        default=13,
        ge=3,
        description="Words in a row shared with a test problem that make a leak; null: equal texts only.",
    )
    curate: CurateSettings = Field(default=CurateSettings(), description="What is learnt from.")
    student: StudentSettings = Field(description="Who learns.")
    student_endpoint: StudentEndpointSettings | None = Field(
        default=None,
        description="vLLM or another endpoint that writes the student's own texts in rounds, its adapter reloaded each "
        "time; null: they are written here.",
    )
    method: Any = Field(description="Method by name, with its settings.")
    baselines: tuple[Any, ...] = Field(
        default=(), description="Further methods by name, with their settings, to be held against it in the same run."
    )
    train: TrainSettings = Field(default=TrainSettings(), description="How it learns.")
    exam: ExamSettings = Field(default=ExamSettings(), description="How it is examined.")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="Training seeds; each trains one student.")
    device: str | None = Field(
        default=None, description="Where students run: cpu, cuda, mps ...; null takes a GPU where there is one."
    )
    ledger: str | None = Field(
        default=None,
        description="Ledger of paid requests; default: ledger.sqlite beside the run folder, shared by runs.",
    )

    @field_validator("name")
    @classmethod
    def _names_one_folder(cls, name: str) -> str:
        if not name or {"/", "\\"} & set(name) or name in (".", ".."):
            raise ValueError(f"{name!r} is to name a folder in runs, beside the ledger; for another place give --out")
        return name

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{list(seeds)} names a seed twice; each trains one student")
        return seeds

    @field_validator("train")
    @classmethod
    def _seeds_are_listed(cls, train: TrainSettings) -> TrainSettings:
        if train.seed != TrainSettings.model_fields["seed"].default:
            raise ValueError(
                f"seed has no effect in a recipe, where each of `seeds` trains a student; set seeds: [{train.seed}]"
            )
        return train


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe with everything it names.

    Raises:
        SettingsError: lists every mistake of the file and of --set at once.
    """
    try:
        document = read_document(path, overrides)
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not a text in UTF-8 ({error}); save the recipe in this encoding") from error
    return validate(document, _typed(document))


def _typed(document: Document) -> type[Recipe]:
    """`Recipe` with the settings classes of the task and the method that the document names."""
    mistakes: list[str] = []
    fields: dict[str, Any] = {}
    for section, resolve in (("task", task_settings), ("method", method_settings)):
        if section in document.values:
            found = _resolved(document, (section,), document.values[section], resolve, mistakes)
            fields |= {section: (found, ...)} if found else {}
    baselines = document.values.get("baselines")
    if isinstance(baselines, list) and baselines:
        kinds = [
            _resolved(document, ("baselines", place), given, method_settings, mistakes)
            for place, given in enumerate(baselines)
        ]
        fields["baselines"] = (tuple[tuple(kind or Any for kind in kinds)], ...)  # type: ignore[misc]
    model = cast(type[Recipe], create_model("Recipe", __base__=Recipe, **fields)) if fields else Recipe
    if mistakes:
        try:
            validate(document, model)
        except SettingsError as error:
            mistakes += str(error).split("\n  ")[1:]
        raise SettingsError(f"{document.source} cannot be used:\n  " + "\n  ".join(dict.fromkeys(mistakes)))
    return model


def _resolved(
    document: Document, place: Loc, given: object, resolve: Callable[[str], type[Settings]], mistakes: list[str]
) -> type[Settings] | None:
    """Settings class of what stands at `place`, by its name; None and a mistake where that says nothing known."""
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(name, str):
        example = "[{name: ...}]" if len(place) > 1 else "{name: ...}"
        mistakes.append(f"{_where(document, place)} must hold a name, for example {place[0]}: {example}")
        return None
    try:
        return resolve(name)
    except UnknownNameError as error:
        mistakes.append(f"{_where(document, (*place, 'name'))}: {error}")
        return None


def _where(document: Document, place: Loc) -> str:
    """A place of the recipe in words; what stands in no line of the file was given on the command line."""
    line, _ = place_of(document, place)
    return f"line {line}: {dotted(place)}" if line else f"--set {dotted(place)}"


def task_settings(name: str) -> type[Settings]:
    """Settings class of a task, its name included."""
    if name == LAB:
        return LabTask
    try:
        config = tasks.find(name).Config
    except UnknownNameError:
        raise UnknownNameError("task", name, [LAB, *tasks.names()]) from None
    return _named(config, name)


def method_settings(name: str) -> type[Settings]:
    """Settings class of a method, its name included; any keys pass where torch is not installed."""
    if name not in methods.names():
        raise UnknownNameError("method", name, methods.names())
    if find_spec("torch") is None:
        # Data work needs no torch; a method's file does. Its settings are checked where it runs.
        return _named(_AnySettings, name)
    return _named(methods.find(name).Config, name)


def _named(config: type[Any], name: str) -> type[Settings]:
    fields: dict[str, Any] = {"name": (Literal[name], Field(default=name, description="Which one."))}
    model: Any = create_model(f"{name.title().replace('_', '')}Settings", __base__=config, **fields)
    return cast(type[Settings], model)


def recipe_schema() -> dict[str, Any]:
    """JSON schema of recipes for editors: every task and every method this installation knows."""
    task_models = tuple(task_settings(name) for name in [LAB, *tasks.names()])
    method_models = tuple(method_settings(name) for name in methods.names())
    one_of: Any = reduce(or_, method_models)
    said = {name: field.description for name, field in Recipe.model_fields.items()}
    fields: dict[str, Any] = {
        "task": (reduce(or_, task_models), Field(discriminator="name", description=said["task"])),
        "method": (one_of, Field(description=said["method"])),
        "baselines": (tuple[one_of, ...], Field(default=(), description=said["baselines"])),
    }
    return _described(create_model("Recipe", __base__=Recipe, **fields).model_json_schema(), said)


def _described(schema: dict[str, Any], said: dict[str, str | None]) -> dict[str, Any]:
    """A field of settings with a default has lost its description."""
    for name, text in said.items():
        schema["properties"][name].setdefault("description", text)
    return schema
