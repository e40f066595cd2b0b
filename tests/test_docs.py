from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from feints.generate.adaptive import AdaptiveSettings
from feints.generate.budget import Price
from feints.recipe import LabTask, Recipe
from feints.tasks.loading.problems import TaskConfig

ROOT = Path(__file__).parents[1]
METHODS = sorted(p.stem for p in (ROOT / "src/feints/methods").glob("*.py") if not p.stem.startswith("_"))

METHOD = '''"""Toy: a method for this test.

Paper: nobody, 2026. It learns | nothing.

Departures:

1. There is no paper.
"""
from torch import nothing_of_the_kind

class Config(Settings):
    """Settings of the toy."""
    rate: float = 0.5
    """How much, between 0 | and 1."""
    layers: int = Field(default=3, ge=1)
    """How deep."""
    names: tuple[str, ...] | None = Field(default_factory=tuple)
    seed: int
    """Where to start."""
    share: float = Field(default=0.5, description="How much of "
                         "the second task.")
'''


@pytest.fixture(scope="module")
def hooks() -> Iterator[ModuleType]:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    spec = importlib.util.spec_from_file_location("feints_docs_hooks", ROOT / "docs/hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_method_has_a_page_with_its_settings(site: Path) -> None:
    pages = {page.stem for page in (site / "methods").glob("*.html")} - {"index"}
    assert pages == set(METHODS)
    shelf = (site / "methods/index.html").read_text(encoding="utf-8")
    for name in METHODS:
        assert f'href="{name}.html"' in shelf
        source = (ROOT / f"src/feints/methods/{name}.py").read_text(encoding="utf-8")
        if "class Config" in source:
            assert "Settings" in (site / f"methods/{name}.html").read_text(encoding="utf-8")


def test_every_key_of_a_recipe_stands_on_its_page_with_its_meaning(hooks: ModuleType, site: Path) -> None:
    first, *others = hooks.recipe_page(hooks.PACKAGE).split("\n## ")
    sections = {part.partition("\n")[0]: part for part in others}
    expected = {
        "task": TaskConfig,
        "task of the lab": LabTask,
        "teacher.prices": Price,
        "sampling.adaptive": AdaptiveSettings,
    }
    for name, field in Recipe.model_fields.items():
        assert f"| `{name}` |" in first
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if hasattr(kind, "model_fields")]
        expected |= dict.fromkeys([name] * len(kinds), *kinds)
    for heading, model in expected.items():
        assert all(f"| `{name}` |" in sections[heading] for name in model.model_fields), heading
    assert {"lab", "lab.mistakes", "student.adapter"} <= set(sections) - set(expected)
    assert [line for part in (first, *others) for line in part.splitlines() if line.endswith("|  |")] == []
    assert "student_endpoint" in (site / "recipe.html").read_text(encoding="utf-8")


def test_every_written_page_is_built_and_reachable(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        built = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / built).is_file()
        assert f'href="{built.as_posix()}"' in home
    assert not list(site.rglob("hooks.py"))


def test_every_page_that_a_message_of_the_code_names_exists() -> None:
    code = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    named = {page for text in code for page in re.findall(r"docs/[\w/-]+\.md", text)}
    assert named and not [page for page in named if not (ROOT / page).is_file()]


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(https?:)?//[^\"]*", page.read_text("utf-8")
        )
        assert loaded == [], page


def test_a_method_page_is_made_without_running_the_file(hooks: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(METHOD, encoding="utf-8")
    (tmp_path / "_private.py").write_text("", encoding="utf-8")
    assert [path.stem for path in hooks.method_files(tmp_path)] == ["toy"]
    page = hooks.method_page(tmp_path / "toy.py")
    assert page.startswith("# toy\n\n*Toy: a method for this test.*")
    assert "1. There is no paper." in page
    assert "| `rate` | `float` | `0.5` | How much, between 0 \\| and 1. |" in page
    assert "| `layers` | `int` | `3` | How deep. |" in page
    assert "| `share` | `float` | `0.5` | How much of the second task. |" in page
    assert "| `names` | `tuple[str, ...] \\| None` | `tuple()` |  |" in page
    assert "| `seed` | `int` | required | Where to start. |" in page
    assert "[toy](toy.md)" in hooks.shelf_page([tmp_path / "toy.py"])


def test_a_method_without_a_docstring_stops_the_build(hooks: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "mute.py").write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"mute\.py has no docstring"):
        hooks.method_page(tmp_path / "mute.py")
