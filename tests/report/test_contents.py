from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import pytest

from feints.records import Answer, Judgement
from feints.report import gather
from feints.report.contents import ArmRole


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


def test_weights_must_fit_the_tokens(made_up: ModuleType) -> None:
    with pytest.raises(ValueError, match="2 tokens but 1 weights"):
        type(made_up.weighted(False))(
            title="t", role=made_up.Role.RIGHT, tokens=("a", "b"), weights=(1.0,), prompt_length=1
        )
