from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from feints.errors import SettingsError
from feints.recipe import Recipe, load_recipe, recipe_schema

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))


def refusals(value: Any, schema: dict[str, Any], whole: dict[str, Any], where: str = "") -> list[str]:
    """What an editor would underline: a small reading of the JSON schema, enough for keys, types and choices."""
    if "$ref" in schema:
        return refusals(value, whole["$defs"][schema["$ref"].rpartition("/")[2]], whole, where)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            found = [refusals(value, option, whole, where) for option in schema[several]]
            return [] if any(not one for one in found) else [f"{where}: fits none of {len(found)} forms: {found}"]
    if "const" in schema:
        return [] if value == schema["const"] else [f"{where}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r} is not among {schema['enum']}"]
    if not _is_a(value, schema.get("type")):
        return [f"{where}: {value!r} is no {schema['type']}"]
    if not isinstance(value, dict):
        return []
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    found = [f"{where}.{key} is missing" for key in schema.get("required", ()) if key not in value]
    for key, inner in value.items():
        if key in properties:
            found += refusals(inner, properties[key], whole, f"{where}.{key}")
        elif more is False:
            found.append(f"{where}.{key}: unknown key")
        elif isinstance(more, dict):
            found += refusals(inner, more, whole, f"{where}.{key}")
    return found


def _is_a(value: Any, kind: str | None) -> bool:
    if kind in ("integer", "number"):
        return isinstance(value, int if kind == "integer" else (int, float)) and not isinstance(value, bool)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return kind is None or isinstance(value, kinds[kind])


def test_there_are_recipes() -> None:
    assert "quickstart" in {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_loads_and_names_itself(path: Path) -> None:
    recipe = load_recipe(path)
    assert isinstance(recipe, Recipe) and recipe.name == path.stem
    assert path.read_text(encoding="utf-8").startswith("# "), "a recipe opens with what it is for"


def undescribed(part: Any, whole: dict[str, Any], where: str = "") -> list[str]:
    """Every key of the schema that says nothing of what it means, neither itself nor where its value is described."""
    found = []
    for name, inner in part.get("properties", {}).items():
        named = whole["$defs"][inner["$ref"].rpartition("/")[2]] if "$ref" in inner else {}
        found += [] if inner.get("description") or named.get("description") else [f"{where}.{name}"]
    return found


def test_every_key_of_a_recipe_is_described() -> None:
    schema = recipe_schema()
    parts = {"recipe": schema, **schema["$defs"]}
    assert [one for name, part in parts.items() for one in undescribed(part, schema, name)] == []
    assert {"mistakes", "lucky"} <= set(schema["$defs"]["LabTeacherSettings"]["properties"])


def leaves(value: Any, place: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every key that holds no further keys."""
    if not isinstance(value, dict) or not value:
        return [place]
    return [leaf for key, inner in value.items() for leaf in leaves(inner, (*place, key))]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_only_what_differs_from_the_defaults(path: Path, tmp_path: Path) -> None:
    values, whole = yaml.safe_load(path.read_text(encoding="utf-8")), load_recipe(path)
    fewer = tmp_path / "fewer.yaml"
    for place in leaves(values):
        if place[-1] == "source":
            continue  # says what the keys beside it mean
        cut = copy.deepcopy(values)
        inner = cut
        for key in place[:-1]:
            inner = inner[key]
        del inner[place[-1]]
        fewer.write_text(yaml.safe_dump(cut), encoding="utf-8")
        try:
            without = load_recipe(fewer)
        except SettingsError:
            continue
        assert without.model_dump() != whole.model_dump(), f"{'.'.join(place)} repeats the default"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_slip_in_a_recipe_is_found(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(text + "\nsedds: [1]\n", encoding="utf-8")
    with pytest.raises(
        SettingsError, match=rf"line {len(text.splitlines()) + 2}: sedds: unknown key; did you mean seeds"
    ):
        load_recipe(wrong)
    with pytest.raises(SettingsError, match="--set train.epohcs: unknown key; did you mean epochs"):
        load_recipe(path, ["train.epohcs=1"])


def test_the_schema_describes_every_key() -> None:
    assert [name for name, field in recipe_schema()["properties"].items() if not field.get("description")] == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_schema_accepts_a_recipe_and_refuses_its_slips(path: Path) -> None:
    schema = recipe_schema()
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert refusals(values, schema, schema) == []
    assert refusals({**values, "sedds": [1]}, schema, schema) == [".sedds: unknown key"]
    assert refusals({**values, "task": {"name": "nowhere"}}, schema, schema)
    assert refusals({**values, "method": {**values["method"], "targit": 1}}, schema, schema)
    assert refusals({key: value for key, value in values.items() if key != "student"}, schema, schema)
