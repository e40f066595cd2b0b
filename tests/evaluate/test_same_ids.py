"""In an exam a student is asked, id by id, what it was trained on: through the pipeline, the disk and the solver."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from feints.evaluate.solver import load_solver
from feints.generate.local import LocalSource
from feints.pipeline import run_recipe
from feints.recipe import load_recipe
from feints.records import Example, Problem
from feints.runs import RunFolder
from feints.tables import read_table

pytestmark = pytest.mark.slow
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<turn>{{ m['role'] }}\n{{ m['content'] | trim }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
)


@pytest.mark.parametrize("chat", ["chat", "plain although it could chat", "base"])
def test_training_and_exam_see_the_same_ids(
    chat: str, tiny_student: Path, small_recipe: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    student = shutil.copytree(tiny_student, tmp_path / "student")
    if chat != "base":
        path = student / "tokenizer_config.json"
        settings = json.loads(path.read_text()) | {"chat_template": TEMPLATE}
        path.write_text(json.dumps(settings))
    overrides = [f"student.model={student}", "train.max_steps=1", "exam.max_tokens=1", "task.train=6", "task.test=1"]
    overrides += ["student.chat=false"] if "plain" in chat else []
    run_recipe(load_recipe(small_recipe, overrides), tmp_path / "run", Console(file=io.StringIO()))
    run = RunFolder.open(tmp_path / "run")
    learnt = {
        example.problem_id: example.prompt_ids
        for path, entry in run.outputs("3_examples")
        if entry["arm"] == "plain_cot"
        for example in read_table(path, Example)
    }
    problems = {
        problem.id: problem
        for path, entry in run.outputs("0_problems")
        if "set" not in entry
        for problem in read_table(path, Problem)
    }
    asked: list[tuple[int, ...]] = []
    own = LocalSource.prompt_ids
    monkeypatch.setattr(LocalSource, "prompt_ids", lambda self, request: asked.append(own(self, request)) or asked[-1])
    folder = next(
        path for path, entry in run.outputs("4_student") if entry.get("solver") and entry["arm"] == "plain_cot"
    )
    load_solver(shutil.move(folder, tmp_path / "elsewhere")).solve([problems[name] for name in learnt], 0)
    assert len(learnt) > 2
    assert set(asked) == set(learnt.values())
    starts = {ids[:3] for ids in learnt.values()}
    assert len(starts) == 1 if chat == "chat" else len(starts) > 1, "only a template begins every prompt alike"
