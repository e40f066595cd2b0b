"""Examples of a run as files for other trainers: the columns each reads, and one step of TRL where it is installed."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console
from tokenizers import Tokenizer

from feints.curate.released import whole_and_padded
from feints.errors import DataError, UnknownNameError
from feints.pipeline import run_recipe
from feints.recipe import load_recipe
from feints.records import Example, Role
from feints.report.export import IGNORED, Text, export_run, pairs
from feints.report.texts import Lessons
from feints.runs import RunFolder
from feints.tables import read_table, write_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(small_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of EDIT."""
    folder = tmp_path_factory.mktemp("export")
    recipe = yaml.safe_load(small_recipe.read_text(encoding="utf-8"))
    recipe["method"] = {"name": "edit", "gamma": 0.25}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run_recipe(load_recipe(folder / "recipe.yaml"), folder / "run", Console(file=StringIO()))
    return folder / "run"


@pytest.fixture(scope="module")
def arm(run: Path) -> str:
    return str(RunFolder.open(run).manifest["arms"][0]["name"])


@pytest.fixture(scope="module")
def examples(run: Path, arm: str) -> dict[str, list[Example]]:
    """By stage: what was trained on."""
    return {
        str(entry["label"]).removeprefix(f"{arm}-").removesuffix("-train"): read_table(path, Example)
        for path, entry in RunFolder.open(run).outputs("3_examples")
        if str(entry["label"]).endswith("-train")
    }


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_jsonl_says_everything(run: Path, arm: str, examples: dict[str, list[Example]], tmp_path: Path) -> None:
    files = export_run(run, "jsonl", tmp_path)
    assert {path.name for path in files} == {
        *(f"{arm}-{stage}-{part}.jsonl" for stage in ("stage1", "stage2") for part in ("train", "validation")),
        "EXPORT.md",
    }
    for stage, expected in examples.items():
        found = rows(tmp_path / f"{arm}-{stage}-train.jsonl")
        assert [(tuple(r["prompt_ids"]), tuple(r["completion_ids"]), tuple(r["token_weights"])) for r in found] == [
            (e.prompt_ids, e.target_ids, e.weights) for e in expected
        ]
        assert [(r["id"], r["group"], r["role"]) for r in found] == [(e.id, e.group, e.role) for e in expected]
        assert all(r["prompt"].endswith("Let's think step by step.\n") for r in found)
        assert all(r["completion"] and "</s>" not in r["completion"] for r in found)
    assert "| nothing |" in (tmp_path / "EXPORT.md").read_text(encoding="utf-8")


def test_hf_is_parquet_with_labels_and_weights(
    run: Path, arm: str, examples: dict[str, list[Example]], tmp_path: Path
) -> None:
    export_run(run, "hf", tmp_path)
    found = pq.read_table(tmp_path / f"{arm}-stage2-train.parquet").to_pylist()
    assert len(found) == len(examples["stage2"])
    for row, example in zip(found, examples["stage2"], strict=True):
        assert tuple(row["input_ids"]) == (*example.prompt_ids, *example.target_ids)
        assert tuple(row["token_weights"]) == example.weights
        assert [label != IGNORED for label in row["labels"]] == [weight > 0 for weight in example.weights]


def trl_files(run: Path, arm: str, out: Path) -> tuple[Path, Path]:
    export_run(run, "trl", out)
    return out / f"{arm}-stage2-train.sft.jsonl", out / f"{arm}-stage2-train.preference.jsonl"


def test_trl_columns(run: Path, arm: str, examples: dict[str, list[Example]], tmp_path: Path) -> None:
    sft, preference = trl_files(run, arm, tmp_path)
    expected = [e for e in examples["stage2"] if e.role is Role.RIGHT]
    found = rows(sft)
    assert len(found) == len(expected), "a wrong text pulls nothing, and labels cannot push"
    for row, example in zip(found, expected, strict=True):
        assert set(row) == {"input_ids", "labels", "token_weights"}
        assert row["labels"] == [
            t if w > 0 else IGNORED for t, w in zip(row["input_ids"], example.weights, strict=True)
        ]
    sides = rows(preference)
    assert all(set(row) == {"prompt", "chosen", "rejected"} for row in sides)
    assert len(sides) == len({e.group for e in examples["stage2"]})
    assert all(row["chosen"] != row["rejected"] for row in sides)
    said = (tmp_path / "EXPORT.md").read_text(encoding="utf-8")
    assert f"{len(examples['stage2']) - len(expected)} texts in which nothing pulls" in said


def test_llamafactory_reads_whole_texts_and_pairs(
    run: Path, arm: str, examples: dict[str, list[Example]], tmp_path: Path
) -> None:
    files = export_run(run, "llamafactory", tmp_path)
    info = json.loads((tmp_path / "dataset_info.json").read_text(encoding="utf-8"))
    assert {entry["file_name"] for entry in info.values()} == {p.name for p in files if p.suffix == ".json"} - {
        "dataset_info.json"
    }
    for entry in info.values():
        table = json.loads((tmp_path / entry["file_name"]).read_text(encoding="utf-8"))
        assert table and set(entry["columns"].values()) == set(table[0])
        assert entry.get("ranking", False) == entry["file_name"].endswith(".pairs.json")
    whole = json.loads((tmp_path / f"{arm}-stage1-train.json").read_text(encoding="utf-8"))
    assert len(whole) == len(examples["stage1"])
    assert not (tmp_path / f"{arm}-stage2-train.json").exists(), "key tokens cannot be said in text"


def test_axolotl_is_tokenised_or_pairs(run: Path, arm: str, tmp_path: Path) -> None:
    export_run(run, "axolotl", tmp_path)
    found = rows(tmp_path / f"{arm}-stage2-train.tokenised.jsonl")
    assert all(set(row) == {"input_ids", "labels", "attention_mask"} for row in found)
    assert all(len(row["input_ids"]) == len(row["labels"]) == len(row["attention_mask"]) for row in found)
    assert rows(tmp_path / f"{arm}-stage2-train.preference.jsonl")


@pytest.fixture(scope="module")
def rounds(small_recipe: Path, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two rounds of feedback with two seeds, in which another method does the fitting."""
    folder = tmp_path_factory.mktemp("rounds")
    recipe = yaml.safe_load(small_recipe.read_text(encoding="utf-8"))
    recipe["method"] = {"name": "tailored", "rounds": 2, "samples": 1, "inner": {"name": "plain_cot"}}
    recipe |= {"student": {"model": str(talker)}, "seeds": [0, 1]}
    recipe["train"] |= {"epochs": 1}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run_recipe(load_recipe(folder / "recipe.yaml"), folder / "run", Console(file=StringIO()))
    return folder / "run"


def test_every_round_and_seed_has_a_file_of_its_own(rounds: Path, tmp_path: Path) -> None:
    opened = RunFolder.open(rounds)
    for arm in (str(entry["name"]) for entry in opened.manifest["arms"][:2]):
        learnt = [
            [row.id for row in read_table(path, Example)]
            for path, entry in opened.outputs("3_examples")
            if arm in {user for user, _ in entry["used_by"]} and entry["label"].endswith(("-train", "-validation"))
        ]
        export_run(rounds, "jsonl", tmp_path / arm, arm)
        found = {path.stem: [row["id"] for row in rows(path)] for path in (tmp_path / arm).glob("*.jsonl")}
        assert sorted(found.values()) == sorted(learnt) and len(learnt) >= 6
        assert {f"{arm}-round_1-train", f"{arm}-round_2-seed0-train", f"{arm}-round_2-seed1-train"} <= set(found)


def test_an_arm_has_what_another_made_for_both(run: Path, tmp_path: Path) -> None:
    opened = RunFolder.open(run)
    control = str(opened.manifest["arms"][1]["name"])
    shared = [entry for _, entry in opened.outputs("3_examples") if entry["label"].endswith("-stage1-train")]
    assert [{user for user, _ in entry["used_by"]} >= {entry["arm"], control} for entry in shared] == [True]
    export_run(run, "jsonl", tmp_path, control)
    assert rows(tmp_path / f"{control}-stage1-train.jsonl") and rows(tmp_path / f"{control}-stage2-train.jsonl")


def test_padding_that_is_learnt_is_no_text(
    run: Path, arm: str, examples: dict[str, list[Example]], tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    opened = RunFolder.open(tmp_path / "run")
    student = next(path for path, entry in opened.outputs("4_student") if entry.get("name") == "stage1")
    pad = Tokenizer.from_file(str(student / "student/tokenizer.json")).token_to_id("<pad>")
    padded = whole_and_padded(examples["stage1"], pad)
    assert {example.target_ids[-1] == pad for example in padded} == {True, False}, "the longest has no padding"
    [table] = [path for path, entry in opened.outputs("3_examples") if entry["label"] == f"{arm}-stage1-train"]
    write_table(table, Example, padded)
    for source, out in ((run, "plain"), (tmp_path / "run", "padded")):
        export_run(source, "jsonl", tmp_path / out)
    plain, found = (rows(tmp_path / out / f"{arm}-stage1-train.jsonl") for out in ("plain", "padded"))
    assert [row["completion"] for row in found] == [row["completion"] for row in plain]
    assert [tuple(row["completion_ids"]) for row in found] == [example.target_ids for example in padded]


def test_what_an_encoder_decoder_reads_stands_apart_or_is_refused(run: Path, arm: str, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    for file in (tmp_path / "run").rglob("student/config.json"):
        config = json.loads(file.read_text(encoding="utf-8")) | {"is_encoder_decoder": True}
        file.write_text(json.dumps(config), encoding="utf-8")
    for form in ("trl", "axolotl"):
        with pytest.raises(DataError, match=f"is an encoder-decoder, and {form} reads .* take --format hf"):
            export_run(tmp_path / "run", form, tmp_path / form)
        assert not (tmp_path / form).exists()
    export_run(tmp_path / "run", "hf", tmp_path / "hf")
    for row in pq.read_table(tmp_path / "hf" / f"{arm}-stage2-train.parquet").to_pylist():
        assert row["input_ids"] == row["prompt_ids"]
        target = zip(row["completion_ids"], row["token_weights"], strict=True)
        assert row["labels"] == [token if weight > 0 else IGNORED for token, weight in target]


@pytest.fixture(scope="module")
def ranked(small_recipe: Path, talker: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose votes a ranker weighs."""
    folder = tmp_path_factory.mktemp("ranked")
    recipe = yaml.safe_load(small_recipe.read_text(encoding="utf-8"))
    recipe["method"] = {"name": "asc", "own": 2, "samples": 2}
    recipe |= {"student": {"model": str(talker)}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    run_recipe(load_recipe(folder / "recipe.yaml"), folder / "run", Console(file=StringIO()))
    return folder / "run"


def test_what_a_ranker_compares_is_never_a_text_to_imitate(ranked: Path, tmp_path: Path) -> None:
    wrong = {
        row["completion"]
        for path in export_run(ranked, "jsonl", tmp_path / "jsonl")
        if path.name.startswith("asc-ranker-train")
        for row in rows(path)
        if row["role"] == "wrong"
    }
    assert wrong
    for form in ("llamafactory", "trl", "axolotl"):
        names = [path.name for path in export_run(ranked, form, tmp_path / form)]
        assert [name for name in names if "ranker" in name and "pairs" not in name and "preference" not in name] == []
        assert any(name.startswith("asc-ranker-train") for name in names)
    whole = json.loads((tmp_path / "llamafactory/asc-train.json").read_text(encoding="utf-8"))
    assert not wrong & {row["output"] for row in whole}
    assert "no texts to imitate" in (tmp_path / "llamafactory/EXPORT.md").read_text(encoding="utf-8")
    assert not any(example.role is Role.WRONG for example in Lessons(RunFolder.open(ranked), "asc").weighted())
    control = str(RunFolder.open(ranked).manifest["arms"][1]["name"])
    assert (tmp_path / "control" / f"{control}-train.jsonl") in export_run(
        ranked, "jsonl", tmp_path / "control", control
    )


@pytest.mark.parametrize(("weight", "kept"), [(0.1, False), (1.0, True)])
def test_a_prompt_that_is_learnt_a_little_has_no_labels(
    weight: float, kept: bool, run: Path, arm: str, examples: dict[str, list[Example]], tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    learnt = [
        replace(e, weights=(weight,) * len(e.prompt_ids) + e.weights[len(e.prompt_ids) :]) for e in examples["stage1"]
    ]
    outputs = RunFolder.open(tmp_path / "run").outputs("3_examples")
    [table] = [path for path, entry in outputs if entry["label"] == f"{arm}-stage1-train"]
    write_table(table, Example, learnt)
    export_run(tmp_path / "run", "trl", tmp_path / "out")
    for row, example in zip(rows(tmp_path / "out" / f"{arm}-stage1-train.sft.jsonl"), learnt, strict=True):
        in_prompt = row["labels"][: len(example.prompt_ids)]
        assert in_prompt == (list(example.prompt_ids) if kept else [IGNORED] * len(in_prompt))
        assert row["labels"][len(in_prompt) :] == list(example.target_ids)
    page = (tmp_path / "out/EXPORT.md").read_text(encoding="utf-8").splitlines()
    [said] = [line for line in page if f"{arm}-stage1-train.sft.jsonl" in line]
    assert f"; {0 if kept else len(learnt)} texts had several sizes" in said


def test_a_wrong_text_that_is_learnt_is_named_and_one_that_is_pushed_is_not(
    run: Path, arm: str, examples: dict[str, list[Example]], tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    outputs = RunFolder.open(tmp_path / "run").outputs("3_examples")
    [table] = [path for path, entry in outputs if entry["label"] == f"{arm}-stage1-train"]
    write_table(table, Example, [replace(e, role=Role.WRONG) for e in examples["stage1"][:3]] + examples["stage1"][3:])
    export_run(tmp_path / "run", "jsonl", tmp_path / "out")
    page = (tmp_path / "out/EXPORT.md").read_text(encoding="utf-8").splitlines()
    said = {line.split()[1]: line for line in page if "-train.jsonl" in line}
    assert "; 3 texts of role wrong are learnt on purpose" in said[f"{arm}-stage1-train.jsonl"]
    assert "on purpose" not in said[f"{arm}-stage2-train.jsonl"]


def test_the_two_sides_of_a_pair_answer_one_prompt(examples: dict[str, list[Example]]) -> None:
    group = examples["stage2"][0].group
    sides = [
        Text(example=e, prompt="one", completion=e.id, seq2seq=False, compared=False)
        for e in examples["stage2"]
        if e.group == group
    ]
    assert pairs(sides) == [(sides[0], sides[1])] or pairs(sides) == [(sides[1], sides[0])]
    assert pairs([sides[0], replace(sides[1], prompt="another")]) == []


def test_what_cannot_be_exported_says_so(run: Path, tmp_path: Path, arm: str) -> None:
    with pytest.raises(UnknownNameError, match="jsonl"):
        export_run(run, "json", tmp_path)
    with pytest.raises(UnknownNameError, match=arm):
        export_run(run, "jsonl", tmp_path, "edi")
    with pytest.raises(DataError, match="no training examples"):
        export_run(run, "jsonl", tmp_path, "untrained")


@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed")
@pytest.mark.filterwarnings("default")
def test_trl_trains_a_step_on_each_file(run: Path, arm: str, tmp_path: Path) -> None:
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    student = next(path for path, entry in RunFolder.open(run).outputs("4_student") if entry.get("name") == "stage1")
    tokenizer = AutoTokenizer.from_pretrained(student / "student")
    usual = {"output_dir": str(tmp_path / "out"), "max_steps": 1, "per_device_train_batch_size": 2, "report_to": [],
             "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "max_length": 512}  # fmt: skip
    sft, preference = trl_files(run, arm, tmp_path)
    for file, kind, config in ((sft, SFTTrainer, SFTConfig), (preference, DPOTrainer, DPOConfig)):
        model = AutoModelForCausalLM.from_pretrained(student / "student")
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        data = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
        trainer = kind(model=model, args=config(**usual), train_dataset=data, processing_class=tokenizer)
        batch = next(iter(trainer.get_train_dataloader()))
        result = trainer.train()
        assert result.global_step == 1 and result.training_loss == result.training_loss
        assert any(not before[name].equal(tensor) for name, tensor in model.state_dict().items())
        if kind is SFTTrainer:
            known = {tuple(row["input_ids"]): row["labels"] for row in rows(file)}
            for ids, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
                (length,) = [len(found) for found in known if tuple(ids[: len(found)]) == found]
                assert labels[:length] == known[tuple(ids[:length])]


@pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed")
@pytest.mark.filterwarnings("default")
def test_the_documented_trainer_uses_every_weight(
    run: Path, arm: str, examples: dict[str, list[Example]], tmp_path: Path
) -> None:
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from feints.train.batch import Batcher
    from feints.train.losses import weighted_nll
    from feints.train.rows import Layout

    page = (Path(__file__).parents[2] / "docs/export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    documented: dict[str, Any] = {}
    exec(code, documented)
    export_run(run, "hf", tmp_path)
    student = next(path for path, entry in RunFolder.open(run).outputs("4_student") if entry.get("name") == "stage1")
    model = AutoModelForCausalLM.from_pretrained(student / "student")
    file = str(tmp_path / f"{arm}-stage2-train.parquet")
    data = load_dataset("parquet", data_files=file, split="train", cache_dir=str(tmp_path / "cache")).select(range(4))
    config = documented["weighted_config"](
        output_dir=str(tmp_path / "out"), max_steps=1, per_device_train_batch_size=4, report_to=[], use_cpu=True,
        bf16=False, learning_rate=1e-12, logging_steps=1,
    )  # fmt: skip
    trainer = documented["WeightedTrainer"](
        model=model, args=config, train_dataset=data, data_collator=documented["collate"],
        processing_class=AutoTokenizer.from_pretrained(student / "student"),
    )  # fmt: skip
    found = trainer.train().training_loss
    batcher = Batcher(examples["stage2"][:4], Layout(rows="packed", micro_tokens=10**6, seq2seq=False, pad_id=0))
    step = batcher.whole()
    assert {weight < 0 for e in batcher.examples for weight in e.weights} == {True, False}
    with torch.no_grad():
        expected = weighted_nll("weighted_tokens")(model.eval(), batcher.batch(step.micro[0]), step.counts)["nll"]
    assert found == pytest.approx(float(expected), rel=1e-3)
