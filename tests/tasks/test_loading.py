"""Loading: every unusable input has its one clear error; splits, limits and draws are stable."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feints import tasks
from feints.errors import DataError, SettingsError, UnknownNameError
from feints.records import AnswerKind, Choice, Problem
from feints.tasks import bbh
from feints.tasks import file as own
from feints.tasks.loading.assemble import shuffled
from feints.tasks.loading.layouts import Place, clean_solution, level_of, number_text
from feints.verify.choices import options_of


def row(number: int, **fields):
    return {"id": f"r{number}", "question": f"{number}?", "answer": str(number), "answer_type": "number", **fields}


def written(tmp_path, rows, name="rows.jsonl"):
    path = tmp_path / name
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows), encoding="utf-8")
    return str(path)


def load(path, **more):
    return own.load(own.Config(path=path, **more))


def test_tasks_need_neither_torch_nor_the_hub():
    code = (
        "import sys\nfrom feints import tasks\n"
        "assert 'feints.tasks.gsm8k' not in sys.modules\n"
        "for name in tasks.names(): tasks.find(name)\n"
        "print(sorted({'torch', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_names_and_near_matches():
    assert {"gsm8k", "math", "math500", "bbh", "file"} <= set(tasks.names())
    assert "loading" not in tasks.names()
    with pytest.raises(UnknownNameError, match="did you mean gsm8k"):
        tasks.find("gms8k")


def test_other_packages_add_tasks(monkeypatch):
    points = [EntryPoint("mine", "feints.tasks.file", "feints.tasks"), EntryPoint("broken", "json", "feints.tasks")]
    monkeypatch.setattr(tasks, "entry_points", lambda group: points if group == "feints.tasks" else [])
    assert "mine" in tasks.names()
    assert tasks.find("mine") is own
    with pytest.raises(SettingsError, match="has no Config"):
        tasks.find("broken")
    points.append(EntryPoint("gone", "nowhere_at_all", "feints.tasks"))
    with pytest.raises(SettingsError, match=r"task 'gone' \(nowhere_at_all\) cannot be imported: ModuleNotFoundError"):
        tasks.find("gone")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no rows"),
        (["{"], "line 1: not valid JSON"),
        (['{"question": "a", "answer": "1"}', r'{"question": "\ud83d", "answer": "1"}'], "line 2: a string holds half"),
        ([row(1, split="train"), "[1]"], "line 2: holds a list"),
        ([{"text": "x"}], "has the columns text"),
        ([row(1)], "has no field split"),
        ([row(1, split="train"), {"id": "x", "split": "train", "question": "?"}], "row 2: has no column 'answer_type'"),
        (
            [row(1, split="train"), row(1, split="train")],
            r"the first 'r1' \(\S*rows.jsonl, row 1; \S*rows.jsonl, row 2\)",
        ),
        ([row(1, split="train", answer=["Paris"])], r"row 1: .* answer holds a list \(\['Paris'\]\)"),
        ([row(1, split="train", answer={"text": "4"})], "answer holds an object"),
        ([row(1, split="train", question=["2+2"])], "question holds a list"),
        ([row(1, split="train", rationale=["a", "b"])], "rationale holds a list"),
        ([row(1, split="train", id=[1])], "id holds a list"),
        ([row(1, split="train", meta="grade 3")], "meta holds 'grade 3'; it must be an object"),
        ([f'{{"answer": {"9" * 5000}}}'], "line 1: holds a number of thousands of digits"),
        (["{}", '{"answer": ' + "[" * 100_000], "line 2: nested too deeply"),
        ([row(1, split="train", answer_type="poem")], "answer_type 'poem' is none of"),
        ([row(1, split="train", question=" ")], "question is empty"),
        ([row(1, split="train", answer=" ")], "1 of 1 gold answers cannot be read"),
        (
            [row(1, split="train", answer="B", answer_type="option")],
            "a choice without options; give them in the column",
        ),
        ([row(1, split="train", answer="\frac{1}{2}", answer_type="latex")], r"such as JSON makes of the \\f of"),
    ],
)
def test_each_unusable_file_has_its_one_error(tmp_path, rows, message):
    with pytest.raises(DataError, match=message):
        load(written(tmp_path, rows))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("q", ["2+2"], "q holds a list"),
        ("a", {"value": 4}, "a holds an object"),
        ("why", ["x"], "why holds a list"),
        ("of", {"a": 1}, "of holds an object"),
    ],
)
def test_columns_of_ones_own_hold_single_values(tmp_path, column, value, message):
    columns = {"question_column": "q", "answer_column": "a", "solution_column": "why", "topic_column": "of"}
    path = written(tmp_path, [{"q": "2+2", "a": "4", column: value}])
    with pytest.raises(DataError, match=f"row 1: .*{message}"):
        load({"train": path}, answer_kind="text", **columns)


def test_bytes_of_a_table_are_no_text(tmp_path):
    columns = {"question": [b"2+2?"], "answer": ["4"], "answer_type": ["number"], "split": ["train"]}
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="row 1: .*question holds raw bytes"):
        load(str(tmp_path / "rows.parquet"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("A) x B) y", "the options hold 'A\\) x B\\) y'; give a list of texts"),
        (["x", None], "an option is null"),
        (["x", ["y"]], "an option holds a list"),
        ([{"label": "A", "text": "x"}, {"label": "B"}], "an option holds label; it needs label and text"),
        ({"A": "x", "B": ["y"]}, "an option holds a list"),
        ({"label": ["A", "B"], "text": ["x"]}, "the options have 2 labels and 1 texts"),
        ([f"option {n}" for n in range(30)], "30 options cannot be lettered A to Z"),
    ],
)
def test_options_of_another_shape_are_refused(tmp_path, options, message):
    with pytest.raises(DataError, match=f"row 1: .*{message}"):
        load(written(tmp_path, [row(1, split="train", answer="B", answer_type="option", options=options)]))


def test_a_zero_is_an_id(tmp_path):
    path = written(
        tmp_path, [row(1, split="train", id=0), row(2, split="train", id=""), row(3, split="train", id=None)]
    )
    assert [p.id for p in load(path).train] == ["0", "file/train/1", "file/train/2"]
    renamed = load(path, answer_kind="number", level_column="none")
    assert [p.id for p in renamed.train] == ["0", "file/train/1", "file/train/2"]


@pytest.mark.parametrize(("name", "separator"), [("rows.csv", ","), ("rows.tsv", "\t")])
def test_cells_are_texts_whatever_they_look_like(tmp_path, name, separator):
    lines = [["question", "answer"], ['"Two, and ""two""?\nSay it."', "007"], ["How much\u2028is it?", "1/2"]]
    problems = load({"train": written(tmp_path, [separator.join(line) for line in lines], name)}, answer_kind="text")
    assert [(p.question, p.answer) for p in problems.train] == [
        ('Two, and "two"?\nSay it.', "007"), ("How much\u2028is it?", "1/2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["question,answer", "one, two,3"], r"line 2: 3 cells under 2 column names; put a cell that holds ','"),
        (["question,answer,answer", "a,1,2"], "two columns are called 'answer'"),
        (["question,answer", '"open,1'], "repair the quotes of this row"),
        (["question,answer"], "holds no rows"),
    ],
)
def test_cells_that_do_not_fit_are_named(tmp_path, lines, message):
    with pytest.raises(DataError, match=message):
        load(written(tmp_path, lines, "rows.csv"))


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(DataError, match="no data file at"):
        load(str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(DataError, match="cannot read files of this kind"):
        load(written(tmp_path, ["a,b"], "rows.xlsx"))
    with pytest.raises(DataError, match="not a readable Parquet file"):
        load(written(tmp_path, ["PAR1"], "rows.parquet"))
    with pytest.raises(DataError, match="is no gzip file .*take .gz out of its name"):
        load(written(tmp_path, ["not gzip"], "rows.jsonl.gz"))
    with pytest.raises(SettingsError, match="give the file as `path`"):
        own.load(own.Config())
    with pytest.raises(DataError, match="none of the 1 rows"):
        load(written(tmp_path, [row(1, split="train", dataset="x")]), dataset="y")


def test_unparsable_gold_answers_can_be_left_out_and_are_reported(tmp_path):
    path = written(tmp_path, [row(1, split="train"), row(2, split="train", answer="")])
    problems = load(path, skip_unparsable=True)
    assert [p.id for p in problems.train] == ["r1"]
    assert [id_ for id_, _ in problems.unparsable] == ["r2"]
    assert "1 of 2 gold answers unparsable" in problems.notice()


def test_what_is_left_out_does_not_count_towards_the_limit(tmp_path):
    path = written(tmp_path, [row(i, split="train", answer="forty-ish" if i % 3 == 0 else str(i)) for i in range(60)])
    problems = load(path, skip_unparsable=True, limit=5)
    assert len(problems.train) == 5 and problems.unparsable
    assert len(problems) + len(problems.dropped) == 60 == len({d.item_id for d in problems.dropped}) + 5
    reasons = {d.item_id: d.reason for d in problems.dropped}
    assert all("forty-ish" in reasons[id_] for id_, _ in problems.unparsable)
    assert set(problems.train) < set(load(path, skip_unparsable=True, limit=20).train)
    with pytest.raises(DataError, match="gold answers cannot be read"):
        load(path, limit=20)


def test_roles_by_row_and_by_mapping(tmp_path):
    rows = [row(1, split="train"), row(2, split="dev"), row(3, split="test"), row(4, split="longer")]
    problems = load(written(tmp_path, rows))
    assert [p.id for p in problems.train] == ["r1"]
    assert [p.id for p in problems.validation] == ["r2"]
    assert {name: [p.id for p in found] for name, found in problems.tests.items()} == {"test": ["r3"], "longer": ["r4"]}
    mapped = load({"train": written(tmp_path, rows[:2], "a.jsonl"), "hard": [written(tmp_path, rows[2:], "b.jsonl")]})
    assert [p.id for p in mapped.train] == ["r1", "r2"]
    assert mapped.validation is None
    assert [p.split for p in mapped.tests["hard"]] == ["hard", "hard"]
    assert len(mapped) == 4


def test_own_columns_can_be_named(tmp_path):
    rows = [{"q": "Fly?", "a": True, "why": "Wings.", "topic": "birds", "level": "Level 3"}]
    config = own.Config(
        path={"train": written(tmp_path, rows)},
        question_column="q",
        answer_column="a",
        solution_column="why",
        answer_kind="boolean",
        name="birds",
    )
    (problem,) = own.load(config).train
    assert problem == Problem(
        id="birds/rows/train/0",
        question="Fly?",
        answer="yes",
        answer_kind=AnswerKind.BOOLEAN,
        task="birds",
        split="train",
        solution="Wings.",
        topic="birds",
        level=3,
    )


def test_limits_are_nested_and_reported(tmp_path):
    path = written(tmp_path, [row(i, split="train" if i % 2 else "test") for i in range(100)])
    small, large = load(path, limit=5, seed=3), load(path, limit=20, seed=3)
    assert (len(small.train), len(small.tests["test"])) == (5, 5)
    assert set(small.train) < set(large.train)
    assert len(small.left_out) + len(small) == 100
    assert load(path, limit=5, seed=4).train != small.train


def test_a_set_in_one_piece_can_be_split(tmp_path):
    path = written(tmp_path, [row(i, split="test") for i in range(200)])
    problems = load(path, test_share=0.25)
    assert 25 < len(problems.tests["test"]) < 75
    assert len(problems.train) + len(problems.tests["test"]) == 200
    assert {p.split for p in problems.train} == {"train"}


def test_options_may_stand_in_the_question(tmp_path):
    asked = row(1, split="train", question="Which? (A) x (B) y", answer="B", answer_type="option")
    assert [p.answer for p in load(written(tmp_path, [asked])).train] == ["B"]


def test_a_share_is_not_held_back_beside_a_test_file(tmp_path):
    (tmp_path / "held").mkdir()
    path = {"train": written(tmp_path, [row(1)]), "test": written(tmp_path / "held", [row(2)])}
    with pytest.raises(SettingsError, match="test_share puts all problems together.*path gives test too"):
        load(path, test_share=0.2)


def test_rows_without_ids_keep_their_side_under_another_name_and_place(tmp_path):
    rows = [{**row(i), "id": None} for i in range(60)]
    found = {}
    for name, kept in (("first", rows), ("second", rows[7:])):
        (tmp_path / name).mkdir()
        tests = load({"train": written(tmp_path / name, kept)}, test_share=0.3).tests["test"]
        found[name] = {p.question for p in tests}
    assert len(found["first"]) > 5 and found["second"] == found["first"] - {r["question"] for r in rows[:7]}


def test_the_bbh_split_has_the_sizes_of_the_paper():
    """EDIT-P10."""
    sizes = [250] * 24 + [187, 178, 146]
    problems = [
        Problem(
            id=f"{topic}/{i}",
            question="?",
            answer="1",
            answer_kind=AnswerKind.NUMBER,
            task="bbh",
            split="test",
            topic=str(topic),
        )
        for topic, size in enumerate(sizes)
        for i in range(size)
    ]
    split = bbh.split_each_topic(problems, 0.8, seed=0)
    assert [p.id for p in split] == [p.id for p in problems]
    assert sum(p.split == "train" for p in split) == 5207
    assert sum(p.split == "test" for p in split) == 1304
    assert bbh.split_each_topic(problems, 0.8, seed=1) != split
    assert len(bbh.SUB_TASKS) == 27


def test_bbh_files_given_by_role_keep_it_and_further_sets_come_from_anywhere(tmp_path):
    def written(role, dataset, count):
        row = {"dataset": dataset, "split": "test", "options": None, "answer": "1", "answer_type": "number"}
        rows = [{**row, "id": f"{role}/{i}", "question": f"{role} {i}?"} for i in range(count)]
        (tmp_path / role).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(tmp_path / role)

    train, test = written("train.jsonl", "bbh_object_counting", 10), written("test.jsonl", "bbh_object_counting", 5)
    other = written("other.jsonl", "elsewhere", 3)
    found = bbh.load(bbh.Config(path={"train": train, "test": test, "other": other}))
    assert len(found.train) == 10 and {name: len(rows) for name, rows in found.tests.items()} == {"test": 5, "other": 3}


def test_a_bbh_row_whose_target_names_no_option_keeps_its_options_in_sight():
    listed = "Find a movie similar to Up:\nOptions:\n(A) Alien\n(B) Monsters, Inc"
    place = Place(task="bbh", split="test", topic="movie_recommendation", index=0)
    spoilt = bbh.problem_of({"input": listed, "target": "Monsters, Inc"}, place)
    assert (spoilt.question, spoilt.answer, spoilt.choices) == (listed, "Monsters, Inc", ())
    whole = bbh.problem_of({"input": listed, "target": "(B)"}, place)
    assert whole.question == "Find a movie similar to Up:" and [c.label for c in whole.choices] == ["A", "B"]


def test_none_is_an_answer_where_it_is_written(tmp_path):
    row = {"id": "q", "split": "test", "question": "Which?", "answer": "None", "answer_type": "text", "rationale": None}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    file = tasks.find("file")
    assert [p.answer for p in file.load(file.Config(path=str(tmp_path / "rows.jsonl"))).tests["test"]] == ["None"]


def test_unknown_sub_tasks_and_settings_are_refused():
    with pytest.raises(SettingsError, match="no sub-task is called snark"):
        bbh.load(bbh.Config(sub_tasks=("snark",)))
    with pytest.raises(ValidationError, match="train_shar"):
        bbh.Config(train_shar=0.5)


CHOICES = tuple(Choice(label="ABCDE"[i], text=f"text {i}") for i in range(5))


@settings(deadline=None)
@given(st.integers(0, 4), st.integers(0, 50), st.text(max_size=5))
def test_shuffling_moves_texts_never_labels_or_the_right_text(right, seed, name):
    problem = Problem(
        id=name,
        question="?",
        answer="ABCDE"[right],
        answer_kind=AnswerKind.CHOICE,
        task="t",
        split="s",
        choices=CHOICES,
    )
    mixed = shuffled(problem, seed)
    assert [c.label for c in mixed.choices] == list("ABCDE")
    assert sorted(c.text for c in mixed.choices) == [c.text for c in CHOICES]
    assert next(c.text for c in mixed.choices if c.label == mixed.answer) == f"text {right}"
    assert shuffled(problem, seed) == mixed


def test_small_readers():
    assert [(c.label, c.text) for c in options_of(["A)21", "(B) 1.5", "C. x"])] == [
        ("A", "21"),
        ("B", "1.5"),
        ("C", "x"),
    ]
    assert [c.text for c in options_of(["1.5", "B.C. 40"])] == ["1.5", "C. 40"]
    assert options_of(None) == ()
    two = (Choice(label="A", text="x"), Choice(label="B", text="2"))
    assert options_of({"A": "x", "B": 2, "C": None}) == options_of({"label": ["A", "B"], "text": ["x", 2]}) == two
    many = [{"label": str(n), "text": f"option {n}"} for n in range(30)]
    assert [c.label for c in options_of(many)] == [str(n) for n in range(30)]
    assert [number_text(x) for x in (145.0, "145.00", "1,080", "2.50", "1/2", 10)] == [
        "145",
        "145",
        "1080",
        "2.50",
        "1/2",
        "10",
    ]
    assert clean_solution("2+3=<<2+3=5>>5\n#### 5") == "2+3=5"
    assert [level_of(x) for x in ("Level 4", 2, None, "Level ?")] == [4, 2, None, None]
