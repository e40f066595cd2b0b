"""Balance and pairs: limits hold, draws are seeded, order changes nothing."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feints.curate.balance import balance
from feints.curate.pairs import sampled_pairs
from feints.curate.piles import Piles
from feints.errors import SettingsError
from feints.records import AnswerKind, Problem, Rationale

PROBLEMS = {
    f"p{i}": Problem(
        id=f"p{i}", question="?", answer="1", answer_kind=AnswerKind.NUMBER, task="t", split="train", level=i % 2
    )
    for i in range(6)
}


def piles_of(right: list[str], wrong: list[str]) -> Piles:
    def rows(names: list[str], side: str) -> tuple[Rationale, ...]:
        return tuple(Rationale(id=f"{side}{i}", problem_id=name, text="x") for i, name in enumerate(sorted(names)))

    return Piles(right=rows(right, "r"), wrong=rows(wrong, "w"), rejected=())


PILES = st.builds(
    piles_of,
    st.lists(st.sampled_from(list(PROBLEMS)), max_size=25),
    st.lists(st.sampled_from(list(PROBLEMS)), max_size=25),
)
LIMIT = st.none() | st.integers(0, 4)


@settings(deadline=None)
@given(PILES, LIMIT, LIMIT, st.integers(0, 3))
def test_limits_hold_rows_add_up_and_twice_is_once(piles, right, wrong, seed):
    limits = {"right_per_problem": right, "wrong_per_problem": wrong, "seed": seed}
    done = balance(piles, **limits)
    for before, after, gone, limit in [
        (piles.right, done.piles.right, done.dropped_right, right),
        (piles.wrong, done.piles.wrong, done.dropped_wrong, wrong),
    ]:
        assert sorted([r.id for r in after] + [d.item_id for d in gone]) == sorted(r.id for r in before)
        assert limit is None or all(n <= limit for n in Counter(r.problem_id for r in after).values())
    assert balance(done.piles, **limits).piles == done.piles
    turned = Piles(right=piles.right[::-1], wrong=piles.wrong[::-1], rejected=())
    assert balance(turned, **limits).piles.right[::-1] == done.piles.right


def test_another_seed_draws_others():
    piles = piles_of(["p0"] * 20, [])
    drawn = {balance(piles, right_per_problem=1, seed=seed).piles.right for seed in range(10)}
    assert len(drawn) > 3


@settings(deadline=None)
@given(PILES, st.integers(1, 6), st.integers(0, 3))
def test_pairs_are_distinct_of_one_problem_and_as_many_as_possible(piles, per_problem, seed):
    pairs = sampled_pairs(piles, per_problem, seed)
    problem_of = {r.id: r.problem_id for r in (*piles.right, *piles.wrong)}
    assert all(problem_of[p.right_id] == problem_of[p.wrong_id] == p.problem_id for p in pairs)
    assert len({(p.right_id, p.wrong_id) for p in pairs}) == len(pairs)
    rights, wrongs = Counter(r.problem_id for r in piles.right), Counter(r.problem_id for r in piles.wrong)
    assert Counter(p.problem_id for p in pairs) == Counter(
        {name: min(per_problem, n * wrongs[name]) for name, n in rights.items() if wrongs[name]}
    )
    turned = Piles(right=piles.right[::-1], wrong=piles.wrong[::-1], rejected=())
    assert {(p.right_id, p.wrong_id) for p in sampled_pairs(turned, per_problem, seed)} == {
        (p.right_id, p.wrong_id) for p in pairs
    }


def test_rationales_are_not_repeated_while_others_are_unused():
    pairs = sampled_pairs(piles_of(["p0"] * 4, ["p0"] * 4), 4, seed=0)
    assert len({p.right_id for p in pairs}) == len({p.wrong_id for p in pairs}) == 4


def test_impossible_limits_are_refused():
    with pytest.raises(SettingsError, match="right_per_problem is -1"):
        balance(piles_of([], []), right_per_problem=-1, seed=0)
    with pytest.raises(SettingsError, match="at least 1"):
        sampled_pairs(piles_of([], []), 0, seed=0)
