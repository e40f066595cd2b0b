"""What the fuzzer found or might have: judged without a crash, here and in the pool alike, and never left open."""

from __future__ import annotations

import pytest

from feints.records import AnswerKind, Choice, Finish, Form, Judgement, Problem
from feints.verify.judge import Item
from feints.verify.pool import CheckerPool

DEEP = 3000
TEXTS = (
    "", "\ud800", "\u0000\u202e12", "\\boxed{" * DEEP, "(" * DEEP + "1", "{" * DEEP + "1" + "}" * DEEP,
    "-" * DEEP + "4",
    "2^" * DEEP + "2", "\\frac{1}{" * 300 + "2" + "}" * 300, "9" * 5000, "1e999999999", "The answer is 1e-400.",
    "The answer is \\FRAC{30}{6ê}.", "\\boxed{\\infty, 1]", "not " * DEEP + "yes", "<think>" * DEEP + "4",
    "#### ٣", "The answer is ½½½.", "\\begin{bmatr_{", "1,234,567.89,0 or", "(A)(B)(C)" * 200, "nan",
    "The answer is \u2028.", "¹\\begin{pmatrix}", "2_¹ + \\begin{pmatrix}",
)  # fmt: skip
PROBLEMS = {
    AnswerKind.NUMBER: "4", AnswerKind.LATEX: "\\frac{1}{2}", AnswerKind.CHOICE: "B", AnswerKind.BOOLEAN: "yes",
    AnswerKind.TEXT: "gral",
}  # fmt: skip
PROGRAMS = (
    "ans = " + "(" * 200 + "1" + ")" * 200, "ans = 1e999", "ans = \ud800", "ans = 2 ** 2 ** 2 ** 2 ** 9",
    "ans = ans\nsolve(ans)", "x = y\ny = x\nans = x\nsolve(ans)", "ans = 1 / 0",
    "And(ans = 1, Not(ans = 1))\nsolve(ans)",
    "ans = sqrt(sqrt(-1))\nsolve(ans)", "ans = min(1, max(2\nsolve(ans)", "\u0000ans = 1", "ans = 0x1F",
    "ans = -" + "-" * DEEP + "1",
)  # fmt: skip


def item(kind: AnswerKind, text: str) -> Item:
    choices = (Choice(label="A", text="12"), Choice(label="B", text="4")) if kind is AnswerKind.CHOICE else ()
    problem = Problem(
        id="p", question="", answer=PROBLEMS[kind], answer_kind=kind, task="t", split="test", choices=choices
    )
    return problem, text, "", Finish.UNKNOWN


@pytest.mark.parametrize("kind", PROBLEMS)
def test_every_text_gets_a_verdict_and_none_stays_open(kind: AnswerKind) -> None:
    with CheckerPool(workers=1) as pool:
        verdicts = pool.check_all([item(kind, text) for text in TEXTS])
    assert len(verdicts) == len(TEXTS)
    left = [(text[:40], v.reason) for text, v in zip(TEXTS, verdicts, strict=True) if v.value is Judgement.NOT_CHECKED]
    assert left == []


@pytest.mark.slow
@pytest.mark.parametrize("form", [Form.POT, Form.EOT, Form.SAT])
def test_every_program_gets_a_verdict(form: Form) -> None:
    with CheckerPool(workers=1) as pool:
        verdicts = [pool.check(*item(AnswerKind.NUMBER, text)[:2], form=form) for text in PROGRAMS]
    assert all(v.value in Judgement and v.value is not Judgement.CORRECT for v in verdicts)
