"""Deduplication: exact, order-independent, idempotent, and equal to comparing everything with everything."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feints.curate.dedup import remove_duplicates
from feints.curate.words import marks
from feints.errors import DataError, SettingsError
from feints.records import AnswerKind, Problem, Rationale

PROBLEMS = {
    name: Problem(id=name, question=question, answer="1", answer_kind=AnswerKind.NUMBER, task="t", split="train")
    for name, question in [("p", "How many are left in all?"), ("q", "how many are left, in all"), ("r", "Who won?")]
}


def rationale(name: str, text: str, problem_id: str = "p", index: int = 0) -> Rationale:
    return Rationale(id=name, problem_id=problem_id, text=text, sample_index=index)


ROWS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "b", "1", "+"]), max_size=8).map(" ".join),
        st.sampled_from(list(PROBLEMS)),
        st.integers(0, 2),
    ),
    max_size=14,
).map(lambda rows: [rationale(f"id{i}", *row) for i, row in enumerate(rows)])


def shingles(text: str) -> set[tuple[str, ...]]:
    found = marks(text)
    return {found[i : i + 3] for i in range(len(found) - 2)} or {found}


def jaccard(one: set[tuple[str, ...]], other: set[tuple[str, ...]]) -> float:
    return len(one & other) / len(one | other)


@settings(deadline=None, max_examples=150)
@given(ROWS, st.sampled_from([0.3, 0.5, 0.75, 0.9, 1.0]), st.randoms(use_true_random=False))
def test_order_changes_nothing_a_second_pass_changes_nothing_and_every_row_is_accounted_for(rows, threshold, random):
    result = remove_duplicates(rows, PROBLEMS, threshold=threshold)
    assert sorted([r.id for r in result.kept] + [d.item_id for d in result.dropped]) == sorted(r.id for r in rows)
    again = remove_duplicates(result.kept, PROBLEMS, threshold=threshold)
    assert again.kept == result.kept
    random.shuffle(rows)
    assert {r.id for r in remove_duplicates(rows, PROBLEMS, threshold=threshold).kept} == {r.id for r in result.kept}


@settings(deadline=None, max_examples=150)
@given(ROWS, st.sampled_from([0.3, 0.5, 0.75, 0.9, 1.0]))
def test_the_prefix_filter_finds_what_comparing_all_pairs_finds(rows, threshold):
    within: list[Rationale] = []
    for row in sorted(rows, key=lambda row: (row.sample_index, row.id)):
        if not any(
            other.problem_id == row.problem_id and jaccard(shingles(other.text), shingles(row.text)) >= threshold
            for other in within
        ):
            within.append(row)
    naive: list[Rationale] = []
    for row in within:
        mine = shingles(f"{PROBLEMS[row.problem_id].question}\n{row.text}")
        if not any(
            other.problem_id != row.problem_id
            and jaccard(shingles(f"{PROBLEMS[other.problem_id].question}\n{other.text}"), mine) >= threshold
            for other in naive
        ):
            naive.append(row)
    assert {r.id for r in remove_duplicates(rows, PROBLEMS, threshold=threshold).kept} == {r.id for r in naive}


def test_the_lowest_sample_is_kept_and_spacing_case_and_stops_do_not_count():
    rows = [rationale("b", "So 3 + 4 = 7.", index=1), rationale("a", "so  3+4 = 7", index=2)]
    result = remove_duplicates(rows, PROBLEMS)
    assert [r.id for r in result.kept] == ["b"]
    assert [(d.item_id, d.step, d.reason) for d in result.dropped] == [("a", "dedup", "same text")]


def test_signs_and_numbers_count():
    rows = [rationale("a", "x = 3 + 4"), rationale("b", "x = 3 - 4"), rationale("c", "x = 3 + 5")]
    assert len(remove_duplicates(rows, PROBLEMS).kept) == 3


def test_the_same_short_text_stays_for_another_question_only():
    rows = [rationale("a", "It is 1.", "p"), rationale("b", "It is 1.", "q"), rationale("c", "It is 1.", "r")]
    result = remove_duplicates(rows, PROBLEMS)
    assert [r.id for r in result.kept] == ["a", "c"]
    assert [d.reason for d in result.dropped] == ["same question and text"]


def test_bad_input_is_refused():
    with pytest.raises(SettingsError, match=r"not in \(0, 1\]"):
        remove_duplicates([], PROBLEMS, threshold=0.0)
    with pytest.raises(DataError, match="one id"):
        remove_duplicates([rationale("a", "x"), rationale("a", "y")], PROBLEMS)
    with pytest.raises(DataError, match="not among"):
        remove_duplicates([rationale("a", "x", "nowhere")], PROBLEMS)
