from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from feints.errors import DataError, SourceError
from feints.generate.budget import Budget
from feints.generate.ledger import Ledger
from feints.generate.replay import Recorded, ReplaySource
from feints.generate.sample import complete_all, sample_all
from feints.generate.source import Message, Request
from feints.records import Finish

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "rationales"


def ask(question: str, index: int = 0, wrap: str = "Solve this.\n\n{}\n\nThink step by step.") -> Request:
    turns = (Message(role="system", content="Be brief."), Message(role="user", content=wrap.format(question)))
    return Request(messages=turns, sample_index=index)


def test_the_longest_question_in_the_last_user_turn_is_answered() -> None:
    source = ReplaySource(
        {
            "How many apples are left in the basket?": ["short"],
            "Ann eats 3. How many apples are left in the basket?": ["long, 0", "long, 1"],
            "2+2": ["tiny"],
        }
    )
    asked = [
        ask("Ann eats 3.  How many apples\nare left in the basket?", 1),
        ask("How many apples are left in the basket?"),
        ask("2+2", wrap="{}"),
        Request(prompt="Q: 2+2\nA:"),
    ]
    assert [c.text for c in complete_all(source, asked)] == ["long, 1", "short", "tiny", "tiny"]
    assert source.find(ask("12+2")) is None and source.find(ask("2+25")) is None


def test_half_a_character_in_a_recorded_file_is_read_and_endless_nesting_refused(tmp_path: Path) -> None:
    path = tmp_path / "recorded.jsonl"
    path.write_text('{"question": "2+2 \\ud83d", "text": "4 apples \\ud83d"}\n')
    assert complete_all(ReplaySource.from_jsonl(path), [ask("2+2 ?")])[0].text == "4 apples ?"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="recorded.jsonl cannot be read at or after line 1: nested too deeply"):
        ReplaySource.from_jsonl(path)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b'{"question": "q", "text": "t", "finish": ["stop"]}', r"finish is \['stop'\]"),
        (b'{"question": "q", "text": "t", "final": 42}', "final is 42"),
        pytest.param(gzip.compress(b"", mtime=0)[:10] + b"\xff" * 40, "cannot be read", id="not gzip behind its head"),
    ],
)
def test_what_is_recorded_in_another_shape_is_refused(tmp_path: Path, row: bytes, why: str) -> None:
    path = tmp_path / ("r.jsonl.gz" if row[:1] == b"\x1f" else "r.jsonl")
    path.write_bytes(row)
    with pytest.raises(DataError, match=why):
        ReplaySource.from_jsonl(path)


def test_nothing_is_paid_and_usage_is_estimated_and_marked() -> None:
    budget = Budget(requests=0, tokens=0, money=0)
    (completion,) = complete_all(ReplaySource({"2+2": ["x" * 40]}), [ask("2+2")], budget=budget)
    assert completion.usage.completion_tokens == 10
    assert completion.cost == 0
    assert completion.raw["usage"]["estimated"] is True
    assert budget.spent.requests == 0


def test_a_rerun_of_recordings_is_as_free_as_the_first_run() -> None:
    with Ledger() as ledger:
        for _ in range(2):
            budget = Budget(requests=0, tokens=0, money=0)
            complete_all(ReplaySource({"2+2": ["4"]}), [ask("2+2")], ledger, budget)
            assert (budget.spent.requests, budget.spent.tokens) == (0, 0)


def test_missing_records_are_an_error_that_counts_them_or_are_skipped_and_reported() -> None:
    records = {"known": ["a", "b"]}
    asked = [ask("known", 0), ask("unknown question"), ask("known", 1), ask("known", 2)]
    asked[1] = ask("another")
    with Ledger() as ledger:
        with pytest.raises(SourceError, match="2 requests have no recorded completion.*another.*teacher.missing: skip"):
            complete_all(ReplaySource(records), asked, ledger)
        assert ledger.count()["complete"] == 2
    sampled = sample_all(ReplaySource(records, missing="skip"), asked)
    assert [c.text for _, c in sampled.answered] == ["a", "b"]
    assert sampled.unsent == (asked[1], asked[3])
    assert sampled.report.why_unsent == "2 requests have no recorded completion"


def test_identity_follows_the_records() -> None:
    one = ReplaySource({"q": ["a", "b"], "r": ["c"]}).identity
    assert one == ReplaySource({"r": ["c"], "q": ["a", "b"]}).identity
    assert one != ReplaySource({"q": ["b", "a"], "r": ["c"]}).identity
    for other in (Recorded(text="a", finish=Finish.LENGTH), Recorded(text="a", model="m"), Recorded(text="b")):
        assert one != ReplaySource({"q": [other, "b"], "r": ["c"]}).identity


def write(path: Path, rows: list[Any]) -> Path:
    text = "\n".join(json.dumps(row) for row in rows) + "\n"
    if path.suffix == ".gz":
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.write(text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_both_layouts_are_read(tmp_path: Path, name: str) -> None:
    rows = [
        {"id": "1", "question": "q1", "samples": [
            {"text": "one", "model": "m", "finish": "length"},
            {"text": "two", "model": "n"},
            {"text": "three \n", "model": "m", "final": "The answer is 3."},
        ]},
        {"question": "q2", "text": "plain"},
        {"question": "q2", "text": "again", "model": "m"},
    ]  # fmt: skip
    path = write(tmp_path / name, rows)
    asked = [ask("q1", 0), ask("q1", 1), ask("q1", 2), ask("q2"), ask("q2", 1)]
    completions = complete_all(ReplaySource.from_jsonl(path), asked)
    assert [c.text for c in completions] == ["one", "two", "three\nThe answer is 3.", "plain", "again"]
    assert [c.finish for c in completions[:2]] == [Finish.LENGTH, Finish.UNKNOWN]
    only = ReplaySource.from_jsonl(path, model="m")
    assert [c.text for c in complete_all(only, [ask("q1", 1), ask("q2")])] == ["three\nThe answer is 3.", "again"]
    left_out = sample_all(ReplaySource.from_jsonl(path, missing="skip"), [ask("q2"), ask("q2", 9)])
    assert (len(left_out.answered), left_out.unsent) == (1, (ask("q2", 9),))
    with pytest.raises(DataError, match="no completion.*'nobody'"):
        ReplaySource.from_jsonl(path, model="nobody")


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ([1], "line 1: a row must be an object"),
        ({"text": "x"}, "line 1: a row needs question"),
        ({"question": 5, "text": "x"}, r"found question \(int\), text \(str\)"),
        ({"question": "q", "samples": []}, "no completion; check the names, and that rows have samples"),
        ({"question": "q", "samples": [{"said": "x"}]}, "line 1: a sample must be an object with a text"),
        ({"question": "q", "text": "x", "finish": "tired"}, "finish is 'tired'"),
        ({"question": " ", "text": "x"}, "line 1: an empty question"),
    ],
)
def test_a_row_of_another_shape_is_named(tmp_path: Path, row: Any, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        ReplaySource.from_jsonl(write(tmp_path / "r.jsonl", [row]))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        ReplaySource.from_jsonl(tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl.gz").write_text("not gzip")
    with pytest.raises(DataError, match="cannot be read"):
        ReplaySource.from_jsonl(tmp_path / "bad.jsonl.gz")
    for line in ('{"question": "q", "text": ' + "[" * 100_000, '{"x": ' + "9" * 5000 + "}"):
        (tmp_path / "bad.jsonl").write_text('{"question": "q", "text": "a"}\n' + line, encoding="utf-8")
        with pytest.raises(DataError, match=r"bad.jsonl cannot be read at or after line 2"):
            ReplaySource.from_jsonl(tmp_path / "bad.jsonl")


def test_recorded_samples_may_be_texts_or_records() -> None:
    source = ReplaySource({"q": ["a", Recorded(text="b", finish=Finish.REFUSAL)]})
    assert [c.text for c in complete_all(source, [ask("q"), ask("q", 1)])] == ["a", "b"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared recorded rationales are not on this machine")
@pytest.mark.parametrize("name", ["zero_shot_cot_davinci002", "gsm8k_example_solutions", "llm_adapters_gpt35"])
def test_every_recorded_question_finds_its_own_samples(name: str) -> None:
    path = SHARED / f"{name}.jsonl.gz"
    source = ReplaySource.from_jsonl(path)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts: dict[str, set[str]] = {}
    for row in rows:
        said = {s["text"].rstrip() + "\n" + s["final"] if s.get("final") else s["text"] for s in row["samples"]}
        texts.setdefault(" ".join(row["question"].split()), set()).update(text.lstrip("\n") for text in said)
    for row in rows[::7]:
        found = source.find(ask(row["question"]))
        assert found is not None
        assert found.text.lstrip("\n") in texts[" ".join(row["question"].split())]
