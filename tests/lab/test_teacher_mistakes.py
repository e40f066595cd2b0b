"""How often the teacher is wrong, in which way, and whether its mistakes recur."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import pytest
from scipy.stats import binom

from feints.errors import SettingsError
from feints.lab.mistakes import MistakeKind, MistakeSettings, trigger, ways_of
from feints.lab.prompts import stated_answer
from feints.lab.reader import read
from feints.lab.reading import evaluate
from feints.lab.teacher import LabTeacher, Truth
from feints.lab.teacher_diagnosis import diagnose, said_in
from feints.lab.teacher_settings import LabTeacherSettings
from feints.lab.teacher_working import Bungler, work_rightly
from feints.lab.world import problems

PROBLEMS = problems("train", 500)
REGIMES = ("systematic", "slips")


def teacher(regime: str, **settings: Any) -> LabTeacher:
    return LabTeacher(LabTeacherSettings(mistakes=MistakeSettings(regime=regime), **settings))  # type: ignore[arg-type]


def sample(
    regime: str, seed: int = 1, temperature: float = 0.7, n: int = 4, count: int = 500
) -> list[tuple[Truth, ...]]:
    by = teacher(regime)
    return [
        by.explain(
            {
                "messages": [{"role": "user", "content": problem.question + "\nThink step by step."}],
                "n": n,
                "seed": seed,
                "temperature": temperature,
            }
        )
        for problem in PROBLEMS[:count]
    ]


def flat(samples: list[tuple[Truth, ...]]) -> list[Truth]:
    return [truth for choices in samples for truth in choices]


def within(hits: int, tries: int, share: float, slack: float = 1.0) -> bool:
    """Whether a count lies between the one-in-100,000 bounds of a binomial whose share is off by at most `slack`."""
    low, high = binom.ppf(1e-5, tries, share / slack), binom.ppf(1 - 1e-5, tries, share * slack)
    return bool(low <= hits <= high)


@pytest.mark.parametrize(("regime", "slack"), [("slips", 1.0), ("systematic", 1.35)])
def test_rates_are_those_of_the_settings(regime: str, slack: float) -> None:
    settings = MistakeSettings()
    made, chances = Counter[MistakeKind](), Counter[MistakeKind]()
    truths = flat(sample(regime))
    assert len(truths) == 2000
    for truth in truths:
        chances.update(mistake.kind for mistake in truth.chances)
        made.update(mistake.kind for mistake in truth.mistakes if not truth.compensated)
    for kind in MistakeKind:
        assert within(made[kind], chances[kind], settings.rate(kind), slack), (kind, made[kind], chances[kind])


@pytest.mark.parametrize("regime", REGIMES)
def test_between_35_and_45_percent_are_wrong_and_mixed_problems_are_common(regime: str) -> None:
    samples = sample(regime)
    wrong = sum(not truth.right for truth in flat(samples)) / 2000
    mixed = sum(0 < sum(truth.right for truth in choices) < 4 for choices in samples) / 500
    assert 0.35 < wrong < 0.45
    assert mixed > 0.3
    lucky = [truth for truth in flat(samples) if truth.right and truth.mistakes]
    assert within(len(lucky), sum(truth.right for truth in flat(samples)), 0.017, 1.5)
    failed = sum(bool(truth.failure) for truth in flat(samples))
    assert within(failed, 2000, 0.01)


@pytest.mark.parametrize("regime", REGIMES)
def test_temperature_raises_mistakes_and_greedy_makes_fewest(regime: str) -> None:
    wrong = [
        sum(not truth.right for truth in flat(sample(regime, temperature=temperature, n=2, count=300)))
        for temperature in (0.0, 0.7, 1.2)
    ]
    assert wrong[0] < wrong[1] < wrong[2]


def recurrence(regime: str) -> float:
    """Share of further samples that repeat, at the same step, a mistake that another sample made."""
    again = total = 0
    first, second = sample(regime, seed=1, count=300), sample(regime, seed=2, count=300)
    for before, after in zip(first, second, strict=True):
        made = {mistake for truth in before for mistake in truth.mistakes[:1] if not truth.compensated}
        for mistake in made:
            # Only samples that came to this step without another mistake had the same chance.
            free = [t for t in after if not t.failure and not any(m.step < mistake.step for m in t.mistakes)]
            total += len(free)
            again += sum(mistake in truth.mistakes for truth in free)
    return again / total


def test_systematic_mistakes_recur_across_samples_and_slips_do_not() -> None:
    assert recurrence("systematic") > 0.45
    assert recurrence("slips") < 0.2


def across_problems(regime: str) -> float:
    """Share of problems that repeat a mistake made at the same features of another problem."""
    by_features: dict[tuple[str, ...], dict[int, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for place, choices in enumerate(sample(regime)):
        reading = read(PROBLEMS[place].question)
        seen = tuple(fact for fact in reading.irrelevant if fact.numbers)
        for truth in choices:
            for chance in truth.chances:
                if not truth.compensated and not any(m.step < chance.step for m in truth.mistakes):
                    features = trigger(reading, reading.steps[chance.step], chance.kind, seen)
                    by_features[features][place].append(chance in truth.mistakes)
    again = total = 0
    for by_problem in by_features.values():
        for place, made in by_problem.items():
            others = [struck for other, found in by_problem.items() if other != place for struck in found]
            if any(made) and others:
                again += sum(others)
                total += len(others)
    return again / total


def test_systematic_mistakes_recur_across_problems_and_slips_do_not() -> None:
    assert across_problems("systematic") > 0.45
    assert across_problems("slips") < 0.2


def test_wrong_values_are_carried_through_the_later_steps() -> None:
    rng = random.Random(1)
    bungler = Bungler(
        MistakeSettings(regime="slips", logical=0.3, calculation=0.3, misunderstanding=0.3, knowledge=0.5)
    )
    carried = 0
    for problem in PROBLEMS[:200]:
        reading = read(problem.question)
        worked = bungler.work(reading, rng)
        known = {step.index: step.result for step in worked.steps}
        slipped = {m.step for m in worked.mistakes if m.kind is MistakeKind.CALCULATION}
        for step in worked.steps:
            for operand in step.operands:
                if operand.origin == "step":
                    assert operand.value == known[operand.index]
                    carried += operand.value != reading.steps[operand.index].result
            reckoned = evaluate(tuple(operand.value for operand in step.operands), step.operators)
            assert (reckoned != step.result) is (step.index in slipped)
        assert worked.answer == worked.answered_by.value
        if not worked.mistakes:
            assert worked == work_rightly(reading)
    assert carried > 100


def test_every_way_to_go_wrong_is_wrong_and_of_its_kind() -> None:
    for problem in PROBLEMS[:200]:
        reading = read(problem.question)
        noise = tuple(fact for fact in reading.irrelevant if fact.numbers)
        for step in reading.steps:
            for kind in MistakeKind:
                for way in ways_of(reading, step, kind, noise):
                    assert way.stands_in.value != step.result
                    if kind is MistakeKind.CALCULATION:
                        assert way.step is not None
                        assert way.step.expression == step.expression
                    if kind is MistakeKind.KNOWLEDGE:
                        assert step.unit_fact is not None
                    if kind is MistakeKind.MISUNDERSTANDING:
                        assert way.step is not None
                        assert {o.index for o in way.step.operands if o.origin == "fact"} & {f.index for f in noise}


def test_compensated_rationales_are_right_on_wrong_steps() -> None:
    rng = random.Random(3)
    bungler = Bungler(MistakeSettings())
    found = 0
    for problem in PROBLEMS[:200]:
        worked = bungler.compensate(read(problem.question), rng)
        if worked is None:
            continue
        found += 1
        wrong = [s for s in worked.steps if evaluate(tuple(o.value for o in s.operands), s.operators) != s.result]
        assert worked.answer == int(problem.answer)
        assert [step.index for step in wrong] == [mistake.step for mistake in worked.mistakes]
        assert 1 <= len(wrong) <= 2
    assert found > 120


@pytest.mark.parametrize(
    "cue", ["\nThink step by step.", "\nWrite a Python program that sets ans.", "\nWrite equations; ans."]
)
def test_diagnosis_from_the_text_alone_finds_the_kinds_that_were_made(cue: str) -> None:
    agree = total = 0
    for problem in PROBLEMS[:250]:
        body = {
            "messages": [{"role": "user", "content": problem.question + cue}],
            "seed": 5,
            "temperature": 0.7,
            "n": 4,
        }
        for truth in teacher("slips", failure=0.0).explain(body):
            total += 1
            agree += set(diagnose(problem.question, truth.text)) == set(truth.kinds)
    assert total == 1000
    assert agree / total > 0.93


def test_diagnosis_reads_everything_the_teacher_reckons() -> None:
    for truths, problem in zip(sample("slips", count=100), PROBLEMS, strict=False):
        for truth in truths:
            if not truth.failure and not truth.mistakes:
                assert len(said_in(truth.text)) == problem.level
                assert stated_answer(truth.text) == said_in(truth.text)[-1].stated or problem.level != 1


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingsError, match="logical"):
        MistakeSettings(logical=1.5)
    with pytest.raises(SettingsError, match="strength"):
        MistakeSettings(strength=0.05)
    assert MistakeSettings(regime="slips", strength=0.05).rate(MistakeKind.LOGICAL) == 0.10
