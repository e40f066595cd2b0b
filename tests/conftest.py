"""Small runs for tests: a tiny student, a tiny recipe, the command line as a process of its own."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest
from tests.commands import done
from tests.small_runs import counted, do

__all__ = ["counted", "do", "done"]

# How long an example takes says something of the machine's other work, nothing of the code.
hypothesis.settings.register_profile("feints", deadline=None)
hypothesis.settings.load_profile("feints")

# A shell's background job ignores Ctrl+C, and so would the processes it starts; tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _load(path: Path) -> ModuleType:
    """A module by path, since tests are imported without a package."""
    name = "feints_tests_" + "_".join(path.relative_to(Path(__file__).parent).with_suffix("").parts)
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


@pytest.fixture(scope="session")
def load_beside() -> Callable[[str], ModuleType]:
    """Loads a module of this folder, such as "tiny_bench"."""
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


# ---------------------------------------------------------------------------------------------- whole runs, small

RECIPE = """\
name: small
task: {name: lab, train: 24, test: 16}
teacher: {source: lab}
sampling: {n: 2, temperature: 0.7, max_tokens: 200}
decontaminate: null
student: {model: STUDENT}
method: {name: plain_cot}
train: {epochs: 2, batch_examples: 8, micro_tokens: 1024, learning_rate: 0.001, log_steps: 1}
exam: {max_tokens: 8}
"""


@pytest.fixture(scope="session")
def tiny_student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano student of random weights, small enough that a run takes seconds."""
    from feints.lab.nano import write_untrained

    folder = tmp_path_factory.mktemp("tiny") / "student"
    write_untrained(folder, seed=0, hidden=16, layers=1, heads=2)
    return folder


@pytest.fixture(scope="session")
def small_recipe(tiny_student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of 24 training and 16 test problems."""
    path = tmp_path_factory.mktemp("recipe") / "small.yaml"
    path.write_text(RECIPE.replace("STUDENT", str(tiny_student)), encoding="utf-8")
    return path


def _environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a command sees: one thread, no colours, wide lines."""
    plain = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **plain, **(more or {})}


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m feints ...` and returns what it said."""

    def run(*arguments: object, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "feints", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, env=_environment(env), timeout=300)

    return run


@pytest.fixture(scope="session")
def start_command() -> Callable[..., subprocess.Popen[str]]:
    """Starts `python -m feints ...` in a session of its own, to be killed."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "feints", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=_environment(), start_new_session=True)

    return start
