from __future__ import annotations

from types import ModuleType

import pytest

from feints.report.contents import ArmRole


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
