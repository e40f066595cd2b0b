"""What the tests of methods in rounds share: a run on the tiny bench, a scripted pupil, a watched teacher."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from feints.bench import asking
from feints.config import Settings
from feints.evaluate.rounds import RoundReport
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.methods import tailored
from feints.tables import read_table

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "qa"
Config = tailored.Config
Run = Callable[..., tuple[Any, Any]]


@pytest.fixture
def run(tiny: ModuleType, talker: Path, tmp_path: Path) -> Run:
    def go(config: Settings, folder: Path = tmp_path, student: Path = talker, **changed: Any) -> tuple[Any, Any]:
        with tiny.tiny_bench(folder, student, **changed) as bench:
            return bench, tailored.distil(bench, config)

    return go


@pytest.fixture
def pupil(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, int], str]], list[Request]]:
    """Lets a function of question and round trained in answer as the student; returns what it was asked."""

    def play(says: Callable[[str, int], str]) -> list[Request]:
        asked: list[Request] = []
        real = asking.opened

        def opened(bench: Any, who: Any) -> Any:
            if not isinstance(who, Path):
                return real(bench, who)
            trained = re.search(r"round_(\d)", str(who))

            def handler(request: Request) -> str:
                asked.append(request)
                return says(request.messages[-1].content, int(trained[1]) if trained else 0)

            return nullcontext(ScriptedSource(handler, f"pupil {who}"))

        monkeypatch.setattr(asking, "opened", opened)
        return asked

    return play


@pytest.fixture
def teacher() -> tuple[ScriptedSource, list[Request]]:
    """The lab's teacher, and everything it is asked."""
    from feints.lab.teacher import LabTeacher

    asked: list[Request] = []
    inner = ScriptedSource.from_responder(LabTeacher().respond, "lab")

    def handler(request: Request) -> Any:
        asked.append(request)
        return inner._handler(request)

    return ScriptedSource(handler, "watched lab"), asked


def rows(bench: Any, stage: str, record: Any, what: str = "") -> list[Any]:
    return [row for path, e in bench.run.outputs(stage) if what in e["label"] for row in read_table(path, record)]


def reports(bench: Any) -> list[RoundReport]:
    return sorted(rows(bench, "6_report", RoundReport), key=lambda row: row.round)


def gold(bench_problems: Any, question: str) -> str:
    return next(problem.answer for problem in bench_problems if problem.question in question)
