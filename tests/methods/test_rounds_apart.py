"""Parts of rounds, each alone: what is asked again, where asking ends, what a round has cost."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from feints.bench.rounds import Course, ask_within, to_be_answered
from feints.curate.choice import Chosen
from feints.curate.funnel import Funnel
from feints.curate.piles import Piles
from feints.generate.prompt import STUDENT
from feints.records import Rationale
from feints.runs import RunFolder


class Told(list[Any]):
    """A stored table, as far as rounds look at it."""

    address = "told"


def test_one_mistake_spaced_otherwise_is_answered_once() -> None:
    texts = ("It is 4.", "It  is\n4.", "It is 5.")
    rows = tuple(Rationale(id=f"r{n}", problem_id="p", text=text) for n, text in enumerate(texts))
    piles = Piles(right=(), wrong=rows, rejected=())
    taken = Chosen(piles=piles, validation=frozenset(), funnel=Funnel().start("said", "rationales", 3), dropped=())
    found = to_be_answered(taken)
    assert [row.id for row in found.piles.wrong] == ["r0", "r2"]
    assert [row.item_id for row in found.dropped] == ["r1"]


def test_asking_ends_where_a_budget_cut_it_short() -> None:
    def ask(part: int, some: Any) -> Any:
        parts.append(part)
        return [("told", Told([SimpleNamespace(prompt_tokens=1, completion_tokens=1)]))]

    for stopped, count in (({}, 2), ({"teacher": Told()}, 1)):
        parts: list[int] = []
        ask_within(SimpleNamespace(stopped=stopped), list(range(4)), 8, 8.0, ask)  # type: ignore[arg-type]
        assert len(parts) == count


def test_a_price_that_rises_on_the_way_is_noticed_before_all_is_spent() -> None:
    def ask(part: int, some: Any) -> Any:
        costs.extend([10 if part == 1 else 14] * len(some))
        said = [SimpleNamespace(prompt_tokens=cost, completion_tokens=0) for cost in costs[-len(some) :]]
        return [("told", Told(said))]

    costs: list[int] = []
    ask_within(SimpleNamespace(stopped={}), list(range(200)), 1000, 100.0, ask)  # type: ignore[arg-type]
    assert 900 < sum(costs) <= 1000


def test_what_an_earlier_round_paid_is_no_cost_of_a_later_one(tmp_path: Path) -> None:
    whole: Any = SimpleNamespace(
        student=SimpleNamespace(model="untrained"), problems=(), curate=SimpleNamespace(validation=0.0, seed=0)
    )
    course = Course(bench=whole, prompt=STUDENT, samples=1, temperature=1.0)
    run, costs = RunFolder(tmp_path / "run"), []
    replies = [Rationale(id=name, problem_id="p", text="", author="teacher", completion_tokens=5) for name in "ab"]
    for number in (1, 2):
        here = run.within(f"round_{number}")
        told = here.table("1_rationales", "told", Rationale, [number], lambda count=number: replies[:count])
        bench: Any = SimpleNamespace(
            run=here, sampled={told.address: None}, teacher=SimpleNamespace(identity="teacher")
        )
        costs.append(course.spend(bench)["completion_tokens"])
    assert costs == [5, 5]
