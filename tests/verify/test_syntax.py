r"""Signs in order and out of order, and answers of which one part cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feints.verify.forms import read
from feints.verify.pieces import differ
from feints.verify.syntax import disorder
from feints.verify.tex import clean

RATIONALES = Path(__file__).resolve().parents[3] / "shared" / "data" / "rationales"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (r"\frac{2 {x} +}2x^2", "nothing stands after '+'"),
        (r"\frac{5}{.}", "nothing stands before '.'"),
        (r"8+\log_3", r"nothing stands after"),
        (r"\frac{\sqrt{3}}{2 \cos \frac{\pi}{24} \cos}", "nothing stands after"),
        (r"\frac{1=3}{2}", "stands inside of a value"),
        ("(3]", "brackets do not match"),
        (r"\mathbb{R}^+ \cup", "nothing stands after"),
        ("12,]28[", "brackets do not match"),
        ("]3[", "brackets do not match"),
        ("x^{(7}2+5)", "brackets do not match"),
        (r"(r+5)⫆2", "no sign of mathematics"),
        ("8\u0e5a", "no sign of mathematics"),
        (".s", "nothing stands before '.'"),
        ("a^", "a power or an index is missing"),
        ("a_{}", "a power or an index is empty"),
        (r"\sqrt{}", r"\sqrt lacks"),
        ("(2, 3", "not closed"),
        ("&3", "outside of a matrix"),
        (r"\begin{pmatrix} 1 + & 2 \end{pmatrix}", "nothing stands before '&'"),
        (r"\begin{pmatrix} \end{pmatrix}", "nothing stands in its matrix"),
        (r"\to", "no value"),
        ("^2 + 12x + 35", "nothing stands before '^'"),
        (r"\frac{1}{^6}", "nothing stands before '^'"),
        ("_213021", "nothing stands before '_'"),
        ("22_6_6", "an index stands behind an index"),
        (r"\sqrt{2}+\sqrt%", r"\sqrt lacks"),
        (r"\frac{%4}{3}", "'%' stands inside of a value"),
        (r"(2,\frac{|\pi}{4})", "bars do not match"),
        ("1|", "bars do not match"),
        (r"\frac{3}X{2}", r"\frac lacks"),
        (r"\frac{1@9}{198}", "no sign of mathematics"),
        ("7₰", "no sign of mathematics"),
        ("0x1F444⋺", "nothing stands after"),
        ("10,↘!000", "nothing stands before '!'"),
        ("2x - ?0", "a question mark stands for a value"),
        (r"50^{\circ", "not closed"),
        (r"107^\.7", "a power or an index is missing"),
        ("75^\\\tirc", "a power or an index is missing"),
        (r"180h\circ", "nothing stands after"),
        (r"\frac{5\\}{4}", "stands inside of a value"),
        (r"\frac{16}\infty{3}", r"\frac lacks"),
        ("0↣", "nothing stands after"),
        ("3^∖", "a power or an index is missing"),
        (":00", "nothing stands before ':'"),
        ("{" * 900 + "1" + "}" * 900, "too deeply"),
    ],
)
def test_a_missing_value_is_named(text: str, why: str) -> None:
    assert why in disorder(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "]1, 2[", "(1, 2]", r"\{\}", r"x^{+}", r"\mathbb{Z}^{-}", "x^*", "x^-1", "f'(x)", "5'6\"", "|x| + ||y|-1|",
        r"\frac12", r"\frac ab", r"\sqrt[3]{2}", r"\frac{P(X=1)}{2}", r"\frac{3,744}{2,598,960}", r"1, 2, \dots, 10",
        r"\sum_{i=1}^{n} i^2", r"\lim_{x \to 0} \sin^2 x", r"\{x : x > 3\}", r"f: A \to B", r"{}^5C_2", "3 and 4",
        r"\begin{cases} x & x > 0 \\ & x < 0 \end{cases}", r"\begin{array}{c|c} 1 & 2 \\ \hline 3 & 4 \end{array}",
        r"128{,}778{.}24", r"]-\infty;-2]\cup[3;+\infty[", r"x \in ]0, 1]", r"\mathbb{R}^+ \cup \{0\}", "₹5", "5₩",
        r"24\pi \text{ (about } 75.4)", r"\frac{1}{^{10}C_3}", "Ca^{2+}", r"y^{\prime\prime}", r"f^{\circ n}", "20℃",
        r"\sqrt3 (\approx 1.7)", r"\sqrt[4]{6} a, -\sqrt[4]{6} b, \sqrt[n]{2}", "[f(1), g(2))",
        "(3,)", "5。", "\uff083\uff0c4\uff09", "2 x. So 3", r"30\circ", "5 (%)", r"x \not= 3", "-(-3)", "a.m.", "3:2",
        r"\langle 1, 2 \rangle", r"\lfloor x \rfloor", "n!!", "∛8 → 2", "a ≅ b", r"\text{A} \cup \text{B}", "_5C_2",
        "50^∘", r"f \circ g",
    ],
)  # fmt: skip
def test_signs_in_order_pass_whatever_they_mean(text: str) -> None:
    assert disorder(text) == ""


@given(st.recursive(st.sampled_from(["x", "2", r"\pi", "0.5"]), lambda inner: st.one_of(
    st.tuples(inner, st.sampled_from(["+", "-", r"\cdot ", "/", "=", ", "]), inner).map("".join),
    inner.map(lambda one: f"({one})"), inner.map(lambda one: rf"\sqrt{{{one.replace('=', '+')}}}"),
    st.tuples(inner, inner).map(lambda two: rf"\frac{{{two[0]}}}{{{two[1]}}}".replace("=", "+")),
    inner.map(lambda one: f"({one})^{{{one}}}"),
), max_leaves=12))  # fmt: skip
def test_what_is_built_in_order_is_in_order_and_no_longer_when_its_end_is_lost(text: str) -> None:
    assert disorder(text) == ""
    assert disorder(text + "+") and disorder(f"({text}") and disorder(rf"\frac{{{text}}}")


@given(st.text(alphabet="0x+-*/=^_(){}[]|,.!&\\ \n⫆é∞", max_size=40))
def test_reading_ends_whatever_stands_there(text: str) -> None:
    assert isinstance(disorder(text), str)


@pytest.mark.parametrize("name", ["math_train_gpt35_8samples", "qwen_math100_8samples"])
def test_real_gold_answers_are_in_order(name: str) -> None:
    path = RATIONALES / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"the rationales are not at {path}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        golds = [str(row["answer"]) for row in map(json.loads, file)]
    assert golds and [gold for gold in golds if disorder(clean(gold))] == []


@pytest.mark.parametrize(
    ("gold", "said", "expected"),
    [
        ("(1, 2, 3)", r"(\frac{%1}{2}, 5, 3)", True),
        ("(1, 2, 3)", r"(\frac{%1}{2}, 2, 3)", False),
        ("(1, 2, 3)", r"(\frac{%1}{2}, 5)", False),
        ("[1, 2)", "(3, <2)", True),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix} 1 & 2= \\ 3 & 5 \end{pmatrix}", True),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix} 1 & 2= \\ 3 & 4 \end{pmatrix}", False),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix} 7 & 2= \end{pmatrix}", False),
        ("715", r"13, 26, 39, \dots , 130", True),
        ("715", r"1 + 2 + \dots + 37", False),
        ("x", r"1, 2, \dots , 130", False),
        ("715", r"13, \dots", False),
    ],
)
def test_one_part_that_differs_settles_what_cannot_be_read_as_a_whole(gold: str, said: str, expected: bool) -> None:
    assert differ(read(clean(gold), thousands=False), clean(said)) is expected
