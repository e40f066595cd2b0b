"""Writes a page per method and one on the recipe from the files, when mkdocs builds, so that nothing can be missing."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PACKAGE = Path(__file__).parents[1] / "src" / "feints"
METHODS = PACKAGE / "methods"
UNTYPED = {"task": {"task": "TaskConfig", "task of the lab": "LabTask"}}
"""Headings and classes of the recipe's keys whose annotation names no class: they depend on a name in the recipe."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a method's Config, as it stands in the file."""

    name: str
    """The key in a recipe."""
    kind: str
    """Its type."""
    default: str
    """Its default, "required" where there is none."""
    meaning: str
    """The line of documentation under it."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add methods/index.md, methods/NAME.md for every file of the shelf, and recipe.md."""
    paths = method_files(METHODS)
    pages = {f"methods/{path.stem}.md": method_page(path) for path in paths}
    pages["methods/index.md"] = shelf_page(paths)
    pages["recipe.md"] = recipe_page(PACKAGE)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def method_files(folder: Path) -> list[Path]:
    """The methods: every public file of the folder, by name."""
    return sorted(path for path in folder.glob("*.py") if not path.stem.startswith("_"))


def method_page(path: Path) -> str:
    """A method's docstring and settings as Markdown; the file is read, not run, so torch is not needed."""
    module = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    said = ast.get_docstring(module)
    if not said:
        raise ValueError(f"{path} has no docstring; a method opens with its paper, its idea and its departures")
    first, _, rest = said.partition("\n")
    parts = [f"# {path.stem}", f"*{first.strip()}*", rest.strip()]
    config = next((node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Config"), None)
    if config is not None:
        parts += ["## Settings", _settings_table(settings(config))]
    parts.append(f"Source: `src/feints/methods/{path.name}`")
    return "\n\n".join(part for part in parts if part) + "\n"


def shelf_page(paths: list[Path]) -> str:
    """All methods with their first lines."""
    rows = []
    for path in paths:
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        rows.append(f"| [{path.stem}]({path.stem}.md) | {_cell(said.partition(chr(10))[0])} |")
    table = "\n".join(["| Method | What it is |", "| --- | --- |", *rows]) if rows else "The shelf is empty."
    return f"# Methods\n\nEach is one file in `src/feints/methods`, found by name. A recipe picks one.\n\n{table}\n"


def recipe_page(package: Path) -> str:
    """Every key of a recipe with its meaning, a section for each key that holds further ones."""
    classes = {
        node.name: node
        for path in sorted(package.rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8"), filename=str(path)).body
        if isinstance(node, ast.ClassDef)
    }
    recipe = classes["Recipe"]
    parts = [
        "# The recipe",
        "One YAML file says all of a run. What a task or a method has of its own is on the page of [tasks](tasks.md) and of "
        "each [method](methods/index.md); `feints schema` prints all of it for an editor.",
        _settings_table(settings(recipe)),
    ]
    for heading, node in _sections("", recipe, classes):
        parts += [f"## {heading}", (ast.get_docstring(node) or "").partition("\n")[0], _settings_table(settings(node))]
    return "\n\n".join(parts) + "\n"


def _sections(key: str, node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Iterator[tuple[str, ast.ClassDef]]:
    """Headings and classes of the keys below `key` that hold further keys, in order."""
    for field in node.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        place = f"{key}.{field.target.id}".removeprefix(".")
        named = [part.id for part in ast.walk(field.annotation) if isinstance(part, ast.Name)]
        found = UNTYPED.get(place, {place: name for name in named if name in classes and settings(classes[name])})
        for heading, name in found.items():
            yield heading, classes[name]
            yield from _sections(heading, classes[name], classes)


def settings(config: ast.ClassDef) -> list[Setting]:
    """Fields of the class in order, each with the string under it or the description in its `Field(...)`."""
    found = []
    for node, below in zip(config.body, [*config.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        said = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
        found.append(
            Setting(
                name=node.target.id,
                kind=ast.unparse(node.annotation),
                default=_default(node.value),
                meaning=str(said) or _described(node.value),
            )
        )
    return found


def _default(value: ast.expr | None) -> str:
    """The default as written; of `Field(...)` its first argument, `default` or `default_factory`."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in ("Field", "field"):
        named = {keyword.arg: keyword.value for keyword in value.keywords}
        inner = value.args[0] if value.args else named.get("default")
        if inner is None and "default_factory" in named:
            return ast.unparse(named["default_factory"]) + "()"
        value = inner
    if value is None or (isinstance(value, ast.Constant) and value.value is Ellipsis):
        return "required"
    return ast.unparse(value)


def _described(value: ast.expr | None) -> str:
    """What `Field(description="...")` says."""
    if not isinstance(value, ast.Call):
        return ""
    named = {keyword.arg: keyword.value for keyword in value.keywords}
    said = named.get("description")
    return str(said.value) if isinstance(said, ast.Constant) else ""


def _settings_table(found: list[Setting]) -> str:
    if not found:
        return "None."
    rows = [
        f"| `{s.name}` | {_code(s.kind)} | {_code(s.default) if s.default != 'required' else 'required'} "
        f"| {_cell(s.meaning)} |"
        for s in found
    ]
    return "\n".join(["| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |", *rows])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{_cell(text)}`"
