"""Floor: YAML + --set a.b=c -> frozen settings; all mistakes reported together, near matches named."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from feints.errors import SettingsError

Loc = tuple[str | int, ...]
_LISTS = {"tuple_type", "list_type"}


class Settings(BaseModel):
    """Base of every settings class: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class CleanSettings(Settings):
    """Base of the settings of a method that has no profile but `clean`; a subclass says why."""

    only_clean: ClassVar[str]
    """Why there is no other, as half a sentence."""

    @model_validator(mode="before")
    @classmethod
    def _one_profile(cls, values: Any) -> Any:
        """Take `profile: clean` and refuse any other by name."""
        if not isinstance(values, dict) or "profile" not in values:
            return values
        if values["profile"] != "clean":
            raise ValueError(f"profile {values['profile']!r} does not exist: {cls.only_clean}; leave profile out")
        return {name: value for name, value in values.items() if name != "profile"}


class UnreleasedSettings(CleanSettings):
    """Base of the settings of a method whose code was never released."""

    only_clean = "no code of this method was released"


SettingsType = TypeVar("SettingsType", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed YAML file that remembers where each key stood."""

    source: str
    """File name for messages."""
    values: dict[str, Any]
    lines: Mapping[Loc, int]
    """Line (from 1) of every key path; paths set on the command line are absent."""
    overridden: frozenset[Loc]
    """Paths given by --set."""


def read_document(path: Path, overrides: Sequence[str] = ()) -> Document:
    """Parse `path` and apply overrides such as "train.epochs=3".

    Raises:
        SettingsError: the file is missing, is not YAML, repeats a key, or an override has no "=".
    """
    if not path.is_file():
        raise SettingsError(f"no recipe at {path}; give the path of a YAML file, for example recipes/quickstart.yaml")
    return parse_document(path.read_text(encoding="utf-8"), str(path), overrides)


def parse_document(text: str, source: str, overrides: Sequence[str] = ()) -> Document:
    """`read_document` for text already in memory."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # a date such as 2026-02-30 is a bare ValueError
        raise SettingsError(f"{source} is not valid YAML: {error}") from error
    if root is None:
        root, values = yaml.MappingNode("tag:yaml.org,2002:map", []), {}
    if not isinstance(values, dict):
        raise SettingsError(f"{source} holds a {type(values).__name__}; a recipe is a mapping of keys to values")
    lines: dict[Loc, int] = {}
    repeated: list[str] = []
    try:
        for location, line in _lines(root, ()):
            if location in lines:
                repeated.append(f"line {line}: {dotted(location)} is given twice (first on line {lines[location]})")
            lines[location] = line
    except RecursionError as error:
        raise SettingsError(f"{source}: a value holds itself, or is nested too deeply; write it out") from error
    if repeated:
        raise SettingsError(f"{source} cannot be used:\n  " + "\n  ".join(repeated))
    overridden = frozenset(_override(values, item) for item in overrides)
    return Document(source, values, lines, overridden)


def _lines(node: yaml.Node, location: Loc) -> Iterator[tuple[Loc, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*location, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _lines(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*location, index), value.start_mark.line + 1
            yield from _lines(value, (*location, index))


def _override(values: dict[str, Any], item: str) -> Loc:
    path, equals, text = item.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise SettingsError(f"--set {item!r} cannot be read; write --set key.inner=value, for example train.epochs=3")
    inner: Any = values
    place: list[str | int] = []
    for key in keys:
        place.append(_key(inner, key, item))
        if len(place) < len(keys):
            if isinstance(inner, dict) and not isinstance(inner.get(key), dict | list):
                inner[key] = {}
            inner = inner[place[-1]]
    try:
        inner[place[-1]] = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(f"--set {item!r}: the value is not valid YAML: {error}") from error
    return tuple(place)


def _key(inner: Any, key: str, item: str) -> str | int:
    """How `inner` is entered: by name, or a list by number."""
    if isinstance(inner, dict):
        return key
    if not isinstance(inner, list):
        raise SettingsError(f"--set {item!r}: {key} would stand inside of {inner!r}, which holds no settings")
    if not key.isdigit() or int(key) >= len(inner):
        raise SettingsError(
            f"--set {item!r}: {key} stands for an item of a list of {len(inner)}; name one by its number, from 0, or "
            "set the list as a whole"
        )
    return int(key)


def validate(document: Document, model: type[SettingsType]) -> SettingsType:
    """Check a document against `model`.

    Raises:
        SettingsError: lists every unknown key, missing key and wrong value at once, each with its line.
    """
    try:
        return model.model_validate(document.values)
    except ValidationError as error:
        problems = _problems(document, model, error)
    shown = "\n  ".join(problems)
    count = f"{len(problems)} mistake{'s' if len(problems) > 1 else ''}"
    raise SettingsError(f"{document.source} has {count}:\n  {shown}")


def load_added(kind: str, point: EntryPoint) -> Any:
    """What another package adds under an entry point.

    Raises:
        SettingsError: it cannot be imported, for whatever reason.
    """
    try:
        return point.load()
    except Exception as error:
        owner = f" of package {point.dist.name}" if point.dist else ""
        raise SettingsError(
            f"{kind} {point.name!r}{owner} ({point.value}) cannot be imported: {type(error).__name__}: {error}; mend "
            "or uninstall it"
        ) from error


def in_words(error: ValidationError, model: type[BaseModel]) -> str:
    """The mistakes of settings of `model` that stand in no document of their own, in one line."""
    said = []
    for item in error.errors():
        where = dotted(tuple(item["loc"])) or "the whole"
        if item["type"] == "extra_forbidden":
            said.append(f"{where} is an unknown key{_near(model, tuple(item['loc']))}")
        elif item["type"] == "missing":
            said.append(f"{where} is missing")
        else:
            said.append(f"{where}: {item['msg'][:1].lower()}{item['msg'][1:]} (found {item.get('input')!r})")
    return "; ".join(said)


def _problems(document: Document, model: type[BaseModel], error: ValidationError) -> list[str]:
    """Each mistake, in the order of the file; a value that may have several forms is one, told by its nearest form."""
    at: dict[Loc, list[Any]] = {}
    for item in error.errors():
        at.setdefault(_stands(document, item), []).append(item)
    inner = [place for place in at if not any(other != place and other[: len(place)] == place for other in at)]
    return [text for _, text in sorted(_problem(document, model, place, at[place]) for place in inner)]


def _stands(document: Document, item: Any) -> Loc:
    """Where a mistake is in what was given: a union adds parts that stand in no file, a missing key stands nowhere."""
    real: Loc = ()
    inner: Any = document.values
    for part in item["loc"]:
        listed = isinstance(inner, list) and isinstance(part, int)
        if listed or (isinstance(inner, dict) and part in inner):
            real, inner = (*real, part), inner[part]
    return (*real, item["loc"][-1]) if item["type"] == "missing" else real


def _problem(document: Document, model: type[BaseModel], place: Loc, items: Sequence[Any]) -> tuple[int, str]:
    line, where = place_of(document, place)
    kinds, found = {item["type"] for item in items}, items[0].get("input")
    if "extra_forbidden" in kinds:
        return line, f"{where} unknown key{_near(model, tuple(items[0]['loc']))}"
    if "missing" in kinds:
        return line, f"{where} is missing"
    if kinds <= _LISTS:
        return line, f"{where} must be a list, such as [{found}]"
    shown = "" if isinstance(found, dict) else f" (found {found!r})"
    return line, f"{where} {_said(items)}{shown}"


def _said(items: Sequence[Any]) -> str:
    """What the forms that a value may have say of it, in one sentence."""
    texts = ("Input should be a list" if item["type"] in _LISTS else item["msg"] for item in items)
    first, *others = dict.fromkeys(f"{text[:1].lower()}{text[1:]}" for text in texts)
    return " or ".join([first, *(other.removeprefix("input should be ") for other in others)])


def place_of(document: Document, place: Loc) -> tuple[int, str]:
    """Line of a place, or of what it would stand in, and how to call it."""
    name = dotted(place)
    if any(place[: len(given)] == given for given in document.overridden):
        return 0, f"--set {name}:"
    line = next((document.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in document.lines), 0)
    return line, f"line {line}: {name}:" if line else f"{name}:"


def dotted(location: Loc) -> str:
    """("train", "epochs") -> "train.epochs"."""
    return ".".join(str(part) for part in location)


def _near(model: type[BaseModel], location: Loc) -> str:
    """Suggest known keys at the place where `location` stands."""
    models: list[type[BaseModel]] = [model]
    for part in location[:-1]:
        following = [m for one in models if part in one.model_fields for m in _models(one.model_fields[str(part)])]
        models = following or models
    known = sorted({alias for one in models for alias in one.model_fields})
    near = difflib.get_close_matches(str(location[-1]), known, n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; known here: {', '.join(known)}"


def _models(field: Any) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    pending = [field.annotation]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
            if issubclass(annotation, BaseModel):
                found.append(annotation)
        else:
            pending.extend(typing.get_args(annotation))
    return found
