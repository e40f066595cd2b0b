from __future__ import annotations

from collections.abc import Sequence

import pytest

from feints.curate.choice import Chosen, Pile, choose
from feints.curate.funnel import Funnel
from feints.curate.settings import CurateSettings
from feints.errors import DataError
from feints.records import AnswerKind, Judgement, Problem, Rationale, Verdict

PROBLEMS = {
    f"p{n}": Problem(
        id=f"p{n}", question=f"how many is {n}?", answer=str(n), answer_kind=AnswerKind.NUMBER, task="t", split="train"
    )
    for n in range(4)
}
J = Judgement
SAID = (J.CORRECT, J.CORRECT, J.WRONG, J.NO_ANSWER, J.NOT_CHECKED)


def table(mark: str, said: Sequence[Judgement] = SAID) -> tuple[list[Rationale], list[Verdict]]:
    """For each problem the same text for equal verdicts, one rationale each."""
    rows = [
        Rationale(id=f"{mark}-{name}-{n}", problem_id=name, text=f"{name} {mark}: {value}.", sample_index=n)
        for name in PROBLEMS
        for n, value in enumerate(said)
    ]
    verdicts = [
        Verdict(rationale_id=row.id, value=value, lenient=value, extracted=None, checker="test", reason="")
        for row, value in zip(rows, list(said) * len(PROBLEMS), strict=True)
    ]
    return rows, verdicts


def chosen(mark: str, pile: Pile = "right", unit: str = "rationales") -> Chosen:
    rows, verdicts = table(mark)
    settings = CurateSettings(validation=0.0)
    start = Funnel().start("in the task", "problems", len(PROBLEMS))
    return choose(PROBLEMS, rows, verdicts, settings, start, pile=pile, unit=unit)


def test_every_row_is_learnt_from_or_dropped_with_a_reason() -> None:
    found = chosen("a")
    assert len(found.piles.right) == len(found.piles.wrong) == len(PROBLEMS)
    kept = {row.id for row in (*found.piles.right, *found.piles.wrong)}
    gone = {row.item_id for row in found.dropped}
    assert kept.isdisjoint(gone)
    assert kept | gone == {row.id for row in table("a")[0]}
    assert all(row.reason for row in found.dropped)


@pytest.mark.parametrize(("pile", "counts"), [("right", [4, 20, 8, 4, 4]), ("wrong", [4, 20, 4, 4, 4])])
def test_the_funnel_follows_the_pile_that_was_wanted(pile: Pile, counts: list[int]) -> None:
    assert [step.kept for step in chosen("a", pile).funnel.steps] == counts


def test_choices_join_when_they_count_different_units() -> None:
    one, other = chosen("a"), chosen("b", "wrong", "corrupted rationales")
    both = one.joined(other)
    assert both.piles.right == one.piles.right + other.piles.right
    assert both.dropped == one.dropped + other.dropped
    assert both.funnel.steps == one.funnel.steps + other.funnel.steps[1:]
    assert both.address not in (one.address, other.address)
    assert one.joined(chosen("b", "wrong", "x")).address == both.address
    with pytest.raises(DataError, match="unit of its own"):
        one.joined(chosen("b"))
