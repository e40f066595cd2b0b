from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def load_tree() -> object:
    spec = importlib.util.spec_from_file_location("readme_tree", ROOT / "tests/readme_tree.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tree_is_true() -> None:
    module = load_tree()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert module.written(text) == text, "run `make tree`"  # type: ignore[attr-defined]
    package = ROOT / "src/feints"
    on_disk = {
        p.name for p in package.iterdir() if p.name not in {"__init__.py", "__main__.py", "py.typed", "__pycache__"}
    }
    assert on_disk == set(module.ORDER)  # type: ignore[attr-defined]


def test_every_module_says_what_it_is() -> None:
    module = load_tree()
    silent = [str(p) for p in (ROOT / "src").rglob("*.py") if not module.first_line(p)]  # type: ignore[attr-defined]
    assert silent == []


def test_every_make_target_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("<!-- tree -->")[0]
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))
    assert named and named <= targets


def test_every_file_and_function_keeps_its_ceiling() -> None:
    module_limit, method_limit = 400, 300
    long = []
    for path in (ROOT / "src").rglob("*.py"):
        lines = path.read_text(encoding="utf-8").count("\n")
        limit = method_limit if path.parent.name == "methods" and path.name != "__init__.py" else module_limit
        if lines > limit:
            long.append(f"{path.relative_to(ROOT)}: {lines} lines")
    assert long == []
