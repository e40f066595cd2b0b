"""The split: by problem, stable, about the share asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feints.curate.split import as_many, split_by_problem
from feints.errors import EmptyPileError, SettingsError
from feints.records import AnswerKind, Problem, Rationale


def problem(name: str) -> Problem:
    return Problem(id=name, question="?", answer="1", answer_kind=AnswerKind.NUMBER, task="t", split="train")


MANY = [problem(f"p{number}") for number in range(2000)]


def test_the_share_is_met_on_average_and_every_problem_is_on_one_side():
    split = split_by_problem(MANY, validation=0.1, seed=7)
    assert sorted(p.id for p in split.train + split.validation) == sorted(p.id for p in MANY)
    assert 150 < len(split.validation) < 250
    assert split_by_problem(MANY, validation=0.1, seed=8) != split


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(0, 1999), min_size=200))
def test_other_problems_never_move_a_problem(chosen):
    whole = {p.id for p in split_by_problem(MANY, validation=0.2, seed=1).validation}
    part = split_by_problem([MANY[i] for i in chosen], validation=0.2, seed=1)
    assert all(p.id in whole for p in part.validation)
    assert not any(p.id in whole for p in part.train)


def test_variants_stay_with_their_parent():
    children = [replace(problem(f"c{i}"), parent=f"p{i}") for i in range(2000)]
    held = {p.id for p in split_by_problem(MANY, validation=0.3, seed=2).validation}
    assert {p.parent for p in split_by_problem(children, validation=0.3, seed=2).validation} == held


def test_no_share_holds_nothing_back():
    assert split_by_problem(MANY, validation=0.0, seed=0).train == tuple(MANY)


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_a_validation_split_that_is_given_is_held_back_exactly(share):
    given = [replace(p, split="validation") if n % 7 == 0 else p for n, p in enumerate(MANY[:70])]
    variant = replace(MANY[1000], parent=given[0].id)
    split = split_by_problem([*given, variant], validation=share, seed=3)
    assert split.validation == (*given[::7], variant), "a variant stays with its parent"
    assert split.train == tuple(p for n, p in enumerate(given) if n % 7)


def test_impossible_shares_are_refused():
    with pytest.raises(SettingsError, match=r"not in \[0, 1\)"):
        split_by_problem(MANY, validation=1.0, seed=0)
    with pytest.raises(EmptyPileError, match="1 problems"):
        split_by_problem(MANY[:1], validation=0.5, seed=0)


def test_as_many_rows_are_taken_on_each_side_of_the_split():
    rows = [Rationale(id=name, problem_id=name[0], text="") for name in ("a1", "a2", "v1")]
    wanted = [Rationale(id=f"{name}{n}", problem_id=name, text="") for name in "bw" for n in range(5)]
    made = as_many(rows, wanted, frozenset("vw"))
    assert [row.id for row in made] == ["a1", "a2", "a1", "a2", "a1", *["v1"] * 5]
    assert [row.id for row in as_many(rows, wanted[:1], frozenset("vw"))] == ["a1"]
    assert as_many(rows[:2], wanted[5:], frozenset("vw")) == ()
