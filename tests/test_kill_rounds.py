"""Rounds over real HTTP with faults, killed in every stage of every round: the student of the undisturbed run."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.slow
FAULTS = "429=0.04,500=0.04,cut=0.03,garbage=0.02"
RECIPE = """\
name: rounds
task: {name: lab, train: 20, test: 8}
teacher: {source: lab}
sampling: {n: 2, temperature: 0.7, max_tokens: 200}
decontaminate: null
student: {model: STUDENT}
curate: {validation: 0.2}
method: {name: tailored, rounds: 2, samples: 2, feedback: untailored}  # the arm without a control: half the time
train: {epochs: 2, batch_examples: 8, micro_tokens: 1024, learning_rate: 0.003, log_steps: 1, rows: packed}
exam: {max_tokens: 16}
"""


@pytest.fixture
def serve(start_command: Callable[..., Any], load_beside: Callable[[str], ModuleType]) -> Iterator[Callable[..., Any]]:
    kill, running = load_beside("test_kill"), []

    def start(*options: object) -> Any:
        process = start_command("lab", "serve", "--port", 0, *options)
        running.append(process)
        said = process.stdout.readline()
        found = re.search(r"http://\S+/v1", said)
        assert found, f"the server said {said!r}"
        return kill.Served(process, found.group())

    yield start
    for process in running:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_killed_in_every_stage_of_every_round_under_faults(
    serve: Callable[..., Any],
    start_command: Callable[..., Any],
    load_beside: Callable[[str], ModuleType],
    talker: Path,
    tmp_path: Path,
) -> None:
    kill = load_beside("test_kill")
    recipe = tmp_path / "rounds.yaml"
    recipe.write_text(RECIPE.replace("STUDENT", str(talker)), encoding="utf-8")

    class Run(kill.Run):  # type: ignore[name-defined, misc]
        def finish(self) -> None:
            process = self.start()
            said, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors
            assert "untailored" in said

    calm = Run(start_command, recipe, tmp_path / "calm/run", serve())
    calm.finish()
    hurt = Run(start_command, recipe, tmp_path / "hurt/run", serve("--latency", 0.1, "--fail", FAULTS))
    asked = calm.server.stats()["distinct"]
    points = {
        "while the student sits its first exam": hurt.has("0_problems/*.parquet", 2),
        "while the teacher answers": lambda: hurt.server.stats()["completed"] >= 10,
        "while its answers are judged": hurt.has("round_1/1_rationales/feedback*"),
        "while the first round trains": hurt.has("round_1/4_student/*.unfinished/training/*"),
        "in the second exam": hurt.has("round_1/6_report/*.parquet"),
        "while the teacher answers again": hurt.has("round_2/2_verdicts/exam*"),
        "while the second round trains": hurt.has("round_2/4_student/*.unfinished/training/*"),
        "in the last exam": hurt.has("round_2/6_report/*.parquet"),
        "before the report": hurt.has("4_student/*solver*"),
    }
    killed = {name: hurt.kill_when(happened) for name, happened in points.items()}
    assert all(killed.values()), f"the run ended before it could be killed: {killed}"
    hurt.finish()

    stats = hurt.server.stats()
    assert stats["distinct"] == asked > 40
    assert set(stats["statuses"]) - {"ok", "hung_up", "499"}, "no fault was met"
    assert stats["answered_again"] <= 8, "more was paid twice than was in flight"
    assert kill.replies(hurt.out.parent / "ledger.sqlite") == kill.replies(calm.out.parent / "ledger.sqlite")
    assert kill.outputs(hurt.out) == kill.outputs(calm.out)
    noted = json.loads((hurt.out / "manifest.json").read_text())["outputs"].values()
    assert any(entry.get("unanswered") for entry in noted), "what faults and kills cost in vain is told"
    for pattern in ("**/1_rationales/*", "**/2_verdicts/*", "**/3_*/*", "**/5_answers/*", "**/6_report/*.parquet"):
        tables = kill.digests(calm.out, pattern)
        assert tables and kill.digests(hurt.out, pattern) == tables, pattern
    students = kill.digests(calm.out, "**/4_student/**/student/*.safetensors")
    assert len(students) == 3, "two rounds and the solver"
    assert kill.digests(hurt.out, "**/4_student/**/student/*.safetensors") == students
    assert not list(hurt.out.rglob("*.unfinished")) and not list(hurt.out.rglob("*.partial"))


def test_what_a_killed_run_left_half_written_is_cleared_in_every_folder(tmp_path: Path) -> None:
    from feints.preparation import open_run

    with open_run(tmp_path / "run"):
        pass
    for place in (".", "1_rationales", "round_1/2_verdicts", "final_exam/1_rationales", "round_1/round_2/3_dropped"):
        folder = tmp_path / "run" / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".exam-1.parquet.20e7.partial").write_bytes(b"half")
    with open_run(tmp_path / "run"):
        assert not list((tmp_path / "run").rglob("*.partial"))
