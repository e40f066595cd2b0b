"""What the teacher takes a chat to ask, in the words of many prompt writers."""

from __future__ import annotations

from typing import Any

import pytest

from feints.errors import DataError
from feints.lab.prompts import Ask, Wanted, find_problem, understand
from feints.lab.reader import read
from feints.lab.teacher import _given
from feints.lab.world import problems
from feints.records import Form

FIRST, SECOND, THIRD = (problem.question for problem in problems("train", 3))
WRONG = "Tom has 2 + 2 = 5 apples now: that is all. The answer is 5."


def reads(text: str) -> bool:
    try:
        read(text)
    except DataError:
        return False
    return True


def wanted(text: str, system: str = "") -> Wanted:
    turns = [("system", system), ("user", text)] if system else [("user", text)]
    found = understand(turns, reads, _given)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "ask", "more"),
    [
        ("{q}", Ask.SOLVE, {}),
        ("{q}\nLet's think step by step.", Ask.SOLVE, {}),
        ("{q} Let's think step by step.", Ask.SOLVE, {}),
        ("Use the information in the problem to find a new solution to it.\n\n{q}", Ask.SOLVE, {"form": Form.COT}),
        ("Do not write a program. Avoid mistakes.\n\nQuestion: {q}\nAnswer:", Ask.SOLVE, {"form": Form.COT}),
        ("Never give a wrong answer.\nQ: {q}\nA:", Ask.SOLVE, {}),
        ("Write Python code that solves the problem.\n\n{q}", Ask.SOLVE, {"form": Form.POT}),
        ("{q}\nWrite a linear system of equations with unknown ans; do not simplify.", Ask.SOLVE, {"form": Form.EOT}),
        ("Translate into declarative constraints for a solver.\n{q}", Ask.SOLVE, {"form": Form.SAT}),
        ("{q}\nHint: the answer is 12.\nLet's think step by step.", Ask.SOLVE, {"hint": 12}),
        ("{q}\n(The correct answer is $1,200.) Explain it step by step.", Ask.SOLVE, {"hint": 1200}),
        ("The gold answer is 7.\n{q}\nWhy?", Ask.SOLVE, {"hint": 7}),
        ('Finish with "The answer is 5." or another number.\n{q}', Ask.SOLVE, {"hint": None}),
        ("{q}\nWhat is the core question? Do not solve it.", Ask.KEYPOINTS, {"fields": ("core",)}),
        ("{q}\nList the useful information.", Ask.KEYPOINTS, {"fields": ("information",)}),
        ("{q}\nExtract core question and key information.", Ask.KEYPOINTS, {"fields": ("core", "information")}),
        (
            "State the core question, list the useful information, then solve it.\n{q}",
            Ask.KEYPOINTS,
            {"fields": ("core", "information", "solution")},
        ),
        (
            "Write a wrong response.\n{q}\nRight response: The answer is 9.\nWrong response:",
            Ask.WRONG,
            {"shown": "The answer is 9."},
        ),
        (
            "{q}\nA student wrote:\n" + WRONG + "\nThe correct answer is 9. Give feedback.",
            Ask.TAILORED,
            {"hint": 9, "shown": WRONG},
        ),
        (
            "Label the mistake pattern.\n{q}\nRight response: 9.\nWrong response: " + WRONG + "\nLabel:",
            Ask.LABEL,
            {"shown": WRONG},
        ),
        ("Create a similar problem.\n\n{q}", Ask.NEW_PROBLEM, {"harder": False}),
        ("Write a new math word problem like this one.\n\n{q}", Ask.NEW_PROBLEM, {"harder": False}),
        ("{q}\n\nMake a harder variant of the problem.", Ask.NEW_PROBLEM, {"harder": True}),
        ("{q}\n\nPlease generate a more challenging question of this kind.", Ask.NEW_PROBLEM, {"harder": True}),
    ],
)
def test_what_is_asked(text: str, ask: Ask, more: dict[str, Any]) -> None:
    found = wanted(text.replace("{q}", FIRST))
    assert found.question == FIRST
    assert found.ask is ask
    assert {name: getattr(found, name) for name in more} == more


def test_instructions_may_stand_in_the_system_turn() -> None:
    assert wanted(FIRST, system="Answer with a Python program.").form is Form.POT


def test_demonstrations_do_not_decide_what_is_asked() -> None:
    shots = f"Question: {SECOND}\nHint: the answer is 3.\nAnswer: a = 1\n\nQuestion: {THIRD}\nAnswer: b = 2\n\n"
    found = wanted(f"Think step by step.\n\n{shots}Question: {FIRST}\nAnswer:")
    assert (found.question, found.hint, found.form) == (FIRST, None, Form.COT)


def test_the_problem_is_found_where_it_stands() -> None:
    text = f"Q: {SECOND}\nA: ...\n3. {FIRST}\nWhat do you think?"
    found = find_problem(text, reads)
    assert found is not None
    question, start, end = found
    assert question == FIRST
    assert text[start:].startswith("3. ")
    assert text[end:] == "\nWhat do you think?"
    assert find_problem("How are you? Well?", reads) is None
