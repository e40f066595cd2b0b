from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from feints.records import Answer, Judgement, Rationale, Verdict
from feints.report import gather
from feints.report.contents import ArmRole
from feints.report.cost import unit_costs
from feints.runs import RunFolder


def test_solvers_come_in_the_order_of_arms_and_strangers_last(made_up: ModuleType) -> None:
    run = made_up.run()
    strange = made_up.run(scores=(made_up.score("stranger", "test", 1), *reversed(run.scores)))
    assert strange.solvers() == ("plain_cot", "answer_only", "untrained", "stranger")
    assert strange.arm("stranger").role is ArmRole.OTHER
    assert len(strange.scores_of("plain_cot", "test")) == 3


def test_p_values_are_adjusted_for_the_comparisons_of_their_set(made_up: ModuleType) -> None:
    row = made_up.run().comparisons[0]
    rows = [replace(row, p=p, problem_set=name) for p, name in ((0.01, "a"), (0.04, "a"), (None, "a"), (0.04, "b"))]
    found = list(gather.adjusted(rows))
    assert [one.p for one in found] == [0.02, 0.04, None, 0.04]
    assert ["Holm" in one.how for one in found] == [True, True, False, False]


def test_what_was_judged_on_one_side_only_is_said_and_not_compared() -> None:
    def answer(problem: str, value: Judgement) -> Answer:
        given = {"judgement": value, "lenient": value, "truncated": False}
        return Answer(problem_id=problem, text="", extracted=None, tokens=1, **given)

    one = [answer("a", Judgement.CORRECT), answer("b", Judgement.NOT_CHECKED)]
    other = [answer("a", Judgement.NOT_CHECKED), answer("b", Judgement.WRONG)]
    apart: list[str] = []
    assert gather.comparable((one, one), "x and x on test", apart)
    assert not gather.comparable((one, other), "x and y on test", apart)
    assert apart == ["x and y on test are not compared: no problem was judged for both"]


def answers(letters: str) -> list[Answer]:
    values = [Judgement.CORRECT if letter == "R" else Judgement.WRONG for letter in letters]
    return [
        Answer(problem_id=f"p{n}", text="", extracted=None, judgement=v, lenient=v, truncated=False, tokens=1)
        for n, v in enumerate(values)
    ]


def test_counts_of_several_seeds_are_those_of_one_seed_against_its_own() -> None:
    found = gather._compared("a", "b", "test", [answers("RRWW"), answers("RRRW")], [answers("RWRW"), answers("WWWR")])
    assert (found.both, found.only_a, found.only_b, found.neither, found.seeds) == (1, 4, 2, 1, 2)


def test_attempts_that_brought_nothing_usable_are_on_the_bill_once(tmp_path: Path) -> None:
    run, lost = RunFolder(tmp_path / "run"), {"key": [3, 40, 0.5]}
    row = Rationale(id="r", problem_id="p", text="", author="t", prompt_tokens=10, completion_tokens=20)
    for name in ("round_1", "round_2"):
        run.within(name).table("1_rationales", name, Rationale, [name], lambda: [row], unanswered=lost)
    recipe = {"teacher": {"model": "m", "prices": {"m": {"input": 1e6, "output": 1e6}}}}
    spend = gather._spend([row], [], "t", recipe, gather._unanswered(run))
    assert spend is not None
    assert (spend.requests, spend.tokens, spend.money) == (4, 70, 30.5)
    assert unit_costs(replace(spend, right=2))[0].tokens == 35


def test_attempts_held_against_a_stand_in_are_no_verdicts_of_the_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    row = Rationale(id="r", problem_id="p", text="")
    run.table("1_rationales", "said", Rationale, ["said"], lambda: [row])
    wrong = Judgement.WRONG
    verdict = Verdict(rationale_id="r", value=wrong, lenient=wrong, extracted="9", checker="number", reason="differs")
    run.table("2_verdicts", "said", Verdict, ["said"], lambda: [verdict], gold="unknown")
    assert gather._judged(run) == ([row], [])


def test_weights_must_fit_the_tokens(made_up: ModuleType) -> None:
    with pytest.raises(ValueError, match="2 tokens but 1 weights"):
        type(made_up.weighted(False))(
            title="t", role=made_up.Role.RIGHT, tokens=("a", "b"), weights=(1.0,), prompt_length=1
        )
