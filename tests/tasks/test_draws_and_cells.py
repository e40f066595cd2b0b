"""What a seed draws, what a row says of itself in `meta`, and cells of tables as they come."""

from __future__ import annotations

import gzip
import json

import pytest

from feints.errors import DataError
from feints.tasks import file as own


def load(path, **more):
    return own.load(own.Config(path={"train": str(path)}, **more))


def written(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def choice(number, **fields):
    options = [f"{number} km", f"{number} m", f"{number} cm", f"{number} mm"]
    return {"question": "Which is longest?", "options": options, "answer": "A", "answer_type": "option", **fields}


def test_another_seed_holds_back_other_problems_and_puts_options_in_another_order(tmp_path):
    path = written(tmp_path / "rows.jsonl", [choice(i, id=f"r{i}") for i in range(40)])
    drawn = [load(path, test_share=0.5, shuffle_choices=True, seed=seed) for seed in (3, 4)]
    held = [{p.id for p in problems.tests["test"]} for problems in drawn]
    orders = [{p.id: p.choices for part in (d.train, d.tests["test"]) for p in part} for d in drawn]
    assert held[0] != held[1] and orders[0] != orders[1]


def test_problems_that_differ_in_their_options_alone_are_held_back_apart(tmp_path):
    problems = load(written(tmp_path / "rows.jsonl", [choice(i) for i in range(40)]), test_share=0.5)
    assert problems.train and problems.tests["test"]


def test_subject_and_level_may_stand_in_meta(tmp_path):
    meta = [{"subject": "algebra", "level": "Level 3"}, {"subject": "primes", "grade": "Grade 5"}]
    path = written(tmp_path / "rows.jsonl", [choice(i, meta=said) for i, said in enumerate(meta)])
    assert [(p.topic, p.level) for p in load(path).train] == [("algebra", 3), ("primes", 5)]


@pytest.mark.parametrize(("name", "separator"), [("rows.csv.gz", ","), ("rows.tsv.gz", "\t")])
def test_a_packed_table_is_read_and_a_long_cell_is_no_obstacle(tmp_path, name, separator):
    long = "How many? " * 20_000
    with gzip.open(tmp_path / name, "wt", encoding="utf-8") as stream:
        stream.write(f"question{separator}answer\n{long}{separator}7\n")
    (problem,) = load(tmp_path / name, answer_kind="number").train
    assert (problem.question, problem.answer) == (long.strip(), "7")


@pytest.mark.parametrize("half", ["\\ud83d", "\\uD83D"])
def test_half_a_character_is_refused_however_it_is_escaped(tmp_path, half):
    row = json.dumps(choice(1)).replace("longest", half)
    (tmp_path / "rows.jsonl").write_text(row, encoding="utf-8")
    with pytest.raises(DataError, match="line 1: a string holds half a character"):
        load(tmp_path / "rows.jsonl")
