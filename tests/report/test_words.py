from __future__ import annotations

import re
from types import ModuleType

from feints.report.words import summary


def test_method_control_floor_and_difference_are_said(made_up: ModuleType) -> None:
    said = summary(made_up.run())
    assert len(said) == 4
    assert re.match(r"plain_cot solves 52\.3 % \[49\.\d, 55\.\d\] of 1,000 test problems", said[0])
    assert said[1].startswith("Its control answer_only (same problems and steps, answers only) solves 38.")
    assert said[2].startswith("The untrained student solves 3.7 % [")
    assert "3 answers could not be judged" in said[2]
    assert "plain_cot is ahead of answer_only by +13.6 points [" in said[3]


def test_what_cannot_be_told_apart_is_not_called_better(made_up: ModuleType) -> None:
    row = made_up.compared("plain_cot", "answer_only", "test", 0.02, 0.03, 0.2)
    said = summary(made_up.run(comparisons=(row,)))[-1]
    assert "cannot be told apart" in said and "ahead" not in said
    row = made_up.compared("plain_cot", "answer_only", "test", -0.06, 0.03, 0.001)
    assert "behind" in summary(made_up.run(comparisons=(row,)))[-1]


def test_no_exam_and_nothing_judged_are_said(made_up: ModuleType) -> None:
    assert "no result" in summary(made_up.run(scores=(), comparisons=()))[0]
    nothing = made_up.run(scores=(made_up.score("plain_cot", "test", 0, counted=0),), comparisons=())
    assert summary(nothing) == ("plain_cot: none of 1,000 answers could be judged.",)
