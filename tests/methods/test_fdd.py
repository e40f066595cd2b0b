"""Feedback-driven distillation on a tiny bench: what grows, what is left out and why, what it costs."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.methods.rounds_bench import Run, reports, rows

from feints.bench import Bench, asking
from feints.curate.leak import remove_leaks
from feints.curate.variants import agreed, read_variant, unlike
from feints.generate.budget import Budget
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request
from feints.methods import fdd
from feints.records import (
    AnswerKind,
    AnswerSource,
    Choice,
    Dropped,
    Example,
    Finish,
    Form,
    Judgement,
    Origin,
    Problem,
    Rationale,
    Verdict,
)
from feints.report.gather import _judged
from feints.tables import read_table
from feints.verify.pool import CheckerPool

Config = fdd.Config


@pytest.fixture
def run(tiny: ModuleType, talker: Path, tmp_path: Path) -> Run:
    def go(config: Config, folder: Path = tmp_path, **changed: Any) -> tuple[Any, Any]:
        with tiny.tiny_bench(folder, talker, **changed) as bench:
            return bench, fdd.distil(bench, config)

    return go


def test_what_is_solved_grows_harder_and_what_fails_is_practised(
    tiny: ModuleType, talker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Any
) -> None:
    source, asked = teacher
    real = asking.opened
    with tiny.tiny_bench(tmp_path, talker, teacher=source) as bench:
        gold = {problem.question: problem for problem in bench.problems}

        def says(request: Request) -> str:
            problem = next(p for question, p in gold.items() if question in request.messages[-1].content)
            solved = int(problem.id[-1]) % 2 == 0
            return f"The answer is {int(problem.answer) + (not solved)}."

        pupil = ScriptedSource(says, "pupil")

        def opened(bench: Bench, who: Any) -> Any:
            return nullcontext(pupil) if isinstance(who, Path) else real(bench, who)

        monkeypatch.setattr(asking, "opened", opened)
        fdd.distil(bench, Config(rounds=1, answers="rationales"))
        found = Counter(
            (int(problem.id[-1]) % 2 == 0, "harder than this one" in request.messages[-1].content)
            for request in asked
            for question, problem in gold.items()
            if question in request.messages[-1].content and "new problem" in request.messages[-1].content
        )
    assert set(found) == {(True, True), (False, False)}
    assert sum(found.values()) == reports(bench)[0].proposed


@pytest.mark.parametrize("answers", ["programs", "rationales"])
def test_new_problems_join_with_agreed_answers_and_teach(run: Run, answers: str) -> None:
    if answers == "programs":
        pytest.importorskip("pydantic_monty", reason="programs are not executed here")
    bench, _ = run(Config(rounds=2, answers=answers))
    first, second, last = reports(bench)
    new = rows(bench, "0_problems", Problem, "-new-")
    assert len(new) == first.added + second.added > 0
    assert (first.problems, second.problems) == (24 + first.added, 24 + len(new))
    # Attempts in words are the new problems' first rationales, paid once.
    assert last.problems == 24 + len(new) and (last.requests >= second.added) is (answers == "programs")
    known = {problem.id for problem in bench.problems}
    for problem in new:
        assert problem.answer_source is AnswerSource.AGREEMENT and problem.parent in known
        assert problem.split == "train" and int(problem.answer) >= 0
    learnt = {e.problem_id for path, _ in bench.run.outputs("3_examples") for e in read_table(path, Example)}
    assert {problem.id for problem in new} & learnt
    written = [row for row in rows(bench, "1_rationales", Rationale) if row.origin is Origin.PROBLEM]
    lost = rows(bench, "3_dropped", Dropped, "-new-")
    assert len(written) == first.proposed + second.proposed == len(new) + len(lost)
    assert all(row.reason for row in lost)


def test_attempts_are_executed_once_and_never_counted_as_right_or_wrong(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pydantic_monty", reason="programs are not executed here")
    bench, _ = run(Config(rounds=1))
    new = rows(bench, "0_problems", Problem, "-new-")
    attempts = {row.id for row in rows(bench, "1_rationales", Rationale, "attempts-")}
    assert new and attempts and not attempts & {row.rationale.id for row in _judged(bench.run)[1]}

    def busy(pool: CheckerPool, items: Any, form: Form = Form.COT) -> list[Verdict]:
        raise AssertionError(f"{len(list(items))} texts ({form}) were judged again")

    monkeypatch.setattr(CheckerPool, "check_all", busy)
    again, _ = run(Config(rounds=1))
    assert rows(again, "0_problems", Problem, "-new-") == new


def test_accepted_answers_are_nearly_always_the_lab_s_own(run: Run) -> None:
    pytest.importorskip("pydantic_monty", reason="programs are not executed here")
    from feints.lab.reader import read

    bench, _ = run(Config(rounds=1))
    new = rows(bench, "0_problems", Problem, "-new-")
    right = sum(str(read(problem.question).answer) == problem.answer for problem in new)
    assert new and right >= 0.9 * len(new)


def test_variants_of_problems_held_back_are_never_made(run: Run) -> None:
    bench, _ = run(Config(rounds=1, answers="rationales"))
    held = {
        example.problem_id
        for path, entry in bench.run.outputs("3_examples")
        if entry["label"].endswith("-validation")
        for example in read_table(path, Example)
    }
    parents = {row.problem_id for row in rows(bench, "1_rationales", Rationale) if row.origin is Origin.PROBLEM}
    assert held and parents and not held & parents


def test_a_new_problem_of_a_test_set_is_left_out(run: Run, tmp_path: Path) -> None:
    free, _ = run(Config(rounds=1, answers="rationales"), tmp_path / "free")
    made = [row.text for row in rows(free, "1_rationales", Rationale) if row.origin is Origin.PROBLEM]
    tests = [replace(free.problems.rows[0], id=f"t{place}", question=text) for place, text in enumerate(made[:5])]
    bench, _ = run(
        Config(rounds=1, answers="rationales"),
        without_leaks=lambda problems: remove_leaks(problems, {"test": tests}, ngram=None),
    )
    lost = Counter(row.reason for row in rows(bench, "3_dropped", Dropped, "-new-"))
    assert lost["equal to a test problem"] == len({row.question for row in tests})
    added = {problem.question for problem in rows(bench, "0_problems", Problem, "-new-")}
    assert not added & {problem.question for problem in tests}


def test_both_arms_use_up_the_calls_of_a_round(run: Run, tmp_path: Path) -> None:
    calls, most = 120, 1 + 5
    spent = []
    for grow in (True, False):
        bench, _ = run(Config(rounds=2, grow=grow, round_calls=calls, answers="rationales"), tmp_path / str(grow))
        first, second, last = reports(bench)
        spent.append(first.requests + second.requests + last.requests)
        assert bench.problems.address and (second.added == 0) is not grow
    asked_first = 24 * 4
    assert spent[1] == asked_first + 2 * calls
    assert asked_first + 2 * (calls - most) < spent[0] <= asked_first + 2 * calls


def test_a_run_that_meets_its_cap_ends_with_a_student(run: Run) -> None:
    bench, solver = run(Config(rounds=3, answers="rationales"), budget=Budget(requests=130))
    assert bench.budget.spent.requests == 130
    assert any("budget allowed" in report.outcome for report in reports(bench))
    assert solver.student.is_dir()


def test_any_method_trains_inside(run: Run) -> None:
    bench, _ = run(Config(rounds=1, answers="rationales", inner={"name": "tailored", "rounds": 1}))
    assert {row.origin for row in rows(bench, "1_rationales", Rationale)} >= {Origin.TAILORED, Origin.PROBLEM}
    assert fdd.arm(Config(inner={"name": "edit"})) != fdd.arm(Config())
    assert fdd.control(fdd.control(Config()) or Config()) is None


def test_a_text_that_could_not_be_judged_shrinks_the_whole() -> None:
    def verdict(value: Judgement) -> Verdict:
        return Verdict(rationale_id="", value=value, lenient=value, extracted=None, checker="", reason="")

    said = [
        Rationale(id=name, problem_id=name[0], text="") for name in ("a1", "a2", "b1", "b2", "c1", "d1", "d2", "d3")
    ]
    c, w, n = Judgement.CORRECT, Judgement.WRONG, Judgement.NOT_CHECKED
    verdicts = [verdict(value) for value in (c, w, c, n, n, c, w, w)]
    assert fdd._solved(said, verdicts, 0.5) == {"a", "b"}
    assert fdd._solved(said, verdicts, 1.0) == {"b"}


def test_a_plan_names_the_most_that_growing_may_ask() -> None:
    assert fdd.asks(Config(rounds=2, round_calls=40), 100).further == 80
    assert fdd.asks(Config(rounds=2, attempts=5), 100).further == 3 * 7 * 100
    assert fdd.asks(Config(rounds=2, round_calls=40, inner={"name": "edit"}), 100).further > 80


# ------------------------------------------------------------------------------------------------- reading variants

PARENT = Problem(
    id="p", question="One and one?", answer="2", answer_kind=AnswerKind.NUMBER, task="t", split="train", level=1
)


def reply(text: str, finish: Finish = Finish.STOP) -> Rationale:
    return Rationale(id="r", problem_id="p", text=text, finish=finish)


@pytest.mark.parametrize(
    "text", ["Two and two?", "New problem: Two and two?", "**Problem:** Two and two?", "Harder question:\nTwo and two?"]
)
def test_a_variant_is_read_without_its_label(text: str) -> None:
    found = read_variant(reply(text), PARENT)
    assert isinstance(found, Problem)
    assert found.question == "Two and two?" and found.parent == "p"
    again = read_variant(reply("Three and one?"), found)
    assert isinstance(again, Problem) and again.parent == "p" and again.id != found.id


def test_options_are_read_where_the_parent_has_some() -> None:
    choices = (Choice(label="A", text="1"), Choice(label="B", text="2"))
    parent = replace(PARENT, choices=choices, answer="B", answer_kind=AnswerKind.CHOICE)
    found = read_variant(reply("Two and two?\n(A) 3\n(B) 4\n(C) 5"), parent)
    assert isinstance(found, Problem)
    assert [choice.text for choice in found.choices] == ["3", "4", "5"] and found.question == "Two and two?"
    assert "no options" in str(read_variant(reply("Two and two?"), parent))


def test_what_holds_no_problem_says_why() -> None:
    assert "empty" in str(read_variant(reply("  "), PARENT))
    assert "refusal" in str(read_variant(reply("I cannot.", Finish.REFUSAL), PARENT))
    assert "length" in str(read_variant(reply("Two and", Finish.LENGTH), PARENT))


def test_equal_texts_are_kept_once() -> None:
    same = replace(PARENT, id="q", question="One  and one.")
    other = replace(PARENT, id="r", question="Two and two?")
    kept, dropped = unlike([same, other, replace(other, id="s")], [PARENT])
    assert [problem.id for problem in kept] == ["r"]
    assert [row.item_id for row in dropped] == ["q", "s"]


@pytest.mark.parametrize(
    ("keys", "attempts", "winner"),
    [
        (["4", "4", "4", "5", None], 5, 0),
        (["5", "4", "4", "4", None], 5, 1),
        (["4", "4", "5", "5", "6"], 5, None),
        (["4", "4", None, None, None], 5, None),
        (["4", "4"], 5, None),
        (["4", "4", None, None], 4, None),
        ([None], 1, None),
        (["4"], 1, 0),
        ([], 5, None),
    ],
)
def test_more_than_half_of_all_attempts_must_agree(keys: list[str | None], attempts: int, winner: int | None) -> None:
    assert agreed(keys, attempts) == winner
