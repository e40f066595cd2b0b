"""Judging files of rows: fields kept, kinds inferred, faults listed, nothing written by halves."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feints.errors import DataError, StorageError
from feints.records import AnswerKind, Choice
from feints.verify.rows import infer_kind, judge_rows

ROWS: list[dict[str, Any]] = [
    {"id": 7, "gold": "18", "text": "The answer is 18.", "notes": ["kept", 1]},
    {"gold": 18, "text": "The answer is 17.", "verdict": "of old"},
    {"gold": "\\frac{1}{2}", "text": "\\boxed{0.5}"},
    {"gold": "yes", "text": "So the answer is no.", "kind": "boolean"},
    {"gold": "by the sea", "kind": "choice", "text": "The answer is (B).", "choices": [
        {"label": "A", "text": "at home"}, {"label": "B", "text": "by the sea"}]},
    {"gold": "", "text": "The answer is 5."},
    {"gold": "gral", "text": "Let me see", "question": "Say it"},
]  # fmt: skip
EXPECTED = ["correct", "wrong", "correct", "wrong", "correct", "not_checked", "no_answer"]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "\n".join(json.dumps(row) for row in rows) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("source", ["in.jsonl", "in.jsonl.gz"])
def test_rows_keep_their_fields_and_gain_a_verdict(tmp_path: Path, source: str) -> None:
    target = tmp_path / "deep" / "out.jsonl"
    summary = judge_rows(write(tmp_path / source, ROWS), target)
    judged = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["verdict"] for row in judged] == EXPECTED
    for before, after in zip(ROWS, judged, strict=True):
        kept = {("input_verdict" if name == "verdict" else name): value for name, value in before.items()}
        assert {name: after[name] for name in kept} == kept
        assert {"lenient", "extracted", "checker", "reason"} <= set(after)
    assert (summary.rows, summary.unusable_gold, summary.verdicts["correct"]) == (7, 1, 3)
    assert sum(summary.verdicts.values()) == 7
    assert "empty" in judged[5]["reason"]


def test_a_file_judged_again_and_again_keeps_every_column(tmp_path: Path) -> None:
    row = {"gold": "5", "text": "The answer is 5.", "input_verdict": "older", "verdict": "human", "reason": "mine"}
    source = write(tmp_path / "0.jsonl", [row])
    for turn in (1, 2):
        judge_rows(source, tmp_path / f"{turn}.jsonl")
        source = tmp_path / f"{turn}.jsonl"
    (judged,) = [json.loads(line) for line in source.read_text().splitlines()]
    assert sorted(value for name, value in judged.items() if name.endswith("verdict")) == [
        "correct", "correct", "human", "older",
    ]  # fmt: skip
    assert "mine" in judged.values() and judged["verdict"] == "correct"


def test_parquet_and_lines_hold_the_same(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", ROWS)
    judge_rows(source, tmp_path / "out.parquet")
    judge_rows(source, tmp_path / "out.jsonl.gz")
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    with gzip.open(tmp_path / "out.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    for name in ("verdict", "extracted", "reason"):
        assert [row[name] for row in table] == [row[name] for row in lines]
    assert [row["gold"] for row in table][:2] == ["18", "18"]  # a column of two types is kept as text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl.gz", "out.parquet"]


def test_bad_lines_are_all_listed_and_nothing_is_written(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    bad = ['{"gold": "1", "text": "1"}', "{oops", "[1]", '{"gold": "1"}', '{"text": "1"}', ""]
    bad += ['{"gold": "1", "text": "1", "kind": "numbr"}', '{"gold": "A", "text": "A", "choices": "x"}']
    source.write_text("\n".join(bad))
    with pytest.raises(DataError) as caught:
        judge_rows(source, tmp_path / "out.jsonl")
    message = str(caught.value)
    assert [f"line {n}:" in message for n in range(1, 9)] == [False, True, True, True, True, False, True, True]
    assert "6 of 7 rows" in message
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    "choices",
    [
        ["red", "blue"],
        ["A) red", "(B) blue"],
        [{"label": "A", "text": "red"}, {"label": "B", "text": "blue"}],
        {"A": "red", "B": "blue", "C": None},
        {"label": ["A", "B"], "text": ["red", "blue"]},
    ],
)
def test_choices_may_be_written_as_data_sets_write_them(tmp_path: Path, choices: object) -> None:
    texts = ["The answer is (B).", "It is blue.", "The answer is red."]
    source = write(tmp_path / "in.jsonl", [{"gold": "B", "text": text, "choices": choices} for text in texts])
    judge_rows(source, tmp_path / "out.jsonl")
    judged = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["extracted"] for row in judged] == ["B", "B", "A"]
    assert [row["verdict"] for row in judged] == ["correct", "correct", "wrong"]
    assert judged[0]["choices"] == choices


def test_a_row_that_was_cut_is_no_mistake(tmp_path: Path) -> None:
    rows = [{"gold": "123", "text": "The answer is 12", "finish": finish} for finish in ("length", "stop", "whatever")]
    judge_rows(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    judged = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in judged] == ["no_answer", "wrong", "wrong"]


def test_half_characters_and_a_byte_order_mark_are_no_obstacle(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    rows = [r'{"gold": "1", "text": "\ud83d The answer is 1."}', '{"gold": "2", "text": "Ünd: the answer is 1."}']
    source.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(rows).encode())
    for name in ("out.jsonl", "out.parquet"):
        assert judge_rows(source, tmp_path / name).verdicts["correct"] == 1
    judged = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert judged[0]["text"] == "\ud83d The answer is 1." and judged[1]["text"].startswith("Ünd")
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["verdict"] for row in table] == ["correct", "wrong"] and table[0]["text"] == "? The answer is 1."


def test_a_damaged_body_and_a_kind_of_another_shape_are_named(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl.gz"
    source.write_bytes(gzip.compress(b"")[:10] + b"\xff" * 40)
    with pytest.raises(DataError, match="damaged or no gzip file"):
        judge_rows(source, tmp_path / "out.jsonl")
    write(tmp_path / "in.jsonl", [{"gold": "1", "text": "1", "kind": ["number"]}])
    with pytest.raises(DataError, match=r"kind \['number'\] is none of"):
        judge_rows(tmp_path / "in.jsonl", tmp_path / "out.jsonl")


def test_a_long_whole_number_beside_a_fraction_loses_no_digit(tmp_path: Path) -> None:
    rows = [{"gold": "1", "text": "1", "score": score, "count": 2**60 + 1} for score in (1.5, 2**60 + 1)]
    judge_rows(write(tmp_path / "in.jsonl", rows), tmp_path / "out.parquet")
    table = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["score"] for row in table] == ["1.5", str(2**60 + 1)]
    assert [row["count"] for row in table] == [2**60 + 1] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.parquet"]


def test_a_line_too_much_to_read_is_listed_with_the_others(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"gold": ' + "9" * 5000 + '}\n{"gold": ' + "[" * 100_000, encoding="utf-8")
    with pytest.raises(DataError, match=r"2 of 2 rows(?s:.*)line 1: holds a number of(?s:.*)line 2: nested too deeply"):
        judge_rows(source, tmp_path / "out.jsonl")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(DataError, match="no file"):
        judge_rows(tmp_path / "absent.jsonl", tmp_path / "out.jsonl")
    with pytest.raises(DataError, match=r"name it \.jsonl"):
        judge_rows(source, tmp_path / "out.csv")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no rows"):
        judge_rows(tmp_path / "empty.jsonl", tmp_path / "out.jsonl")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        judge_rows(source, tmp_path / "file" / "out.jsonl")


def test_an_earlier_result_stays_when_judging_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("earlier\n")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("feints.verify.rows._judge_batch", fail)
    with pytest.raises(KeyboardInterrupt):
        judge_rows(write(tmp_path / "in.jsonl", ROWS), target)
    assert target.read_text() == "earlier\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize(
    ("gold", "choices", "kind"),
    [
        ("18", (), AnswerKind.NUMBER),
        ("$1,200.50", (), AnswerKind.NUMBER),
        ("12 apples", (), AnswerKind.NUMBER),
        ("3/4", (), AnswerKind.NUMBER),
        (r"\frac{3}{4}", (), AnswerKind.LATEX),
        ("x^2", (), AnswerKind.LATEX),
        ("(1, 2)", (), AnswerKind.LATEX),
        ("True", (), AnswerKind.BOOLEAN),
        ("no", (), AnswerKind.BOOLEAN),
        ("oral", (), AnswerKind.TEXT),
        ("кот", (), AnswerKind.TEXT),
        ("Ñu", (), AnswerKind.TEXT),
        ("東", (), AnswerKind.TEXT),
        ("π", (), AnswerKind.LATEX),
        ("B", (Choice(label="A", text="x"), Choice(label="B", text="y")), AnswerKind.CHOICE),
        ("(b)", (Choice(label="A", text="x"), Choice(label="B", text="y")), AnswerKind.CHOICE),
    ],
)
def test_the_kind_is_read_off_the_gold_answer(gold: str, choices: tuple[Choice, ...], kind: AnswerKind) -> None:
    assert infer_kind(gold, choices) is kind
