from __future__ import annotations

import io
import time

import pytest
from pydantic import ValidationError
from rich.console import Console

from feints.errors import SettingsError
from feints.generate.budget import Amount, Budget, Price, upper_bound
from feints.generate.ledger import Ledger
from feints.generate.openai import OpenAISource
from feints.generate.opening import check_prices, open_source
from feints.generate.plan import plan
from feints.generate.progress import SamplingProgress
from feints.generate.sample import complete_all
from feints.generate.scripted import ScriptedSource
from feints.generate.settings import BudgetSettings, SamplingSettings, TeacherSettings
from feints.generate.source import Completion, Message, Request, Sampling, Usage
from feints.records import Finish, Judgement

PRICE = Price(input=1.0, output=4.0, currency="EUR")


def questions(count: int) -> list[Request]:
    sampling = Sampling(max_tokens=100)
    return [Request(messages=(Message(role="user", content=f"{i:040}"),), sampling=sampling) for i in range(count)]


def test_a_plan_before_anything_is_known_is_the_upper_bound() -> None:
    found = plan(questions(10) + questions(3), "scripted", Ledger(), PRICE)
    assert (found.requests, found.stored, found.to_send) == (10, 0, 10)
    assert (found.prompt_tokens, found.most_completion_tokens, found.expected_completion_tokens) == (100, 1000, 1000)
    assert found.most_money == pytest.approx((100 * 1 + 1000 * 4) / 1e6)
    assert found.lines()[0] == "requests: 10 to send, 0 of 10 stored"


def test_a_plan_learns_from_the_ledger_and_equals_what_is_then_sent() -> None:
    def respond(body: object) -> dict[str, object]:
        usage = {"prompt_tokens": 20, "completion_tokens": 50}
        return {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": usage}

    source = ScriptedSource.from_responder(respond, "m")
    with Ledger() as ledger:
        complete_all(source, questions(4), ledger)
        found = plan(questions(10), source.identity, ledger, PRICE)
        assert (found.stored, found.to_send, found.prompt_tokens, found.expected_completion_tokens) == (4, 6, 120, 300)
        assert found.expected_money == pytest.approx((120 + 300 * 4) / 1e6)
        complete_all(source, questions(10), ledger)
        assert plan(questions(10), source.identity, ledger).to_send == 0
        assert "money: unknown" in plan(questions(10), source.identity, ledger).lines()[-1]


def test_reservations_hold_what_calls_in_flight_may_cost() -> None:
    (request,) = questions(1)
    assert upper_bound(request, PRICE) == Amount(requests=1, tokens=110, money=pytest.approx(410e-6))
    budget = Budget(tokens=220)
    assert budget.reserve("a", upper_bound(request, None)) and budget.reserve("b", upper_bound(request, None))
    assert not budget.reserve("c", upper_bound(request, None))
    budget.settle("a", Amount(requests=1, tokens=10))
    assert not budget.reserve("c", upper_bound(request, None))
    budget.release("b")
    assert budget.reserve("c", upper_bound(request, None))
    budget.settle("c")
    assert budget.spent == Amount(requests=2, tokens=120)
    assert str(budget) == "120 of 220 tokens"


# Settings


def test_sources_are_opened_from_settings() -> None:
    assert isinstance(open_source(TeacherSettings(base_url="http://x/v1", model="m")), OpenAISource)
    with pytest.raises(SettingsError, match="teacher.path is not set"):
        open_source(TeacherSettings(source="replay"))
    with pytest.raises(SettingsError, match="not opened here"):
        open_source(TeacherSettings(source="lab"))


def test_every_setting_is_documented_and_unknown_ones_are_refused() -> None:
    for settings in (TeacherSettings, SamplingSettings, BudgetSettings, Price):
        assert all(field.description for field in settings.model_fields.values())
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            settings(nonsense=1, input=1, output=1)
    sampling = SamplingSettings(temperature=0.3, top_p=0.5, max_tokens=7, stop=("x",), logprobs=True).sampling()
    assert sampling == Sampling(temperature=0.3, top_p=0.5, max_tokens=7, stop=("x",), logprobs=True)


def test_a_budget_in_money_needs_a_price_in_its_currency() -> None:
    teacher = TeacherSettings(base_url="http://x/v1", model="m")
    check_prices(teacher, BudgetSettings(requests=3))
    with pytest.raises(SettingsError, match=r"teacher.prices does not name 'm'"):
        check_prices(teacher, BudgetSettings(money=3))
    priced = TeacherSettings(base_url="http://x/v1", model="m", prices={"m": PRICE})
    with pytest.raises(SettingsError, match="EUR and budget.money in USD"):
        check_prices(priced, BudgetSettings(money=3))
    check_prices(priced, BudgetSettings(money=3, currency="EUR"))


# Progress


def test_progress_is_silent_when_short_and_speaks_in_plain_lines_when_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out = io.StringIO()
    completion = Completion(key="k", text="", usage=Usage(prompt_tokens=3, completion_tokens=7), cost=0.5)
    with SamplingProgress(Console(file=out), "asking", "EUR") as progress:
        progress.asked(100)
        progress.answered(completion, stored=True)
        now = 1.9
        progress.answered(completion, stored=False)
        assert out.getvalue() == ""
        progress.judged(Judgement.CORRECT)
        progress.judged(Judgement.WRONG)
        for moment in (6.0, 6.1, 8.0, 10.9, 11.1):
            now = moment
            progress.answered(completion, stored=False)
        lines = out.getvalue().splitlines()
        assert len(lines) == 2
        assert lines[0] == (
            "asking: 3 of 100, 1 stored, 0.3 a second, 1 right, 1 wrong, 20 tokens, 1.00 EUR, 4:51 left"
        )
    assert len(out.getvalue().splitlines()) == 3


def test_progress_tells_of_replies_that_cannot_be_read_and_of_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("feints.generate.progress.time.monotonic", lambda: now)
    out = io.StringIO()
    with SamplingProgress(Console(file=out)) as progress:
        progress.asked(9)
        progress.waiting("the endpoint refuses (HTTP 429)", 0.5)
        progress.answered(Completion(key="k", text="", finish=Finish.MALFORMED), stored=False)
        assert out.getvalue() == ""
        progress.waiting("the endpoint refuses (HTTP 429)", 12.2)
        assert "1 malformed" in out.getvalue()
        assert out.getvalue().endswith("the endpoint refuses (HTTP 429), waiting 12 s\n")
        progress.answered(Completion(key="k", text="x"), stored=False)
        assert "waiting" not in progress.summary()
    short = io.StringIO()
    with SamplingProgress(Console(file=short)) as progress:
        progress.answered(Completion(key="k", text="", finish=Finish.MALFORMED), stored=True)
    assert "1 malformed" in short.getvalue(), "also of a round too short to show anything else"


def test_progress_draws_a_bar_on_a_terminal() -> None:
    out = io.StringIO()
    source = ScriptedSource(lambda _: "x")
    with SamplingProgress(Console(file=out, force_terminal=True, width=120)) as progress:
        progress._start -= 3
        complete_all(source, questions(5), observer=progress)
    assert "5 of 5" in out.getvalue()
