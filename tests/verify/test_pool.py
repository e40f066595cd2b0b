"""The pool: order, threads, asyncio, deadlines, crashes; easy work starts no process."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from feints.errors import DataError
from feints.records import AnswerKind, Finish, Judgement, Problem, Verdict
from feints.verify import pool as pool_module
from feints.verify.judge import Item, Open, judge
from feints.verify.pool import CheckerPool
from feints.verify.wire import item_from, item_message, open_from, reply, verdict_from

HARD = Problem(id="hard", question="", answer=r"\sqrt{2}+\pi", answer_kind=AnswerKind.LATEX, task="t", split="test")
EASY = Problem(id="easy", question="", answer="5", answer_kind=AnswerKind.NUMBER, task="t", split="test")
WRONG = r"The answer is $\sqrt{3}+\pi$."


def test_easy_work_starts_no_process() -> None:
    with CheckerPool() as pool:
        verdicts = pool.check_all([(EASY, f"The answer is {n}.", "", Finish.STOP) for n in range(50)])
        assert [v.value for v in verdicts].count(Judgement.CORRECT) == 1
        assert pool._threads is None
        assert all(pool._idle.get_nowait() is None for _ in range(pool.workers))
        for _ in range(pool.workers):
            pool._idle.put(None)


@pytest.mark.slow
def test_hard_and_easy_come_back_in_order_and_alike_from_threads_and_asyncio() -> None:
    items: list[Item] = []
    for n in range(40):
        items.append((EASY, f"The answer is {n % 7}.", "", Finish.STOP))
        items.append((HARD, WRONG if n % 2 else r"The answer is $\pi+\sqrt2$.", "", Finish.STOP))
    with CheckerPool(workers=2, deadline=30) as pool:
        together = pool.check_all(items)
        with ThreadPoolExecutor(8) as threads:
            one_by_one = list(threads.map(lambda item: pool.check(item[0], item[1], finish=item[3]), items))

        async def gather() -> list[Verdict]:
            return list(await asyncio.gather(*(pool.check_async(p, t, finish=f) for p, t, _, f in items)))

        from_asyncio = asyncio.run(gather())
    assert together == one_by_one == from_asyncio
    expected = [Judgement.CORRECT if n % 7 == 5 else Judgement.WRONG for n in range(40)]
    assert [v.value for v in together[::2]] == expected
    assert [v.value for v in together[1::2]] == [Judgement.CORRECT, Judgement.WRONG] * 20


@pytest.mark.slow
def test_shares_of_easy_work_over_workers_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WORTH_STARTING", 10)
    monkeypatch.setattr(pool_module, "SHARE", 8)
    items: list[Item] = [
        (HARD, WRONG, "", Finish.STOP) if n % 9 == 4 else (EASY, f"The answer is {n % 6}.", "", Finish.STOP)
        for n in range(60)
    ]
    with CheckerPool(workers=2, deadline=30) as shared, CheckerPool(workers=1, deadline=30) as alone:
        assert shared.check_all(items) == alone.check_all(items)


@pytest.mark.slow
def test_a_case_that_hangs_is_not_checked_and_the_next_one_is() -> None:
    with CheckerPool(workers=1, deadline=30) as pool:
        pool.warm_up()
        worker = pool._idle.get()
        assert worker is not None
        os.kill(worker.pid, signal.SIGSTOP)  # a process that answers nothing, as one deep in an endless loop
        pool._idle.put(worker)
        pool.deadline = 0.5
        started = time.monotonic()
        first = pool.check(HARD, WRONG)
        assert time.monotonic() - started < 10
        pool.deadline = 30
        second = pool.check(HARD, WRONG)
    assert (first.value, first.checker) == (Judgement.NOT_CHECKED, "pool")
    assert "no decision within 0.5 s" in first.reason
    assert second.value is Judgement.WRONG


@pytest.mark.slow
def test_a_crash_is_not_checked_and_the_worker_replaced() -> None:
    with CheckerPool(workers=1, deadline=30) as pool:
        pool.warm_up()
        worker = pool._idle.get()
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        pool._idle.put(worker)
        verdicts = pool.check_all([(HARD, WRONG, "", Finish.STOP)] * 3)
    assert [v.value for v in verdicts].count(Judgement.WRONG) >= 2
    assert all(v.value is not Judgement.CORRECT for v in verdicts)


def test_a_bad_problem_raises_and_leaves_the_pool_usable() -> None:
    bad = Problem(id="bad", question="", answer="", answer_kind=AnswerKind.NUMBER, task="t", split="test")
    with CheckerPool() as pool:
        with pytest.raises(DataError):
            pool.check_all([(EASY, "5", "", Finish.STOP), (bad, "5", "", Finish.STOP)])
        assert pool.check(EASY, "The answer is 5.").value is Judgement.CORRECT


def test_what_goes_over_the_wire_comes_back() -> None:
    item: Item = (HARD, WRONG, "a thought", Finish.STOP)
    problem, text, thinking, finish = item_from(item_message(item))
    assert (problem.answer, problem.answer_kind, text, thinking, finish) == (HARD.answer, HARD.answer_kind, *item[1:])
    case = judge(HARD, WRONG)
    assert isinstance(case, Open)
    assert open_from(case.gold, reply(case)) == case
    decided = judge(EASY, "The answer is 5.")
    assert isinstance(decided, Verdict)
    assert verdict_from(reply(decided)) == decided
