"""Key steps against the textbook table, and the golden masks of EDIT."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feints.curate.keysteps import edit_distance, key_steps
from feints.errors import DataError

TEXTS = st.lists(st.integers(0, 3), max_size=12)


def flags(text: str) -> list[bool]:
    return [letter == "1" for letter in text]


def distances(a: Sequence[Any], b: Sequence[Any]) -> list[list[int]]:
    """The textbook table."""
    found = [[max(i, j) if not i * j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            diagonal = found[i - 1][j - 1] + (a[i - 1] != b[j - 1])
            found[i][j] = min(found[i - 1][j] + 1, found[i][j - 1] + 1, diagonal)
    return found


def one_run(a: Sequence[Any], b: Sequence[Any]) -> tuple[list[bool], list[bool]]:
    """Marks of both texts in the run that deletes from `a`, step by step as the specification says."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    a, b = a[start:], b[start:]
    distance, i, j = distances(a, b), len(a), len(b)
    marks, others = [False] * len(a), [False] * len(b)
    while i or j:
        if i and distance[i][j] == distance[i - 1][j] + 1:
            i -= 1
            marks[i] = True
        elif j and distance[i][j] == distance[i][j - 1] + 1:
            j -= 1
            others[j] = True
        else:
            i, j = i - 1, j - 1
            marks[i] = others[j] = a[i] != b[j]
    return [False] * start + marks, [False] * start + others


def drawn(random_: random.Random, longest: int) -> tuple[list[int], list[int]]:
    letters = random_.choice((2, 3, 5, 40))
    a, b = ([random_.randrange(letters) for _ in range(random_.randrange(longest + 1))] for _ in range(2))
    if random_.random() < 0.5:  # mostly the same, as real pairs are
        b = [token for token in a if random_.random() < 0.8]
        b[random_.randrange(len(b) + 1) : 0] = [random_.randrange(letters)]
    return a, b


def assert_textbook(a: list[int], b: list[int]) -> None:
    right, wrong = key_steps(a, b)
    assert (right.tolist(), wrong.tolist()) == (one_run(a, b)[0], one_run(b, a)[0]), (a, b)


@pytest.mark.parametrize(
    ("right", "wrong", "right_mask", "wrong_mask"),
    [("pqrsE", "prsE", "01000", "0000"), ("xaayE", "xayE", "00100", "0000"), ("abE", "baE", "010", "010")],
)
def test_edit_p3_golden_masks(right: str, wrong: str, right_mask: str, wrong_mask: str) -> None:
    """EDIT-P3: the golden masks, of which the third tells a wrong order of ties; swapped sides swap masks."""
    for found, expected in zip(key_steps(right, wrong), (right_mask, wrong_mask), strict=True):
        assert found.dtype == np.bool_
        assert found.tolist() == flags(expected)
    swapped = key_steps(wrong, right)
    assert [mask.tolist() for mask in swapped] == [flags(wrong_mask), flags(right_mask)]


def test_edit_p4_golden_padding_artefact() -> None:
    """EDIT-P4: unpadded unless asked."""
    assert [mask.tolist() for mask in key_steps("caccE", "aaE")] == [flags("10110"), flags("100")]
    assert key_steps("caccE", "aaE", padded_to=8)[0].tolist() == flags("10111")


def test_a_text_longer_than_its_padding_is_refused() -> None:
    with pytest.raises(DataError, match="5 tokens cannot be padded to 4"):
        key_steps("caccE", "aaE", padded_to=4)


@given(TEXTS, TEXTS, st.integers(12, 30))
def test_padding_is_the_same_as_writing_it_out(a: list[int], b: list[int], length: int) -> None:
    written = key_steps([*a, *[-1] * (length - len(a))], [*b, *[-1] * (length - len(b))])
    for found, mask, text in zip(key_steps(a, b, padded_to=length), written, (a, b), strict=True):
        assert found.tolist() == mask[: len(text)].tolist()


@given(TEXTS)
def test_edit_p1_identical_texts_have_no_key_steps(text: list[int]) -> None:
    """EDIT-P1: distance 0 and empty masks, however texts are aligned."""
    assert edit_distance(text, text) == 0
    for how in ({}, {"symmetric": True}, {"padded_to": 12}):
        assert not any(mask.any() for mask in key_steps(text, text, **how))


@given(TEXTS, TEXTS)
def test_edit_p2_distance_is_levenshteins(a: list[int], b: list[int]) -> None:
    """EDIT-P2."""
    distance = edit_distance(a, b)
    assert distance == distances(a, b)[-1][-1] == edit_distance(b, a)
    assert abs(len(a) - len(b)) <= distance <= max(len(a), len(b))
    assert all(mask.sum() <= distance for mask in key_steps(a, b))


@given(TEXTS, TEXTS, TEXTS)
def test_edit_p5_one_flag_a_token_and_a_shared_prompt_is_never_marked(
    prompt: list[int], a: list[int], b: list[int]
) -> None:
    """EDIT-P5: padded texts have no flag for padding either."""
    alone, behind = key_steps(a, b), key_steps(prompt + a, prompt + b)
    for short, long, text in zip(alone, behind, (a, b), strict=True):
        assert len(short) == len(text)
        assert long.tolist() == [False] * len(prompt) + short.tolist()
    for mask, text in zip(key_steps(prompt + a, prompt + b, padded_to=30), (a, b), strict=True):
        assert len(mask) == len(prompt + text)
        assert not mask[: len(prompt)].any()


@given(TEXTS, TEXTS)
def test_the_symmetric_variant_leaves_the_same_tokens_unmarked(a: list[int], b: list[int]) -> None:
    right, wrong = key_steps(a, b, symmetric=True)
    assert (right.tolist(), wrong.tolist()) == one_run(a, b)
    assert [t for t, key in zip(a, right, strict=True) if not key] == [
        t for t, key in zip(b, wrong, strict=True) if not key
    ]


def test_the_two_runs_can_disagree() -> None:
    # EDIT-A4: without this, `symmetric` would be a setting that changes nothing.
    random_ = random.Random(0)
    pairs = [drawn(random_, 12) for _ in range(300)]
    differ = sum(
        any((a != b).any() for a, b in zip(key_steps(*pair), key_steps(*pair, symmetric=True), strict=True))
        for pair in pairs
    )
    assert 0 < differ < len(pairs)


def test_random_pairs_equal_the_textbook_table() -> None:
    random_ = random.Random(1)
    for _ in range(2000):
        assert_textbook(*drawn(random_, 10))
    for _ in range(5):
        assert_textbook(*drawn(random_, 150))


@pytest.mark.slow
def test_a_hundred_thousand_random_pairs_equal_the_textbook_table() -> None:
    random_ = random.Random(2)
    for _ in range(100_000):
        assert_textbook(*drawn(random_, 8))


def test_numpy_arrays_and_words_are_texts_too() -> None:
    right, wrong = np.array([5, 6, 7]), np.array([5, 7])
    assert [mask.tolist() for mask in key_steps(right, wrong)] == [flags("010"), flags("00")]
    assert key_steps(["one", "two"], ["one"])[0].tolist() == flags("01")
    assert [len(mask) for mask in key_steps([], [1, 2])] == [0, 2]
