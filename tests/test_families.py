"""A run from top to bottom with students of other families and ways to train: nothing is made for one of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from transformers import (
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from feints.evaluate.solver import load_solver
from feints.generate.weights import quiet_transformers
from feints.pipeline import run_recipe
from feints.recipe import load_recipe
from feints.records import Example, Problem
from feints.report.gather import gather
from feints.runs import RunFolder
from feints.tables import read_table

pytestmark = pytest.mark.slow


def _model(family: str, words: int) -> Any:
    torch.manual_seed(0)
    small = {"vocab_size": words, "pad_token_id": 0, "eos_token_id": 2}
    if family == "t5":
        sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
        return T5ForConditionalGeneration(T5Config(**small, **sizes))
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(**small, n_embd=16, n_layer=1, n_head=2, n_positions=512))
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return Qwen2ForCausalLM(Qwen2Config(**small, **sizes, num_key_value_heads=1, tie_word_embeddings=True))


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("t5", []),
        ("gpt2", ["exam.votes=2"]),
        (
            "qwen2",
            [
                "student.adapter={kind: lora, rank: 2}",
                "student.gradient_checkpointing=true",
                "train.precision=bf16",
                "train.learning_rate=0.03",
            ],
        ),
    ],
)
def test_every_family_goes_the_whole_way(
    family: str, settings: list[str], tiny_student: Path, small_recipe: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_student)
    with quiet_transformers():
        _model(family, len(tokenizer)).save_pretrained(tmp_path / "student")
        tokenizer.save_pretrained(tmp_path / "student")
    overrides = [f"student.model={tmp_path / 'student'}", "task.train=12", "task.test=4", *settings]
    run_recipe(load_recipe(small_recipe, overrides), tmp_path / "run", Console(file=io.StringIO()))

    run, shown = RunFolder.open(tmp_path / "run"), gather(tmp_path / "run")
    assert {score.solver for score in shown.scores} == {"plain_cot", "answer_only", "untrained"}
    curves = {curve.label: [p.loss for p in curve.points if p.loss is not None] for curve in shown.curves}
    assert curves["plain_cot"][-1] < curves["plain_cot"][0]
    end = tokenizer.eos_token_id
    for path, entry in run.outputs("3_examples"):
        assert all(example.target_ids[-1] == end for example in read_table(path, Example)), entry["label"]
    folder = next(path for path, entry in run.outputs("4_student") if entry.get("solver"))
    assert list(folder.rglob("*.safetensors")) and not list(folder.rglob("*.bin"))
    problems = [p for path, e in run.outputs("0_problems") if "set" in e for p in read_table(path, Problem)]
    assert [answer.problem_id for answer in load_solver(folder).solve(problems, 0)] == [p.id for p in problems]


def test_the_card_of_a_student_with_layers_of_its_own_says_what_applies_them(
    small_recipe: Path, tmp_path: Path
) -> None:
    overrides = ["method={name: nat, width: 4}", "baselines=[{name: plain_cot}]", "exam.votes=2", "task.test=4"]
    run_recipe(load_recipe(small_recipe, overrides), tmp_path / "run", Console(file=io.StringIO()))
    for (arm, _), folder in RunFolder.open(tmp_path / "run").solvers().items():
        card = (folder / "README.md").read_text(encoding="utf-8")
        files = [path.relative_to(folder) for path in folder.rglob("nat.safetensors")]
        assert bool(files) is arm.startswith("nat") is ("reads the untrained base" in card)
        assert all(str(file) in card for file in files)
        assert ("each folder what `from_pretrained` reads" in card) is not bool(files)
