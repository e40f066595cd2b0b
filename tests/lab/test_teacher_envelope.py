"""The OpenAI shape around the teacher's replies."""

from __future__ import annotations

import re
from typing import Any

import pytest

from feints.errors import SettingsError
from feints.lab.prompts import stated_answer
from feints.lab.teacher import LabTeacher
from feints.lab.teacher_settings import LabTeacherSettings
from feints.lab.teacher_texts import NO_PROBLEM
from feints.lab.vocabulary import tokens
from feints.lab.world import problems

PROBLEMS = problems("train", 10)
LONGER = problems("longer", 2)
TEACHER = LabTeacher()
RELIABLE = LabTeacher(LabTeacherSettings(failure=0.0, lucky=0.0))
SOLVE = "\n\nReason step by step."


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "temperature": 0.7, "seed": 7, **more}


def texts(body: dict[str, Any], teacher: LabTeacher = TEACHER) -> list[str]:
    return [choice["message"]["content"] for choice in teacher.respond(body)["choices"]]


def test_an_unreadable_prompt_gets_a_polite_answer() -> None:
    assert texts(chat("What is the capital of France?")) == [NO_PROBLEM]
    assert texts(chat("")) == [NO_PROBLEM]


def test_the_last_question_counts_and_turns_before_it_are_demonstrations() -> None:
    first, second = PROBLEMS[:2]
    turns = [
        {"role": "system", "content": "You solve problems step by step."},
        {"role": "user", "content": first.question},
        {"role": "assistant", "content": "The answer is 1."},
        {"role": "user", "content": f"Q: {second.question}\nA: Let's think step by step."},
    ]
    (truth,) = TEACHER.explain({"messages": turns})
    assert truth.question == second.question
    shots = f"Question: {first.question}\nAnswer: The answer is 1.\n\nQuestion: {second.question}\nAnswer:"
    assert TEACHER.explain({"prompt": shots})[0].question == second.question
    follow = [*turns[1:3], {"role": "user", "content": "Now write it as a Python program that sets ans."}]
    (truth,) = TEACHER.explain({"messages": follow, "seed": 1})
    assert truth.question == first.question
    assert " = " in truth.text


def test_a_question_on_several_lines_is_found() -> None:
    question = PROBLEMS[5].question
    broken = question.replace(". ", ".\n")
    assert TEACHER.explain(chat(f"Solve this.\n\n{broken}\n\nThink step by step."))[0].question == question


def test_usage_limit_stop_and_shape() -> None:
    body = chat(LONGER[0].question + SOLVE)
    whole = TEACHER.respond(body)
    text = whole["choices"][0]["message"]["content"]
    assert whole["usage"]["completion_tokens"] == len(tokens(text))
    assert whole["usage"]["total_tokens"] == whole["usage"]["prompt_tokens"] + len(tokens(text))
    for limit in ("max_tokens", "max_completion_tokens"):
        cut = TEACHER.respond({**body, limit: 10})
        assert cut["choices"][0]["finish_reason"] == "length"
        assert tokens(cut["choices"][0]["message"]["content"]) == tokens(text)[:10]
        assert cut["usage"]["completion_tokens"] == 10
    stopped = TEACHER.respond({**body, "stop": ["The answer is"]})
    assert stopped["choices"][0]["finish_reason"] == "stop"
    assert stopped["choices"][0]["message"]["content"] == text[: text.index("The answer is")]
    raw = TEACHER.respond({"prompt": LONGER[0].question, "n": 2, "seed": 1})
    assert raw["object"] == "text_completion"
    assert [choice["index"] for choice in raw["choices"]] == [0, 1]
    parts = {"role": "user", "content": [{"type": "text", "text": LONGER[0].question}]}
    assert stated_answer(texts({"messages": [parts], "temperature": 0}, RELIABLE)[0])


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"prompt": ["a", "b"]},
        {"prompt": "x", "n": 0},
        {"prompt": "x", "n": True},
        {"prompt": "x", "temperature": 3},
        {"prompt": "x", "seed": "one"},
        {"prompt": "x", "max_tokens": 0},
        {"prompt": "x", "stop": [1]},
    ],
)
def test_a_body_of_another_shape_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must|content"):
        TEACHER.respond(body)


def test_identity_names_versions_regime_and_every_rate() -> None:
    identity = TEACHER.identity
    assert re.match(r"lab-teacher v\d+ world v\d+ regime=systematic ", identity)
    assert identity != LabTeacher(LabTeacherSettings(lucky=0.03)).identity
    with pytest.raises(SettingsError, match="lucky"):
        LabTeacherSettings(lucky=1.2)
