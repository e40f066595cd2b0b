"""The batcher: every example once an epoch, groups whole, totals right, layout exact."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feints.errors import DataError, EmptyPileError
from feints.records import Example, Role
from feints.train.batch import Batcher
from feints.train.rows import Layout

PACKED = Layout(rows="packed", micro_tokens=40, seq2seq=False, pad_id=0)
SEQ2SEQ = Layout(rows="padded", micro_tokens=40, seq2seq=True, pad_id=0, start_id=9)


def _example(number, prompt=3, target=4, group="", role=Role.RIGHT, weights=None):
    return Example(
        id=f"e{number}",
        problem_id="p",
        rationale_id="",
        prompt_ids=tuple(range(10, 10 + prompt)),
        target_ids=tuple(range(50, 50 + target)),
        weights=weights or (0.0,) * prompt + (1.0,) * target,
        tokenizer_hash="",
        group=group,
        role=role,
    )


@st.composite
def _piles(draw):
    sizes = draw(
        st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from(["", "a", "b", "c"])), min_size=1)
    )
    return [_example(number, prompt, target, group) for number, (prompt, target, group) in enumerate(sizes)]


@given(examples=_piles(), seed=st.integers(0, 9), budget=st.integers(1, 60), by_tokens=st.booleans())
def test_an_epoch_holds_every_example_once_and_groups_whole(examples, seed, budget, by_tokens):
    batcher = Batcher(examples, PACKED)
    size = {"batch_tokens": budget} if by_tokens else {"batch_examples": budget}
    steps = [batcher.step(units) for units in batcher.epoch(1, seed=seed, **size)]
    seen = [number for step in steps for numbers in step.micro for number in numbers]
    assert sorted(seen) == list(range(len(examples)))
    for step in steps:
        inside = [number for numbers in step.micro for number in numbers]
        spent = sum(len(examples[n].weights) for n in inside) if by_tokens else len(inside)
        groups = {examples[n].group or n for n in inside}
        assert spent <= budget or len(groups) == 1
        assert step.counts.examples == len(inside)
        assert step.counts.groups == len(groups)
        assert step.counts.target_tokens == sum(len(examples[n].target_ids) for n in inside)
        for numbers in step.micro:
            length = sum(len(examples[n].weights) for n in numbers)
            assert length <= PACKED.micro_tokens or len({examples[n].group or n for n in numbers}) == 1
    homes = Counter()
    for step in steps:
        for numbers in step.micro:
            homes.update({examples[n].group for n in numbers if examples[n].group})
    assert all(count == 1 for count in homes.values())


def test_order_is_a_permutation_of_seed_and_epoch():
    batcher = Batcher([_example(n) for n in range(50)], PACKED)
    first = batcher.epoch(0, seed=1, batch_examples=5)
    assert first == batcher.epoch(0, seed=1, batch_examples=5)
    assert first != batcher.epoch(1, seed=1, batch_examples=5)
    assert first != batcher.epoch(0, seed=2, batch_examples=5)
    assert [len(units) for units in first] == [5] * 10


def test_what_is_predicted_from_where():
    weights = (0.5, 0.0, 0.1, 1.0, 0.0, -1.0)
    batch = Batcher([_example(0, 3, 3, weights=weights), _example(1, 2, 2, role=Role.WRONG)], PACKED).batch([0, 1])
    assert batch.inputs["input_ids"].tolist() == [[10, 11, 12, 50, 51, 52, 10, 11, 50, 51]]
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 2, 3, 4, 5, 0, 1, 2, 3]]
    assert batch.target_ids.tolist() == [12, 50, 51, 52, 50, 51]
    assert batch.hidden_index.tolist() == [1, 2, 3, 4, 7, 8]
    assert batch.weights.tolist() == pytest.approx([0.1, 1.0, 0.0, -1.0, 1.0, 1.0])
    assert batch.is_prompt.tolist() == [True, False, False, False, False, False]
    assert batch.example_index.tolist() == [0, 0, 0, 0, 1, 1]
    assert batch.last_index.tolist() == [5, 9]
    assert batch.target_lengths.tolist() == [3.0, 2.0]
    assert batch.role_mask(Role.WRONG).tolist() == [False, True]


def test_totals_of_a_step():
    weights = (0.5, 0.0, 0.1, 1.0, 0.0, -1.0)
    counts = Batcher([_example(0, 3, 3, weights=weights), _example(1, 2, 2, role=Role.WRONG)], PACKED).whole().counts
    assert (counts.target_tokens, counts.valid_tokens, counts.weighted_tokens) == (5, 8, 5)
    assert counts.absolute_weight == pytest.approx(4.1)
    assert (counts.roles[Role.RIGHT], counts.roles[Role.WRONG], counts.roles[Role.ANCHOR]) == (1, 1, 0)


@given(examples=_piles(), roles=st.lists(st.sampled_from(list(Role)), min_size=1), seq2seq=st.booleans())
def test_totals_by_role_add_up_and_do_not_depend_on_the_split(examples, roles, seq2seq):
    examples = [replace(one, role=roles[number % len(roles)]) for number, one in enumerate(examples)]
    layout = SEQ2SEQ if seq2seq else PACKED
    counts = Batcher(examples, layout).whole().counts
    assert counts == Batcher(examples, replace(layout, micro_tokens=1)).whole().counts
    assert sum(counts.target_tokens_of.values()) == counts.target_tokens
    assert sum(counts.valid_tokens_of.values()) == counts.valid_tokens
    for role in Role:
        own = [one for one in examples if one.role is role]
        alone = Batcher(own, layout).whole().counts if own else None
        assert counts.target_tokens_of[role] == (alone.target_tokens if alone else 0)
        assert counts.valid_tokens_of[role] == (alone.valid_tokens if alone else 0)


def test_examples_without_weight_ride_along():
    trio = ((Role.ANCHOR, 1.0), (Role.POSITIVE, 0.0), (Role.WRONG, 0.0))
    groups = [
        _example(f"{n}{role}", 2, 2, f"g{n}", role, (0.0, 0.0, weight, weight))
        for n in range(6)
        for role, weight in trio
    ]
    alone = [one for one in groups if one.role is Role.ANCHOR]
    steps = [Batcher(pile, PACKED).epoch(0, seed=0, batch_examples=2) for pile in (groups, alone)]
    assert [len(units) for units in steps[0]] == [len(units) for units in steps[1]] == [2, 2, 2]
    idle = [replace(one, group="", weights=(0.0,) * 4) for one in alone]
    steps = Batcher(idle, PACKED).epoch(0, seed=0, batch_examples=2)
    assert [len(units) for units in steps] == [2, 2, 2], "where no example of a group has a weight it counts as one"


def test_an_encoder_decoder_gets_its_prompt_apart():
    batch = Batcher([_example(0, 3, 2), _example(1, 1, 3)], SEQ2SEQ).batch([0, 1])
    assert batch.inputs["input_ids"].tolist() == [[10, 11, 12], [10, 0, 0]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.inputs["decoder_input_ids"].tolist() == [[9, 50, 51, 0], [9, 50, 51, 52]]
    assert batch.hidden_index.tolist() == [0, 1, 4, 5, 6]
    assert batch.last_index.tolist() == [2, 7]
    with pytest.raises(DataError, match="'e0' has weights on its prompt"):
        Batcher([_example(0, 1, 1, weights=(0.1, 1.0))], SEQ2SEQ)


def test_roles_are_found_in_their_groups():
    roles = [Role.ANCHOR, Role.POSITIVE, Role.ANCHOR, Role.CANDIDATE]
    examples = [_example(n, group="ab"[n // 2], role=role) for n, role in enumerate(roles)]
    batch = Batcher(examples, PACKED).batch([0, 1, 2, 3])
    assert batch.group_index.tolist() == [0, 0, 1, 1]
    assert batch.index_of(Role.ANCHOR).tolist() == [0, 2]
    assert batch.index_of(Role.POSITIVE).tolist() == [1, -1]
    assert batch.index_of(Role.CANDIDATE).tolist() == [-1, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt_ids": (), "weights": (1.0,) * 4}, "'e0' has an empty prompt"),
        ({"target_ids": (), "weights": (1.0,) * 3}, "'e0' has an empty target"),
        ({"weights": (1.0,)}, "'e0' has 1 weights for 3 prompt and 4 target"),
        ({"weights": (float("nan"),) * 7}, "'e0' has a weight that is not finite"),
    ],
)
def test_what_cannot_be_learnt_is_named(changes, message):
    with pytest.raises(DataError, match=message):
        Batcher([replace(_example(0), **changes)], PACKED)
    with pytest.raises(EmptyPileError):
        Batcher([], PACKED)
