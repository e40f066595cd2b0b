from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def board() -> Iterator[ModuleType]:
    """The package benchmarks/board, as the scripts import it."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import board
        import board.figures
        import board.page
        import board.parts

        yield board
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def record(board: ModuleType, *figures: Any, **more: Any) -> dict[str, Any]:
    machine = {"cores": 2, "processor": "P", "memory_gib": 8.0, "system": "Linux", "python": "3.11.7", "load": 0.1}
    return {
        "command": "make bench PART=x", "commit": "abc", "date": "2026-11-29", "seconds": 60.0, "machine": machine,
        "versions": {"feints": {"torch": "2"}, "trl": {"torch": "2", "trl": "1.16"}}, "notes": [], "skipped": "",
        "figures": [figure.record() for figure in figures], **more,
    }  # fmt: skip


def test_page_and_readme_are_what_the_renderer_makes_of_the_recorded_results(board: ModuleType) -> None:
    results = board.page.load()
    assert set(results) <= {part.name for part in board.parts.PARTS}
    told = "run `python benchmarks/bench.py --tables`"
    assert (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8") == board.page.page(results), told
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert board.page.START in readme and board.page.END in readme
    assert board.page.written(readme, results) == readme, told


def test_ratios_are_paired_and_a_side_wins_only_in_every_round(board: ModuleType) -> None:
    figure = board.figures.Figure
    faster = figure(
        what="speed", unit="s", better="less", sides={"feints": [1.0, 2.0], "x": [2.0, 6.0], "y": [0.5, 1.0]}
    )
    assert faster.ratios("x") == [2.0, 3.0]
    assert (faster.verdict("x"), faster.verdict("y")) == ("ours", "theirs")
    mixed = figure(what="rate", unit="1/s", better="more", sides={"feints": [4.0, 2.0], "x": [2.0, 4.0]})
    assert mixed.ratios("x") == [2.0, 0.5] and mixed.verdict("x") == "even"
    counts = figure(what="sent again", unit="n", better="less", sides={"feints": [0.0], "x": [7.0], "y": []})
    assert counts.ratios("x") == [] and counts.verdict("x") == "ours" and counts.verdict("y") == "ours"
    read_only = figure(what="loss", unit="nats", better="", sides={"feints": [5.0], "x": [4.0]})
    assert read_only.ratios("x") == [] and read_only.verdict("x") == ""


def test_a_record_keeps_every_round_and_comes_back(board: ModuleType) -> None:
    sides = {"feints": [3.0, 1.0, 2.0], "x": [6.0, 3.0, 2.0]}
    figure = board.figures.Figure(what="w", unit="s", better="less", sides=sides, remarks={"x": "stubbed"})
    kept = json.loads(json.dumps(figure.record()))
    assert kept["sides"]["feints"] == {"rounds": [3.0, 1.0, 2.0], "minimum": 1.0, "median": 2.0, "maximum": 3.0}
    assert kept["ratios"]["x"] == {"rounds": [2.0, 3.0, 1.0], "minimum": 1.0, "median": 2.0, "maximum": 3.0}
    assert board.figures.Figure.read(kept).sides == sides


def test_the_page_says_where_a_peer_is_better_and_why_a_side_has_no_figure(board: ModuleType) -> None:
    sides = {"feints": [4.0, 5.0], "transformers": [2.0, 2.0], "hung": []}
    lost = board.figures.Figure(
        what="sampling", unit="s", better="less", sides=sides, remarks={"hung": "had not finished after 9 s"}
    )
    results = {"fuzz": record(board, lost)}
    page = board.page.page(results)
    assert "- Mutated answers: transformers in sampling, 2 beside 4.50 s." in page
    assert "| sampling, s | 4.50 (4 to 5) | transformers | 2 | 0.45 (0.40 to 0.50) x | **transformers** |" in page
    assert "had not finished after 9 s" in page
    assert "torch 2, trl 1.16 (trl)" not in page and "trl (trl) 1.16" in page
    assert "| 4.50 | **transformers 2 (0.45 x)**; hung had not finished after 9 s |" in board.page.short(results)
    assert "Not measured yet: `make bench PART=verify`" in page
    skipped = {"gpu": record(board, skipped="there is no GPU here.")}
    assert "Skipped: there is no GPU here. `make bench PART=x` measures it." in board.page.page(skipped)


def test_every_beginning_named_for_the_short_table_is_that_of_a_recorded_figure(board: ModuleType) -> None:
    results = board.page.load()
    assert results
    for part in board.parts.PARTS:
        told = [f"{f['what']}, {f['unit']}" for f in results.get(part.name, {}).get("figures", [])]
        for start in part.shown if told else ():
            assert any(one.startswith(start) for one in told), f"{part.name}: {start!r} picks none of {told}"


def test_a_part_is_due_until_it_is_recorded_for_the_files_it_depends_on() -> None:
    done = subprocess.run(
        [sys.executable, "benchmarks/bench.py", "--plan", "--part", "keysteps,programs"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "keysteps" in done.stdout and "of 2 parts to run" in done.stdout
    wrong = subprocess.run(
        [sys.executable, "benchmarks/bench.py", "--part", "sped"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert wrong.returncode != 0 and "no part is called sped; known: client, verify" in wrong.stderr


def test_a_failing_or_skipping_script_is_told_apart(board: ModuleType, tmp_path: Path) -> None:
    import bench

    part = board.parts.PARTS[0]
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('no card here')\nsys.exit(int(sys.argv[1]))\n", encoding="utf-8")
    kept = tmp_path / "kept.json"
    bench.run_step(part, 0, (str(script), "3"), kept)
    assert json.loads(kept.read_text())["skipped"] == "no card here"
    kept.unlink()
    with pytest.raises(SystemExit, match="ended with 1"):
        bench.run_step(part, 0, (str(script), "1"), kept)
    assert not kept.exists()


def test_a_bar_that_is_missed_is_recorded_not_hidden(board: ModuleType, tmp_path: Path) -> None:
    import bench

    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys\nfound = {'figures': [], 'notes': ['Above the bar']}\n"
        "json.dump(found, open(sys.argv[-1], 'w'))\nsys.exit(4)\n",
        encoding="utf-8",
    )
    bench.run_step(board.parts.PARTS[0], 0, (str(script),), tmp_path / "kept.json")
    assert json.loads((tmp_path / "kept.json").read_text())["notes"] == ["Above the bar"]


def test_every_script_a_part_names_exists_and_every_peer_is_pinned(board: ModuleType) -> None:
    for part in board.parts.PARTS:
        assert all((ROOT / "benchmarks" / step[0]).is_file() for step in part.steps), part.name
        for peer in part.peers:
            lines = (ROOT / f"benchmarks/peers/{peer}.txt").read_text(encoding="utf-8").splitlines()
            pins = [line for line in lines if line and not line.startswith("#")]
            assert pins and all("==" in pin for pin in pins), peer
        assert all((ROOT / place).exists() for place in part.covers), part.name
