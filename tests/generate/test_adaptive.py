from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from feints.errors import SourceError
from feints.generate.adaptive import AdaptivelySampled, AdaptiveSettings, Judge, sample_adaptively
from feints.generate.budget import Budget
from feints.generate.ledger import Ledger
from feints.generate.scripted import ScriptedSource
from feints.generate.source import Completion, Message, Request
from feints.records import Judgement


def problems(count: int, samples: int = 8) -> dict[str, list[Request]]:
    return {
        f"p{p}": [Request(messages=(Message(role="user", content=f"p{p}"),), sample_index=i) for i in range(samples)]
        for p in range(count)
    }


def verdict(problem_id: str, index: int) -> Judgement:
    """A fixed random truth: some problems are easy, some hard."""
    draw = random.Random(f"{problem_id} {index}")
    ease = random.Random(problem_id).random()
    return (
        Judgement.CORRECT
        if draw.random() < ease
        else random.Random(index).choice([Judgement.WRONG, Judgement.NO_ANSWER])
    )


def judge(problem_id: str, completion: Completion) -> Judgement:
    return verdict(problem_id, int(completion.text.split("#")[1]))


def answer(request: Request) -> str:
    return f"{request.messages[0].content} #{request.sample_index}"


class Shuffled(ScriptedSource):
    """Answers take times that differ from run to run."""

    def __init__(self, seed: int) -> None:
        super().__init__(answer, "shuffled", latency=0.001)
        self._draw = random.Random(seed)

    async def _serve(self, desk):  # type: ignore[no-untyped-def]
        while await desk.more():
            for request in await desk.take():
                await asyncio.sleep(self._draw.random() * 0.01)
                desk.arrived(request, self._answer(request))


SETTINGS = AdaptiveSettings(minimum=2, maximum=8, wanted_right=2, wanted_wrong=1)


def expected(problem_id: str, settings: AdaptiveSettings) -> list[Judgement]:
    """The definition, as a plain loop in index order."""
    read: list[Judgement] = []
    for index in range(settings.maximum):
        read.append(verdict(problem_id, index))
        right, wrong = read.count(Judgement.CORRECT), read.count(Judgement.WRONG)
        if len(read) >= settings.minimum and right >= settings.wanted_right and wrong >= settings.wanted_wrong:
            break
    return read


def shown(sampled: AdaptivelySampled) -> list[tuple[str, int, Judgement]]:
    return [(used.problem_id, used.request.sample_index, used.judgement) for used in sampled.used]


def test_equals_a_plain_loop_in_index_order_and_asks_nothing_in_vain() -> None:
    asked: Counter[Request] = Counter()

    def counted(request: Request) -> str:
        asked[request] += 1
        return answer(request)

    sampled = sample_adaptively(ScriptedSource(counted), problems(40), SETTINGS, judge)
    wanted = [(p, i, v) for p in problems(40) for i, v in enumerate(expected(p, SETTINGS))]
    assert shown(sampled) == wanted
    assert asked.total() == len(asked) == len(wanted)
    assert not sampled.unfinished
    short = [
        p for p in problems(40) if (e := expected(p, SETTINGS)).count(Judgement.CORRECT) < 2 or Judgement.WRONG not in e
    ]
    assert sampled.short == tuple(short)


def test_arrival_order_and_kill_and_resume_do_not_change_the_result(tmp_path: Path) -> None:
    results = [shown(sample_adaptively(Shuffled(seed), problems(25), SETTINGS, judge)) for seed in range(3)]
    assert results[0] == results[1] == results[2]
    asked = 0

    def dying(request: Request) -> str:
        nonlocal asked
        asked += 1
        if asked == 60:
            raise SourceError("the power went")
        return answer(request)

    with Ledger(tmp_path / "l") as ledger:
        with pytest.raises(SourceError, match="power"):
            sample_adaptively(ScriptedSource(dying, "shuffled"), problems(25), SETTINGS, judge, ledger)
        resumed = sample_adaptively(Shuffled(9), problems(25), SETTINGS, judge, ledger)
        assert resumed.report.stored == 59
        assert shown(resumed) == results[0]


class InBatches:
    """Answers depend on who shares the batch, as padding does to logits."""

    identity = "in batches"

    def __init__(self, power: float = math.inf) -> None:
        self.decoded: Counter[Request] = Counter()
        self._power = power

    def batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        ordered = sorted(requests, key=lambda request: (request.messages[0].content, request.sample_index))
        return [ordered[start : start + 10] for start in range(0, len(ordered), 10)]

    async def complete(self, requests: Sequence[Request]) -> AsyncIterator[tuple[Request, Completion]]:
        for batch in self.batches(requests):
            self.decoded.update(batch)
            company = " ".join(f"{request.messages[0].content}.{request.sample_index}" for request in batch)
            for request in batch:
                if self._power == 0:
                    raise SourceError("the power went")
                self._power -= 1
                yield request, Completion(key=request.key(self.identity), text=f"{company} #{request.sample_index}")


@pytest.mark.parametrize("killed_after", [3, 60, 90])
def test_what_is_decoded_in_batches_is_asked_in_waves_and_decoded_once(tmp_path: Path, killed_after: int) -> None:
    def judge_at(seed: int) -> Judge:
        draw = random.Random(seed)

        async def slowly(problem_id: str, completion: Completion) -> Judgement:
            await asyncio.sleep(draw.random() * 0.01)
            return judge(problem_id, completion)

        return slowly

    source = InBatches()
    whole = sample_adaptively(source, problems(25), SETTINGS, judge_at(0))
    assert shown(whole) == [(p, i, v) for p in problems(25) for i, v in enumerate(expected(p, SETTINGS))]
    assert set(source.decoded.values()) == {1}
    assert sample_adaptively(InBatches(), problems(25), SETTINGS, judge_at(1)).used == whole.used
    with Ledger(tmp_path / "l") as ledger:
        with pytest.raises(SourceError, match="power"):
            sample_adaptively(InBatches(killed_after), problems(25), SETTINGS, judge_at(2), ledger)
        resumed = InBatches()
        assert sample_adaptively(resumed, problems(25), SETTINGS, judge_at(3), ledger).used == whole.used
        assert set(resumed.decoded.values()) == {1}
        assert resumed.decoded.total() < source.decoded.total() - killed_after + 10, "at most a batch is redone"


def test_surplus_of_an_earlier_run_stays_unused(tmp_path: Path) -> None:
    greedy = AdaptiveSettings(minimum=8, maximum=8, wanted_right=0, wanted_wrong=0)
    with Ledger(tmp_path / "l") as ledger:
        whole = sample_adaptively(ScriptedSource(answer), problems(10), greedy, judge, ledger)
        assert len(whole.used) == 80
        modest = sample_adaptively(ScriptedSource(answer), problems(10), SETTINGS, judge, ledger)
        assert modest.report.arrived == 0
        assert ledger.count()["complete"] == 80
    assert shown(modest) == [(p, i, v) for p in problems(10) for i, v in enumerate(expected(p, SETTINGS))]


def test_an_asynchronous_judge_works_and_a_failing_one_is_heard() -> None:
    async def slow(problem_id: str, completion: Completion) -> Judgement:
        await asyncio.sleep(0.001)
        return judge(problem_id, completion)

    def broken(problem_id: str, completion: Completion) -> Judgement:
        raise RuntimeError("the checker fell over")

    plain = sample_adaptively(ScriptedSource(answer), problems(10), SETTINGS, judge)
    assert shown(sample_adaptively(ScriptedSource(answer), problems(10), SETTINGS, slow)) == shown(plain)
    with pytest.raises(RuntimeError, match="fell over"):
        sample_adaptively(ScriptedSource(answer), problems(10), SETTINGS, broken)


def test_a_budget_leaves_problems_unfinished_and_says_which() -> None:
    sampled = sample_adaptively(ScriptedSource(answer), problems(10), SETTINGS, judge, budget=Budget(requests=15))
    assert len(sampled.used) == 15
    finished = {p for p in problems(10)} - set(sampled.unfinished)
    for p in finished:
        assert [v for q, _, v in shown(sampled) if q == p] == expected(p, SETTINGS)
    assert sampled.unfinished and "15 of 15 requests" in sampled.report.why_unsent
    assert not {*sampled.short} & {*sampled.unfinished}, "a problem given up has not reached the maximum"


def test_two_problems_with_the_same_prompt_share_the_answers() -> None:
    twin = {"a": problems(1)["p0"], "b": problems(1)["p0"]}
    asked = []
    sampled = sample_adaptively(
        ScriptedSource(lambda r: asked.append(r) or answer(r)),  # type: ignore[func-returns-value]
        twin, SETTINGS, lambda _, c: judge("p0", c),
    )  # fmt: skip
    assert [v for p, _, v in shown(sampled) if p == "a"] == [v for p, _, v in shown(sampled) if p == "b"]
    assert len(asked) == len(expected("p0", SETTINGS))


def test_contradicting_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="minimum 9 exceeds maximum 8"):
        AdaptiveSettings(minimum=9, maximum=8)
