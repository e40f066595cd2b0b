"""The reader solves what the world makes, from text alone, and refuses everything else clearly."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feints.errors import DataError
from feints.lab import grammar, wording
from feints.lab.lexicon import UNIT_FACTS
from feints.lab.reader import read
from feints.lab.reading import Reading, evaluate, legal_order
from feints.lab.world import SPLITS, LabProblem, generate

MIXED = [generate(split, index) for index in range(60) for split in SPLITS]
SENTENCES = sorted({text for problem in MIXED for text in grammar.sentences(problem.question)})


def agree(problem: LabProblem) -> Reading:
    """Read the text and compare with what its maker counted."""
    reading = read(problem.question)
    assert reading.answer == problem.answer, problem
    assert len(reading.steps) == problem.steps, problem
    assert Counter(step.kind for step in reading.steps) == Counter(problem.kinds), problem
    assert len(reading.irrelevant) == problem.irrelevant, problem
    return reading


def test_reads_and_solves_what_the_world_makes() -> None:
    for index in range(100):
        for split in ("train", "test", "validation", "longer", "unseen"):
            agree(generate(split, index, seed=11))


@pytest.mark.slow
def test_reads_and_solves_ten_thousand() -> None:
    for split in SPLITS:
        for index in range(10_000 // len(SPLITS) + 1):
            agree(generate(split, index, seed=1))


def test_steps_are_consistent() -> None:
    for problem in MIXED:
        reading = agree(problem)
        assert len({step.name for step in reading.steps}) == len(reading.steps)
        for place, step in enumerate(reading.steps):
            assert step.index == place and step.name.isidentifier()
            assert all(need < place for need in step.needs)
            assert 2 <= step.result <= 999
            assert evaluate(tuple(operand.value for operand in step.operands), step.operators) == step.result
            assert eval(step.expression.replace("/", "//")) == step.result
            for operand in step.operands:
                if operand.origin == "step":
                    assert operand.value == reading.steps[operand.index].result
                elif operand.origin == "fact":
                    assert operand.text == reading.facts[operand.index].text
                    assert reading.facts[operand.index].relevant
            units = [operand.value for operand in step.operands if operand.origin == "unit"]
            assert units == ([step.unit_fact.value] if step.unit_fact else [])
            assert step.unit_fact is None or step.unit_fact in UNIT_FACTS
        used = {need for step in reading.steps for need in step.needs}
        assert used == set(range(len(reading.steps) - 1)), "each step but the last is needed by a later one"


def test_sentences_are_facts_and_question() -> None:
    for problem in MIXED:
        reading = read(problem.question)
        assert " ".join([*(fact.text for fact in reading.facts), reading.core_question]) == problem.question
        assert len(reading.useful) + len(reading.irrelevant) == len(reading.facts)


def without(problem: LabProblem, left_out: int) -> str:
    texts = grammar.sentences(problem.question)
    return " ".join(text for place, text in enumerate(texts) if place != left_out)


def test_irrelevant_facts_can_go() -> None:
    gone = 0
    for problem in MIXED:
        reading = read(problem.question)
        for fact in reading.irrelevant:
            shorter = read(without(problem, fact.index))
            assert [step.expression for step in shorter.steps] == [step.expression for step in reading.steps]
            gone += 1
    assert gone > 300


def test_relevant_facts_cannot_go() -> None:
    for problem in MIXED:
        reading = read(problem.question)
        for fact in reading.facts:
            if fact.relevant:
                try:
                    shorter = read(without(problem, fact.index))
                except DataError:
                    continue
                assert [s.expression for s in shorter.steps] != [s.expression for s in reading.steps], problem


def test_problems_are_more_than_chains() -> None:
    joined = sum(
        any(len(set(step.needs)) > 1 for step in reading.steps)
        for reading in (read(generate("test", index).question) for index in range(400))
    )
    assert joined > 40


def test_legal_orders_differ_and_are_legal() -> None:
    rng = random.Random(0)
    several = 0
    for index in range(60):
        steps = read(generate("longer", index).question).steps
        orders = {legal_order(steps, rng) for _ in range(12)}
        several += len(orders) > 1
        for order in orders:
            assert sorted(order) == list(range(len(steps)))
            for step in steps:
                assert all(order.index(need) < order.index(step.index) for need in step.needs)
    assert several > 15


def test_an_example_read_by_hand() -> None:
    reading = read(
        "Tom has 13 apples. Ann is 9 years old. Ann has 5 more apples than Tom. Then Ann loses a third of her apples. "
        "Later Tom gets 3 more dozen apples. How many apples do Tom and Ann have together?"
    )
    assert [f"{step.expression} = {step.result}" for step in reading.steps] == [
        "13 + 5 = 18",
        "18 / 3 = 6",
        "18 - 6 = 12",
        "3 * 12 = 36",
        "13 + 36 = 49",
        "49 + 12 = 61",
    ]
    assert [step.needs for step in reading.steps] == [(), (0,), (0, 1), (), (3,), (4, 2)]
    assert [fact.text for fact in reading.irrelevant] == ["Ann is 9 years old."]
    assert reading.core_question == "How many apples do Tom and Ann have together?"
    assert (reading.answer, reading.answer_unit) == (61, "apples")


def test_comparison_read_backwards_and_at_a_moment() -> None:
    asked = "How many pens does Ann have now?"
    assert read(f"Tom has 4 fewer pens than Ann. Tom owns 10 pens. {asked}").answer == 14
    moved = f"Tom has 10 pens. Tom gets 6 more pens. {{}}Ann has twice as many pens as Tom. {asked}"
    assert read(moved.format("")).answer == 20
    assert read(moved.format("Now ")).answer == 32


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not in the lab's grammar"),
        ("Tom has some apples. How many apples does Tom have now?", "sentence 1"),
        ("Tom has 12 apples.", "ends with its one question"),
        ("How many apples does Tom have now? Tom has 12 apples.", "ends with its one question"),
        ("Tom has 12 apples. How many apples does Tom have now?", "no arithmetic"),
        ("Tom has 12 apples. How many apples do Tom and Ann have together?", "how many apples Ann has"),
        ("Tom loses 3 apples. How many apples do Tom and Ann have together?", "how many apples Tom has"),
        ("Tom has 12 apples. How many dollars do all the apples of Tom cost?", "no price of apples"),
        ("Tom has 13 apples. Tom keeps only half of his apples. How many apples does Tom have now?", "whole number"),
        ("Tom has 3 apples. Tom loses 5 apples. How many apples does Tom have now?", "more than there is"),
        ("Tom has 30 apples. Tom loses 30 percent of his apples. How many apples does Tom have now?", "30 percent"),
        ("Tom collects 3 apples every week for 2 years. How many apples does Tom have now?", "weeks in a year"),
        (f"Tom has {'9' * 5000} apples. How many apples does Tom have now?", "not in the lab's grammar"),
    ],
)
def test_refuses_clearly(text: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(SENTENCES) | st.text(max_size=30), max_size=6))
def test_any_text_is_read_or_refused(parts: list[str]) -> None:
    try:
        reading = read(" ".join(parts))
    except DataError:
        return
    assert reading.steps[-1].result == reading.answer


def test_wording_says_equation_or_result() -> None:
    for problem in MIXED[:80]:
        for step in read(problem.question).steps:
            said = [wording.say_step(step, style) for style in range(len(wording.STEP_SENTENCES))]
            assert len(set(said)) == len(said)
            for text in said:
                assert str(step.result) in text and text.endswith(".")
                assert text[0].isupper() or text[0].isdigit()
            assert wording.say_step(step, 1, "Then ").startswith("Then the number")
    assert wording.say_answer(19) == f"{wording.ANSWER_TRIGGER} 19."
