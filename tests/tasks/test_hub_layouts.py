"""Rows as the hub has them, written by us: read through a stand-in for `datasets`, and from a local file alike."""

from __future__ import annotations

import gzip
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pyarrow
import pytest
from pyarrow import parquet

from feints import tasks
from feints.errors import DataError, MissingExtraError, SettingsError
from feints.records import AnswerKind, Judgement
from feints.verify import check

K = AnswerKind
OPTIONS = {"label": ["A", "B"], "text": ["iron", "wood"]}
SOLUTION = r"Adding gives $2x = 6$, so $x = \boxed{3}$."

# task, settings, hub table (repository, name, split), row, split it lands in, what must come out
ROWS = [
    (
        "gsm8k",
        {},
        ("openai/gsm8k", "main", "train"),
        {"question": "Ann has 1000 pins and buys 80. How many?", "answer": "1000+80=<<1000+80=1080>>1080\n#### 1,080"},
        "train",
        {"answer": "1080", "answer_kind": K.NUMBER, "solution": "1000+80=1080"},
    ),
    (
        "math",
        {},
        ("EleutherAI/hendrycks_math", "algebra", "test"),
        {"problem": "Solve $2x=6$.", "level": "Level 2", "type": "Algebra", "solution": SOLUTION},
        "test",
        {"answer": "3", "answer_kind": K.LATEX, "topic": "Algebra", "level": 2, "solution": SOLUTION},
    ),
    (
        "math500",
        {},
        ("HuggingFaceH4/MATH-500", None, "test"),
        {"problem": "Solve.", "solution": SOLUTION, "answer": "3", "subject": "Algebra", "level": 2, "unique_id": "u1"},
        "test",
        {"id": "u1", "answer": "3", "topic": "Algebra", "level": 2},
    ),
    (
        "svamp",
        {},
        ("ChilleD/SVAMP", None, "train"),
        {"ID": "chal-9", "Body": "Bo had 9 cups", "Question": "How many now?", "Answer": "145.0", "Type": "Sum"},
        "train",
        {"question": "Bo had 9 cups. How many now?", "answer": "145", "topic": "Sum", "id": "svamp/chal-9"},
    ),
    (
        "asdiv",
        {},
        ("EleutherAI/asdiv", None, "validation"),
        {"body": "Two dogs.", "question": "How many?", "answer": "2 (dogs)", "solution_type": "Sum", "formula": "2=2"},
        "test",
        {"question": "Two dogs. How many?", "answer": "2", "answer_kind": K.NUMBER},
    ),
    (
        "asdiv",
        {},
        ("EleutherAI/asdiv", None, "validation"),
        {"body": "It is noon.", "question": "When is tea?", "answer": "3:30 (p.m.)", "solution_type": "Time"},
        "test",
        {"answer": "3:30", "answer_kind": K.TEXT},
    ),
    (
        "mawps",
        {},
        ("MU-NLPC/Calc-mawps", None, "validation"),
        {"id": "mawps__1", "question": "How many?", "result": "43.0", "result_float": 43.0},
        "validation",
        {"answer": "43", "id": "mawps__1"},
    ),
    (
        "mawps",
        {"part": "multiarith"},
        ("ChilleD/MultiArith", None, "test"),
        {"question": "How many?", "final_ans": "12"},
        "test",
        {"answer": "12", "task": "multiarith"},
    ),
    (
        "aqua",
        {},
        ("deepmind/aqua_rat", "raw", "validation"),
        {"question": "Pick.", "options": ["A)1.5", "B)2.5"], "rationale": "It is B.", "correct": "B"},
        "validation",
        {"answer": "B", "answer_kind": K.CHOICE, "solution": "It is B."},
    ),
    (
        "commonsense_qa",
        {},
        ("tau/commonsense_qa", None, "validation"),
        {"id": "q1", "question": "Hard?", "question_concept": "hard", "choices": OPTIONS, "answerKey": "A"},
        "test",
        {"id": "q1", "answer": "A", "topic": "hard"},
    ),
    (
        "strategy_qa",
        {},
        ("ChilleD/StrategyQA", None, "train"),
        {"qid": "s1", "question": "Do birds fly?", "answer": True, "facts": "Most birds fly."},
        "train",
        {"id": "s1", "answer": "yes", "answer_kind": K.BOOLEAN, "solution": "Most birds fly."},
    ),
    (
        "arc",
        {"part": "easy"},
        ("allenai/ai2_arc", "ARC-Easy", "validation"),
        {"id": "M7", "question": "Hard?", "choices": {"label": ["1", "2"], "text": ["a", "b"]}, "answerKey": "2"},
        "validation",
        {"id": "arc_easy/M7", "answer": "B"},
    ),
    (
        "bbh",
        {"sub_tasks": ["snarks"], "train_share": 0.0},
        ("SaylorTwift/bbh", "snarks", "test"),
        {"input": "Which is sarcastic?\nOptions:\n(A) Lovely rain\n(B) It rains", "target": "(A)"},
        "test",
        {"question": "Which is sarcastic?", "answer": "A", "answer_kind": K.CHOICE, "topic": "snarks"},
    ),
    (
        "bbh",
        {"sub_tasks": ["navigate"], "train_share": 0.0},
        ("SaylorTwift/bbh", "navigate", "test"),
        {"input": "Take 1 step. Do you return?\nOptions:\n- Yes\n- No", "target": "No"},
        "test",
        {"question": "Take 1 step. Do you return?", "answer": "No", "answer_kind": K.BOOLEAN, "choices": ()},
    ),
    (
        "bbh",
        {"sub_tasks": ["object_counting"], "train_share": 0.0},
        ("SaylorTwift/bbh", "object_counting", "test"),
        {"input": "I have a plum. How many fruits?", "target": "1"},
        "test",
        {"answer": "1", "answer_kind": K.NUMBER},
    ),
    (
        "agieval",
        {"parts": ["sat-en"]},
        ("hails/agieval-sat-en", None, "test"),
        {
            "query": "A text about iron. Q: Hard? Answer Choices: (A)iron (B)wood\nA: Among A through B, the answer is",
            "choices": ["(A)iron", "(B)wood"],
            "gold": [1],
        },
        "test",
        {"question": "A text about iron. Hard?", "answer": "B", "answer_kind": K.CHOICE, "topic": "sat-en"},
    ),
    (
        "agieval",
        {"parts": ["math"]},
        ("hails/agieval-math", None, "test"),
        {"query": "Q: What is $1+1$?\nA: The answer is", "answer": "2"},
        "test",
        {"question": "What is $1+1$?", "answer": "2", "answer_kind": K.LATEX},
    ),
]


class Hub:
    """A stand-in for `datasets` that knows one row and answers every other table with other rows of its kind."""

    def __init__(self, table, row):
        self.table, self.row, self.asked = table, row, []

    def load_dataset(self, repository, name, *, split, revision):
        self.asked.append((repository, name, split, revision))
        return [self.row] if (repository, name, split) == self.table else []


def landed(problems, split):
    if split == "train":
        return problems.train
    return problems.validation if split == "validation" else problems.tests[split]


@pytest.mark.parametrize(("task", "settings", "table", "row", "split", "wanted"), ROWS)
def test_a_hub_row_becomes_the_problem_it_is(monkeypatch, tmp_path, task, settings, table, row, split, wanted):
    hub = Hub(table, row)
    monkeypatch.setitem(sys.modules, "datasets", hub)
    module = tasks.find(task)
    (problem,) = landed(module.load(module.Config(revision="abc", **settings)), split)
    assert {name: getattr(problem, name) for name in wanted} == wanted
    assert problem.split == split
    assert (*table, "abc") in hub.asked
    if problem.answer_kind is K.CHOICE:
        assert [choice.label for choice in problem.choices] == ["A", "B"]
        assert all(not choice.text.startswith(("(", "A)", "B)")) for choice in problem.choices)
    assert check(problem, f"The answer is {problem.answer}.").value is Judgement.CORRECT

    stem = settings.get("sub_tasks", settings.get("parts", ["rows"]))[0]
    path = tmp_path / f"{stem}.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    (local,) = landed(module.load(module.Config(path={split: str(path)}, **settings)), split)
    assert replace(local, id=problem.id, topic=problem.topic) == problem


def test_math_can_be_examined_on_math500(monkeypatch):
    table, row = ROWS[2][2:4]
    monkeypatch.setitem(sys.modules, "datasets", Hub(table, row))
    math = tasks.find("math")
    assert [p.id for p in math.load(math.Config(test="math500")).tests["math500"]] == ["u1"]


def test_a_problem_with_several_answers_is_left_out_and_said_so(monkeypatch):
    rows = [{"body": "", "question": "Which?", "answer": "2 (a); 3 (b)"}, {"body": "", "question": "?", "answer": "2"}]
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=lambda *a, **k: rows))
    asdiv = tasks.find("asdiv")
    problems = asdiv.load(asdiv.Config())
    assert [d.reason for d in problems.left_out] == ["several answers in one"]
    assert "1 rows left out" in problems.notice()


def test_files_of_every_kind_hold_the_same_problems(tmp_path):
    rows = [{"question": f"{i}?", "answer": f"#### {i}"} for i in range(3)]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps({"examples": rows}), encoding="utf-8")
    with gzip.open(tmp_path / "c.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.write(text + "\n\n")
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "d.parquet")
    gsm8k = tasks.find("gsm8k")
    found = [
        gsm8k.load(gsm8k.Config(path={"train": str(tmp_path / name)})).train
        for name in ("a.jsonl", "b.json", "c.jsonl.gz", "d.parquet")
    ]
    assert len(found[0]) == 3
    assert all(problems == found[0] for problems in found)


def test_without_datasets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    gsm8k = tasks.find("gsm8k")
    with pytest.raises(MissingExtraError, match=r"feints\[hub\]"):
        gsm8k.load(gsm8k.Config())


def test_an_unreachable_hub_and_a_set_it_lacks_are_clear(monkeypatch):
    def refuse(*args, **settings):
        raise ConnectionError("no route")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=refuse))
    gsm8k, mawps = tasks.find("gsm8k"), tasks.find("mawps")
    with pytest.raises(DataError, match=r"openai/gsm8k \(main, split train\) cannot be read.*no route"):
        gsm8k.load(gsm8k.Config())
    with pytest.raises(SettingsError, match="give a local file"):
        mawps.load(mawps.Config(part="addsub"))
