from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
Start = Callable[..., "subprocess.Popen[str]"]


@dataclass
class Served:
    """The lab's teacher behind its endpoint, in a process of its own."""

    process: subprocess.Popen[str]
    base_url: str

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/lab/stats") as reply:
            found: dict[str, Any] = json.load(reply)
            return found


@pytest.fixture
def serve(start_command: Start) -> Iterator[Callable[[], Served]]:
    running: list[subprocess.Popen[str]] = []

    def start() -> Served:
        process = start_command("lab", "serve", "--port", 0, "--latency", 0.25)
        running.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://\S+/v1", said)
        assert found, f"the server said {said!r}"
        return Served(process, found.group())

    yield start
    for process in running:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@dataclass
class Run:
    """The small recipe with a teacher over HTTP, in a folder of its own."""

    start_command: Start
    recipe: Path
    out: Path
    server: Served

    def start(self) -> subprocess.Popen[str]:
        settings = [
            "teacher.source=openai",
            "teacher.model=lab-teacher",
            "teacher.name=the-lab",
            f"teacher.base_url={self.server.base_url}",
            "teacher.concurrency_ceiling=4",
            "train.checkpoint_steps=1",
        ]
        words = [word for setting in settings for word in ("--set", setting)]
        return self.start_command("run", self.recipe, "--out", self.out, *words)

    def finish(self) -> None:
        process = self.start()
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert "plain_cot" in said

    def kill_when(self, happened: Callable[[], bool]) -> bool:
        """Start, kill -9 the moment something has happened; False if the run ended before."""
        process = self.start()
        while process.poll() is None:
            if happened():
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return True
            time.sleep(0.002)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        return False

    def has(self, pattern: str, count: int = 1) -> Callable[[], bool]:
        return lambda: len(list(self.out.glob(pattern))) >= count


def masked(text: str) -> str:
    """Without what may differ between two runs: when it was made, how long it trained, its teacher, its bill.

    A call that a kill cuts off may have been paid, so the bill counts it; ``billed`` is asked for that apart.
    """
    text = re.sub(r'(?s)<dl class="figures">\s*<div><dt>One right rationale.*?</dl>', "BILL", text)
    text = re.sub(r'(<tr><th scope="row">\w+</th>)(<td class="right">[\d,]+</td>){2}', r"\1PAID", text)
    text = re.sub(r">[\d,.]+ s</td>", ">TOOK</td>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "CREATED", text)
    return re.sub(r"http://127\.0\.0\.1:\d+/v1", "ADDRESS", text)


def billed(page: str) -> int:
    """The requests that a report says the teacher was sent."""
    found = re.search(r"<dt>Altogether</dt><dd>[^<]*<small>([\d,]+) requests", page)
    assert found, "the page has no bill"
    return int(found.group(1).replace(",", ""))


def outputs(folder: Path) -> dict[str, Any]:
    """The manifest's outputs, without the time each took and what was paid in vain."""
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())["outputs"]
    left = {"seconds", "unanswered"}
    return {name: {key: entry[key] for key in entry.keys() - left} for name, entry in found.items()}


def digests(folder: Path, pattern: str) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob(pattern))
    }


def replies(ledger: Path) -> list[tuple[Any, ...]]:
    """Keys of the completed replies in a ledger."""
    with sqlite3.connect(ledger) as base:
        return sorted(base.execute("select key from reply"))


def test_killed_anywhere_and_run_again_is_the_same_run(
    serve: Callable[[], Served], start_command: Start, small_recipe: Path, tmp_path: Path
) -> None:
    calm = Run(start_command, small_recipe, tmp_path / "calm/run", serve())
    calm.finish()
    assert calm.server.stats()["requests"] == 48

    hurt = Run(start_command, small_recipe, tmp_path / "hurt/run", serve())
    points = {
        "while sampling": lambda: hurt.server.stats()["completed"] >= 20,
        "before judging": hurt.has("1_rationales/*.parquet"),
        "after the first steps": hurt.has("4_student/plain_cot-seed0-*.unfinished/training/*"),
        "in the second epoch": hurt.has("4_student/plain_cot-seed0-*.unfinished/training/best*"),
        "before the first exam": hurt.has("4_student/plain_cot-solver*"),
        "while the control trains": hurt.has("4_student/answer_only-seed0-*.unfinished/training/*"),
        "before the report": hurt.has("5_answers/*.parquet", 3),
    }
    killed = {name: hurt.kill_when(happened) for name, happened in points.items()}
    assert all(killed.values()), f"the run ended before it could be killed: {killed}"
    hurt.finish()

    stats = hurt.server.stats()
    assert stats["distinct"] == 48
    assert stats["answered_again"] <= 4, "more was paid twice than was in flight"
    assert 48 <= stats["requests"] <= 52
    assert replies(hurt.out.parent / "ledger.sqlite") == replies(calm.out.parent / "ledger.sqlite")

    assert outputs(hurt.out) == outputs(calm.out)
    for pattern in ("0_problems/*", "1_rationales/*", "2_verdicts/*", "3_*/*", "5_answers/*"):
        assert digests(hurt.out, pattern) == digests(calm.out, pattern)
    weights = digests(calm.out, "4_student/**/*.safetensors")
    assert sum("student/model" in name for name in weights) == 4
    kept = {name: digest for name, digest in weights.items() if "/student/" in name}
    assert {name: digests(hurt.out, "4_student/**/*.safetensors").get(name) for name in kept} == kept
    assert not list(hurt.out.rglob("*.unfinished")) and not list(hurt.out.rglob("*.partial"))

    after, before = ((run.out / "6_report/index.html").read_text() for run in (hurt, calm))
    assert billed(before) == 48
    assert stats["requests"] <= billed(after) <= 52, "the calls that the kill cut off are on the bill, and no others"
    assert masked(after) == masked(before) and "BILL" in masked(after) and "PAID" in masked(after)

    hurt.finish()
    assert hurt.server.stats()["requests"] == stats["requests"]


def test_ctrl_c_while_training_says_how_to_go_on(
    serve: Callable[[], Served], start_command: Start, small_recipe: Path, tmp_path: Path
) -> None:
    run = Run(start_command, small_recipe, tmp_path / "run", serve())
    process = run.start()
    waited = run.has("4_student/*.unfinished/training/*")
    while not waited() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # a terminal tells the workers too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run the same command again" in errors and "Traceback" not in errors
    run.finish()
