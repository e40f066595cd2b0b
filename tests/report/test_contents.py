from __future__ import annotations

from types import ModuleType

import pytest

from feints.report.contents import ArmRole, FunnelStep


def test_a_funnel_that_adds_up_has_no_fault(made_up: ModuleType) -> None:
    assert made_up.run().funnel_faults() == ()


@pytest.mark.parametrize(("kept", "words"), [(80, "rows not accounted for"), (95, "rows counted twice")])
def test_a_row_without_account_is_named(made_up: ModuleType, kept: int, words: str) -> None:
    step = FunnelStep(name="judged", rows_in=100, kept=kept, dropped=(("wrong", 10),), unit="rows")
    [fault] = made_up.run(funnel=(step,)).funnel_faults()
    assert words in fault and "“judged”" in fault


def test_a_break_between_steps_is_named_unless_the_unit_changes(made_up: ModuleType) -> None:
    first = FunnelStep(name="one", rows_in=10, kept=10)
    after = FunnelStep(name="two", rows_in=9, kept=9)
    [fault] = made_up.run(funnel=(first, after)).funnel_faults()
    assert "“one” kept 10" in fault and "“two” received 9" in fault
    problems = FunnelStep(name="two", rows_in=9, kept=9, unit="problems")
    assert made_up.run(funnel=(first, problems)).funnel_faults() == ()


def test_solvers_come_in_the_order_of_arms_and_strangers_last(made_up: ModuleType) -> None:
    run = made_up.run()
    strange = made_up.run(scores=(made_up.score("stranger", "test", 1), *reversed(run.scores)))
    assert strange.solvers() == ("plain_cot", "answer_only", "untrained", "stranger")
    assert strange.arm("stranger").role is ArmRole.OTHER
    assert len(strange.scores_of("plain_cot", "test")) == 3


def test_weights_must_fit_the_tokens(made_up: ModuleType) -> None:
    with pytest.raises(ValueError, match="2 tokens but 1 weights"):
        type(made_up.weighted(False))(
            title="t", role=made_up.Role.RIGHT, tokens=("a", "b"), weights=(1.0,), prompt_length=1
        )
