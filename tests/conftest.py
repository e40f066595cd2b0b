from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def _load(path: Path) -> ModuleType:
    """A module by path, since tests are imported without a package."""
    name = "feints_tests_" + "_".join(path.relative_to(Path(__file__).parent).with_suffix("").parts)
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def load_beside() -> Callable[[str], ModuleType]:
    """Loads a module of this folder, such as "sketches/edit"."""
    return lambda name: _load(Path(__file__).parent / f"{name}.py")


@pytest.fixture(scope="session")
def tiny(load_beside: Callable[[str], ModuleType]) -> ModuleType:
    """The module `tiny_bench`."""
    return load_beside("tiny_bench")


@pytest.fixture(scope="session")
def student(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained student."""
    return tiny.write_student(tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session")
def talker(tiny: ModuleType, student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a student that states an answer, nearly always a wrong one."""
    return tiny.write_talker(tmp_path_factory.mktemp("talker"), student)
