"""The pool: order, threads, asyncio, deadlines, crashes; easy work starts no process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from feints.errors import DataError
from feints.records import AnswerKind, Finish, Judgement, Problem, Verdict
from feints.verify import pool as pool_module
from feints.verify.judge import Item, Open, judge
from feints.verify.pool import CheckerPool
from feints.verify.process import WorkerProcess
from feints.verify.wire import case_from, item_from, item_message, reply

HARD = Problem(id="hard", question="", answer=r"\sqrt{2}+\pi", answer_kind=AnswerKind.LATEX, task="t", split="test")
EASY = Problem(id="easy", question="", answer="5", answer_kind=AnswerKind.NUMBER, task="t", split="test")
WRONG = r"The answer is $\sqrt{3}+\pi$."


def test_easy_work_starts_no_process() -> None:
    with CheckerPool() as pool:
        verdicts = pool.check_all([(EASY, f"The answer is {n}.", "", Finish.STOP) for n in range(50)])
        assert [v.value for v in verdicts].count(Judgement.CORRECT) == 1
        assert pool._threads is None
        assert all(pool._checkers._idle.get_nowait() is None for _ in range(pool.workers))
        for _ in range(pool.workers):
            pool._checkers._idle.put(None)


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
        with pool._checkers.borrow() as worker:
            os.kill(worker.pid, signal.SIGSTOP)  # a process that answers nothing, as one deep in an endless loop
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
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell what a process has worked")
def test_a_worker_kept_from_working_is_waited_for() -> None:
    with CheckerPool(workers=1, deadline=30) as pool:
        assert pool.check(HARD, WRONG).value is Judgement.WRONG
        with pool._checkers.borrow() as worker:
            os.kill(worker.pid, signal.SIGSTOP)
        pool.deadline = 2.0
        threading.Timer(3.0, os.kill, (worker.pid, signal.SIGCONT)).start()
        assert pool.check(HARD, WRONG).value is Judgement.WRONG


@pytest.mark.slow
def test_a_crash_is_not_checked_and_the_worker_replaced() -> None:
    with CheckerPool(workers=1, deadline=30) as pool:
        pool.warm_up()
        with pool._checkers.borrow() as worker:
            os.kill(worker.pid, signal.SIGKILL)
        verdicts = pool.check_all([(HARD, WRONG, "", Finish.STOP)] * 3)
    assert [v.value for v in verdicts].count(Judgement.WRONG) >= 2
    assert all(v.value is not Judgement.CORRECT for v in verdicts)


@pytest.mark.slow
def test_a_crash_is_the_fault_of_the_case_it_came_with(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [rf"The answer is $\sqrt{{{n}}}+\pi$." for n in (3, 5, 7)]
    awaited, asked = WorkerProcess.await_work, []

    def dies_on_the_second(worker: WorkerProcess, number: int, deadline: float) -> Any:
        asked.append(number)
        if len(asked) == 2:
            raise EOFError  # as where the worker is gone; killed here, it might have answered already
        return awaited(worker, number, deadline)

    monkeypatch.setattr(WorkerProcess, "await_work", dies_on_the_second)
    with CheckerPool(workers=1, deadline=30) as pool:
        verdicts = pool.check_all([(HARD, text, "", Finish.STOP) for text in others])
    assert [v.value for v in verdicts] == [Judgement.WRONG, Judgement.NOT_CHECKED, Judgement.WRONG]
    assert [v.extracted for v in verdicts] == [rf"$\sqrt{{{n}}}+\pi$" for n in (3, 5, 7)]


@pytest.mark.slow
def test_a_share_whose_worker_is_lost_is_judged_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WORTH_STARTING", 10)
    judged = WorkerProcess.judge

    def lost(worker: WorkerProcess, share: Sequence[Item], deadline: float) -> Any:
        os.kill(worker.pid, signal.SIGKILL)
        return judged(worker, share, deadline)

    monkeypatch.setattr(WorkerProcess, "judge", lost)
    items: list[Item] = [(EASY, f"The answer is {n % 6}.", "", Finish.STOP) for n in range(24)]
    with CheckerPool(workers=2, deadline=30) as shared, CheckerPool(workers=1) as alone:
        assert shared.check_all(items) == alone.check_all(items)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_a_pool_of_its_own() -> None:
    ours = pool_module._default()
    child = os.fork()
    if not child:
        os._exit(int(pool_module._default() is ours))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and pool_module._default() is ours


@pytest.mark.slow
def test_ctrl_c_in_a_comparison_leaves_the_pool_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with CheckerPool(workers=1, deadline=30) as pool:
        with monkeypatch.context() as patched:
            patched.setattr(WorkerProcess, "await_work", interrupted)
            with pytest.raises(KeyboardInterrupt):
                pool.check(HARD, WRONG)
        assert pool.check(HARD, WRONG).value is Judgement.WRONG


def test_a_bad_problem_raises_and_leaves_the_pool_usable() -> None:
    bad = Problem(id="bad", question="", answer="", answer_kind=AnswerKind.NUMBER, task="t", split="test")
    with CheckerPool() as pool:
        with pytest.raises(DataError):
            pool.check_all([(EASY, "5", "", Finish.STOP), (bad, "5", "", Finish.STOP)])
        assert pool.check(EASY, "The answer is 5.").value is Judgement.CORRECT


@pytest.mark.slow
def test_a_bad_problem_in_a_share_is_named_and_the_others_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "WORTH_STARTING", 10)
    monkeypatch.setattr(pool_module, "SHARE", 8)
    bad = Problem(id="the bad one", question="", answer="", answer_kind=AnswerKind.NUMBER, task="t", split="test")
    items: list[Item] = [(bad if n == 13 else EASY, "The answer is 5.", "", Finish.STOP) for n in range(40)]
    with CheckerPool(workers=2, deadline=30) as pool:
        each = pool.check_each(items)
        assert [n for n, found in enumerate(each) if isinstance(found, DataError)] == [13]
        right = [found for found in each if isinstance(found, Verdict)]
        assert len(right) == 39 and all(found.value is Judgement.CORRECT for found in right)
        with pytest.raises(DataError, match="the bad one"):
            pool.check_all(items)


def test_what_goes_over_the_wire_comes_back() -> None:
    item: Item = (HARD, WRONG, "a thought", Finish.STOP)
    problem, text, thinking, finish = item_from(json.loads(json.dumps(item_message(item))))
    assert (problem.answer, problem.answer_kind, text, finish) == (HARD.answer, HARD.answer_kind, WRONG, Finish.STOP)
    assert thinking == "", "never searched, so it stays at home"
    case = judge(HARD, WRONG)
    assert isinstance(case, Open)
    decided = judge(EASY, "The answer is 5.")
    assert isinstance(decided, Verdict)
    for found, of in ((case, HARD), (decided, EASY)):
        assert case_from(of, json.loads(json.dumps(reply(found)))) == found
