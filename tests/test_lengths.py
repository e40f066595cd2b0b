"""A reader holds a file and a function in view at once: 400 lines and 50, methods less (test_every_method.py)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_LINES, MOST_OF_A_FUNCTION = 400, 50
SOURCES, TESTS = (
    sorted(path for name in names for path in (ROOT / name).rglob("*.py"))
    for names in (("src", "benchmarks"), ("tests",))
)


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < MOST_LINES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_stay_short(path: Path) -> None:
    """Of tests only the files: a test may well list a page of cases or tell a long story in order."""
    lengths = {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not {name: lines for name, lines in lengths.items() if lines >= MOST_OF_A_FUNCTION}
