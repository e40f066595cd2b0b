"""Several students as one sampler: who draws which sample, in calls of any size, and what becomes of it on disk."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from feints.errors import DataError
from feints.evaluate.ensemble import Ensemble
from feints.evaluate.solver import Majority, OneShot, Sampler, load_solver
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request, Sampling
from feints.records import AnswerKind, Judgement, Problem

WARM = Sampling(temperature=1.0, max_tokens=16)


def problems(count: int = 3) -> list[Problem]:
    return [
        Problem(
            id=f"p{at}", question=f"number {at}", answer=str(at), answer_kind=AnswerKind.NUMBER, task="t", split="t"
        )
        for at in range(count)
    ]


def member(name: int, asked: list[Request] | None = None) -> OneShot:
    """Says who it is, the index of its sample and the seed of its stream."""

    def says(request: Request) -> str:
        if asked is not None:
            asked.append(request)
        return f"The answer is {name}{request.sample_index}{request.seed}."

    return OneShot(ScriptedSource(says, f"member {name}"), sampling=WARM)


def told(sampler: Sampler, samples: int, *, first: int = 0) -> list[list[str]]:
    drawn = sampler.sample(problems(), samples, 5, first=first)
    return [[completion.text[len("The answer is ") : -1] for completion, _ in own] for own in drawn]


def test_members_draw_in_turn_each_from_a_stream_of_its_own() -> None:
    assert (
        told(Ensemble([member(7), member(8), member(9)]), 7) == [["705", "806", "907", "715", "816", "917", "725"]] * 3
    )


def test_one_member_draws_as_if_it_were_alone() -> None:
    assert told(Ensemble([member(7)]), 4) == told(member(7), 4)


@pytest.mark.parametrize("cut", range(1, 8))
def test_drawn_in_two_calls_the_samples_are_the_same(cut: int) -> None:
    ensemble = Ensemble([member(7), member(8), member(9)])
    parts = zip(told(ensemble, cut), told(ensemble, 8 - cut, first=cut), strict=True)
    assert [one + more for one, more in parts] == told(ensemble, 8)


def test_a_member_without_a_turn_is_not_asked() -> None:
    asked: list[Request] = []
    told(Ensemble([member(7), member(8, asked)]), 1)
    assert asked == []


def test_the_vote_is_over_the_samples_of_all() -> None:
    right = OneShot(
        ScriptedSource(lambda r: f"The answer is {re.findall(r'[0-9]+', r.messages[-1].content)[0]}.", "right"),
        sampling=WARM,
    )
    ensemble = Ensemble([member(7), right, right])
    answers = Majority(ensemble, 3).solve(problems(), seed=0)
    assert [answer.judgement for answer in answers] == [Judgement.CORRECT] * 3
    assert all(len(answer.samples) == 3 for answer in answers)
    alone = ensemble.solve(problems(), seed=0)
    assert [answer.text for answer in alone] == ["The answer is 700."] * 3


def test_no_member_and_a_saved_member_that_draws_no_samples_are_refused(tmp_path: Path, talker: Path) -> None:
    with pytest.raises(DataError, match="no students"):
        Ensemble([])
    shot = OneShot(talker, sampling=WARM)
    Ensemble([shot, shot]).save(tmp_path)
    loaded = load_solver(tmp_path)
    assert isinstance(loaded, Ensemble)
    assert loaded.identity == Ensemble([shot, shot]).identity != Ensemble([shot]).identity
    Majority(shot, 2).save(tmp_path / "member_2")
    with pytest.raises(DataError, match=r"member_2 holds a Majority"):
        load_solver(tmp_path)
