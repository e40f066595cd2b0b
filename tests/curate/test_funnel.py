"""The funnel: rows that do not add up are refused, and the text reads as a sentence."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feints.curate.funnel import Funnel, FunnelStep
from feints.errors import DataError, EmptyPileError
from feints.records import Dropped


def lost(reason: str, times: int) -> list[Dropped]:
    return [Dropped(item_id=f"{reason}{i}", step="s", reason=reason) for i in range(times)]


def test_it_reads_as_a_line():
    funnel = (
        Funnel()
        .start("asked", "problems", 1000)
        .start("sampled", "rationales", 8000)
        .step("right", 6120, Counter({"wrong": 1800, "no answer": 80, "refused": 0}))
        .step("after dedup", 5804, lost("same text", 316))
    )
    assert funnel.text() == "1,000 problems asked -> 8,000 rationales sampled -> 6,120 right -> 5,804 after dedup"
    assert funnel.steps[2].reasons == ("wrong", "no answer")


@given(st.integers(1, 50), st.data())
def test_every_row_is_accounted_for(rows, data):
    funnel = Funnel().start("asked", "problems", rows)
    while funnel.steps[-1].kept and len(funnel.steps) < 5:
        kept = data.draw(st.integers(0, funnel.steps[-1].kept))
        funnel = funnel.step("on", kept, lost("because", funnel.steps[-1].kept - kept))
    gone = sum(n for step in funnel.steps for n in step.counts)
    assert gone + funnel.steps[-1].kept == rows


def test_rows_that_do_not_add_up_are_refused():
    start = Funnel().start("asked", "problems", 10)
    with pytest.raises(DataError, match="10 problems went in, 5 were kept and 4 dropped"):
        start.step("right", 5, lost("wrong", 4))
    with pytest.raises(DataError, match="call start first"):
        Funnel().step("right", 0, [])
    with pytest.raises(DataError, match="a step between them is missing"):
        Funnel((start.steps[0], FunnelStep(name="x", unit="problems", rows_in=9, kept=9)))


def test_an_empty_end_names_the_step_that_emptied_it():
    empty = Funnel().start("sampled", "rationales", 3).step("right", 0, lost("no answer", 3))
    with pytest.raises(EmptyPileError, match=r"Step 'right' left out 3 rationales \(3 no answer\)"):
        empty.refuse_empty()
    with pytest.raises(EmptyPileError, match="no problem entered"):
        Funnel().refuse_empty()
    Funnel().start("asked", "problems", 1).refuse_empty()


def test_a_step_is_flat_enough_for_a_table():
    step = Funnel().start("asked", "problems", 2).step("kept", 1, lost("x", 1)).steps[-1]
    assert FunnelStep(**dict(zip(FunnelStep.__dataclass_fields__, astuple(step), strict=True))) == step
