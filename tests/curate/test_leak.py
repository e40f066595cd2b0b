"""Decontamination: what overlaps is left out, named, and nothing else is."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feints.curate import leak
from feints.curate.leak import remove_leaks
from feints.curate.words import words
from feints.errors import SettingsError
from feints.preparation import load_problems
from feints.recipe import load_recipe
from feints.records import AnswerKind, Choice, Dropped, Problem
from feints.runs import RunFolder
from feints.tables import read_table


def problem(name: str, question: str, *options: str) -> Problem:
    choices = tuple(Choice(label="ABCDE"[i], text=text) for i, text in enumerate(options))
    return Problem(
        id=name, question=question, answer="1", answer_kind=AnswerKind.TEXT, task="t", split="s", choices=choices
    )


LONG = "A farmer has seven hens and each hen lays three eggs a day for two whole weeks in May."


@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [
        ("What is 3 + 4?", "what is  3+4", "equal to a test problem"),
        (
            "Evaluate it now: what is the cube of 12? Explain.",
            "What is the cube of 12?",
            "contains a short test problem",
        ),
        ("Is the cube of 12 even?", "Cube of 12, even?", "contains a short test problem"),
        ("Is the cube of 12 odd?", "Odd of 12?", None),
        ("Once more. " + LONG + " How many?", LONG + " How much money?", "shares 13 words with a test problem"),
        ("What is 3 - 4?", "What is 3 + 4?", None),
        ("What is it?", "What is it all about, and who is to say so?", None),
        (LONG, "A farmer has seven hens and each hen lays three eggs. How many eggs is that in 2 weeks?", None),
    ],
)
def test_each_kind_of_overlap(train, test, reason):
    result = remove_leaks([problem("a", train)], {"test": [problem("t", test)]})
    assert [d.reason for d in result.dropped] == ([reason] if reason else [])
    assert result.matches == (("test/t",) if reason else ())
    assert len(result.kept) == (0 if reason else 1)


def test_a_run_stores_which_test_problem_each_leak_is_in(small_recipe: Path, tmp_path: Path) -> None:
    texts = {"train": [LONG, "A new one?", "And this?"], "test": ["What else?", LONG.upper()]}
    for split, questions in texts.items():
        lines = [{"id": f"{split}{n}", "question": text, "answer": "1"} for n, text in enumerate(questions)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    files = f"{{train: {tmp_path}/train.jsonl, test: {tmp_path}/test.jsonl}}"
    task = f"task={{name: file, answer_kind: number, path: {files}}}"
    run = RunFolder(tmp_path / "run")
    found = load_problems(load_recipe(small_recipe, [task, "curate.validation=0"]), run)
    [(table, _)] = run.outputs("3_dropped")
    [row] = read_table(table, Dropped)
    assert (row.item_id, row.reason) == ("train0", "equal to a test problem (test/test1)")
    assert found.funnel.steps[-1].reasons == ("equal to a test problem",), "a funnel counts by kind"


def test_options_belong_to_the_problem():
    stem = "Which statement is sarcastic?"
    train = [problem("same", stem, "Lovely rain", "It rains"), problem("other", stem, "Nice try", "You tried")]
    result = remove_leaks(train, {"test": [problem("t", stem, "It rains", "Lovely rain")]})
    assert [p.id for p in result.kept] == ["other"]


def test_a_run_shared_by_many_test_problems_identifies_none():
    tests = [problem(f"t{i}", f"{LONG} Question number {i} of all?") for i in range(11)]
    train = [problem("a", LONG + " How many eggs?"), problem("b", tests[3].question)]
    result = remove_leaks(train, {"test": tests})
    assert [p.id for p in result.kept] == ["a"]
    assert result.boilerplate == len(words(LONG)) - 13 + 1 + 2  # the runs inside LONG, and two into "Question number"
    assert not remove_leaks(train[:1], {"test": tests[:10]}).kept
    assert "1 of 2 training problems" in result.notice()


def test_only_equal_texts_when_asked():
    result = remove_leaks([problem("a", LONG + " So?")], {"test": [problem("t", LONG)]}, ngram=None)
    assert len(result.kept) == 1
    assert not remove_leaks([problem("a", LONG)], {"test": [problem("t", LONG)]}, ngram=None).kept


TEXT = st.lists(st.sampled_from(["one", "two", "three", "four", "five", "six"]), min_size=1, max_size=20).map(" ".join)


@settings(deadline=None)
@given(st.lists(TEXT, max_size=8), st.lists(TEXT, max_size=8))
def test_accounting_idempotence_and_the_naive_twin(train_texts, test_texts):
    train = [problem(f"a{i}", text) for i, text in enumerate(train_texts)]
    tests = {"test": [problem(f"t{i}", text) for i, text in enumerate(test_texts)]}
    result = remove_leaks(train, tests, ngram=6, boilerplate=1000)
    assert sorted([p.id for p in result.kept] + [d.item_id for d in result.dropped]) == sorted(p.id for p in train)
    assert remove_leaks(result.kept, tests, ngram=6, boilerplate=1000).kept == result.kept

    def leaks(text: str, test: str) -> bool:
        runs = [" ".join(test.split()[i : i + 6]) for i in range(len(test.split()) - 5)]
        if leak.ANCHOR <= len(test.split()) < 6:
            runs = [test]
        return text == test or any(f" {run} " in f" {text} " for run in runs)

    assert {p.id for p in result.kept} == {p.id for p in train if not any(leaks(p.question, t) for t in test_texts)}


def test_work_grows_with_the_texts_and_not_with_their_pairs(monkeypatch):
    """Each text is read once, however many there are on the other side."""
    draw = random.Random(0)
    texts = [" ".join(draw.choices([f"w{i}" for i in range(300)], k=50)) for _ in range(900)]
    read: list[str] = []
    monkeypatch.setattr(leak, "words", lambda text: read.append(text) or words(text))
    train = [problem(f"a{i}", text) for i, text in enumerate(texts[:600])]
    tests = {"test": [problem(f"t{i}", text) for i, text in enumerate(texts[600:])]}
    assert len(remove_leaks(train, tests).kept) == 600
    assert Counter(read) == Counter(texts)


def test_impossible_settings_are_refused():
    with pytest.raises(SettingsError, match="at least 1"):
        remove_leaks([], {}, ngram=0)
