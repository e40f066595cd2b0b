from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from feints.records import AnswerKind, Finish, Judgement, Problem
from feints.verify.pool import CheckerPool
from feints.verify.tex import clean
from feints.verify.wellformed import malformed

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "answer_check"


def problem(answer: str) -> Problem:
    return Problem(id="p", question="", answer=answer, answer_kind=AnswerKind.LATEX, task="t", split="test")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (r"\frac{1}{4:sqr", "not closed"),
        (r"3-\fraf{1}{8}", r"\fraf"),
        (r"(2\cdot(3+4)", "not closed"),
        (r"\begin{bmatrix} 1 & 2", "not closed"),
        (r"\left( \frac{1}{2}", "not closed"),
        ("3+", "nothing stands after"),
        ("2 * / 3", "nothing stands before"),
        (r"ir^\05cc", "no command"),
        ("\\\\\\\\ \\frac{1}{2}", "no command"),
        ("1\ud8002", "character"),
        ("The degree of a polynomial is the hi", "prose"),
        (r"\frac{5}", r"\frac lacks"),
        (r"\frac{34}{}", r"\frac lacks"),
        (r"3 \sec \frac{\theta}", r"\frac lacks"),
        (r"\frac---{-24}{45}", r"\frac lacks"),
        ("√", r"\sqrt lacks"),
        ("x^4 - - - 1", "three times"),
        ("(3,-)4", "nothing stands after"),
        ("[12, , 28]", "nothing stands before"),
        ("/81", "nothing stands before"),
        (r"-2 \le, 7", "nothing stands before"),
        ("4x^3(2x\\]", "not closed"),
        ("x+1)+(2", "brackets"),
        ("$180 - 48 = oxed{132}$", "oxed"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrx}", "brackets"),
        ("104```8", "code"),
        ("08Variable()", "code"),
        ("24\\", "backslash"),
        ("!!", "neither a number nor a word"),
        ("$ and $", "neither a number nor a word"),
        ("28🙂", "no sign of mathematics"),
        (r"3 \le r \le 15\cup", "nothing stands after"),
        (r"\frac{\sqrt{3}}{2\le}", "inside of a value"),
        ("2x^{}5", "a power or an index is empty"),
        ("8( ,)16", "nothing stands before"),
        (r"-\-\frac{1}{2}", "no command"),
        ("-2, not not not not 3", "again and again"),
        ("1" + "/1" * 12, "again and again"),
        (r"4\\not not not", "again and again"),
        (r"\frac{10}{231while True:}", "code"),
        (r"\textbf٣{(B)}", "lacks"),
        ("5.n5", "out of place"),
        ("d{2}", "out of place"),
        ("70^∞rc", "out of place"),
        (r"\infty!880", "out of place"),
        ("x^  + 12x", "out of place"),
        ("47.!!04", "out of place"),
        ("(-5,-4)1", "out of place"),
        ("1e999[12, 28]", "out of place"),
        ("a\u031ab", "no letter of mathematics"),
        (r"1\\begin{pmatrix}", "not closed"),
        (r"1, \%-3, 5", "nothing stands before '%'"),
        (r"3 \sqrt[0]{4}", "zeroth root"),
        (r"{pmatrix} 2 \\ 1", "not begun"),
        (r"\frac{1}{2}{3}", "three parts"),
        ("[12, Ῑ8]", "no letter of mathematics"),
        (r"\begin{pmatrix} 0 8 & -2 \\ -8 & 0 & -5 \end{pmatrix}", "rows"),
        (r"\frac<6", "nothing stands before"),
        ("solve(x)", "code"),
        ("2^3^4", "power"),
        ("2\u1ab2", "no letter of mathematics"),
        ("\\frac{36}{\u1ba801}", "no letter of mathematics"),
        (r"\text1C", "lacks"),
        (r"-!\frac{24}{45}", "nothing stands before"),
        ("24x^2 - 6x + ..3", "nothing stands before"),
        (r"\frac{8}{>5}", "inside of a value"),
        (r"\begin{pmatrix} 2 & 1 = \\ 3 & 4 \end{pmatrix}", "nothing stands before"),
        (r"(-\inf1,2)", "out of place"),
        (r"(I\infty, -1)", "out of place"),
        (r"\sqrt{,46}", "nothing stands before"),
        ("9000000&", "outside of a matrix"),
        (r"\{-12, -11, -10", "not closed"),
        (r"\left( -\frac{5}{4}, \frac{10}{3\right)}", "brackets"),
        (r"\frac{15} \end{pmatrix}", r"\frac lacks"),
        (r"\begin{pmatrix} 1 \\ \frac{15} \end{pmatrix}", r"\frac lacks"),
        (r"= or boxed{\frac{1}{9}}", "boxed"),
        ("3" + "9" * 60, "fifty digits"),
        ("If $(4,-8)$ li", "prose"),
        (r"find the least power of 9 that ends in 01 and the greatest one that does not", "prose"),
        ("19. <|im_sta t|>user", "code"),
    ],
)
def test_what_is_broken_is_named(text: str, why: str) -> None:
    assert why in malformed(text)


@pytest.mark.parametrize(
    "text",
    [
        r"\left( -\infty, 1 \right]", "[0, 1)", r"2 \cdot 3 \dotsm 2016 \cdot 2017", r"-\frac{1}{2}", "x^{-1}", "5\\%",
        r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\text{June 20}", "all real numbers except 5", r"\$18.90", "n!", "±3",
        "12\\,000", "\\{1, 2\\}", "x = -3", r"\boxed{-2}", "$5$.", r"\frac12", r"\frac 5{12}", r"\sqrt[3]{2}", "]1, 2[",
        r"\frac\pi2", r"\[x = 2\]", r"\begin{pmatrix} 1 \\[2ex] 2 \end{pmatrix}", "a--b", "∞", r"\emptyset",
        r"\begin{pmatrix}6\\3\end{pmatrix}", "0.8888888888888888", r"M_{\odot}^{7}", r"a \ominus b",
        r"\sum_{j = 1}^\infty \frac{1}{2^j}", "(1, 2)^2", r"e^\sin x",
        "all real numbers x such that x is greater than 3", "First quadrant",
        "x\u0304 = 3", "0.3\u0305", r"(-\infty, 1)\cup(1,+\infty)", r"{}_5C_2", r"\frac ab", "5\u03c0", "At 5:00",
        r"\begin{pmatrix} abc + abc & abc - abc \\ abc & abc \end{pmatrix} = \begin{pmatrix} 0 & 0 \end{pmatrix}",
    ],
)  # fmt: skip
def test_what_is_well_formed_is_left_alone(text: str) -> None:
    assert malformed(text) == ""


def test_a_broken_answer_that_nobody_reads_is_no_answer_and_an_unusual_one_not_checked() -> None:
    with CheckerPool(workers=1) as pool:
        broken = pool.check(problem(r"\frac{1}{4}"), r"So \boxed{\frac{1}{4:sqr", finish=Finish.STOP)
        garbled = pool.check(problem(r"\frac{1}{4}"), r"The answer is $\fraf{1}{8} \cdotx$.", finish=Finish.STOP)
        unusual = pool.check(problem("2017"), r"The answer is $\gcd(2017, 4034)$.", finish=Finish.STOP)
    assert broken.value is Judgement.NO_ANSWER
    assert (garbled.value, garbled.extracted) == (Judgement.NO_ANSWER, None)
    assert "well formed" in garbled.reason
    assert unusual.value is Judgement.NOT_CHECKED


def test_a_broken_answer_is_no_answer_also_where_the_gold_answer_is_an_angle_and_a_whole_one_is_read() -> None:
    angle = problem(r"50^\circ")
    with CheckerPool(workers=1) as pool:
        texts = (r"So \boxed{\frac{5}}", r"So \boxed{4 - - - 1^\circ}", r"So \boxed{\binom{5}{1} \cdot 10^\circ}")
        verdicts = [pool.check(angle, text, finish=Finish.STOP) for text in texts]
    assert [verdict.value for verdict in verdicts] == [Judgement.NO_ANSWER, Judgement.NO_ANSWER, Judgement.CORRECT]


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the labelled answers are not at {FOLDER}")
def test_real_right_answers_are_well_formed() -> None:
    lines = (FOLDER / "math_pairs.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    right = [row["response"] for row in rows if row["correct"]] + [row["gold"] for row in rows]
    assert [text for text in right if malformed(text) or malformed(clean(text))] == []


@pytest.mark.parametrize("name", ["math_test", "math_contest_small", "mawps", "agieval_en"])
def test_real_gold_answers_are_well_formed(name: str) -> None:
    path = FOLDER.parent / "qa" / f"{name}.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"the problems are not at {path}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        golds = [row["answer"] for row in map(json.loads, file) if row["answer_type"] in ("latex", "number")]
    assert golds
    assert [gold for gold in golds if malformed(gold)] == []
