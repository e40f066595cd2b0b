"""The core stands alone: no package but those `pip install feints` brings can be imported here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
Bare = Callable[..., "subprocess.CompletedProcess[str]"]


def brought(name: str, extras: frozenset[str], found: dict[str, Distribution]) -> None:
    """Collect a package with all it needs, by the markers of this machine."""
    from packaging.requirements import Requirement

    package = distribution(name)
    key = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
    if key in found and not extras:
        return
    found[key] = package
    for line in package.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            brought(requirement.name, frozenset(requirement.extras), found)


@pytest.fixture(scope="module")
def core() -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    brought("feints", frozenset(), found)
    return found


@pytest.fixture(scope="module")
def bare(core: dict[str, Distribution], tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """Runs feints where only the core's packages can be found."""
    site = tmp_path_factory.mktemp("site")
    for name, package in core.items():
        if name == "feints":
            continue
        for top in {file.parts[0] for file in package.files or () if not file.parts[0].startswith("..")}:
            if top != "__pycache__" and not (site / top).exists():
                (site / top).symlink_to(Path(str(package.locate_file(top))))
    (site / "feints").symlink_to(ROOT / "src/feints")

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200", "NO_COLOR": "1"}
        words = [sys.executable, "-S", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)

    return lambda *arguments: run("-m", "feints", *arguments) if arguments[0] != "-c" else run(*arguments)


def test_the_core_is_at_most_forty_packages_and_none_of_them_trains(core: dict[str, Distribution]) -> None:
    assert len(core) - 1 <= 40, sorted(core)
    assert not {"torch", "transformers", "accelerate", "peft", "datasets", "tokenizers"} & set(core)


def test_torch_is_truly_out_of_reach(bare: Bare) -> None:
    done = bare("-c", "from importlib.util import find_spec; print(find_spec('torch'), find_spec('transformers'))")
    assert done.stdout.split() == ["None", "None"], done.stderr


def test_names_schema_and_plan(bare: Bare, tmp_path: Path) -> None:
    listed = bare("list")
    assert "plain_cot" in listed.stdout and "gsm8k" in listed.stdout, listed.stderr
    schema = bare("schema")
    assert "plain_cot" in json.dumps(json.loads(schema.stdout)), schema.stderr
    planned = bare("plan", ROOT / "recipes/quickstart.yaml", "--out", tmp_path / "run")
    assert "to send" in planned.stdout, planned.stderr


def test_verify(bare: Bare, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"gold": "1/2", "text": r"\boxed{\frac12}", "kind": "latex"}))
    done = bare("verify", tmp_path / "rows.jsonl", "--out", tmp_path / "out.jsonl")
    assert "1 correct" in done.stdout, done.stderr


def test_sample_here_train_elsewhere_show_anywhere(bare: Bare, small_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = bare("generate", small_recipe, "--out", out)
    assert "48 rationales of 24 problems" in done.stdout, done.stderr
    refused = bare("run", small_recipe, "--out", out)
    assert refused.returncode == 1 and "pip install 'feints[train]'" in refused.stderr
    assert "Traceback" not in refused.stderr
    for words in (("solve", out, "?"), ("lab", "pretrain", "--out", tmp_path / "nano")):
        told = bare(*words)
        assert told.returncode == 1 and "pip install 'feints[train]'" in told.stderr, told.stderr

    from io import StringIO

    from rich.console import Console

    from feints.pipeline import run_recipe
    from feints.recipe import load_recipe

    before = {path.name for path in (out / "2_verdicts").iterdir()}
    run_recipe(load_recipe(small_recipe), out, Console(file=StringIO()))
    assert {path.name for path in (out / "2_verdicts").iterdir()} == before
    shown = bare("show", out)
    assert "plain_cot" in shown.stdout and "95 % interval" in shown.stdout, shown.stderr


def test_recorded_completions_are_sampled_and_judged(bare: Bare, small_recipe: Path, tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} + 1 ?", "answer": str(n + 1)} for n in range(8)]
    for split, part in (("train", rows[:6]), ("test", rows[6:])):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, part)))
    texts = [{"question": row["question"], "text": f"The answer is {row['answer']}."} for row in rows]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, texts)))
    paths = f"{{train: {tmp_path}/train.jsonl, test: {tmp_path}/test.jsonl}}"
    settings = (
        f"task={{name: file, answer_kind: number, path: {paths}}}",
        f"teacher={{source: replay, path: {tmp_path}/texts.jsonl}}",
        "sampling.n=1",
        "curate.validation=0",
    )
    words = [word for setting in settings for word in ("--set", setting)]
    done = bare("generate", small_recipe, "--out", tmp_path / "run", *words)
    assert "6 rationales of 6 problems: 6 correct" in done.stdout, done.stderr
