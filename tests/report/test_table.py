from __future__ import annotations

import io
import re
from dataclasses import replace
from types import ModuleType

import pytest
from rich.console import Console

from feints.report.table import lines, render_scores

HOSTILE = "[red]x[/red]\x1b[2J\u202e\nnext"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_and_is_plain_without_a_terminal(made_up: ModuleType, width: int) -> None:
    found = lines(made_up.run(), width)
    assert max(map(len, found)) <= width
    assert "\x1b" not in "".join(found)


def test_every_accuracy_stands_whole_in_80_columns(made_up: ModuleType) -> None:
    text = "\n".join(lines(made_up.run(), 80))
    for solver in ("plain_cot", "answer_only", "untrained"):
        assert len(re.findall(rf"^  {solver} +\d+\.\d % \[\d+\.\d, \d+\.\d\] ", text, re.MULTILINE)) == 3
    assert re.search(r"one right rationale took 120\s+tokens or 0.000144 USD", text)


def test_names_that_differ_at_their_ends_stand_whole(made_up: ModuleType) -> None:
    names = ("edit_dpo_second_rate_0_05", "edit_dpo_second_rate_0_1")
    run = made_up.run(scores=tuple(made_up.score(name, "test", 500) for name in names), comparisons=())
    assert [len(line) for line in lines(run, 80) if len(line) > 80] == []
    left = "".join(re.match(r" *(\S*)", line[:24])[1] for line in lines(run, 80))  # type: ignore[index]
    assert all(name in left for name in names)


def test_a_percentage_never_stands_alone(made_up: ModuleType) -> None:
    text = " ".join(" ".join(lines(made_up.run(), 200)).split())
    alone = re.sub(r"\d+\.\d % \[\d+\.\d, \d+\.\d\]|95 % interval", "", text)
    assert "%" in text and "%" not in alone


def test_markup_and_escapes_in_names_stay_text(made_up: ModuleType) -> None:
    run = made_up.run(name=HOSTILE, scores=(made_up.score(HOSTILE, HOSTILE, 5),), warnings=(HOSTILE,))
    text = "\n".join(lines(run, 200))
    assert "[red]x[/red]␛[2J⟨U+202E⟩ next" in text
    assert "\x1b" not in text and "\u202e" not in text


def test_an_ascii_terminal_is_served(made_up: ModuleType) -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as stream:
        Console(file=stream, width=80).print(render_scores(made_up.run()))
        stream.flush()
        text = raw.getvalue().decode("ascii")
    assert "-0.8, +5.0" in text
    assert "-o-" in text or "o-" in text


def test_a_bare_run_still_says_something(made_up: ModuleType) -> None:
    bare = made_up.run(scores=(), comparisons=(), funnel=(), spend=None, warnings=())
    assert any("no result" in line for line in lines(bare))


def test_steps_that_several_rounds_went_through_are_one_row(made_up: ModuleType) -> None:
    once = made_up.run()
    twice = made_up.run(funnel=(*once.funnel, *once.funnel[2:]))
    step = once.funnel[-1]
    (row,) = [line for line in lines(twice) if line.strip().startswith(f"{step.name} ")]
    assert f"{2 * step.rows_in:,}" in row and f"{2 * step.kept:,}" in row
    assert len(lines(twice)) == len(lines(once))


def test_rounds_of_several_students_say_whose_they_are(made_up: ModuleType) -> None:
    rounds = made_up.rounds()
    assert "(seed" not in "".join(lines(made_up.run(rounds=rounds), 120))
    more = (*rounds, replace(rounds[0], seed=1000))
    assert "tailored, 1 (seed 1000)" in "".join(lines(made_up.run(rounds=more), 120))
    nested = (*rounds, replace(rounds[0], within="round_1"))
    assert "tailored, round_1/1 " in "".join(lines(made_up.run(rounds=nested), 120))
