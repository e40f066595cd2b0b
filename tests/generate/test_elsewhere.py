"""Requests that another process has in flight: left to it when sampling is stopped, counted when it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feints.generate.budget import Amount
from feints.generate.ledger import Ledger
from feints.generate.ledger_tables import claim_for
from feints.generate.scripted import ScriptedSource, text_reply
from feints.generate.session import Session
from feints.generate.source import Message, Request

SOURCE = ScriptedSource(lambda _: "never asked")
REQUEST = Request(messages=(Message(role="user", content="2 + 2?"),))
KEY = REQUEST.key(SOURCE.identity)


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """Ours and that of another, which has the request in flight."""
    with Ledger(tmp_path / "l") as ours, Ledger(tmp_path / "l") as theirs:
        theirs.claim([claim_for(REQUEST, KEY, SOURCE.identity, Amount(requests=1))])
        yield ours, theirs


def sampled(ledger: Ledger, soon: Callable[[Session], None]) -> tuple[list[str], Session]:
    """The texts that come where `soon` happens after a while."""

    async def main() -> tuple[list[str], Session]:
        session = Session(SOURCE, ledger)
        session.ask([REQUEST])
        asyncio.get_running_loop().call_later(0.3, soon, session)
        return [completion.text async for _, completion in session.stream()], session

    return asyncio.run(asyncio.wait_for(main(), 20))


def test_who_stops_does_not_wait_for_another_process(ledgers: tuple[Ledger, Ledger]) -> None:
    texts, session = sampled(ledgers[0], lambda session: session.stop("enough", leave_elsewhere=True))
    assert (texts, session.unsent) == ([], [REQUEST])
    assert (session.report.asked, session.report.unsent) == (1, 1)


def test_what_another_process_answers_is_counted_as_stored(ledgers: tuple[Ledger, Ledger]) -> None:
    texts, session = sampled(ledgers[0], lambda _: ledgers[1].store(KEY, text_reply(REQUEST, "4")))
    report = session.report
    assert texts == ["4"]
    assert (report.asked, report.stored, report.sent, report.arrived, report.unsent) == (1, 1, 0, 0, 0)
