"""A student that could not be trained or examined is refused by its configuration and tokenizer alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feints.errors import SettingsError, StudentError
from feints.train.admission import check_student
from feints.train.settings import AdapterSettings, StudentSettings
from feints.train.student import Student


@pytest.fixture
def changed(student_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of a student's folder without its weights, some of its configuration another."""

    def copy(family: str, file: str = "config.json", **changes: Any) -> Path:
        folder = tmp_path / family
        shutil.copytree(student_folder(family), folder, ignore=shutil.ignore_patterns("*.safetensors"))
        path = folder / file
        kept = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: value for name, value in kept.items() if value is not None}))
        return folder

    return copy


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "t5", "bart", "gemma3"])
def test_students_that_can_learn_are_let_in(family: str, student_folder: Callable[..., Path]) -> None:
    check_student(StudentSettings(model=str(student_folder(family))))


def test_what_would_fail_after_the_teacher_was_paid_is_refused(changed: Callable[..., Path]) -> None:
    wrong = [
        (changed("llama", "tokenizer_config.json", eos_token=None), "no end-of-sequence token"),
        (changed("qwen2", vocab_size=90), "7 ids from 90 on, but the weights have 90"),
        (changed("gpt2", layer_types=["linear_attention", "full_attention"]), "linear_attention"),
    ]
    for folder, words in wrong:
        with pytest.raises(StudentError, match=words):
            check_student(StudentSettings(model=str(folder)))


def test_an_encoder_decoder_needs_a_beginning_and_a_method_that_can_teach_it(changed: Callable[..., Path]) -> None:
    folder = changed("t5", decoder_start_token_id=None)
    settings = StudentSettings(model=str(folder))
    (folder / "generation_config.json").write_text(json.dumps({"decoder_start_token_id": 0}))
    check_student(settings)
    with pytest.raises(SettingsError, match="nce_released cannot teach an encoder-decoder such as t5"):
        check_student(settings, ["nce_released"])
    (folder / "generation_config.json").unlink()
    with pytest.raises(StudentError, match="decoder_start_token_id"):
        check_student(settings)


@pytest.mark.parametrize("family", ["qwen2", "gpt2", "t5"])
def test_an_addition_that_could_not_be_merged_is_refused_before_and_at_training(
    family: str, student_folder: Callable[..., Path]
) -> None:
    """The head of these is the matrix of the embeddings; that of the llama here is its own."""
    adapter = AdapterSettings(kind="lora", modules=("lm_head",))
    tied = StudentSettings(model=str(student_folder(family)), adapter=adapter)
    for refuses in (check_student, Student.load):
        with pytest.raises(StudentError, match="are one matrix"):
            refuses(tied)
    free = StudentSettings(model=str(student_folder("llama")), adapter=adapter)
    check_student(free)
    assert Student.load(free).model is not None


def test_an_unknown_module_is_refused_with_those_there_are(student_folder: Callable[..., Path]) -> None:
    adapter = AdapterSettings(kind="lora", modules=("q_proj",))
    with pytest.raises(StudentError, match=r"no module called q_proj; .*c_attn"):
        check_student(StudentSettings(model=str(student_folder("gpt2")), adapter=adapter))
