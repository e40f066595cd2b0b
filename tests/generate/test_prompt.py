from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feints.errors import SettingsError
from feints.generate.prompt import STUDENT, TEACHER, Prompt, read_prompt
from feints.records import AnswerKind, Choice, Problem


def make(question: str = "How many?", kind: AnswerKind = AnswerKind.NUMBER, **more: object) -> Problem:
    return replace(
        Problem(id="p", question=question, answer="SECRET7", answer_kind=kind, task="t", split="test"),
        **more,
    )


def test_question_choices_and_cue_stand_as_they_are() -> None:
    choices = (Choice(label="A", text="one {cue}"), Choice(label="B", text="two"))
    (message,) = STUDENT.messages(make("Pick {choices}\\frac{1}{2}", AnswerKind.CHOICE, choices=choices))
    assert message.role == "user"
    assert message.content == "Pick {choices}\\frac{1}{2}\n(A) one {cue}\n(B) two\n" + STUDENT.cue


def test_no_choices_leave_no_empty_line() -> None:
    (message,) = STUDENT.messages(make())
    assert message.content == "How many?\n" + STUDENT.cue


def test_latex_is_asked_in_a_box_and_others_in_words() -> None:
    assert "\\boxed{}" in TEACHER.messages(make(kind=AnswerKind.LATEX))[-1].content
    words = TEACHER.messages(make())[-1].content
    assert "The answer is" in words
    assert "boxed" not in words
    assert STUDENT.messages(make(kind=AnswerKind.LATEX)) == STUDENT.messages(make())


@given(st.text(alphabet="ab{}$\\ \n", min_size=1))
def test_any_question_is_kept_whole_and_the_gold_answer_stays_out(question: str) -> None:
    for prompt in (STUDENT, TEACHER):
        content = prompt.messages(make(question))[-1].content
        assert question in content
        assert "SECRET7" not in content


def test_further_slots_must_be_filled_exactly() -> None:
    hinted = Prompt(id="hint", template="{question}\nHint: {hint}")
    assert hinted.slots == ("hint",)
    assert hinted.messages(make(), hint="seven {question}")[-1].content == "How many?\nHint: seven {question}"
    with pytest.raises(SettingsError, match="hint"):
        hinted.messages(make())
    with pytest.raises(SettingsError, match="answer"):
        STUDENT.messages(make(), answer="7")


def test_shots_come_first_and_go_through_the_template() -> None:
    prompt = replace(STUDENT, system="Be brief.", shots=(("1+1?", "The answer is 2."),))
    turns = prompt.messages(make())
    assert [turn.role for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[1].content == "1+1?\n" + STUDENT.cue


def test_shots_have_the_cue_of_the_problem_and_nothing_of_what_is_filled_in() -> None:
    prompt = replace(TEACHER, template="{question}\n{hint}\n{cue}", shots=(("1+1?", "2"),))
    for kind, cue in ((AnswerKind.NUMBER, TEACHER.cue), (AnswerKind.LATEX, TEACHER.latex_cue)):
        shown, _, asked = prompt.messages(make(kind=kind), hint="It is 7.")
        assert shown.content == f"1+1?\n{cue}" and asked.content == f"How many?\nIt is 7.\n{cue}"


def test_every_field_is_in_the_hash() -> None:
    other = {
        "id": "x",
        "template": "{question}",
        "system": "x",
        "cue": "x",
        "latex_cue": "x",
        "shots": (("a", "b"),),
    }
    hashes = {replace(STUDENT, **{name: value}).hash for name, value in other.items()}
    assert len(hashes | {STUDENT.hash}) == 7
    assert replace(STUDENT).hash == STUDENT.hash


def test_a_prompt_without_the_question_is_refused() -> None:
    with pytest.raises(SettingsError, match="question"):
        Prompt(id="blind", template="Answer!")


def test_a_users_own_file_is_read(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("template: |-\n  {question}\n  {cue}\ncue: Go.\nshots:\n- [a, b]\n", encoding="utf-8")
    assert read_prompt(path) == Prompt(id="mine", template="{question}\n{cue}", cue="Go.", shots=(("a", "b"),))


@pytest.mark.parametrize(
    "text",
    ["template: 3", "cue: x", "[1]", "template: '{question}'\nsytem: x", "template: '{question}'\nshots: [a]", "{"],
)
def test_a_bad_file_is_refused(tmp_path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"bad\.yaml"):
        read_prompt(path)


def test_a_file_in_another_encoding_is_refused(tmp_path) -> None:
    (tmp_path / "latin.yaml").write_bytes("template: 'caf\xe9 {question}'".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"latin.yaml is not a text in UTF-8 .*; save it in this encoding"):
        read_prompt(tmp_path / "latin.yaml")
