"""Verdicts on texts nobody thought of: any pieces, numbers in words and figures, and what is meant to take long."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.verify.asked import BOOLEAN, CHOICE, LATEX, NUMBER, OPTIONS, TEXT, problem, value

from feints.records import AnswerKind, Finish
from feints.verify.judge import judge
from feints.verify.quantities import last_number, plain, read_numbers
from feints.verify.words import read_words


def _in_words(number: int) -> str:
    ones = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    names = [*ones.split(), "seventeen", "eighteen", "nineteen"]
    tens = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    if number < 20:
        return names[number]
    if number < 100:
        return tens[number // 10] + (f"-{names[number % 10]}" if number % 10 else "")
    for size, name in ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred")):
        if number >= size:
            rest = f" {_in_words(number % size)}" if number % size else ""
            return f"{_in_words(number // size)} {name}{rest}"
    raise AssertionError


@given(st.integers(0, 10**12 - 1))
def test_words_are_read_back(number: int) -> None:
    assert read_words(_in_words(number)) == number


@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_numbers_are_equal_when_they_are(one: int, other: int) -> None:
    assert value(str(one), f"The answer is {one:,}.") == "correct"
    assert value(str(one), f"The answer is ${other:,}.") == ("correct" if one == other else "wrong")


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "2.5 ",
                    "million ",
                    "and ",
                    "five ",
                    "hundred ",
                    "1/2 ",
                    "percent ",
                    "3% ",
                    "$",
                    "1,000",
                    "Rs.",
                    "no.5 ",
                ]
            ),
            st.text(max_size=4),
        ),
        max_size=9,
    )
)
def test_the_last_number_is_the_last_of_all(pieces: list[str]) -> None:
    text = plain("".join(pieces))
    assert last_number(text) == (read_numbers(text) or [None])[-1]


KIND_AND_GOLD = st.sampled_from(
    [(NUMBER, "5"), (NUMBER, "1/3"), (BOOLEAN, "yes"), (TEXT, "gral"), (CHOICE, "B"), (LATEX, r"\frac{1}{2}")]
)


PIECES = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.sampled_from(
            ["The answer is ", "\\boxed{", "}", "$", "\\(", "\\)", "#### ", "<think>", "</think>", "1,000", "(B)", "^{"]
            + [
                "\\frac",
                "{",
                "[",
                "\\begin{pmatrix}",
                "&",
                "\\\\",
                "\\end{pmatrix}",
                "yes",
                "-",
                "!",
                "\\pm",
                "= ",
                ".",
            ]
        ),
    ),
    max_size=14,
)


@settings(max_examples=400, deadline=2000)
@given(KIND_AND_GOLD, PIECES, st.sampled_from(list(Finish)))
def test_any_text_is_judged(kind_and_gold: tuple[AnswerKind, str], pieces: list[str], finish: Finish) -> None:
    kind, gold = kind_and_gold
    choices = OPTIONS if kind is CHOICE else ()
    case = judge(problem(gold, kind, choices), "".join(pieces), finish=finish)
    assert case == judge(problem(gold, kind, choices), "".join(pieces), finish=finish)


@pytest.mark.parametrize(
    "text",
    [
        "1" * 200_000,
        "1," * 100_000,
        "\\boxed{" * 30_000,
        "The answer is " * 10_000,
        "$" * 100_000,
        "\\(" * 50_000,
        "(" * 100_000,
        "and " * 50_000,
        "one hundred " * 20_000,
        "The answer is 1+1" + " " * 3900 + "x.",
        "8 apples" + "😊\n---" * 40_000,
        "If so, the answer would be Ann and Bob and Carl and " * 4000,
        "The answer is Ann " + "a.b! " * 40_000,
        "The answer is not 7" + " " * 3900 + "true.",
        "The answer is $" + "(" * 3000 + "1" + ")" * 3000 + "$.",
        "The answer is $" + "-" * 3000 + "1$.",
        "The answer is $9^{9^{9^{9^9}}}$.",
        "The answer is $" + "\\sqrt{" * 60 + "2" + "}" * 60 + "$.",
        "The answer is $(((10^{10})!)!)!$.",
        "The answer is $(x+y+z+w)^{64}(a+b+c)^{64}$.",
        "The answer is $" + ",".join(["1"] * 300) + "$.",
    ],
)
@pytest.mark.parametrize("kind", [NUMBER, LATEX, TEXT, BOOLEAN, CHOICE])
def test_hostile_texts_take_little_time(kind: AnswerKind, text: str) -> None:
    gold = {NUMBER: "5", LATEX: r"\frac{1}{2}", TEXT: "gral", BOOLEAN: "yes", CHOICE: "B"}[kind]
    started = time.process_time()
    judge(problem(gold, kind), text)
    assert time.process_time() - started < 2.0


def test_long_blanks_behind_a_trigger_take_little_time() -> None:
    began = time.process_time()
    for blank in (" ", "\n", " \n\t"):
        assert value("42", "answer" + blank * 20_000 + "is 42.") == "correct"
    assert time.process_time() - began < 5, "half a minute each, before"
