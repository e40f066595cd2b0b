"""Trios: who is compared with whom, what each token weighs, what is left out when a row cannot be used."""

from __future__ import annotations

from collections import Counter

import pytest

from feints.curate.trios import NEGATIVES, POSITIVES, TrioWeights, draw_trios, trio_examples
from feints.generate.prompt import STUDENT
from feints.records import AnswerKind, Problem, Rationale, Role

END = 0
PROBLEMS = {
    name: Problem(id=name, question=f"{name}?", answer="7", answer_kind=AnswerKind.NUMBER, task="t", split="train")
    for name in ("p", "q", "r")
}


class Letters:
    """A renderer with one id per character."""

    tokenizer_hash = "letters"

    def prompt_ids(self, messages):
        return [ord(c) for message in messages for c in message.content]

    def target_ids(self, text, thinking=""):
        return [*map(ord, thinking), *map(ord, text), END]


def row(name, text, problem="p"):
    return Rationale(id=name, problem_id=problem, text=text)


RIGHT = [
    row("a", "one"),
    row("b", "two"),
    row("c", "one "),
    row("d", "six", "q"),
    row("e", "ten", "r"),
    row("f", "t", "r"),
]
WRONG = [row("x", "bad"), row("y", "off", "q")]


def test_tail_p11_a_positive_is_another_text_and_a_single_rationale_is_masked_out():
    """TAIL-P11."""
    trios = draw_trios(RIGHT, WRONG, seed=0)
    assert [trio.anchor.id for trio in trios] == ["a", "b", "c", "d", "e", "f"]
    texts = {trio.anchor.id: trio for trio in trios}
    assert texts["a"].positive.text == "two" and texts["c"].positive.text == "two"
    assert texts["b"].positive.text.strip() == "one"
    assert all(texts[name].wrong.id == "x" for name in "abc")
    assert all(texts[name].positive is None and texts[name].wrong is None for name in "def")


def test_the_draw_depends_on_ids_and_seed_and_takes_at_most_so_many():
    rights = [row(f"a{n}", f"text {n}") for n in range(30)]
    wrongs = [row(f"x{n}", f"bad {n}") for n in range(30)]
    trios = draw_trios(rights, wrongs, seed=1)
    assert draw_trios(rights, wrongs[::-1], seed=1) == trios
    assert draw_trios(rights, wrongs, seed=2) != trios
    assert POSITIVES / 2 < len({trio.positive.id for trio in trios}) <= POSITIVES
    assert len({trio.wrong.id for trio in trios}) == NEGATIVES


def test_weights_groups_and_roles():
    built = trio_examples(Letters(), STUDENT, PROBLEMS, draw_trios(RIGHT, WRONG, seed=0), TrioWeights(prompt=0.1))
    assert Counter(e.role for e in built.examples) == {Role.ANCHOR: 3, Role.POSITIVE: 3, Role.WRONG: 3, Role.RIGHT: 3}
    assert len({e.id for e in built.examples}) == 12 and not built.dropped
    for example in built.examples:
        context = len(example.prompt_ids)
        learnt = example.role in (Role.ANCHOR, Role.RIGHT)
        assert set(example.weights[:context]) == {0.1 if learnt else 0.0}
        assert set(example.weights[context:]) == {1.0 if learnt else 0.0}
        assert bool(example.group) is (example.role is not Role.RIGHT)


def test_as_released_lightens_the_seam_and_appends_the_gold_answer():
    weights = TrioWeights(prompt=0.1, seam=2, gold_ending=True)
    built = trio_examples(Letters(), STUDENT, PROBLEMS, draw_trios(RIGHT, WRONG, seed=0), weights)
    for example in built.examples:
        target = example.weights[len(example.prompt_ids) :]
        if example.role is Role.WRONG:
            assert "".join(map(chr, example.target_ids[:-1])) == "bad\nThe answer is 7."
        elif example.role in (Role.ANCHOR, Role.RIGHT):
            short = len(target) == 2
            assert target == ((0.1, 1.0) if short else (0.1, 0.1, *(1.0,) * (len(target) - 2)))


@pytest.mark.parametrize(("long", "kept", "lost"), [("x", {Role.RIGHT: 1}, 2), ("a", {}, 3), ("b", {Role.RIGHT: 1}, 2)])
def test_every_row_is_learnt_from_or_left_out_with_a_reason(long, kept, lost):
    texts = {"a": "one", "b": "two", "x": "bad"} | {long: "much too long" * 9}
    rights, wrongs = [row(name, texts[name]) for name in "ab"], [row("x", texts["x"])]
    (trio, _) = draw_trios(rights, wrongs, seed=0)
    built = trio_examples(Letters(), STUDENT, PROBLEMS, [trio], TrioWeights(), max_tokens=60)
    assert Counter(e.role for e in built.examples) == kept
    assert len(built.examples) + len(built.dropped) == 3 and len(built.dropped) == lost
    assert all(dropped.reason for dropped in built.dropped)
    assert not any(example.group for example in built.examples)
