"""What the page shows of runs with stages, pairs and rounds, out of their folders."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from feints.pipeline import run_recipe
from feints.recipe import load_recipe
from feints.records import Example, Pair, Rationale
from feints.report.contents import RunContents
from feints.report.gather import gather
from feints.report.page import render_page
from feints.runs import RunFolder
from feints.tables import read_table

pytestmark = pytest.mark.slow
Do = Callable[..., tuple[RunFolder, RunContents]]


@pytest.fixture
def do(small_recipe: Path, tmp_path: Path) -> Do:
    """Does the small recipe with changes; returns its folder and what the page shows."""

    def run(*overrides: str) -> tuple[RunFolder, RunContents]:
        folder = tmp_path / "run"
        run_recipe(load_recipe(small_recipe, overrides), folder, Console(file=io.StringIO()))
        return RunFolder.open(folder), gather(folder)

    return run


def test_pairs_stages_and_gauges_of_key_tokens(do: Do) -> None:
    run, shown = do("method={name: edit, sources: sampled, second: krsl}", "sampling.n=6", "curate.validation=0.1")
    arm = shown.arms[0].name
    pairs = [p for path, e in run.outputs("3_examples") if "-pairs" in e["label"] for p in read_table(path, Pair)]
    stage2 = [
        example
        for path, entry in run.outputs("3_examples")
        if entry["arm"] == arm and entry["label"].endswith("stage2-train")
        for example in read_table(path, Example)
    ]
    assert shown.key_shares[0].arm == arm and shown.key_shares[0].pairs == len(stage2) / 2 <= len(pairs)
    assert len({pair.problem.id for pair in shown.pairs}) == len(shown.pairs) > 0
    for pair in shown.pairs:
        assert "".join(pair.right.tokens) != "".join(pair.wrong.tokens)
        assert any(weight < 0 for weight in pair.wrong.weights)
    labels = {curve.label for curve in shown.curves}
    assert {f"{arm}, stage1", f"{arm}, stage2"} <= labels
    keyed = {curve.label for curve in shown.curves if any(p.right_key is not None for p in curve.points)}
    assert f"{arm}, stage2" in keyed and f"{arm}, stage1" not in keyed
    assert f"{arm}, stage2" in {funnel.title for funnel in shown.further_funnels}
    assert "Key tokens, side by side" in render_page(shown)


def test_rounds_with_their_exams_and_funnels(do: Do, talker: Path) -> None:
    run, shown = do(
        "method={name: tailored, rounds: 2, samples: 1}",
        f"student.model={talker}",
        "exam={max_tokens: 16, on_the_way: true}",
        "curate.validation=0.15",
        "train.max_steps=2",
    )
    mine = [row for row in shown.rounds if row.arm == "tailored"]
    assert [row.brought.round for row in mine] == [1, 2, 3]
    assert [score.problem_set for row in mine for score in row.scores] == ["test", "test"]
    assert {"tailored, round 1", "tailored, round 2"} <= {curve.label for curve in shown.curves}
    assert "tailored, round 2" in {funnel.title for funnel in shown.further_funnels}
    asked = {
        r.id: r
        for path, entry in run.outputs("1_rationales")
        if entry.get("within") == "round_1"
        for r in read_table(path, Rationale)
        if r.author == run.manifest["teacher"]
    }
    assert mine[0].brought.requests <= len(asked)
    assert (run.path / "round_2/1_rationales").is_dir()
    assert shown.spend is not None and shown.spend.requests >= sum(row.brought.requests for row in mine)
    assert "Rounds" in render_page(shown)


def test_votes_against_samples_where_every_sample_is_kept(do: Do) -> None:
    run, shown = do("exam={max_tokens: 8, votes: 3, limit: 8}")
    labels = [line.label for line in shown.votes]
    assert labels[-3:] == ["plain_cot", "answer_only", "untrained"]
    assert "plain_cot: majority until decided" in labels and "untrained: pass@k" in labels
    [line] = [line for line in shown.votes if line.label == "plain_cot: majority"]
    assert [point.k for point in line.points] == [1, 2, 3]
    scores = {score.solver: score for score in shown.scores}
    assert line.points[-1].accuracy == pytest.approx(scores["plain_cot"].accuracy, abs=0.2)
    assert [point.samples for point in shown.votes[-1].points] == [3.0]
    assert len([entry for _, entry in run.outputs("6_report") if entry.get("votes")]) == 3
    assert do("exam={max_tokens: 8}")[1].votes == ()
