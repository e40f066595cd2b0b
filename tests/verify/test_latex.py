"""LaTeX answers: pairs of ours, the known false positives of math-verify, and properties of exact arithmetic."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feints.records import AnswerKind, Finish, Judgement, Problem
from feints.verify import latex
from feints.verify.grammar import parse
from feints.verify.numeric import same_value
from feints.verify.polynomials import equal, exact
from feints.verify.pool import CheckerPool

_spec = importlib.util.spec_from_file_location("pairs_data", Path(__file__).with_name("pairs_data.py"))
assert _spec is not None and _spec.loader is not None
pairs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pairs)
DRESSES = ("{}", "The answer is ${}$.", "so we get $\\boxed{{{}}}$.", "Answer: \\({}\\)")


@pytest.fixture(scope="module")
def pool() -> Iterator[CheckerPool]:
    with CheckerPool(workers=1, deadline=20) as shared:
        yield shared


def problem(answer: str, question: str = "") -> Problem:
    return Problem(id="p", question=question, answer=answer, answer_kind=AnswerKind.LATEX, task="t", split="test")


def values(pool: CheckerPool, cases: list[tuple[str, str]], dress: str) -> dict[tuple[str, str], Judgement]:
    items = [(problem(gold), dress.format(said), "", Finish.STOP) for gold, said in cases]
    return {case: verdict.value for case, verdict in zip(cases, pool.check_all(items), strict=True)}


@pytest.mark.parametrize("dress", DRESSES)
def test_the_same_answer_in_another_form_is_correct(pool: CheckerPool, dress: str) -> None:
    assert {case: v for case, v in values(pool, pairs.SAME, dress).items() if v is not Judgement.CORRECT} == {}


@pytest.mark.parametrize("dress", DRESSES)
def test_another_answer_is_wrong(pool: CheckerPool, dress: str) -> None:
    assert {case: v for case, v in values(pool, pairs.DIFFERENT, dress).items() if v is not Judgement.WRONG} == {}


@pytest.mark.parametrize("dress", DRESSES)
def test_what_math_verify_wrongly_calls_equal_is_wrong(pool: CheckerPool, dress: str) -> None:
    found = values(pool, pairs.KNOWN_FALSE_POSITIVES, dress)
    assert {case: v for case, v in found.items() if v is not Judgement.WRONG} == {}


def test_every_answer_is_itself(pool: CheckerPool) -> None:
    answers = [case[0] for case in pairs.SAME + pairs.DIFFERENT]
    assert set(values(pool, [(a, a) for a in answers], "The answer is ${}$.").values()) == {Judgement.CORRECT}


def test_a_form_that_was_asked_for_is_asked_for(pool: CheckerPool) -> None:
    asked = problem("(2x+1)(x+3)", "Factor $2x^2+7x+3$.")
    assert pool.check(asked, "$(x+3)(2x+1)$").value is Judgement.CORRECT
    assert pool.check(asked, "$2x^2+7x+3$").value is Judgement.WRONG
    assert pool.check(problem("(2x+1)(x+3)", "What is the area?"), "$2x^2+7x+3$").value is Judgement.CORRECT
    half = problem("4(3-x)(3+x)", "Factor $36-4x^2$ completely.")
    assert pool.check(half, "$(6-2x)(6+2x)$").value is Judgement.WRONG


def test_without_proof_one_checker_does_not_make_a_negative() -> None:
    numeric = latex.compare(r"\sqrt{2}+\pi", r"\sqrt{3}+\pi", "", conclusion=False)
    rational = latex.compare(r"\frac{1}{2}", r"\frac{1}{3}", "", conclusion=False)
    assert (numeric.same, numeric.evidence) == (None, "different")
    assert rational.same is False


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        (r"$20\%$., I hope it is correct.", r"$20\%$"),
        ("$x = 3$.Since we divide", "$x = 3$"),
        ("$x = 3$, as wanted", "$x = 3$"),
        ("$5$, or 6", "$5$, or 6"),
        ("$5$, or $6$.", "$5$, or $6$"),
        ("$5$ km", "$5$ km"),
        ("Therefore, $x = 3$.", "$x = 3$"),
    ],
)
def test_words_behind_a_formula_that_state_nothing_are_not_the_answer(text: str, stated: str) -> None:
    assert latex.statement(text, conclusion=False) == stated


def test_what_neither_checker_can_read_is_not_checked(pool: CheckerPool) -> None:
    verdict = pool.check(problem("2017"), r"The answer is $\gcd(2017, 4034)$.")
    assert verdict.value is Judgement.NOT_CHECKED


@pytest.mark.parametrize(
    "said", [r"2 \cdot 3 \dotsm 2016 \cdot 2017", r"\frac{1}{2} + \frac{1}{4} + \dotsb", r"0.785\ldots"]
)
def test_what_goes_on_in_dots_names_no_value(pool: CheckerPool, said: str) -> None:
    verdict = pool.check(problem(r"\frac{\pi}{4}"), f"The answer is ${said}$.", finish=Finish.STOP)
    assert verdict.value is Judgement.NO_ANSWER and "names no value" in verdict.reason
    with_dots = pool.check(problem(r"1, 2, 3, \dots"), r"The answer is $2, 3, 4, \dots$.", finish=Finish.STOP)
    assert with_dots.value is Judgement.NOT_CHECKED


RATIONALS = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**4)


def _tex(value: Fraction) -> str:
    return str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


@given(RATIONALS, RATIONALS)
def test_fractions_are_compared_exactly(one: Fraction, other: Fraction) -> None:
    assert latex.compare(_tex(one), f"{one.numerator}/{one.denominator}", "", conclusion=False).same is True
    assert latex.compare(_tex(one), _tex(other), "", conclusion=False).same is (one == other)


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["x", "y", "2", "3", "7", "10", r"\frac{1}{2}", "0.5"]))
    left, right = draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))
    return draw(st.sampled_from(["({}) + ({})", "({}) - ({})", "({})({})", r"({}) \cdot ({})"])).format(left, right)


@given(expressions(), expressions())
def test_exact_and_numeric_evaluation_agree(one: str, other: str) -> None:
    left, right = parse(one), parse(other)
    first, second = exact(left), exact(right)
    assert first is not None and second is not None
    assert same_value(left, right) is equal(first, second)


@given(expressions(), expressions())
def test_sums_and_products_do_not_depend_on_order(one: str, other: str) -> None:
    assert latex.compare(f"({one}) + ({other})", f"({other}) + ({one})", "", conclusion=False).same is True
    assert latex.compare(f"({one})({other})", f"({other})({one})", "", conclusion=False).same is True
