"""The nano student: its tokenizer knows all the lab says, its size, and the weights that ship."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

pytest.importorskip("torch")

from transformers import PreTrainedTokenizerFast

from feints.generate.prompt import STUDENT, TEACHER
from feints.generate.weights import load_weights
from feints.lab.lessons import (
    equations,
    looking_up,
    looking_up_in_stories,
    next_step,
    one_step,
    retelling,
)
from feints.lab.nano import CONTEXT, NANO_FOLDER, UNKNOWN, nano_tokenizer, write_untrained
from feints.lab.teacher import LabTeacher
from feints.lab.vocabulary import vocabulary
from feints.lab.world import SPLITS, WORLD_VERSION, lab_problems, problems

_LESSONS = (
    one_step,
    next_step,
    retelling,
    looking_up,
    looking_up_in_stories,
    equations,
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return nano_tokenizer()


def assert_comes_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.unk_token_id not in ids, f"unknown word in {text!r}"
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("split", sorted(SPLITS))
def test_problems_come_back_from_their_ids(tokenizer: PreTrainedTokenizerFast, split: str) -> None:
    for problem in lab_problems(split, 60, seed=3):
        assert_comes_back(tokenizer, problem.question)


def test_rationales_come_back_from_their_ids(tokenizer: PreTrainedTokenizerFast) -> None:
    teacher = LabTeacher()
    for problem in problems("train", 60, seed=4):
        turns = [{"role": turn.role, "content": turn.content} for turn in TEACHER.messages(problem)]
        body = {"model": teacher.model, "messages": turns, "n": 3, "temperature": 1.0, "seed": 1}
        for choice in teacher.respond(body)["choices"]:
            assert_comes_back(tokenizer, choice["message"]["content"])


@pytest.mark.parametrize(
    "asked",
    [
        "Write a Python program that solves the problem and stores the answer in `ans`.",
        "Write the solution as a system of equations.",
        "First state the core question, then the useful information, then the solution.",
    ],
)
def test_other_forms_hold_no_unknown_word(tokenizer: PreTrainedTokenizerFast, asked: str) -> None:
    teacher = LabTeacher()
    for problem in problems("train", 25, seed=5):
        turns = [{"role": "user", "content": f"{problem.question}\n\n{asked}"}]
        body = {"model": teacher.model, "messages": turns, "n": 2, "temperature": 0.7, "seed": 1}
        for choice in teacher.respond(body)["choices"]:
            ids = tokenizer.encode(choice["message"]["content"])
            assert tokenizer.unk_token_id not in ids, choice["message"]["content"]


def test_lessons_hold_no_unknown_word(tokenizer: PreTrainedTokenizerFast) -> None:
    for index in range(40):
        for make in _LESSONS:
            lesson = make(index, 2)
            if lesson is not None:
                text = " ".join([lesson.question, *(part for part, _ in lesson.parts)]).strip()
                assert_comes_back(tokenizer, text)


def test_every_word_of_the_world_is_one_token_and_numbers_are_digits(tokenizer: PreTrainedTokenizerFast) -> None:
    for word in vocabulary():
        assert len(tokenizer.encode(word)) == 1, word
    rng = random.Random(0)
    for _ in range(50):
        number = str(rng.randint(0, 10**6))
        assert tokenizer.convert_ids_to_tokens(tokenizer.encode(number)) == list(number)


def test_a_word_outside_the_lab_is_unknown_and_nothing_else_is_lost(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer.encode("Tom has 5 zeppelins now."))
    assert tokens == ["Tom", "has", "5", UNKNOWN, "now", "."]


def test_untrained_weights_come_from_the_seed_alone(tmp_path: Path) -> None:
    count = write_untrained(tmp_path / "a", seed=1)
    write_untrained(tmp_path / "b", seed=1)
    write_untrained(tmp_path / "c", seed=2)
    first, same, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert count < 4_000_000
    assert first == same
    assert first != other


def test_the_shipped_student_loads_offline_and_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    weights = load_weights(str(NANO_FOLDER), dtype="float32", device="cpu")
    count = sum(parameter.numel() for parameter in weights.model.parameters())
    assert count < 4_000_000
    assert weights.model.config.model_type == "llama"
    assert weights.model.config.max_position_embeddings == CONTEXT
    assert {path.suffix for path in NANO_FOLDER.iterdir()} <= {".json", ".safetensors"}


def test_the_shipped_tokenizer_is_the_one_that_is_made_now() -> None:
    shipped = json.loads((NANO_FOLDER / "tokenizer.json").read_text(encoding="utf-8"))
    made = json.loads(nano_tokenizer().backend_tokenizer.to_str())
    assert shipped["model"] == made["model"], "the lab's vocabulary changed: pretrain the student again"


def test_the_card_tells_how_the_shipped_student_was_made() -> None:
    card = json.loads((NANO_FOLDER / "card.json").read_text(encoding="utf-8"))
    assert card["world_version"] == WORLD_VERSION
    assert card["parameters"] < 4_000_000
    assert 0 < card["one_step_accuracy"]["right"] <= card["one_step_accuracy"]["total"]


def test_the_longest_prompt_leaves_room_for_a_rationale(tokenizer: PreTrainedTokenizerFast) -> None:
    asked = [STUDENT.messages(problem)[-1].content for problem in problems("longer", 200)]
    assert max(len(tokenizer.encode(text)) for text in asked) < CONTEXT - 200
