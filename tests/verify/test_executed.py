"""Programs, equations and constraints: read, run, and turned into verdicts; failures keep their kind."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feints.errors import DataError, MissingExtraError
from feints.records import AnswerKind, Choice, Finish, Form, Judgement, Problem
from feints.verify import equations, programs
from feints.verify import executor as executor_file
from feints.verify.executed import close
from feints.verify.execution import MISTAKES, Execution, Failure, Limits, failure_of, to_number, value_text
from feints.verify.executor import Executor
from feints.verify.pool import CheckerPool
from feints.verify.terms import TermError, read_relation

PROBLEM = Problem(id="p", question="?", answer="14", answer_kind=AnswerKind.NUMBER, task="t", split="s")


@pytest.fixture(scope="module")
def run() -> Iterator[Executor]:
    with Executor(Limits(seconds=2.0)) as executor:
        yield executor


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = 3 + 4\nans = a * 2", "14"),
        ("# seven\na - 4 = 3\nans = a * 2", "14"),
        ("x + y = 10\nx - y = 2\nans = x * y", "24"),
        ("ans = 50% * 80", "40"),
        ("ans = 1,234 + 0.5", "2469/2"),
        ("2x + 3 = 9\nans = x", "3"),
        ("x^2 = 9\nx = 3\nans = x", "3"),
        ("x^3 = 8\nans = x", "2"),
        ("Here they are:\n```\nans = 7\n```", "7"),
        ("Core question: what?\nUseful information:\n1. 3 = three\nSolution:\nans = 7", "7"),
        ("ans = 7.", "7"),
        ("y = 4 − 1\nans = 2 × y ÷ 3", "2"),
    ],
)
def test_equations_are_solved_exactly(run: Executor, text: str, value: str) -> None:
    assert run.run(Form.EOT, text) == Execution(value=value, ran_in="sympy")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a - b = 4\nb = 3 + 1\nans = a\nsolve(ans)", "8"),
        ("ans = a\na = 2 * b\nb = 7\nsolve(ans)", "14"),
        ("x = Variable()\nx = 3\nx = x + 4\nresult = x\nsolve(result)", "7"),
        ("n = Int('n')\nn > 2\nn < 4\nsolve(n)", "3"),
        ("ans = max(3, 4) + abs(0 - 2)\nsolve(ans)", "6"),
        ("Or(ans = 3, ans = 4)\nNot(ans = 3)\nsolve(ans)", "4"),
        ("3 < ans + 2 <= 5\nans >= 3\nsolve(ans)", "3"),
        ("x = 5\nsolve(x + 2)", "7"),
        ("rate = 1 / 10\nyears = 2 + 1\nans = 1000 * (1 + rate) ** years\nsolve(ans)", "1331"),
        ("ans = 2 ** n\nn = 20\nsolve(ans)", "1048576"),
        ("ans = 2 ** (0 - 3)\nsolve(ans)", "1/8"),
        ("n = 2\nx ** n = 9\nx > 0\nans = x\nsolve(ans)", "3"),
        ("ans = 1 / 3", "1/3"),
    ],
)
def test_constraints_have_one_answer(run: Executor, text: str, value: str) -> None:
    assert run.run(Form.SAT, text) == Execution(value=value, ran_in="z3")


FAILURES = [
    (Form.POT, "ans = (3", Failure.SYNTAX),
    (Form.POT, "ans = 1 / 0", Failure.RUNTIME),
    (Form.POT, "ans = b", Failure.RUNTIME),
    (Form.POT, "a = 1\nwhile True:\n  a = 1", Failure.TIME),
    (Form.POT, "a = []\nwhile True:\n  a.append('x' * 1000)", Failure.MEMORY),
    (Form.POT, "a = 3", Failure.NO_ANSWER),
    (Form.POT, "ans = [1, 2]", Failure.NO_ANSWER),
    (Form.POT, "I cannot solve this.", Failure.NOTHING),
    (Form.EOT, "ans = 3 +", Failure.SYNTAX),
    (Form.EOT, "ans = sin(3)", Failure.SYNTAX),
    (Form.EOT, "__import__('os') = ans", Failure.SYNTAX),
    (Form.EOT, "ans = 2\nans > 1", Failure.SYNTAX),
    (Form.EOT, "ans = 5 / (3 - 3)", Failure.RUNTIME),
    (Form.EOT, "x = 0\nans = 3 / x", Failure.RUNTIME),
    (Form.EOT, "ans = 2 ^ (10 ^ 9)", Failure.MEMORY),
    (Form.EOT, f"ans = {'9' * 40} ^ {'9' * 40}", Failure.MEMORY),
    (Form.EOT, "a = 9\nb = a ^ a ^ a\nans = b", Failure.MEMORY),
    (
        Form.EOT,
        "a = 9\n" + "".join(f"{y} = {x} ^ 9\n" for x, y in zip("abcdefg", "bcdefgh", strict=True)) + "ans = h",
        Failure.MEMORY,
    ),
    (Form.EOT, "x = 3", Failure.NO_ANSWER),
    (Form.EOT, "x = 1\nx = 2\nans = x", Failure.UNSATISFIABLE),
    (Form.EOT, "x * x = -4\nans = x", Failure.UNSATISFIABLE),
    (Form.EOT, "ans ^ 2 = 4", Failure.AMBIGUOUS),
    (Form.EOT, "ans = x + 1", Failure.AMBIGUOUS),
    (Form.EOT, "I cannot solve this.", Failure.NOTHING),
    (Form.SAT, "ans = (3\nsolve(ans)", Failure.SYNTAX),
    (Form.SAT, "x = 3\nsolve(ans)", Failure.NO_ANSWER),
    (Form.SAT, "ans > 3\nans < 2\nsolve(ans)", Failure.UNSATISFIABLE),
    (Form.SAT, "ans > 3\nsolve(ans)", Failure.AMBIGUOUS),
    (Form.SAT, "x^3 + y^3 = z^3\nx > 0\ny > 0\nz > 0\nx = Int('x')\nans = x\nsolve(ans)", None),
    (Form.SAT, "I cannot solve this.", Failure.NOTHING),
    (Form.SAT, "n = 2\nn = 3\nans = 2 ** n\nsolve(ans)", Failure.UNSATISFIABLE),
    (Form.SAT, "n > 2\nans = 2 ** n\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "n = 10 ** 9\nans = 2 ** n\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "a = b ^ c\nans > 3\nsolve(ans)", Failure.AMBIGUOUS),
    (Form.SAT, "a = b ^ c\nans > 3\nans < 2\nsolve(ans)", Failure.UNSATISFIABLE),
    (Form.SAT, "a = b ^ c\nans = 3\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "a = b ^ c\nans = d\nd > a\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "a = 3\nans = a + 2 * growth ^ years\nsolve(ans)", Failure.AMBIGUOUS),
    (Form.SAT, "a = 3\nans = 5 - 2 ^ 2 ^ years / a\nsolve(ans)", Failure.AMBIGUOUS),
    (Form.SAT, "years = Int('years')\nans = 2 ^ years\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "ans = 1 ^ years\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "ans = 2 ^ (0 * years)\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "ans = b * 2 ^ years\nb > 1\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "ans = 2 ^ years\nyears > 1\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "ans = 2 ^ years\nans < 3\nsolve(ans)", Failure.NOT_RUN),
    (Form.SAT, "n = 0\nans = 1 / n\nsolve(ans)", Failure.UNSATISFIABLE),
]


@pytest.mark.slow
@pytest.mark.parametrize(("form", "text", "failure"), FAILURES)
def test_a_failure_keeps_its_kind(run: Executor, form: Form, text: str, failure: Failure | None) -> None:
    found = run.run(form, text)
    assert found.value is None
    assert found.detail
    if failure is None:  # beyond Z3: it gives up, is late, or finds two solutions, and never a wrong value
        assert found.failure in (Failure.TIME, Failure.NOT_RUN, Failure.AMBIGUOUS)
    else:
        assert found.failure is failure


@pytest.mark.slow
def test_kpdd_p7_a_program_reads_no_file_and_asks_nobody(tmp_path: Path) -> None:
    """KPDD-P7: each program is right where it is let, and wrong in the executor."""
    gold = tmp_path / "gold"
    gold.write_text("14", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server, CheckerPool(workers=1) as pool:
        address = server.getsockname()
        for program in (
            f"from pathlib import Path\nans = int(Path({str(gold)!r}).read_text())",
            f"from pathlib import Path\nans = Path({str(tmp_path / 'made')!r}).write_text('14') * 7",
            f"import socket\nsocket.create_connection({address!r}, 1).close()\nans = 14",
        ):
            exec(program, let := {})
            assert let["ans"] == 14
            (tmp_path / "made").unlink(missing_ok=True)
            verdict = pool.check(PROBLEM, program, form=Form.POT)
            assert (verdict.value, failure_of(verdict)) == (Judgement.WRONG, Failure.RUNTIME)
    assert [path.name for path in tmp_path.iterdir()] == ["gold"]


@pytest.mark.slow
def test_mistakes_are_wrong_and_the_rest_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with CheckerPool(workers=2) as pool:
        for kind in Failure:
            found = Execution(failure=kind, detail="for a reason")
            monkeypatch.setattr(pool.executor, "run", lambda form, text, found=found: found)
            verdict = pool.check(PROBLEM, "x", form=Form.POT)
            expected = {Failure.NOTHING: Judgement.NO_ANSWER, Failure.NOT_RUN: Judgement.NOT_CHECKED}
            assert verdict.value is expected.get(kind, Judgement.WRONG)
            assert (verdict.value is Judgement.WRONG) == (kind in MISTAKES)
            assert failure_of(verdict) is kind
            assert verdict.reason == f"{kind.value}: for a reason"
            cut = pool.check(PROBLEM, "x", form=Form.POT, finish=Finish.LENGTH)
            assert cut.value is expected.get(kind, Judgement.NO_ANSWER)
            for finish in (Finish.REFUSAL, Finish.MALFORMED):
                refused = pool.check(PROBLEM, "x", form=Form.POT, finish=finish)
                assert refused.value is expected.get(kind, Judgement.NO_ANSWER), "nobody's mistake"


@pytest.mark.slow
def test_the_pool_judges_every_form_and_keeps_the_order() -> None:
    texts = ["ans = 14", "ans = 15", "ans = 14.0", "I do not know.", "ans = 28 / 2"]
    values = [Judgement.CORRECT, Judgement.WRONG, Judgement.CORRECT, Judgement.NO_ANSWER, Judgement.CORRECT]
    items = [(PROBLEM, text, "", Finish.STOP) for text in texts]
    with CheckerPool(workers=2) as pool:
        for form in (Form.POT, Form.EOT, Form.SAT):
            assert [verdict.value for verdict in pool.check_all(items, form)] == values
        assert asyncio.run(pool.check_async(PROBLEM, "ans = 28 / 2", form=Form.EOT)).checker == "equations"
        with pytest.raises(DataError, match="gold"):
            pool.check_all([(replace(PROBLEM, answer=""), "ans = 1", "", Finish.STOP)], Form.POT)
        with pool.executor._solvers.borrow() as solver:
            os.kill(solver.pid, 0)
    with pytest.raises(ProcessLookupError):  # it ended with the pool
        os.kill(solver.pid, 0)


@pytest.mark.slow
def test_values_are_held_against_options_truths_and_latex() -> None:
    options = tuple(
        Choice(label=label, text=text) for label, text in (("A", "12 km"), ("B", "20%"), ("C", "0.67"), ("D", "x"))
    )
    choice = replace(PROBLEM, answer="A", answer_kind=AnswerKind.CHOICE, choices=options)
    truth = replace(PROBLEM, answer="yes", answer_kind=AnswerKind.BOOLEAN)
    latex = replace(PROBLEM, answer="\\frac{1}{2}", answer_kind=AnswerKind.LATEX)
    with CheckerPool(workers=1) as pool:
        assert pool.check(choice, "ans = 12", form=Form.POT).value is Judgement.CORRECT
        assert pool.check(choice, "ans = 13", form=Form.POT).lenient is Judgement.CORRECT
        assert pool.check(choice, "ans = 13", form=Form.POT).value is Judgement.WRONG
        cut = pool.check(choice, "ans = 13", form=Form.POT, finish=Finish.LENGTH)
        assert (cut.value, cut.lenient) == (Judgement.NO_ANSWER, Judgement.CORRECT)
        assert pool.check(replace(choice, answer="B"), "ans = 0.2", form=Form.POT).value is Judgement.CORRECT
        assert pool.check(replace(choice, answer="C"), "ans = 2 / 3", form=Form.POT).value is Judgement.CORRECT
        assert pool.check(truth, "ans = 3 > 2", form=Form.POT).value is Judgement.CORRECT
        assert pool.check(truth, "ans = 3 < 2", form=Form.POT).value is Judgement.WRONG
        assert pool.check(latex, "ans = 0.5", form=Form.POT).value is Judgement.CORRECT
        assert pool.check(latex, "ans = 1 / 3 + 1 / 6", form=Form.EOT).value is Judgement.CORRECT


def test_kpdd_a8_a_number_is_right_less_than_a_thousandth_away_and_a_large_one_up_to_the_noise_of_floats() -> None:
    assert [close(Fraction(5), Fraction(said)) for said in ("5.0009", "5.001", "4.999")] == [True, False, False]
    large = Fraction(10**18)
    assert [close(large, large + off) for off in (1000, 10**7)] == [True, False]


def test_a_missing_package_is_said_before_anything_is_paid_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor_file.importlib.util, "find_spec", lambda name: None)
    for form, package in ((Form.POT, "pydantic-monty"), (Form.SAT, "z3-solver")):
        with pytest.raises(MissingExtraError, match=package):
            executor_file.require(form)
    executor_file.require(Form.COT)


def test_programs_are_found_in_what_models_write_around_them() -> None:
    limits = Limits()
    plain = "a = 3\nans = a"
    for text in (
        plain,
        f"```python\n{plain}\n```",
        f"Here is the program:\n```\n{plain}\n```\nIt works.",
        f"Core question: what?\nUseful information:\n1. Tom has 3.\nSolution:\n{plain}",
        f"**Program:**\n{plain}",
        f"Here is the program:\n{plain}",
    ):
        found = programs.read(text, limits)
        assert isinstance(found, str)
        assert found.strip() == plain
    assert isinstance(programs.read("x" * 30_000, limits), Execution)


def test_imports_of_habit_are_left_out() -> None:
    program = "import numpy as np\nimport math\nimport sympy\nans = math.sqrt(sympy.Integer(4))"
    assert programs.without_unused(program) == "\nimport math\nimport sympy\nans = math.sqrt(sympy.Integer(4))"
    began = time.monotonic()
    for filler in ("import a\n", "\n", " *\n", "```\n"):
        programs.without_unused(filler * 2000)
        assert isinstance(programs.read(filler * 2000, Limits()), str | Execution)
        assert isinstance(equations.read(filler * 2000, Limits()), list | Execution)
    assert time.monotonic() - began < 10, "reading takes as long as the text"
    assert programs.without_unused("import numpy as np\nans = np.pi") == "import numpy as np\nans = np.pi"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ans xy019.,+-*/^()=<>%$!_'\"[]{}#\n\\é", max_size=60))
def test_reading_is_total(text: str) -> None:
    try:
        found = read_relation(text)
    except TermError as error:
        assert str(error)
    else:
        assert all(tree[0] in ("=", "<", "<=", ">", ">=", "!=", "and", "or", "not", "implies") for tree in found)


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_values_survive_being_written(top: int, bottom: int) -> None:
    assert to_number(value_text(top) or "") == top
    exact = to_number(f"{top}/{bottom}")
    assert exact is not None
    assert exact * bottom == top


def test_what_is_no_value_has_no_text() -> None:
    for value in (None, float("nan"), float("inf"), [], [1, 2], {}, 10**5000, "", "x" * 1000):
        assert value_text(value) is None
    assert [value_text(value) for value in ([5], 5.0, 2.5, True, (7,))] == ["5", "5", "2.5", "yes", "7"]
