"""LaTeX answers: pairs of ours, the known false positives of math-verify, and properties of exact arithmetic."""

from __future__ import annotations

import importlib.util
import time
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


def test_of_a_list_too_long_to_read_no_part_stands_for_the_whole(pool: CheckerPool) -> None:
    gold = ";".join(f"({n},{n})" for n in range(60))
    verdict = pool.check(problem(gold), f"The answer is ${gold.replace('59', '60')}$.")
    assert verdict.value is not Judgement.CORRECT


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
        ("$5$; or rather six", "$5$; or rather six"),
        ("$5$, or $6$.", "$5$, or $6$"),
        ("$5$ km", "$5$ km"),
        ("Therefore, $x = 3$.", "$x = 3$"),
    ],
)
def test_words_behind_a_formula_that_state_nothing_are_not_the_answer(text: str, stated: str) -> None:
    assert latex.statement(text, conclusion=False) == stated


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("x > 3", "n > 3"), ("AB < 5", "5 > AB"), ("f(x) > 3", "3 < f(x)"), ("x_1 < 3", "x_{1} < 3"),
        (r"\tan x > 1", r"\tan(x) > 1"), ("x(x-1) > 0", "x^2 > x"), ("a(b+c) > 2", "ab + ac > 2"), ("e < x", "x > e"),
        ("5, -3", r"5 \\ -3"), ("(3, 7)", r"(3 \text{ cm}, 7\checkmark)"), ("(0, 0)", r"\vec{0}"),
        (r"7:30 \text{ p.m.}", r"7.30 \text{ p.m.}"), (r"\|v\| = 5", "5"), ("5", r"\|v\| = 5"),
        (r"\frac{n(n+1)}{2}", r"1 + 2 + \dots + n"), ("3", r"3, 3, \dots, 3"), (r"\sqrt{2}", r"(100\sqrt{2})\%"),
        (r"\pi", r"3.14159\ldots"), ("5", r"10 - 4 \\ - 1"), (r"(\frac{\pi}{2}, 7)", r"(90^\circ, 7\checkmark)"),
    ],
)  # fmt: skip
def test_another_notation_of_a_right_answer_is_never_wrong(pool: CheckerPool, gold: str, said: str) -> None:
    verdict = pool.check(problem(gold), rf"So \boxed{{{said}}}.", finish=Finish.STOP)
    assert verdict.value in (Judgement.CORRECT, Judgement.NOT_CHECKED), verdict.reason


@pytest.mark.parametrize("said", [r"\text{ cm}^2", r"\mbox{m} \text{s}"])
def test_units_alone_have_no_part_that_differs(said: str) -> None:
    finding = latex.compare("5", said, "", conclusion=False)
    assert (finding.same, finding.evidence) == (None, "unread")


def test_a_product_is_no_numeral(pool: CheckerPool) -> None:
    for gold, said in (("210_3", r"2 \cdot 10"), ("A51_{16}", r"A5 \cdot 1"), ("12_5", r"1 \cdot 2")):
        assert pool.check(problem(gold), rf"So \boxed{{{said}}}.", finish=Finish.STOP).value is not Judgement.CORRECT


def test_inequalities_too_large_to_try_point_by_point_end_at_once(pool: CheckerPool) -> None:
    started = time.perf_counter()
    latex.compare("x + y + z > 0", "(x + y + z)^{10} > -1", "", conclusion=False)
    assert time.perf_counter() - started < 2


def test_what_neither_checker_can_read_is_not_checked(pool: CheckerPool) -> None:
    verdict = pool.check(problem("2017"), r"The answer is $\gcd(2017, 4034)$.")
    assert verdict.value is Judgement.NOT_CHECKED


def test_what_no_checker_reads_at_the_end_of_a_text_that_marks_no_answer_is_no_answer(pool: CheckerPool) -> None:
    unread = pool.check(problem("2017"), r"We add all the parts, and so we find $p_i^{e_i}.$", finish=Finish.STOP)
    apart = pool.check(problem("-20"), r"From this and from that, $(a+d) + \gcd(4, 2)=-20$", finish=Finish.STOP)
    assert unread.value is Judgement.NO_ANSWER
    assert "no answer is marked" in unread.reason
    assert apart.value in (Judgement.CORRECT, Judgement.NOT_CHECKED)


@pytest.mark.parametrize("said", [r"2 \cdot 3 \dotsm 2016 \cdot 2017", r"2^{9} + 2^{8} \cdot 3 + \dots + 3^{9}"])
def test_a_sum_with_a_part_left_out_is_no_number(pool: CheckerPool, said: str) -> None:
    assert pool.check(problem("7"), rf"So \boxed{{{said}}}.", finish=Finish.STOP).value is Judgement.NO_ANSWER


def test_a_decimal_that_goes_on_is_compared_as_far_as_it_goes(pool: CheckerPool) -> None:
    assert pool.check(problem(r"7 - 2\pi"), r"So \boxed{3.798835\ldots}.").value is Judgement.WRONG
    assert pool.check(problem(r"7 - 2\pi"), r"So \boxed{0.716814\ldots}.").value is not Judgement.WRONG


@pytest.mark.parametrize(
    ("gold", "said", "value"),
    [
        ("6", r"2 \* 3", Judgement.CORRECT),
        ("x^2 - 1", r"x\^2 \- 1", Judgement.CORRECT),
        ("3", r"17 \equiv 3 \pmod{7}", Judgement.CORRECT),
        ("5", r"17 \equiv 3 \pmod{7}", Judgement.WRONG),
        (r"\text{Evelyn}", r"{\text{Evelyn}}", Judgement.CORRECT),
        (r"8\!:\!34 \text{ p.m.}", "B. 8:34 PM", Judgement.CORRECT),
        (r"(-\infty, -5) \cup (7, \infty)", r"(-\infty, -5) \cup (7, \inf)", Judgement.CORRECT),
        (r"\frac{1}{\sqrt{2}}", r"\frac{1}\sqrt{2}", Judgement.CORRECT),
        ("10", r"1 \\ 0", Judgement.WRONG),
        ("2x^2 - 12x + 20", "√(x^2 - 6x + 10)", Judgement.WRONG),
        (r"4\sqrt{2}", r"8\sqrt\frac{2}{243}", Judgement.WRONG),
        (r"3\sqrt{2} - 3", r"\frac{3}{1,234}", Judgement.WRONG),
    ],
)
def test_spellings_that_not_every_checker_knew(pool: CheckerPool, gold: str, said: str, value: Judgement) -> None:
    assert pool.check(problem(gold), rf"So \boxed{{{said}}}.", finish=Finish.STOP).value is value


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
