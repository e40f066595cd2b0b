"""Chains of students: who reads what, what it costs, what happens when key points run too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

from feints.errors import DataError
from feints.evaluate.chained import Chain, Fallback, Link, _same_weights
from feints.evaluate.solver import Majority, OneShot, Sampler
from feints.generate.prompt import Prompt
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Request, Sampling
from feints.records import AnswerKind, Judgement, Problem

FACTS = Prompt(id="facts", template="{question}\nFacts:")
SOLVE = Prompt(id="solve", template="{question}\n{facts}\nSolve:")


class Narrow(ScriptedSource):
    """A student with room for so many characters."""

    room = 60

    def too_long(self, requests: Sequence[Request]) -> list[int]:
        return [at for at, one in enumerate(requests) if len(one.messages[-1].content) > self.room]


def problems(count: int) -> list[Problem]:
    return [
        Problem(
            id=f"p{at}", question=f"number {at}", answer=str(at), answer_kind=AnswerKind.NUMBER, task="t", split="t"
        )
        for at in range(count)
    ]


def solves(request: Request) -> str:
    lines = request.messages[-1].content.splitlines()
    return f"The answer is {lines[0].split()[1]}." if lines[1].startswith("Given: ") else "The answer is -1."


def chain(facts: ScriptedSource, sampling: Sampling | None = None) -> Chain:
    return Chain([Link("facts", "Given: ", OneShot(facts, FACTS))], OneShot(Narrow(solves, "solves"), SOLVE, sampling))


def test_each_stage_reads_what_those_before_wrote() -> None:
    answers = chain(ScriptedSource(lambda request: "a fact", "facts")).solve(problems(3), seed=0)
    assert [answer.judgement for answer in answers] == [Judgement.CORRECT] * 3
    assert isinstance(chain(ScriptedSource(lambda request: "", "facts")), Sampler)


def test_key_points_that_are_empty_leave_no_head_behind() -> None:
    answers = chain(ScriptedSource(lambda request: "", "facts")).solve(problems(2), seed=0)
    assert [answer.extracted for answer in answers] == ["-1", "-1"]


def test_key_points_that_do_not_fit_are_left_out_for_that_problem_alone() -> None:
    def writes(request: Request) -> str:
        return "a fact" * (20 if "number 1" in request.messages[-1].content else 1)

    answers = chain(ScriptedSource(writes, "facts")).solve(problems(3), seed=0)
    assert [answer.extracted for answer in answers] == ["0", "-1", "2"]
    assert answers[1].tokens > answers[0].tokens, "what was written in vain is paid for"


def test_students_that_decode_otherwise_share_no_weights() -> None:
    one, same, other = (SimpleNamespace(student="here", source_settings={"rows": rows}) for rows in (4, 4, 8))
    assert _same_weights(one, same) and not _same_weights(one, other)  # type: ignore[arg-type]


def test_key_points_are_written_once_and_paid_with_the_first_sample() -> None:
    asked: list[str] = []

    def writes(request: Request) -> str:
        asked.append(request.messages[-1].content)
        return "a fact of some length"

    sampled = chain(ScriptedSource(writes, "facts"), Sampling(temperature=1.0))
    judged = sampled.sample(problems(2), 3, seed=0)
    assert len(asked) == 2
    spent = [[completion.usage.completion_tokens for completion, _ in own] for own in judged]
    assert all(first > second == third for first, second, third in spent)
    later = sampled.sample(problems(2), 3, seed=0, first=3)
    assert all(len({completion.usage.completion_tokens for completion, _ in own}) == 1 for own in later)
    assert len(Majority(sampled, 3).solve(problems(2), seed=0)) == 2


def test_the_identity_of_a_chain_is_that_of_all_its_stages() -> None:
    one, other = (ScriptedSource(lambda request: "a", name) for name in ("one", "other"))
    assert chain(one).identity == chain(one).identity
    assert chain(one).identity != chain(other).identity
    whole = chain(one)
    headed = Chain([replace(whole.links[0], head="Known: ")], whole.final)
    assert headed.identity != whole.identity


@pytest.mark.parametrize("first", [0, 2])
def test_a_fallback_draws_no_more_samples_of_the_next_form_than_it_takes(first: int) -> None:
    asked: list[tuple[str, str, int]] = []

    def writes(name: str) -> ScriptedSource:
        def text(request: Request) -> str:
            number = int(request.messages[-1].content.split()[1])
            asked.append((name, f"p{number}", request.sample_index))
            # Problem 0 never has a value in the first form, problem 1 for every other sample, problem 2 always.
            without = name == "one" and request.sample_index % 2 >= number
            return "I do not know" if without else f"The answer is {number}. I am {name} {request.sample_index}"

        return ScriptedSource(text, name)

    prompt = Prompt(id="plain", template="{question}")
    shots = [OneShot(writes(name), prompt, Sampling(temperature=1.0)) for name in ("one", "two")]
    judged = Fallback(shots).sample(problems(3), 4, seed=0, first=first)
    assert [[completion.text.split(" I am ")[-1] for completion, _ in own] for own in judged] == [
        [f"{name} {first + at}" for at, name in enumerate(names)]
        for names in (["two"] * 4, ["one", "two"] * 2, ["one"] * 4)
    ]
    drawn = [shot.sample(problems(3), 4, 0, first=first) for shot in shots]
    later = [one[1:] for one in asked[:-24] if one[0] == "two"]
    assert len(later) == len(set(later)) == 6
    for at, own in enumerate(judged):
        for place, (completion, _) in enumerate(own):
            both = [said[at][place][0].usage.completion_tokens for said in drawn]
            fell = "two" in completion.text
            assert completion.usage.completion_tokens == (sum(both) if fell else both[0])


def test_a_fallback_over_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="at least one"):
        Fallback([])
