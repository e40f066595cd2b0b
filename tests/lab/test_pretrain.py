"""Pretraining of the nano student: what it reads, and a tiny run that resumes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

from feints.errors import DataError, StorageError
from feints.lab.grammar import sentences
from feints.lab.lessons import (
    Lesson,
    equations,
    looking_up,
    looking_up_in_stories,
    next_step,
    one_step,
    retelling,
)
from feints.lab.nano import write_untrained
from feints.lab.pretrain import PretrainSettings, Stage, example, lessons, pretrain
from feints.lab.reader import read
from feints.lab.vocabulary import tokens
from feints.lab.world import lab_problems
from feints.train.settings import StudentSettings
from feints.train.student import Student

_STEP = re.compile(r"(\d+(?: [-+*/] \d+)+) = (\d+)")
_IN_WORDS = re.compile(r"(?:add|multiply|divide|take away) [\w ,]+ and get \d+")
_SMALL = Stage(one_step=300, next_step=300, retelling=100, looking_up=100, looking_up_in_stories=100, equations=100)
_FEW = Stage(one_step=12, next_step=12, looking_up=6, equations=6)
_TINY = PretrainSettings(stages=(_FEW, _FEW), hidden=16, layers=1, heads=2, batch_tokens=256)


def text_of(lesson: Lesson) -> str:
    return " ".join(part for part, _ in lesson.parts)


@pytest.fixture(scope="module")
def all_lessons() -> list[Lesson]:
    return list(lessons(_SMALL, 1))


def test_names_are_unique_and_lessons_come_again_alike(all_lessons: list[Lesson]) -> None:
    assert len({lesson.name for lesson in all_lessons}) == len(all_lessons)
    assert list(lessons(_SMALL, 1)) == all_lessons


def test_no_lesson_solves_in_more_than_one_step(all_lessons: list[Lesson]) -> None:
    for lesson in all_lessons:
        found = _STEP.findall(text_of(lesson))
        if lesson.name.startswith("equations/"):
            # Unrelated equations with no problem before them.
            assert lesson.question == ""
        elif lesson.name.startswith(("retelling/", "looking_up")):
            assert not found
        else:
            assert len(found) + len(_IN_WORDS.findall(text_of(lesson))) == 1, text_of(lesson)
        assert not _STEP.search(lesson.question)


def test_every_equation_is_true(all_lessons: list[Lesson]) -> None:
    checked = 0
    for lesson in all_lessons:
        for left, right in _STEP.findall(text_of(lesson)):
            assert eval(left) == int(right), lesson
            checked += 1
    assert checked > 500


@pytest.mark.slow
def test_no_lesson_is_a_problem_of_another_split(all_lessons: list[Lesson]) -> None:
    taught = {lesson.question for lesson in all_lessons}
    for split in ("train", "validation", "test", "longer", "unseen"):
        assert not taught & {problem.question for problem in lab_problems(split, 500)}


def test_a_next_step_is_one_step_of_its_story_and_only_the_last_ends_it(tmp_path: Path) -> None:
    write_untrained(tmp_path / "nano", seed=0, hidden=16, layers=1, heads=2)
    student = Student.load(StudentSettings(model=str(tmp_path / "nano")))
    ends = set()
    for index in range(60):
        lesson = next_step(index, 3)
        reading = read(lesson.question[: lesson.question.index("?") + 1])
        told = lesson.question[lesson.question.index("?") + 1 :].count(".")
        step = reading.steps[told]
        assert str(step.result) in text_of(lesson)
        last = told == len(reading.steps) - 1
        assert ("The answer is" in text_of(lesson)) == last
        assert example(student, lesson, _TINY).weights[-1] == (1.0 if last else 0.0)
        ends.add(last)
    assert ends == {True, False}


def test_a_question_of_one_step_reads_as_one_step() -> None:
    for index in range(100):
        assert len(read(one_step(index, 3).question).steps) == 1


@pytest.mark.parametrize("make", [retelling, looking_up, looking_up_in_stories])
def test_numbers_read_back_are_those_told(make: Callable[[int, int], Lesson | None]) -> None:
    for index in range(100):
        lesson = make(index, 5)
        if lesson is not None:
            assert set(re.findall(r"\d+", text_of(lesson))) <= set(re.findall(r"\d+", lesson.question))


def test_a_retelling_tells_the_same_facts() -> None:
    for index in range(50):
        lesson = retelling(index, 5)
        assert sorted(sentences(text_of(lesson))) == sorted(sentences(lesson.question))


def test_weights_fall_on_results_and_the_end_is_learnt(tmp_path: Path) -> None:
    write_untrained(tmp_path / "nano", seed=0, hidden=16, layers=1, heads=2)
    student = Student.load(StudentSettings(model=str(tmp_path / "nano")))
    lesson = equations(0, 0)
    made = example(student, lesson, _TINY)
    tail = made.weights[len(made.prompt_ids) :]
    assert len(tail) == len(made.target_ids)
    assert made.target_ids[-1] == student.renderer.end_id
    assert tail[-1] == 1.0
    learnt = [token for token, weight in zip(made.target_ids[:-1], tail[:-1], strict=True) if weight]
    assert len(learnt) == sum(len(tokens(part)) for part, weight in lesson.parts if weight)


def test_words_can_weigh_less_than_digits_and_signs(tmp_path: Path) -> None:
    write_untrained(tmp_path / "nano", seed=0, hidden=16, layers=1, heads=2)
    student = Student.load(StudentSettings(model=str(tmp_path / "nano")))
    made = example(student, one_step(0, 0), _TINY)
    target = zip(made.target_ids, made.weights[len(made.prompt_ids) :], strict=True)
    for token, weight in target:
        word = student.renderer.tokenizer.convert_ids_to_tokens(token)
        assert weight == (0.25 if word.isalpha() else 1.0), word


def test_one_student_prompt_for_pretraining_and_examination(tmp_path: Path) -> None:
    write_untrained(tmp_path / "nano", seed=0, hidden=16, layers=1, heads=2)
    student = Student.load(StudentSettings(model=str(tmp_path / "nano")))
    made = example(student, one_step(0, 0), _TINY)
    assert student.renderer.decode(made.prompt_ids)[0].strip().endswith("Let's think step by step.")


@pytest.mark.slow
def test_a_run_that_broke_goes_on_and_a_further_call_redoes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as broken, pytest.raises(StorageError):
        broken.setattr(Student, "save", full_disk)
        pretrain(tmp_path, _TINY)
    metrics = (tmp_path / "stage_2" / "metrics.jsonl").read_bytes()
    first = pretrain(tmp_path, _TINY)
    weights = (tmp_path / "student" / "model.safetensors").read_bytes()
    again = pretrain(tmp_path, _TINY)
    assert first.steps == again.steps > 0
    assert (tmp_path / "stage_2" / "metrics.jsonl").read_bytes() == metrics
    assert (tmp_path / "student" / "model.safetensors").read_bytes() == weights
    assert (tmp_path / "random" / "model.safetensors").read_bytes() != weights
    card = json.loads((tmp_path / "student" / "card.json").read_text(encoding="utf-8"))
    assert card["settings"] == _TINY.model_dump(mode="json")
    assert card["steps"] > first.steps


@pytest.mark.slow
def test_the_weights_are_a_function_of_the_settings(tmp_path: Path) -> None:
    pretrain(tmp_path / "a", _TINY)
    pretrain(tmp_path / "b", _TINY)
    a, b = ((tmp_path / name / "student" / "model.safetensors").read_bytes() for name in "ab")
    assert a == b


def test_reading_needs_a_whole_problem() -> None:
    with pytest.raises(DataError):
        read("Tom has 3 apples.")
