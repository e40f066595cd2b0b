"""Examples: ids and weights line up, and long rows are left out whole."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from feints.curate.examples import answer_only_examples, build_examples
from feints.errors import DataError
from feints.generate.source import Message
from feints.records import AnswerKind, Problem, Rationale, Role

END = 0


class Letters:
    """A renderer with one id per character."""

    tokenizer_hash = "letters"

    def prompt_ids(self, messages):
        return [ord(c) for message in messages for c in message.content]

    def target_ids(self, text, thinking=""):
        return [*map(ord, thinking), *map(ord, text), END]


class Ask:
    def messages(self, problem):
        return (Message(role="user", content=problem.question),)


PROBLEM = Problem(id="p", question="1+1?", answer="2", answer_kind=AnswerKind.NUMBER, task="t", split="train")
ROW = Rationale(id="r", problem_id="p", text="It is 2.", thinking="hm ")


def build(rows, **settings):
    return build_examples(Letters(), Ask(), {"p": PROBLEM}, rows, **{"role": Role.RIGHT, **settings})


def test_ids_and_weights_line_up():
    (example,) = build([ROW], role=Role.WRONG, weight=-0.5, prompt_weight=0.25).examples
    assert "".join(map(chr, example.prompt_ids)) == "1+1?"
    assert "".join(map(chr, example.target_ids[:-1])) == "hm It is 2."
    assert example.target_ids[-1] == END
    assert example.weights == (0.25,) * 4 + (-0.5,) * 12
    assert (example.role, example.tokenizer_hash, example.rationale_id) == (Role.WRONG, "letters", "r")


def test_thinking_can_be_dropped():
    (kept,) = build([ROW]).examples
    (bare,) = build([ROW], thinking="drop").examples
    assert kept.target_ids[3:] == bare.target_ids


def test_too_long_and_empty_rows_are_dropped_whole_and_accounted_for():
    rows = [ROW, replace(ROW, id="long", text="x" * 50), replace(ROW, id="empty", text=" \n")]
    built = build(rows, max_tokens=16)
    assert [e.rationale_id for e in built.examples] == ["r"]
    assert [(d.item_id, d.reason) for d in built.dropped] == [
        ("long", "longer than 16 tokens"),
        ("empty", "empty text"),
    ]
    assert not build([ROW], max_tokens=15).examples


def test_the_answer_only_control_learns_the_gold_answer_with_unique_ids():
    built = answer_only_examples(Letters(), Ask(), [PROBLEM, PROBLEM])
    assert {"".join(map(chr, e.target_ids[:-1])) for e in built.examples} == {"The answer is 2."}
    assert len({e.id for e in built.examples}) == 2


def test_a_rationale_of_an_unknown_problem_is_refused():
    with pytest.raises(DataError, match="not among the 1 problems"):
        build([replace(ROW, problem_id="q")])


def test_curate_needs_no_torch():
    code = (
        "import sys, pkgutil, importlib, feints.curate as c\n"
        "for m in pkgutil.iter_modules(c.__path__): importlib.import_module('feints.curate.' + m.name)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
