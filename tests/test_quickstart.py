"""The quickstart recipe as a user meets it, at a tenth of its size: table, page in a real browser, answers, rerun."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from feints.records import Score
from feints.report.gather import gather

ROOT = Path(__file__).parents[1]
SMALLER = (
    "--set",
    "task.train=150",
    "--set",
    "task.test=100",
    "--set",
    "train.max_steps=20",
    "--set",
    "train.epochs=1",
)
Command = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def quickstart(command: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Folder of the run and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "quickstart"
    done = command("run", ROOT / "recipes/quickstart.yaml", "--out", out, *SMALLER)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_it_prints_a_table_with_intervals_and_the_path_of_the_page(quickstart: tuple[Path, str]) -> None:
    out, said = quickstart
    assert f"report: {out}/6_report/index.html" in said
    for solver in ("plain_cot", "answer_only", "untrained"):
        assert solver in said
    assert "[" in said and "%" in said


def test_every_solver_is_examined_on_the_same_problems(quickstart: tuple[Path, str]) -> None:
    out, _ = quickstart
    contents = gather(out)
    scores: dict[str, Score] = {score.solver: score for score in contents.scores}
    assert set(scores) == {"plain_cot", "answer_only", "untrained"}
    assert {score.total for score in scores.values()} == {100}
    assert all(score.low <= score.accuracy <= score.high for score in scores.values())
    assert contents.samples and contents.curves and contents.examples


def test_the_folder_tells_the_story_and_the_students_carry_cards(quickstart: tuple[Path, str]) -> None:
    out, _ = quickstart
    names = {path.name for path in out.iterdir()}
    assert {"recipe.yaml", "manifest.json", "1_rationales", "2_verdicts", "3_examples", "3_dropped"} <= names
    assert {"4_student", "5_answers", "6_report"} <= names
    (card,) = out.glob("4_student/plain_cot-solver-*/README.md")
    text = card.read_text(encoding="utf-8")
    assert "Terms of the teacher's output" in text and "| test |" in text and "lab" in text
    assert json.loads((out / "manifest.json").read_text(encoding="utf-8"))["recipe"]["task"]["train"] == 150


def test_a_trained_student_answers_a_question(quickstart: tuple[Path, str], command: Command) -> None:
    out, _ = quickstart
    done = command("solve", out, "Tom has 12 apples. Tom gets 7 more apples. How many apples does Tom have now?")
    assert done.returncode == 0, done.stderr
    assert "The answer is" in done.stdout


@pytest.mark.browser
def test_the_page_opens_in_a_real_browser(quickstart: tuple[Path, str]) -> None:
    chromium = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    if chromium is None:
        pytest.skip("no chromium on this machine; on Debian: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    page_file = quickstart[0] / "6_report" / "index.html"
    said: list[str] = []
    asked: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        text = page.inner_text("body")
        headings = page.locator("h1, h2").count()
        browser.close()
    assert said == []
    assert asked == [page_file.as_uri()]
    assert headings >= 5
    for words in ("plain_cot", "answer_only", "untrained", "[", "of 100"):
        assert words in text
