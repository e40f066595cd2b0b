"""Writes the file tree of README.md from the first line of each module's docstring; test_readme.py keeps it true."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
START, END = "<!-- tree -->", "<!-- /tree -->"
ORDER = (
    "generate", "verify", "curate", "train", "evaluate", "bench", "methods", "tasks", "lab", "report",
    "records.py", "errors.py", "tables.py", "config.py", "runs.py", "recipe.py", "arms.py", "preparation.py",
    "pipeline.py", "diagnosis.py", "cli.py",
)  # fmt: skip


def first_line(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def tree() -> str:
    """The tree as README.md shows it: stages in the order the data flows, each with its files."""
    package = ROOT / "src/feints"
    lines = ["src/feints/"]
    for name in ORDER:
        path = package / name
        if path.is_dir():
            lines.append(f"  {name + '/':<20} {first_line(path / '__init__.py')}")
            files = sorted(file for file in path.rglob("*.py") if file.name != "__init__.py")
            lines += [f"    {file.relative_to(path).as_posix():<18} {first_line(file)}" for file in files]
        else:
            lines.append(f"  {name:<20} {first_line(path)}")
    return "\n".join(lines)


def written(text: str) -> str:
    """README text with the tree between its marks replaced."""
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}\n```\n{tree()}\n```\n{END}{tail}"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(written(readme.read_text(encoding="utf-8")), encoding="utf-8")
