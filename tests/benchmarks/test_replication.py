"""The evidence: what is recorded, what a claim needs, how it is judged, and that the tables say what was recorded."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pydantic import BaseModel

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _importable() -> None:
    sys.path.insert(0, str(BENCHMARKS))


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of claims, its results in an empty folder."""
    from replication import claims, jobs, results

    monkeypatch.setattr(results, "RECORDED", tmp_path)
    monkeypatch.setattr(jobs.Job, "sets", lambda job: {"test"})
    return claims


def recorded(arm: str, rights: list[np.ndarray], exam: str = "end", unjudged: int = 0) -> None:
    from replication import results
    from replication.jobs import Job

    for seed, right in enumerate(rights):
        bits = results.packed(right.astype(bool).tolist())
        judged = results.packed([False] * unjudged + [True] * (len(right) - unjudged))
        sat = {"problems": len(right), "right": bits, "judged": judged, "misread": bits, "tokens": 1}
        row = {
            "commit": "c",
            "date": "d",
            "machine": "m",
            "command": "x",
            "exams": {exam: {"test": sat}},
            "expense": {},
        }
        results.record(Job("tdg", "systematic", seed), arm, row)


def right(share: float, seed: int, problems: int = 1000) -> np.ndarray:
    return (np.random.default_rng(seed).random(problems) < share).astype(float)


def claim(claims: ModuleType, *pairs: tuple[str, str], **more: object) -> object:
    said = {"paper": "p", "says": "s", "figure": "f", "group": "tdg", "matched": "m", "pairs": list(pairs)}
    return claims.Claim(**said, **more)


def test_flags_survive_being_packed() -> None:
    from replication.results import packed, unpacked

    flags = right(0.3, 1, 1003)
    assert (unpacked(packed(flags.astype(bool).tolist()), 1003) == flags).all()


@pytest.mark.parametrize(("better", "verdict"), [(0.6, "reproduced"), (0.3, "contradicted"), (0.451, "inconclusive")])
def test_the_rule(claims: ModuleType, better: float, verdict: str) -> None:
    recorded("a", [right(better, seed) for seed in range(5)])
    recorded("b", [right(0.45, 10 + seed) for seed in range(5)])
    own = claim(claims, ("a", "b"))
    assert claims.verdict(own, claims.find(own, "systematic", "test")) == verdict


def test_fewer_than_five_seeds_or_a_missing_arm_judge_nothing(claims: ModuleType) -> None:
    recorded("a", [right(0.9, seed) for seed in range(4)])
    recorded("b", [right(0.1, seed) for seed in range(5)])
    for own in (claim(claims, ("a", "b")), claim(claims, ("b", "c"))):
        assert claims.verdict(own, claims.find(own, "systematic", "test")) == "not run"


def test_a_group_that_is_to_have_more_seeds_is_judged_by_all_of_them(
    claims: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from replication import jobs

    monkeypatch.setitem(jobs.groups()["tdg"], "seeds", 6)
    own = claim(claims, ("a", "b"))
    for seeds, said in ((5, "not run"), (6, "reproduced")):
        recorded("a", [right(0.6, seed) for seed in range(seeds)])
        recorded("b", [right(0.4, 10 + seed) for seed in range(seeds)])
        assert claims.verdict(own, claims.find(own, "systematic", "test")) == said


def test_one_failing_pair_contradicts_a_claim_of_several(claims: ModuleType) -> None:
    for arm, share in (("a", 0.6), ("b", 0.4), ("c", 0.8)):
        recorded(arm, [right(share, seed) for seed in range(5)])
    own = claim(claims, ("a", "b"), ("a", "c"))
    assert claims.verdict(own, claims.find(own, "systematic", "test")) == "contradicted"


def test_what_the_lab_decides_is_no_evidence(claims: ModuleType) -> None:
    recorded("a", [right(0.9, seed) for seed in range(5)])
    recorded("b", [right(0.1, seed) for seed in range(5)])
    own = claim(claims, ("a", "b"), by_construction=True)
    assert claims.verdict(own, claims.find(own, "systematic", "test")) == "by construction"


def test_fewer_misunderstandings_are_better(claims: ModuleType) -> None:
    recorded("a", [right(0.1, seed) for seed in range(5)])
    recorded("b", [right(0.5, seed) for seed in range(5)])
    own = claim(claims, ("a", "b"), metric="misread")
    (finding,) = claims.find(own, "systematic", "test")
    assert claims.verdict(own, [finding]) == "reproduced"
    assert finding.first < 0.2 < 0.4 < finding.second, "each column is the arm its name says"
    assert finding.difference == pytest.approx(finding.second - finding.first)


def test_overlap_is_held_against_chance(claims: ModuleType) -> None:
    recorded("a", [right(0.5, seed) for seed in range(5)])
    recorded("b", [1 - right(0.5, seed) for seed in range(5)])
    recorded("c", [right(0.5, 100) for _ in range(5)])
    apart, alike = claim(claims, ("a", "b"), metric="overlap"), claim(claims, ("c", "c2"), metric="overlap")
    recorded("c2", [right(0.5, 100) for _ in range(5)])
    assert claims.verdict(alike, claims.find(alike, "systematic", "test")) == "contradicted"
    assert claims.find(apart, "systematic", "test")[0].difference > -0.35


def test_results_of_another_recipe_are_refused(claims: ModuleType) -> None:
    from feints.errors import DataError
    from replication.planning import make_plan
    from replication.results import recipe_file

    recorded("a", [right(0.5, 0)])
    recipe = recipe_file("tdg", "systematic")
    said = recipe.read_text(encoding="utf-8")
    recipe.write_text(said.replace('"learning_rate": 0.003', '"learning_rate": 0.004'), encoding="utf-8")
    with pytest.raises(DataError, match="another recipe"):
        recorded("a", [right(0.5, 0)])
    assert make_plan({"tdg": {"a": {"test"}}}, ["systematic"], [0], 100.0, 1).jobs
    recipe.unlink()
    with pytest.raises(DataError, match="another recipe"):
        recorded("a", [right(0.5, 0)])


class Inner(BaseModel):
    rate: float = 1.0
    new: int = 0


class Outer(BaseModel):
    inner: Inner = Inner()
    free: dict = {"name": "plain_cot"}
    seed: int = 0


@pytest.mark.parametrize(
    ("recorded", "today", "same"),
    [
        ({"inner": {"rate": 1.0}, "free": {"name": "plain_cot"}}, Outer(), True),
        ({"inner": {"rate": 1.0}, "free": {"name": "plain_cot"}}, Outer(seed=7), True),
        ({"inner": {"rate": 1.0}, "free": {"name": "plain_cot"}}, Outer(inner=Inner(new=5)), False),
        ({"inner": {"rate": 2.0}, "free": {"name": "plain_cot"}}, Outer(), False),
        ({"inner": {"rate": 1.0, "gone": 0}, "free": {"name": "plain_cot"}}, Outer(), False),
        ({"inner": None, "free": {"name": "plain_cot"}}, Outer(), False),
        ({"inner": {"rate": 1.0}, "free": {"name": "plain_cot", "more": 1}}, Outer(), False),
        ({"inner": {"rate": 1.0}, "free": {}}, Outer(), False),
    ],
)
def test_only_a_new_setting_at_its_default_leaves_a_recipe_the_same(recorded: dict, today: Outer, same: bool) -> None:
    from replication.results import unchanged

    assert unchanged(recorded, today, {"seed": True}) is same


def test_a_plan_drops_arms_never_seeds_and_says_which(claims: ModuleType) -> None:
    from replication.planning import GUESS, make_plan

    wanted = {"tdg": dict.fromkeys(["nat", "plain_cot", "mix"], {"test"})}
    room = 2 * 3 * GUESS / 3600  # two arms of three seeds on one core
    plan = make_plan(wanted, ["systematic"], [0, 1, 2], room, 1)
    assert plan.dropped == ("systematic/tdg/mix",)
    assert [arms for _, arms in plan.jobs] == [["nat", "plain_cot"]] * 3
    recorded("nat", [right(0.5, seed) for seed in range(2)])
    again = make_plan(wanted, ["systematic"], [0, 1, 2], 100.0, 1)
    assert [arms for _, arms in again.jobs] == [["plain_cot", "mix"], ["plain_cot", "mix"], ["nat", "plain_cot", "mix"]]


def test_sets_that_decide_nothing_are_planned_last(claims: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from replication import jobs
    from replication.planning import GUESS, make_plan

    recorded("nat", [right(0.5, seed) for seed in range(2)])
    monkeypatch.setattr(jobs.Job, "sets", lambda job: {"test", "longer"})
    wanted = {"tdg": {"nat": {"test"}, "mix": {"test"}}}
    plan = make_plan(wanted, ["systematic"], [0, 1], 2 * GUESS / 3600, 1)
    assert (plan.recorded, plan.dropped, plan.further) == (2, (), 1)
    assert [arms for _, arms in plan.jobs] == [["mix"], ["mix"]]
    roomy = make_plan(wanted, ["systematic"], [0, 1], 100.0, 1)
    assert [arms for _, arms in roomy.jobs] == [["nat", "mix"], ["nat", "mix"]] and not roomy.further
    decided_there = make_plan({"tdg": {"nat": {"longer"}}}, ["systematic"], [0, 1], 100.0, 1)
    assert decided_there.recorded == 0


def test_a_group_is_asked_for_by_every_claim_that_needs_it() -> None:
    from replicate import _parts

    assert "plain_cot" in _parts(["std-cot"])["std-cot"]
    assert _parts(["edit-weights"])["edit-ablations"]["edit_alpha_0_0"] == {"test"}
    with pytest.raises(SystemExit, match="no claim or group is called nothing"):
        _parts(["nothing"])


def test_an_answer_nobody_could_judge_is_no_wrong_one(claims: ModuleType) -> None:
    from feints.errors import DataError

    recorded("a", [right(0.5, 0)], unjudged=1)
    recorded("b", [right(0.5, 1)])
    with pytest.raises(DataError, match="1 answers could not be judged"):
        claims.find(claim(claims, ("a", "b")), "systematic", "test")


def test_a_group_with_seeds_of_its_own_is_run_with_these(claims: ModuleType) -> None:
    from replication.planning import make_plan

    wanted = {"cohobate": {"asc_own-tailored": {"test"}}, "tdg": {"nat": {"test"}}}
    plan = make_plan(wanted, ["slips"], [0, 2], 100.0, 1)
    assert [(job.group, job.seed) for job, _ in plan.jobs] == [
        ("cohobate", 30),
        ("cohobate", 32),
        ("tdg", 0),
        ("tdg", 2),
    ]
    whole = make_plan(wanted, ["slips"], None, 100.0, 1)
    assert [job.seed for job, _ in whole.jobs] == [*range(30, 38), *range(5)]


def test_every_claim_names_arms_that_its_group_has() -> None:
    from replication.claims import claims, needed_arms
    from replication.jobs import arms_in

    known = claims()
    assert len(known) >= 20
    for name, own in known.items():
        for group, arm in needed_arms(own):
            assert arm in arms_in(group), name


def test_what_is_recorded_was_run_by_the_recipes_as_they_stand() -> None:
    from replication.jobs import REGIMES, Job, groups
    from replication.results import RECORDED, by_this_recipe

    jobs = [Job(group, regime, 0) for group in groups() for regime in REGIMES]
    assert [job.name for job in jobs if not by_this_recipe(job)] == []
    found = list(RECORDED.glob("*/*"))
    assert {path.with_suffix("") for path in found if path.is_file()} == {path for path in found if path.is_dir()}


def test_the_tables_are_those_of_the_recorded_results() -> None:
    from replication import page

    assert page.is_current(), "run `python benchmarks/replicate.py tables` and commit what it writes"


def test_the_figure_shows_every_arm_and_names_the_best_for_its_tokens() -> None:
    from xml.etree import ElementTree

    from replication.jobs import groups
    from replication.tokens import Point, figure, frontier

    names = list(groups())
    rng = np.random.default_rng(0)
    drawn = [
        Point(names[place % len(names)], f"arm_{place}", tokens, share, share - 0.02, share + 0.02, 3, place % 2 == 0)
        for place, (tokens, share) in enumerate(zip(rng.integers(10**4, 10**6, 30), rng.random(30), strict=True))
    ]
    named = {point.arm for point in frontier(drawn)}
    for point in drawn:
        below = [other for other in drawn if other.tokens <= point.tokens and other is not point]
        if point.arm in named:
            assert all(other.accuracy < point.accuracy for other in below)
        else:
            assert any(other.accuracy > point.accuracy - 0.01 for other in below)
    root = ElementTree.fromstring(figure(drawn))
    titles = [each.text or "" for each in root.iter() if each.tag.endswith("title")]
    texts = {each.text for each in root.iter() if each.tag.endswith("text")}
    placed = [float(each.get("x", 0)) for each in root.iter() if each.tag.endswith("text")]
    assert max(placed) < 860, "the legend stays in the picture"
    assert len(titles) == len(drawn) and named <= texts and not ({p.arm for p in drawn} - named) & texts
